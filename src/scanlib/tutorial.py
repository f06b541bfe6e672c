"""The eleven programs of the tutorial: `python -m scanlib.tutorial` runs them beside plain NumPy loops.

Each `program_N(mode)` builds one and returns a record of how to run it, the same loop in NumPy, the values it
must give, and how large the full trace of its scan would be.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from timeit import Timer
from typing import Any

import numpy as np

import scanlib
import scanlib.tensor as T

Value = Any


@dataclass(frozen=True)
class Program:
    """One program.  `run` and `numpy` give the same, close to `expected`; trace_bytes: the whole trace."""

    title: str
    run: Callable[[], Value]
    numpy: Callable[[], Value]
    expected: Value
    trace_bytes: int
    function: scanlib.Function


def program_1(mode: str | None = None) -> Program:
    x_rows, weights, bias = np.eye(2), np.ones((2, 2)), np.array([1.0, 2.0])
    X, W, b = T.matrix("X"), T.matrix("W"), T.vector("b")
    results, updates = scanlib.scan(lambda x: T.tanh(T.dot(x, W) + b), sequences=X)
    f = scanlib.function([X, W, b], results, updates=updates, mode=mode)

    def loop() -> Value:
        return np.array([np.tanh(x @ weights + bias) for x in x_rows])

    expected = [[0.96402758, 0.99505475]] * 2
    return Program("elementwise map", lambda: f(x_rows, weights, bias), loop, expected, 2 * 2 * 8, f)


def program_2(mode: str | None = None) -> Program:
    x0, ones = np.array([0.0, 1.0]), np.ones((2, 2))
    y_rows, p_rows = np.ones((5, 2)), np.ones((5, 2))
    y_rows[0], p_rows[0] = -3.0, 3.0
    X, W, U, V = T.vector("X"), T.matrix("W"), T.matrix("U"), T.matrix("V")
    Y, P = T.matrix("Y"), T.matrix("P")
    results, updates = scanlib.scan(
        lambda y, p, x: T.tanh(T.dot(x, W) + T.dot(y, U) + T.dot(p, V)),
        sequences=[Y, P[::-1]],
        outputs_info=[X],
    )
    f = scanlib.function([X, W, Y, U, P, V], results, updates=updates, mode=mode)

    def loop() -> Value:
        x, made = x0, []
        for t in range(5):
            x = np.tanh(x @ ones + y_rows[t] @ ones + p_rows[4 - t] @ ones)
            made.append(x)
        return np.array(made)

    column = [-0.99505475, 0.96471973, 0.99998585, 0.99998771, 1.0]
    expected = np.stack([column, column], axis=1)
    return Program(
        "two sequences, one reversed",
        lambda: f(x0, ones, y_rows, ones, p_rows, ones),
        loop,
        expected,
        5 * 2 * 8,
        f,
    )


def _norms(title: str, transposed: bool, expected: Sequence[float], mode: str | None) -> Program:
    matrix = np.diag(np.arange(1.0, 6.0), 1)
    X = T.matrix("X")
    results, updates = scanlib.scan(lambda x: T.sqrt((x**2).sum()), sequences=[X.T if transposed else X])
    f = scanlib.function([X], results, updates=updates, mode=mode)

    def loop() -> Value:
        return np.array([np.sqrt((x**2).sum()) for x in (matrix.T if transposed else matrix)])

    return Program(title, lambda: f(matrix), loop, expected, 6 * 8, f)


def program_3(mode: str | None = None) -> Program:
    return _norms("norms of rows", False, [1, 2, 3, 4, 5, 0], mode)


def program_4(mode: str | None = None) -> Program:
    return _norms("norms of columns", True, [0, 1, 2, 3, 4, 5], mode)


def program_5(mode: str | None = None) -> Program:
    matrix = np.eye(5, dtype=np.float32)
    matrix[0] = np.arange(5)
    X = T.matrix("X", dtype="float32")
    results, updates = scanlib.scan(
        lambda i, j, total: T.cast(X[i, j] + total, "float32"),
        sequences=[T.arange(X.shape[0]), T.arange(X.shape[1])],
        outputs_info=np.asarray(0.0, dtype="float32"),
    )
    f = scanlib.function([X], results[-1], updates=updates, mode=mode)

    def loop() -> Value:
        total = np.float32(0)
        for i in range(5):
            total = np.float32(total + matrix[i, i])
        return total

    return Program("trace", lambda: f(matrix), loop, 4.0, 5 * 4, f)


def program_6(mode: str | None = None) -> Program:
    start, mixed, half = (
        np.array([[0.0, 0.0], [0.0, 1.0]]),
        0.5 * (np.ones((2, 2)) - np.eye(2)),
        0.5 * np.ones((2, 2)),
    )
    bias = np.ones(2)
    X, U, V, W = T.matrix("X"), T.matrix("U"), T.matrix("V"), T.matrix("W")
    b, n = T.vector("b"), T.iscalar("n")
    results, updates = scanlib.scan(
        lambda older, old: T.dot(older, U) + T.dot(old, V) + T.tanh(T.dot(old, W) + b),
        n_steps=n,
        outputs_info=[dict(initial=X, taps=[-2, -1])],
    )
    f = scanlib.function([X, U, V, W, b, n], results, updates=updates, mode=mode)

    def loop() -> Value:
        made = [start[0], start[1]]
        for _ in range(10):
            made.append(made[-2] @ mixed + made[-1] @ half + np.tanh(made[-1] @ half + bias))
        return np.array(made[2:])

    expected = np.full((10, 2), np.nan)
    expected[0], expected[1] = [1.40514825, 1.40514825], [2.88898899, 2.38898899]
    expected[5], expected[9] = [14.22203814, 14.09703814], [54.28407732, 54.25282732]
    return Program("two taps", lambda: f(start, mixed, half, half, bias, 10), loop, expected, 10 * 2 * 8, f)


def program_7(mode: str | None = None) -> Program:
    vector, matrix = np.eye(5)[0], np.eye(5, 3)
    matrix[2] = 1.0
    v, A = T.vector("v"), T.matrix("A")
    y = T.tanh(T.dot(v, A))
    results, updates = scanlib.scan(lambda i: scanlib.grad(y[i], v), sequences=[T.arange(y.shape[0])])
    f = scanlib.function([v, A], results, updates=updates, mode=mode)

    def loop() -> Value:
        slope = 1 - np.tanh(vector @ matrix) ** 2
        return np.array([slope[i] * matrix[:, i] for i in range(3)])

    a = 0.41997434
    expected = [[a, 0, a, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 0, 0]]
    return Program("Jacobian", lambda: f(vector, matrix), loop, expected, 3 * 5 * 8, f)


def program_8(mode: str | None = None) -> Program:
    k, n = scanlib.shared(0, name="k"), T.iscalar("n")
    _, updates = scanlib.scan(lambda: {k: k + 1}, n_steps=n)
    f = scanlib.function([n], [], updates=updates, mode=mode)

    def run() -> Value:
        k.set_value(0)
        f(5)
        return k.get_value()

    def loop() -> Value:
        count = 0
        for _ in range(5):
            count += 1
        return count

    return Program("counter in a shared variable", run, loop, 5, 5 * 8, f)


MASKED = (
    (0.96402758, 0), (0, 0.96402758), (0, 0), (0.76159416, 0.76159416), (0.76159416, 0), (0, 0.76159416),
    (0, 0.76159416), (0, 0.76159416), (0, 0), (0.76159416, 0.76159416),
)  # fmt: skip


def program_9(mode: str | None = None) -> Program:
    x_rows, weights, bias = np.eye(10, 2), np.ones((2, 2)), np.ones(2)
    X, W, b = T.matrix("X"), T.matrix("W"), T.vector("b")
    trng = T.shared_randomstreams.RandomStreams(1234)
    d = trng.binomial(size=W[1].shape)
    results, updates = scanlib.scan(lambda v: T.tanh(T.dot(v, W) + b) * d, sequences=X)
    f = scanlib.function([X, W, b], results, updates=updates, mode=mode)

    def run() -> Value:
        trng.seed(1234)
        return f(x_rows, weights, bias)

    def loop() -> Value:
        stream = np.random.RandomState(np.random.RandomState(1234).randint(2**30))
        return np.array([np.tanh(v @ weights + bias) * stream.binomial(1, 0.5, 2) for v in x_rows])

    return Program("random mask", run, loop, MASKED, 10 * (2 * 8 + 628 * 4), f)


def power(mode: str | None = None) -> scanlib.Function:
    """A**k elementwise, by k products."""
    A, k = T.vector("A"), T.iscalar("k")
    results, updates = scanlib.scan(
        lambda prior, a: prior * a, outputs_info=T.ones_like(A), non_sequences=A, n_steps=k, name="power"
    )
    return scanlib.function([A, k], results[-1], updates=updates, mode=mode)


def program_10(mode: str | None = None) -> Program:
    numbers, f = np.arange(10.0), power(mode)

    def loop() -> Value:
        made = []
        for k in (2, 4):
            prior = np.ones_like(numbers)
            for _ in range(k):
                prior = prior * numbers
            made.append(prior)
        return np.array(made)

    expected = [numbers**2, numbers**4]
    return Program("power", lambda: np.array([f(numbers, 2), f(numbers, 4)]), loop, expected, 4 * 10 * 8, f)


def program_11(mode: str | None = None) -> Program:
    numbers = np.array([1.0, 0.0, 2.0])
    coefficients, x = T.vector("coefficients"), T.scalar("x")
    sequences = [coefficients, T.arange(10000)]
    terms, _ = scanlib.scan(lambda c, power, x: c * x**power, sequences=sequences, non_sequences=x)
    sums, _ = scanlib.scan(
        lambda c, power, total, x: total + c * x**power,
        sequences=sequences,
        outputs_info=np.float64(0.0),
        non_sequences=x,
    )
    f = scanlib.function([coefficients, x], [terms.sum(), sums[-1]], mode=mode)

    def loop() -> Value:
        total = 0.0
        for power, c in zip(range(10000), numbers):
            total = total + c * 3.0**power
        return [total, total]

    return Program(
        "polynomial, summed after and within", lambda: f(numbers, 3.0), loop, [19, 19], 3 * 2 * 8, f
    )


PROGRAMS = (
    program_1,
    program_2,
    program_3,
    program_4,
    program_5,
    program_6,
    program_7,
    program_8,
    program_9,
    program_10,
    program_11,
)


def seconds(run: Callable[[], Value]) -> float:
    """The shortest time of one run."""
    timer = Timer(run)
    count, taken = 1, timer.timeit(1)
    while taken < 0.005:
        count *= 4
        taken = timer.timeit(count)
    return min(taken, *timer.repeat(3, count)) / count


def close(value: Value, expected: Value) -> bool:
    """Equal to the digits that are given; nan in `expected` stands for any value."""
    value, expected = np.asarray(value), np.asarray(expected)
    given = ~np.isnan(np.asarray(expected, float))
    return value.shape == expected.shape and bool(np.all(np.abs(value - expected)[given] <= 5.1e-9))


def show(number: int, program: Program) -> bool:
    value, beside = program.run(), program.numpy()
    good = close(value, program.expected) and np.allclose(value, beside, rtol=1e-12, atol=1e-12)
    print(f"\n{number}. {program.title}{'' if good else '   WRONG'}")
    for label, shown in (("scanlib", value), ("NumPy", beside)):
        text = np.array2string(np.asarray(shown), precision=8, suppress_small=True, separator=" ")
        print(f"   {label:8}" + text.replace("\n", "\n" + " " * 11))
    kept = program.function.peak_bytes
    held = "interpreted" if kept is None else f"{kept} bytes held"
    print(
        f"   {seconds(program.run) * 1e6:.1f} µs, NumPy loop {seconds(program.numpy) * 1e6:.1f} µs; "
        f"{held}, full trace {program.trace_bytes} bytes"
    )
    return good


def show_length(mode: str | None) -> None:
    """The tenth program at a size where storage and speed matter."""
    numbers, steps, f = np.linspace(0.0, 1.0, 100_000), 1000, power(mode)

    def loop() -> Value:
        prior = np.ones_like(numbers)
        for _ in range(steps):
            prior = prior * numbers
        return prior

    good = np.allclose(f(numbers, steps), loop())
    print(f"\nPower of 100 000 numbers, 1000 steps{'' if good else '   WRONG'}")
    kept = f.peak_bytes
    held = "interpreted" if kept is None else f"{kept / 1e6:.1f} MB held"
    print(
        f"   {seconds(lambda: f(numbers, steps)) * 1e3:.1f} ms, NumPy loop {seconds(loop) * 1e3:.1f} ms; "
        f"{held}, full trace {steps * numbers.nbytes / 1e6:.0f} MB"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scanlib.tutorial", description="Run the tutorial programs."
    )
    parser.add_argument("--mode", choices=("native", "reference"), default="native")
    mode = parser.parse_args(arguments).mode
    good = [show(number, make(mode)) for number, make in enumerate(PROGRAMS, 1)]
    if mode == "native":
        show_length(mode)
    print(f"\n{sum(good)} of {len(good)} programs give the expected values")
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
