"""The row of the scan itself: a step graph, and how its inputs and outputs line up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .. import dims
from ..dims import Shape
from ..graph import Apply, FunctionGraph, Variable
from .base import Inference, Op, Region


@dataclass(frozen=True, eq=False)
class ScanSpec:
    """A step graph and the roles of its variables.

    inputs    step inputs: one per sequence; then for each state one per tap, oldest first; then non-sequences
    outputs   next value of each state; then mapped outputs; then, if `until`, a bool scalar: stop after this step
    states    the taps of each state, ascending, e.g. ((-2, -1), (-1,)); its depth is -min(taps)
    keep      per output (states, then mapped): None the whole trace, k its last k steps, 0 nothing
    labels    per output, the name messages use

    The Apply's inputs are: number of steps (int64 scalar); sequences (any length ≥ steps; a sequence with
    several taps stands once per tap, already shifted); initial states, each with a leading axis as long as the
    state's depth, oldest first; non-sequences.  Its outputs are the traces of states (without the initial
    values) and of mapped outputs, each with a leading time axis (min(keep, steps) long when keep is a number),
    and last the number of steps done (int64 scalar).
    """

    name: str
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    sequences: int
    states: tuple[tuple[int, ...], ...]
    mapped: int
    non_sequences: int
    until: bool
    keep: tuple[int | None, ...]
    labels: tuple[str, ...]
    truncate_gradient: int = -1
    checkpoint: int | str | None = None
    memory_budget: int | None = None

    @cached_property
    def step(self) -> FunctionGraph:
        """The step graph."""
        return FunctionGraph(self.inputs, self.outputs, self.name)

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(-min(taps) for taps in self.states)

    def sequence_inputs(self) -> tuple[Variable, ...]:
        return self.inputs[: self.sequences]

    def state_inputs(self) -> tuple[tuple[Variable, ...], ...]:
        """Step inputs of each state, one per tap, oldest first."""
        groups, position = [], self.sequences
        for taps in self.states:
            groups.append(self.inputs[position : position + len(taps)])
            position += len(taps)
        return tuple(groups)

    def non_sequence_inputs(self) -> tuple[Variable, ...]:
        return self.inputs[len(self.inputs) - self.non_sequences :]

    def state_outputs(self) -> tuple[Variable, ...]:
        return self.outputs[: len(self.states)]

    def mapped_outputs(self) -> tuple[Variable, ...]:
        return self.outputs[len(self.states) : len(self.states) + self.mapped]

    def condition(self) -> Variable | None:
        return self.outputs[-1] if self.until else None


@dataclass(frozen=True)
class ScanOperands:
    """The inputs of a scan's Apply by role."""

    steps: Variable
    sequences: tuple[Variable, ...]
    initials: tuple[Variable, ...]
    non_sequences: tuple[Variable, ...]

    def flat(self) -> tuple[Variable, ...]:
        return (self.steps, *self.sequences, *self.initials, *self.non_sequences)


def spec_of(node: Apply) -> ScanSpec:
    spec = node.params["spec"]
    assert isinstance(spec, ScanSpec)
    return spec


def operands_of(node: Apply) -> ScanOperands:
    spec = spec_of(node)
    first = 1 + spec.sequences
    second = first + len(spec.states)
    inputs = node.inputs
    return ScanOperands(inputs[0], inputs[1:first], inputs[first:second], inputs[second:])


def _infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    spec: ScanSpec = ctx.params["spec"]
    steps = ctx.value(0)
    message = (
        f"scan '{spec.name}': the number of steps is {{0}}, expected 0 or more; "
        "a sequence is shorter than its taps need, or n_steps is negative"
    )
    ctx.require("ge", steps, 0, message)
    for i in range(1, 1 + spec.sequences):
        message = f"scan '{spec.name}': sequence '{ctx.name(i)}' has {{0}} steps, but {{1}} are to be run"
        ctx.require("ge", ctx.shape(i)[0], steps, message)
    for j, depth in enumerate(spec.depths):
        i = 1 + spec.sequences + j
        message = f"scan '{spec.name}': the initial value of '{spec.labels[j]}' covers {{0}} steps, its taps need {{1}}"
        ctx.require("ge", ctx.shape(i)[0], depth, message)
    types: list[tuple[str, Shape]] = []
    for k, output in enumerate(spec.outputs[: len(spec.keep)]):
        length = None if spec.until else steps
        keep = spec.keep[k]
        if keep is not None:
            length = 0 if keep == 0 else dims.minimum(keep, length)
        row = ctx.shape(1 + spec.sequences + k)[1:] if k < len(spec.states) else output.type.shape
        types.append((output.dtype, (length, *row)))
    types.append(("int64", ()))
    return types


def _reference(params: Any, *arrays: Any) -> Any:
    from ..reference import run_scan

    return run_scan(params["spec"], arrays)


def _gradient(node: Apply, cotangents: Sequence[Variable | None]) -> Sequence[Variable | None]:
    from ..scan_gradient import reverse

    return reverse(node, cotangents)


def _forward(node: Apply, tangents: Sequence[Variable | None]) -> Sequence[Variable | None]:
    from ..scan_gradient import forward

    return forward(node, tangents)


def _named(node: Apply, k: int) -> str:
    spec = spec_of(node)
    return f"trace of {spec.labels[k]}" if k < len(spec.labels) else f"steps of {spec.name}"


scan_op = Op("scan", _infer, _reference, Region("scan"), _gradient, _forward, named=_named)
