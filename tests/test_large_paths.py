"""Run-time dims on every path of the lowering, one hand-written loop each: compiled against the interpreter.

Every loop runs with blocks as they are and with blocks of a few steps, at several sizes, with its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from test_large_shapes import short_blocks

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError
from scanlib.random import PhiloxStreams, RandomStreams
from scanlib.scan import until
from scanlib.tensor import linalg

pytest.importorskip("scanlib._core")

X, W, X3 = T.dmatrix("X"), T.dmatrix("W"), T.dtensor3("X3")
v, w, s0, k = T.dvector("v"), T.dvector("w"), T.dscalar("s0"), T.lscalar("k")
at = T.lvector("at")
scan, exp, tanh = scanlib.scan, T.exp, T.tanh


def one(*arguments: Any, **named: Any) -> Any:
    return scan(*arguments, **named)[0]


def array(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape or 1).uniform(-1, 1, shape)


def near_eye(n: int) -> np.ndarray:
    return array(n, n) * 0.1 + np.eye(n)


VECTORS = [(array(5, 20), array(20)), (array(70, 3), array(3)), (array(1, 131), array(131))]
WITH_MATRIX = [
    (array(5, 20), array(20), array(20, 20)),
    (array(70, 17), array(17), array(17, 17)),
    (array(150, 3), array(3), array(3, 3)),
]
LENGTHS = [(array(5, 20), array(20), n) for n in (20, 1, 7, 0)]
LOOKED_UP = [(array(30, n), array(n, n), array(n), np.arange(50) ** 2 % 19) for n in (20, 33, 3)]

# name: (inputs, outputs, values to differentiate with respect to, arguments of calls)
Path = tuple[Sequence[Any], Callable[[], list[Any]], Sequence[Any], Sequence[tuple[Any, ...]]]


def lanes(a: Any, s: Any) -> Any:
    return 0.4 * s + a


def deep(a: Any, s: Any) -> Any:
    return tanh(0.3 * s + a)


def states(*start: Any, step: Any, sequence: Any = X) -> list[Any]:
    return scan(step, sequence, list(start), return_list=True)[0]


def reads(step: Callable[..., Any], *start: Any) -> list[Any]:
    """The last steps of every output; of the last output nothing older is read."""
    *first, last = states(*start, step=step)
    return [*(trace[-1] for trace in first), last[-3:]]


def viewed(step: Callable[..., Any], view: Callable[[], Any]) -> Path:
    def outputs() -> list[Any]:
        trace = one(step, view(), T.zeros_like(view()[0]))
        return [trace, trace[-1]]

    return [X], outputs, [X], [(array(30, 40),), (array(17, 101),), (array(5, 6),)]


def tapped(step: Callable[..., Any], taps: Sequence[int], keep: int | None) -> Path:
    def outputs() -> list[Any]:
        trace = one(step, w, dict(initial=X[: -min(taps)], taps=list(taps)))
        return [trace if keep is None else trace[-keep:]]

    return (
        [w, X],
        outputs,
        [w, X],
        [(array(7), array(3, 20)), (array(1), array(3, 70)), (array(90), array(3, 3))],
    )


def until_above(step: Callable[..., Any]) -> Callable[..., Any]:
    def stopping(a: Any, *rest: Any) -> Any:
        made = step(a, *rest)
        return made, until(made[0].sum() > s0)

    return stopping


def rows(a: Any, h: Any) -> Any:
    return tanh(T.dot(h, W) * 0.1 + a)


PATHS: dict[str, Path] = {
    "broadcasting, lanes": ([X, v, k], lambda: [one(lambda a, s: s * 0.5 + a * v[:k], X, v)], [X, v], LENGTHS),
    "broadcasting": ([X, v, k], lambda: [one(lambda a, s: deep(a, s) * v[:k], X, v)], [X, v], LENGTHS),
    "accumulator repeated": (
        [X, v, k], lambda: reads(lambda a, h, c: (deep(a, h), c + exp(h)[:k]), v, v), [], LENGTHS,
    ),
    "accumulator": (
        [X, v], lambda: reads(lambda a, h, c, d: (deep(a, h), c + exp(h) + a, d + exp(h).sum()), v, v, s0 * 0),
        [X, v], VECTORS,
    ),
    "accumulated outer products": (
        [X, v, W], lambda: reads(lambda a, h, c: (deep(a, h), c + T.outer(h, a) + exp(h)), v, W),
        [X, v, W], [*WITH_MATRIX, (array(5, 20), array(20), array(33, 20)), (array(2, 1), array(1), array(20, 20))],
    ),
    "accumulated rows, repeated": (
        [X, v, W], lambda: reads(lambda a, h, c: (deep(a, h), c + T.dot(h.dimshuffle("x", 0), W)), v, W),
        [X, v, W], WITH_MATRIX,
    ),
    "accumulated product of a part": (
        [X, v, W, k],
        lambda: reads(
            lambda a, h, c: (deep(a, h), c + T.dot(h[:k].dimshuffle(0, "x"), a.dimshuffle("x", 0))), v, W
        ),
        [], [(array(5, 20), array(20), array(20, 20), n) for n in (20, 1, 3)],
    ),
    "mapped products": (
        [X, v, W], lambda: reads(lambda a, h: (deep(a, h), T.nnet.sigmoid(T.dot(W, h))), v, None),
        [X, v, W], WITH_MATRIX,
    ),
    "mapped trace": (
        [X, v], lambda: states(v, None, None, step=lambda a, h: (deep(a, h), exp(h), exp(h).sum())), [X, v], VECTORS,
    ),
    "recurrent rows": (
        [X3, X, W], lambda: [one(rows, X3, X)[-1]], [X3, X, W],
        [(array(7, 4, 33), array(4, 33), array(33, 33)), (array(3, 17, 20), array(17, 20), array(20, 20))],
    ),
    "rows looked up": (
        [X, W, v, at], lambda: [one(lambda i, h: tanh(T.dot(X[i], W) + h), at, v)], [X, W, v], LOOKED_UP,
    ),
    "columns looked up": (
        [X, W, v, at], lambda: [one(lambda i, h: tanh(T.dot(W, X.T[:, i]) + h), at, v)], [X, W, v], LOOKED_UP,
    ),
    "columns of a state looked up": (
        [X, W, v, at],
        lambda: states(v, W, None, sequence=at, step=lambda i, h, c: (
            tanh(T.dot(c, h) + X[i]), tanh(c * 0.9), tanh(T.dot(c[:, i % c.shape[0]], c + h)))),
        [X, W, v], LOOKED_UP,
    ),
    "columns of a state looked up, last": (
        [W, v, at],
        lambda: [states(v, W, None, sequence=at, step=lambda i, h, c: (
            tanh(T.dot(c, h)), tanh(c * 0.9), tanh(T.dot(c[:, i % c.shape[0]], c + h))))[2].sum(axis=0)],
        [], [values[1:] for values in LOOKED_UP],
    ),
    "recurrent vector": ([X, v, W], lambda: [one(rows, X, v)], [X, v, W], WITH_MATRIX),
    "until, states": (
        [X, v, s0], lambda: states(v, v, step=until_above(lambda a, h, c: (deep(a, h), c + exp(h)))), [X, v],
        [(array(50, n), array(n), limit) for n in (20, 3) for limit in (-9.0, 1.5, 1e9)],
    ),
    "until, epilogue": (
        [X, v, s0, W],
        lambda: reads(until_above(lambda a, h, c: (deep(a, h), c + exp(h), T.dot(W, exp(h)))), v, v, None), [],
        [(array(50, n), array(n), limit, array(33, n)) for n in (20, 3) for limit in (-9.0, 1.5, 1e9)],
    ),
    "until, matrices": (
        [X, s0], lambda: [one(lambda s: (0.7 * s + 0.2, until(s.sum() > s0)), None, X, n_steps=9)], [],
        [(array(20, 33), limit) for limit in (-99.0, 60.0, 1e9)],
    ),
    "scalars, many steps": (
        [v, w], lambda: [one(lambda a, p, q: a + 0.5 * p - 0.3 * q, v, dict(initial=w, taps=[-2, -1]))[-5:]], [v, w],
        [(array(n), array(2)) for n in (1, 300)],
    ),
    "solve in a step": (
        [X, v, W], lambda: [one(lambda a, s: linalg.solve(W, s + a), X, v)], [X, v, W],
        [(array(4, n), array(n), near_eye(n)) for n in (20, 3)],
    ),
    "cholesky in a step": (
        [X3], lambda: [one(lambda a: linalg.cholesky(T.dot(a, a.T) + T.eye(a.shape[0])), X3)], [X3],
        [(array(5, 20, 20),), (array(5, 3, 3),)],
    ),
    "sort in a step": (
        [X, v], lambda: [one(lambda a, s: T.sort(a + s)[T.argsort(a)], X, v)], [X, v], VECTORS,
    ),
    "cumsum, argmax": (
        [X, v], lambda: [one(lambda a, s: T.tanh(T.cumsum(s) + a[T.argmax(a)]), X, v)], [X, v], VECTORS,
    ),
    "mask in a step": ([X, s0], lambda: [one(lambda a, s: s + a[a > 0].sum(), X, s0)], [X, s0],
        [(array(5, 20), 0.3), (-np.ones((3, 20)), 0.3)]),
    "mask written in a step": (
        [X, v], lambda: [one(lambda a, s: T.set_subtensor(s[a > 0], 0.5) * 0.9, X, v)], [v], VECTORS,
    ),
    "masked sequence": (
        [X, v, w], lambda: [one(deep, X[v > 0], w)], [X, w],
        [(array(20, 33), array(20), array(33)), (array(20, 33), -np.ones(20), array(33))],
    ),
    "masked state": ([X, v], lambda: [one(deep, X, v[v > -2])], [X], VECTORS),
    "ifelse in a step": (
        [X, v, W], lambda: [one(lambda a, s: scanlib.ifelse(a.sum() > 0, T.dot(W, a + s), deep(a, s)), X, v)],
        [X, v, W], [(array(5, n), array(n), array(n, n)) for n in (20, 3)],
    ),
    "ifelse in ifelse": (
        [X, v, W],
        lambda: [one(
            lambda a, b: scanlib.ifelse(a[0] > b[0], a, scanlib.ifelse(a[1] > b[1], a + b, b)), [X, W])],
        [X, W], [(array(5, 20), array(1), array(5, 20) ** 2), (array(3, 3), array(1), array(3, 3) ** 2)],
    ),
    "arms of other lengths": (
        [v, w, k, s0], lambda: [one(lambda a, s: s + scanlib.ifelse(a > 0, v[:k], w).sum(), v, s0)], [],
        [(array(20), array(33), 5, 0.1), (array(20), array(3), 20, 0.1)],
    ),
    "arms that fail": (
        [v, w, k],
        lambda: [scanlib.ifelse(T.eq(v.shape[0], w.shape[0]), v + w, v), scanlib.ifelse(k < 20, v[k], s0 * 0)], [],
        [(array(20), array(20), 19), (array(20), array(33), 20), (array(3), array(20), 1), (array(3), array(4), 20)],
    ),
    "a scan in an arm": (
        [X, v, W, k], lambda: [scanlib.ifelse(k > 0, one(rows, X, v)[-1], v)], [],
        [(array(5, n), array(20), array(20, 20), c) for n in (20, 33, 3) for c in (0, 1)],
    ),
    "nested": (
        [X, s0], lambda: [one(lambda a, s: one(deep, a, s)[-1] * 0.5 + s, X, s0)], [X, s0],
        [(array(5, 20), 0.1), (array(70, 3), 0.1)],
    ),
    "nested lanes": (
        [X3, v], lambda: [one(lambda a, s: one(lanes, a, s)[-1], X3, v)], [X3, v],
        [(array(5, 20, 33), array(33)), (array(7, 3, 3), array(3)), (array(1, 1, 70), array(70))],
    ),
    "nested trace": (
        [X, k], lambda: [one(lambda a: one(lambda y: y * a, None, T.ones_like(a), n_steps=k), X)], [X],
        [(array(5, 20), 3), (array(7, 3), 20), (array(7, 3), 0)],
    ),
    "nested until": (
        [k, v],
        lambda: [one(
            lambda i, s: s + one(lambda y: (y * 0.5 + 0.1, until(y < 0.3)), None, s.mean(), n_steps=i).sum(),
            T.arange(k), v)],
        [], [(5, array(20)), (20, array(3)), (0, array(3))],
    ),
    **{
        f"{name}, {how}": viewed(step, view)
        for name, step in (("lanes", lanes), ("tanh", lambda a, s: deep(a, s + s.sum() * 0.01)))
        for how, view in {
            "reversed": lambda: X[::-1], "strided": lambda: X[1::3], "transposed": lambda: X.T,
            "columns": lambda: X[:, 2:], "back in twos": lambda: X[::-2], "columns back": lambda: X[:, ::-1],
        }.items()
    },
    **{
        f"{name}, taps {taps}, keep {keep}": tapped(step, taps, keep)
        for name, step in (
            ("lanes", lambda a, *t: 0.3 * a + sum(t) * 0.4),
            ("mixed", lambda a, *t: tanh(0.3 * a + sum(t) * 0.4 + t[0].mean())),
        )
        for taps in ([-1], [-3], [-2, -1], [-3, -1])
        for keep in (None, 1, 5)
    },
}  # fmt: skip


def outcome(f: scanlib.Function, values: Sequence[Any]) -> list[np.ndarray] | None:
    try:
        return list(f(*values))
    except UserError:
        return None


SHORT = (700, 3)
BOTH = [
    (name, blocks)
    for name in PATHS
    for blocks in ((1 << 19, 4096), SHORT)
    if blocks == SHORT or "," not in name
]


@pytest.mark.parametrize("name, blocks", BOTH)
def test_path(name: str, blocks: tuple[int, int]) -> None:
    inputs, build, wrt, calls = PATHS[name]
    outputs = build()
    if wrt:
        cost = T.constant(0.0)
        for o in outputs:
            cost = cost + (o * o).sum()
        outputs = [*outputs, *scanlib.grad(cost, list(wrt))]
    unset = {} if any(u is s0 for u in inputs) else {s0: T.constant(0.0)}
    functions = [
        scanlib.function(inputs, outputs, mode=m, givens=unset, on_unused_input="ignore")
        for m in ("native", "reference")
    ]
    with short_blocks(*blocks):
        for values in calls:
            made, expected = (outcome(f, values) for f in functions)
            assert (made is None) == (expected is None)
            for a, b in zip(made or [], expected or [], strict=True):
                assert a.shape == b.shape and a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("keep", [None, 1, 3])
@pytest.mark.parametrize("length", [4095, 4096, 4097, 9000])
def test_more_steps_than_a_block(keep: int | None, length: int) -> None:
    trace = one(lambda a, p, q: a + 0.5 * p - 0.3 * q, v, dict(initial=w, taps=[-2, -1]))
    f = scanlib.function([v, w], trace if keep is None else trace[-keep:])
    expected = [0.5, -0.25]
    for a in array(length):
        expected.append(a + 0.5 * expected[-2] - 0.3 * expected[-1])
    start = 2 if keep is None else -keep
    np.testing.assert_allclose(
        f(array(length), np.array([0.5, -0.25])), expected[start:], rtol=1e-9, atol=1e-12
    )


# -- random draws and other dtypes ----------------------------------------------------------------------


@pytest.mark.parametrize("streams", [RandomStreams, PhiloxStreams])
@pytest.mark.parametrize("lengths", [(5, 20), (3, 3), (70, 33), (0, 20)])
def test_draws_in_a_step(streams: Callable[..., Any], lengths: tuple[int, int]) -> None:
    def build(mode: str) -> scanlib.Function:
        rng = streams(7)

        def step(a: Any, s: Any) -> Any:
            noise = rng.uniform(size=s.shape) + rng.normal(size=s.shape) * rng.binomial(
                size=s.shape, p=a[0] ** 2
            )
            return s * 0.5 + a + noise, noise.sum()

        (trace, noise), updates = scan(step, X, [v, None])
        return scanlib.function([X, v], [trace, trace[-2:], noise], updates=updates, mode=mode)

    native, reference = build("native"), build("reference")
    values = array(*lengths), array(lengths[1])
    seen = []
    for _ in range(2):
        made = native(*values)
        for a, b in zip(made, reference(*values), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        seen.append(made[0])
    assert lengths[0] == 0 or not np.array_equal(*seen)


def mixed_types(row: Sequence[bool], mode: str) -> scanlib.Function:
    """Boolean, 8-bit, integer and single-precision states beside each other."""
    u = T.tensor("int32", (False, *row), "u")
    flags, bytes_, total = (T.tensor(d, row) for d in ("bool", "uint8", "int64"))
    single = T.tensor("float32", row)

    def step(a: Any, p: Any, b: Any, n: Any, x: Any) -> Any:
        odd = T.eq(a % 2, 1)
        return [
            p ^ odd, b * 3 + T.cast(a, "uint8"), n + T.where(p, a, -a).sum(),
            T.where(p, x * 0.5, x + T.cast(a, "float32")), odd & p, T.cast(b, "bool").any(), (a // 3) * b,
            T.cast(x, "float64") + n,
        ]  # fmt: skip

    traces, _ = scan(step, u, [flags, bytes_, total, single, *[None] * 4])
    outputs = [o for trace in traces for o in (trace, trace[-1])]
    return scanlib.function([u, flags, bytes_, total, single], outputs, mode=mode)


@pytest.mark.parametrize("row", [(), (3,), (20,), (101,), (2, 40), (33, 20)])
def test_dtypes_beside_each_other(row: tuple[int, ...]) -> None:
    functions = [mixed_types((False,) * len(row), mode) for mode in ("native", "reference")]
    rng = np.random.default_rng(0)
    for steps in (1, 9):
        values = [rng.integers(-9, 9, (steps, *row)).astype("int32")]
        for dtype in ("bool", "uint8", "int64", "float32"):
            values.append(rng.integers(0, 255, row).astype(dtype))
        made, expected = (f(*values) for f in functions)
        for a, b in zip(made, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6)


# -- traces that are written past the caches ---------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 64), (256,), (3, 96), (2, 121), (160,)])
def test_traces_too_large_for_caches(shape: tuple[int, ...], dtype: str, threads: int) -> None:
    """Whole cache lines or not, a trace of 9 MB holds what a loop in NumPy gives."""
    rng = np.random.default_rng(2)
    steps = int(9e6 / np.dtype(dtype).itemsize / np.prod(shape))
    values = rng.normal(size=(steps, *shape)).astype(dtype)
    u = T.TensorType(dtype, (None,) * values.ndim)("u")
    trace, _ = scanlib.scan(lambda u, x: u - x / 2, sequences=u, outputs_info=T.zeros_like(u[0]))
    f = scanlib.function([u], trace)
    with scanlib.threads(threads):
        found = f(values)
    x, expected = np.zeros(shape, dtype), np.empty_like(values)
    for t in range(steps):
        x = expected[t] = values[t] - x / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_several_traces_too_large_for_caches() -> None:
    """Two taps, a mapped output that narrows, and a sum over the steps: the traces together, and each by itself."""
    values = np.random.default_rng(3).normal(size=(20_000, 64))
    u = T.dmatrix("u")
    (x, half), _ = scanlib.scan(
        lambda u, p, q: [u + (p - q) / 4, T.cast(p / 2, "float32")],
        sequences=u,
        outputs_info=[{"initial": T.zeros_like(u[:2]), "taps": [-2, -1]}, None],
    )
    outputs = [x, half, (x**2).sum(0)]
    together = scanlib.function([u], outputs)(values)
    apart = [scanlib.function([u], v)(values[:3000]) for v in outputs[:2]]
    expected = np.zeros((20_002, 64))
    for t in range(20_000):
        expected[t + 2] = values[t] + (expected[t] - expected[t + 1]) / 4
    np.testing.assert_allclose(together[0], expected[2:], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(together[1], expected[:-2] / 2, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(together[2], (expected**2).sum(0), rtol=1e-10)
    for whole, part in zip(together, apart):
        np.testing.assert_array_equal(whole[:3000], part)
