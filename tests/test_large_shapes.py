"""Generated scans whose dims are run-time values: compiled against the interpreter, and their gradients.

A program is a list of operations on a pool of values (taps of sequences, of states, constants); indices into the
pool are taken modulo its size, so that every list is a program.  Shapes are chosen so that lanes have vector
groups of every width, remainders, rows, and lengths of one; blocks are made short.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError
from scanlib.lower import block_length, lanes
from scanlib.scan import until

pytest.importorskip("scanlib._core")

# More of them, in the background of a working day: SCANLIB_EXAMPLES=2000.
EXAMPLES = int(os.environ.get("SCANLIB_EXAMPLES", "60"))
REAL = ("float64", "float64", "float32")
Shape = tuple[int, ...]
SHAPES: tuple[Shape, ...] = (
    (),
    (),
    (3,),
    (17,),
    (20,),
    (70,),
    (70,),
    (2, 40),
    (33, 20),
    (20, 3),
    (1, 20),
    (20, 20),
)
UNARY = (
    "tanh", "sin", "neg", "sqr", "flip", "cumsum", "transpose", "sum first", "sum last", "sum all", "max last",
    "mean keepdims", "softmax", "sort", "mask", "first", "tail", "roll", "flat", "increment", "row at",
)  # fmt: skip
BINARY = (
    "add",
    "sub",
    "mul",
    "mul",
    "max",
    "where",
    "dot",
    "dot",
    "concatenate",
    "ifelse",
    "divide",
    "inner scan",
)
READS = ("all", "last", "tail", "sum", "last and tail", "none", "reversed")


@dataclass(frozen=True)
class Program:
    """A generated scan.

    sequences   (shape of a row, taps, how the sequence is read: plain, reversed, strided, transposed)
    states      (shape, taps)
    constants   shapes of non-sequences
    code        (operation, operand, operand)
    targets     per state: (operand, how it becomes the next value)
    mapped      operands that are mapped outputs
    reads       per output, what is read of its trace
    blocks      bytes and steps of a block
    """

    dtype: str
    sequences: tuple[tuple[Shape, tuple[int, ...], str], ...]
    states: tuple[tuple[Shape, tuple[int, ...]], ...]
    constants: tuple[Shape, ...]
    code: tuple[tuple[str, int, int], ...]
    targets: tuple[tuple[int, str], ...]
    mapped: tuple[int, ...]
    reads: tuple[str, ...]
    limit: float | None
    backwards: bool
    blocks: tuple[int, int]


@dataclass(frozen=True)
class Typed:
    """A variable and the shape it will have."""

    v: Any
    shape: Shape


def taps(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(low, high), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def programs(draw: st.DrawFn, dtypes: Sequence[str] = (*REAL, "int64", "int32")) -> Program:
    shape = st.sampled_from(SHAPES)
    common = draw(shape)
    # Most arrays of a program have one shape, for that is what lanes are for.
    row = st.one_of(st.just(common), st.just(common), shape)
    number = st.integers(0, 30)
    states = draw(st.lists(st.tuples(row, st.one_of(st.just((-1,)), taps(-3, -1))), max_size=3))
    view = st.sampled_from(("plain", "plain", "reversed", "strided", "transposed"))
    sequences = draw(
        st.lists(
            st.tuples(row, st.one_of(st.just((0,)), taps(-2, 2)), view),
            min_size=0 if states else 1,
            max_size=2,
        )
    )
    mapped = draw(st.lists(number, min_size=0 if states else 1, max_size=2))
    operation = st.one_of(st.sampled_from(UNARY), st.sampled_from(BINARY))
    return Program(
        dtype=draw(st.sampled_from(dtypes)),
        sequences=tuple(sequences),
        states=tuple(states),
        constants=tuple(draw(st.lists(row, max_size=2))),
        code=tuple(draw(st.lists(st.tuples(operation, number, number), max_size=7))),
        targets=tuple(
            (draw(number), draw(st.sampled_from(("tanh", "leak", "add", "product")))) for _ in states
        ),
        mapped=tuple(mapped),
        reads=tuple(draw(st.sampled_from(READS)) for _ in range(len(states) + len(mapped))),
        limit=draw(st.sampled_from((None, None, None, 0.31))),
        backwards=draw(st.booleans()),
        blocks=draw(st.sampled_from(((1 << 19, 4096), (600, 3), (5000, 4), (1, 1)))),
    )


# -- operations ---------------------------------------------------------------------------------------------


def last(shape: Shape) -> int:
    return shape[-1] if shape else 1


def unary(name: str, x: Any, shape: Shape, real: bool) -> Any:
    """Operation `name` of an array, or the array where it does not apply.  Values stay of the size of 1."""
    ndim = len(shape)
    if name in ("tanh", "sin"):
        return getattr(T, name)(x) if real else x + 1
    if name == "neg":
        return -x
    if name == "sqr":
        return x * x
    if name == "mask":
        return x * (x > 0)
    if name == "sum all":
        return x.sum() / x.size if real else x.sum()
    if name == "transpose":
        return x.T
    if not ndim:
        return x
    if name == "flat":
        return x.flatten()
    if name == "sum first":
        return x.sum(axis=0) / shape[0] if real else x.sum(axis=0)
    if name == "sum last":
        return x.sum(axis=-1) * 0.3 if real else x.sum(axis=-1)
    if name == "max last":
        return x.max(axis=-1)
    if name == "mean keepdims":
        return x.mean(axis=-1, keepdims=True) if real else x.sum(axis=0, keepdims=True)
    if name == "softmax":
        return T.nnet.softmax(x) if real and ndim == 2 else x
    if name == "cumsum":
        return T.cumsum(x, axis=ndim - 1) / last(shape) if real else T.cumsum(x, axis=ndim - 1)
    if name == "sort":
        return T.sort(x, axis=-1)
    if name == "roll":
        return T.roll(x, 2, axis=0)
    if name == "increment":
        return T.inc_subtensor(x[..., 0], 1)
    return x[
        {"flip": (..., slice(None, None, -1)), "first": (..., 0), "tail": (..., slice(-2, None))}.get(name, 0)
    ]


def broadcasts(a: Shape, b: Shape) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b)))


def binary(name: str, a: Typed, b: Typed, real: bool) -> Any:
    x, y, m, n = a.v, b.v, a.shape, b.shape
    if name == "dot":
        if m and n and m[-1] == (n[-2] if len(n) > 1 else n[0]):
            return T.dot(x, y) / m[-1] if real else T.dot(x, y)
        if m and m == n and len(m) == 2:
            return T.dot(x, y.T) / m[-1] if real else T.dot(x, y.T)
        name = "mul"
    if name == "concatenate":
        if m and m[1:] == n[1:] and len(n) == len(m) and m[0] + n[0] < 150:
            return T.concatenate([x, y], axis=0)
        name = "add"
    if name == "ifelse":
        if m == n:
            return scanlib.ifelse(x.sum() > y.sum(), x, y)
        name = "max"
    if name == "inner scan":
        if m and m == n:
            return scanlib.scan(
                lambda p, q, s: s + (p * q) * (0.1 if real else 1), [x, y], T.zeros_like(x[0])
            )[0][-1]
        name = "sub"
    if not broadcasts(m, n):
        y = y.sum() / y.size if real else y.sum()
    operations: dict[str, Callable[[], Any]] = {
        "add": lambda: x + y,
        "sub": lambda: x - y,
        "mul": lambda: x * y,
        "max": lambda: T.maximum(x, y),
        # Continuous, so that a last bit cannot choose another value.
        "where": lambda: T.where(x > y, x - y, y - y),
        "divide": lambda: x / (1 + y * y) if real else x + y,
    }
    return operations[name]()


def shape_of(made: Any, values: Sequence[Typed]) -> Shape:
    """The shape `made` has for inputs of these shapes, found by the interpreter."""
    from scanlib.reference import evaluate

    given = {t.v: np.zeros(t.shape, t.v.dtype) for t in values}
    return evaluate([made], given)[0].shape


def run_code(program: Program, leaves: Sequence[Typed]) -> list[Typed]:
    real, pool = program.dtype.startswith("float"), list(leaves)
    for name, i, j in program.code:
        a, b = pool[i % len(pool)], pool[j % len(pool)]
        made = unary(name, a.v, a.shape, real) if name in UNARY else binary(name, a, b, real)
        made = T.cast(made, program.dtype)
        pool.append(Typed(made, shape_of(made, [a, b])))
    return pool


def next_value(how: str, state: Typed, value: Typed, real: bool) -> Any:
    """The next value of a state: `value` is fitted to its shape and mixed with the state."""
    return T.cast(mixed(how, state, value, real), state.v.dtype)


def mixed(how: str, state: Typed, value: Typed, real: bool) -> Any:
    s, v, shape = state.v, value.v, state.shape
    if how == "product" and value.shape == shape and len(shape) == 2:
        # A sum of products over time.
        return s + T.dot(v, T.dot(v.T, v)) * 0.001 if real else s + T.dot(v, T.dot(v.T, v))
    if how == "product" and len(shape) == 2 and value.shape == (shape[0],):
        return s + T.dot(v.dimshuffle(0, "x"), T.ones_like(s[:1]))
    fits = len(value.shape) <= len(shape) and broadcasts(shape, value.shape)
    fits = fits and all(d in (1, e) for d, e in zip(reversed(value.shape), reversed(shape)))
    if not fits:
        v = v.sum() / v.size if real else v.sum()
    if how == "add" or not real:
        return s + v
    return T.tanh(v + 0.3 * s) if how == "tanh" else 0.7 * s + 0.2 * v


# -- building and running -----------------------------------------------------------------------------------


def read(trace: Any, how: str) -> list[Any]:
    reads = {
        "all": [slice(None)], "last": [-1], "tail": [slice(-2, None)], "last and tail": [-1, slice(-3, None)],
        "none": [], "reversed": [slice(None, None, -1)],
    }  # fmt: skip
    return [trace.sum(axis=0)] if how == "sum" else [trace[i] for i in reads[how]]


def variable(program: Program, name: str, shape: Shape, leading: int = 0) -> Any:
    return T.tensor(program.dtype, (False,) * (len(shape) + leading), name)


def viewed(sequence: Any, how: str) -> Any:
    """How the scan reads an input; `laid_out` makes the array that has the rows wanted."""
    if how == "reversed":
        return sequence[::-1]
    if how == "strided":
        return sequence[::2]
    return (
        sequence.dimshuffle(sequence.ndim - 1, *range(sequence.ndim - 1)) if how == "transposed" else sequence
    )


def build(program: Program, mode: str, gradient: bool) -> scanlib.Function:
    """A function of (steps, sequences, initial values, constants)."""
    n = T.lscalar("n")
    sequences = [variable(program, f"u{i}", s, 1) for i, (s, _, _) in enumerate(program.sequences)]
    initials = [variable(program, f"x{i}", s, 1) for i, (s, _) in enumerate(program.states)]
    constants = [variable(program, f"c{i}", s) for i, s in enumerate(program.constants)]
    real = program.dtype.startswith("float")

    def step(*arguments: Any) -> Any:
        shapes = [s for s, t, _ in program.sequences for _ in t] + [s for s, t in program.states for _ in t]
        leaves = [Typed(v, s) for v, s in zip(arguments, [*shapes, *program.constants])]
        pool = run_code(program, leaves)
        outputs, position = [], sum(len(t) for _, t, _ in program.sequences)
        for (_, state_taps), (operand, how) in zip(program.states, program.targets):
            position += len(state_taps)
            outputs.append(next_value(how, leaves[position - 1], pool[operand % len(pool)], real))
        outputs += [pool[-1 - i % len(pool)].v for i in program.mapped]
        if program.limit is None:
            return outputs
        return outputs, until(outputs[0].sum() / (1 + outputs[0].size) > program.limit)

    info: list[Any] = []
    for x, (_, state_taps) in zip(initials, program.states):
        info.append(x[0] if state_taps == (-1,) else dict(initial=x, taps=list(state_taps)))
    traces, _ = scanlib.scan(
        step,
        [dict(input=viewed(u, how), taps=list(t)) for u, (_, t, how) in zip(sequences, program.sequences)],
        [*info, *[None] * len(program.mapped)],
        constants,
        n_steps=n,
        go_backwards=program.backwards,
        return_list=True,
    )
    results = [r for trace, how in zip(traces, program.reads) for r in read(trace, how)]
    if gradient:
        results = gradients(results, [*sequences, *initials, *constants])
    inputs = [n, *sequences, *initials, *constants]
    return scanlib.function(inputs, results, mode=mode, on_unused_input="ignore")


def gradients(results: Sequence[Any], wrt: Sequence[Any]) -> list[Any]:
    cost = T.constant(np.asarray(0.0))
    for r in results:
        cost = cost + T.cast((r * r).sum() + 0.5 * r.sum(), "float64")
    return list(scanlib.grad(cost, list(wrt), disconnected_inputs="ignore"))


def arrays(program: Program, steps: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> np.ndarray:
        if program.dtype.startswith("float"):
            return rng.uniform(-1, 1, shape).astype(program.dtype)
        return rng.integers(-3, 4, shape).astype(program.dtype)

    made = []
    for shape, t, how in program.sequences:
        length = steps + max(*t, 0) - min(*t, 0)
        if how == "transposed":
            made.append(values(*shape, length))
        else:
            made.append(values(2 * length if how == "strided" else length, *shape))
    made += [values(-min(t), *shape) for shape, t in program.states]
    return [*made, *(values(*shape) for shape in program.constants)]


@contextmanager
def short_blocks(size: int, steps: int) -> Iterator[None]:
    """Blocks of `size` bytes and `steps` steps at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_length, "CACHE", size)
        patch.setattr(block_length, "LONGEST_BLOCK", steps)
        patch.setattr(block_length, "MEMORY_BLOCK", min(steps, 64))
        patch.setattr(lanes, "LANE_STEPS", 1 << 27 if steps > 64 else 1 + steps * 50)
        yield


def outcome(f: scanlib.Function, values: Sequence[Any]) -> list[np.ndarray] | None:
    try:
        return list(f(*values))
    except UserError:
        return None


def agree(program: Program, lengths: Sequence[int], gradient: bool) -> None:
    with short_blocks(*program.blocks):
        native, reference = (build(program, mode, gradient) for mode in ("native", "reference"))
        for steps in lengths:
            values = [steps, *arrays(program, steps, steps + 7)]
            expected, made = outcome(reference, values), outcome(native, values)
            assert (expected is None) == (made is None), f"{steps} steps: one of the two raised"
            compare(program, steps, made or [], expected or [])


def compare(program: Program, steps: int, made: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    rtol, atol = (3e-3, 3e-4) if program.dtype == "float32" else (1e-8, 1e-9)
    for k, (a, b) in enumerate(zip(made, expected, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype, f"output {k} of {steps} steps: {a.shape} {b.shape}"
        scale = float(np.max(np.abs(b[np.isfinite(b)]), initial=1)) if b.dtype.kind == "f" else 1
        np.testing.assert_allclose(a, b, rtol, atol * scale, err_msg=f"output {k} of {steps} steps")


def checked(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@checked(EXAMPLES)
@given(program=programs(), lengths=st.lists(st.integers(0, 9), min_size=1, max_size=2))
def test_generated(program: Program, lengths: list[int]) -> None:
    agree(program, lengths, False)


@checked(EXAMPLES // 2)
@given(program=programs(REAL), lengths=st.lists(st.integers(1, 6), min_size=1, max_size=2))
def test_generated_gradients(program: Program, lengths: list[int]) -> None:
    agree(program, lengths, True)
