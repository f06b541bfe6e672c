"""Reductions of the user, over any axes, as in NumPy; and accumulations along an axis."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UserTypeError, UserValueError
from ..graph import Constant, Variable, describe
from ..ops import accumulation, elementwise
from ..ops import reduction as rows
from ..ops.base import Op, is_float
from ..ops.shape import dim, dimshuffle, int_constant, reshape
from .types import as_tensor_variable, check_dtype

# The builtin, whose name is taken below.
_all = all


# Axes.


def normalize_axis(axis: Any, x: Variable, what: str) -> int:
    """`axis` as an int in [0, ndim); UserValueError naming `x` when there is no such axis."""
    if isinstance(axis, Constant):
        axis = axis.data
    try:
        position = operator.index(axis)
    except TypeError:
        message = f"{what} of '{describe(x)}': axis must be an int known now, got {axis!r}"
        raise UserTypeError(message) from None
    if not -x.ndim <= position < x.ndim:
        raise UserValueError(
            f"{what} of '{describe(x)}': there is no axis {position}, it has {x.ndim} dimension(s) ({x.type})"
        )
    return position % x.ndim


def normalize_axes(axis: Any, x: Variable, what: str) -> tuple[int, ...]:
    """None (all axes), an int or several ints, as a sorted tuple of axes in [0, ndim)."""
    if axis is None:
        return tuple(range(x.ndim))
    several = axis if isinstance(axis, (tuple, list)) else [axis]
    axes = [normalize_axis(a, x, what) for a in several]
    if len(set(axes)) != len(axes):
        raise UserValueError(f"{what} of '{describe(x)}': an axis is given twice in {axis!r}")
    return tuple(sorted(axes))


def _reduce(row: Op, x: Any, axis: Any, keepdims: bool) -> Variable:
    x = as_tensor_variable(x)
    return row(x, axes=normalize_axes(axis, x, row.name), keepdims=bool(keepdims))


def element_count(x: Variable, axes: Sequence[int], dtype: str) -> Variable:
    """How many elements the axes hold together, in `dtype`."""
    if _all(x.type.shape[a] is not None for a in axes):
        return Constant(np.asarray(math.prod(x.type.shape[a] or 0 for a in axes), dtype))
    count: Variable = int_constant(1)
    for a in axes:
        count = elementwise.mul(count, dim(x, a))
    return elementwise.to_dtype(count, dtype)


# Sums and products.


def _accumulated(row: Op, x: Any, axis: Any, dtype: Any, keepdims: bool) -> Variable:
    x = as_tensor_variable(x)
    if dtype is not None:
        x = elementwise.to_dtype(x, check_dtype(dtype))
    result = _reduce(row, x, axis, keepdims)
    return result if dtype is None else elementwise.to_dtype(result, check_dtype(dtype))


def sum(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
    """The sum over `axis` (None: all; an int or several).

    Integers and bools are summed as int64 (unsigned: uint64) unless `dtype` is given.
    """
    return _accumulated(rows.sum, x, axis, dtype, keepdims)


def prod(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
    """The product over `axis`; dtypes as for sum.  Its gradient is right where elements are zero."""
    return _accumulated(rows.prod, x, axis, dtype, keepdims)


def _as_mean_dtype(x: Any, dtype: Any) -> Variable:
    x = as_tensor_variable(x)
    if dtype is not None:
        return elementwise.to_dtype(x, check_dtype(dtype))
    return x if is_float(x.dtype) else elementwise.to_dtype(x, "float64")


def mean(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
    """The mean over `axis`; of integers and bools in float64.  NaN over no elements."""
    x = _as_mean_dtype(x, dtype)
    axes = normalize_axes(axis, x, "mean")
    total = rows.sum(x, axes=axes, keepdims=bool(keepdims))
    return elementwise.to_dtype(total / element_count(x, axes, x.dtype), x.dtype)


def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, dtype: Any = None) -> Variable:
    """The variance over `axis`: mean squared distance from the mean, with n - `ddof` in place of n."""
    x = _as_mean_dtype(x, dtype)
    axes = normalize_axes(axis, x, "var")
    centred = x - mean(x, axes, keepdims=True)
    total = rows.sum(centred * centred, axes=axes, keepdims=bool(keepdims))
    count = element_count(x, axes, x.dtype)
    return total / (count if ddof == 0 else elementwise.maximum(count - ddof, count * 0))


def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, dtype: Any = None) -> Variable:
    """The square root of var."""
    return elementwise.sqrt(var(x, axis, ddof, keepdims, dtype))


# Extremes.


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The largest element over `axis`, NaN if there is one.  Equal largest elements share the gradient.

    Raises UserValueError (when running, if not known before) over no elements.
    """
    return _reduce(rows.max, x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The smallest element over `axis`; otherwise as max."""
    return _reduce(rows.min, x, axis, keepdims)


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The distance from the smallest to the largest element over `axis`."""
    return max(x, axis, keepdims) - min(x, axis, keepdims)


def _arg(row: Op, x: Any, axis: Any, keepdims: bool) -> Variable:
    x = as_tensor_variable(x)
    source = x
    if axis is None:
        x, position = _flat(x), 0
    else:
        position = normalize_axis(axis[0] if isinstance(axis, (tuple, list)) else axis, x, row.name)
    result = row(x, axis=position)
    if not keepdims:
        return result
    if axis is None:
        return dimshuffle(result, order=("x",) * source.ndim)
    order: list[Any] = list(range(result.ndim))
    order.insert(position, "x")
    return dimshuffle(result, order=tuple(order))


def _flat(x: Variable) -> Variable:
    return (
        x if x.ndim == 1 else reshape(x, int_constant(-1) if None in x.type.shape else int_constant(_size(x)))
    )


def _size(x: Variable) -> int:
    return math.prod(d or 0 for d in x.type.shape)


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The place (int64) of the first largest element along `axis` (None: when flattened); a NaN wins."""
    return _arg(rows.argmax, x, axis, keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The place of the first smallest element; otherwise as argmax."""
    return _arg(rows.argmin, x, axis, keepdims)


def max_and_argmax(x: Any, axis: Any = None, keepdims: bool = False) -> tuple[Variable, Variable]:
    """max and argmax."""
    return max(x, axis, keepdims), argmax(x, axis, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """Whether every element over `axis` is nonzero."""
    return _reduce(rows.all, x, axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """Whether some element over `axis` is nonzero."""
    return _reduce(rows.any, x, axis, keepdims)


# Accumulations.


def _accumulate(row: Op, x: Any, axis: Any) -> Variable:
    x = as_tensor_variable(x)
    if axis is None:
        x, axis = _flat(x), 0
    return row(x, axis=normalize_axis(axis, x, row.name), reverse=False, exclusive=False)


def cumsum(x: Any, axis: int | None = None) -> Variable:
    """The sums of the elements up to each one along `axis`, of the flattened array for None."""
    return _accumulate(accumulation.cumsum, x, axis)


def cumprod(x: Any, axis: int | None = None) -> Variable:
    """The products of the elements up to each one along `axis`, of the flattened array for None."""
    return _accumulate(accumulation.cumprod, x, axis)


# Norms and sums of exponentials.


def norm(x: Any, ord: Any = 2, axis: Any = None, keepdims: bool = False) -> Variable:
    """The norm (Σ|x|^ord)^(1/ord) over the elements of `axis` (None: all of them).

    `ord`: a number, inf, -inf, 0 (how many are nonzero), None or "fro" (2), whose gradient at 0 is 0.
    """
    x = as_tensor_variable(x)
    if not is_float(x.dtype):
        x = elementwise.to_dtype(x, "float64")
    if ord is None or ord == "fro":
        ord = 2
    if isinstance(ord, str):
        raise UserValueError(
            f"norm of '{describe(x)}': ord {ord!r} is not one of a number, inf, -inf, None, 'fro'"
        )
    if ord == 2:
        return _root(sum(x * x, axis, keepdims=keepdims))
    size = elementwise.abs(x)
    if math.isinf(ord):
        return max(size, axis, keepdims) if ord > 0 else min(size, axis, keepdims)
    if ord == 0:
        return sum(_nonzero(x), axis, keepdims=keepdims)
    if ord == 1:
        return sum(size, axis, keepdims=keepdims)
    return sum(size**ord, axis, keepdims=keepdims) ** (1.0 / ord)


def _root(x: Variable) -> Variable:
    """√x, through which nothing flows at 0: of the slopes of a norm there, 0 is the one in the middle."""
    from .math import eq, switch

    zero = eq(x, 0)
    return switch(zero, 0, elementwise.sqrt(switch(zero, 1, x)))


def _nonzero(x: Variable) -> Variable:
    return elementwise.cast(elementwise.cast(x, dtype="bool"), dtype=x.dtype)


def _shift(x: Variable, axes: tuple[int, ...]) -> Variable:
    """The maximum, kept finite; as a shift of exponents it cancels out, so no gradient flows through it."""
    from ..ops.gradient import disconnected_grad
    from .math import isfinite, switch

    high = rows.max(x, axes=axes, keepdims=True)
    return disconnected_grad(switch(isfinite(high), high, 0))


def _without_axes(x: Variable, axes: Sequence[int]) -> Variable:
    return dimshuffle(x, order=tuple(a for a in range(x.ndim) if a not in axes))


def _as_float(x: Any) -> Variable:
    x = as_tensor_variable(x)
    return x if is_float(x.dtype) else elementwise.to_dtype(x, "float64")


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """log Σ eˣ over `axis`, without overflow.  Its gradient is softmax."""
    x = _as_float(x)
    axes = normalize_axes(axis, x, "logsumexp")
    shift = _shift(x, axes)
    total = rows.sum(elementwise.exp(x - shift), axes=axes, keepdims=True)
    result = elementwise.log(total) + shift
    return result if keepdims else _without_axes(result, axes)


def softmax(x: Any, axis: Any = -1) -> Variable:
    """eˣ / Σ eˣ over `axis` (None: all), without overflow."""
    x = _as_float(x)
    axes = normalize_axes(axis, x, "softmax")
    powers = elementwise.exp(x - _shift(x, axes))
    return powers / rows.sum(powers, axes=axes, keepdims=True)


def log_softmax(x: Any, axis: Any = -1) -> Variable:
    """log softmax(x) over `axis` (None: all), accurate where softmax underflows."""
    x = _as_float(x)
    axes = normalize_axes(axis, x, "log_softmax")
    centred = x - _shift(x, axes)
    return centred - elementwise.log(rows.sum(elementwise.exp(centred), axes=axes, keepdims=True))


__all__ = [
    "all", "any", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logsumexp", "max",
    "max_and_argmax", "mean", "min", "norm", "prod", "ptp", "softmax", "std", "sum", "var",
]  # fmt: skip
