"""Places: arrays of positions in a trace that are known to lie near its end, whether they count from the end or not.

An array that a program makes of lengths (`n - 1 - T.arange(3)`, `T.stack([n - 1, n - 3])`) is followed as an interval:
one length, and how far below or above it the elements are.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Constant, Variable
from ..ops import elementwise as ew
from ..ops import shape as rows
from ..ops.creation import arange
from . import build
from .reads import End, difference, linear, same

# What gives, of an array of positions, the same positions otherwise arranged.
_ARRANGED = (rows.dimshuffle, rows.reshape, rows.broadcast_to, rows.specify_shape)
_JOINED = (rows.stack, rows.concatenate)


@dataclass(frozen=True)
class _Interval:
    """Integers from base + low to base + high; without a base, from low to high."""

    base: Variable | None
    low: int
    high: int

    def plus(self, other: _Interval) -> _Interval | None:
        if self.base is not None and other.base is not None:
            return None
        base = self.base if other.base is None else other.base
        return _Interval(base, self.low + other.low, self.high + other.high)

    def minus(self, other: _Interval) -> _Interval | None:
        if other.base is not None and (self.base is None or not same(self.base, other.base)):
            return None
        base = self.base if other.base is None else None
        return _Interval(base, self.low - other.high, self.high - other.low)


def _interval(v: Variable) -> _Interval | None:
    if isinstance(v, Constant):
        integers = v.data.size and v.data.dtype.kind in "iu"
        return _Interval(None, int(v.data.min()), int(v.data.max())) if integers else None
    node = v.owner
    if v.ndim == 0:
        base, offset = linear(v)
        return _Interval(base, offset, offset)
    if node is None:
        return None
    if node.op in _ARRANGED or (node.op is ew.cast and node.inputs[0].dtype == "int64"):
        return _interval(node.inputs[0])
    if node.op is arange:
        first, stop, step = (_interval(u) for u in node.inputs)
        if first is None or stop is None or step is None or step.base is not None or step.low != step.high:
            return None
        length = stop.minus(first)
        if length is None or length.base is not None or step.low == 0:
            return None
        far = stop.low - (1 if step.low > 0 else -1)
        return _Interval(first.base, min(first.low, far), max(first.high, far))
    if node.op in (ew.add, ew.sub):
        a, b = (_interval(u) for u in node.inputs)
        if a is None or b is None:
            return None
        return a.plus(b) if node.op is ew.add else a.minus(b)
    if node.op is ew.neg:
        a = _interval(node.inputs[0])
        return None if a is None else _Interval(None, 0, 0).minus(a)
    return None


def deepest(places: Variable, end: End) -> int | None:
    """How far from the end of what is read, at most, an array of positions reaches; None when it may lie anywhere."""
    node = places.owner
    if node is not None and node.op in _JOINED:
        parts = [deepest(v, end) for v in node.inputs]
        return None if None in parts else max(p for p in parts if p is not None)
    if node is not None and node.op in _ARRANGED and _interval(places) is None:
        return deepest(node.inputs[0], end)
    found = _interval(places)
    if found is None:
        return None
    if found.base is None and found.high < 0:
        return -found.low
    length = None if end.steps is None else build.plus(end.steps, end.lead)
    base = build.integer(0) if found.base is None else found.base
    apart = None if length is None else difference(length, base)
    return None if apart is None or apart <= found.high else apart - found.low


def moved(places: Variable, by: Variable) -> Variable:
    """The same positions, those that count from the front `by` less."""
    if build.number_of(by) == 0 or (isinstance(places, Constant) and (places.data < 0).all()):
        return places
    zero = build.integer(0)
    return ew.switch(ew.lt(places, zero), places, ew.sub(places, by))
