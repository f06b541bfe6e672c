"""Lowering of a whole function for one signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import lowered
from ..choices import lowering_choices
from ..errors import UserValueError
from ..graph import FunctionGraph, Variable, describe
from ..lowered import Expr, Int, Kernel
from ..plan import Branch, Call, Input, Instruction, Library, Loop, Plan, Release
from ..statements import expressions, writes
from .program import CheckRecord, Program, row_major
from .region import Region
from .report import ScanReport
from .results import lower_results

# A dimension of at most this length is a constant of the specialisation, unless it is a number of steps.
SMALL = 16


@dataclass(frozen=True)
class Lowered:
    """A function lowered for one signature: the plan, its kernels, what its checks mean, and its scans."""

    plan: Plan
    kernels: tuple[Kernel, ...]
    step_slots: dict[str, int]
    checks: tuple[CheckRecord, ...]
    reports: tuple[ScanReport, ...]


Signature = Sequence[Sequence[int]]


def lower(
    graph: FunctionGraph,
    signature: Signature,
    lengths: Sequence[Sequence[bool]],
    choices: frozenset[str] | None = None,
) -> Lowered:
    """Lower `graph`; signature[i][axis] is a small length or −1, lengths[i][axis] marks numbers of steps.

    `choices`: what of choices.py is on (default: what config.optimisations says).
    """
    program = Program(lowering_choices() if choices is None else choices)
    region = Region(program)
    inputs = []
    for v, dims, is_length in zip(graph.inputs, signature, lengths):
        buffer = program.buffer(describe(v), v.dtype, "input")
        first = len(program.initial_dims)
        shape: list[Int] = []
        for d, dynamic in zip(dims, is_length):
            slot = program.slot()
            shape.append(d if d >= 0 else lowered.dim(slot, 0 if dynamic else SMALL + 1))
        inputs.append(Input(buffer, first, v.ndim, v.dtype))
        shape = _declared(region, v, shape)
        region.bind(v, row_major(buffer, tuple(shape), v.dtype), tuple(shape))
    region.analyse(graph.outputs, graph.inputs)
    outputs = lower_results(region, graph.outputs)
    start, steps = region.instructions()
    instructions = _with_releases(program, start + steps, {o.buffer for o in outputs})
    plan = Plan(
        tuple(program.buffers), tuple(program.initial_dims), tuple(inputs), tuple(outputs), instructions
    )
    return Lowered(
        plan, tuple(program.kernels), dict(program.step_slots), tuple(program.checks), tuple(program.reports)
    )


def _declared(region: Region, v: Variable, shape: list[Int]) -> list[Int]:
    """The shape with the dims the variable's type declares, after checking that the argument has them."""
    result: list[Int] = []
    for axis, (declared, d) in enumerate(zip(v.type.shape, shape)):
        if declared is not None and d != declared:
            message = f"input '{describe(v)}': axis {axis} has length {{0}}, its type {v.type} says {{1}}"
            if isinstance(d, int):
                raise UserValueError(message.format(d, declared))
            region.require(lowered.compare("eq", d, declared), "value", message, (d, declared))
        result.append(d if declared is None else declared)
    return result


# -- when memory is given back ----------------------------------------------------------------------------


def _kernel_buffers(kernel: Kernel) -> set[int]:
    names = writes(kernel.body)
    for value in expressions(kernel.body):
        if isinstance(value, Expr):
            names |= value.reads
    return {int(n[1:]) for n in names if n[0] == "b"}


def _used(program: Program, instruction: Instruction) -> set[int]:
    if isinstance(instruction, Call):
        return _kernel_buffers(program.kernels[instruction.kernel])
    if isinstance(instruction, Library):
        return {o.buffer for o in instruction.operands}
    if isinstance(instruction, Loop):
        parts = [*instruction.start, *instruction.prologue, *instruction.recurrence, *instruction.epilogue]
        return {s.buffer for s in instruction.storages}.union(*(_used(program, i) for i in parts))
    if isinstance(instruction, Branch):
        both = [*instruction.then, *instruction.otherwise]
        return {instruction.condition.buffer}.union(*(_used(program, i) for i in both))
    return {instruction.buffer}


def _with_releases(
    program: Program, instructions: list[Instruction], kept: set[int]
) -> tuple[Instruction, ...]:
    """Give every temporary back right after the last instruction that uses it."""
    last: dict[int, int] = {}
    for position, instruction in enumerate(instructions):
        for buffer in _used(program, instruction):
            last[buffer] = position
    ends: dict[int, list[int]] = {}
    for buffer, position in last.items():
        if buffer not in kept and program.buffers[buffer].role == "temporary":
            ends.setdefault(position, []).append(buffer)
    result: list[Instruction] = []
    for position, instruction in enumerate(instructions):
        result.append(instruction)
        result += [Release(b) for b in sorted(ends.get(position, ()))]
    return tuple(result)
