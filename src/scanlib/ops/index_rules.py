"""Basic indices (ints and slices) as data, and their arithmetic, the same for graph time and run time.

An index is a tuple with one entry per axis, At or Span, whose numbers are ints or inputs of the row (Ref).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dims, lowered
from ..dims import Dim, Shape
from ..errors import UserIndexError
from ..lowered import Expr, Int
from .base import Inference, Lowering


@dataclass(frozen=True)
class Ref:
    """The value of an input of the row: an int64 scalar."""

    input: int


Number = int | Ref


@dataclass(frozen=True)
class At:
    """One position along an axis; the axis is dropped."""

    index: Number


@dataclass(frozen=True)
class Span:
    """A slice; None as in Python."""

    start: Number | None = None
    stop: Number | None = None
    step: Number | None = None

    @property
    def whole(self) -> bool:
        return self == Span()


Index = tuple[At | Span, ...]
Value = Callable[[int], Dim]


@dataclass(frozen=True)
class Region:
    """A slice applied to a length: it reads first, first + step, … (`length` of them).

    `first` is not brought inside the axis when the length is 0: nothing is read then.
    """

    first: Dim
    step: Dim
    length: Dim


def resolve(number: Number | None, value: Value) -> Dim:
    return value(number.input) if isinstance(number, Ref) else number


def region(span: Span, n: Dim, value: Value) -> Region:
    """NumPy's slice.indices: bounds outside the axis are brought to its ends."""
    if span.whole:
        return Region(0, 1, n)
    step = 1 if span.step is None else resolve(span.step, value)
    if isinstance(step, int):
        return _rising(span, n, step, value) if step > 0 else _falling(span, n, step, value)
    up, down = _rising(span, n, step, value), _falling(span, n, step, value)
    first = dims.choose("gt", step, 0, up.first, down.first)
    return Region(first, step, dims.choose("gt", step, 0, up.length, down.length))


# A bound that would make the slice empty needs no clamping: the length comes out as 0 all the same.


def _rising(span: Span, n: Dim, step: Dim, value: Value) -> Region:
    a, b = resolve(span.start, value), resolve(span.stop, value)
    first = 0 if span.start is None else dims.choose("lt", a, 0, dims.maximum(dims.add(a, n), 0), a)
    last = n if span.stop is None else dims.choose("lt", b, 0, dims.add(b, n), dims.minimum(b, n))
    length = dims.ceildiv(dims.sub(last, first), dims.maximum(step, 1))
    return Region(first, step, dims.maximum(length, 0))


def _falling(span: Span, n: Dim, step: Dim, value: Value) -> Region:
    a, b = resolve(span.start, value), resolve(span.stop, value)
    top = dims.sub(n, 1)
    first = top if span.start is None else dims.choose("lt", a, 0, dims.add(a, n), dims.minimum(a, top))
    last = -1 if span.stop is None else dims.choose("lt", b, 0, dims.maximum(dims.add(b, n), -1), b)
    length = dims.ceildiv(dims.sub(first, last), dims.maximum(dims.sub(0, step), 1))
    return Region(first, step, dims.maximum(length, 0))


def require_steps(ctx: Inference, index: Index) -> None:
    for axis, entry in enumerate(index):
        if isinstance(entry, Span) and entry.step is not None:
            message = f"the step of the slice of axis {axis} of '{ctx.name(0)}' is 0"
            ctx.require("ne", resolve(entry.step, ctx.value), 0, message)


def indexed_shape(ctx: Inference) -> Shape:
    """The shape of input 0 under params['index']; UserIndexError for a position known to be outside."""
    shape: list[Dim] = []
    require_steps(ctx, ctx.params["index"])
    for axis, (entry, n) in enumerate(zip(ctx.params["index"], ctx.shape(0), strict=True)):
        if isinstance(entry, Span):
            shape.append(region(entry, n, ctx.value).length)
            continue
        ctx.require_inside(resolve(entry.index, ctx.value), n, outside(axis, ctx.name(0)))
    return tuple(shape)


def outside(axis: int, name: str) -> str:
    return f"index {{0}} is out of bounds for axis {axis} of '{name}', which is {{1}} long"


def position(ctx: Lowering, i: Int, n: Int, axis: int, name: str) -> Int:
    """Index `i` of an axis `n` long as a position: negative counts from the end, outside is an error."""
    return ctx.check(_from_start(i, n), inside(i, n), outside(axis, name), i, n)


def at(ctx: Lowering, entry: At, axis: int) -> Int:
    """The position of an At along `axis` of input 0; `indexed_shape` has checked one that is known."""
    i, n = resolve(entry.index, ctx.value), ctx.shape(0)[axis]
    assert i is not None
    return _from_start(i, n) if isinstance(i, int) else position(ctx, i, n, axis, ctx.name(0))


def _from_start(i: Int, n: Int) -> Int:
    return lowered.choose(lowered.compare("lt", i, 0), lowered.add(i, n), i)


def inside(i: Int, n: Int) -> Expr:
    """Whether `i` is a position, maybe from the end, of an axis `n` long."""
    first = _from_start(i, n)
    return lowered.logical("logical_and", lowered.compare("ge", first, 0), lowered.compare("lt", first, n))


def numpy_index(index: Index, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The index as NumPy takes it, given the values of the row's inputs."""

    def number(n: Number | None) -> int | None:
        return int(inputs[n.input]) if isinstance(n, Ref) else n

    return tuple(
        slice(number(e.start), number(e.stop), number(e.step)) if isinstance(e, Span) else number(e.index)
        for e in index
    )


def checked_arrays(x: np.ndarray, indices: Sequence[np.ndarray], label: str, axes: Sequence[int]) -> None:
    """UserIndexError when an index array holds a position outside its axis."""
    for k, array in enumerate(indices):
        n = x.shape[k]
        bad = array[(array < -n) | (array >= n)]
        if bad.size:
            raise UserIndexError(outside(axes[k], label).format(int(bad.flat[0]), n))


def masked(value: Expr, condition: Expr, memo: dict[int, Expr] | None = None) -> Expr:
    """`value` made safe to compute where `condition` does not hold, and then arbitrary.

    Its loads read the start of their buffer there, which every buffer has, and its guards hold.
    """
    memo = {} if memo is None else memo
    found = memo.get(id(value))
    if found is not None:
        return found
    args = tuple(masked(a, condition, memo) for a in value.args)
    if value.op == "load":
        args = (lowered.select(condition, args[0], lowered.constant(0, "int64")),)
    elif value.op == "guard":
        args = (args[0], lowered.logical("logical_or", lowered.negation(condition), args[1]), *args[2:])
    same = all(a is b for a, b in zip(args, value.args, strict=True))
    made = value if same else lowered.expr(value.op, args, value.dtype, value.value, value.minimum)
    memo[id(value)] = made
    return made


def filled(shape: Sequence[Int]) -> bool:
    """Whether an array of this shape is known to have elements."""
    return all(d >= 1 if isinstance(d, int) else d.minimum is not None and d.minimum >= 1 for d in shape)


def stretched_index(shape: Sequence[Int], index: Sequence[Int]) -> tuple[Int, ...]:
    """Where an array of `shape`, broadcast, is read for `index` (right-aligned)."""
    tail = index[len(index) - len(shape) :]
    return tuple(
        0 if isinstance(d, int) and d == 1 else lowered.choose(lowered.compare("eq", d, 1), 0, i)
        for d, i in zip(shape, tail, strict=True)
    )
