"""Products of the user: dot, matmul, tensordot, outer, batched_dot, with NumPy's meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UserTypeError, UserValueError
from ..graph import Variable, describe
from ..ops import elementwise, reduction
from ..ops.base import is_float, result_dtype
from ..ops.product import contract
from ..ops.shape import dim, dimshuffle, int_constant, reshape, specify_shape
from .reductions import normalize_axis
from .types import as_operands


def _operands(x: Any, y: Any) -> tuple[Variable, Variable]:
    """Both operands in their common dtype, converted variables keeping their names in messages."""
    x, y = as_operands(x, y)
    dtype = result_dtype(x.dtype, y.dtype)
    return elementwise.to_dtype(x, dtype), elementwise.to_dtype(y, dtype)


def dot(x: Any, y: Any) -> Variable:
    """The product of NumPy's dot: matrices, vectors, scalars; the last axis of x with the second last of y.

    Raises UserValueError naming both variables when the inner dimensions differ.
    """
    x, y = _operands(x, y)
    if x.ndim == 0 or y.ndim == 0:
        return elementwise.mul(x, y)
    if x.ndim <= 2 and y.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, [[x.ndim - 1], [max(y.ndim - 2, 0)]])


def matmul(x: Any, y: Any) -> Variable:
    """The product of NumPy's matmul: matrices in the last two axes, the axes before them broadcast.

    A vector stands for a row on the left and for a column on the right.  Scalars are refused.
    """
    x, y = _operands(x, y)
    for v in (x, y):
        if v.ndim == 0:
            raise UserTypeError(f"matmul: '{describe(v)}' is a scalar; use * to scale")
    if x.ndim == 1 and y.ndim == 1 and is_float(x.dtype):
        _require_equal(x, 0, y, 0, "dot")
        if x.type.shape[0] is None or y.type.shape[0] is None:
            # The length of what is computed is what the other one has to have.
            if x.owner is None:
                x = specify_shape(x, dim(y, 0), axes=(0,), beside=describe(y))
            else:
                y = specify_shape(y, dim(x, 0), axes=(0,), beside=describe(x))
        return reduction.sum(elementwise.mul(x, y), axes=(0,), keepdims=False)
    a = dimshuffle(x, order=("x", 0)) if x.ndim == 1 else x
    b = dimshuffle(y, order=(0, "x")) if y.ndim == 1 else y
    ndim = max(a.ndim, b.ndim)
    result = contract(_padded(a, ndim), _padded(b, ndim))
    axes = list(range(result.ndim))
    if x.ndim == 1:
        axes.remove(ndim - 2)
    if y.ndim == 1:
        axes.remove(ndim - 1)
    return result if len(axes) == ndim else dimshuffle(result, order=tuple(axes))


def _padded(x: Variable, ndim: int) -> Variable:
    missing = ndim - x.ndim
    return dimshuffle(x, order=("x",) * missing + tuple(range(x.ndim))) if missing else x


def _require_equal(x: Variable, i: int, y: Variable, j: int, what: str) -> None:
    a, b = x.type.shape[i], y.type.shape[j]
    if a is not None and b is not None and a != b:
        raise UserValueError(
            f"{what}: axis {i} of '{describe(x)}' is {a} long, axis {j} of '{describe(y)}' is {b} long; "
            "they must be equal"
        )


def tensordot(x: Any, y: Any, axes: Any = 2) -> Variable:
    """The sum of products over pairs of axes, as numpy.tensordot.

    `axes`: an int n (the last n axes of x with the first n of y), or two axes or lists of axes.
    """
    x, y = _operands(x, y)
    first, second = _paired_axes(x, y, axes)
    for i, j in zip(first, second, strict=True):
        _require_equal(x, i, y, j, "tensordot")
    free_x = [a for a in range(x.ndim) if a not in first]
    free_y = [a for a in range(y.ndim) if a not in second]
    a = _as_matrix(x, free_x, first)
    b = _as_matrix(y, second, free_y)
    product = contract(a, b)
    if len(free_x) == 1 and len(free_y) == 1:
        return product
    return reshape(product, *(dim(x, i) for i in free_x), *(dim(y, j) for j in free_y))


def _paired_axes(x: Variable, y: Variable, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise UserValueError(
                f"tensordot: {axes} axes, but '{describe(x)}' has {x.ndim} and '{describe(y)}' has {y.ndim}"
            )
        return list(range(x.ndim - axes, x.ndim)), list(range(axes))
    try:
        first, second = axes
    except (TypeError, ValueError):
        raise UserTypeError(f"tensordot: axes must be an int or two lists of axes, got {axes!r}") from None
    lists = []
    for v, given in ((x, first), (y, second)):
        several = given if isinstance(given, (list, tuple)) else [given]
        lists.append([normalize_axis(a, v, "tensordot") for a in several])
    if len(lists[0]) != len(lists[1]) or any(len(set(found)) != len(found) for found in lists):
        raise UserValueError(f"tensordot: axes {axes!r} do not pair different axes with each other")
    return lists[0], lists[1]


def _as_matrix(x: Variable, rows: Sequence[int], columns: Sequence[int]) -> Variable:
    """`x` transposed to (rows, columns), each group of axes flattened into one."""
    order = (*rows, *columns)
    if len(rows) == 1 and len(columns) == 1:
        return x if order == (0, 1) else dimshuffle(x, order=order)
    moved = x if order == tuple(range(x.ndim)) else dimshuffle(x, order=order)
    return reshape(moved, _size(x, rows), _size(x, columns))


def _size(x: Variable, axes: Sequence[int]) -> Variable:
    total: Variable | None = None
    for a in axes:
        total = dim(x, a) if total is None else _times(total, dim(x, a))
    return int_constant(1) if total is None else total


def _times(a: Variable, b: Variable) -> Variable:
    from ..graph import Constant

    if isinstance(a, Constant) and isinstance(b, Constant):
        return int_constant(int(a.data) * int(b.data))
    return elementwise.mul(a, b)


def outer(x: Any, y: Any) -> Variable:
    """out[i, j] = x[i] · y[j], of the flattened operands."""
    x, y = _operands(x, y)
    flat = [v if v.ndim == 1 else reshape(v, _size(v, range(v.ndim))) for v in (x, y)]
    return elementwise.mul(dimshuffle(flat[0], order=(0, "x")), dimshuffle(flat[1], order=("x", 0)))


def kron(x: Any, y: Any) -> Variable:
    """The Kronecker product: every element of x times all of y, side by side (numpy.kron)."""
    x, y = _operands(x, y)
    ndim = max(x.ndim, y.ndim)
    x, y = _padded(x, ndim), _padded(y, ndim)
    left: list[Any] = [a for k in range(ndim) for a in (k, "x")]
    right: list[Any] = [a for k in range(ndim) for a in ("x", k)]
    made = elementwise.mul(dimshuffle(x, order=tuple(left)), dimshuffle(y, order=tuple(right)))
    return reshape(made, *(_times(dim(x, k), dim(y, k)) for k in range(ndim)))


def inner(x: Any, y: Any) -> Variable:
    """The sum of products over the last axes, as numpy.inner."""
    x, y = _operands(x, y)
    if x.ndim == 0 or y.ndim == 0:
        return elementwise.mul(x, y)
    if x.ndim == 1 and y.ndim == 1:
        return matmul(x, y)
    return tensordot(x, y, [[x.ndim - 1], [y.ndim - 1]])


def batched_dot(x: Any, y: Any) -> Variable:
    """out[i] = dot(x[i], y[i]) over the first axis, for operands of 1 to 3 dimensions."""
    x, y = _operands(x, y)
    for v in (x, y):
        if not 1 <= v.ndim <= 3:
            raise UserTypeError(
                f"batched_dot: '{describe(v)}' has {v.ndim} dimensions ({v.type}), expected 1 to 3"
            )
    _require_equal(x, 0, y, 0, "batched_dot")
    if x.ndim == 1 or y.ndim == 1:
        ndim = max(x.ndim, y.ndim)
        return elementwise.mul(
            *(dimshuffle(v, order=(*range(v.ndim), *"x" * (ndim - v.ndim))) for v in (x, y))
        )
    a = dimshuffle(x, order=(0, "x", 1)) if x.ndim == 2 else x
    b = dimshuffle(y, order=(0, 1, "x")) if y.ndim == 2 else y
    result = contract(a, b)
    kept = [0, *([1] if x.ndim == 3 else []), *([2] if y.ndim == 3 else [])]
    return result if len(kept) == 3 else dimshuffle(result, order=tuple(kept))


__all__ = ["batched_dot", "dot", "inner", "kron", "matmul", "outer", "tensordot"]
