"""From a graph to something that runs: specialise per signature, emit, compile, hand over to the core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import errors, jit
from ._core import Dispatcher, Executable
from .choices import lowering_choices
from .collector import uncollected
from .emit_llvm import emit_modules
from .errors import InternalError, UserValueError
from .graph import FunctionGraph, Variable
from .lengths import base_axes, step_axes
from .lower import Lowered, lower
from .plan import Plan

# What all functions share is made when the library is imported, not with the first of them.
jit.machine()

Signature = tuple[tuple[int, ...], ...]

# What the statuses of library kernels that a user's values cause mean.
_STATUSES = {
    "singular": "the matrix is singular, expected a regular one",
    "not_positive_definite": "the matrix is not positive definite, expected eigenvalues above 0; where rounding is the "
    "cause, add a small multiple of the identity",
    "not_converged": "no convergence, expected finite elements",
    "bad_parameter": "a parameter is outside of its domain",
}


def runner(
    graph: FunctionGraph,
    convert: Callable[[int, Any], np.ndarray] | None = None,
    unpack: bool = False,
    profile: bool = False,
) -> Dispatcher:
    """A callable from one array per input to the list of outputs; compiles at the first call per signature.

    `convert(i, value)` makes an array of input i's type of a value that is not one yet.  With `unpack` the callable
    gives the first output itself; with `profile` calls are counted and timed.
    """
    lengths = step_axes(graph)
    choices = lowering_choices()

    def specialise(signature: Signature) -> Executable:
        executable = compile_graph(graph, signature, lengths, choices)
        if profile:
            executable.start_profile()
        return executable

    def as_array(i: int, value: Any) -> np.ndarray:
        return np.require(np.asarray(value, dtype=graph.inputs[i].dtype), requirements=["C", "A"])

    return Dispatcher(
        specialise,
        convert or as_array,
        [v.dtype for v in graph.inputs],
        [v.ndim for v in graph.inputs],
        lengths,
        unpack,
        base_axes(graph),
    )


@uncollected()
def compile_graph(
    graph: FunctionGraph,
    signature: Signature,
    lengths: Sequence[Sequence[bool]],
    choices: frozenset[str] | None = None,
) -> Executable:
    """An executable for arguments of this signature."""
    lowered = lower(graph, signature, lengths, choices)
    plan = lowered.plan
    texts = emit_modules(lowered.kernels, [b.dtype for b in plan.buffers], lowered.step_slots, _scalars(plan))
    code = jit.load(texts)
    return Executable(plan, jit.addresses(code, len(lowered.kernels)), _failure(graph.name, lowered), code)


def _scalars(plan: Plan) -> frozenset[int]:
    """Buffers of one number: inputs without axes, and memory that is as large as a float."""
    small = [
        i
        for i, b in enumerate(plan.buffers)
        if b.role == "temporary" and b.dtype[0] == "f" and b.bytes_slot >= 0
        if plan.initial_dims[b.bytes_slot] == np.dtype(b.dtype).itemsize
    ]
    return frozenset([*small, *(i.buffer for i in plan.inputs if i.ndim == 0)])


def _failure(name: str, lowered: Lowered) -> Callable[..., Exception]:
    """Turns what the core reports into the error a user sees."""

    def failure(
        kind: str, code: int, values: tuple[int, int, int], path: list[tuple[str, int]], instruction: str
    ) -> Exception:
        where = "".join(
            f"scan '{scan}', step {step}: " if step >= 0 else f"scan '{scan}': " for scan, step in path
        )
        if kind == "check":
            record = lowered.checks[code - 1]
            error = record.kind
            if path and path[-1][1] >= 0:
                error = errors.step_error(error)
            return error(where + record.message.format(*values))
        if kind == "library":
            return _library_failure(code, where, instruction)
        if kind == "memory":
            purpose = f" for {instruction}" if instruction else ""
            return MemoryError(f"{name}: {where}{code} bytes{purpose} could not be allocated")
        if kind == "steps":
            return UserValueError(f"{name}: {where}the number of steps is {code}, expected 0 or more")
        return InternalError(f"{name}: {where}{instruction}: {kind} {code} {values}")

    return failure


def _library_failure(code: int, where: str, instruction: str) -> Exception:
    from ._core import library_statuses

    status = {number: status for status, number in library_statuses().items()}.get(code, f"status {code}")
    kind = errors.step_error(UserValueError) if where else UserValueError
    return kind(f"{where}{instruction}: {_STATUSES.get(status, status)}")


def sequence_inputs(graph: FunctionGraph) -> Sequence[Variable]:
    """The inputs whose leading axis counts steps (for tests)."""
    return [v for v, axes in zip(graph.inputs, step_axes(graph)) if axes and axes[0]]
