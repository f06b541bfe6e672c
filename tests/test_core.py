"""The compiled core by itself: executables, dispatch, library kernels against NumPy and SciPy."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from scanlib import _core
from scanlib.errors import InternalError
from scanlib.plan import (
    KEEP_ALL,
    NO_SLOT,
    RESERVED_SLOTS,
    Allocate,
    Branch,
    Buffer,
    Call,
    Input,
    Instruction,
    Loop,
    Operand,
    Output,
    Plan,
    Storage,
)

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


def run(name: str, inputs: list[np.ndarray], outputs: list[np.ndarray], parameters: tuple[int, ...] = ()) -> None:
    assert _core.run_library(name, inputs, outputs, parameters) == "ok"


# --- matrix products --------------------------------------------------------------------------------------------

SIZES = [(1, 1, 1), (1, 5, 7), (5, 7, 1), (3, 1, 4), (2, 3, 4), (1, 64, 64), (64, 64, 1), (33, 17, 50), (20, 0, 3), (0, 4, 3)]


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
    rights = [full_b, np.broadcast_to(full_b[0, 0], full_b.shape), np.broadcast_to(full_b[:, :1], full_b.shape)]
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
    assert _core.run_library("matmul", [np.ones((2, 3)), np.ones((2, 3))], [np.ones((2, 3))], (0,)) == "shape_mismatch"


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
        expected = linalg.solve_triangular(a[i], b[i], lower=bool(lower), trans=transpose, unit_diagonal=bool(unit))
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
    u, s, vt = (np.empty((2, *dims), dtype) for dims in ((m, p), (min(m, n),), (n if complete else min(m, n), n)))
    run("svd", [a], [u, s, vt], (complete,))
    close(s, np.linalg.svd(a)[1], 10)
    close(u[..., : min(m, n)] * s[:, None, :] @ vt[:, : min(m, n)], a, 10)


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


# --- the stream of RandomState ----------------------------------------------------------------------------------


def seeded(seed: int) -> np.ndarray:
    state = np.empty(628, np.uint32)
    run("mt_seed", [np.array(seed)], [state])
    return state


def pack(stream: np.random.RandomState) -> np.ndarray:
    _, key, position, waiting, normal = stream.get_state(legacy=True)
    return np.concatenate(
        [key, np.array([position, waiting], np.uint32), np.array([normal]).view(np.uint32)]
    ).astype(np.uint32)


def broadcast(parameters: tuple[object, ...], shape: tuple[int, ...]) -> list[np.ndarray]:
    return [np.broadcast_to(np.asarray(p), shape) for p in parameters]


DRAWS = [
    ("uniform", (-2.0, 3.0)),
    ("normal", (1.0, 2.5)),
    ("binomial", (7, 0.3)),
    ("binomial", (7, 0.9)),
    ("binomial", (1000, 0.4)),
    ("binomial", (100000, 0.77)),
    ("binomial", (5, 0.0)),
    ("binomial", (5, 1.0)),
    ("poisson", (0.0,)),
    ("poisson", (3.5,)),
    ("poisson", (80.0,)),
    ("exponential", (2.0,)),
    ("gamma", (0.4, 2.0)),
    ("gamma", (1.0, 2.0)),
    ("gamma", (4.2, 0.5)),
    ("beta", (0.3, 0.6)),
    ("beta", (2.0, 3.0)),
]


@pytest.mark.parametrize("name,parameters", DRAWS)
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_random_state(name: str, parameters: tuple[float, ...], seed: int) -> None:
    stream = np.random.RandomState(seed)
    state = seeded(seed)
    np.testing.assert_array_equal(state, pack(stream))
    for shape in ((3,), (500, 7)):
        expected = getattr(stream, name)(*parameters, size=shape)
        sample = np.empty(shape, expected.dtype)
        run(f"mt_{name}", [state, *broadcast(parameters, shape)], [state, sample])
        np.testing.assert_array_equal(sample, expected)
        np.testing.assert_array_equal(state, pack(stream))


def test_random_state_with_parameters_per_element() -> None:
    stream, state = np.random.RandomState(3), seeded(3)
    p = np.linspace(0, 1, 40).reshape(4, 10)
    n = np.arange(4)[:, None] * 100
    sample = np.empty((4, 10), np.int64)
    run("mt_binomial", [state, *broadcast((n, p), (4, 10))], [state, sample])
    np.testing.assert_array_equal(sample, stream.binomial(n, p))


@pytest.mark.parametrize("low,high", [(0, 0), (-3, 12), (0, 2**31), (0, 2**32 - 1), (0, 2**32), (-(2**63), 2**63 - 1)])
def test_random_state_integers(low: int, high: int) -> None:
    stream, state = np.random.RandomState(4), seeded(4)
    expected = stream.randint(low, high + 1, size=50, dtype=np.int64)
    sample = np.empty(50, np.int64)
    run("mt_random_integers", [state, *broadcast((low, high), (50,))], [state, sample])
    np.testing.assert_array_equal(sample, expected)
    np.testing.assert_array_equal(state, pack(stream))


def test_random_state_selections() -> None:
    stream, state = np.random.RandomState(5), seeded(5)
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0], [0.0, 0.4, 0.6], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    n = np.array([1, 60, 3, 4, 0])
    sample = np.empty((5, 3), np.int64)
    run("mt_multinomial", [state, n, p], [state, sample])
    np.testing.assert_array_equal(sample, [stream.multinomial(n[i], p[i]) for i in range(5)])
    np.testing.assert_array_equal(state, pack(stream))
    sample = np.empty((3, 11), np.int32)
    run("mt_permutation", [state], [state, sample])
    np.testing.assert_array_equal(sample, [stream.permutation(11) for _ in range(3)])
    x = stream.normal(size=(3, 6))
    run("mt_normal", [state, *broadcast((0.0, 1.0), (3, 6))], [state, np.empty((3, 6))])
    out = np.empty_like(x)
    run("mt_shuffle_rows", [state, x], [state, out])
    np.testing.assert_array_equal(out, [row[stream.permutation(6)] for row in x])
    np.testing.assert_array_equal(state, pack(stream))


@pytest.mark.parametrize("replace", [True, False])
def test_random_state_choice(replace: bool) -> None:
    stream, state = np.random.RandomState(6), seeded(6)
    sample = np.empty((4, 5), np.int64)
    run("mt_choice", [state, np.array(30)], [state, sample], (int(replace),))
    np.testing.assert_array_equal(sample, stream.choice(30, (4, 5), replace))
    p = np.linspace(1, 5, 25)
    p /= p.sum()
    run("mt_choice_p", [state, p], [state, sample], (int(replace),))
    np.testing.assert_array_equal(sample, stream.choice(25, (4, 5), replace, p))
    np.testing.assert_array_equal(state, pack(stream))
    if not replace:
        assert _core.run_library("mt_choice", [state, np.array(3)], [state, sample], (0,)) == "bad_parameter"


@pytest.mark.parametrize(
    "name,parameters",
    [("binomial", (3, 1.5)), ("binomial", (-1, 0.5)), ("normal", (0.0, -1.0)), ("poisson", (np.nan,)), ("beta", (0.0, 1.0))],
)
def test_random_state_refuses(name: str, parameters: tuple[float, ...]) -> None:
    state, sample = seeded(1), np.empty(3)
    assert _core.run_library(f"mt_{name}", [state, *broadcast(parameters, (3,))], [state, sample]) == "bad_parameter"


# --- Philox -----------------------------------------------------------------------------------------------------


def test_philox_words() -> None:
    """The generator against NumPy's Philox4x64 is no test (other width): the published vectors of Random123."""
    state, sample = np.array([0, 0, 0, 0], np.uint64), np.empty(2, np.uint64)
    run("philox_bits", [state], [state, sample])
    words = sample.view(np.uint32)
    np.testing.assert_array_equal(words, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8])
    ones = np.full(4, 2**64 - 1, np.uint64)
    run("philox_bits", [ones], [ones, sample])
    np.testing.assert_array_equal(sample.view(np.uint32), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD])


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("name,parameters", [("uniform", (-1.0, 2.0)), ("normal", (1.0, 0.5)), ("binomial", (9, 0.7)), ("random_integers", (-5, 8))])
def test_philox_draws(name: str, parameters: tuple[float, ...], size: int) -> None:
    from scanlib import philox

    state = np.array([12345, 6, 7, 0], np.uint64)
    expected_state, expected = getattr(philox, name)(state, *parameters, (size,), "float64")
    sample = np.empty(size)
    run(f"philox_{name}", [state, *broadcast(parameters, (size,))], [state, sample])
    np.testing.assert_allclose(sample, expected, rtol=1e-12)
    np.testing.assert_array_equal(state, expected_state)


def test_philox_binomial_of_many_trials() -> None:
    state, sample = np.array([1, 0, 0, 0], np.uint64), np.empty(4000)
    run("philox_binomial", [state, *broadcast((100_000, 0.3), (4000,))], [state, sample])
    assert abs(sample.mean() - 30_000) < 10
    assert abs(sample.std() - 145) < 8


# --- scalar functions -------------------------------------------------------------------------------------------


def test_library_symbols() -> None:
    special = pytest.importorskip("scipy.special")
    ctypes = pytest.importorskip("ctypes")
    symbols = _core.library_symbols()
    names = {"lgamma": "gammaln", "digamma": "psi", "gamma": "gamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv",
             "erfcinv": "erfcinv", "j0": "j0", "j1": "j1", "i0": "i0", "i1": "i1"}
    for name, peer in names.items():
        points = [0.03, 0.4, 0.77, 0.999, *([] if name == "erfinv" else [1.0, 1.7]), *([] if "inv" in name else [4.2, 11.0])]
        for suffix, kind, tolerance in (("f64", ctypes.c_double, 1e-12), ("f32", ctypes.c_float, 1e-5)):
            function = ctypes.CFUNCTYPE(kind, kind)(symbols[f"scanlib_{name}_{suffix}"])
            for x in points:
                exact = kind(x).value
                assert function(x) == pytest.approx(float(getattr(special, peer)(exact)), rel=tolerance, abs=tolerance)
    trigamma = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(symbols["scanlib_trigamma_f64"])
    digamma = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(symbols["scanlib_digamma_f64"])
    for x in (-3.3, -0.5, 0.2, 1.0, 5.5, 40.0):
        assert trigamma(x) == pytest.approx(float(special.polygamma(1, x)) if x > 0 else
                                            float(special.zeta(2, 1 - x) * -1 + np.pi**2 / np.sin(np.pi * x) ** 2))
        assert digamma(x) == pytest.approx(float(special.psi(x)))


# --- executables ------------------------------------------------------------------------------------------------

# Slots: 8 steps, 9 step, 10 stop, 11 done, 12 bytes per slot, 13 length of u, 14 one,
# 15 steps per block.  x[t] = x[t-1] + u[t], whole trace.
SIGNATURE = "(ptr %b, ptr %d, i64 %start, i64 %stop, i64 %lane_start, i64 %lane_stop)"
KERNELS = f"""
define i64 @set_steps{SIGNATURE} {{
  %n_at = getelementptr i64, ptr %d, i64 13
  %n = load i64, ptr %n_at
  %steps_at = getelementptr i64, ptr %d, i64 8
  store i64 %n, ptr %steps_at
  ret i64 0
}}
define i64 @begin{SIGNATURE} {{
  %x_at = getelementptr ptr, ptr %b, i64 1
  %x = load ptr, ptr %x_at
  store double 0.0, ptr %x
  ret i64 0
}}
define i64 @step{SIGNATURE} {{
entry:
  %u = load ptr, ptr %b
  %x_at = getelementptr ptr, ptr %b, i64 1
  %x = load ptr, ptr %x_at
  br label %head
head:
  %t = phi i64 [%start, %entry], [%next, %body]
  %more = icmp slt i64 %t, %stop
  br i1 %more, label %body, label %end
body:
  %next = add i64 %t, 1
  %u_at = getelementptr double, ptr %u, i64 %t
  %from_at = getelementptr double, ptr %x, i64 %t
  %to_at = getelementptr double, ptr %x, i64 %next
  %u_t = load double, ptr %u_at
  %x_t = load double, ptr %from_at
  %sum = fadd double %u_t, %x_t
  store double %sum, ptr %to_at
  br label %head
end:
  ret i64 0
}}
define i64 @fail{SIGNATURE} {{
  %v = getelementptr i64, ptr %d, i64 1
  store i64 42, ptr %v
  ret i64 7
}}
"""


@pytest.fixture(scope="module")
def compiled() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(KERNELS), machine)
    engine.finalize_object()
    return engine, [engine.get_function_address(name) for name in ("set_steps", "begin", "step", "fail")]


def cumulated(*recurrence: Instruction, block_length: int = 64) -> Plan:
    """x = cumsum(u) as a scan."""
    loop = Loop(
        "cumsum", 8, 9, 10, 11, 15, storages=(Storage(1, 12, 1, 1, KEEP_ALL),),
        start=(Call(1, "begin"),), recurrence=recurrence or (Call(2, "step"),), native=True,
    )  # fmt: skip
    dims = [0] * RESERVED_SLOTS + [0, 0, 0, 0, 8, 0, 1, block_length]
    return Plan(
        buffers=(Buffer("u", "float64", "input"), Buffer("x", "float64")),
        initial_dims=dims,
        inputs=(Input(0, 13, 1, "float64"),),
        outputs=(Output(1, 14, (11,), "float64"),),
        instructions=(Call(0, "set_steps"), loop),
    )


@pytest.mark.parametrize("size", [0, 1, 100, 100_000])
def test_executable(compiled: Any, size: int) -> None:
    engine, addresses = compiled
    executable = _core.Executable(cumulated(), addresses, None, engine)
    u = np.random.default_rng(0).normal(size=2 * size)
    for layout in (u[:size], u[::2], u[:size][::-1]):
        before = _core.allocated_bytes()
        (x,) = executable.run([layout])
        np.testing.assert_allclose(x, np.cumsum(layout), rtol=1e-9, atol=1e-9)
        assert x.flags.writeable and x.flags.c_contiguous
        assert isinstance(x.base, _core.Memory) == (8 * (size + 1) > 65536)
        (again,) = executable([layout])
        assert not np.shares_memory(x, again)
        assert executable.last_peak_bytes == 8 * (size + 1)
        del x, again
        assert _core.allocated_bytes() <= before + 65536


def test_executable_failures(compiled: Any) -> None:
    engine, addresses = compiled
    seen: list[Any] = []

    def on_failure(*report: Any) -> Exception:
        seen.append(report)
        return ValueError("from on_failure")

    executable = _core.Executable(cumulated(Call(2, "step"), Call(3, "bad")), addresses, on_failure, engine)
    with pytest.raises(ValueError, match="from on_failure"):
        executable.run([np.ones(5)])
    assert seen == [("check", 7, (42, 0, 0), [("cumsum", -1)], "bad")]
    with pytest.raises(InternalError, match="float32"):
        executable.run([np.ones(5, "float32")])
    with pytest.raises(InternalError, match="dims"):
        executable.run([np.ones((5, 1))])
    with pytest.raises(InternalError, match="inputs"):
        executable.run([])
    with pytest.raises(InternalError, match="kernel 9"):
        _core.Executable(cumulated(Call(9, "none")), addresses)
    with pytest.raises(InternalError, match="no instruction"):
        _core.Executable(cumulated("what"), addresses)  # type: ignore[arg-type]


def test_executable_stops_at_signals(compiled: Any) -> None:
    engine, addresses = compiled
    executable = _core.Executable(cumulated(block_length=1), addresses, None, engine)

    class Alarm(Exception):
        pass

    def handler(*_: Any) -> None:
        raise Alarm

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            u = np.ones(3_000_000)
            end = time.monotonic() + 20
            while time.monotonic() < end:
                executable.run([u])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_executable_from_threads(compiled: Any) -> None:
    engine, addresses = compiled
    executable = _core.Executable(cumulated(), addresses, None, engine)
    wrong: list[int] = []

    def work(seed: int) -> None:
        u = np.random.default_rng(seed).normal(size=20_000)
        for _ in range(50):
            if not np.allclose(executable.run([u])[0], np.cumsum(u)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_outputs_never_alias_inputs_or_constants(compiled: Any) -> None:
    data = np.arange(3.0)
    plan = Plan(
        buffers=(Buffer("u", "float64", "input"), Buffer("c", "float64", "constant", NO_SLOT, data)),
        initial_dims=[0] * RESERVED_SLOTS + [3],
        inputs=(Input(0, 8, 1, "float64"),),
        outputs=tuple(Output(buffer, NO_SLOT, (8,), "float64") for buffer in (0, 0, 1)),
    )
    u = np.ones(3)
    outputs = _core.Executable(plan, []).run([u])
    np.testing.assert_array_equal(outputs, [u, u, data])
    for a, b in itertools.combinations([u, data, *outputs], 2):
        assert not np.shares_memory(a, b)


def test_branch_and_scalars() -> None:
    buffers = (Buffer("c", "bool", "input"), Buffer("y", "float64", "temporary", 9), Buffer("z", "float64", "temporary", 9))
    plan = Plan(
        buffers=buffers,
        initial_dims=[0] * RESERVED_SLOTS + [0, 8],
        inputs=(Input(0, 8, 0, "bool"),),
        outputs=(Output(0, NO_SLOT, (), "bool"),),
        instructions=(Branch(Operand(0), then=(Allocate(1),), otherwise=(Allocate(1), Allocate(2))),),
    )
    executable = _core.Executable(plan, [])
    for value, used in ((True, 8), (False, 16)):
        (out,) = executable.run([np.array(value)])
        assert out.shape == () and isinstance(out, np.ndarray) and out == value
        assert executable.last_peak_bytes == used


# --- dispatch ---------------------------------------------------------------------------------------------------


def echo(dtypes: list[str], ndims: list[int]) -> Plan:
    """Returns its inputs."""
    starts = [RESERVED_SLOTS + sum(ndims[:i]) for i in range(len(ndims))]
    return Plan(
        buffers=tuple(Buffer(f"i{i}", dtype, "input") for i, dtype in enumerate(dtypes)),
        initial_dims=[0] * (RESERVED_SLOTS + sum(ndims)),
        inputs=tuple(Input(i, starts[i], ndims[i], dtypes[i]) for i in range(len(ndims))),
        outputs=tuple(Output(i, NO_SLOT, tuple(range(starts[i], starts[i] + ndims[i])), dtypes[i]) for i in range(len(ndims))),
    )


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_dispatcher_takes_scalars_only_when_safe(dtype: str) -> None:
    slow: list[Any] = []

    def convert(i: int, value: Any) -> np.ndarray:
        slow.append(value)
        return np.zeros((), dtype)

    executable = _core.Executable(echo([dtype], [0]), [])
    dispatcher = _core.Dispatcher(lambda signature: executable, convert, [dtype], [0], [()], True)
    info = None if dtype == "bool" else np.iinfo(dtype) if dtype not in FLOATS else np.finfo(dtype)
    fast: list[Any] = [True, np.dtype(dtype).type(1), np.array(1, dtype)]
    refused: list[Any] = ["1", None, 1j, 10**30]
    if dtype in FLOATS:
        fast += [0.5, -3, 2**24]
        refused += [2**62 + 1]
    elif dtype == "bool":
        refused += [1, 0.0]
    else:
        fast += [int(info.min), int(info.max) if dtype != "uint64" else 2**63 - 1]
        refused += [1.0, int(info.max) + 1, int(info.min) - 1]
    if dtype == "float32":
        refused += [np.float64(1)]
    for value in fast:
        out = dispatcher(value)
        assert not slow and out.dtype == dtype and out == np.array(value, dtype)
    for value in refused:
        slow.clear()
        dispatcher(value)
        assert slow == [value]


def test_dispatcher_signatures() -> None:
    made: list[Any] = []
    dtypes, ndims = ["float64", "int32"], [2, 1]
    executable = _core.Executable(echo(dtypes, ndims), [])

    def specialise(signature: Any) -> Any:
        made.append(signature)
        return executable

    def convert(i: int, value: Any) -> np.ndarray:
        return np.asarray(value, dtypes[i])

    dispatcher = _core.Dispatcher(specialise, convert, dtypes, ndims, [(True, False), (False,)])
    for rows, cols, size in [(3, 4, 5), (9, 4, 5), (3, 16, 17), (3, 16, 900), (5, 4, 5), (3, 0, 16)]:
        x, y = np.random.default_rng(0).normal(size=(cols, rows)).T, list(range(size))
        got = dispatcher(x, y)
        np.testing.assert_array_equal(got[0], x)
        np.testing.assert_array_equal(got[1], y)
    assert made == [((-1, 4), (5,)), ((-1, 16), (-1,)), ((-1, 0), (16,))]
    assert [signature for signature, _ in dispatcher.specialisations] == made
    dispatcher.clear()
    dispatcher(np.ones((1, 4)), np.ones(5, "int32"))
    assert len(made) == 4
    with pytest.raises(InternalError):
        dispatcher(1)
    swapped = np.ones((2, 4)).astype(">f8")
    np.testing.assert_array_equal(dispatcher(swapped, np.ones(5, "int32"))[0], np.ones((2, 4)))


def test_dispatcher_of_many_inputs() -> None:
    count = 40
    plan = echo(["float64"] * count, [2] * count)
    executable = _core.Executable(replace(plan), [])
    dispatcher = _core.Dispatcher(
        lambda signature: executable, lambda i, value: value, ["float64"] * count, [2] * count, [(False, False)] * count
    )
    arrays = [np.full((2, 3), float(i)) for i in range(count)]
    np.testing.assert_array_equal(dispatcher(*arrays), arrays)


def test_ring_slots() -> None:
    assert [_core.ring_slots(keep, depth) for keep, depth in ((0, 0), (1, 0), (0, 1), (2, 5))] == [0, 2, 2, 6]
    with pytest.raises(InternalError):
        _core.ring_slots(-1, 0)
