"""Barriers: what runs outside of compiled kernels, after the kernel of its level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InternalError
from ..graph import Apply, describe
from ..lowered import Int
from ..ops.base import Contract, Library
from ..ops.base import Region as RegionRule
from ..ops.product import source_name
from ..plan import Allocate, Instruction
from ..plan import Library as LibraryCall
from .context import ApplyContext
from .packing import packed_product, packed_view
from .program import Program, View

if TYPE_CHECKING:
    from .region import Region


def lower_barrier(region: Region, node: Apply) -> None:
    rule = node.op.lower
    level = max(0, region.level(node.outputs[0]))
    if isinstance(rule, RegionRule):
        from .scan import lower_scan

        instructions = lower_scan(region, node, level)
    elif isinstance(rule, Contract):
        instructions = _matmul(region, node, level)
    elif isinstance(rule, Library):
        instructions = _library(region, node, rule, level)
    else:
        raise InternalError(f"{node.op.name} is not a barrier")
    region.barriers.setdefault(level, []).extend(instructions)
    for v in node.outputs:
        # A length that the barrier itself tells (`until`) is known one level before memory of that length exists.
        region.levels[id(v)] = max(level, region.data_level(region.shape(v))) + 1


def broadcast_view(program: Program, view: View, shape: tuple[Int, ...]) -> View:
    """`view` repeated to `shape` with strides of zero; dims of run-time length 1 get theirs at run time."""
    from .. import lowered

    lead = len(shape) - len(view.shape)
    steps: list[Int] = [0] * lead
    for d, wide, stride in zip(view.shape, shape[lead:], view.strides):
        if isinstance(d, int):
            steps.append(0 if d == 1 else stride)
        elif program.same(d, wide) or (d.minimum is not None and d.minimum > 1):
            steps.append(stride)
        else:
            steps.append(lowered.choose(lowered.compare("eq", d, 1), 0, stride))
    return View(view.buffer, view.offset, shape, tuple(steps), view.dtype)


def result_view(region: Region, node: Apply, k: int, level: int) -> tuple[View, list[Instruction]]:
    """Memory for output k of a barrier, ready for kernels of the next level."""
    v = node.outputs[k]
    sink = region.sinks.get(id(v))
    if sink is not None and sink.contiguous():
        view = region.target(v, level + 1)
        region.buffer_levels.setdefault(f"b{view.buffer}", level + 1)
        region.values[id(v)] = view
        return view, []
    before = len(region.allocations.get(level, ()))
    view = region.temporary(describe(v), v.dtype, region.shape(v), level)
    region.buffer_levels[f"b{view.buffer}"] = level + 1
    region.values[id(v)] = view
    here = region.allocations.get(level, [])
    # Allocated just before the barrier, not before the kernel of its level.
    allocate: list[Instruction] = [Allocate(b) for b in here[before:]]
    del here[before:]
    return view, allocate


def _library(region: Region, node: Apply, rule: Library, level: int) -> list[Instruction]:
    context = ApplyContext(region, node)
    chosen = (
        rule.operands(context) if rule.operands is not None else [(i, None) for i in range(len(node.inputs))]
    )
    views = []
    for i, shape in chosen:
        view = region.memory(node.inputs[i])
        views.append(view if shape is None else broadcast_view(region.program, view, shape))
    instructions: list[Instruction] = []
    for k in range(len(node.outputs)):
        view, allocate = result_view(region, node, k, level)
        instructions += allocate
        views.append(view)
    call = LibraryCall(
        rule.kernel,
        tuple(region.operand(v) for v in views),
        tuple(rule.parameters(node.params)),
        f"{node.op.name} of '{source_name(node.inputs[0])}'",
    )
    return [*instructions, call]


def _matmul(region: Region, node: Apply, level: int) -> list[Instruction]:
    out, instructions = result_view(region, node, 0, level)
    for k in (1, 0):
        packed = packed_view(region, node, k)
        if packed is not None:
            return packed_product(region, node, k, packed, out, instructions, level)
    batch = out.shape[:-2]
    views = []
    for v in node.inputs:
        view = region.memory(v)
        views.append(broadcast_view(region.program, view, (*batch, *view.shape[-2:])))
    operands = tuple(region.operand(v) for v in (*views, out))
    return [*instructions, LibraryCall("matmul", operands, (0,), describe(node.output))]
