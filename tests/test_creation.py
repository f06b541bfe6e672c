"""Arrays made from numbers against NumPy: ranges, fills, diagonals and triangles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError, UserTypeError, UserValueError
from scanlib.graph import DTYPES, Variable
from scanlib.verify import verify_grad

RNG = np.random.default_rng(0)
M = RNG.normal(size=(3, 5))
V = RNG.normal(size=4)


def run(mode: str, inputs: list[Variable], outputs: Any, *values: Any) -> Any:
    return scanlib.function(inputs, outputs, mode=mode, on_unused_input="ignore")(*values)


def same(got: list[np.ndarray], want: list[Any]) -> None:
    for k, (a, b) in enumerate(zip(got, want, strict=True)):
        b = np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), k
        np.testing.assert_array_equal(a, b, str(k))


def test_literal_arguments(mode: str) -> None:
    outputs = [
        T.arange(5), T.arange(2, 9, 3), T.arange(9, 2, -3), T.arange(3, 1), T.arange(4, dtype="int8"),
        T.arange(0, 1, 0.1), T.arange(1.0, 0.0, -0.3), T.arange(5, dtype="float32"), T.arange(0.5, 0.5),
        T.linspace(0, 1, 7), T.linspace(2.0, -1.0, 4, endpoint=False), T.linspace(3, 5, 1),
        T.linspace(0, 1, 0),
        T.eye(3), T.eye(2, 4, 1), T.eye(4, 2, -1, dtype="int32"), T.eye(2, k=5), T.eye(3, 3, dtype=bool),
        T.zeros((2, 3)), T.zeros(4, "int8"), T.ones(()), T.ones((0, 2), dtype="bool"), T.full((2, 2), 7),
        T.full(3, 1.5, "float32"), T.alloc(1.5, 2, 2), T.alloc(np.arange(3), 2, 3), T.empty((1,)),
        T.tri(3, 4, 1), T.tri(2, dtype="int64"), T.constant([1, 2]),
    ]  # fmt: skip
    ramp = np.arange(7) * (1 / 6) + 0
    wanted = [
        np.arange(5), np.arange(2, 9, 3), np.arange(9, 2, -3), np.arange(3, 1), np.arange(4, dtype="int8"),
        np.arange(0, 1, 0.1), np.arange(1.0, 0.0, -0.3), np.arange(5, dtype="float32"), np.zeros(0),
        np.append(ramp[:-1], 1.0), np.linspace(2.0, -1.0, 4, endpoint=False), np.array([3.0]), np.zeros(0),
        np.eye(3), np.eye(2, 4, 1), np.eye(4, 2, -1, dtype="int32"), np.eye(2, k=5), np.eye(3, dtype=bool),
        np.zeros((2, 3)), np.zeros(4, "int8"), np.ones(()), np.ones((0, 2), dtype="bool"), np.full((2, 2), 7),
        np.full(3, 1.5, "float32"), np.full((2, 2), 1.5), np.tile(np.arange(3), (2, 1)), np.zeros(1),
        np.tri(3, 4, 1), np.tri(2, dtype="int64"), np.array([1, 2]),
    ]  # fmt: skip
    same(run(mode, [], outputs), wanted)
    for v, want in zip(outputs, wanted, strict=True):
        assert v.type.shape == want.shape


def test_symbolic_arguments(mode: str) -> None:
    a, b, c = T.iscalars("a", "b", "c")
    x = T.dscalar("x")
    f = scanlib.function(
        [a, b, c, x],
        [T.arange(a, b, c), T.arange(b), T.arange(x, b), T.zeros((abs(b), 2)), T.eye(abs(a), abs(b), c),
        T.full(abs(c), x),
         T.alloc(x, abs(a), 1), T.linspace(a, b, abs(c)), T.tri(abs(a), abs(b), c)],
        mode=mode,
    )  # fmt: skip
    for i, j, k, y in [(2, 30, 5, 0.5), (7, -6, -2, -1.5), (0, 0, 1, 1.0), (-5, 9, 20, 2.25)]:
        p, q, r = abs(i), abs(j), abs(k)
        wanted = [
            np.arange(i, j, k), np.arange(j), np.arange(y, j), np.zeros((q, 2)), np.eye(p, q, k),
            np.full(r, y),
            np.full((p, 1), y), np.linspace(i, j, r), np.tri(p, q, k),
        ]  # fmt: skip
        for got, want in zip(f(i, j, k, y), wanted, strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("shape", [(3, 5), (20, 4), (0, 3), (1, 1)])
def test_like_and_diagonals(shape: tuple[int, int], mode: str) -> None:
    m, v, t = T.fmatrix("m"), T.dvector("v"), T.dtensor3("t")
    a = RNG.normal(size=shape).astype("float32")
    b = RNG.normal(size=(2, 3, 4))
    outputs = [
        T.zeros_like(m), m.ones_like(), T.full_like(m, 2), T.zeros_like(m, "int64"), T.fill(m, 3),
        m.fill(v[0]),
        T.second(m, 1.5), T.identity_like(m), T.diagonal(m), m.diagonal(1), m.diagonal(-2), T.diagonal(m, 9),
        T.diagonal(t, 1, 0, 2), t.diagonal(0, -1, 1), T.diag(m), T.diag(v), T.diag(v, 2), T.diag(v, -1),
        m.trace(),
        T.tril(m), T.triu(m), T.tril(m, -1), T.triu(m, 2), T.tril(t, 1), T.diag(T.lvector("none")[:0]),
    ]  # fmt: skip
    outputs.pop()
    wanted = [
        np.zeros_like(a), np.ones_like(a), np.full_like(a, 2), np.zeros(shape, "int64"), np.full_like(a, 3),
        np.full(shape, V[0]), np.full_like(a, 1.5), np.eye(*shape, dtype="float32"), a.diagonal(),
        a.diagonal(1),
        np.diag(a, -2) if shape[0] > 1 else a[:0, 0], a[:0, 0], b.diagonal(1, 0, 2), b.diagonal(0, -1, 1),
        np.diag(a),
        np.diag(V), np.diag(V, 2), np.diag(V, -1), np.asarray(np.trace(a), "float32"), np.tril(a), np.triu(a),
        np.tril(a, -1), np.triu(a, 2), np.tril(b, 1),
    ]  # fmt: skip
    got = run(mode, [m, v, t], outputs, a, V, b)
    for k, (p, q) in enumerate(zip(got, wanted, strict=True)):
        assert (p.shape, p.dtype) == (q.shape, q.dtype), k
        np.testing.assert_allclose(p, q, rtol=1e-6, err_msg=str(k))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: str, mode: str) -> None:
    x = T.vector("x", dtype=dtype)
    a = np.array([1, 0, 1], dtype=dtype)
    same(
        run(
            mode,
            [x],
            [T.ones_like(x), T.zeros((2,), dtype), T.diag(x), T.tril(T.diag(x)), T.eye(2, dtype=dtype)],
            a,
        ),
        [np.ones_like(a), np.zeros(2, dtype), np.diag(a), np.diag(a), np.eye(2, dtype=dtype)],
    )


def test_floatx() -> None:
    scanlib.config.floatX = "float32"
    try:
        made = [T.zeros(2), T.ones(2), T.eye(2), T.constant(1.5), T.matrix(), T.constant([0.5])]
        assert {v.dtype for v in made} == {"float32"}
        assert T.constant(np.float64(1)).dtype == "float64" and T.constant(3).dtype == "int64"
    finally:
        scanlib.config.floatX = "float64"


def test_errors(mode: str) -> None:
    n = T.lscalar("n")
    cases: list[tuple[type[UserError], str, Any]] = [
        (UserValueError, "the step is 0", lambda: T.arange(0, 3, 0)),
        (UserTypeError, "expected scalars", lambda: T.arange(T.lvector())),
        (UserValueError, "cannot be -1", lambda: T.eye(-1)),
        (UserValueError, "cannot be -2", lambda: T.zeros((-2, 1))),
        (UserTypeError, "expected an integer", lambda: T.zeros(1.5)),
        (UserTypeError, "dtype complex128 is not supported", lambda: T.zeros(2, "complex128")),
        (UserTypeError, "expected 2 or more", lambda: T.diagonal(T.dvector("v"))),
        (UserTypeError, "vector or a matrix", lambda: T.diag(T.dscalar())),
        (UserTypeError, "expected 2 or more", lambda: T.tril(T.dvector("v"))),
        (UserTypeError, "known while the graph is built", lambda: T.diagonal(T.dmatrix(), n)),
    ]
    for kind, message, make in cases:
        with pytest.raises(kind, match=message):
            make()
    for output in (T.arange(0, 5, n), T.zeros((n - 1,)), T.eye(n - 1)):
        with pytest.raises(UserError):
            run(mode, [n], output, 0)


GRADIENTS: list[Any] = [
    lambda m, v: T.diagonal(m, 1) ** 2,
    lambda m, v: T.diagonal(m, -1) ** 2,
    lambda m, v: m.trace() ** 2,
    lambda m, v: T.diag(v, 1) ** 2,
    lambda m, v: T.tril(m, 1) ** 2 + T.triu(m) ** 3,
    lambda m, v: T.full((2, 3), v[0] ** 2),
    lambda m, v: T.alloc(v**2, 3, 4),
    lambda m, v: T.fill(m, v[1] ** 2) * m,
    lambda m, v: T.linspace(v[0], v[1], 3) ** 2,
    lambda m, v: T.arange(0, 1, 0.5) * v[:2] ** 2,
]


@pytest.mark.parametrize("k", range(len(GRADIENTS)))
def test_gradients(k: int) -> None:
    verify_grad(GRADIENTS[k], [M, V], mode="reference", order=2, n_tests=1)


def test_gradients_compiled(mode: str) -> None:
    m, v = T.dmatrix("m"), T.dvector("v")
    costs = [f(m, v).sum() for f in GRADIENTS]
    outputs = [T.grad(c, w, disconnected_inputs="ignore") for c in costs for w in (m, v)]
    got, want = run(mode, [m, v], outputs, M, V), run("reference", [m, v], outputs, M, V)
    for p, q in zip(got, want, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12)
