"""Linear algebra against NumPy: values where they are unique, defining properties where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError, UserTypeError, UserValueError
from scanlib.graph import Variable
from scanlib.verify import verify_grad

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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(3, 3), (5, 3), (3, 5), (40, 20), (2, 4, 3), (1, 1), (0, 0), (0, 3), (2, 3, 0)]
)
@pytest.mark.parametrize("full", [False, True])
def test_svd(shape: tuple[int, ...], dtype: str, full: bool, mode: str) -> None:
    a = np.random.default_rng(5).normal(size=shape).astype(dtype)
    u, s, vt = run(mode, lambda x: T.svd(x, full), a)
    for got, wanted in zip((u, s, vt), np.linalg.svd(a, full), strict=True):
        assert got.shape == wanted.shape and got.dtype == dtype
    close(s, np.linalg.svd(a, compute_uv=False), dtype)
    close(run(mode, T.svdvals, a), s, dtype)
    k = min(shape[-2:])
    np.testing.assert_allclose(u[..., :k] * s[..., None, :] @ vt[..., :k, :], a, **tolerance(dtype))
    for q in (np.swapaxes(u, -1, -2) @ u, vt @ np.swapaxes(vt, -1, -2)):
        np.testing.assert_allclose(q, np.broadcast_to(np.eye(q.shape[-1]), q.shape), **tolerance(dtype))


def low_rank(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(6)
    return (rng.normal(size=(2, 5, 2)) @ rng.normal(size=(2, 2, 4))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5), (30, 20), (2, 4, 3), (0, 3)])
def test_functions_of_singular_values(shape: tuple[int, ...], dtype: str, mode: str) -> None:
    a = np.random.default_rng(7).normal(size=shape).astype(dtype)
    close(run(mode, T.pinv, a), np.linalg.pinv(a), dtype)
    if 0 not in shape:
        assert run(mode, T.linalg.matrix_rank, a).tolist() == np.linalg.matrix_rank(a).tolist()
        for p in (None, -2):
            close(run(mode, lambda x, p=p: T.linalg.cond(x, p), a), np.linalg.cond(a, p), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices_of_low_rank(dtype: str, mode: str) -> None:
    a = low_rank(dtype)
    rank, few, inverse = run(mode, lambda x: (T.matrix_rank(x), T.matrix_rank(x, tol=2.5), T.pinv(x)), a)
    assert rank.tolist() == [2, 2] and rank.dtype == "int64"
    assert few.tolist() == np.linalg.matrix_rank(a, tol=2.5).tolist()
    close(inverse, np.linalg.pinv(a, 1e-4).astype(dtype), dtype)
    close(run(mode, lambda x: T.pinv(x, 0.9), a), np.linalg.pinv(a, 0.9), dtype)


@pytest.mark.parametrize("shape", [(5,), (5, 2)])
def test_lstsq(shape: tuple[int, ...], mode: str) -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=shape)
    for matrix in (a, a[:, :1] * np.ones(3)):
        x, residuals, rank, s = run(mode, T.linalg.lstsq, matrix, b)
        wanted = np.linalg.lstsq(matrix, b)
        close(x, wanted[0], "float64")
        np.testing.assert_allclose(residuals, ((matrix @ x - b) ** 2).sum(0), rtol=1e-9)
        assert rank == wanted[2]
        np.testing.assert_allclose(s, wanted[3], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", ["fro", 1, -1, np.inf, -np.inf])
def test_condition_numbers(p: float | str, mode: str) -> None:
    a = matrices((2, 3, 3), "float64")
    close(run(mode, lambda x: T.linalg.cond(x, p), a), np.linalg.cond(a, p), "float64")


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8, -1, -3])
def test_matrix_power(n: int, mode: str) -> None:
    for a in (matrices((3, 3), "float64"), matrices((2, 20, 20), "float64") / 20):
        close(run(mode, lambda x: T.linalg.matrix_power(x, n), a), np.linalg.matrix_power(a, n), "float64")
    if n >= 0:
        whole = np.array([[1, 2], [3, 4]])
        close(
            run(mode, lambda x: T.linalg.matrix_power(x, n), whole), np.linalg.matrix_power(whole, n), "int64"
        )


@pytest.mark.parametrize("size", [0, 1e-8, 0.1, 1, 30, 300])
def test_expm(size: float, mode: str) -> None:
    for shape in ((1, 1), (3, 3), (2, 20, 20)):
        a = np.random.default_rng(9).normal(size=shape) * size / shape[-1]
        got, wanted = run(mode, T.linalg.expm, a), scipy.linalg.expm(a)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(
            got / np.abs(wanted).max(), wanted / np.abs(wanted).max(), rtol=1e-9, atol=1e-9
        )
    a = np.random.default_rng(9).normal(size=(4, 4)).astype("float32")
    close(run(mode, T.linalg.expm, a), scipy.linalg.expm(a.astype("float64")).astype("float32"), "float32")
    assert np.isnan(run(mode, T.linalg.expm, np.full((2, 2), np.nan))).all()


def test_derivatives_of_functions_of_matrices() -> None:
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=(3, 3)), rng.normal(size=3)
    for fun, points in [
        (T.linalg.expm, [a]),
        (T.linalg.expm, [3 * a]),
        (lambda x: T.linalg.matrix_power(x, 3), [a]),
        (lambda x: T.linalg.matrix_power(x, -2), [a]),
        (lambda x, y: T.linalg.lstsq(x, y)[0], [a[:, :2], b]),
        (T.linalg.cond, [a]),
        (lambda x, y: T.linalg.cho_solve((T.cholesky(x @ x.T + 1), True), y), [a, b]),
    ]:
        verify_grad(fun, points)


def test_singular_vectors_beyond_the_values_have_no_derivative() -> None:
    x = T.matrix("x")
    u, s, _ = T.svd(x)
    scanlib.grad(s.sum(), x)
    with pytest.raises(NotImplementedError, match="svd of 'x'.*full_matrices=False"):
        scanlib.grad(u.sum(), x)


@pytest.mark.parametrize("lower", [False, True])
def test_cho_solve(lower: bool, mode: str) -> None:
    a, b = definite((2, 4, 4), "float64"), np.random.default_rng(3).normal(size=(2, 4, 3))
    got = run(mode, lambda x, y: T.slinalg.cho_solve((T.cholesky(x, lower), lower), y), a, b)
    close(got, np.linalg.solve(a, b), "float64")


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


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "function",
    [
        T.eigh,
        lambda x: T.eigh(x, "U"),
        T.svd,
        T.linalg.pinv,
        T.cholesky,
        lambda x: T.cholesky(x, lower=False),
    ],
)
def test_elements_that_are_not_finite(function, bad: float, mode: str) -> None:
    a = np.eye(3)
    a[2, 0] = a[0, 2] = bad
    with pytest.raises(UserValueError, match="finite|positive definite"):
        run(mode, function, a)


@pytest.mark.parametrize("lower", [False, True])
def test_the_other_triangle_is_not_read(lower: bool, mode: str) -> None:
    a = np.eye(3)
    a[(0, 2) if lower else (2, 0)] = np.nan
    np.testing.assert_array_equal(run(mode, lambda x: T.cholesky(x, lower), a), np.eye(3))
    w, v = run(mode, lambda x: T.eigh(x, "L" if lower else "U"), a)
    np.testing.assert_array_equal(w, np.ones(3))
    np.testing.assert_allclose(abs(v @ v.T), np.eye(3), atol=1e-15)


def test_names_that_need_complex_numbers_say_so() -> None:
    for name, instead in (("eig", "eigh"), ("eigvals", "eigvalsh"), ("sqrtm", "eigh")):
        with pytest.raises(AttributeError, match=f"no complex numbers.*{instead}"):
            getattr(T.linalg, name)
    assert not hasattr(T.linalg, "nothing")


def test_bad_shapes_are_user_errors(mode: str) -> None:
    with pytest.raises(UserTypeError, match=r"'v'"):
        T.det(T.vector("v"))
    with pytest.raises(UserValueError, match=r"'m'.*square"):
        T.linalg.inv(T.matrix("m", shape=(2, 3)))
    with pytest.raises(UserValueError, match=r"'m'.*'b'"):
        T.solve(T.matrix("m", shape=(2, 2)), T.vector("b", shape=(3,)))
    with pytest.raises(UserValueError, match=r"UPLO"):
        T.eigh(T.matrix(), "X")
    with pytest.raises(UserTypeError, match=r"'m'.*n must be an int.*scan"):
        T.linalg.matrix_power(T.matrix("m"), T.lscalar("n"))
    with pytest.raises(UserValueError, match=r"'m'.*p is 3"):
        T.linalg.cond(T.matrix("m"), 3)
    with pytest.raises(UserTypeError, match=r"rcond 'r'.*scalar"):
        T.linalg.pinv(T.matrix("m"), T.vector("r"))
    with pytest.raises(UserTypeError, match=r"lstsq.*'t'"):
        T.linalg.lstsq(T.tensor3("t"), T.vector("v"))
    a = T.dmatrix("m")
    f = scanlib.function([a], T.cholesky(a), mode=mode)
    with pytest.raises(UserValueError, match=r"'m'.*square"):
        f(np.ones((20, 30)))
