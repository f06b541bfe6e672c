"""Indexing as users write it: ints, slices, None, ellipsis, index arrays and masks, as NumPy reads them.

An index is taken apart into entries, one per axis of x or new axis.  Ints and slices alone are one subtensor.
With index arrays: slices first (subtensor), then the indexed axes to the front (dimshuffle), gather, and the
gathered axes to where NumPy puts them (dimshuffle).  Assignment goes the same way back.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserIndexError, UserTypeError
from ..graph import Variable, describe
from ..ops import indexing, shape
from ..ops.base import is_float, result_dtype
from ..ops.index_rules import At, Ref, Span
from .dimensions import as_int, axis_of, item, static_value
from .types import as_tensor_variable, is_weak

Entry = Any  # slice, None, an int, or a Variable (integer scalar or array)

# What each indexed variable was made from: `set_subtensor(x[index], v)` gives a new x.
_made: weakref.WeakKeyDictionary[Variable, tuple[Variable, tuple[Entry, ...]]] = weakref.WeakKeyDictionary()


def getitem(x: Variable, index: Any) -> Variable:
    """x[index], by NumPy's rules; ints and slice bounds may be symbolic.

    Raises UserIndexError for too many indices or a position known to be outside, UserTypeError for an index
    of a wrong kind.
    """
    if isinstance(index, int) and not isinstance(index, bool) and x.ndim == 1 and _folds(x):
        return item(x, index)
    entries = _entries(x, index)
    if any(_is_array(e) for e in entries):
        made = _Advanced.of(x, entries).read()
    else:
        made = _with_new_axes(_basic(x, entries), entries)
    _made[made] = (x, entries)
    return made


def _folds(x: Variable) -> bool:
    """Whether items of the vector x are known variables, as those of x.shape.

    Not those of stacks of floats: they may be written to, and are known soon enough.
    """
    return (
        not is_float(x.dtype)
        and x.owner is not None
        and (
            x.owner.op in (shape.shape, shape.stack)
            or (x.owner.op is indexing.subtensor and _folds(x.owner.inputs[0]))
        )
    )


# Taking an index apart.


def _entries(x: Variable, index: Any) -> tuple[Entry, ...]:
    """One entry per axis of x and per new axis, masks replaced by the positions of their true elements."""
    given: list[Any] = []
    for e in index if isinstance(index, tuple) else (index,):
        given.append(_entry(x, e))
    used = sum(_width(e) for e in given)
    if used > x.ndim:
        raise UserIndexError(
            f"too many indices for '{describe(x)}': {used} given, it has {x.ndim} dimension(s)"
        )
    dots = [k for k, e in enumerate(given) if e is Ellipsis]
    if len(dots) > 1:
        raise UserIndexError(f"an index of '{describe(x)}' may hold one ellipsis (...), got {len(dots)}")
    place = dots[0] if dots else len(given)
    given[place : place + 1] = [slice(None)] * (x.ndim - used)
    return tuple(_expanded(x, given))


def _width(e: Any) -> int:
    """How many axes an entry takes."""
    if e is None or e is Ellipsis:
        return 0
    return e.ndim if _is_mask(e) else 1


def _is_mask(e: Any) -> bool:
    return isinstance(e, Variable) and e.dtype == "bool"


def _is_array(e: Any) -> bool:
    return isinstance(e, Variable) and e.ndim > 0


def _entry(x: Variable, e: Any) -> Any:
    if e is None or e is Ellipsis:
        return e
    what = f"index of '{describe(x)}'"
    if isinstance(e, slice):
        return slice(*(None if b is None else _number(b, what) for b in (e.start, e.stop, e.step)))
    if isinstance(e, (bool, np.bool_)):
        raise UserTypeError(f"{what}: True and False are not indices here; use None for a new axis")
    if isinstance(e, (int, np.integer)):
        return int(e)
    if isinstance(e, (float, str)):
        raise UserTypeError(f"{what}: expected an integer, slice, None, ... or array, got {e!r}")
    if isinstance(e, (list, np.ndarray)) and np.size(e) == 0 and not isinstance(e, np.ndarray):
        e = np.zeros(np.shape(e), dtype="int64")
    v = as_tensor_variable(e)
    if v.dtype == "bool":
        if v.ndim == 0:
            raise UserTypeError(f"{what}: a bool scalar is not an index; use T.switch")
        return v
    if v.dtype.startswith("float"):
        raise UserTypeError(
            f"{what}: '{describe(v)}' is {v.dtype}, an index must be an integer; use .astype('int64')"
        )
    return _number(v, what) if v.ndim == 0 else _int64(v)


def _number(n: Any, what: str) -> int | Variable:
    v = as_int(n, what)
    value = static_value(v)
    return v if value is None else value


def _int64(v: Variable) -> Variable:
    return as_tensor_variable(v, dtype="int64")


def _expanded(x: Variable, entries: Sequence[Entry]) -> list[Entry]:
    made: list[Entry] = []
    axis = 0
    for e in entries:
        if _is_mask(e):
            axes = range(axis, axis + e.ndim)
            sized = shape.specify_shape(e, *(shape.dim(x, a) for a in axes), axes=tuple(range(e.ndim)))
            made.extend(positions(sized))
        else:
            made.append(e)
        axis += _width(e)
    return made


def positions(mask: Variable) -> list[Variable]:
    """For each axis of a bool mask, the positions of its true elements."""
    count, *vectors = indexing.nonzero.apply((mask,), {}).outputs
    return [indexing.subtensor(v, count, index=(Span(None, Ref(1)),)) for v in vectors]


# Ints and slices.


class _Numbers:
    """The literals and inputs of a row's index."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.inputs: list[Variable] = []

    def add(self, n: Any) -> Any:
        if n is None or isinstance(n, int):
            return n
        self.inputs.append(n)
        return Ref(self.first + len(self.inputs) - 1)

    def index(self, entries: Sequence[Entry]) -> tuple[At | Span, ...]:
        made: list[At | Span] = []
        for e in entries:
            if isinstance(e, slice):
                made.append(Span(self.add(e.start), self.add(e.stop), self.add(e.step)))
            elif e is not None:
                made.append(At(self.add(e)))
        return tuple(made)


def _basic(x: Variable, entries: Sequence[Entry]) -> Variable:
    numbers = _Numbers(1)
    index = numbers.index(entries)
    return indexing.subtensor(x, *numbers.inputs, index=index)


def _with_new_axes(made: Variable, entries: Sequence[Entry]) -> Variable:
    if None not in entries:
        return made
    order: list[Any] = []
    for e in entries:
        if e is None:
            order.append("x")
        elif isinstance(e, slice):
            order.append(len(order) - order.count("x"))
    return shape.dimshuffle(made, order=tuple(order))


def _write_basic(x: Variable, v: Variable, entries: Sequence[Entry], inc: bool) -> Variable:
    """x with v written where x[entries] reads; v is aligned with the result, new axes included."""
    result = [e for e in entries if e is None or isinstance(e, slice)]
    if v.ndim > len(result):
        v = _without_leading(v, len(result), x)
    tail = result[len(result) - v.ndim :]
    if None in tail:
        keep = tuple(axis for axis, e in enumerate(tail) if e is not None)
        v = shape.dimshuffle(v, order=keep)
    numbers = _Numbers(2)
    index = numbers.index(entries)
    return indexing.set_subtensor(x, v, *numbers.inputs, index=index, inc=inc)


def _without_leading(v: Variable, ndim: int, x: Variable) -> Variable:
    extra = v.ndim - ndim
    if any(d not in (1, None) for d in v.type.shape[:extra]):
        raise UserTypeError(
            f"'{describe(v)}' has {v.ndim} dimensions, "
            f"the part of '{describe(x)}' it is written to has {ndim}"
        )
    return shape.dimshuffle(v, order=tuple(range(extra, v.ndim)))


# Index arrays.


@dataclass(frozen=True)
class _Advanced:
    """How an index with arrays goes: x[basic] with new axes, `front` order, gather, `back` order."""

    x: Variable
    basic: tuple[Entry, ...]
    arrays: tuple[Variable, ...]
    axes: tuple[int, ...]
    front: tuple[int, ...]
    back: tuple[int, ...]

    @staticmethod
    def of(x: Variable, entries: Sequence[Entry]) -> _Advanced:
        """Ints beside arrays count as arrays; arrays apart from each other put their axes first (NumPy)."""
        indexed = [k for k, e in enumerate(entries) if e is not None and not isinstance(e, slice)]
        arrays = tuple(as_tensor_variable(entries[k], dtype="int64") for k in indexed)
        real = [k for k, e in enumerate(entries) if e is not None]
        rest = tuple(k for k in range(len(entries)) if k not in indexed)
        width = max(a.ndim for a in arrays)
        together = indexed == list(range(indexed[0], indexed[-1] + 1))
        before = indexed[0] if together else 0
        back = (*range(width, width + before), *range(width), *range(width + before, width + len(rest)))
        return _Advanced(
            x,
            tuple(slice(None) if k in indexed else e for k, e in enumerate(entries)),
            arrays,
            tuple(real.index(k) for k in indexed),
            (*indexed, *rest),
            back,
        )

    @property
    def plain(self) -> bool:
        """Whether the slices take everything."""
        return all(e is None or e == slice(None) for e in self.basic)

    def source(self) -> Variable:
        made = self.x if self.plain else _basic(self.x, self.basic)
        made = _with_new_axes(made, self.basic)
        return _ordered(made, self.front)

    def names(self) -> dict[str, Any]:
        return {"axes": self.axes, "label": describe(self.x)}

    def read(self) -> Variable:
        return _ordered(indexing.gather(self.source(), *self.arrays, **self.names()), self.back)

    def write(self, v: Variable, inc: bool) -> Variable:
        if v.ndim > len(self.back):
            v = _without_leading(v, len(self.back), self.x)
        # v, aligned on the right with the result, in the order that gather gives.
        missing = len(self.back) - v.ndim
        order: list[Any] = ["x" if p < missing else p - missing for p in _inverse(self.back)]
        while order and order[0] == "x":
            order.pop(0)
        v = _ordered(v, tuple(order))
        part = indexing.scatter(self.source(), v, *self.arrays, inc=inc, **self.names())
        part = _ordered(part, _inverse(self.front))
        if self.plain:
            kept = tuple(k for k, e in enumerate(self.basic) if e is not None)
            return _ordered(part, kept) if None in self.basic else part
        return _write_basic(self.x, part, self.basic, inc=False)


def _ordered(x: Variable, order: tuple[Any, ...]) -> Variable:
    return x if order == tuple(range(x.ndim)) else shape.dimshuffle(x, order=order)


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(order.index(k) for k in range(len(order)))


# Assignment.


def set_subtensor(
    x: Variable, y: Any, inplace: bool = False, tolerate_inplace_aliasing: bool = False
) -> Variable:
    """A copy of `a` with y in place of a part, where x = a[index] is that part.

    `inplace` and `tolerate_inplace_aliasing` are accepted and ignored.
    """
    return _assign(x, y, False)


def inc_subtensor(
    x: Variable,
    y: Any,
    inplace: bool = False,
    set_instead_of_inc: bool = False,
    tolerate_inplace_aliasing: bool = False,
) -> Variable:
    """A copy of `a` with y added to a part, where x = a[index] is that part.

    Positions named several times by index arrays accumulate, as in numpy.add.at.
    """
    return _assign(x, y, not set_instead_of_inc)


def _assign(part: Variable, value: Any, inc: bool) -> Variable:
    what = "inc_subtensor" if inc else "set_subtensor"
    if not isinstance(part, Variable):
        raise UserTypeError(f"{what}: the first argument must be x[index] of a variable x, got {part!r:.60}")
    target, write = _target(part, what)
    v = as_tensor_variable(value, like=target) if is_weak(value) else as_tensor_variable(value)
    if v.dtype != target.dtype:
        if not np.can_cast(result_dtype(v.dtype, target.dtype), target.dtype, "same_kind"):
            raise UserTypeError(
                f"{what}: '{describe(v)}' is {v.dtype}, "
                f"'{describe(target)}' is {target.dtype} and cannot hold it; use .astype('{target.dtype}')"
            )
        v = as_tensor_variable(v, dtype=target.dtype)
    return write(v, inc)


def _target(part: Variable, what: str) -> tuple[Variable, Callable[[Variable, bool], Variable]]:
    """The variable that `part` is a part of, and how to write to that part."""
    if part in _made:
        x, entries = _made[part]
        if any(_is_array(e) for e in entries):
            return x, _Advanced.of(x, entries).write
        return x, lambda v, inc: _write_basic(x, v, entries, inc)
    node = part.owner
    if node is not None and node.op is indexing.subtensor:
        # A copy of an indexed variable (a clone of a graph) is known by its row only.
        x, *numbers = node.inputs
        index = indexing.shift_refs(node.params["index"], 1)
        return x, lambda v, inc: indexing.set_subtensor(x, v, *numbers, index=index, inc=inc)
    if node is not None and node.op is indexing.gather:
        x, *arrays = node.inputs
        names = dict(node.params)
        return x, lambda v, inc: indexing.scatter(x, v, *arrays, inc=inc, **names)
    raise UserTypeError(
        f"{what}: the first argument must be x[index] of a variable x, got '{describe(part)}'; "
        "write, e.g., set_subtensor(x[1:], value)"
    )


# Functions that are indexing.


def take(x: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Variable:
    """x[…, indices, …] along `axis`, or of the flattened x; mode 'clip' or 'wrap' as in NumPy."""
    x, indices = as_tensor_variable(x), _indices(indices)
    if axis is None:
        if x.ndim != 1:
            label, x = describe(x), shape.reshape(x, shape.int_constant(-1))
            x.name = label
        axis = 0
    axis = axis_of(axis, x.ndim, "take")
    if mode not in ("raise", "clip", "wrap"):
        raise UserTypeError(f"take: mode must be 'raise', 'clip' or 'wrap', got {mode!r}")
    if mode != "raise":
        from .math import clip, mod

        n = shape.dim(x, axis)
        indices = mod(indices, n) if mode == "wrap" else clip(indices, 0, n - 1)
    return getitem(x, (slice(None),) * axis + (indices,))


def _indices(indices: Any) -> Variable:
    if isinstance(indices, list) and not indices:
        indices = np.zeros(0, dtype="int64")
    v = as_tensor_variable(indices)
    if v.dtype.startswith("float") or v.dtype == "bool":
        raise UserTypeError(f"'{describe(v)}' is {v.dtype}, indices must be integers; use .astype('int64')")
    return _int64(v)


def take_along_axis(x: Any, indices: Any, axis: int) -> Variable:
    """Elements of x along `axis`, chosen by an index array of as many dimensions as x."""
    from .creation import arange

    x, indices = as_tensor_variable(x), _indices(indices)
    axis = axis_of(axis, x.ndim, "take_along_axis")
    if indices.ndim != x.ndim:
        raise UserTypeError(f"take_along_axis: expected {x.ndim}-d indices, got {indices.ndim}-d")
    where: list[Any] = []
    for a in range(x.ndim):
        order = tuple(0 if b == a else "x" for b in range(x.ndim))
        where.append(indices if a == axis else shape.dimshuffle(arange(shape.dim(x, a)), order=order))
    return getitem(x, tuple(where))


def nonzero(x: Any, return_matrix: bool = False) -> Any:
    """The positions of the elements that are not 0: one vector per axis, or the rows of a matrix."""
    from .math import neq
    from .shape import stack

    x = as_tensor_variable(x)
    if x.ndim == 0:
        raise UserTypeError(f"nonzero: '{describe(x)}' has no axis")
    found = positions(x if x.dtype == "bool" else neq(x, 0))
    return stack(found, axis=0) if return_matrix else tuple(found)


def nonzero_values(x: Any) -> Variable:
    """The elements that are not 0, in C order."""
    x = as_tensor_variable(x)
    return getitem(x, nonzero(x))


def flatnonzero(x: Any) -> Variable:
    """The positions of the elements that are not 0 in the flattened x."""
    return nonzero(shape.reshape(as_tensor_variable(x), shape.int_constant(-1)))[0]


def flip(x: Any, axis: Any = None) -> Variable:
    """x with the order of its elements along `axis` (all axes by default) reversed."""
    x = as_tensor_variable(x)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, (list, tuple)) else (axis,)
    chosen = {axis_of(a, x.ndim, "flip") for a in axes}
    return getitem(x, tuple(slice(None, None, -1) if a in chosen else slice(None) for a in range(x.ndim)))


__all__ = [
    "flatnonzero", "flip", "getitem", "inc_subtensor", "nonzero", "nonzero_values", "set_subtensor", "take",
    "take_along_axis",
]  # fmt: skip
