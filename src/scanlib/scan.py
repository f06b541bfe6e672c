"""`scan`: trace one step, and build the loop over it; `map`, `reduce`, `foldl`, `foldr` are scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import scan_arguments, scan_types
from .errors import UserTypeError, UserValueError
from .graph import Apply, Constant, SharedVariable, Variable, describe
from .ops.scan_op import ScanOperands, ScanSpec, scan_op
from .scan_arguments import OutputArgument, ScanArguments, SequenceArgument, as_list
from .scan_trace import Step, state_label, trace, until


class OrderedUpdates(dict[SharedVariable, Variable]):
    """New values of shared variables; a second, different value for the same variable is a user error."""

    def __init__(self, pairs: Any = (), **named: Any) -> None:
        super().__init__()
        self.update(pairs)

    def __setitem__(self, key: SharedVariable, value: Variable) -> None:
        if not isinstance(key, SharedVariable):
            raise UserTypeError(f"updates: expected a shared variable as key, got {key!r}")
        if key in self and self[key] is not value:
            raise UserValueError(f"updates: shared variable '{describe(key)}' is updated twice")
        super().__setitem__(key, value)

    def update(self, pairs: Any = (), **named: Any) -> None:
        for key, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
            self[key] = value

    def __add__(self, other: Mapping[SharedVariable, Variable]) -> OrderedUpdates:
        result = OrderedUpdates(self)
        result.update(other)
        return result

    def __radd__(self, other: Mapping[SharedVariable, Variable]) -> OrderedUpdates:
        return OrderedUpdates(other) + self


def scan(
    fn: Callable[..., Any],
    sequences: Any = None,
    outputs_info: Any = None,
    non_sequences: Any = None,
    n_steps: Any = None,
    truncate_gradient: int = -1,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
    profile: Any = False,
    allow_gc: bool | None = None,
    strict: bool = False,
    return_list: bool = False,
    checkpoint: int | str | None = None,
    memory_budget: int | None = None,
) -> tuple[Any, OrderedUpdates]:
    """The loop `outputs[t] = fn(sequences[t], outputs[t-1], …, non_sequences)`, as a symbolic value.

    fn             called once, on symbolic step inputs: sequences (taps in the order given), states (taps in
                   the order given), non-sequences.  Returns outputs, updates {shared: new value},
                   `until(condition)`, or a tuple of these
    sequences      variable, list, or dict(input=…, taps=[…]); iterated over the leading axis, to the shortest
    outputs_info   per output: None (mapped), the value before step 0, or dict(initial=…, taps=[…]) with a
                   leading axis that covers the deepest tap, oldest first
    non_sequences  values passed to every step; what the step uses without being passed them is found
    n_steps        int or integer scalar; negative runs backwards
    truncate_gradient   the gradient goes back this many steps; -1 all
    go_backwards   iterate over the sequences from their end
    strict         refuse variables that the step uses without being passed them
    return_list    a list of outputs even of one
    checkpoint     which states the gradient keeps; the others are computed again: None all, N every N-th, "auto"
                   as many as memory_budget allows, chosen so that the fewest steps run again (the binomial
                   schedule: Griewank and Walther 2000, ACM TOMS 26:19)
    memory_budget  bytes for these states and for what the steps being reversed need, with "auto"; by default
                   256 kB, or what grows with the root of the number of steps if that is more
    mode, profile, allow_gc     accepted, without effect

    Returns (outputs, updates): outputs is one variable, a list, or None, each with a leading axis of steps;
    updates are to be passed to `function`.

    Raises UserTypeError and UserValueError, before anything runs, for whatever can be known by then.
    """
    given = scan_arguments.normalise(
        fn, sequences, outputs_info, non_sequences, n_steps, go_backwards, name, strict, truncate_gradient,
        checkpoint, memory_budget,
    )  # fmt: skip
    step = trace(given)
    if given.outputs is not None:
        given, step = scan_types.adopt_weak(given, step)
        scan_types.check_states(given, step)
    traces, updates = _build(given, step)
    if return_list or len(traces) > 1:
        return traces, updates
    return (traces[0] if traces else None), updates


def _build(given: ScanArguments, step: Step) -> tuple[list[Variable], OrderedUpdates]:
    """The scan's node, and its outputs in the user's order."""
    infos = given.outputs or (OutputArgument(None),) * len(step.outputs)
    states = [k for k, info in enumerate(infos) if info.initial is not None]
    mapped = [k for k, info in enumerate(infos) if info.initial is None]
    steps = given.steps if given.steps is not None else _shortest(given.sequences)
    operands = ScanOperands(
        steps=steps,
        sequences=tuple(_shifted(s, tap, given.backwards) for s in given.sequences for tap in s.taps),
        initials=(*(_initial(infos[k]) for k in states), *(_stacked(v) for v in step.carried)),
        non_sequences=step.captured,
    )
    node = scan_op.apply(operands.flat(), {"spec": _spec(given, step, infos, states, mapped)})
    total = len(states) + len(step.carried)
    position = {k: i for i, k in enumerate(states)} | {k: total + i for i, k in enumerate(mapped)}
    traces = [node.outputs[position[k]] for k in range(len(infos))]
    updates = OrderedUpdates()
    for i, shared in enumerate(step.carried):
        updates[shared] = _final(node, node.outputs[len(states) + i], shared)
    return traces, updates


def _spec(
    given: ScanArguments, step: Step, infos: Sequence[OutputArgument], states: list[int], mapped: list[int]
) -> ScanSpec:
    inputs = [v for group in step.sequence_inputs for v in group]
    for k in states:
        inputs += [v for _, v in sorted(zip(infos[k].taps, step.state_inputs[k]), key=lambda pair: pair[0])]
    outputs = [*(step.outputs[k] for k in states), *step.carried_outputs, *(step.outputs[k] for k in mapped)]
    if step.condition is not None:
        outputs.append(_as_bool(step.condition))
    labels = [_label(step.outputs[k]) or state_label(given, k) for k in states]
    labels += [describe(v) for v in step.carried]
    labels += [_label(step.outputs[k]) or f"output {k}" for k in mapped]
    return ScanSpec(
        name=given.name,
        inputs=(*inputs, *step.carried_inputs, *step.captured_inputs),
        outputs=tuple(outputs),
        sequences=sum(len(s.taps) for s in given.sequences),
        states=(*(tuple(sorted(infos[k].taps)) for k in states), *((-1,),) * len(step.carried)),
        mapped=len(mapped),
        non_sequences=len(step.captured),
        until=step.condition is not None,
        keep=(None,) * len(labels),
        labels=tuple(labels),
        truncate_gradient=given.truncate_gradient,
        checkpoint=given.checkpoint,
        memory_budget=given.memory_budget,
    )


def _label(output: Variable) -> str | None:
    """The user's name of an output of the step; those of step inputs say which step they are of."""
    return output.name if output.owner is not None else None


def _as_bool(condition: Variable) -> Variable:
    from .tensor import neq

    return condition if condition.dtype == "bool" else neq(condition, 0)


def _shortest(sequences: Sequence[SequenceArgument]) -> Variable:
    """The number of steps that every sequence has an element for."""
    from .tensor import minimum

    lengths: list[Variable] = []
    known: list[int] = []
    for s in sequences:
        length = s.variable.type.shape[0]
        if length is not None:
            known.append(length - s.span)
        else:
            size = s.variable.shape[0]
            lengths.append(size - s.span if s.span else size)
    if known:
        lengths.append(Constant(np.asarray(min(known), "int64")))
    steps = lengths[0]
    for other in lengths[1:]:
        steps = minimum(steps, other)
    return steps


def _shifted(s: SequenceArgument, tap: int, backwards: bool) -> Variable:
    """The sequence whose element t is what step t sees at `tap`."""
    start, cut = tap - s.first, s.first + s.span - tap
    value = s.variable
    if start or (cut and backwards):
        # The end matters only when the sequence is then read from there.
        value = value[start:-cut] if cut and backwards else value[start:]
    return value[::-1] if backwards else value


def _initial(info: OutputArgument) -> Variable:
    """The values before step 0 with a leading axis as long as the state's depth."""
    assert info.initial is not None
    if not info.stacked:
        return _stacked(info.initial)
    return info.initial if info.initial.type.shape[0] == info.depth else info.initial[: info.depth]


def _stacked(value: Variable) -> Variable:
    from .tensor import expand_dims

    return expand_dims(value, 0)


def _final(node: Apply, values: Variable, shared: SharedVariable) -> Variable:
    """The value of a carried shared variable after the last step; its old value if there was no step."""
    steps = node.inputs[0]
    if isinstance(steps, Constant):
        return values[-1] if int(steps.data) else shared
    from .ifelse import ifelse
    from .tensor import gt

    final: Variable = ifelse(gt(steps, 0), values[-1], shared)
    return final


def map(
    fn: Callable[..., Any],
    sequences: Any,
    non_sequences: Any = None,
    truncate_gradient: int = -1,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """fn over the elements of the sequences: a scan without states."""
    return scan(
        fn, sequences, None, non_sequences,
        truncate_gradient=truncate_gradient, go_backwards=go_backwards, mode=mode, name=name,
    )  # fmt: skip


def reduce(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """The last values of a scan over the sequences."""
    outputs, updates = scan(
        fn, sequences, outputs_info, non_sequences, go_backwards=go_backwards, mode=mode, name=name
    )
    last = [v[-1] for v in as_list(outputs)]
    return (last if isinstance(outputs, list) else last[0] if last else None), updates


def foldl(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """`reduce` from the first element to the last."""
    return reduce(fn, sequences, outputs_info, non_sequences, False, mode, name)


def foldr(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """`reduce` from the last element to the first."""
    return reduce(fn, sequences, outputs_info, non_sequences, True, mode, name)


__all__ = ["OrderedUpdates", "foldl", "foldr", "map", "reduce", "scan", "until"]
