"""Matrices made of others, their norms, and equations whose unknown is a matrix.

Compositions, with NumPy's or SciPy's names.  Matrices are the last two axes; axes before them are a batch, unless said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UserTypeError, UserValueError
from ..graph import Variable, describe
from ..ops.base import result_dtype
from ..ops.linalg import solve
from ..ops.shape import dim, dimshuffle
from .creation import arange, eye, zeros
from .matrix_functions import _matrix_norm, _square, as_matrix, svdvals
from .products import dot, kron
from .reductions import max, min, norm, sum
from .shape import concatenate, reshape, stack, swapaxes
from .types import as_operands, as_tensor_variable

# Products.


def multi_dot(arrays: Sequence[Any]) -> Variable:
    """The product of several matrices, from the left; the first and the last may be vectors."""
    if isinstance(arrays, Variable) or not arrays:
        raise UserTypeError(
            "multi_dot: expected a list of matrices; for some that are given one by one: matrix_dot"
        )
    result = as_tensor_variable(arrays[0])
    for m in arrays[1:]:
        result = dot(result, m)
    return result


def matrix_transpose(x: Any) -> Variable:
    """The last two axes exchanged."""
    x = as_tensor_variable(x)
    if x.ndim < 2:
        raise UserTypeError(f"matrix_transpose: '{describe(x)}' is {x.type}, expected at least 2 dimensions")
    return swapaxes(x, -2, -1)


def vecdot(x: Any, y: Any, axis: int = -1) -> Variable:
    """The sum of products along `axis`, of operands that broadcast."""
    x, y = as_operands(x, y)
    return sum(x * y, axis=axis)


def cross(x: Any, y: Any) -> Variable:
    """The vector products of vectors of three elements, along the last axis."""
    x, y = as_operands(x, y)
    for v in (x, y):
        if v.ndim == 0 or v.type.shape[-1] not in (None, 3):
            raise UserValueError(f"cross: '{describe(v)}' is {v.type}, expected a last axis of 3 elements")
    parts = [x[..., i] * y[..., j] - x[..., j] * y[..., i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return stack(parts, axis=-1)


# Norms.


def vector_norm(x: Any, ord: Any = 2, axis: Any = None, keepdims: bool = False) -> Variable:
    """The norm (Σ|x|^ord)^(1/ord) along `axis`, None: of all elements; as `norm`."""
    return norm(x, ord, axis, keepdims)


def matrix_norm(x: Any, ord: Any = "fro") -> Variable:
    """ "fro" (√Σx²), "nuc" (the sum of the singular values), 2 or -2 (the largest or smallest of them), 1 or -1 (of the
    sums of |x| along columns), inf or -inf (along rows)."""
    a = as_matrix(x, "matrix_norm")
    if ord == "fro":
        return norm(a, 2, axis=(-2, -1))
    if ord == "nuc":
        return sum(svdvals(a), axis=-1)
    if ord in (2, -2):
        return max(svdvals(a), axis=-1) if ord == 2 else min(svdvals(a), axis=-1)
    if ord not in (1, -1, float("inf"), -float("inf")):
        raise UserValueError(
            f"matrix_norm of '{describe(a)}': ord is {ord!r}, expected 'fro', 'nuc', 2, -2, 1, -1, inf or -inf"
        )
    return _matrix_norm(a, ord)


# Layouts.


def block_diag(*arrays: Any) -> Variable:
    """The matrices (vectors are rows, scalars 1 by 1) along the diagonal, zeros beside them; no batches."""
    blocks = [as_tensor_variable(a) for a in arrays]
    if not blocks or any(b.ndim > 2 for b in blocks):
        raise UserTypeError(f"block_diag: expected one or more matrices, got {[str(b.type) for b in blocks]}")
    blocks = [dimshuffle(b, order=(*"x" * (2 - b.ndim), *range(b.ndim))) for b in blocks]
    dtype = result_dtype(*(b.dtype for b in blocks))
    columns = [dim(b, 1) for b in blocks]
    rows = []
    for k, b in enumerate(blocks):
        beside = [zeros((dim(b, 0), n), dtype=dtype) for n in columns]
        rows.append(concatenate([*beside[:k], b, *beside[k + 1 :]], axis=1))
    return concatenate(rows, axis=0)


def toeplitz(c: Any, r: Any = None) -> Variable:
    """The matrix of first column `c` and first row `r` (its first element is not read; None: `c`), constant along
    its diagonals."""
    c = as_tensor_variable(c)
    r = c if r is None else as_tensor_variable(r)
    for v in (c, r):
        if v.ndim != 1:
            raise UserTypeError(f"toeplitz: '{describe(v)}' is {v.type}, expected a vector")
    values = concatenate([c[::-1], r[1:]])
    first, second = arange(dim(c, 0)), arange(dim(r, 0))
    return values[dim(c, 0) - 1 - dimshuffle(first, order=(0, "x")) + dimshuffle(second, order=("x", 0))]


# Equations.


def _linear(a: Variable, q: Variable, matrix: Variable) -> Variable:
    """X of a's shape with matrix · vec X = vec q, vec laying rows one after the other."""
    n = dim(a, 0)
    x = solve(matrix, reshape(q, (n * n, 1)))
    return reshape(x, (n, n))


def _pair(a: Any, q: Any, what: str) -> tuple[Variable, Variable]:
    a, q = as_matrix(_square(a, what), what), as_matrix(_square(q, what), what)
    for v in (a, q):
        if v.ndim != 2:
            raise UserTypeError(f"{what}: '{describe(v)}' is {v.type}, expected a matrix")
    first, second = as_operands(a, q)
    return first, second


def solve_discrete_lyapunov(a: Any, q: Any) -> Variable:
    """X with a X aᵀ - X + q = 0: the stationary covariance of x[t] = a x[t-1] + noise of covariance q.

    Shapes: a and q (n, n); it solves n² linear equations.
    """
    a, q = _pair(a, q, "solve_discrete_lyapunov")
    n = dim(a, 0)
    return _linear(a, q, eye(n * n, dtype=a.dtype) - kron(a, a))


def solve_continuous_lyapunov(a: Any, q: Any) -> Variable:
    """X with a X + X aᵀ = q.  Shapes: a and q (n, n); it solves n² linear equations."""
    a, q = _pair(a, q, "solve_continuous_lyapunov")
    one = eye(dim(a, 0), dtype=a.dtype)
    return _linear(a, q, kron(a, one) + kron(one, a))


__all__ = [
    "block_diag", "cross", "matrix_norm", "matrix_transpose", "multi_dot", "solve_continuous_lyapunov",
    "solve_discrete_lyapunov", "toeplitz", "vecdot", "vector_norm",
]  # fmt: skip
