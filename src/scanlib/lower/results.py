"""The results of a function: contiguous views of memory, in place where they already lie in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .. import lowered
from ..dims import strides
from ..graph import Variable, describe
from ..lowered import Int
from ..plan import Output
from ..statements import Assign, Statement, Store
from .program import View, row_major
from .region import Region
from .stages import copy


def lower_results(region: Region, results: Sequence[Variable]) -> list[Output]:
    views = [region.memory(v) for v in results]
    shared = Counter(view.buffer for view in views)
    packed: list[tuple[View, View]] = []
    for i, (v, view) in enumerate(zip(results, views)):
        if view.contiguous():
            continue
        if shared[view.buffer] == 1 and _moves_forward(region, view):
            views[i] = _together(view)
            packed.append((view, views[i]))
        else:
            level = max(0, region.level(v))
            views[i] = region.temporary(describe(v), v.dtype, view.shape, level)
            region.kernels.setdefault(level, []).extend(copy(region, v, views[i]))
    if packed:
        # When all else has been computed: others may read what stands where the rows go.
        level = 1 + max([*region.kernels, *region.barriers, *region.allocations])
        region.kernels[level] = [s for source, target in packed for s in _pack(region, source, target)]
    return [Output(w.buffer, region.slot(w.offset), tuple(map(region.slot, w.shape)), w.dtype) for w in views]


def _row_step(view: View) -> int | None:
    """s where the rows of the view, contiguous each, lie s rows apart; None when they do not."""
    apart, *inner = view.strides
    size, *whole = strides((1, *view.shape[1:]))
    if inner != whole:
        return None
    if isinstance(apart, int):
        return apart // size if isinstance(size, int) and size and apart % size == 0 else None
    factors = [lowered.fold(a) for a in apart.args] if apart.op == "index_mul" else []
    for step, other in zip(factors, reversed(factors)):
        if isinstance(step, int) and other is size:
            return step
    return None


def _moves_forward(region: Region, view: View) -> bool:
    """Whether the rows of a view of memory of this call can be brought together at its front, or where they lie.

    Rows are at least a row apart, so each goes to where it lay or before, and where none of those after it lies.
    """
    return region.program.buffers[view.buffer].role == "temporary" and bool(_row_step(view))


def _ascending(view: View) -> View:
    """The rows of the view in the order in which they lie in memory."""
    if (_row_step(view) or 0) > 0:
        return view
    apart = lowered.mul(view.strides[0], -1)
    below = lowered.mul(lowered.sub(view.shape[0], 1), apart)
    return replace(view, offset=lowered.sub(view.offset, below), strides=(apart, *view.strides[1:]))


def _together(view: View) -> View:
    """Where the rows of the view go: those that lie side by side stay there, others go to the front."""
    place = _ascending(view).offset if abs(_row_step(view) or 0) == 1 else 0
    return row_major(view.buffer, view.shape, view.dtype, place)


def _pack(region: Region, view: View, target: View) -> list[Statement]:
    step, source = _row_step(view) or 0, _ascending(view)

    def move(index: tuple[Int, ...]) -> list[Statement]:
        return [Store(target.buffer, target.position(index), source.at(index))]

    moved = region.loop(target.shape, move) if abs(step) != 1 else []
    return moved + (_reversed(region, target) if step < 0 else [])


def _reversed(region: Region, view: View) -> list[Statement]:
    """Statements that turn the order of the rows around."""
    name = region.program.unique("r")
    rows = view.shape[0]

    def swap(index: tuple[Int, ...]) -> list[Statement]:
        i, *rest = index
        low = view.position(index)
        high = view.position((lowered.sub(lowered.sub(rows, 1), i), *rest))
        held = lowered.register(name, view.dtype)
        return [
            Assign((name,), (lowered.load(view.buffer, low, view.dtype),)),
            Store(view.buffer, low, lowered.load(view.buffer, high, view.dtype)),
            Store(view.buffer, high, held),
        ]

    return region.loop((lowered.floordiv(rows, 2), *view.shape[1:]), swap)
