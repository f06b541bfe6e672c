"""A region whose statements run for all steps of a block at once: prologue or epilogue of a scan.

Memory in it has one row per step of the block.  Library kernels get one more leading batch dim, the steps.
Statements that read the step stand in a loop over the block's steps; the others stand before it.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import lowered
from ..dims import product
from ..graph import Apply
from ..lowered import Assign, Expr, For, If, Int, Statement, Store
from ..plan import Operand
from ..statements import expressions
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
    def __init__(self, program: Program, parent: Region, step: str, block: Int) -> None:
        super().__init__(program, parent, step)
        self.block = block
        self.row = lowered.expr("index_sub", (lowered.index(step), lowered.bound("start")), "int64", None, 0)
        self.row_bytes: list[Int] = []
        self.before: dict[int, list[Statement]] = {}
        self.after: dict[int, list[Statement]] = {}

    def temporary(self, name: str, dtype: str, shape: tuple[Int, ...], level: int) -> View:
        if self.data_level(shape) >= 0:
            raise NotBatched(f"the shape of {name} changes from step to step")
        row = lowered.mul(product(shape) or 0, itemsize(dtype))
        self.row_bytes.append(row)
        buffer = self.program.buffer(name, dtype, bytes_slot=self.slot(lowered.mul(self.block, row)))
        self.allocations.setdefault(-1, []).append(buffer)
        self.temporaries.append(buffer)
        self.buffer_levels[f"b{buffer}"] = level
        return rows_view(buffer, shape, dtype, self.row)

    def operand(self, view: View) -> Operand:
        """`view` at all steps of the block: one more leading dim."""
        t, start = lowered.index(self.step or ""), lowered.bound("start")
        if any(isinstance(d, Expr) and self.step in d.reads for d in (*view.shape, *view.strides)):
            raise NotBatched("an operand changes shape from step to step")
        first = lowered.replace(view.offset, t, start)
        second = lowered.replace(view.offset, t, lowered.add(start, 1))
        count = lowered.sub(lowered.bound("stop"), start)
        dims = (count, *view.shape)
        strides = (lowered.sub(second, first), *view.strides)
        return Operand(
            view.buffer, self.slot(first), tuple(map(self.slot, dims)), tuple(map(self.slot, strides))
        )

    def refuse_control_flow(self, node: Apply) -> None:
        raise NotBatched(f"{node.op.name} runs step by step")

    def finish(self) -> None:
        """Put what reads the step into loops over the block."""
        for level in sorted({*self.kernels, *self.before, *self.after}):
            if level < 0:
                continue
            once: list[Statement] = []
            repeated: list[Statement] = []
            for s in self.kernels.get(level, ()):
                (repeated if isinstance(s, (Store, For, If, Assign)) or self._steps([s]) else once).append(s)
            loop: list[Statement] = []
            if repeated:
                loop = [For(self.step or "", lowered.bound("start"), lowered.bound("stop"), repeated)]
            self.kernels[level] = [*once, *self.before.get(level, ()), *loop, *self.after.get(level, ())]

    def _steps(self, statements: Iterable[Statement]) -> bool:
        """Whether any of the statements reads the step."""
        return any(isinstance(e, Expr) and self.step in e.reads for e in expressions(statements))
