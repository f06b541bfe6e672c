"""The arguments of `scan`, checked and brought into one frozen record before anything is traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UserTypeError, UserValueError
from .graph import Constant, Variable, describe
from .tensor.types import as_tensor_variable, is_weak


@dataclass(frozen=True)
class SequenceArgument:
    """A sequence and its taps in the order given."""

    variable: Variable
    taps: tuple[int, ...]

    @property
    def first(self) -> int:
        return min(*self.taps, 0)

    @property
    def span(self) -> int:
        """How many fewer steps than elements there are."""
        return max(*self.taps, 0) - self.first


@dataclass(frozen=True)
class OutputArgument:
    """One entry of outputs_info: a state, or a mapped output when `initial` is None.

    With the one tap -1 `initial` is the value before step 0; else it has a leading axis, oldest first.
    `weak` marks a Python number, which has no dtype of its own.
    """

    initial: Variable | None
    taps: tuple[int, ...] = ()
    weak: bool = False

    @property
    def depth(self) -> int:
        return -min(self.taps)

    @property
    def stacked(self) -> bool:
        return self.taps != (-1,)


@dataclass(frozen=True)
class ScanArguments:
    """What a scan is asked to do.  `outputs` is None when every output is mapped and their number is fn's."""

    fn: Callable[..., Any]
    name: str
    sequences: tuple[SequenceArgument, ...]
    outputs: tuple[OutputArgument, ...] | None
    non_sequences: tuple[Variable, ...]
    steps: Variable | None
    backwards: bool
    strict: bool
    truncate_gradient: int
    checkpoint: int | str | None
    memory_budget: int | None


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _taps(given: Any, default: int, what: str) -> tuple[int, ...]:
    if given is None:
        return (default,)
    items = given if isinstance(given, (list, tuple, range, np.ndarray)) else [given]
    taps: list[int] = []
    for tap in items:
        if isinstance(tap, bool) or not isinstance(tap, (int, np.integer)):
            raise UserTypeError(f"{what}: taps must be integers, got {tap!r}")
        taps.append(int(tap))
    if not taps:
        raise UserValueError(f"{what}: `taps` is empty; leave it out for the default [{default}]")
    if len(set(taps)) != len(taps):
        raise UserValueError(f"{what}: a tap stands twice in {taps}; list each once")
    return tuple(taps)


def _refuse_keys(entry: Mapping[str, Any], allowed: tuple[str, ...], what: str) -> None:
    for key in entry:
        if key not in allowed:
            raise UserValueError(f"{what}: unknown key {key!r}, expected {' or '.join(map(repr, allowed))}")


def _variable(value: Any, what: str) -> Variable:
    try:
        return as_tensor_variable(value)
    except (UserTypeError, UserValueError) as error:
        raise type(error)(f"{what}: {error}") from error


def _sequence(entry: Any, position: int, name: str) -> SequenceArgument:
    what = f"scan '{name}': sequence {position}"
    given = entry if isinstance(entry, Mapping) else {"input": entry}
    _refuse_keys(given, ("input", "taps"), what)
    if given.get("input") is None:
        raise UserTypeError(f"{what}: nothing to iterate over; give a variable or dict(input=…, taps=…)")
    variable = _variable(given["input"], what)
    if variable.name:
        what += f" '{variable.name}'"
    if variable.ndim == 0:
        raise UserTypeError(
            f"{what} is {variable.type}, expected at least one dimension to iterate over; "
            "pass a value that does not change as a non-sequence"
        )
    result = SequenceArgument(variable, _taps(given.get("taps"), 0, what))
    length = variable.type.shape[0]
    if length is not None and length < result.span:
        raise UserValueError(
            f"{what} has {length} elements, its taps {list(result.taps)} need at least {result.span}"
        )
    return result


def _output(entry: Any, position: int, name: str) -> OutputArgument:
    what = f"scan '{name}': outputs_info[{position}]"
    if entry is None:
        return OutputArgument(None)
    given = entry if isinstance(entry, Mapping) else {"initial": entry}
    _refuse_keys(given, ("initial", "taps", "inplace"), what)
    value = given.get("initial")
    if value is None:
        if given.get("taps") is not None:
            raise UserValueError(
                f"{what}: taps {given['taps']!r} were given without `initial`: the values before step 0 "
                "are missing"
            )
        return OutputArgument(None)
    taps = _taps(given.get("taps"), -1, what)
    late = [t for t in taps if t >= 0]
    if late:
        raise UserValueError(f"{what}: tap {late[0]} of a state is not in the past; expected -1, -2, …")
    result = OutputArgument(_variable(value, what), taps, is_weak(value))
    if result.stacked:
        _check_cover(result, what)
    return result


def _check_cover(state: OutputArgument, what: str) -> None:
    initial = state.initial
    assert initial is not None
    if initial.ndim == 0:
        raise UserTypeError(
            f"{what}: initial value '{describe(initial)}' is {initial.type}; with taps {list(state.taps)} "
            "it needs "
            f"a leading axis of {state.depth} values, oldest first"
        )
    length = initial.type.shape[0]
    if length is not None and length < state.depth:
        raise UserValueError(
            f"{what}: initial value '{describe(initial)}' holds {length} steps, taps {list(state.taps)} need "
            f"{state.depth}: give that many, oldest first"
        )


def _steps(n_steps: Any, name: str) -> tuple[Variable | None, bool]:
    """The number of steps, if given, and whether its sign reverses the direction."""
    if n_steps is None:
        return None, False
    what = f"scan '{name}': n_steps"
    variable = n_steps if isinstance(n_steps, Variable) else None
    if variable is None:
        array = np.asarray(n_steps)
        if array.dtype.kind not in "iu" or array.ndim:
            raise UserTypeError(f"{what} must be an integer, got {n_steps!r}")
        variable = Constant(array.astype("int64"))
    if not variable.dtype.startswith(("int", "uint")) or variable.ndim:
        raise UserTypeError(
            f"{what} '{describe(variable)}' is {variable.type}, expected an integer scalar; use T.cast(…, "
            "'int64')"
        )
    if isinstance(variable, Constant):
        count = int(variable.data)
        return Constant(np.asarray(abs(count), "int64")), count < 0
    if variable.dtype != "int64":
        from .tensor import cast

        variable = cast(variable, "int64")
    return variable, False


def _check_checkpoint(checkpoint: Any, memory_budget: Any, what: str) -> None:
    def positive(value: Any) -> bool:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) > 0

    if not (
        checkpoint is None or positive(checkpoint) or (isinstance(checkpoint, str) and checkpoint == "auto")
    ):
        raise UserValueError(
            f"{what}: checkpoint must be None, 'auto', or a positive number of steps, got {checkpoint!r}"
        )
    if memory_budget is None:
        return
    if not positive(memory_budget):
        raise UserValueError(
            f"{what}: memory_budget must be a positive number of bytes, got {memory_budget!r}"
        )
    if checkpoint != "auto":
        raise UserValueError(f"{what}: memory_budget needs checkpoint='auto', got checkpoint={checkpoint!r}")


def normalise(
    fn: Any,
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any,
    n_steps: Any,
    go_backwards: bool,
    name: str | None,
    strict: bool,
    truncate_gradient: int,
    checkpoint: int | str | None,
    memory_budget: int | None,
) -> ScanArguments:
    """The record of one scan; every mistake that needs no tracing is reported here."""
    if name is None:
        name = str(getattr(fn, "__name__", "scan"))
        name = "scan" if name == "<lambda>" else name
    if not callable(fn):
        raise UserTypeError(f"scan '{name}': fn must be callable, got {type(fn).__name__}")
    if isinstance(truncate_gradient, bool) or not isinstance(truncate_gradient, (int, np.integer)):
        raise UserTypeError(f"scan '{name}': truncate_gradient must be an integer, got {truncate_gradient!r}")
    if truncate_gradient == 0 or truncate_gradient < -1:
        raise UserValueError(
            f"scan '{name}': truncate_gradient must be -1 or positive, got {truncate_gradient}"
        )
    _check_checkpoint(checkpoint, memory_budget, f"scan '{name}'")
    steps, reverse = _steps(n_steps, name)
    found = tuple(_sequence(entry, i, name) for i, entry in enumerate(as_list(sequences)))
    if steps is None and not found:
        raise UserValueError(
            f"scan '{name}': the number of steps is unknown: there is no sequence to take it from; give "
            "n_steps"
        )
    outputs = tuple(_output(entry, i, name) for i, entry in enumerate(as_list(outputs_info)))
    return ScanArguments(
        fn=fn,
        name=name,
        sequences=found,
        outputs=outputs or None,
        non_sequences=tuple(
            _variable(v, f"scan '{name}': non_sequences[{k}]") for k, v in enumerate(as_list(non_sequences))
        ),
        steps=steps,
        backwards=bool(go_backwards) != reverse,
        strict=bool(strict),
        truncate_gradient=int(truncate_gradient),
        checkpoint=int(checkpoint) if isinstance(checkpoint, np.integer) else checkpoint,
        memory_budget=None if memory_budget is None else int(memory_budget),
    )
