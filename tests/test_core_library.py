"""Library kernels and scalar functions of the core against NumPy and SciPy."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

from scanlib import _core

FLOATS = ["float32", "float64"]
ALL_DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", *FLOATS]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random values that any dtype can hold."""
    if dtype == "bool":
        return rng.random(shape) < 0.4
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 100, size=shape).astype(dtype)


def close(got: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> None:
    """Equality to about half the digits of a float32, two thirds of those of a float64."""
    tolerance = scale * (2e-4 if got.dtype == np.float32 else 1e-10)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def run(
    name: str, inputs: list[np.ndarray], outputs: list[np.ndarray], parameters: tuple[int, ...] = ()
) -> None:
    assert _core.run_library(name, inputs, outputs, parameters) == "ok"


# --- matrix products --------------------------------------------------------------------------------------------

SIZES = [
    (1, 1, 1),
    (1, 5, 7),
    (5, 7, 1),
    (3, 1, 4),
    (2, 3, 4),
    (1, 64, 64),
    (64, 64, 1),
    (33, 17, 50),
    (20, 0, 3),
    (0, 4, 3),
]


@pytest.mark.parametrize("dtype", ALL_DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_matmul(dtype: str, size: tuple[int, int, int]) -> None:
    m, k, n = size
    rng = np.random.default_rng(1)
    a, b = draw(rng, (m, k), dtype), draw(rng, (k, n), dtype)
    start = draw(rng, (m, n), dtype)
    for accumulate in (0, 1):
        out = start.copy()
        run("matmul", [a, b], [out], (accumulate,))
        expected = a @ b
        if accumulate:
            expected = expected | start if dtype == "bool" else expected + start
        close(out, expected) if dtype in FLOATS else np.testing.assert_array_equal(out, expected)


def layouts(x: np.ndarray) -> list[np.ndarray]:
    """The same matrix in several memory layouts."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    flipped = np.ascontiguousarray(x[..., ::-1, ::-1])
    transposed = np.ascontiguousarray(np.swapaxes(x, -1, -2))
    return [x, np.swapaxes(transposed, -1, -2), wide[..., ::2], flipped[..., ::-1, ::-1]]


@pytest.mark.parametrize("dtype", ["int32", *FLOATS])
@pytest.mark.parametrize("size", [(1, 6, 70), (70, 6, 1), (30, 40, 20), (3, 2, 4)])
def test_matmul_layouts(dtype: str, size: tuple[int, int, int]) -> None:
    m, k, n = size
    rng = np.random.default_rng(2)
    a, b = draw(rng, (m, k), dtype), draw(rng, (k, n), dtype)
    outs = [np.zeros((m, n), dtype), np.zeros((n, m), dtype).T, np.zeros((m, 3 * n), dtype)[:, ::3]]
    for left, right, out in itertools.product(layouts(a), layouts(b), outs):
        run("matmul", [left, right], [out], (0,))
        close(out, a @ b) if dtype in FLOATS else np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize("size", [(1, 6, 7), (20, 30, 10), (4, 50, 1), (2, 2, 2)])
def test_matmul_broadcast_strides(size: tuple[int, int, int]) -> None:
    m, k, n = size
    rng = np.random.default_rng(3)
    a = np.broadcast_to(rng.normal(size=(1, k)), (m, k))
    b = np.broadcast_to(rng.normal(size=(k, 1)), (k, n))
    out = np.empty((m, n))
    run("matmul", [a, b], [out], (0,))
    close(out, a @ b)


@pytest.mark.parametrize("dtype", ["int64", *FLOATS])
@pytest.mark.parametrize("size", [(1, 6, 7), (5, 20, 30), (4, 50, 1)])
def test_matmul_batches(dtype: str, size: tuple[int, int, int]) -> None:
    m, k, n = size
    rng = np.random.default_rng(4)
    batch = (3, 4)
    full_a, full_b = draw(rng, (*batch, m, k), dtype), draw(rng, (*batch, k, n), dtype)
    lefts = [full_a, np.broadcast_to(full_a[0, 0], full_a.shape), np.broadcast_to(full_a[:1], full_a.shape)]
    rights = [
        full_b,
        np.broadcast_to(full_b[0, 0], full_b.shape),
        np.broadcast_to(full_b[:, :1], full_b.shape),
    ]
    for a, b in itertools.product(lefts, rights):
        out = np.zeros((*batch, m, n), dtype)
        run("matmul", [a, b], [out], (0,))
        close(out, a @ b) if dtype in FLOATS else np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [(1, 1, 1), (8, 1, 9), (8, 5, 9)])
def test_matmul_sums_over_a_broadcast_output(dtype: str, size: tuple[int, int, int]) -> None:
    m, k, n = size
    rng = np.random.default_rng(5)
    a, b = draw(rng, (6, k, m), dtype), draw(rng, (6, k, n), dtype)
    total = draw(rng, (m, n), dtype)
    expected = total + np.einsum("tkm,tkn->mn", a, b)
    out = np.lib.stride_tricks.as_strided(total, (6, m, n), (0, *total.strides))
    run("matmul", [a.swapaxes(1, 2), b], [out], (1,))
    close(total, expected)


def test_matmul_reports_shapes() -> None:
    assert (
        _core.run_library("matmul", [np.ones((2, 3)), np.ones((2, 3))], [np.ones((2, 3))], (0,))
        == "shape_mismatch"
    )


# --- systems and factorizations ---------------------------------------------------------------------------------

ORDERS = [1, 2, 5, 16, 17, 40]


def regular(rng: np.random.Generator, order: int, dtype: str) -> np.ndarray:
    """A batch of well-conditioned matrices."""
    return (rng.normal(size=(3, order, order)) / np.sqrt(order) + 3 * np.eye(order)).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("order", ORDERS)
def test_solve(dtype: str, order: int) -> None:
    rng = np.random.default_rng(6)
    a, b = regular(rng, order, dtype), draw(rng, (3, order, 4), dtype)
    a = a[:, rng.permutation(order)]
    out = np.empty_like(b)
    run("solve", [a, b], [out])
    close(out, np.linalg.solve(a, b))
    inverse = np.empty_like(a)
    run("inv", [a], [inverse])
    close(inverse, np.linalg.inv(a))
    one = np.empty(3, dtype)
    run("det", [a], [one])
    np.testing.assert_allclose(one, np.linalg.det(a), rtol=1e-3 if dtype == "float32" else 1e-10)
    sign, logarithm = np.empty(3, dtype), np.empty(3, dtype)
    run("slogdet", [a], [sign, logarithm])
    close(sign, np.linalg.slogdet(a)[0])
    close(logarithm, np.linalg.slogdet(a)[1])


@pytest.mark.parametrize("order", [3, 20])
def test_singular(order: int) -> None:
    a = np.ones((order, order))
    b = np.ones((order, 2))
    assert _core.run_library("solve", [a, b], [np.empty_like(b)]) == "singular"
    assert _core.run_library("inv", [a], [np.empty_like(a)]) == "singular"
    a = np.tril(np.ones((order, order)), -1)
    assert _core.run_library("solve_triangular", [a, b], [np.empty_like(b)], (1, 0, 0)) == "singular"
    zero = np.empty(())
    run("det", [a], [zero])
    assert zero == 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("lower,transpose,unit", list(itertools.product((0, 1), repeat=3)))
def test_solve_triangular(dtype: str, order: int, lower: int, transpose: int, unit: int) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(7)
    a, b = regular(rng, order, dtype), draw(rng, (3, order, 2), dtype)
    a += (2 * np.eye(order)).astype(dtype)
    if unit:
        a /= 5
    out = np.empty_like(b)
    run("solve_triangular", [a, b], [out], (lower, transpose, unit))
    for i in range(3):
        expected = linalg.solve_triangular(
            a[i], b[i], lower=bool(lower), trans=transpose, unit_diagonal=bool(unit)
        )
        close(out[i], expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("order", [1, 3, 24, 25, 60])
@pytest.mark.parametrize("lower", [0, 1])
def test_symmetric_factorizations(dtype: str, order: int, lower: int) -> None:
    rng = np.random.default_rng(8)
    root = regular(rng, order, dtype)
    a = root @ root.swapaxes(1, 2)
    triangle = np.tril(a) if lower else np.triu(a)
    out = np.empty_like(a)
    run("cholesky", [triangle], [out], (lower,))
    expected = np.linalg.cholesky(a)
    close(out, expected if lower else expected.swapaxes(1, 2))
    w, v = np.empty((3, order), dtype), np.empty_like(a)
    run("eigh", [triangle], [w, v], (lower,))
    close(w, np.linalg.eigvalsh(a), 10)
    close(a @ v, v * w[:, None, :], 20)
    assert _core.run_library("cholesky", [-a], [out], (lower,)) == "not_positive_definite"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (40, 20), (1, 1)])
@pytest.mark.parametrize("complete", [0, 1])
def test_qr_and_svd(dtype: str, shape: tuple[int, int], complete: int) -> None:
    rng = np.random.default_rng(9)
    a = draw(rng, (2, *shape), dtype)
    m, n = shape
    p = m if complete else min(m, n)
    q, r = np.empty((2, m, p), dtype), np.empty((2, p, n), dtype)
    run("qr", [a], [q, r], (complete,))
    close(q @ r, a, 10)
    close(q.swapaxes(1, 2) @ q, np.broadcast_to(np.eye(p), (2, p, p)), 10)
    np.testing.assert_array_equal(r, np.triu(r))
    close(np.abs(q), np.abs(np.linalg.qr(a, "complete" if complete else "reduced")[0]), 10)
    u, s, vt = (
        np.empty((2, *dims), dtype) for dims in ((m, p), (min(m, n),), (n if complete else min(m, n), n))
    )
    run("svd", [a], [u, s, vt], (complete,))
    close(s, np.linalg.svd(a)[1], 10)
    close(u[..., : min(m, n)] * s[:, None, :] @ vt[:, : min(m, n)], a, 10)
    inverse = np.empty((2, n, m), dtype)
    run("pinv", [a, np.full(2, 1e-4, dtype)], [inverse])
    close(a @ inverse @ a, a, 20)
    assert _core.run_library("pinv", [a * np.nan, np.full(2, 1e-4, dtype)], [inverse]) == "not_converged"


# --- sorting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ALL_DTYPES)
@pytest.mark.parametrize("shape", [(7,), (3, 50), (2, 0), (2, 3, 1)])
def test_sort(dtype: str, shape: tuple[int, ...]) -> None:
    x = draw(np.random.default_rng(10), shape, dtype)
    if dtype in FLOATS and x.size > 4:
        x.flat[[1, 3]] = np.nan, np.inf
    for layout in (x, x[..., ::-1]):
        out, order = np.empty(shape, dtype), np.empty(shape, np.int64)
        run("sort", [layout], [out])
        np.testing.assert_array_equal(out, np.sort(layout, axis=-1))
        run("argsort", [layout], [order])
        np.testing.assert_array_equal(order, np.argsort(layout, axis=-1, kind="stable"))


@pytest.mark.parametrize("dtype", ALL_DTYPES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(dtype: str, side: str) -> None:
    rng = np.random.default_rng(11)
    x, v = np.sort(draw(rng, (20,), dtype)), draw(rng, (30,), dtype)
    v[:10] = x[:10]
    if dtype in FLOATS:
        x[-1] = v[-1] = np.nan
    out = np.empty(30, np.int64)
    run("searchsorted", [x, v], [out], (int(side == "right"),))
    np.testing.assert_array_equal(out, np.searchsorted(x, v, side))


# --- scalar functions -------------------------------------------------------------------------------------------


def test_library_symbols() -> None:
    special = pytest.importorskip("scipy.special")
    symbols = _core.library_symbols()
    names = {
        "lgamma": "gammaln",
        "digamma": "psi",
        "gamma": "gamma",
        "erf": "erf",
        "erfc": "erfc",
        "erfinv": "erfinv",
        "erfcinv": "erfcinv",
        "j0": "j0",
        "j1": "j1",
        "i0": "i0",
        "i1": "i1",
    }
    for name, peer in names.items():
        points = [
            0.03,
            0.4,
            0.77,
            0.999,
            *([] if name == "erfinv" else [1.0, 1.7]),
            *([] if "inv" in name else [4.2, 11.0]),
        ]
        for suffix, kind, tolerance in (("f64", ctypes.c_double, 1e-12), ("f32", ctypes.c_float, 1e-5)):
            function = ctypes.CFUNCTYPE(kind, kind)(symbols[f"scanlib_{name}_{suffix}"])
            for x in points:
                exact = kind(x).value
                assert function(x) == pytest.approx(
                    float(getattr(special, peer)(exact)), rel=tolerance, abs=tolerance
                )
    trigamma = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(symbols["scanlib_trigamma_f64"])
    digamma = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(symbols["scanlib_digamma_f64"])
    for x in (-3.3, -0.5, 0.2, 1.0, 5.5, 40.0):
        assert trigamma(x) == pytest.approx(
            float(special.polygamma(1, x))
            if x > 0
            else float(special.zeta(2, 1 - x) * -1 + np.pi**2 / np.sin(np.pi * x) ** 2)
        )
        assert digamma(x) == pytest.approx(float(special.psi(x)))
