"""Linear algebra and sorting of the user.  Matrices are the last two axes; axes before them are a batch.

Integers are cast to float64.  A singular or indefinite matrix is a user error when the function runs.
"""

from __future__ import annotations

from typing import Any

from ..errors import UserTypeError, UserValueError
from ..graph import Variable, describe
from ..ops import elementwise
from ..ops import linalg as rows
from ..ops import sort as sort_rows
from ..ops.base import Op, result_dtype
from ..ops.shape import dimshuffle
from . import matrix_equations, matrix_functions
from .creation import diag, diagonal, trace, tril, triu
from .matrix_equations import *  # noqa: F403
from .matrix_equations import multi_dot
from .matrix_functions import *  # noqa: F403
from .matrix_functions import as_matrix
from .products import _padded, kron, matmul, outer, tensordot
from .reductions import _flat, norm, normalize_axis
from .types import as_tensor_variable

# Solving.


def _solve(row: Op, a: Any, b: Any, **params: Any) -> Variable:
    a, b = as_matrix(a, row.name), as_tensor_variable(b)
    if b.ndim == 0:
        raise UserTypeError(
            f"{row.name}: the right side '{describe(b)}' is a scalar, expected a vector or more"
        )
    dtype = result_dtype(a.dtype, b.dtype)
    a, right = elementwise.to_dtype(a, dtype), elementwise.to_dtype(b, dtype)
    if b.ndim == 1:
        right = dimshuffle(right, order=(0, "x"))
    ndim = max(a.ndim, right.ndim)
    x = row(_padded(a, ndim), _padded(right, ndim), **params)
    return dimshuffle(x, order=tuple(range(ndim - 1))) if b.ndim == 1 else x


def solve(a: Any, b: Any) -> Variable:
    """x with a x = b.  Shapes: a (…, n, n); b (n,) or (…, n, k); x as b, batch axes broadcast."""
    return _solve(rows.solve, a, b)


def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False
) -> Variable:
    """x with a x = b (`trans` 1 or "T": aᵀ x = b), reading one triangle of `a` only; shapes as for solve.

    `unit_diagonal`: the diagonal of `a` is taken as 1 and not read.
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise UserValueError(f"solve_triangular: trans is {trans!r}, expected 0 or 'N', 1 or 'T', 2 or 'C'")
    transpose = trans not in (0, "N")
    params = {"lower": bool(lower), "transpose": transpose, "unit_diagonal": bool(unit_diagonal)}
    return _solve(rows.solve_triangular, a, b, **params)


def solve_lower_triangular(a: Any, b: Any) -> Variable:
    """solve_triangular of a lower triangle."""
    return solve_triangular(a, b, lower=True)


def solve_upper_triangular(a: Any, b: Any) -> Variable:
    """solve_triangular of an upper triangle."""
    return solve_triangular(a, b, lower=False)


# Factorizations and functions of matrices.


def cholesky(a: Any, lower: bool = True) -> Variable:
    """The lower triangular L with L Lᵀ = a, reading the lower triangle of `a`;
    or (lower=False) the upper triangular U with Uᵀ U = a, reading the upper one.

    The gradient lies in the triangle that is read.
    """
    return rows.cholesky(as_matrix(a, "cholesky"), lower=bool(lower))


def inv(a: Any) -> Variable:
    """The inverse matrix."""
    return rows.inv(as_matrix(a, "inv"))


def det(a: Any) -> Variable:
    """The determinant; its gradient needs a regular matrix."""
    return rows.det(as_matrix(a, "det"))


def slogdet(a: Any) -> tuple[Variable, Variable]:
    """(sign of the determinant, logarithm of its absolute value)."""
    sign, size = rows.slogdet.apply([as_matrix(a, "slogdet")], {}).outputs
    return sign, size


def eigh(a: Any, UPLO: str = "L") -> tuple[Variable, Variable]:
    """(ascending eigenvalues, eigenvectors as columns) of the symmetric matrix of one triangle.

    Derivatives need distinct eigenvalues; the gradient lies in the triangle that is read.
    """
    if UPLO not in ("L", "U"):
        raise UserValueError(f"eigh: UPLO is {UPLO!r}, expected 'L' or 'U'")
    w, v = rows.eigh.apply([as_matrix(a, "eigh")], {"lower": UPLO == "L"}).outputs
    return w, v


def eigvalsh(a: Any, UPLO: str = "L") -> Variable:
    """The eigenvalues of eigh."""
    return eigh(a, UPLO)[0]


def qr(a: Any, mode: str = "reduced") -> Any:
    """(q, r) with q r = a, q with orthonormal columns and r upper triangular; `mode` "r" gives r only.

    Shapes for a (…, m, n): "reduced" q (…, m, k), r (…, k, n) with k = min(m, n); "complete" k = m.
    The gradient is defined for "reduced" (or "r") and m >= n.
    """
    if mode not in ("reduced", "complete", "r"):
        raise UserValueError(f"qr: mode is {mode!r}, expected 'reduced', 'complete' or 'r'")
    q, r = rows.qr.apply([as_matrix(a, "qr")], {"complete": mode == "complete"}).outputs
    return r if mode == "r" else (q, r)


def cho_factor(a: Any, lower: bool = False) -> tuple[Variable, bool]:
    """(cholesky(a, lower), lower), for cho_solve."""
    return cholesky(a, lower), bool(lower)


def cho_solve(c_and_lower: tuple[Any, bool], b: Any) -> Variable:
    """x with a x = b, given (cholesky(a, lower), lower)."""
    if not isinstance(c_and_lower, (list, tuple)) or len(c_and_lower) != 2:
        raise UserTypeError(
            f"cho_solve: expected (factor, lower) as cho_factor gives it, got {c_and_lower!r:.60}"
        )
    factor, lower = c_and_lower
    half = solve_triangular(factor, b, trans=0 if lower else 1, lower=lower)
    return solve_triangular(factor, half, trans=1 if lower else 0, lower=lower)


def matrix_dot(*matrices: Any) -> Variable:
    """The product of several matrices, from the left."""
    return multi_dot(matrices)


# Theano's names.
matrix_inverse = inv
alloc_diag = extract_diag = diag


# Sorting.


def _along_last(row: Op, x: Any, axis: int | None) -> Variable:
    x = as_tensor_variable(x)
    if axis is None:
        return row(_flat(x))
    position = normalize_axis(axis, x, row.name)
    if position == x.ndim - 1:
        return row(x)
    order = list(range(x.ndim))
    order[position], order[-1] = order[-1], order[position]
    swapped = tuple(order)
    return dimshuffle(row(dimshuffle(x, order=swapped)), order=swapped)


def sort(x: Any, axis: int | None = -1) -> Variable:
    """The elements in ascending order along `axis` (None: of the flattened array), NaN last."""
    return _along_last(sort_rows.sort, x, axis)


def argsort(x: Any, axis: int | None = -1) -> Variable:
    """The indices (int64) that sort along `axis`; equal elements keep their order, NaN is last."""
    return _along_last(sort_rows.argsort, x, axis)


# What NumPy or SciPy have and scanlib cannot, and what to use instead.
_COMPLEX = "its results may be complex, and scanlib has no complex numbers"
_ABSENT = {
    **dict.fromkeys(("eig", "eigvals"), f"{_COMPLEX}; for symmetric matrices there are eigh and eigvalsh"),
    **dict.fromkeys(("logm", "sqrtm", "schur"), f"{_COMPLEX}; for symmetric matrices compose it of eigh"),
}


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"module {__name__!r} has no {name!r}" + (f": {_ABSENT[name]}" if name in _ABSENT else "")
    )


__all__ = [
    "alloc_diag", "argsort", "cho_factor", "cho_solve", "cholesky", "det", "diag", "diagonal", "eigh", "eigvalsh",
    "extract_diag", "inv", "kron", "matmul", "matrix_dot", "matrix_inverse", "norm", "outer", "qr", "slogdet", "solve",
    "solve_lower_triangular", "solve_triangular", "solve_upper_triangular", "sort", "tensordot", "trace", "tril",
    "triu",
]  # fmt: skip
__all__ += matrix_equations.__all__ + matrix_functions.__all__
