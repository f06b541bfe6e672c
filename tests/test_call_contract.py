"""What a call promises: any lengths, any layout of inputs, results of one's own, errors without traces, memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError
from scanlib.scan import until

core = pytest.importorskip("scanlib._core")

X, W = T.dmatrix("X"), T.dmatrix("W")
x0 = T.dvector("x0")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def recurrent(a: Any, h: Any) -> Any:
    return T.tanh(0.1 * T.dot(h, W) + a)


def numpy_recurrent(X: np.ndarray, x0: np.ndarray, W: np.ndarray) -> np.ndarray:
    trace = np.empty((len(X), len(x0)))
    for t, a in enumerate(X):
        x0 = trace[t] = np.tanh(0.1 * (x0 @ W) + a)
    return trace


def leaky(a: Any, s: Any) -> Any:
    return 0.5 * s + a


def numpy_leaky(X: np.ndarray, x0: np.ndarray, W: np.ndarray) -> np.ndarray:
    trace = np.empty((len(X), len(x0)))
    for t, a in enumerate(X):
        x0 = trace[t] = 0.5 * x0 + a
    return trace


STEPS: dict[str, tuple[Callable[..., Any], Callable[..., np.ndarray]]] = {
    "product": (recurrent, numpy_recurrent),
    "lanes": (leaky, numpy_leaky),
}


@pytest.fixture(params=list(STEPS), scope="module")
def loop(request: pytest.FixtureRequest) -> tuple[scanlib.Function, Callable[..., np.ndarray]]:
    step, plain = STEPS[request.param]
    trace, _ = scanlib.scan(step, X, x0)
    f = scanlib.function([X, x0, W], [trace, trace[-2:], trace.sum(axis=0)], on_unused_input="ignore")
    return f, plain


def check(f: scanlib.Function, plain: Callable[..., np.ndarray], *values: np.ndarray) -> None:
    expected = plain(*(np.array(a, np.float64) for a in values))
    made = f(*values)
    for a, b in zip(made, [expected, expected[-2:], expected.sum(axis=0)], strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


# -- lengths and layouts --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_any_sizes(loop: Any, order: int) -> None:
    f, plain = loop
    sizes = [
        (5, 20),
        (0, 20),
        (1, 20),
        (5, 21),
        (70, 64),
        (300, 17),
        (3, 16),
        (3, 3),
        (2, 1),
        (4, 0),
        (5, 131),
    ]
    for steps, lanes in sizes[::order]:
        check(f, plain, random(steps, lanes), random(lanes, seed=1), random(lanes, lanes, seed=2))


def layouts(a: np.ndarray) -> dict[str, np.ndarray]:
    wide = np.zeros(tuple(2 * d for d in a.shape))
    wide[tuple(slice(None, None, 2) for _ in a.shape)] = a
    frozen = a.copy()
    frozen.setflags(write=False)
    unaligned = np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float64).reshape(a.shape)
    return {
        "plain": a,
        "fortran": np.asfortranarray(a),
        "strided": wide[tuple(slice(None, None, 2) for _ in a.shape)],
        "reversed": a[::-1].copy()[::-1],
        "broadcast": np.broadcast_to(a[:1], a.shape),
        "read-only": frozen,
        "byte-swapped": a.astype(">f8"),
        "unaligned": unaligned,
        "float32": a.astype(np.float32),
    }


@pytest.mark.parametrize("layout", list(layouts(random(2, 2))))
def test_any_layout(loop: Any, layout: str) -> None:
    f, plain = loop
    values = [layouts(random(*s, seed=k))[layout] for k, s in enumerate([(9, 20), (20,), (20, 20)])]
    before = [a.copy() for a in values]
    check(f, plain, *values)
    for a, b in zip(values, before):
        np.testing.assert_array_equal(a, b)


def test_lists_are_arrays(loop: Any) -> None:
    f, _ = loop
    values = [random(4, 3), random(3), random(3, 3)]
    for a, b in zip(f(*(v.tolist() for v in values)), f(*values)):
        np.testing.assert_array_equal(a, b)


def test_results_are_ones_own(loop: Any) -> None:
    f, _ = loop
    calls = [[random(n, 20, seed=n), random(20, seed=n), random(20, 20, seed=n)] for n in range(1, 9)]
    kept = [f(*values) for values in calls]
    copies = [[a.copy() for a in made] for made in kept]
    for made in kept[::2]:
        for a in made:
            assert a.flags.writeable and a.flags.c_contiguous
            a[...] = 7
    for values in calls:
        f(*values)
    for k, (made, copied) in enumerate(zip(kept, copies)):
        for a, b in zip(made, copied):
            np.testing.assert_array_equal(a, 7 if k % 2 == 0 else b)


def test_an_output_that_is_an_input_is_a_copy() -> None:
    f = scanlib.function([x0, W], [x0, W.T, x0[::-1], x0])
    a, w = random(20), random(20, 18)
    made = f(a, w)
    for result in made:
        assert not np.shares_memory(result, a) and not np.shares_memory(result, w)
    assert not np.shares_memory(made[0], made[3])
    shared = scanlib.shared(a.copy(), borrow=True)
    result = scanlib.function([], shared)()
    result[...] = 0
    np.testing.assert_array_equal(shared.get_value(), a)


def test_no_steps_have_no_last() -> None:
    for step in (recurrent, leaky):
        trace, _ = scanlib.scan(step, X, x0)
        constant, _ = scanlib.map(lambda a: x0, X)
        for output in (trace[-1], trace[0], trace[-1].sum(), constant[-1], constant[0]):
            f = scanlib.function([X, x0, W], output, on_unused_input="ignore")
            for lanes in (3, 20):
                with pytest.raises(IndexError, match="index (0|-1) is out of bounds for axis 0 of .* 0 long"):
                    f(np.zeros((0, lanes)), np.zeros(lanes), np.zeros((lanes, lanes)))


@pytest.mark.parametrize("read", [lambda n: T.zeros(n)[5], lambda n: T.broadcast_to(x0, (n, 20))[5, 0]])
def test_an_index_that_does_not_matter_is_checked(read: Callable[..., Any]) -> None:
    n = T.lscalar("n")
    f = scanlib.function([n, x0], read(n), on_unused_input="ignore")
    f(6, np.zeros(20))
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        f(5, np.zeros(20))


# -- errors ---------------------------------------------------------------------------------------------

i = T.lvector("i")
FAILURES: dict[str, tuple[Callable[[], Any], list[np.ndarray], int | None, str]] = {
    "index": (
        lambda: scanlib.scan(lambda k, s: s + s[k], i, x0, name="loop"),
        [np.array([0, 19, 20, 3]), random(20)], 2, "index 20 is out of bounds",
    ),
    "index in a lane": (
        lambda: scanlib.scan(lambda k, s: s * 0.5 + W[k], i, x0, name="loop"),
        [np.array([0, 19, -21, 3]), random(20), random(20, 20)], 2, "index -21 is out of bounds",
    ),
    "index with a product": (
        lambda: scanlib.scan(lambda k, s: T.tanh(T.dot(s, W)) + s[k], i, x0, name="loop"),
        [np.array([0] * 70 + [33]), random(20), random(20, 20)], 70, "index 33 is out of bounds",
    ),
    "singular": (
        lambda: scanlib.scan(
            lambda k, s: scanlib.tensor.linalg.solve(W * T.neq(k, 3), s), i, x0, name="loop"
        ),
        [np.arange(5), random(20), np.eye(20)], 3, "singular",
    ),
    "drift": (
        lambda: scanlib.scan(lambda k, s: s[:20 - k], i, x0, name="loop"),
        [np.array([0, 0, 1]), random(20)], 2, "shape",
    ),
    "run-time dims": (
        lambda: scanlib.scan(lambda k, s: s + W[0], i, x0, name="loop"),
        [np.arange(3), random(20), random(3, 21)], None, "20 against 21|21 against 20",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(FAILURES))
def test_a_failure_leaves_nothing_behind(case: str) -> None:
    build, values, step, message = FAILURES[case]
    count = scanlib.shared(np.arange(20.0), name="count")
    trace, _ = build()
    f = scanlib.function([i, x0, W][: len(values)], trace, updates={count: count + trace[-1].sum()})

    def fail() -> str:
        with pytest.raises(UserError, match=message) as caught:
            f(*values)
        return str(caught.value)

    text = fail()
    if step is not None:
        assert "'loop'" in text and f"step {step}" in text
    gc.collect()
    before = core.allocated_bytes()
    for _ in range(20):
        fail()
    gc.collect()
    assert core.allocated_bytes() <= before
    np.testing.assert_array_equal(count.get_value(), np.arange(20.0))


# -- memory ---------------------------------------------------------------------------------------------


def peak(f: scanlib.Function, *values: Any) -> int:
    gc.collect()
    core.reset_peak_bytes()
    start = core.allocated_bytes()
    f(*values)
    return int(core.peak_bytes()) - start


def test_memory_comes_back(loop: Any) -> None:
    f, _ = loop
    values = [random(50, 40), random(40), random(40, 40)]
    f(*values)
    gc.collect()
    before = core.allocated_bytes()
    for _ in range(50):
        f(*values)
    gc.collect()
    assert core.allocated_bytes() <= before


def test_power_holds_three_arrays() -> None:
    A, k = T.dvector("A"), T.lscalar("k")
    powers, updates = scanlib.scan(lambda p, A: p * A, None, T.ones_like(A), A, n_steps=k)
    f = scanlib.function([A, k], powers[-1], updates=updates)
    a = np.random.default_rng(0).uniform(0.99, 1.01, 1_000_000)
    np.testing.assert_allclose(f(a, 10), a**10)
    assert peak(f, a, 1000) <= 3 * a.nbytes + 4096


@pytest.mark.parametrize("step", [leaky, recurrent, lambda a, s: (leaky(a, s), until(s.sum() > 1e9))])
@pytest.mark.parametrize("k", [1, 5])
def test_the_last_steps_take_no_memory_for_the_others(step: Callable[..., Any], k: int) -> None:
    n = T.lscalar("n")
    traces, _ = scanlib.scan(lambda s: step(0.01, s), None, x0, n_steps=n)
    f = scanlib.function([n, x0, W], traces[-k:], on_unused_input="ignore")
    values = [random(200), random(200, 200) / 200]
    few, many = (peak(f, steps, *values) for steps in (10, 2000))
    assert many <= few + 4096
