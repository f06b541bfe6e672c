"""Tracing a step: call the user's function once, and sort what it uses into inner and outer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import UserTypeError, UserValueError
from .function_arguments import as_update, pairs_of
from .graph import Constant, SharedVariable, TensorType, Variable, describe, roots, substitute, toposort
from .scan_arguments import OutputArgument, ScanArguments
from .shared import default_update_of
from .tensor.types import as_tensor_variable, is_weak


class until:
    """Returned by a step: stop after this step when `condition` (a scalar) holds."""

    def __init__(self, condition: Any) -> None:
        self.condition = as_tensor_variable(condition)
        if self.condition.ndim:
            raise UserTypeError(
                f"until: the condition is {self.condition.type}, expected a scalar; use .any() or .all()"
            )


@dataclass(frozen=True)
class Returned:
    """What a step gave back, in order: outputs, new values of shared variables, the condition to stop."""

    outputs: tuple[Any, ...]
    updates: tuple[tuple[SharedVariable, Any], ...]
    condition: Variable | None


@dataclass(frozen=True)
class Step:
    """A traced step.  `carried` are the shared variables it updates; `captured` the outer values it uses.

    sequence_inputs, state_inputs   one variable per tap, in the order of the taps given
    carried_inputs, captured_inputs stand in the step graph for `carried` and `captured`
    """

    sequence_inputs: tuple[tuple[Variable, ...], ...]
    state_inputs: tuple[tuple[Variable, ...], ...]
    carried: tuple[SharedVariable, ...]
    carried_inputs: tuple[Variable, ...]
    captured: tuple[Variable, ...]
    captured_inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    carried_outputs: tuple[Variable, ...]
    condition: Variable | None


def tap_name(name: str | None, tap: int) -> str | None:
    return None if not name else f"{name}[t{tap:+d}]" if tap else f"{name}[t]"


def trace(arguments: ScanArguments) -> Step:
    """Call `fn` on fresh inputs and cut its graph at the boundary of the step."""
    infos = arguments.outputs or ()
    sequence_inputs = tuple(
        tuple(
            Variable(
                TensorType(s.variable.dtype, s.variable.type.shape[1:]), name=tap_name(s.variable.name, tap)
            )
            for tap in s.taps
        )
        for s in arguments.sequences
    )
    state_inputs = tuple(_state_inputs(arguments, info, k) for k, info in enumerate(infos))
    flat = [v for group in (*sequence_inputs, *state_inputs) for v in group]
    given = [*flat, *arguments.non_sequences]
    _check_signature(arguments, given)
    returned = parse(arguments.fn(*given), arguments.name)
    if not returned.outputs and not returned.updates:
        raise UserValueError(
            f"scan '{arguments.name}': the step returns nothing to compute; expected outputs, or new values of shared "
            "variables"
        )
    outputs = _outputs(returned.outputs, infos, arguments)
    updates: dict[SharedVariable, Variable] = {}
    for target, value in returned.updates:
        if target in updates:
            raise UserValueError(
                f"scan '{arguments.name}': the step updates shared variable '{describe(target)}' twice"
            )
        updates[target] = as_update(target, value, f"scan '{arguments.name}'")
    return _cut(arguments, sequence_inputs, state_inputs, outputs, updates, returned.condition)


def _state_inputs(arguments: ScanArguments, info: OutputArgument, k: int) -> tuple[Variable, ...]:
    if info.initial is None:
        return ()
    shape = info.initial.type.shape[1:] if info.stacked else info.initial.type.shape
    label = state_label(arguments, k)
    return tuple(
        Variable(TensorType(info.initial.dtype, shape), name=tap_name(label, tap)) for tap in info.taps
    )


def state_label(arguments: ScanArguments, k: int) -> str:
    """What messages call state k: as its initial value, or else as the argument of the step that takes it."""
    infos = arguments.outputs or ()
    info = infos[k]
    if info.initial is not None and info.initial.name:
        return info.initial.name
    before = [len(s.taps) for s in arguments.sequences]
    before += [len(other.taps) for other in infos[:k] if other.initial is not None]
    names = _argument_names(arguments.fn)
    known = len(info.taps) == 1 and sum(before) < len(names)
    return names[sum(before)] if known else f"output {k}"


def _argument_names(fn: Any) -> list[str]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _check_signature(arguments: ScanArguments, given: Sequence[Variable]) -> None:
    try:
        signature = inspect.signature(arguments.fn)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        listed = ", ".join(describe(v) for v in given) or "nothing"
        raise UserTypeError(
            f"scan '{arguments.name}': fn{signature} is called with {len(given)} arguments ({listed}), in "
            "the order "
            f"sequences, states, non-sequences: {error}"
        ) from error


def _is_updates(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(
            isinstance(p, (list, tuple)) and len(p) == 2 and isinstance(p[0], SharedVariable) for p in value
        )
    )


def parse(value: Any, name: str) -> Returned:
    """Sort what `fn` returned: outputs, updates (a dict or pairs), `until`, in any combination."""
    outputs: list[Any] = []
    updates: list[tuple[SharedVariable, Any]] = []
    condition: Variable | None = None
    grouped = isinstance(value, (list, tuple)) and not _is_updates(value)
    for part in value if grouped else [value]:
        if isinstance(part, until):
            if condition is not None:
                raise UserValueError(
                    f"scan '{name}': the step returns two `until` conditions; combine them with |"
                )
            condition = part.condition
        elif _is_updates(part):
            updates.extend(pairs_of(part, f"scan '{name}': updates returned by the step"))
        elif isinstance(part, (list, tuple)):
            inner = parse(part, name)
            if inner.condition is not None:
                raise UserValueError(f"scan '{name}': return `until` beside the outputs, not among them")
            outputs.extend(inner.outputs)
            updates.extend(inner.updates)
        elif part is not None:
            outputs.append(part)
    return Returned(tuple(outputs), tuple(updates), condition)


def _outputs(
    values: Sequence[Any], infos: Sequence[OutputArgument], arguments: ScanArguments
) -> tuple[Variable, ...]:
    if arguments.outputs is not None and len(values) != len(infos):
        raise UserValueError(
            f"scan '{arguments.name}': fn returns {len(values)} outputs, outputs_info has {len(infos)} "
            "entries; "
            "give one entry per output, None for an output that is not fed back"
        )
    result: list[Variable] = []
    for k, value in enumerate(values):
        initial = infos[k].initial if infos else None
        try:
            result.append(as_tensor_variable(value, like=initial if is_weak(value) else None))
        except (TypeError, ValueError) as error:
            raise UserTypeError(
                f"scan '{arguments.name}': output {k} of the step is no variable: {error}"
            ) from error
    return tuple(result)


def _add_default_updates(
    targets: Iterable[Variable], updates: dict[SharedVariable, Variable], stops: Sequence[Variable]
) -> None:
    """Random streams used in a step are carried by it: what a step uses is part of the step."""
    stopped = {id(v) for v in stops}
    pending = [*targets, *updates.values()]
    while pending:
        found = []
        for v in roots(pending, stops):
            new = default_update_of(v)
            if (
                new is not None
                and isinstance(v, SharedVariable)
                and v not in updates
                and id(v) not in stopped
            ):
                updates[v] = as_update(v, new, "default update")
                found.append(updates[v])
        pending = found


def _cut(
    arguments: ScanArguments,
    sequence_inputs: tuple[tuple[Variable, ...], ...],
    state_inputs: tuple[tuple[Variable, ...], ...],
    outputs: tuple[Variable, ...],
    updates: dict[SharedVariable, Variable],
    condition: Variable | None,
) -> Step:
    """Cut the graph where it leaves the step: at the largest values that no step changes."""
    explicit = [v for v in arguments.non_sequences if v not in updates and not isinstance(v, Constant)]
    step_inputs = [v for group in (*sequence_inputs, *state_inputs) for v in group]
    conditions = () if condition is None else (condition,)
    _add_default_updates((*outputs, *conditions), updates, [*explicit, *step_inputs])
    targets = (*outputs, *updates.values(), *conditions)
    captured = _boundary(targets, [*step_inputs, *updates], explicit)
    if arguments.strict:
        _refuse_undeclared(captured, explicit, arguments.name)
    captured_inputs = [v.clone(describe(v)) for v in captured]
    carried_inputs = [v.clone(tap_name(describe(v), -1)) for v in updates]
    made = substitute(targets, dict(zip((*captured, *updates), (*captured_inputs, *carried_inputs))))
    n, m = len(outputs), len(outputs) + len(updates)
    return Step(
        sequence_inputs=sequence_inputs,
        state_inputs=state_inputs,
        carried=tuple(updates),
        carried_inputs=tuple(carried_inputs),
        captured=tuple(captured),
        captured_inputs=tuple(captured_inputs),
        outputs=tuple(made[:n]),
        carried_outputs=tuple(made[n:m]),
        condition=None if condition is None else made[m],
    )


def _boundary(
    targets: Sequence[Variable], inner: Sequence[Variable], stops: Sequence[Variable]
) -> list[Variable]:
    """The outermost variables that `targets` use and that depend on none of `inner`; no constants.

    `stops` are outer whatever they depend on.
    """
    changing = {id(v) for v in inner}
    found: dict[int, Variable] = {}

    def visit(v: Variable) -> None:
        if id(v) not in changing and not isinstance(v, Constant):
            found.setdefault(id(v), v)

    order = toposort(targets, [*stops, *inner])
    for node in order:
        if any(id(v) in changing for v in node.inputs):
            changing.update(id(v) for v in node.outputs)
    for node in order:
        if id(node.outputs[0]) in changing:
            for v in node.inputs:
                visit(v)
    for v in targets:
        visit(v)
    return list(found.values())


def _refuse_undeclared(captured: Sequence[Variable], explicit: Sequence[Variable], name: str) -> None:
    declared = {id(v) for v in explicit}
    for v in roots(captured, explicit):
        if id(v) in declared or isinstance(v, Constant):
            continue
        kind = "shared variable" if isinstance(v, SharedVariable) else "variable"
        raise UserValueError(
            f"scan '{name}': with strict=True the step may use only what it is passed, but it uses {kind} "
            f"'{describe(v)}' ({v.type}); add it to non_sequences"
        )
