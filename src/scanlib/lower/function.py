"""Lowering of a whole function for one signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import lowered
from ..choices import lowering_choices
from ..errors import UserValueError
from ..graph import FunctionGraph, Variable, describe
from ..lengths import base_axes, multiple
from ..lowered import Expr, Int
from ..plan import Branch, Call, Input, Instruction, Library, Loop, Plan, Release
from ..statements import Kernel, expressions, writes
from .fuse import fused
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
    """Lower `graph` for a `signature` (lengths.py); lengths[i][axis] marks numbers of steps.

    `choices`: what of choices.py is on (default: what config.optimisations says).
    """
    program = Program(lowering_choices() if choices is None else choices)
    region = Region(program)
    inputs = []
    for v in graph.inputs:
        buffer = program.buffer(describe(v), v.dtype, "input")
        inputs.append(Input(buffer, len(program.initial_dims), v.ndim, v.dtype))
        for _ in range(v.ndim):
            program.slot()
    for v, given, shape in zip(graph.inputs, inputs, _shapes(graph, inputs, signature, lengths)):
        declared = tuple(_declared(region, v, shape))
        region.bind(v, row_major(given.buffer, declared, v.dtype), declared)
    region.analyse(graph.outputs, graph.inputs)
    outputs = lower_results(region, graph.outputs)
    start, steps = region.instructions()
    instructions = _with_releases(program, start + steps, {o.buffer for o in outputs})
    plan = Plan(
        tuple(program.buffers), tuple(program.initial_dims), tuple(inputs), tuple(outputs), instructions
    )
    kernels = tuple(Kernel(k.name, fused(k.body)) for k in program.kernels)
    return Lowered(plan, kernels, dict(program.step_slots), tuple(program.checks), tuple(program.reports))


def _shapes(
    graph: FunctionGraph, inputs: Sequence[Input], signature: Signature, lengths: Sequence[Sequence[bool]]
) -> list[list[Int]]:
    """The shapes of the inputs, as far as the signature tells them."""
    related = any(d < -1 for dims in signature for d in dims)
    bases = [
        lowered.dim(inputs[i].first_dim_slot + axis, SMALL + 1)
        for i, axis in (base_axes(graph) if related else ())
    ]

    def one(slot: int, told: int, is_length: bool) -> Int:
        if told >= 0:
            return told
        if told == -1:
            return lowered.dim(slot, 0 if is_length else SMALL + 1)
        base, factor = multiple(told)
        return lowered.mul(bases[base], factor)

    return [
        [one(given.first_dim_slot + axis, d, flag) for axis, (d, flag) in enumerate(zip(dims, flags))]
        for given, dims, flags in zip(inputs, signature, lengths)
    ]


def _declared(region: Region, v: Variable, shape: list[Int]) -> list[Int]:
    """The shape with the dims the variable's type declares, after checking that the argument has them."""
    result: list[Int] = []
    for axis, (declared, d) in enumerate(zip(v.type.shape, shape)):
        if declared is not None and d != declared:
            message = f"input '{describe(v)}': axis {axis} has length {{0}}, its type {v.type} says {{1}}"
            if isinstance(d, int):
                raise UserValueError(message.format(d, declared))
            region.require(lowered.compare("eq", d, declared), UserValueError, message, (d, declared))
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
