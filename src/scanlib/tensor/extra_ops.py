"""Theano's `extra_ops`: small compositions for counting, choosing, permutations and one-hot rows."""

from __future__ import annotations

from typing import Any

from ..errors import UserTypeError
from ..graph import Variable, describe
from ..ops import shape as rows
from .creation import arange, zeros
from .dimensions import axis_of
from .linalg import argsort
from .math import eq, le, lt
from .reductions import cumprod, cumsum, max, sum
from .shape import broadcast_arrays, dimshuffle, repeat, shape_padleft, shape_padright, squeeze, stack
from .subtensor import getitem, inc_subtensor, nonzero, take, take_along_axis
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
    front = (slice(None),) * axis_of(axis, x.ndim, "diff")
    for _ in range(n):
        x = getitem(x, (*front, slice(1, None))) - getitem(x, (*front, slice(None, -1)))
    return x


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
    "bincount", "choose", "compress", "cumprod", "cumsum", "diff", "fill_diagonal", "inverse_permutation",
    "repeat",
    "searchsorted", "squeeze", "to_one_hot",
]  # fmt: skip
