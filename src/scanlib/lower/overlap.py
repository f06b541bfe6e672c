"""Blocks whose parts may run beside each other: a recurrence on one thread, its neighbours' other parts on another.

While a block recurs, the block before may end and the block after be prepared if they meet in nothing but the memory of
blocks, of which each then has one half, and whole traces, of which each has steps of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import lowered
from ..dims import product
from ..lowered import Expr, Int
from ..plan import NO_SLOT, Call, Instruction, Library
from ..statements import expressions, products, writes
from .block_length import batched_products
from .rows import RESULTS

if TYPE_CHECKING:
    from .program import Program
    from .scan_body import Body


@dataclass
class Access:
    """The buffers that instructions read and write."""

    reads: set[int] = field(default_factory=set)
    writes: set[int] = field(default_factory=set)

    @property
    def all(self) -> set[int]:
        return self.reads | self.writes


def shared_buffers(body: Body, *parts: Sequence[Instruction]) -> tuple[tuple[int, ...], int]:
    """The memory of a block, and the slot with what a step costs beside the recurrence.

    `parts` are the instructions of prologue, recurrence and epilogue; no buffers if they cannot run beside those of
    neighbours.
    """
    program = body.parent.program
    cost = _cost(body)
    if "overlap" not in program.choices or cost == 0 or not _alone(body):
        return (), NO_SLOT
    found = [_access(program, part) for part in parts]
    if None in found:
        return (), NO_SLOT
    prologue, recurrence, epilogue = (access for access in found if access is not None)
    own = {*body.prologue.rows, *body.epilogue.rows}
    traces = {o.buffer for o in body.outputs if o.slots is None}
    meet = (prologue.writes | epilogue.writes) & recurrence.all
    meet |= recurrence.writes & prologue.reads | (recurrence.writes & epilogue.reads) - traces
    meet |= prologue.writes & epilogue.all | prologue.reads & epilogue.writes
    return (tuple(sorted(own)), body.region.slot(cost)) if meet <= own else ((), NO_SLOT)


def _alone(body: Body) -> bool:
    """Whether the recurrence is one native call per block that one thread may take through all of its steps."""
    region = body.region
    alone = region.together or region.lanes == (NO_SLOT, NO_SLOT)
    return region.native and alone and body.spec.condition() is None


def _access(program: Program, instructions: Iterable[Instruction]) -> Access | None:
    """None if an instruction does more than compute."""
    access = Access()
    for i in instructions:
        if isinstance(i, Library) and i.kernel in RESULTS:
            results = i.operands[RESULTS[i.kernel]]
            access.writes |= {o.buffer for o in results}
            access.reads |= {o.buffer for o in i.operands}
        elif isinstance(i, Call):
            statements = program.kernels[i.kernel].body
            access.writes |= _buffers(writes(statements))
            read = {name for e in expressions(statements) if isinstance(e, Expr) for name in e.reads}
            access.reads |= _buffers(read)
            for p in products(statements):
                access.reads |= {p.left.buffer, p.packed, p.result.buffer}
        else:
            return None
    return access


def _buffers(names: Iterable[str]) -> set[int]:
    return {int(name[1:]) for name in names if name[0] == "b" and name[1:].isdigit()}


def _cost(body: Body) -> Int:
    """What prologue and epilogue cost in a step, as far as it is known: that of products and of shared loops."""
    total = lowered.add(body.prologue.step_cost, body.epilogue.step_cost)
    for region, node in batched_products(body):
        a, b = node.inputs
        terms = [*region.shape(a), region.shape(b)[-1]]
        total = lowered.add(total, product(terms) or 0)
    return total
