"""Checks that every state keeps its type from step to step, with messages that name the cause of a drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from .errors import UserError, UserTypeError, UserValueError
from .graph import Apply, Constant, TensorType, Variable, describe, substitute
from .scan_arguments import OutputArgument, ScanArguments
from .scan_trace import Step


def adopt_weak(arguments: ScanArguments, step: Step) -> tuple[ScanArguments, Step]:
    """Give initial values that are Python numbers the dtype their step gives back, where that is consistent.

    The step is not called again: its graph is rebuilt on inputs of the new dtype.
    """
    infos = list(arguments.outputs or ())
    for _ in range(3):
        changed = False
        for k, info in enumerate(infos):
            output = step.outputs[k]
            if not info.weak or not isinstance(info.initial, Constant) or output.dtype == info.initial.dtype:
                continue
            value = info.initial.data.astype(output.dtype)
            if value != info.initial.data:
                continue
            try:
                rebuilt = _retype(step, k, output.dtype)
            except UserError:
                continue
            if rebuilt.outputs[k].dtype != output.dtype and not _wider(
                rebuilt.outputs[k].dtype, output.dtype
            ):
                continue
            infos[k] = replace(info, initial=Constant(value, info.initial.name))
            step, changed = rebuilt, True
        if not changed:
            break
    return replace(arguments, outputs=tuple(infos) or None), step


def _wider(a: str, b: str) -> bool:
    return a != b and np.result_type(a, b).name == a


def _retype(step: Step, k: int, dtype: str) -> Step:
    """The step with the inputs of state `k` of another dtype."""
    old = step.state_inputs[k]
    new = tuple(Variable(TensorType(dtype, v.type.shape), name=v.name) for v in old)
    conditions = () if step.condition is None else (step.condition,)
    made = substitute([*step.outputs, *step.carried_outputs, *conditions], dict(zip(old, new)))
    n, m = len(step.outputs), len(step.outputs) + len(step.carried_outputs)
    states = tuple(new if i == k else group for i, group in enumerate(step.state_inputs))
    return replace(
        step,
        state_inputs=states,
        outputs=tuple(made[:n]),
        carried_outputs=tuple(made[n:m]),
        condition=made[m] if conditions else None,
    )


def check_states(arguments: ScanArguments, step: Step) -> None:
    """User error unless every output that is fed back has the dtype and shape of its state."""
    for k, info in enumerate(arguments.outputs or ()):
        if info.initial is not None:
            _check_state(arguments.name, k, info, step.state_inputs[k][0], step.outputs[k])


def _check_state(name: str, k: int, info: OutputArgument, state: Variable, output: Variable) -> None:
    initial = info.initial
    assert initial is not None
    label = f"'{output.name}'" if output.name else str(k)
    start = (
        f"scan '{name}': output {label} of the step is {output.type}, its state '{state.name}' is "
        f"{state.type} "
        f"(from the initial value '{describe(initial)}')"
    )
    if output.dtype != state.dtype:
        cause = _cause(output, lambda v: v.dtype == output.dtype)
        raise UserTypeError(
            f"{start}; {cause}give the initial value dtype {output.dtype}, or return T.cast(…, "
            f"'{state.dtype}')"
        )
    if output.ndim != state.ndim:
        cause = _cause(output, lambda v: v.ndim == output.ndim)
        ndim = output.ndim + info.stacked
        fix = f"give the initial value {ndim} dimension(s), or change what the step returns"
        raise UserTypeError(f"{start}; {cause}{fix}")
    for axis, (a, b) in enumerate(zip(state.type.shape, output.type.shape)):
        if a is not None and b is not None and a != b:
            cause = _cause(output, partial(_has_dim, axis=axis, length=b))
            raise UserValueError(
                f"{start}; axis {axis} changes from {a} to {b}; {cause}"
                f"give the initial value {b} along that axis"
            )


def _has_dim(v: Variable, axis: int, length: int) -> bool:
    return v.ndim > axis and v.type.shape[axis] == length


def _cause(output: Variable, drifted: Callable[[Variable], bool]) -> str:
    """Names the first operation after which `drifted` holds: walks up as long as an input has it too."""
    node = output.owner
    if node is None:
        return ""
    while True:
        before: Sequence[Apply] = [v.owner for v in node.inputs if v.owner is not None and drifted(v)]
        if not before:
            break
        node = before[0]
    operands = ", ".join(f"{describe(v)}: {v.type}" for v in node.inputs)
    return f"the first operation that makes it so is {node.op.name}({operands}); "
