"""Bodies whose columns threads take through all steps of a block side by side: each its own of every loop and product.

What a step writes lies in rows of so many periods, of which the thread with lanes [a, b) has those elements whose
place modulo the period is in [a, b).  Loops over columns touch nothing else of what the body writes; products alone
read whole rows, and wait until the other threads have written theirs.  So two things are to be proved: every place that
a loop touches in memory of the body is its index plus a multiple of the period; and a row that a product reads is not
written to before all threads have met again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import lowered
from .._core import PACKED_PANEL_BYTES
from ..lowered import Expr, Int
from ..statements import Assign, For, Product, Statement, Store, below, expressions, nested, writes
from .fuse import fused
from .region import itemsize

if TYPE_CHECKING:
    from .program import Program
    from .scan_body import Body

# Periods in a loop, at most: the gates of a cell.
MOST_PERIODS = 8


class _Refused(Exception):
    """The body does not qualify."""


def share_columns(body: Body, statements: list[Statement]) -> list[Statement]:
    """The kernel with the steps of a block: for threads that share its columns, if it qualifies."""
    program = body.region.program
    if "columns" not in program.choices or len(statements) != 1 or not isinstance(statements[0], For):
        return statements
    step = fused(statements[0].body)
    products = [s for s in step if isinstance(s, Product)]
    dims = [d for s in products for d in lowered.linear(s.sizes[2]) if d is not None]
    if not dims or not _kept(body, step):
        return statements
    period = program.representative(dims[0])
    columns = _Columns(program, period, {n for n in writes(step) if n[0] == "b"})
    try:
        shared = [one for s in step for one in columns.shared(s)]
        cost = columns.cost(products)
    except _Refused:
        return statements
    body.region.lanes = (body.region.slot(period), body.region.slot(cost))
    body.region.together = True
    return [replace(statements[0], body=shared)]


def _kept(body: Body, step: Sequence[Statement]) -> bool:
    """Whether no thread writes to a row that another one may still be reading in a product.

    Between a product and the next one, maybe of the next step, threads do not wait for each other; and they write
    results of the next one before they do.
    """
    ends = [k for k, s in enumerate(step) if isinstance(s, Product)]
    rows = {*body.prologue.rows, *body.epilogue.rows, *(o.buffer for o in body.outputs if o.slots is None)}
    rings = {o.buffer for o in body.outputs if o.depth > 0 and not o.in_place}
    written = [writes([s]) for s in step]
    for j, end in enumerate(ends):
        product = step[end]
        assert isinstance(product, Product)
        buffer = product.left.buffer
        places = [k for k, names in enumerate(written) if f"b{buffer}" in names]
        # Each step has a row of its own, or one that no step reads which does not come after it.
        if buffer in rows or (buffer in rings and all(k > end for k in places)):
            continue
        following = ends[(j + 1) % len(ends)] + 1
        free = range(end, following) if following > end + 1 else [*range(end, len(step)), *range(following)]
        if any(k in free for k in places):
            return False
    return True


@dataclass(frozen=True)
class _Columns:
    """Rewrites statements for the columns of one thread; `written` is what the body writes."""

    program: Program
    period: Expr
    written: set[str]

    def shared(self, s: Statement) -> list[Statement]:
        if isinstance(s, Product):
            return [self._product(s)]
        if not isinstance(s, For):
            raise _Refused
        if all(isinstance(b, For) for b in s.body):
            return [replace(s, body=[one for b in s.body for one in self.shared(b)])]
        self._verify(s)
        first, last = self._periods(s.start), self._periods(s.stop)
        if not 0 < last - first <= MOST_PERIODS:
            raise _Refused
        start = lowered.bound("lane_start")
        stop = lowered.minimum(lowered.bound("lane_stop"), self.period)
        ahead = [lowered.mul(self.period, k) for k in range(first, last)]
        return [replace(s, start=lowered.add(a, start), stop=lowered.add(a, stop)) for a in ahead]

    def cost(self, products: Sequence[Product]) -> Int:
        """Half of the bytes of matrices that a step reads for one column; 0 where columns end inside of a panel."""
        total: Int = 0
        for s in products:
            size = itemsize(self.program.buffers[s.result.buffer].dtype)
            column = lowered.mul(s.sizes[1], self._periods(s.sizes[2]))
            total = lowered.add(total, lowered.mul(column, size // 2))
        whole = lowered.compare("eq", lowered.mod(self.period, PACKED_PANEL_BYTES // 4), 0)
        return lowered.choose(whole, total, 0)

    def _product(self, s: Product) -> Product:
        rows, inner, columns = s.sizes
        whole = rows == 1 and s.left.strides[1] == 1 and s.result.strides[1] == 1
        places = self._place(s.left.offset, None), self._place(s.result.offset, None)
        if not whole or places != (0, 0) or not self._periods(inner) or not self._periods(columns):
            raise _Refused
        return replace(s, period=self.period)

    def _verify(self, loop: For) -> None:
        """Each round of the loop touches one column of what the body writes, and nothing outside depends on it."""
        index = lowered.index(loop.index)
        for s in nested(loop.body):
            if not isinstance(s, (For, Assign, Store)):
                raise _Refused
            if isinstance(s, Store) and self._place(s.offset, index) != 1:
                raise _Refused
        for e in below(expressions(loop.body)):
            if e.op == "guard":
                raise _Refused
            if e.op == "load" and f"b{e.value}" in self.written and self._place(e.args[0], index) != 1:
                raise _Refused

    def _periods(self, length: Int) -> int:
        """How many periods make up the length."""
        parts = dict(lowered.linear(length))
        known = parts.pop(None, 0) == 0
        if not known or not all(self._is_period(part) for part in parts):
            raise _Refused
        return sum(parts.values())

    def _is_period(self, e: Expr | None) -> bool:
        return e is not None and e.op == "dim" and self.program.representative(e) is self.period

    def _place(self, e: Int, index: Expr | None) -> int | None:
        """1 for the index plus a multiple of the period, 0 for a multiple of it, None for anything else."""
        if isinstance(e, int):
            return 0 if e == 0 else None
        if e is index:
            return 1
        if self._is_period(e):
            return 0
        if e.op == "const":
            return 0 if e.value == 0 else None
        if e.op not in ("index_add", "index_sub", "index_mul"):
            return None
        a, b = (self._place(x, index) for x in e.args)
        if e.op == "index_mul":
            return 0 if 0 in (a, b) else None
        if a is None or b is None:
            return None
        made = a + b if e.op == "index_add" else a - b
        return made if made in (0, 1) else None
