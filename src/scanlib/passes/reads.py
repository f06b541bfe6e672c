"""Reads of a trace near its end: how deep they reach, and the same reads when only the end is kept.

A number of an index that counts from the end (`-k`, or a symbolic length minus k) reads the same element of
the last K steps as of all steps, as long as K ≥ k; with fewer than K steps the two arrays are the same.  So
negative numbers stay as they are, and in the others the length is replaced by min(length, K).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..graph import Apply, Constant, Variable
from ..ops import elementwise
from ..ops.index_rules import At, Index, Ref, Span
from ..ops.indexing import subtensor
from . import build
from .merge import constant_key

Number = int | Ref | None


def row(x: Variable, i: int) -> Variable:
    """x[i] along the leading axis."""
    if i == 0 and x.type.shape[0] == 1:
        return build.first_row(x)
    return subtensor(x, index=(At(i), *(Span(),) * (x.ndim - 1)))


def last_row(x: Variable) -> Variable:
    return subtensor(x, index=(At(-1), *(Span(),) * (x.ndim - 1)))


def linear(v: Variable) -> tuple[Variable | None, int]:
    """An int64 scalar as (variable, offset); (None, n) for a constant."""
    offset = 0
    while True:
        number = build.number_of(v)
        if number is not None:
            return None, offset + number
        node = v.owner
        if node is None or v.dtype != "int64":
            return v, offset
        if node.op is elementwise.cast and node.inputs[0].dtype == "int64":
            v = node.inputs[0]
            continue
        if node.op not in (elementwise.add, elementwise.sub):
            return v, offset
        a, b = (build.number_of(u) for u in node.inputs)
        if b is not None:
            offset += b if node.op is elementwise.add else -b
            v = node.inputs[0]
        elif a is not None and node.op is elementwise.add:
            offset += a
            v = node.inputs[1]
        else:
            return v, offset


def difference(a: Variable, b: Variable) -> int | None:
    """a - b, if it is known."""
    (x, m), (y, n) = linear(a), linear(b)
    if x is None and y is None:
        return m - n
    if x is None or y is None:
        return None
    return m - n if same(x, y) else None


def at_least(big: Variable, small: Variable) -> bool:
    """Whether the int64 scalar `big` is known to be `small` or more."""
    apart = difference(big, small)
    if apart is not None:
        return apart >= 0
    lower, upper = small.owner, big.owner
    if lower is not None and lower.op is elementwise.minimum and any(at_least(big, v) for v in lower.inputs):
        return True
    if upper is None or upper.op is not elementwise.maximum:
        return False
    return any(at_least(v, small) for v in upper.inputs)


def same(x: Variable, y: Variable, depth: int = 12) -> bool:
    """Whether two variables are the same expression, as lengths are that were derived twice."""
    a, b = x.owner, y.owner
    if x is y or a is None or b is None:
        return x is y or (
            isinstance(x, Constant) and isinstance(y, Constant) and constant_key(x) == constant_key(y)
        )
    if depth == 0 or a.op is not b.op or a.params != b.params or x.ndim or y.ndim:
        return False
    pairs = list(zip(a.inputs, b.inputs))
    return len(a.inputs) == len(b.inputs) and all(same(u, v, depth - 1) for u, v in pairs)


@dataclass(frozen=True)
class End:
    """The end of what is read: its length, an int64 scalar, is `steps` + `lead`; unknown when `steps` is None."""

    steps: Variable | None
    lead: int = 0

    @property
    def number(self) -> int | None:
        steps = None if self.steps is None else build.number_of(self.steps)
        return None if steps is None else steps + self.lead


@dataclass(frozen=True)
class FromEnd:
    """A number of an index: position length - `distance`; written `-distance` unless `symbolic`.

    `clamped`: written max(length - distance, 0).
    """

    distance: int
    symbolic: bool = False
    clamped: bool = False

    def shortened(self, limit: Variable, lead: int) -> int | Variable:
        """The number that means the same when there are `limit` steps, after `lead` initial values."""
        if not self.symbolic:
            return -self.distance
        made = build.plus(limit, lead - self.distance)
        return build.maximum(made, build.integer(0)) if self.clamped else made


def _from_end(n: Number, inputs: tuple[Variable, ...], end: End) -> FromEnd | None:
    """A number as a distance from the end; None when it is not known to be one."""
    if isinstance(n, int):
        if n < 0:
            return FromEnd(-n)
        total = end.number
        return FromEnd(total - n) if total is not None and n < total else None
    if n is None or end.steps is None:
        return None
    v, clamped = inputs[n.input], False
    node = v.owner
    if node is not None and node.op is elementwise.maximum:
        zero = [u for u in node.inputs if build.number_of(u) == 0]
        others = [u for u in node.inputs if build.number_of(u) != 0]
        if len(zero) == 1:
            v, clamped = others[0], True
    apart = difference(end.steps, v)
    if apart is None:
        return None
    distance = apart + end.lead
    return FromEnd(distance, True, clamped) if distance > 0 else None


@dataclass(frozen=True)
class EndRead:
    """A read x[start:stop:step] or x[start] along the leading axis; None stands for a number left out."""

    depth: int
    single: bool
    start: FromEnd | None
    stop: FromEnd | None
    step: int


def end_read(entry: At | Span, inputs: tuple[Variable, ...], end: End) -> EndRead | None:
    """The read of a leading axis, if it is known to reach only a known number of steps back."""
    if isinstance(entry, At):
        at = _from_end(entry.index, inputs, end)
        return None if at is None else EndRead(at.distance, True, at, None, 1)
    step = 1 if entry.step is None else entry.step
    if not isinstance(step, int):
        return None
    start = _from_end(entry.start, inputs, end)
    stop = _from_end(entry.stop, inputs, end)
    if stop is None and _beyond(entry.stop, inputs, end):
        entry = replace(entry, stop=None)
    if entry.stop is not None and stop is None:
        return None
    if step > 0:
        if start is None:
            return None
        depth = max(start.distance, stop.distance if stop is not None and stop.symbolic else 0)
        return EndRead(depth, False, start, stop, step)
    if (entry.start is not None and start is None) or stop is None:
        return None
    first = 1 if start is None else start.distance
    reach = stop.distance
    if not stop.symbolic and (start is None or not start.symbolic):
        # The last element that is read: with a stride, one before the stop at the latest.
        reach = first + -step * ((reach - 1 - first) // -step)
    return EndRead(max(reach, first), False, start, stop, step)


def _beyond(n: Number, inputs: tuple[Variable, ...], end: End) -> bool:
    """Whether a stop is known to be at the end or behind it."""
    if isinstance(n, int):
        total = end.number
        return total is not None and n >= total
    if n is None or end.steps is None:
        return False
    apart = difference(inputs[n.input], end.steps)
    return apart is not None and apart >= end.lead


@dataclass(frozen=True)
class TailRead:
    """A slice x[start:stop:step] forwards to a place near the end, of which in turn only the end is read."""

    start: Variable
    stop: FromEnd | None
    step: int

    def depth(self, of_result: int) -> int:
        """How far the last elements of the slice reach back."""
        behind = 0 if self.stop is None else self.stop.distance
        return of_result * self.step + behind if of_result else 0


def tail_read(entry: At | Span, inputs: tuple[Variable, ...], end: End) -> TailRead | None:
    """The read of a leading axis as one that keeps the order of the last elements."""
    if isinstance(entry, At) or end.steps is None:
        return None
    step = 1 if entry.step is None else entry.step
    if not isinstance(step, int) or step < 1:
        return None
    stop = _from_end(entry.stop, inputs, end)
    if stop is None and entry.stop is not None and not _beyond(entry.stop, inputs, end):
        return None
    start = entry.start if entry.start is not None else 0
    return TailRead(build.integer(start) if isinstance(start, int) else inputs[start.input], stop, step)


class Shortened:
    """Entries for the last `limit` of `steps` steps, after `lead` initial values.

    Symbolic numbers are appended to `numbers` (inputs 1, 2, …).
    """

    def __init__(self, steps: Variable, limit: Variable, lead: int, numbers: list[Variable]) -> None:
        self.steps = steps
        self.limit = limit
        self.lead = lead
        self.numbers = numbers

    def entry(self, read: EndRead | TailRead) -> At | Span:
        if isinstance(read, TailRead):
            return Span(self._number(self._start(read)), self._from_end(read.stop), _step(read.step))
        start = self._from_end(read.start)
        if read.single:
            assert start is not None
            return At(start)
        return Span(start, self._from_end(read.stop), _step(read.step))

    def _from_end(self, n: FromEnd | None) -> Number:
        return None if n is None else self._number(n.shortened(self.limit, self.lead))

    def _number(self, n: int | Variable) -> Number:
        constant = n if isinstance(n, int) else build.number_of(n)
        if constant is not None or isinstance(n, int):
            return constant
        self.numbers.append(n)
        return Ref(len(self.numbers))

    def _start(self, read: TailRead) -> Variable:
        """The first position of the slice that is left; the positions keep their distances from the end."""
        start = build.cast(read.start, "int64")
        number = build.number_of(start)
        if number is None or number < 0:
            length = build.plus(self.steps, self.lead)
            counted = build.maximum(build.total(length, start), build.integer(0))
            start = counted if number is not None else _switch(start, counted)
        moved = build.minus(build.total(start, self.limit), self.steps)
        return build.maximum(moved, _remainder(moved, read.step))


def _step(step: int) -> int | None:
    return None if step == 1 else step


def _switch(start: Variable, counted: Variable) -> Variable:
    return elementwise.switch(elementwise.lt(start, build.integer(0)), counted, start)


def _remainder(n: Variable, step: int) -> Variable:
    if step == 1:
        return build.integer(0)
    number = build.number_of(n)
    return elementwise.mod(n, build.integer(step)) if number is None else build.integer(number % step)


def renumbered(index: Index, inputs: tuple[Variable, ...], numbers: list[Variable]) -> Index:
    """Entries of an index whose symbolic numbers are collected anew in `numbers`."""

    def number(n: Number) -> Number:
        if not isinstance(n, Ref):
            return n
        numbers.append(inputs[n.input])
        return Ref(len(numbers))

    return tuple(
        At(number(e.index)) if isinstance(e, At) else Span(number(e.start), number(e.stop), number(e.step))  # type: ignore[arg-type]
        for e in index
    )


def is_bounded(node: Apply | None, trace: Variable) -> bool:
    """Whether the node reads of the trace only a few last steps (in the plainest way) or its row's shape."""
    if node is None:
        return False
    asked = build.asked_shape(node)
    if asked is not None:
        return asked[1] > 0
    if node.op is not subtensor or node.inputs[0] is not trace:
        return False
    entry = node.params["index"][0]
    if isinstance(entry, At):
        return isinstance(entry.index, int) and entry.index < 0
    start, step = entry.start, entry.step
    return isinstance(start, int) and start < 0 and (step is None or (isinstance(step, int) and step > 0))
