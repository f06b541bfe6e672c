"""A region whose statements run for all steps of a block at once: prologue or epilogue of a scan.

Memory in it has one row per step of the block.  Library kernels get one more leading batch dim, the steps.
Statements that read the step stand in a loop over the block's steps; the others stand before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import lowered
from ..dims import product
from ..graph import Apply
from ..lowered import Expr, Int
from ..plan import STEPS_SLOT, Call, Operand
from ..statements import Assign, For, If, SetDim, Statement, Store, coefficient, expressions, stores
from .cost import work
from .program import Program, View, row_major
from .region import Region, itemsize


class NotBatched(Exception):
    """A part of a step cannot run for all steps of a block at once."""


def rows_view(buffer: int, shape: tuple[Int, ...], dtype: str, row: Int) -> View:
    """The row of a block's memory that belongs to step number `row` of the block."""
    size = product(shape)
    assert size is not None
    return row_major(buffer, shape, dtype, lowered.mul(row, size))


class BlockRegion(Region):
    def __init__(self, program: Program, parent: Region, step: str, room: Int) -> None:
        super().__init__(program, parent, step)
        self.room = room
        self.row = lowered.expr("index_sub", (lowered.index(step), lowered.bound("start")), "int64", None, 0)
        self.row_bytes: list[Int] = []
        self.copies: dict[View, View] = {}  # of operands that do not lie at equal distances
        self.rows: list[int] = []  # the buffers with a row per step
        self.step_cost: Int = (
            0  # of a step, in operations of loops that threads may share; known when it is complete
        )
        self.before: dict[int, list[Statement]] = {}
        self.after: dict[int, list[Statement]] = {}
        # When a level is complete: its loop over steps that threads may share, and what a step costs; then the rest.
        self.spread: dict[int, tuple[list[Statement], int]] = {}
        self.summed: dict[int, list[Statement]] = {}

    def temporary(self, name: str, dtype: str, shape: tuple[Int, ...], level: int) -> View:
        if self.data_level(shape) >= 0:
            raise NotBatched(f"the shape of {name} changes from step to step")
        row = lowered.bytes_of(shape, itemsize(dtype))
        self.row_bytes.append(row)
        buffer = self.program.buffer(name, dtype, bytes_slot=self.slot(lowered.size(self.room, row)))
        self.rows.append(buffer)
        self.allocations.setdefault(-1, []).append(buffer)
        self.temporaries.append(buffer)
        self.buffer_levels[f"b{buffer}"] = level
        return rows_view(buffer, shape, dtype, self.row)

    def operand(self, view: View) -> Operand:
        """`view` at all steps of the block: one more leading dim."""
        t, start = lowered.index(self.step or ""), lowered.bound("start")
        if any(isinstance(d, Expr) and self.step in d.reads for d in (*view.shape, *view.strides)):
            raise NotBatched("an operand changes shape from step to step")
        view = self._evenly(view)
        first = lowered.Substitution({t: start})(view.offset)
        second = lowered.Substitution({t: lowered.add(start, 1)})(view.offset)
        count = lowered.sub(lowered.bound("stop"), start)
        dims = (count, *view.shape)
        strides = (lowered.sub(second, first), *view.strides)
        return Operand(
            view.buffer, self.slot(first), tuple(map(self.slot, dims)), tuple(map(self.slot, strides))
        )

    def _evenly(self, view: View) -> View:
        """`view`, or a copy of it if it moves on by unequal distances: where an index read at each step places it."""
        if coefficient(view.offset, lowered.index(self.step or "")) is not None:
            return view
        if view not in self.copies:
            level = max(self.data_level([view.offset]), self.buffer_levels.get(f"b{view.buffer}", 0))
            copied = self.temporary("rows of an operand", view.dtype, view.shape, level)
            self.copies[view] = copied

            def body(index: tuple[Int, ...]) -> list[Statement]:
                return [Store(copied.buffer, copied.position(index), view.at(index))]

            self.kernels.setdefault(level, []).extend(self.loop(view.shape, body))
        return self.copies[view]

    def refuse_control_flow(self, node: Apply) -> None:
        raise NotBatched(f"{node.op.name} runs step by step")

    def finish(self) -> None:
        """Put what reads the step into loops over the block; threads share one whose steps have rows of their own."""
        for level in sorted({*self.kernels, *self.before, *self.after}):
            if level < 0:
                continue
            once: list[Statement] = []
            repeated: list[Statement] = []
            for s in self.kernels.get(level, ()):
                (repeated if isinstance(s, (Store, For, If, Assign)) or self._steps([s]) else once).append(s)
            apart = self._apart(level, repeated)
            if apart:
                loop = self._loop(apart, "lane_start", "lane_stop")
                cost = work(apart)
                self.step_cost = lowered.add(self.step_cost, cost)
                self.spread[level] = (loop, self.slot(cost))
            loop = self._loop(repeated[len(apart) :], "start", "stop")
            self.kernels[level] = once
            self.summed[level] = [*self.before.get(level, ()), *loop, *self.after.get(level, ())]

    def _loop(self, body: list[Statement], start: str, stop: str) -> list[Statement]:
        return [For(self.step or "", lowered.bound(start), lowered.bound(stop), body)] if body else []

    def _apart(self, level: int, statements: Sequence[Statement]) -> list[Statement]:
        """The first of the statements, as far as they give each step a row of its own."""
        totals = {name for s in self.before.get(level, ()) if isinstance(s, Assign) for name in s.names}
        step = lowered.index(self.step or "")
        for position, s in enumerate(statements):
            shared = any(coefficient(store.offset, step) in (None, 0) for store in stores([s]))
            if shared or isinstance(s, SetDim) or (isinstance(s, Assign) and not totals.isdisjoint(s.names)):
                return list(statements[:position])
        return list(statements)

    def calls(self, level: int) -> list[Call]:
        calls = super().calls(level)
        if level in self.spread:
            body, cost = self.spread[level]
            calls.append(Call(self.program.kernel(body), f"level {level}", STEPS_SLOT, cost))
        if self.summed.get(level):
            calls.append(Call(self.program.kernel(self.summed[level]), f"level {level}"))
        return calls

    def _steps(self, statements: Iterable[Statement]) -> bool:
        """Whether any of the statements reads the step."""
        return any(isinstance(e, Expr) and self.step in e.reads for e in expressions(statements))
