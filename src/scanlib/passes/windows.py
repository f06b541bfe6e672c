"""Windows: slices of the time axis, as the condition under which a step counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..graph import Apply, Constant, TensorType, Variable
from ..ops import elementwise
from ..ops.creation import arange
from ..ops.index_rules import Ref, Span
from ..ops.indexing import subtensor
from ..ops.shape import broadcast_to
from . import build
from .loop import Fed, Feed, Loop
from .shapes import row_dims


@dataclass(frozen=True)
class Window:
    """The steps start:stop:step of a trace; None stands for a number left out."""

    start: int | Variable | None
    stop: int | Variable | None
    step: int

    def fixed(self) -> bool:
        """Whether the same steps are meant however many there are."""
        numbers = (self.start, self.stop)
        return all(n is None or (isinstance(n, int) and n >= 0) for n in numbers)

    def of_past(self) -> tuple[Window, int] | None:
        """A fixed window, and how many steps ago its trace is to be looked at to find these steps in it.

        x[2:-3] is, at every step, x[5:] as that was three steps ago; so it can be told before the number of steps is.
        """
        if self.fixed():
            return self, 0
        if not isinstance(self.stop, int) or not Window(self.start, None, self.step).fixed():
            return None
        return Window((self.start or 0) - self.stop, None, self.step), -self.stop

    def entry(self, numbers: list[Variable]) -> Span:
        """The entry of an index; symbolic numbers are appended to `numbers` (inputs 1, 2, …)."""

        def number(n: int | Variable | None) -> int | Ref | None:
            if not isinstance(n, Variable):
                return n
            numbers.append(n)
            return Ref(len(numbers))

        return Span(number(self.start), number(self.stop), None if self.step == 1 else self.step)

    def of(self, trace: Variable) -> Variable:
        numbers: list[Variable] = []
        entry = self.entry(numbers)
        return subtensor(trace, *numbers, index=(entry, *(Span(),) * (trace.ndim - 1)))


def window_of(node: Apply | None) -> Window | None:
    """The window when the node is a slice, forwards, of the leading axis alone."""
    if node is None or node.op is not subtensor:
        return None
    first, *rest = node.params["index"]
    if not isinstance(first, Span) or any(e != Span() for e in rest):
        return None
    step = 1 if first.step is None else first.step
    if not isinstance(step, int) or step < 1:
        return None
    start, stop = (node.inputs[n.input] if isinstance(n, Ref) else n for n in (first.start, first.stop))
    return Window(start, stop, step)


def lags_of(windows: Sequence[Window | None]) -> list[int] | None:
    """By how many steps each window lies before the last of them, if all have equally many steps, else None.

    That is known of equal windows, and of x[i:-j] where i + j is the same: x[2:], x[1:-1] and x[:-2].
    """
    if len(set(windows)) == 1 and windows[0] is not None:
        return [0] * len(windows)
    starts, left_out = [], set()
    for w in windows:
        if w is None or w.step != 1 or isinstance(w.start, Variable) or isinstance(w.stop, Variable):
            return None
        start, behind = w.start or 0, 0 if w.stop is None else -w.stop
        if start < 0 or behind < 0 or w.stop == 0:
            return None
        starts.append(start)
        left_out.add(start + behind)
    return [max(starts) - start for start in starts] if len(left_out) == 1 else None


def _position(n: int | Variable, steps: Variable) -> Variable:
    """A number of a slice as a position from the front, 0 or more."""
    v = build.integer(n) if isinstance(n, int) else build.cast(n, "int64")
    number = build.number_of(v)
    if number is not None and number >= 0:
        return v
    counted = build.maximum(build.total(steps, v), build.integer(0))
    if number is not None:
        return counted
    return elementwise.switch(elementwise.lt(v, build.integer(0)), counted, v)


def _inside(loop: Loop, operand: Variable) -> Variable:
    step = Variable(TensorType("int64", ()))
    loop.non_sequences.append(Feed(step, operand))
    return step


def step_number(loop: Loop) -> Variable:
    now = Variable(TensorType("int64", ()), name="t")
    loop.sequences.append(Feed(now, arange(build.integer(0), loop.steps, build.integer(1), dtype="int64")))
    return now


def counts(loop: Loop, window: Window | None) -> Variable | None:
    """Whether a step of `loop` is in the window, a bool of its step graph; None where all are."""
    return None if window is None else place_in(loop, window)[1]


def place_in(loop: Loop, window: Window | None) -> tuple[Variable, Variable | None]:
    """Which step of the window a step of `loop` is, and whether it is one (None: it is), in its step graph."""
    now = step_number(loop)
    if window is None:
        return now, None
    start = _inside(loop, _position(0 if window.start is None else window.start, loop.steps))
    made, place = elementwise.ge(now, start), elementwise.sub(now, start)
    if window.stop is not None:
        stop = _inside(loop, _position(window.stop, loop.steps))
        made = elementwise.logical_and(made, elementwise.lt(now, stop))
    if window.step != 1:
        step = build.integer(window.step)
        made = elementwise.logical_and(made, elementwise.eq(elementwise.mod(place, step), build.integer(0)))
        place = elementwise.floor_divide(place, step)
    return place, made


def earlier(loop: Loop, trace: Variable, lag: int) -> Variable:
    """What a step of the scan taken apart gave for `trace` so many steps ago; before that it does not matter."""
    k = trace.index
    value = loop.value(k)
    own = [s for s in loop.states if s.source == k]
    back = max((-tap for s in own for tap in s.taps if -tap <= lag), default=0)
    if back:
        value = own[0].steps[own[0].taps.index(-back)]
    if back == lag:
        return value
    past = [s for s in loop.states if s.source is None and s.next is value and s.label == _past(loop, k)]
    if not past:
        past = [Fed((), (), value, value, None, _past(loop, k), None)]
        loop.states += past
    (state,) = past
    found = dict(zip(state.taps, state.steps))
    before = found.setdefault(back - lag, Variable(value.type))
    state.taps = tuple(sorted(found))
    state.steps = tuple(found[tap] for tap in state.taps)
    zero = Constant(build.array(0, value.dtype))
    state.initial = broadcast_to(zero, build.integer(-state.taps[0]), *(row_dims(trace) or ()))
    return before


def _past(loop: Loop, k: int) -> str:
    return f"past of {loop.spec.labels[k]}"
