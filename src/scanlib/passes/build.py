"""The few pieces of graph that passes make, and the questions they ask about how a variable was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import Apply, Constant, Variable
from ..ops import elementwise
from ..ops import shape as rows
from .merge import constant_key
from .rewrite import rebuild

LARGEST = 4096  # elements of a constant that is looked into


def array(value: Any, dtype: str) -> np.ndarray:
    return np.asarray(value, dtype=dtype)


def integer(value: int) -> Constant:
    return Constant(np.asarray(value, dtype="int64"))


def number_of(v: Variable) -> int | None:
    """The value of an integer constant scalar."""
    if isinstance(v, Constant) and v.ndim == 0 and v.data.dtype.kind in "iu":
        return int(v.data)
    return None


def cast(x: Variable, dtype: str) -> Variable:
    return x if x.dtype == dtype else elementwise.cast(x, dtype=dtype)


def minimum(a: Variable, b: Variable) -> Variable:
    m, n = number_of(a), number_of(b)
    if m is not None and n is not None:
        return integer(min(m, n))
    return a if a is b else elementwise.minimum(a, b)


def maximum(a: Variable, b: Variable) -> Variable:
    m, n = number_of(a), number_of(b)
    if m is not None and n is not None:
        return integer(max(m, n))
    return a if a is b else elementwise.maximum(a, b)


def plus(a: Variable, n: int) -> Variable:
    """a + n."""
    m = number_of(a)
    if m is not None:
        return integer(m + n)
    return a if n == 0 else elementwise.add(a, integer(n))


def total(a: Variable, b: Variable) -> Variable:
    """a + b."""
    n = number_of(b)
    return elementwise.add(a, b) if n is None else plus(a, n)


def minus(a: Variable, b: Variable) -> Variable:
    m, n = number_of(a), number_of(b)
    if m is not None and n is not None:
        return integer(m - n)
    return integer(0) if a is b else elementwise.sub(a, b)


def shape_i(v: Variable, axis: int) -> Variable:
    """A length as an int64 scalar: a constant when it is static."""
    return rows.dim(v, axis)


def length(v: Variable) -> Variable:
    return shape_i(v, 0)


def asked_shape(node: Apply | None) -> tuple[Variable, int] | None:
    """(x, axis) when the node is shape_i(x; axis)."""
    if node is None or node.op is not rows.shape_i:
        return None
    return node.inputs[0], node.params["axis"]


def first_row(x: Variable) -> Variable:
    """The one row of an array whose leading axis is 1 long."""
    return rows.dimshuffle(x, order=tuple(range(1, x.ndim)))


def as_trace(row: Variable) -> Variable:
    """An array of the one row."""
    return rows.dimshuffle(row, order=("x", *range(row.ndim)))


def repeat(row: Variable, count: Variable) -> Variable:
    """An array of `count` equal rows, which takes no memory."""
    return rows.broadcast_to(row, count, *rows.dims_of(row))


def outside(v: Variable, bound: Mapping[int, Variable]) -> Variable:
    """A variable of a step graph in terms of what is bound to the step's inputs (by id)."""
    return rebuild([v], bound)[0]


def takes_no_memory(v: Variable) -> bool:
    """Whether `v` is a number, repeated."""
    node = v.owner
    return isinstance(v, Constant) or (
        node is not None and node.op is rows.broadcast_to and isinstance(node.inputs[0], Constant)
    )


def repeated_row(v: Variable) -> Variable | None:
    """The row, when all rows of `v` are known to be equal."""
    if isinstance(v, Constant):
        return _constant_row(v)
    node = v.owner
    if node is None or node.op is not rows.broadcast_to:
        return None
    source, target = node.inputs[0], node.inputs[1:]
    if source.ndim == v.ndim:
        if source.type.shape[0] != 1:
            return None
        source = first_row(source)
    inner = v.type.shape[1:]
    if source.type.shape == inner and None not in inner:
        return source
    return rows.broadcast_to(source, *target[1:])


def _constant_row(v: Constant) -> Constant | None:
    data = v.data
    if data.ndim == 0 or len(data) == 0 or data.size > LARGEST:
        return None
    first = constant_key(Constant(data[0]))
    return Constant(data[0]) if all(constant_key(Constant(row)) == first for row in data[1:]) else None
