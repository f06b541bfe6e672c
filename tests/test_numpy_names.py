"""NumPy's functions that are compositions here, against NumPy, in both modes, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserIndexError, UserTypeError, UserValueError
from scanlib.graph import TensorType, Variable
from scanlib.verify import verify_grad

RNG = np.random.default_rng(0)
ODD = np.array([0.0, -0.0, 3.0, -3.0, np.inf, -np.inf, 1e200, np.nan, 1.0])
EINSUMS: list[Any] = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("i,i", (3,), (3,)), ("i,j->ij", (3,), (4,)), ("ii", (3, 3)), ("ii->i", (3, 3)), ("ij->ji", (2, 3)),
    ("ij->", (2, 3)), ("ijk->k", (2, 3, 4)), ("ij,ij->i", (2, 3), (2, 3)), ("ij,kj->", (2, 3), (4, 3)),
    ("ijij->ij", (2, 3, 2, 3)), ("abc,cda->bd", (2, 3, 4), (4, 5, 2)), ("ba", (2, 3)),
    ("iij,j->i", (3, 3, 2), (2,)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("abcd,aefd->abecf", (2, 3, 4, 2), (2, 2, 3, 2)), (",i->i", (), (3,)), ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,j->", (0, 2), (2,)),
]  # fmt: skip


def normal(*shape: int) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape))


def check(
    mode: str, made: Callable[..., Any], meant: Callable[..., Any], *arrays: np.ndarray, slopes: bool = True
) -> None:
    inputs = [
        Variable(TensorType(a.dtype.name, (None,) * a.ndim), name=f"v{k}") for k, a in enumerate(arrays)
    ]
    outputs, wanted = made(*inputs), meant(*arrays)
    if not isinstance(outputs, (list, tuple)):
        outputs, wanted = [outputs], [wanted]
    for got, want in zip(scanlib.function(inputs, list(outputs), mode=mode)(*arrays), wanted, strict=True):
        assert np.shape(got) == np.shape(want)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    if slopes and mode == "reference":
        verify_grad(made, list(arrays))


@pytest.mark.parametrize("case", EINSUMS, ids=lambda case: case[0])
def test_einsum(case: tuple[Any, ...], mode: str) -> None:
    subscripts, *shapes = case
    arrays = [normal(*s) for s in shapes]
    check(mode, lambda *v: T.einsum(subscripts, *v), lambda *v: np.einsum(subscripts, *v), *arrays)
    whole = [np.arange(a.size).reshape(a.shape) for a in arrays]
    check(
        mode, lambda *v: T.einsum(subscripts, *v), lambda *v: np.einsum(subscripts, *v), *whole, slopes=False
    )


def test_einsum_errors(mode: str) -> None:
    m, v = T.matrix("m"), T.vector("v")
    for subscripts, operands, message in [
        ("ij,j->k", (m, v), "must occur once, and in an operand"),
        ("ij,j->ii", (m, v), "must occur once"),
        ("ij", (m, v), "names 1 operands, 2 are given"),
        ("ij,jk", (m, v), "'jk' names 2 axes of 'v', which has 1"),
        ("...j,j", (m, v), "name every axis"),
    ]:
        with pytest.raises(UserValueError, match=message):
            T.einsum(subscripts, *operands)
    with pytest.raises(UserTypeError, match="expected subscripts"):
        T.einsum(m, v)
    f = scanlib.function([m, v], T.einsum("ij,j->i", m, v), mode=mode)
    with pytest.raises(UserValueError, match="3 columns against 4 rows"):
        f(np.ones((2, 3)), np.ones(4))


@pytest.mark.parametrize(
    "shapes", [((2, 3), (4, 5)), ((3,), (2,)), ((2, 3), (2,)), ((), (3,)), ((2,), (2, 3, 2))]
)
def test_kron(shapes: tuple[Any, Any], mode: str) -> None:
    check(mode, T.kron, np.kron, *(normal(*s) for s in shapes))


@pytest.mark.parametrize("name", ["vstack", "hstack", "column_stack"])
def test_stacks(name: str, mode: str) -> None:
    def made(*v: Any) -> Any:
        return getattr(T, name)(v)

    def meant(*v: Any) -> Any:
        return getattr(np, name)(v)

    check(mode, made, meant, normal(3), normal(3))
    check(mode, made, meant, normal(2, 3), normal(2, 3))
    check(mode, made, meant, normal(), normal())


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid(indexing: Any, mode: str) -> None:
    for sizes in [(2,), (2, 3), (2, 3, 4)]:
        arrays = [normal(n) for n in sizes]
        check(
            mode,
            lambda *v: T.meshgrid(*v, indexing=indexing),
            lambda *v: np.meshgrid(*v, indexing=indexing),
            *arrays,
            slopes=False,
        )


def test_signs_and_sides(mode: str) -> None:
    for made, meant in [(T.hypot, np.hypot), (T.copysign, np.copysign)]:
        check(mode, made, meant, normal(3, 4), normal(4))
        check(mode, made, meant, np.arange(3), np.array([-1, 0, 2]), slopes=False)
    check(mode, T.hypot, np.hypot, ODD, ODD, slopes=False)
    check(mode, T.copysign, np.copysign, ODD[:, None], ODD[None, :7], slopes=False)
    x, y = T.scalars("x", "y")
    slopes = scanlib.function([x, y], scanlib.grad(T.hypot(x, y), [x, y]), mode=mode)
    assert slopes(0.0, 0.0) == [0, 0]
    np.testing.assert_allclose(slopes(3.0, -4.0), [0.6, -0.8])
    np.testing.assert_allclose(slopes(1.0, 1.0), [0.5**0.5, 0.5**0.5])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)])
def test_median(axis: Any, keepdims: bool, mode: str) -> None:
    check(
        mode,
        lambda v: T.median(v, axis, keepdims),
        lambda v: np.median(v, axis=axis, keepdims=keepdims),
        # Far apart, so that small steps leave the order as it is.
        RNG.permutation(np.arange(36.0)).reshape(3, 4, 3),
    )


def test_median_of_integers_and_nan(mode: str) -> None:
    check(mode, T.median, np.median, np.array([1, 5, 2, 9]), slopes=False)
    check(mode, T.median, np.median, np.array([1.0, np.nan, 3.0]), slopes=False)


def test_allclose(mode: str) -> None:
    near = normal(3)
    for a, b in [
        (ODD[:7], ODD[:7]),
        (ODD, ODD),
        (near, near + 1e-9),
        (near, near + 1e-3),
        (near[:0], near[:0]),
    ]:
        check(mode, T.allclose, np.allclose, a, b, slopes=False)


UNIQUE = [
    [3, 1, 3, 2, 1],
    [0.5, -0.5],
    [],
    [1.0, np.nan, np.nan, 1.0],
    [[True, False], [True, True]],
    np.zeros((0, 3)),
]


@pytest.mark.parametrize("values", UNIQUE, ids=str)
def test_unique(values: Any, mode: str) -> None:
    def meant(v: Any) -> list[Any]:
        return [np.ravel(a) for a in np.unique(v, True, True, True)]

    check(mode, lambda v: T.unique(v, True, True, True), meant, np.array(values), slopes=False)
    check(mode, T.unique, np.unique, np.array(values), slopes=False)


def test_unique_gradient(mode: str) -> None:
    x = T.vector("x")
    f = scanlib.function([x], scanlib.grad((T.unique(x) * T.arange(2)).sum(), x), mode=mode)
    assert f([3.0, 1.0, 3.0]).tolist() == [1, 0, 0]


def test_topk(mode: str) -> None:
    for axis in (0, 1, -1):

        def meant(v: Any, axis: int = axis) -> Any:
            return np.take(np.sort(v, axis), [-1, -2], axis)

        check(
            mode,
            lambda v, axis=axis: T.topk(v, 2, axis),
            meant,
            RNG.permutation(np.arange(12.0)).reshape(3, 4),
        )
    x, k = T.vector("x"), T.lscalar("k")
    f = scanlib.function([x, k], [T.topk(x, k), T.argtopk(x, k)], mode=mode)
    assert [a.tolist() for a in f([2.0, 7.0, 4.0], 2)] == [[7, 4], [1, 2]]
    with pytest.raises(UserIndexError, match="which is 3 long"):
        f([2.0, 7.0, 4.0], 4)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_trapezoid(axis: int, mode: str) -> None:
    made, meant = T.trapezoid, np.trapezoid
    check(mode, lambda y: made(y, axis=axis, dx=0.3), lambda y: meant(y, axis=axis, dx=0.3), normal(3, 4))
    for points in (normal(4), normal(4, 4)):
        check(
            mode,
            lambda y, x: made(y, x, axis=axis),
            lambda y, x: meant(y, x, axis=axis),
            normal(4, 4),
            points,
        )


def test_norm_has_a_gradient_at_zero(mode: str) -> None:
    x = T.matrix("x")
    f = scanlib.function([x], scanlib.grad(T.linalg.norm(x, axis=1).sum(), x), mode=mode)
    np.testing.assert_allclose(f([[3.0, 4.0], [0.0, 0.0]]), [[0.6, 0.8], [0.0, 0.0]])
    g = scanlib.function([x], T.linalg.norm(x, axis=1), mode=mode)
    np.testing.assert_array_equal(g([[np.nan, 1.0], [0.0, np.inf]]), [np.nan, np.inf])


def _erfinv_points() -> np.ndarray:
    y = np.array([1e-300, 1e-9, 0.01, 0.3, 0.47, 0.5, 1.0, 2.0, 3.0, 4.0])
    return np.concatenate([-y, [0.0], y])


def test_inverse_error_functions(mode: str) -> None:
    """The functions that they invert tell how right they are: in the tail by erfc, which is steep there."""
    erf, erfc = np.vectorize(math.erf, [float]), np.vectorize(math.erfc, [float])
    x = T.vector("x")
    inverse = scanlib.function([x], T.erfinv(x), mode=mode)
    y = _erfinv_points()
    np.testing.assert_allclose(inverse(erf(y))[np.abs(y) < 2.5], y[np.abs(y) < 2.5], rtol=1e-12)
    np.testing.assert_array_equal(inverse([1.0, -1.0, 1.5, np.nan]), [np.inf, -np.inf, np.nan, np.nan])
    complement = scanlib.function([x], T.erfcinv(x), mode=mode)
    y = np.array([-2.5, -1.0, -0.3, 0.3, 1.0, 3.0, 8.0, 20.0, 26.0])
    np.testing.assert_allclose(complement(erfc(y)), y, rtol=1e-13)
    np.testing.assert_array_equal(complement([0.0, 2.0, -1.0, 3.0]), [np.inf, -np.inf, np.nan, np.nan])
    f = T.fvector("f")
    single = scanlib.function([f], T.erfinv(f), mode=mode)(np.array([-0.9, 0.1, 0.7], "float32"))
    assert single.dtype == "float32"
    np.testing.assert_allclose(erf(single), [-0.9, 0.1, 0.7], rtol=1e-6)


def test_inverse_error_functions_have_gradients(mode: str) -> None:
    """With y = erfinv(x): y' = √π/2 exp(y²), y'' = 2 y y'²."""
    x = T.scalar("x")
    for function, sign in [(T.erfinv, 1), (T.erfcinv, -1)]:
        y = function(x)
        first = scanlib.grad(y, x)
        f = scanlib.function([x], [y, first, scanlib.grad(first, x)], mode=mode)
        for value in (0.05, 0.4, 0.6, 0.95):
            y0, slope, bend = f(value)
            wanted = sign * math.sqrt(math.pi) / 2 * math.exp(y0 * y0)
            np.testing.assert_allclose([slope, bend], [wanted, 2 * y0 * wanted**2], rtol=1e-9)
