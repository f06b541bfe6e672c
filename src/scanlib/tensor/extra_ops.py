"""Theano's `extra_ops`: small compositions for counting, choosing, permutations and one-hot rows."""

from __future__ import annotations

from typing import Any

from ..errors import UserTypeError
from ..graph import Variable, describe
from ..ops import shape as rows
from .creation import arange, zeros, zeros_like
from .dimensions import axis_of
from .linalg import argsort, sort
from .math import eq, isclose, isnan, le, logical_and, logical_not, lt, neq, switch
from .reductions import all, cumprod, cumsum, max, normalize_axes, sum
from .shape import (
    broadcast_arrays,
    concatenate,
    dimshuffle,
    expand_dims,
    ravel,
    repeat,
    reshape,
    shape_padleft,
    shape_padright,
    squeeze,
    stack,
)
from .subtensor import getitem, inc_subtensor, nonzero, set_subtensor, take, take_along_axis
from .types import as_tensor_variable


def choose(a: Any, choices: Any) -> Variable:
    """Elementwise choices[a], the choices (a list, or along axis 0 of a variable) broadcast together."""
    table = (
        stack(broadcast_arrays(*choices))
        if isinstance(choices, (list, tuple))
        else as_tensor_variable(choices)
    )
    which, sample = broadcast_arrays(a, getitem(table, 0))
    wide = dimshuffle(table, 0, *["x"] * (sample.ndim + 1 - table.ndim), *range(1, table.ndim))
    wide = rows.broadcast_to(wide, rows.dim(table, 0), *rows.dims_of(sample))
    return getitem(take_along_axis(wide, shape_padleft(which), 0), 0)


def compress(condition: Any, x: Any, axis: int | None = None) -> Variable:
    """The slices of x along `axis` (of the flattened x by default) where the bool vector is true."""
    return take(x, nonzero(condition)[0], axis)


def diff(x: Any, n: int = 1, axis: int = -1) -> Variable:
    """The n-th differences of neighbours along `axis`."""
    x = as_tensor_variable(x)
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise UserTypeError(f"diff of '{describe(x)}': n must be an int from 0 on, known now, got {n!r}")
    front = (slice(None),) * axis_of(axis, x.ndim, "diff")
    for _ in range(n):
        x = getitem(x, (*front, slice(1, None))) - getitem(x, (*front, slice(None, -1)))
    return x


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Variable:
    """The integral of y along `axis` by the trapezoidal rule, at the points x, or at points `dx` apart."""
    y = as_tensor_variable(y)
    a = axis_of(axis, y.ndim, "trapezoid")
    front = (slice(None),) * a
    if x is not None:
        x = as_tensor_variable(x)
        dx = diff(x, axis=a if x.ndim > 1 else -1)
        if x.ndim == 1:
            dx = shape_padright(dx, y.ndim - 1 - a)
    heights = getitem(y, (*front, slice(1, None))) + getitem(y, (*front, slice(None, -1)))
    return sum(dx * heights / 2, axis=a)


def median(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The middle of the sorted elements over `axis` (None: all), the mean of the two middle ones; NaN if any is."""
    x = as_tensor_variable(x)
    axes = normalize_axes(axis, x, "median")
    kept = [k for k in range(x.ndim) if k not in axes]
    flat = reshape(dimshuffle(x, *kept, *axes), [*(rows.dim(x, k) for k in kept), -1])
    ordered, n = sort(flat), rows.dim(flat, flat.ndim - 1)
    low, high, last = (getitem(ordered, (Ellipsis, k)) for k in ((n - 1) // 2, n // 2, -1))
    made = (low + high) / 2
    made = switch(isnan(last), last + made, made)
    return expand_dims(made, axes) if keepdims else made


def allclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Variable:
    """Whether isclose holds everywhere, a bool scalar."""
    return all(isclose(x, y, rtol, atol, equal_nan))


def argtopk(x: Any, kth: Any, axis: int = -1) -> Variable:
    """Where the `kth` largest elements along `axis` are, the largest first; UserIndexError if there are fewer."""
    x = as_tensor_variable(x)
    order = argsort(x, axis=axis)
    return take(order, -1 - arange(kth), axis_of(axis, x.ndim, "topk"))


def topk(x: Any, kth: Any, axis: int = -1) -> Variable:
    """The `kth` largest elements along `axis`, the largest first; UserIndexError if there are fewer."""
    x = as_tensor_variable(x)
    return take_along_axis(x, argtopk(x, kth, axis), axis_of(axis, x.ndim, "topk"))


def unique(
    x: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """The different elements of the flattened x in ascending order (numpy.unique).

    With them, if asked for: where each comes first, which one each element of the flattened x is, and how often
    each occurs, as int64 vectors.  The lengths are known when the function runs.
    """
    x = ravel(as_tensor_variable(x))
    order = argsort(x)
    ordered = getitem(x, order)
    before, after = getitem(ordered, slice(None, -1)), getitem(ordered, slice(1, None))
    # NaNs are last, and one.
    fresh = logical_and(neq(after, before), logical_not(isnan(before)))
    fresh = concatenate([eq(getitem(order, slice(None, 1)), getitem(order, slice(None, 1))), fresh])
    first = nonzero(fresh)[0]
    made = [getitem(ordered, first)]
    if return_index:
        made.append(getitem(order, first))
    if return_inverse:
        which = cumsum(as_tensor_variable(fresh, dtype="int64")) - 1
        made.append(set_subtensor(getitem(zeros_like(order), order), which))
    if return_counts:
        ends = concatenate([getitem(first, slice(1, None)), stack([rows.dim(x, 0)])])
        # Of no elements there is no end either.
        made.append(getitem(ends, slice(None, rows.dim(first, 0))) - first)
    return made[0] if len(made) == 1 else tuple(made)


def searchsorted(x: Any, v: Any, side: str = "left") -> Variable:
    """Where each element of v would go in the sorted vector x, before ('left') or after equal ones."""
    x, v = as_tensor_variable(x, ndim=1), as_tensor_variable(v)
    if side not in ("left", "right"):
        raise UserTypeError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    below = (lt if side == "left" else le)(dimshuffle(x, *["x"] * v.ndim, 0), shape_padright(v))
    return sum(as_tensor_variable(below, dtype="int64"), axis=-1)


def bincount(x: Any, weights: Any = None, minlength: Any = 0, assert_nonneg: bool = False) -> Variable:
    """How often each integer 0, 1, … occurs in the vector x, or the sum of the weights there."""
    from .math import maximum

    x = as_tensor_variable(x, ndim=1)
    if x.dtype.startswith("float") or x.dtype == "bool":
        raise UserTypeError(f"bincount: '{describe(x)}' is {x.dtype}, expected integers")
    one: Any = 1 if weights is None else as_tensor_variable(weights)
    start = zeros((maximum(max(x) + 1, minlength),), "int64" if weights is None else one.dtype)
    return inc_subtensor(getitem(start, x), one)


def to_one_hot(y: Any, nb_class: Any, dtype: Any = None) -> Variable:
    """A matrix with row i all zeros but for a one in column y[i]."""
    y = as_tensor_variable(y, ndim=1)
    return as_tensor_variable(eq(dimshuffle(y, 0, "x"), arange(nb_class)), dtype=dtype or "floatX")


def inverse_permutation(permutation: Any) -> Variable:
    """The permutation that undoes `permutation`, along the last axis."""
    return argsort(as_tensor_variable(permutation), axis=-1)


def fill_diagonal(x: Any, value: Any) -> Variable:
    """The matrix x with `value` on its main diagonal."""
    from .math import switch

    x = as_tensor_variable(x, ndim=2)
    on = eq(dimshuffle(arange(rows.dim(x, 0)), 0, "x"), arange(rows.dim(x, 1)))
    return switch(on, as_tensor_variable(value, dtype=x.dtype), x)


__all__ = [
    "allclose",
    "argtopk",
    "bincount",
    "choose",
    "compress",
    "cumprod",
    "cumsum",
    "diff",
    "fill_diagonal",
    "inverse_permutation",
    "median",
    "repeat",
    "searchsorted",
    "squeeze",
    "to_one_hot",
    "topk",
    "trapezoid",
    "unique",
]  # fmt: skip
