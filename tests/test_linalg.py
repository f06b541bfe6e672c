"""Linear algebra against NumPy: values where they are unique, defining properties where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError, UserTypeError, UserValueError
from scanlib.graph import Variable

BATCHES = [(3, 3), (1, 1), (0, 0), (30, 30), (2, 3, 3), (2, 1, 4, 4)]
DTYPES = ["float64", "float32"]


def tolerance(dtype: str) -> dict[str, float]:
    return {"rtol": 2e-3, "atol": 2e-3} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-10}


def matrices(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Regular, well-conditioned matrices."""
    a = np.random.default_rng(seed).normal(size=shape)
    return (a + 2 * np.sqrt(shape[-1]) * np.eye(*shape[-2:])).astype(dtype)


def definite(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    a = np.random.default_rng(1).normal(size=shape)
    return (a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])).astype(dtype)


def tensor(a: np.ndarray, name: str | None = None) -> Variable:
    return T.tensor(a.dtype.name, shape=(None,) * a.ndim, name=name)


def run(mode: str, function, *arrays: np.ndarray):
    inputs = [tensor(a) for a in arrays]
    made = function(*inputs)
    return scanlib.function(inputs, list(made) if isinstance(made, tuple) else made, mode=mode)(*arrays)


def close(got: np.ndarray, wanted: np.ndarray, dtype: str) -> None:
    assert got.dtype == dtype and got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", BATCHES)
def test_square_functions(shape: tuple[int, ...], dtype: str, mode: str) -> None:
    a = matrices(shape, dtype)
    inverse, determinant, sign, size = run(mode, lambda x: (T.linalg.inv(x), T.det(x), *T.slogdet(x)), a)
    close(inverse, np.linalg.inv(a), dtype)
    if shape[-1] < 10:
        close(determinant, np.linalg.det(a), dtype)
    close(sign, np.linalg.slogdet(a)[0], dtype)
    close(size, np.linalg.slogdet(a)[1], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", BATCHES)
@pytest.mark.parametrize("lower", [True, False])
def test_cholesky(shape: tuple[int, ...], dtype: str, lower: bool, mode: str) -> None:
    a = definite(shape, dtype)
    factor = np.linalg.cholesky(a)
    # What stands in the other triangle is not read.
    junk = np.where(np.tril(np.ones(shape[-2:], bool)) == lower, a, 7).astype(dtype)
    junk += np.eye(shape[-1], dtype=dtype) * (a - junk)
    wanted = factor if lower else np.swapaxes(factor, -1, -2)
    close(run(mode, lambda x: T.cholesky(x, lower=lower), junk), wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((20, 20), (20, 5)),
        ((0, 0), (0, 2)),
        ((2, 3, 3), (3, 4)),
        ((3, 3), (2, 3, 1)),
        ((2, 1, 3, 3), (4, 3, 2)),
    ],
)
def test_solve(left: tuple[int, ...], right: tuple[int, ...], dtype: str, mode: str) -> None:
    a, b = matrices(left, dtype), np.random.default_rng(2).normal(size=right).astype(dtype)
    close(run(mode, T.solve, a, b), np.linalg.solve(a, b), dtype)


@pytest.mark.parametrize("trans", [0, "T"])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_solve_triangular(trans, lower: bool, unit: bool, mode: str) -> None:
    for order in (1, 4, 20):
        a = matrices((order, order), "float64") + (0 if order < 20 else 20 * np.eye(order))
        a += unit * (np.eye(order) - np.diag(np.diag(a)))
        a = a / 10 + 0.9 * np.diag(np.diag(a))
        for shape in ((order,), (order, 3)):
            b = np.random.default_rng(3).normal(size=shape)
            kind = {"trans": trans, "lower": lower, "unit_diagonal": unit}
            got = run(mode, lambda x, y, kind=kind: T.solve_triangular(x, y, **kind), a, b)
            close(got, scipy.linalg.solve_triangular(a, b, **kind), "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", BATCHES)
@pytest.mark.parametrize("triangle", ["L", "U"])
def test_eigh(shape: tuple[int, ...], dtype: str, triangle: str, mode: str) -> None:
    a = definite(shape, dtype)
    junk = np.tril(a) if triangle == "L" else np.triu(a)
    w, v = run(mode, lambda x: T.eigh(x, triangle), junk)
    close(w, np.linalg.eigvalsh(a), dtype)
    scale = max(1.0, float(np.abs(a).max(initial=0)))
    np.testing.assert_allclose(a @ v / scale, v * w[..., None, :] / scale, **tolerance(dtype))
    identity = np.broadcast_to(np.eye(shape[-1]), shape)
    np.testing.assert_allclose(np.swapaxes(v, -1, -2) @ v, identity, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5), (40, 20), (2, 4, 3), (1, 1)])
@pytest.mark.parametrize("complete", [False, True])
def test_qr(shape: tuple[int, ...], dtype: str, complete: bool, mode: str) -> None:
    a = np.random.default_rng(4).normal(size=shape).astype(dtype)
    kind = "complete" if complete else "reduced"
    q, r = run(mode, lambda x: T.qr(x, kind), a)
    wanted_q, wanted_r = np.linalg.qr(a, kind)
    identity = np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], *[q.shape[-1]] * 2))
    assert q.shape == wanted_q.shape and r.shape == wanted_r.shape and q.dtype == r.dtype == dtype
    np.testing.assert_allclose(q @ r, a, **tolerance(dtype))
    np.testing.assert_allclose(r, np.triu(r), **tolerance(dtype))
    np.testing.assert_allclose(np.swapaxes(q, -1, -2) @ q, identity, **tolerance(dtype))
    # The same signs as LAPACK's.
    np.testing.assert_allclose(r, wanted_r, **tolerance(dtype))


def test_integers_are_cast(mode: str) -> None:
    a = np.array([[2, 1], [1, 3]])
    np.testing.assert_allclose(run(mode, T.det, a), 5.0)
    np.testing.assert_allclose(run(mode, T.solve, a, np.array([3, 4])), [1, 1])


@pytest.mark.parametrize("order", [2, 40])
def test_singular_and_indefinite_matrices_are_user_errors(order: int, mode: str) -> None:
    for function, a in [
        (T.linalg.inv, np.zeros((order, order))),
        (lambda x: T.solve(x, x), np.zeros((order, order))),
        (T.cholesky, -np.eye(order)),
    ]:
        with pytest.raises(UserError):
            run(mode, function, a)
    assert run(mode, T.det, np.zeros((order, order))) == 0


def test_matrices_that_have_no_factor_are_named(mode: str) -> None:
    a, b = T.dmatrix("a"), T.dtensor3("b")
    with pytest.raises(UserValueError, match=r"cholesky.*a.*not positive definite"):
        scanlib.function([a], T.cholesky(a), mode=mode)(-np.eye(2))
    with pytest.raises(UserValueError, match=r"cholesky.*a @ a.*not positive definite"):
        scanlib.function([a], T.cholesky(a @ a), mode=mode)(np.zeros((2, 2)))
    with pytest.raises(UserValueError, match=r"inv.*a.*(?i:singular)"):
        scanlib.function([a], T.linalg.inv(a), mode=mode)(np.zeros((2, 2)))
    factors, _ = scanlib.scan(T.cholesky, sequences=b, name="factor")
    f = scanlib.function([b], factors, mode=mode)
    with pytest.raises(
        UserValueError, match=r"scan 'factor', step 1: cholesky.*b\[t\].*not positive definite"
    ):
        f(np.stack([np.eye(2), -np.eye(2)]))


def test_bad_shapes_are_user_errors(mode: str) -> None:
    with pytest.raises(UserTypeError, match=r"'v'"):
        T.det(T.vector("v"))
    with pytest.raises(UserValueError, match=r"'m'.*square"):
        T.linalg.inv(T.matrix("m", shape=(2, 3)))
    with pytest.raises(UserValueError, match=r"'m'.*'b'"):
        T.solve(T.matrix("m", shape=(2, 2)), T.vector("b", shape=(3,)))
    with pytest.raises(UserValueError, match=r"UPLO"):
        T.eigh(T.matrix(), "X")
    a = T.dmatrix("m")
    f = scanlib.function([a], T.cholesky(a), mode=mode)
    with pytest.raises(UserValueError, match=r"'m'.*square"):
        f(np.ones((20, 30)))
