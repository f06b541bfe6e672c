"""Dimensions given by users (ints, symbolic ints, vectors) as int64 scalars, constants where known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UserTypeError
from ..graph import Constant, Variable, describe
from ..ops import indexing, shape
from ..ops.base import Pointwise
from ..ops.index_rules import At, Span

# Deeper arithmetic on constants is left to the passes.
DEPTH = 6


def static_value(v: Variable, depth: int = DEPTH) -> int | None:
    """The value of an integer scalar made of constants and static dimensions only, else None."""
    if isinstance(v, Constant):
        return int(v.data) if v.ndim == 0 and v.data.dtype.kind in "iub" else None
    if v.owner is None or depth == 0 or v.ndim or v.dtype.startswith("float"):
        return None
    if v.owner.op is shape.shape_i:
        return v.owner.inputs[0].type.shape[v.owner.params["axis"]]
    if not isinstance(v.owner.op.lower, Pointwise):
        return None
    arrays = []
    for x in v.owner.inputs:
        value = static_value(x, depth - 1)
        if value is None:
            return None
        arrays.append(np.asarray(value, dtype=x.dtype))
    with np.errstate(all="ignore"):
        return int(v.owner.op.reference(v.owner.params, *arrays))


def fold_int(v: Any) -> Variable:
    """An integer scalar; a constant when its value is known."""
    if isinstance(v, int):
        return shape.int_constant(v)
    value = static_value(v)
    return v if value is None else shape.int_constant(value)


def as_int(v: Any, what: str) -> Variable:
    """An int or symbolic integer scalar as an int64 scalar; UserTypeError starting with `what` for others."""
    if isinstance(v, Variable):
        if v.ndim or v.dtype.startswith("float") or v.dtype == "bool":
            raise UserTypeError(f"{what}: expected an integer scalar, got '{describe(v)}' of type {v.type}")
        value = static_value(v)
        if value is not None:
            return shape.int_constant(value)
        if v.dtype == "int64":
            return v
        from .math import cast

        return cast(v, "int64")
    array = np.asarray(v)
    if array.ndim or array.dtype.kind not in "iu":
        raise UserTypeError(f"{what}: expected an integer, got {v!r}")
    return shape.int_constant(int(array))


def as_ints(values: Any, what: str, count: int | None = None) -> tuple[Variable, ...]:
    """A shape given as an int, a sequence or a symbolic vector, as int64 scalars.

    A vector whose length is not static needs `count`.
    """
    if isinstance(values, Variable) and values.ndim == 1:
        length = values.type.shape[0] if count is None else count
        if length is None:
            raise UserTypeError(
                f"{what}: the length of the vector '{describe(values)}' is not known while the graph is "
                "built, so the number of dimensions is not either; pass a tuple of scalars, or ndim="
            )
        return tuple(as_int(item(values, i), what) for i in range(length))
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = list(values)
    if not isinstance(values, (list, tuple)):
        values = (values,)
    return tuple(as_int(v, what) for v in values)


def literal_ints(values: Any, what: str) -> tuple[int, ...]:
    """Ints (one, or a sequence) known while the graph is built."""
    made = []
    for v in as_ints(values, what):
        value = static_value(v)
        if value is None:
            raise UserTypeError(f"{what}: '{describe(v)}' must be known while the graph is built")
        made.append(value)
    return tuple(made)


def axis_of(axis: Any, ndim: int, what: str) -> int:
    """An axis counted from 0; UserTypeError when there is no such axis."""
    (number,) = literal_ints(axis, f"{what}: axis")
    if not -ndim <= number < ndim:
        raise UserTypeError(f"{what}: there is no axis {number} in {ndim} dimension(s)")
    return number % ndim


def axes_of(axes: Any, ndim: int, what: str) -> tuple[int, ...]:
    """Several different axes counted from 0."""
    made = tuple(axis_of(a, ndim, what) for a in literal_ints(axes, f"{what}: axis"))
    if len(set(made)) != len(made):
        raise UserTypeError(f"{what}: an axis is named twice in {axes}")
    return made


def item(v: Variable, i: int) -> Variable:
    """Element `i` of a vector, taken from what the vector was made of where that is known."""
    length = v.type.shape[0]
    if length is not None and -length <= i < length:
        position = i % length
        if isinstance(v, Constant):
            return Constant(np.asarray(v.data[position]))
        found = _item_of(v, position)
        if found is not None:
            return found
    return indexing.subtensor(v, index=(At(i),))


def _item_of(v: Variable, i: int) -> Variable | None:
    if v.owner is None:
        return None
    op, inputs = v.owner.op, v.owner.inputs
    if op is shape.shape:
        return shape.dim(inputs[0], i)
    if op is shape.stack:
        return inputs[i] if inputs[i].dtype == v.dtype else None
    if op is shape.concatenate:
        return _item_of_pieces(inputs, i)
    if op is indexing.subtensor and len(inputs) == 1 and inputs[0].ndim == 1:
        return _item_of_slice(inputs[0], v.owner.params["index"][0], i)
    return None


def _item_of_pieces(pieces: Sequence[Variable], i: int) -> Variable | None:
    if len({piece.dtype for piece in pieces}) > 1:
        return None
    for piece in pieces:
        length = piece.type.shape[0]
        if length is None:
            return None
        if i < length:
            return item(piece, i)
        i -= length
    return None


def _item_of_slice(source: Variable, span: Any, i: int) -> Variable | None:
    length = source.type.shape[0]
    if length is None or not isinstance(span, Span):
        return None
    bounds: Any = (span.start, span.stop, span.step)  # ints: the row has no inputs for numbers
    return item(source, range(length)[slice(*bounds)][i])
