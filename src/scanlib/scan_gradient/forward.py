"""Forward mode through a scan: a scan that carries, next to each state, its tangent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..differentiate import pushforward
from ..graph import Apply, Variable, substitute
from ..ops.base import is_float
from ..ops.scan_op import operands_of, spec_of
from .activity import Flow
from .builder import ScanBuilder, State


@dataclass
class _Moved:
    """The step inputs of the new scan: those of the values and, where they change, those of the tangents."""

    values: dict[Variable, Variable]
    tangents: dict[Variable, Variable]


def forward(node: Apply, tangents: Sequence[Variable | None]) -> list[Variable | None]:
    """The tangents of the outputs of the scan `node`, given those of its inputs.

    The states run again next to their tangents, so that no trace of them is kept.
    """
    spec, operands = spec_of(node), operands_of(node)
    given = {i: t for i, t in enumerate(tangents) if t is not None and is_float(node.inputs[i].dtype)}
    changed = _changed(node, set(given))
    if not changed:
        return [None] * len(node.outputs)
    builder = ScanBuilder(f"tangent of {spec.name}")
    moved = _Moved({}, {})
    _feed(node, given, builder, moved)
    states, tangent_states = _states(node, given, changed, builder, moved)
    chosen = sorted(changed)
    pushed = pushforward(
        [spec.outputs[k] for k in chosen], list(moved.tangents), list(moved.tangents.values())
    )
    results = iter(substitute(_results(node, chosen, pushed), moved.values))
    for state in states:
        state.next = next(results)
    mapped: list[int] = []
    for k in chosen:
        if k in tangent_states:
            tangent_states[k].next = next(results)
        else:
            builder.output(next(results), f"tangent of {spec.labels[k]}")
            mapped.append(k)
    builder.condition = next(results) if spec.until else None
    built = builder.build(
        operands.steps,
        truncate_gradient=spec.truncate_gradient,
        checkpoint=spec.checkpoint,
        memory_budget=spec.memory_budget,
    )
    outputs: list[Variable | None] = [None] * len(node.outputs)
    for k, trace in zip(sorted(tangent_states), built.states[len(states) :]):
        outputs[k] = trace
    for k, trace in zip(mapped, built.mapped):
        outputs[k] = trace
    return outputs


def _changed(node: Apply, given: set[int]) -> set[int]:
    """The outputs that have a tangent; states also when only their initial values have one."""
    spec = spec_of(node)
    first = 1 + spec.sequences
    second = first + len(spec.states)
    sources = [v for i, v in enumerate(spec.sequence_inputs(), start=1) if i in given]
    sources += [v for i, v in enumerate(spec.non_sequence_inputs(), start=second) if i in given]
    started = {s for s in range(len(spec.states)) if first + s in given}
    changed = Flow(spec).changed_by(sources, started)
    # A state whose initial values alone have a tangent passes it to those who read these.
    return changed | started if changed else set()


def _feed(node: Apply, given: dict[int, Variable], builder: ScanBuilder, moved: _Moved) -> None:
    """Sequences and non-sequences, with their tangents."""
    spec, operands = spec_of(node), operands_of(node)
    for i, (v, rows) in enumerate(zip(spec.sequence_inputs(), operands.sequences), start=1):
        moved.values[v] = builder.sequence(rows, v.name)
        if i in given:
            moved.tangents[v] = builder.sequence(given[i], f"tangent of {v.name or 'sequence'}")
    start = 1 + spec.sequences + len(spec.states)
    for i, (v, value) in enumerate(zip(spec.non_sequence_inputs(), operands.non_sequences), start=start):
        moved.values[v] = builder.constant(value, v.type, v.name)
        if i in given:
            moved.tangents[v] = builder.constant(given[i], v.type, f"tangent of {v.name or 'non-sequence'}")


def _states(
    node: Apply, given: dict[int, Variable], changed: set[int], builder: ScanBuilder, moved: _Moved
) -> tuple[list[State], dict[int, State]]:
    """The states, and those of the tangents by number; the latter come last."""
    from ..tensor import zeros_like

    spec, operands = spec_of(node), operands_of(node)
    states: list[State] = []
    for taps, variables, initial, label in zip(
        spec.states, spec.state_inputs(), operands.initials, spec.labels
    ):
        state = builder.state(initial, label, taps, variables[0].type)
        moved.values.update(zip(variables, state.steps))
        states.append(state)
    tangent_states: dict[int, State] = {}
    for s in sorted(k for k in changed if k < len(spec.states)):
        start = given.get(1 + spec.sequences + s)
        initial = zeros_like(operands.initials[s]) if start is None else start
        variables = spec.state_inputs()[s]
        state = builder.state(initial, f"tangent of {spec.labels[s]}", spec.states[s], variables[0].type)
        moved.tangents.update(zip(variables, state.steps))
        tangent_states[s] = state
    return states, tangent_states


def _results(node: Apply, chosen: Sequence[int], pushed: Sequence[Variable | None]) -> list[Variable]:
    """Next values of the states, tangents of the chosen outputs, and the condition."""
    from ..tensor import zeros_like

    spec = spec_of(node)
    made = [zeros_like(spec.outputs[k]) if t is None else t for k, t in zip(chosen, pushed)]
    return [*spec.state_outputs(), *made, *([spec.outputs[-1]] if spec.until else [])]
