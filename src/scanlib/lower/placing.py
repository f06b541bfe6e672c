"""Where nodes run, and where their results live: in registers, in memory, or computed again at each reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph import Apply, Variable
from ..lowered import Expr
from ..ops.base import Affine, Contract, Element, Library, Pointwise, Reduce, Unbroadcast
from ..ops.base import Region as RegionRule
from .program import IN_KERNEL, ROW, UNROLL, fits_registers, indices, static_size

if TYPE_CHECKING:
    from .region import Region

# An elementwise chain is cut here so that neither kernels nor the recursion that builds them get too deep.
INLINE_DEPTH = 40
# An elementwise result that several computations read is stored when it costs at least this much.
STORE_COST = 8


def is_identity(region: Region, node: Apply) -> bool:
    """Whether an Unbroadcast has nothing to sum: both shapes are known to be the same."""
    if not isinstance(node.op.lower, Unbroadcast):
        return False
    wide, narrow = (region.shape(v) for v in node.inputs)
    return len(wide) == len(narrow) and all(map(region.program.same, wide, narrow))


def is_barrier(region: Region, node: Apply) -> bool:
    """Whether the node runs between kernels."""
    rule = node.op.lower
    if isinstance(rule, (Library, RegionRule)):
        return True
    if not isinstance(rule, Contract):
        return False
    work = contract_work(region, node)
    return work is None or work > IN_KERNEL


def contract_work(region: Region, node: Apply) -> int | None:
    """How many multiplications a product takes, if that is known."""
    size = static_size(region.shape(node.output))
    inner = region.shape(node.inputs[0])[-1]
    return size * inner if size is not None and isinstance(inner, int) else None


def expanded(region: Region, v: Variable) -> bool:
    """Whether `v` lives in registers, one per element."""
    if not fits_registers(region.shape(v)):
        return False
    node = v.owner
    assert node is not None
    rule = node.op.lower
    if isinstance(rule, Contract):
        inner = region.shape(node.inputs[0])[-1]
        return (contract_work(region, node) or 0) <= UNROLL and isinstance(inner, int) and inner < ROW
    if isinstance(rule, Reduce):
        return fits_registers(region.shape(node.inputs[0]))
    return True


def expand(region: Region, v: Variable) -> tuple[Expr, ...]:
    """All elements, in C order."""
    return tuple(region.compute(v, i) for i in indices(region.shape(v)))


def store_if_worthwhile(region: Region, node: Apply) -> None:
    """Decide whether an elementwise result is computed where it is read, or once into memory."""
    v = node.output
    rule = node.op.lower
    if is_identity(region, node):
        source = id(node.inputs[0])
        region.depths[id(v)], region.depths[-id(v)] = (
            region.depths.get(source, 0),
            region.depths.get(-source, 0),
        )
        return
    depth = 1 + max((region.depths.get(id(i), 0) for i in node.inputs), default=0)
    cost = sum(region.depths.get(-id(i), 0) for i in node.inputs)
    if isinstance(rule, Pointwise):
        cost += 8 if rule.is_math else 1
    elif isinstance(rule, Element):
        cost += 2 if rule.cheap else STORE_COST
    stored = not isinstance(rule, (Pointwise, Element, Affine))
    if not stored and not isinstance(rule, Affine):
        scattered = region.uses.get(id(v), 0) > 1 and id(v) not in region.meeting
        stored = depth > INLINE_DEPTH or (scattered and cost >= STORE_COST)
    if stored:
        region.depths[id(v)], region.depths[-id(v)] = 0, 0
        region.memory(v)
    else:
        region.depths[id(v)], region.depths[-id(v)] = depth, cost
