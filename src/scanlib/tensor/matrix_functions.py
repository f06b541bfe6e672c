"""Singular values and what is made of them, powers and exponentials of matrices.

Matrices are the last two axes; axes before them are a batch.  Integers are cast to float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UserTypeError, UserValueError
from ..graph import Variable, describe
from ..ops import elementwise
from ..ops import svd as rows
from ..ops.base import is_float
from ..ops.linalg import inv, solve
from ..ops.shape import dim
from .creation import eye
from .math import ceil, clip, gt, log2, maximum, switch
from .products import dot, matmul
from .reductions import max, min, sum
from .types import as_tensor_variable


def as_matrix(x: Any, what: str) -> Variable:
    """`x` as matrices of floats; a user error naming `what` when it has too few axes."""
    x = as_tensor_variable(x)
    if x.ndim < 2:
        raise UserTypeError(
            f"{what}: '{describe(x)}' has {x.ndim} dimension(s) ({x.type}), expected at least 2"
        )
    return x if is_float(x.dtype) else elementwise.to_dtype(x, "float64")


# Singular values.


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """(u, s, vt) with u diag(s) vt = a, the singular values s descending; `compute_uv` False gives s only.

    Shapes for a (…, m, n) with k = min(m, n): u (…, m, k), s (…, k), vt (…, k, n); full_matrices: u (…, m, m),
    vt (…, n, n), whose columns and rows beyond k are arbitrary.  Derivatives of u and vt need full_matrices=False
    and distinct singular values; u and vt are unique up to the sign of each pair of vectors.
    """
    a = as_matrix(a, "svd")
    u, s, vt = rows.svd.apply([a], {"full": bool(full_matrices and compute_uv)}).outputs
    return (u, s, vt) if compute_uv else s


def svdvals(a: Any) -> Variable:
    """The singular values of svd."""
    values: Variable = svd(a, compute_uv=False)
    return values


def _cutoff(a: Variable, rcond: Any) -> Variable:
    """rcond, by default max(m, n) times the distance from 1 to the next number."""
    if rcond is not None:
        return elementwise.to_dtype(as_tensor_variable(rcond), a.dtype)
    longest = maximum(dim(a, a.ndim - 2), dim(a, a.ndim - 1))
    return elementwise.to_dtype(longest, a.dtype) * float(np.finfo(a.dtype).eps)


def pinv(a: Any, rcond: Any = None) -> Variable:
    """The Moore-Penrose inverse (…, n, m) of a (…, m, n).

    Singular values of at most `rcond` (a scalar, by default max(m, n) machine epsilons) times the largest one count
    as 0.  The gradient holds where their number does not change.
    """
    a = as_matrix(a, "pinv")
    limit = _cutoff(a, rcond)
    if limit.ndim:
        raise UserTypeError(f"pinv: rcond '{describe(limit)}' is {limit.type}, expected a scalar")
    return rows.pinv(a, limit)


def matrix_rank(a: Any, tol: Any = None, rtol: Any = None) -> Variable:
    """How many singular values (int64) are larger than `tol`, by default `rtol` times the largest one; `rtol` as
    the `rcond` of pinv."""
    a = as_matrix(a, "matrix_rank")
    s = svdvals(a)
    limit = max(s, axis=-1, keepdims=True) * _cutoff(a, rtol) if tol is None else as_tensor_variable(tol)
    return sum(gt(s, limit), axis=-1)


def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Variable, Variable, Variable, Variable]:
    """(x, residuals, rank, s): x of least norm among those that minimise the norm of a x - b, the squares of
    these norms (one per column of b, whatever the rank), and rank and singular values of a.

    Shapes: a (m, n); b (m,) or (m, k); x (n,) or (n, k).  `rcond` as for pinv.
    """
    a, b = as_matrix(a, "lstsq"), as_tensor_variable(b)
    if a.ndim != 2 or b.ndim not in (1, 2):
        raise UserTypeError(
            f"lstsq: expected a matrix and a vector or matrix, got '{describe(a)}' ({a.type}) and "
            f"'{describe(b)}' ({b.type})"
        )
    x = dot(pinv(a, rcond), b)
    return x, sum((dot(a, x) - b) ** 2, axis=0), matrix_rank(a, rtol=rcond), svdvals(a)


def cond(a: Any, p: Any = None) -> Variable:
    """How much solving with `a` may enlarge errors: the norm of a times that of its inverse.

    `p`: None or 2 (largest singular value over smallest, of any matrix), -2, "fro", 1, -1, inf, -inf.
    """
    a = as_matrix(a, "cond")
    if p in (None, 2, -2):
        s = svdvals(a)
        first, last = s[..., 0], s[..., -1]
        return last / first if p == -2 else first / last
    if p not in ("fro", 1, -1, np.inf, -np.inf):
        raise UserValueError(
            f"cond of '{describe(a)}': p is {p!r}, expected None, 2, -2, 'fro', 1, -1, inf or -inf"
        )
    return _matrix_norm(a, p) * _matrix_norm(inv(a), p)


def _matrix_norm(a: Variable, p: Any) -> Variable:
    if p == "fro":
        return elementwise.sqrt(sum(a * a, axis=(-2, -1)))
    sums = sum(elementwise.abs(a), axis=-2 if abs(p) == 1 else -1)
    return max(sums, axis=-1) if p > 0 else min(sums, axis=-1)


# Powers and exponentials.


def _square(a: Any, what: str) -> Variable:
    a = as_tensor_variable(a)
    if a.ndim < 2:
        raise UserTypeError(
            f"{what}: '{describe(a)}' has {a.ndim} dimension(s) ({a.type}), expected at least 2"
        )
    m, n = a.type.shape[-2:]
    if m is not None and n is not None and m != n:
        raise UserValueError(f"{what}: '{describe(a)}' must be square, but it is {m} by {n}")
    return a


def matrix_power(a: Any, n: int) -> Variable:
    """The product of n (an int) matrices a, by repeated squaring; of their inverses if n < 0."""
    a = _square(a, "matrix_power")
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise UserTypeError(
            f"matrix_power of '{describe(a)}': n must be an int known now, got {n!r}; for a symbolic number "
            "of factors use scan"
        )
    if n < 0:
        a, n = inv(as_matrix(a, "matrix_power")), -n
    if n == 0:
        return a * 0 + eye(dim(a, a.ndim - 1), dtype=a.dtype)
    power, result = a, None
    while n:
        if n & 1:
            result = power if result is None else matmul(result, power)
        n >>= 1
        power = matmul(power, power) if n else power
    assert result is not None
    return result


# Numerator of the diagonal Padé approximant of degree 13 (Higham 2005, SIAM J. Matrix Anal. Appl. 26:1179), and the
# 1-norm up to which it is as exact as float64.
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_PADE_NORM = 5.371920351148152


def expm(a: Any) -> Variable:
    """The exponential of matrices, Σ aᵏ / k!, by scaling and squaring."""
    from ..scan_module import scan

    a = as_matrix(_square(a, "expm"), "expm")
    largest = max(_matrix_norm(a, 1))
    # At least one squaring, and few enough for the exponent of a number where elements are infinite.
    halvings = clip(ceil(log2(largest / _PADE_NORM)), 1, 60)
    halvings = elementwise.to_dtype(switch(gt(largest, 0), halvings, 1), "int64")
    small = a * elementwise.to_dtype(0.5 ** elementwise.to_dtype(halvings, "float64"), a.dtype)
    powers, _ = scan(
        lambda x: matmul(x, x), outputs_info=_pade(small), n_steps=halvings, name="squarings of expm"
    )
    return powers[-1]


def _pade(a: Variable) -> Variable:
    b = _PADE
    one = eye(dim(a, a.ndim - 1), dtype=a.dtype)
    a2 = matmul(a, a)
    a4 = matmul(a2, a2)
    a6 = matmul(a2, a4)
    high = matmul(a6, b[13] * a6 + b[11] * a4 + b[9] * a2)
    odd = matmul(a, high + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    even = matmul(a6, b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    return solve(even - odd, even + odd)


__all__ = [
    "cond", "expm", "lstsq", "matrix_power", "matrix_rank", "pinv", "svd", "svdvals",
]  # fmt: skip
