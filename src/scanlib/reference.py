"""The NumPy interpreter: what every graph means (D3).  Short and slow; also `mode="reference"`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import errors
from .dims import Dim, Shape
from .errors import InternalError, StepError, UserError, UserValueError
from .graph import Apply, Constant, SharedVariable, TensorType, Variable, describe
from .ops.base import Inference, Region
from .ops.scan_op import ScanSpec

Values = dict[int, np.ndarray]


def evaluate(
    outputs: Sequence[Variable], values: Mapping[Variable, np.ndarray], shapes: bool = False
) -> list[np.ndarray]:
    """The values of `outputs`, given those of the inputs.  Only what is needed is computed (`ifelse`).

    `shapes`: those of the right shapes do, where there is no value.
    """
    known: Values = {id(v): np.asarray(a) for v, a in values.items()}
    return [_demand(v, known, shapes) for v in outputs]


def _demand(wanted: Variable, known: Values, shapes: bool) -> np.ndarray:
    stack = [wanted]
    while stack:
        v = stack[-1]
        if id(v) in known:
            stack.pop()
        elif v.owner is None:
            known[id(v)] = _leaf(v)
        else:
            missing = [u for u in _needed(v.owner, known) if id(u) not in known]
            if missing:
                stack.extend(missing)
            else:
                for u, array in zip(v.owner.outputs, apply(v.owner, known, shapes)):
                    known.setdefault(id(u), array)
    return known[id(wanted)]


def _leaf(v: Variable) -> np.ndarray:
    if isinstance(v, Constant):
        return v.data
    if isinstance(v, SharedVariable):
        return v.container[0]
    raise InternalError(f"variable '{describe(v)}' has no value")


def _needed(node: Apply, known: Values) -> Sequence[Variable]:
    """The inputs of `node` to compute next: of an ifelse first the condition, then the chosen branch."""
    if node.op.lower != Region("ifelse"):
        return node.inputs
    condition, branches = node.inputs[0], node.inputs[1:]
    if id(condition) not in known:
        return (condition,)
    half = len(branches) // 2
    return branches[:half] if known[id(condition)] else branches[half:]


class RunInference(Inference):
    """A type rule's view of arrays: the same rule that types the graph also checks every run."""

    def __init__(self, node: Apply, arrays: Sequence[np.ndarray | None]) -> None:
        super().__init__(node.inputs, node.params)
        self.arrays = arrays

    def shape(self, i: int) -> Shape:
        array = self.arrays[i]
        return self.inputs[i].type.shape if array is None else array.shape

    def value(self, i: int) -> Dim:
        array = self.arrays[i]
        return None if array is None else int(array)


def apply(node: Apply, known: Values, shapes: bool = False) -> list[np.ndarray]:
    """Run one operation: its type rule checks the inputs, its reference computes, and both must agree."""
    arrays = [known.get(id(v)) for v in node.inputs]
    try:
        types = node.op.infer(RunInference(node, arrays))
        with np.errstate(all="ignore"):
            made = node.op.reference(node.params, *arrays)
    except (UserError, InternalError):
        raise
    except (ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError) as error:
        if shapes and isinstance(error, np.linalg.LinAlgError):
            return [np.zeros(s, d) for d, s in types]  # type: ignore[arg-type]
        kind = errors.UserIndexError if isinstance(error, IndexError) else UserValueError
        raise kind(
            f"{node.op.name}({', '.join(_shown(v, a) for v, a in zip(node.inputs, arrays))}): {error}"
        ) from error
    results = made if isinstance(made, tuple) else (made,)
    if len(results) != len(node.outputs):
        raise InternalError(f"{node.op.name} gave {len(results)} results, {len(node.outputs)} were declared")
    return [_result(node, v, a, shape) for v, a, (_, shape) in zip(node.outputs, results, types)]


def _shown(v: Variable, array: np.ndarray | None) -> str:
    return f"{describe(v)}: {v.type if array is None else TensorType(array.dtype.name, array.shape)}"


def _result(node: Apply, v: Variable, value: Any, inferred: Shape) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.name != v.dtype:
        array = array.astype(v.dtype)
    actual = TensorType(v.dtype, array.shape)
    if not v.type.accepts(actual) or not TensorType(v.dtype, inferred).accepts(actual):  # type: ignore[arg-type]
        raise InternalError(f"{node.op.name} gave {actual}; declared {v.type}, inferred shape {inferred}")
    return array


def run_scan(spec: ScanSpec, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The traces of a scan and its number of steps done; `arrays` in the order of ScanOperands."""
    steps = int(arrays[0])
    first, second = 1 + spec.sequences, 1 + spec.sequences + len(spec.states)
    sequences, initials, constants = arrays[1:first], arrays[first:second], arrays[second:]
    histories = [list(a[:depth]) for a, depth in zip(initials, spec.depths)]
    traces: list[list[np.ndarray]] = [[] for _ in spec.keep]
    done = 0
    for t in range(steps):
        rows = [s[t] for s in sequences]
        rows += [h[t + tap - min(taps)] for h, taps in zip(histories, spec.states) for tap in taps]
        outputs = _step(spec, t, [*rows, *constants])
        for history, value, label in zip(histories, outputs, spec.labels):
            if value.shape != history[0].shape:
                raise UserValueError(_drift(spec, t, label, history[0].shape, value.shape))
            history.append(value)
        for trace, value, label in zip(traces, outputs, spec.labels):
            if trace and value.shape != trace[0].shape:
                raise UserValueError(_drift(spec, t, label, trace[0].shape, value.shape))
            trace.append(value)
        done = t + 1
        if spec.until and outputs[-1]:
            break
    empty = _empty_rows(spec, arrays) if done == 0 else ()
    return (*_stack(spec, traces, empty), np.asarray(done))


def _step(spec: ScanSpec, t: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    try:
        return evaluate(spec.outputs, dict(zip(spec.inputs, inputs)))
    except UserError as error:
        kind = errors.step_error(type(error))
        raise kind(f"scan '{spec.name}', step {t}: {error}") from error


def _drift(spec: ScanSpec, t: int, label: str, expected: tuple[int, ...], got: tuple[int, ...]) -> str:
    return (
        f"scan '{spec.name}', step {t}: output '{label}' has shape {got}, expected {expected} as in the "
        "step before; "
        "every step must give the same shape"
    )


def _stack(
    spec: ScanSpec, traces: list[list[np.ndarray]], empty: Sequence[tuple[int, ...]]
) -> Iterator[np.ndarray]:
    for k, (trace, keep) in enumerate(zip(traces, spec.keep)):
        kept = trace if keep is None else trace[len(trace) - min(keep, len(trace)) :]
        row = trace[0].shape if trace else empty[k]
        yield np.stack(kept) if kept else np.empty((0, *row), spec.outputs[k].dtype)


def _empty_rows(spec: ScanSpec, arrays: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """The shapes of the rows of the outputs when no step was run: those that a step on sequences of zeros gives."""
    second = 1 + spec.sequences + len(spec.states)
    rows = [np.zeros(a.shape[1:], a.dtype) for a in arrays[1 : 1 + spec.sequences]]
    for a, taps in zip(arrays[1 + spec.sequences : second], spec.states):
        # Their own values: zeros are no state of a random stream.
        rows += [a[tap - min(taps)] for tap in taps]
    try:
        made = evaluate(spec.outputs, dict(zip(spec.inputs, [*rows, *arrays[second:]])), shapes=True)
        return [a.shape for a in made]
    except UserError:
        states = [a.shape[1:] for a in arrays[1 + spec.sequences : second]]
        return [*states, *(tuple(d or 0 for d in v.type.shape) for v in spec.outputs[len(states) :])]


__all__ = ["StepError", "evaluate", "run_scan"]
