"""Shapes: reading them, and rearranging, joining, splitting and repeating elements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import UserTypeError, UserValueError
from ..graph import Variable, describe
from ..ops import indexing
from ..ops import shape as rows
from ..ops.base import result_dtype
from .dimensions import as_int, as_ints, axes_of, axis_of, fold_int, literal_ints, static_value
from .subtensor import getitem
from .types import as_operands, as_tensor_variable


def shape(x: Any) -> Variable:
    """The dimensions of x, an int64 vector; shape(x)[i] is a constant where it is static."""
    return rows.shape(as_tensor_variable(x))


def shape_i(x: Any, axis: int) -> Variable:
    """One dimension of x, an int64 scalar."""
    x = as_tensor_variable(x)
    return rows.dim(x, axis_of(axis, x.ndim, "shape_i"))


def size(x: Any) -> Variable:
    """The number of elements of x, an int64 scalar."""
    total: Variable = rows.int_constant(1)
    for d in rows.dims_of(as_tensor_variable(x)):
        total = d if static_value(total) == 1 else fold_int(total * d)
    return total


def reshape(x: Any, newshape: Any, ndim: int | None = None) -> Variable:
    """The elements of x in C order under a new shape, of ints and symbolic ints; one may be -1.

    `ndim` is needed when `newshape` is a vector of a length not known while the graph is built.
    Raises UserValueError when the numbers of elements differ (when running, if not known before).
    """
    x = as_tensor_variable(x)
    dims = as_ints(newshape, f"reshape of '{describe(x)}'", ndim)
    if ndim is not None and len(dims) != ndim:
        raise UserTypeError(
            f"reshape of '{describe(x)}': ndim={ndim}, but the new shape has {len(dims)} entries"
        )
    if [static_value(d) for d in dims].count(-1) > 1:
        raise UserValueError(f"reshape of '{describe(x)}': only one dimension may be -1")
    return rows.reshape(x, *dims)


def flatten(x: Any, ndim: int = 1, outdim: int | None = None) -> Variable:
    """x with the axes from number ndim - 1 on laid into one."""
    x = as_tensor_variable(x)
    ndim = ndim if outdim is None else outdim
    if not isinstance(ndim, int) or not 1 <= ndim <= max(x.ndim, 1):
        raise UserTypeError(f"flatten of '{describe(x)}': ndim must be 1 to {max(x.ndim, 1)}, got {ndim}")
    if x.ndim == ndim:
        return tensor_copy(x)
    dims = rows.dims_of(x)
    rest: Variable = rows.int_constant(1)
    for d in dims[ndim - 1 :]:
        rest = fold_int(rest * d)
    # A -1 would have no meaning beside a dimension of 0.
    return rows.reshape(x, *dims[: ndim - 1], rest)


def ravel(x: Any) -> Variable:
    """x with all its axes laid into one."""
    return flatten(x)


def dimshuffle(x: Any, *order: Any) -> Variable:
    """The axes of x in another order: ints are axes of x, 'x' a new one; those left out must be 1 long."""
    x = as_tensor_variable(x)
    if len(order) == 1 and isinstance(order[0], (list, tuple)):
        order = tuple(order[0])
    chosen: list[Any] = []
    for o in order:
        axis = (
            "x" if isinstance(o, str) and o == "x" else axis_of(o, x.ndim, f"dimshuffle of '{describe(x)}'")
        )
        if axis != "x" and axis in chosen:
            raise UserTypeError(f"dimshuffle of '{describe(x)}': axis {axis} is named twice in {order}")
        chosen.append(axis)
    return rows.dimshuffle(x, order=tuple(chosen))


def tensor_copy(x: Any) -> Variable:
    """A variable of its own with the value of x."""
    x = as_tensor_variable(x)
    return rows.dimshuffle(x, order=tuple(range(x.ndim)))


def transpose(x: Any, axes: Any = None) -> Variable:
    """x with its axes in the order `axes`, reversed by default."""
    x = as_tensor_variable(x)
    order = tuple(reversed(range(x.ndim))) if axes is None else axes_of(axes, x.ndim, "transpose")
    if len(order) != x.ndim:
        raise UserTypeError(f"transpose of '{describe(x)}': expected {x.ndim} axes, got {len(order)}")
    return rows.dimshuffle(x, order=order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Variable:
    x = as_tensor_variable(x)
    a, b = axis_of(axis1, x.ndim, "swapaxes"), axis_of(axis2, x.ndim, "swapaxes")
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return rows.dimshuffle(x, order=tuple(order))


def moveaxis(x: Any, source: Any, destination: Any) -> Variable:
    x = as_tensor_variable(x)
    where, to = axes_of(source, x.ndim, "moveaxis"), axes_of(destination, x.ndim, "moveaxis")
    if len(where) != len(to):
        raise UserTypeError(f"moveaxis: {len(where)} source axes, {len(to)} destinations")
    order = [a for a in range(x.ndim) if a not in where]
    for place, axis in sorted(zip(to, where, strict=True)):
        order.insert(place, axis)
    return rows.dimshuffle(x, order=tuple(order))


def squeeze(x: Any, axis: Any = None) -> Variable:
    """x without the axes given, which must be 1 long, or without all axes known to be 1 long."""
    x = as_tensor_variable(x)
    if axis is None:
        dropped = tuple(a for a, d in enumerate(x.type.shape) if d == 1)
    else:
        dropped = axes_of(axis, x.ndim, "squeeze")
    return rows.dimshuffle(x, order=tuple(a for a in range(x.ndim) if a not in dropped))


def expand_dims(x: Any, axis: Any) -> Variable:
    """x with new axes of 1 at the positions `axis` of the result."""
    x = as_tensor_variable(x)
    ndim = x.ndim + len(literal_ints(axis, "expand_dims: axis"))
    places = axes_of(axis, ndim, "expand_dims")
    order: list[Any] = list(range(x.ndim))
    for place in sorted(places):
        order.insert(place, "x")
    return rows.dimshuffle(x, order=tuple(order))


def shape_padleft(x: Any, n_ones: int = 1) -> Variable:
    """x with `n_ones` new axes of 1 in front."""
    x = as_tensor_variable(x)
    return rows.dimshuffle(x, order=("x",) * n_ones + tuple(range(x.ndim)))


def shape_padright(x: Any, n_ones: int = 1) -> Variable:
    """x with `n_ones` new axes of 1 at the end."""
    x = as_tensor_variable(x)
    return rows.dimshuffle(x, order=tuple(range(x.ndim)) + ("x",) * n_ones)


def shape_padaxis(x: Any, axis: int) -> Variable:
    """x with one new axis of 1 at `axis`."""
    return expand_dims(x, axis)


def broadcast_to(x: Any, shape: Any) -> Variable:
    """x stretched to `shape`; a view."""
    x = as_tensor_variable(x)
    dims = as_ints(shape, f"broadcast_to of '{describe(x)}'")
    if len(dims) < x.ndim:
        raise UserTypeError(f"broadcast_to: '{describe(x)}' has {x.ndim} dimensions, the shape {len(dims)}")
    return rows.broadcast_to(x, *dims)


def broadcast_shape(*xs: Any) -> tuple[Variable, ...]:
    """The dimensions of the broadcast of all `xs`."""
    from .math import eq, switch

    variables = [as_tensor_variable(x) for x in xs]
    made: list[Variable] = [rows.int_constant(1)] * max((x.ndim for x in variables), default=0)
    for x in variables:
        for k, d in enumerate(reversed(rows.dims_of(x)), 1):
            known, new = static_value(made[-k]), static_value(d)
            if known == 1 or (known is None and new not in (1, None)):
                made[-k] = d
            elif known is None and new is None and d is not made[-k]:
                made[-k] = switch(eq(made[-k], 1), d, made[-k])
    return tuple(made)


def broadcast_arrays(*xs: Any) -> list[Variable]:
    """All `xs` stretched to their common shape."""
    variables = [as_tensor_variable(x) for x in xs]
    dims = broadcast_shape(*variables)
    return [rows.broadcast_to(x, *dims) for x in variables]


# Joining and splitting.


def _listed(xs: Any, what: str) -> Sequence[Any]:
    if isinstance(xs, Variable):
        xs = list(xs)
    if not isinstance(xs, (list, tuple)) or not xs:
        raise UserTypeError(f"{what}: expected a list of at least one variable, got {xs!r:.60}")
    return xs


def _same_dtype(xs: Sequence[Any], what: str) -> list[Variable]:
    made = as_operands(*_listed(xs, what))
    dtype = result_dtype(*(x.dtype for x in made))
    return [as_tensor_variable(x, dtype=dtype) for x in made]


def concatenate(xs: Sequence[Any], axis: int = 0) -> Variable:
    """`xs` one after the other along an axis they have; dtypes are promoted to the common one.

    Raises UserTypeError for different numbers of dimensions, UserValueError for other dims that differ.
    """
    variables = _same_dtype(xs, "concatenate")
    ndims = {x.ndim for x in variables}
    if len(ndims) > 1 or 0 in ndims:
        shown = ", ".join(f"'{describe(x)}' ({x.ndim}-d)" for x in variables)
        raise UserTypeError(f"concatenate: expected equal numbers of dimensions, at least 1; got {shown}")
    axis = axis_of(axis, variables[0].ndim, "concatenate")
    return rows.concatenate(*variables, axis=axis, count=len(variables))


def join(axis: int, *xs: Any) -> Variable:
    """Theano's name and order of arguments for concatenate."""
    return concatenate(xs, axis)


def stack(*xs: Any, axis: int = 0) -> Variable:
    """Variables of one shape along a new axis: stack([a, b], axis=0), or as in old Theano stack(a, b)."""
    given: Any = xs
    if len(xs) == 2 and isinstance(xs[0], (list, tuple)) and isinstance(xs[1], int):
        given, axis = xs
    elif len(xs) == 1 and isinstance(xs[0], (list, tuple, Variable)):
        given = xs[0]
    variables = _same_dtype(given, "stack")
    if len({x.ndim for x in variables}) > 1:
        shown = ", ".join(f"'{describe(x)}' ({x.ndim}-d)" for x in variables)
        raise UserTypeError(f"stack: expected equal numbers of dimensions, got {shown}")
    axis = axis_of(axis, variables[0].ndim + 1, "stack")
    return rows.stack(*variables, axis=axis, count=len(variables))


stacklists = as_tensor_variable


def vertical_stack(*xs: Any) -> Variable:
    return concatenate(xs, 0)


def horizontal_stack(*xs: Any) -> Variable:
    return concatenate(xs, 1)


def vstack(xs: Sequence[Any]) -> Variable:
    """`xs` one below the other; vectors and scalars are rows (numpy.vstack)."""
    made = [as_tensor_variable(x) for x in _listed(xs, "vstack")]
    return concatenate([x if x.ndim > 1 else shape_padleft(x, 2 - x.ndim) for x in made], axis=0)


def hstack(xs: Sequence[Any]) -> Variable:
    """`xs` side by side: along axis 1, vectors and scalars along their only axis (numpy.hstack)."""
    made = [x if x.ndim else shape_padleft(x) for x in map(as_tensor_variable, _listed(xs, "hstack"))]
    return concatenate(made, axis=0 if made and made[0].ndim == 1 else 1)


def column_stack(xs: Sequence[Any]) -> Variable:
    """`xs` side by side, vectors as columns (numpy.column_stack)."""
    made = [as_tensor_variable(x) for x in _listed(xs, "column_stack")]
    return concatenate([x if x.ndim > 1 else shape_padright(x, 2 - x.ndim) for x in made], axis=1)


def meshgrid(*xs: Any, indexing: str = "xy") -> list[Variable]:
    """The coordinates of a grid over vectors: array k holds x_k along its axis (numpy.meshgrid).

    `indexing`: "ij" has the axes in the order of the vectors, "xy" the first two exchanged.
    """
    if indexing not in ("xy", "ij"):
        raise UserTypeError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    flat = [ravel(as_tensor_variable(x)) for x in xs]
    places = list(range(len(flat)))
    if indexing == "xy" and len(flat) > 1:
        places[:2] = [1, 0]
    return broadcast_arrays(
        *(
            dimshuffle(x, *(0 if k == place else "x" for k in range(len(flat))))
            for x, place in zip(flat, places)
        )
    )


def split(x: Any, splits_size: Any, n_splits: int | None = None, axis: int = 0) -> list[Variable]:
    """x cut along `axis` into pieces `splits_size` long (ints or a symbolic vector).

    Raises UserValueError when the sizes do not add up to the length of the axis.
    """
    x = as_tensor_variable(x)
    axis = axis_of(axis, x.ndim, "split")
    sizes = as_ints(splits_size, "split: the sizes", n_splits)
    if n_splits is not None and len(sizes) != n_splits:
        raise UserValueError(f"split: {len(sizes)} sizes for {n_splits} pieces")
    ends = [rows.int_constant(0)]
    for piece in sizes:
        ends.append(fold_int(ends[-1] + piece))  # type: ignore[arg-type]
    whole = rows.specify_shape(x, ends[-1], axes=(axis,))
    return [getitem(whole, (slice(None),) * axis + (slice(a, b),)) for a, b in pairwise(ends)]


# Repeating.


def tile(x: Any, reps: Any, ndim: int | None = None) -> Variable:
    """x repeated reps[i] times along axis i, as numpy.tile."""
    x = as_tensor_variable(x)
    times = list(as_ints(reps, "tile: the repetitions", ndim))
    if ndim is not None and len(times) < ndim:
        times = [rows.int_constant(1)] * (ndim - len(times)) + times
    if len(times) < x.ndim:
        times = [rows.int_constant(1)] * (x.ndim - len(times)) + times
    x = shape_padleft(x, len(times) - x.ndim) if len(times) > x.ndim else x
    order: list[Any] = []
    wide: list[Variable] = []
    for axis, (n, d) in enumerate(zip(times, rows.dims_of(x), strict=True)):
        order += ["x", axis]
        wide += [n, d]
    stretched = rows.broadcast_to(rows.dimshuffle(x, order=tuple(order)), *wide)
    return rows.reshape(stretched, *(fold_int(n * d) for n, d in zip(times, rows.dims_of(x), strict=True)))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Variable:
    """Each element along `axis` (of the flattened x by default) `repeats` times, a number or one for each."""
    x = as_tensor_variable(x)
    if axis is None:
        x, axis = flatten(x), 0
    axis = axis_of(axis, x.ndim, "repeat")
    if not isinstance(repeats, (int, np.integer)):
        counts = as_tensor_variable(repeats)
        if counts.ndim > 1 or counts.dtype.startswith("float"):
            raise UserTypeError(f"repeat: expected integer counts, a scalar or a vector, got {counts.type}")
        if counts.ndim == 1:
            return _repeat_each(x, counts, axis)
        repeats = counts
    n = as_int(repeats, "repeat: the count")
    order: list[Any] = [*range(axis + 1), "x", *range(axis + 1, x.ndim)]
    dims = list(rows.dims_of(x))
    stretched = rows.broadcast_to(
        rows.dimshuffle(x, order=tuple(order)), *dims[: axis + 1], n, *dims[axis + 1 :]
    )
    dims[axis] = fold_int(dims[axis] * n)
    return rows.reshape(stretched, *dims)


def _repeat_each(x: Variable, counts: Variable, axis: int) -> Variable:
    counts = rows.specify_shape(as_tensor_variable(counts, dtype="int64"), rows.dim(x, axis), axes=(0,))
    index = indexing.repeat_index(counts, counts.sum())
    return getitem(x, (slice(None),) * axis + (index,))


def roll(x: Any, shift: Any, axis: int | None = None) -> Variable:
    """x with its elements moved `shift` places along `axis` (flattened by default), the last to the front."""
    x = as_tensor_variable(x)
    if axis is None:
        return reshape(roll(flatten(x), shift, 0), rows.dims_of(x))
    axis = axis_of(axis, x.ndim, "roll")
    from .math import maximum, mod

    n = rows.dim(x, axis)
    cut = fold_int(n - mod(as_int(shift, "roll: the shift"), maximum(n, 1)))
    front = (slice(None),) * axis
    return concatenate([getitem(x, (*front, slice(cut, None))), getitem(x, (*front, slice(None, cut)))], axis)


# What is known of a shape.


def specify_shape(x: Any, shape: Any) -> Variable:
    """x, declared to have that shape (None: unknown); checked when running."""
    x = as_tensor_variable(x)
    if isinstance(shape, Variable):
        shape = as_ints(shape, "specify_shape", x.ndim)
    given = list(shape) if isinstance(shape, (list, tuple, np.ndarray)) else [shape]
    if len(given) != x.ndim:
        raise UserTypeError(f"specify_shape: '{describe(x)}' has {x.ndim} dimensions, got {len(given)}")
    axes = tuple(a for a, d in enumerate(given) if d is not None)
    return rows.specify_shape(x, *(as_int(given[a], "specify_shape") for a in axes), axes=axes)


def addbroadcast(x: Any, *axes: int) -> Variable:
    """x, declared to be 1 long along `axes`."""
    x = as_tensor_variable(x)
    chosen = axes_of(axes, x.ndim, "addbroadcast")
    return rows.specify_shape(x, *(rows.int_constant(1) for _ in chosen), axes=chosen)


def unbroadcast(x: Any, *axes: int) -> Variable:
    """x itself: broadcasting goes by the shape when running, so nothing has to be forgotten."""
    return as_tensor_variable(x)


def patternbroadcast(x: Any, broadcastable: Sequence[bool]) -> Variable:
    """x, declared to be 1 long along the axes marked True."""
    x = as_tensor_variable(x)
    if len(broadcastable) != x.ndim:
        raise UserTypeError(
            f"patternbroadcast: '{describe(x)}' has {x.ndim} dimensions, got {len(broadcastable)}"
        )
    return addbroadcast(x, *(axis for axis, one in enumerate(broadcastable) if one))


def Rebroadcast(*pattern: tuple[int, bool]) -> Any:
    """Theano's operation: Rebroadcast((0, True))(x) declares axis 0 to be 1 long."""
    return lambda x: addbroadcast(x, *(axis for axis, one in pattern if one))


__all__ = [
    "Rebroadcast",
    "addbroadcast",
    "broadcast_arrays",
    "broadcast_shape",
    "broadcast_to",
    "column_stack",
    "concatenate",
    "dimshuffle",
    "expand_dims",
    "flatten",
    "horizontal_stack",
    "hstack",
    "join",
    "meshgrid",
    "moveaxis",
    "patternbroadcast",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "shape",
    "shape_i",
    "shape_padaxis",
    "shape_padleft",
    "shape_padright",
    "size",
    "specify_shape",
    "split",
    "squeeze",
    "stack",
    "stacklists",
    "swapaxes",
    "tensor_copy",
    "tile",
    "transpose",
    "unbroadcast",
    "vertical_stack",
    "vstack",
]  # fmt: skip
