"""Sums over time of f(x - y), where the row y is known only when the loop has run: variances, sums of exponentials.

The loop adds up about a row of its own that follows the trace, and the row y is put in afterwards.  For squares that
row is the mean so far (Welford): Σ (x - y)² = Σ (x - mean)² + n (mean - y)².  For exponentials it is the largest
element so far: Σ exp(x - y) = exp(largest - y) Σ exp(x - largest).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..graph import Apply, Constant, TensorType, Variable
from ..ops import elementwise as ew
from ..ops import reduction
from ..ops.shape import broadcast_to
from . import build
from .loop import Fed, Loop
from .windows import Window, counts, step_number


@dataclass(frozen=True)
class Offset:
    """What a sum over time adds up: f(rows - row)."""

    rows: Variable
    row: Variable
    f: str


def offset_of(node: Apply | None) -> Offset | None:
    """The offset when the node is such a sum over time."""
    made = node.inputs[0].owner if node is not None and node.op is reduction.sum else None
    if node is None or made is None or 0 not in node.params["axes"]:
        return None
    apart = made.inputs[0]
    if made.op is ew.mul and made.inputs[1] is apart:
        f = "square"
    elif made.op is ew.exp:
        f = "exp"
    else:
        return None
    if apart.owner is None or apart.owner.op is not ew.sub or made.output.dtype != apart.dtype:
        return None
    x, y = apart.owner.inputs
    if f == "square" and not _is_row(y, apart):
        x, y = y, x
    return Offset(x, y, f) if _is_row(y, apart) and not _is_row(x, apart) and x.dtype == apart.dtype else None


def _is_row(v: Variable, of: Variable) -> bool:
    """Whether `v` is the same for all rows of what it is broadcast to."""
    return v.ndim < of.ndim or v.type.shape[0] == 1


def sums_of(reader: Apply | None, rows: Variable, table: dict[int, list[Apply | None]]) -> list[Apply]:
    """The sums that alone need `reader`, a difference of `rows` and another row."""
    if reader is None or reader.op is not ew.sub:
        return []
    through = table[id(reader.output)]
    if any(r is None or r.op not in (ew.mul, ew.exp) for r in through):
        return []
    found = [u for r in through if r is not None for u in table[id(r.output)]]
    offsets = [offset_of(u) for u in found]
    if any(o is None or o.rows is not rows for o in offsets):
        return []
    return [u for u in found if u is not None]


def states_of(
    loop: Loop, offset: Offset, value: Variable, window: Window | None, dims: Sequence[Variable], label: str
) -> list[Fed]:
    """The states of which the last two hold the row that is followed, and the sum about it."""
    inside = counts(loop, window)
    states: list[Fed] = []
    if offset.f == "square":
        if inside is None:
            count = ew.add(step_number(loop), build.integer(1))
        else:
            states = [_counted(inside)]
            count = ew.maximum(states[0].next, build.integer(1))
        followed, total = _squares(value, build.cast(count, value.dtype))
        titles, start = ("mean", "squares about the mean"), 0.0
    else:
        followed, total = _exponentials(value)
        titles, start = ("largest", "exponentials below the largest"), float(np.finfo(value.dtype).min)
    for (before, after), title, first in zip((followed, total), titles, (start, 0.0)):
        initial = broadcast_to(Constant(build.array(first, value.dtype)), build.integer(1), *dims)
        after = after if inside is None else ew.switch(inside, after, before)
        states.append(Fed((-1,), (before,), initial, after, None, f"{title} of {label}", None))
    return states


def _counted(inside: Variable) -> Fed:
    """How many steps have counted."""
    before = Variable(TensorType("int64", ()))
    after = ew.add(before, ew.cast(inside, dtype="int64"))
    return Fed((-1,), (before,), build.as_trace(build.integer(0)), after, None, "steps that count", None)


Change = tuple[Variable, Variable]  # a state before and after a step


def _squares(x: Variable, count: Variable) -> tuple[Change, Change]:
    mean, squares = Variable(x.type), Variable(x.type)
    share = ew.true_div(Constant(build.array(1, x.dtype)), count)
    apart = ew.sub(x, mean)
    moved = ew.add(mean, ew.mul(apart, share))
    return (mean, moved), (squares, ew.add(squares, ew.mul(apart, ew.sub(x, moved))))


def _exponentials(x: Variable) -> tuple[Change, Change]:
    """One of the two exponentials, of what was added up and of what is new, is 1."""
    largest, total = Variable(x.type), Variable(x.type)
    zero, one = (Constant(build.array(n, x.dtype)) for n in (0, 1))
    # Infinities of one sign are 0 apart.
    apart = ew.switch(ew.eq(x, largest), zero, ew.sub(x, largest))
    less = ew.exp(ew.neg(ew.abs(apart)))
    after = ew.switch(ew.gt(apart, zero), ew.add(ew.mul(total, less), one), ew.add(total, less))
    return (largest, ew.maximum(largest, x)), (total, after)


def about_row(node: Apply, followed: Variable, total: Variable, count: Variable) -> Variable:
    """The sum about the row that `node` asks for, before axes other than time are reduced."""
    offset = offset_of(node)
    assert offset is not None
    row = build.first_row(offset.row) if offset.row.ndim > followed.ndim else offset.row
    apart = ew.sub(followed, row)
    if offset.f == "exp":
        return ew.mul(total, ew.exp(apart))
    both = ew.add(total, ew.mul(build.cast(count, total.dtype), ew.mul(apart, apart)))
    # Of no rows the mean is not a number, but there are no squares.
    return ew.switch(ew.gt(count, build.integer(0)), both, total)
