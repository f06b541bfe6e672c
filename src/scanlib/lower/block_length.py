"""How many steps a block has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lowered
from ..graph import Apply, Variable, toposort
from ..lowered import Int
from ..ops.base import Contract
from ..statements import SetDim
from .placing import is_barrier

if TYPE_CHECKING:
    from .block import BlockRegion
    from .scan_body import Body

# Bytes that the rows of a block may take in all, so that they stay in the second-level cache.
CACHE = 1 << 19
# Steps of a block: as many as the cache holds, within these bounds.
LONGEST_BLOCK = 4096
# But so many that a product batched over them has this many rows (of its result, or to sum over): with fewer, reading
# and writing its other matrices costs more than the cache saves.
PRODUCT_ROWS = 256
# Steps between two polls for an interrupt when every step walks through memory or a list of instructions.
MEMORY_BLOCK = 64


def settle_lengths(body: Body, halves: bool) -> None:
    """Say how many steps a block has, and for how many its memory has room: for two blocks, with `halves`."""
    block = body.block_length()
    if halves:
        block = lowered.maximum(lowered.floordiv(block, 2), 1)
    parent = body.parent
    for slot, length in ((body.slots.block, block), (body.slots.room, lowered.mul(block, 1 + halves))):
        if isinstance(length, int):
            parent.program.initial_dims[slot] = length
        else:
            level = parent.data_level([length])
            parent.kernels.setdefault(level, []).append(SetDim(slot, length))


def block_length(body: Body) -> Int:
    """As many steps as fill the cache."""
    rows = [*body.prologue.row_bytes, *body.epilogue.row_bytes]
    if not rows:
        in_registers = body.region.native and len(body.registers) == len(body.spec.states)
        return LONGEST_BLOCK if in_registers else MEMORY_BLOCK
    total: Int = 0
    for size in rows:
        total = lowered.add(total, lowered.minimum(size, CACHE))
    most = lowered.floordiv(lowered.add(CACHE, 0), lowered.maximum(total, 1))
    for region, node in batched_products(body):
        per_step = region.shape(node.inputs[0])[-2 if region is body.prologue else -1]
        fewest = lowered.floordiv(lowered.add(per_step, PRODUCT_ROWS - 1), lowered.maximum(per_step, 1))
        most = lowered.maximum(most, fewest)
    return lowered.maximum(lowered.minimum(most, LONGEST_BLOCK), 1)


def batched_products(body: Body) -> list[tuple[BlockRegion, Apply]]:
    """The products that the prologue computes and those that the epilogue adds up."""
    hoisted = toposort(body.parts.hoisted, body.spec.inputs)
    before = [
        (body.prologue, node)
        for node in hoisted
        if isinstance(node.op.lower, Contract) and is_barrier(body.prologue, node)
    ]
    summed = [product_of(t) for a in body.parts.accumulators for t in a.terms]
    return before + [(body.epilogue, node) for node in summed if node is not None]


def product_of(term: Variable) -> Apply | None:
    """The matrix product that `term` is, if the epilogue can add it up in one large product per block."""
    node = term.owner
    return node if node is not None and isinstance(node.op.lower, Contract) and term.ndim == 2 else None
