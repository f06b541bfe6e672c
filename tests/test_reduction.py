"""Reductions and accumulations over all axes, dtypes and shapes against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special as sp

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserTypeError, UserValueError
from scanlib.graph import DTYPES, TensorType, Variable
from scanlib.ops.base import TABLE, Reduce

ROWS = sorted(name for name, row in TABLE.items() if isinstance(row.lower, Reduce))
NEED_ELEMENTS = ("max", "min", "argmax", "argmin")
SHAPES = [(), (1,), (7,), (40,), (3, 5), (1, 4), (4, 1), (33, 2), (2, 33), (2, 3, 4), (0,), (0, 3), (3, 0)]


def values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "bool":
        return rng.random(shape) < 0.7
    if dtype.startswith("float"):
        return rng.normal(1, 0.5, shape).astype(dtype)
    return rng.integers(0 if dtype.startswith("u") else -4, 5, shape).astype(dtype)


def variable(dtype: str, shape: tuple[int, ...]) -> Variable:
    return Variable(TensorType(dtype, (None,) * len(shape)))


def subsets(ndim: int) -> list[tuple[int, ...]]:
    return [s for n in range(ndim + 1) for s in itertools.combinations(range(ndim), n)]


def close(got: np.ndarray, wanted: np.ndarray, what: str) -> None:
    assert got.dtype == wanted.dtype, f"{what}: {got.dtype}, expected {wanted.dtype}"
    assert got.shape == wanted.shape, what
    rtol = {"float32": 1e-5, "float64": 1e-12}.get(wanted.dtype.name, 0)
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol, err_msg=what)


def run(mode: str, cases: list[tuple[str, np.ndarray, Variable, Variable, np.ndarray]]) -> None:
    """Cases are (what, value, input, output, expected), all in one function."""
    f = scanlib.function([c[2] for c in cases], [c[3] for c in cases], mode=mode)
    for (what, _, _, _, wanted), got in zip(cases, f(*[c[1] for c in cases]), strict=True):
        close(got, np.asarray(wanted), what)


def numpy_reduce(name: str, x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return np.asarray(getattr(np, name)(x, axis=axes, keepdims=keepdims))


@pytest.mark.parametrize("name", ROWS)
def test_row_on_every_shape_and_axes(name: str, mode: str) -> None:
    row, rng, cases = TABLE[name], np.random.default_rng(1), []
    for shape in SHAPES:
        for axes in subsets(len(shape)):
            if name in NEED_ELEMENTS and any(shape[a] == 0 for a in axes):
                continue
            a, x = values(rng, "float64", shape), variable("float64", shape)
            keepdims = bool(len(cases) % 2)
            out = row(x, axes=axes, keepdims=keepdims)
            what = f"{name} of {shape} over {axes}, keepdims={keepdims}"
            cases.append((what, a, x, out, numpy_reduce(name, a, axes, keepdims)))
    run(mode, cases)


@pytest.mark.parametrize("name", ROWS)
def test_row_on_every_dtype(name: str, mode: str) -> None:
    row, rng, cases = TABLE[name], np.random.default_rng(2), []
    for dtype, shape in itertools.product(DTYPES, [(19,), (3, 4)]):
        a, x = values(rng, dtype, shape), variable(dtype, shape)
        axes = (len(shape) - 1,)
        wanted = numpy_reduce(name, a, axes, False)
        cases.append((f"{name} of {dtype}{shape}", a, x, row(x, axes=axes, keepdims=False), wanted))
    run(mode, cases)


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_propagate_nan(name: str, mode: str) -> None:
    x = T.dvector()
    f = scanlib.function([x], getattr(x, name)(), mode=mode)
    for length in (3, 40):
        for place in (0, 1, length - 1):
            a = np.arange(float(length))
            a[place] = np.nan
            assert np.isnan(f(a))
    assert f(np.full(3, -np.inf)) == -np.inf


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extremes_of_nothing_are_a_user_error(name: str, mode: str) -> None:
    with pytest.raises(UserValueError, match=r"'x'"):
        getattr(T, name)(T.matrix("x", shape=(0, 3)), axis=0)
    x = T.dmatrix("x")
    f = scanlib.function([x], getattr(T, name)(x, axis=0), mode=mode)
    assert f(np.ones((2, 0))).shape == (0,)
    with pytest.raises(UserValueError, match=r"'x'"):
        f(np.ones((0, 3)))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg_reductions(name: str, mode: str) -> None:
    rng, cases, function = np.random.default_rng(3), [], getattr(np, name)
    for shape in [(1,), (7,), (40,), (3, 5), (33, 2), (2, 3, 4)]:
        for axis in [None, *range(-len(shape), len(shape))]:
            a, x = rng.integers(0, 4, shape).astype("float64"), variable("float64", shape)
            a.flat[rng.integers(a.size)] = np.nan if len(cases) % 3 == 0 else 2
            keepdims = bool(len(cases) % 2)
            out = getattr(T, name)(x, axis=axis, keepdims=keepdims)
            cases.append((f"{shape} {axis}", a, x, out, function(a, axis=axis, keepdims=keepdims)))
    for dtype in DTYPES:
        a, x = values(rng, dtype, (11,)), variable(dtype, (11,))
        cases.append((dtype, a, x, getattr(T, name)(x), function(a)))
    run(mode, cases)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_accumulations(name: str, mode: str) -> None:
    rng, cases, function = np.random.default_rng(4), [], getattr(np, name)
    for shape in [(0,), (1,), (7,), (40,), (3, 5), (33, 2), (2, 3, 4), (0, 2)]:
        for axis in [None, *range(-len(shape), len(shape))]:
            a, x = values(rng, "float64", shape), variable("float64", shape)
            cases.append((f"{shape} {axis}", a, x, getattr(T, name)(x, axis), function(a, axis)))
    for dtype in DTYPES:
        a, x = values(rng, dtype, (6,)), variable(dtype, (6,))
        cases.append((dtype, a, x, getattr(T, name)(x), function(a)))
    run(mode, cases)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "linear_recurrence"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_directions_of_accumulations(name: str, reverse: bool, exclusive: bool, mode: str) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 3, 4))
    flip = slice(None, None, -1 if reverse else 1)
    state, wanted = np.full(3, float(name == "cumprod")), np.empty((3, 4))
    for k in range(4)[flip]:
        before = state
        state = {"cumsum": state + a[:, k], "cumprod": state * a[:, k]}.get(name, a[:, k] * state + b[:, k])
        wanted[:, k] = before if exclusive else state
    x, y = T.dmatrices(2)
    inputs = [x, y] if name == "linear_recurrence" else [x]
    out = TABLE[name](*inputs, axis=1, reverse=reverse, exclusive=exclusive)
    f = scanlib.function(inputs, out, mode=mode)
    np.testing.assert_allclose(f(*[a, b][: len(inputs)]), wanted, rtol=1e-13)


def test_user_reductions(mode: str) -> None:
    rng = np.random.default_rng(6)
    a = rng.normal(size=(4, 5))
    x = T.dmatrix()
    cases = [
        (T.mean(x), a.mean()), (T.mean(x, 0), a.mean(0)),
        (T.mean(x, (0, 1), keepdims=True), a.mean(keepdims=True)),
        (T.var(x, 1), a.var(1)), (T.var(x, 1, ddof=1), a.var(1, ddof=1)), (T.std(x), a.std()),
        (T.ptp(x, -1), np.ptp(a, -1)), (x.norm(2), np.linalg.norm(a)),
        (x.norm(1, axis=0), np.linalg.norm(a, 1, axis=0)), (x.norm(3, axis=1), np.linalg.norm(a, 3, axis=1)),
        (x.norm(np.inf, axis=1), np.linalg.norm(a, np.inf, axis=1)),
        (x.norm(-np.inf, axis=1), np.linalg.norm(a, -np.inf, axis=1)),
        (x.norm(0, axis=1), np.linalg.norm(a, 0, axis=1)),
        (T.logsumexp(x), sp.logsumexp(a)), (T.logsumexp(x, 1, True), sp.logsumexp(a, 1, keepdims=True)),
        (T.softmax(x), sp.softmax(a, -1)), (T.softmax(x, 0), sp.softmax(a, 0)),
        (T.softmax(x, None), sp.softmax(a)), (T.log_softmax(x, 0), sp.log_softmax(a, 0)),
        (T.sum(x, dtype="float32"), a.astype("float32").sum()), (T.max_and_argmax(x, 1)[1], a.argmax(1)),
    ]  # fmt: skip
    results = scanlib.function([x], [c[0] for c in cases], mode=mode)(a)
    for i, (got, (_, wanted)) in enumerate(zip(results, cases, strict=True)):
        close(got, np.asarray(wanted), f"case {i}")


def test_means_of_integers_are_float64(mode: str) -> None:
    x = T.vector(dtype="int8")
    a = np.array([1, 2, 4], "int8")
    mean, var = scanlib.function([x], [x.mean(), x.var()], mode=mode)(a)
    close(mean, a.mean(), "mean")
    close(var, a.var(), "var")


def test_exponential_sums_do_not_overflow(mode: str) -> None:
    x = T.dvector()
    f = scanlib.function([x], [T.logsumexp(x), T.softmax(x), T.log_softmax(x)], mode=mode)
    for a in ([1000.0, 1000.0], [-1000.0, -2000.0], [-np.inf, 0.0], [-np.inf, 700.0, 710.0]):
        for got, function in zip(f(np.array(a)), (sp.logsumexp, sp.softmax, sp.log_softmax), strict=True):
            np.testing.assert_allclose(got, function(a), rtol=1e-14)
    assert f(np.full(2, -np.inf))[0] == -np.inf
    assert f(np.array([np.inf, 0.0]))[0] == np.inf


def test_bad_axes_are_user_errors() -> None:
    x = T.matrix("x")
    with pytest.raises(UserValueError, match=r"'x'.*axis 2"):
        x.sum(axis=2)
    with pytest.raises(UserValueError, match=r"'x'.*twice"):
        x.sum(axis=(0, -2))
    with pytest.raises(UserTypeError, match=r"'x'"):
        x.sum(axis=0.5)
    with pytest.raises(UserTypeError, match=r"'x'"):
        x.sum(axis=T.iscalar())
    with pytest.raises(UserValueError, match=r"'x'"):
        T.argmax(T.scalar("x"), axis=0)
