"""Matrices made of others, their norms, and equations of matrices, against NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError
from scanlib.verify import verify_grad

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape))


NORMS: list[Any] = ["fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf]
# name: (ours, theirs, arguments)
Case = tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]
CASES: dict[str, Case] = {
    "multi_dot": (
        lambda *a: T.linalg.multi_dot(a), lambda *a: np.linalg.multi_dot(a), (normal(3), normal(3, 4), normal(4, 2)),
    ),
    "matrix_transpose": (T.linalg.matrix_transpose, np.linalg.matrix_transpose, (normal(2, 3, 4),)),
    "vecdot": (T.linalg.vecdot, np.vecdot, (normal(4, 1, 3), normal(2, 3))),
    "cross": (T.linalg.cross, np.linalg.cross, (normal(4, 3), normal(3))),
    "vector_norm": (T.linalg.vector_norm, np.linalg.vector_norm, (normal(4, 3),)),
    **{
        f"matrix_norm {ord}": (
            lambda a, ord=ord: T.linalg.matrix_norm(a, ord), lambda a, ord=ord: np.linalg.matrix_norm(a, ord=ord),
            (normal(2, 4, 3),),
        )
        for ord in NORMS
    },
    "block_diag": (T.linalg.block_diag, scipy.linalg.block_diag, (normal(2, 3), normal(1, 1), normal(0, 2), normal(3))),
    "toeplitz": (T.linalg.toeplitz, scipy.linalg.toeplitz, (normal(4),)),
    "toeplitz of two": (T.linalg.toeplitz, scipy.linalg.toeplitz, (normal(4), normal(6))),
    "discrete": (
        T.linalg.solve_discrete_lyapunov, scipy.linalg.solve_discrete_lyapunov, (normal(4, 4) * 0.3, normal(4, 4)),
    ),
    "continuous": (
        T.linalg.solve_continuous_lyapunov, scipy.linalg.solve_continuous_lyapunov,
        (normal(4, 4) - 3 * np.eye(4), normal(4, 4)),
    ),
    "cho_factor": (
        lambda a: T.linalg.cho_solve(T.linalg.cho_factor(a @ a.T + T.eye(3)), a[:, 0]),
        lambda a: np.linalg.solve(a @ a.T + np.eye(3), a[:, 0]), (normal(3, 3),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, mode: str) -> None:
    made, meant, arrays = CASES[name]
    inputs = [T.tensor("float64", shape=(None,) * a.ndim) for a in arrays]
    got, want = scanlib.function(inputs, made(*inputs), mode=mode)(*arrays), meant(*arrays)
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    if mode == "native":
        verify_grad(made, list(arrays))


def test_bad_arguments_are_user_errors() -> None:
    m, v = T.matrix("m"), T.vector("v")
    for call in (
        lambda: T.linalg.multi_dot(m),
        lambda: T.linalg.multi_dot([]),
        lambda: T.linalg.matrix_transpose(v),
        lambda: T.linalg.cross(T.vector("u", shape=(2,)), v),
        lambda: T.linalg.matrix_norm(v),
        lambda: T.linalg.matrix_norm(m, 3),
        lambda: T.linalg.block_diag(),
        lambda: T.linalg.block_diag(T.tensor3("t")),
        lambda: T.linalg.toeplitz(m),
        lambda: T.linalg.solve_discrete_lyapunov(v, m),
        lambda: T.linalg.solve_continuous_lyapunov(T.tensor3("t"), m),
    ):
        with pytest.raises(UserError):
            call()
