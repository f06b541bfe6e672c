"""What `function` was asked for: inputs, outputs, updates and givens, checked and in one shape."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UserTypeError, UserValueError
from .graph import Constant, SharedVariable, Variable, describe, roots, substitute, toposort
from .shared import default_update_of


class In:
    """An input of a function with what Theano lets one say about it.

    variable         the symbolic variable
    name             keyword of the call (the variable's own name by default)
    value            default value, or a shared variable to take it from
    update           expression: the default value becomes this after each call
    strict           no conversion at all of what is passed
    allow_downcast   True: convert whatever the loss; None: only Python floats to config.floatX
    """

    def __init__(
        self,
        variable: Variable,
        name: str | None = None,
        value: Any = None,
        update: Any = None,
        mutable: bool | None = None,
        borrow: bool | None = None,
        strict: bool = False,
        allow_downcast: bool | None = None,
        autoname: bool = True,
        implicit: bool | None = None,
        default: Any = None,
    ) -> None:
        if not isinstance(variable, Variable):
            raise UserTypeError(f"In: expected a symbolic variable, got {type(variable).__name__}")
        self.variable = variable
        self.name = name if name is not None else (variable.name if autoname else None)
        self.value = default if value is None else value
        self.update = update
        self.strict = strict
        self.allow_downcast = allow_downcast


Param = In


class Out:
    """An output of a function; `borrow` is accepted and has no effect (results are always fresh arrays)."""

    def __init__(self, variable: Any, borrow: bool = False) -> None:
        self.variable = variable
        self.borrow = borrow


@dataclass(frozen=True)
class Argument:
    """One declared input: `default` holds the value used when the call gives none."""

    variable: Variable
    name: str | None
    default: SharedVariable | None
    strict: bool
    allow_downcast: bool | None


@dataclass(frozen=True)
class Results:
    """How results are handed back: as "one" value, a "list", a "dict" by `names`, or "none"."""

    variables: tuple[Variable, ...]
    form: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class FunctionArguments:
    arguments: tuple[Argument, ...]
    results: Results
    updates: tuple[tuple[SharedVariable, Variable], ...]


def pairs_of(pairs: Any, what: str) -> list[tuple[Any, Any]]:
    """A dict or a list of pairs as a list of pairs; a user error for anything else."""
    if pairs is None:
        return []
    items = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
    for item in items:
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise UserTypeError(f"{what}: expected a dict or a list of pairs, got an entry {item!r}")
    return [(a, b) for a, b in items]


def as_update(variable: SharedVariable, value: Any, what: str) -> Variable:
    """`value` as the next value of `variable`; a user error unless dtype and ndim are the variable's."""
    from .tensor.types import as_tensor_variable

    if not isinstance(variable, SharedVariable):
        raise UserTypeError(f"{what}: expected a shared variable to update, got {variable!r}")
    weak = isinstance(value, (int, float)) and not isinstance(value, np.generic)
    new = as_tensor_variable(np.asarray(value).astype(variable.dtype) if weak else value)
    if weak and new.data != value:  # type: ignore[attr-defined]
        raise UserTypeError(
            f"{what}: {value!r} does not fit the dtype {variable.dtype} of '{describe(variable)}'"
        )
    if new.dtype != variable.dtype or new.ndim != variable.ndim:
        fix = (
            f"T.cast(…, '{variable.dtype}')"
            if new.ndim == variable.ndim
            else f"reshape it to {variable.ndim}-d"
        )
        raise UserTypeError(
            f"{what}: the new value of shared variable '{describe(variable)}' is {new.type}, expected "
            f"{variable.type} as the variable itself: {fix}"
        )
    return new


def _arguments(inputs: Any, allow_downcast: bool | None, strict: bool) -> list[tuple[Argument, Any]]:
    if inputs is None:
        inputs = []
    if isinstance(inputs, (Variable, In)) or not isinstance(inputs, Iterable):
        raise UserTypeError("function: `inputs` must be a list of variables, even of one")
    result: list[tuple[Argument, Any]] = []
    for position, given in enumerate(inputs):
        if isinstance(given, tuple) and len(given) == 2:
            given = In(given[0], value=given[1])
        spec = given if isinstance(given, In) else In(given) if isinstance(given, Variable) else None
        if spec is None:
            raise UserTypeError(
                f"function: input {position} is a {type(given).__name__}, expected a symbolic variable or "
                "an In"
            )
        if isinstance(spec.variable, (SharedVariable, Constant)):
            kind = "a shared variable" if isinstance(spec.variable, SharedVariable) else "a constant"
            raise UserTypeError(
                f"function: input '{describe(spec.variable)}' is {kind}: it has a value already; use "
                "`givens` to replace it"
            )
        downcast = allow_downcast if spec.allow_downcast is None else spec.allow_downcast
        default = _default(spec, downcast)
        argument = Argument(spec.variable, spec.name, default, spec.strict or strict, downcast)
        result.append((argument, spec.update))
    _refuse_duplicates([a.variable for a, _ in result])
    return result


def _default(spec: In, allow_downcast: bool | None) -> SharedVariable | None:
    if spec.value is None or isinstance(spec.value, SharedVariable):
        return spec.value
    from .values import convert_value

    name = f"default value of '{describe(spec.variable)}'"
    value = convert_value(
        spec.value, spec.variable.type, name, copy=True, allow_downcast=bool(allow_downcast)
    )
    return SharedVariable(value, spec.name, spec.variable.type.shape)


def _refuse_duplicates(variables: Sequence[Variable]) -> None:
    seen: set[int] = set()
    for v in variables:
        if id(v) in seen:
            raise UserValueError(
                f"function: variable '{describe(v)}' stands twice among the inputs; list it once"
            )
        seen.add(id(v))


def _results(outputs: Any) -> Results:
    from .tensor.types import as_tensor_variable

    def convert(value: Any, what: str) -> Variable:
        value = value.variable if isinstance(value, Out) else value
        try:
            return as_tensor_variable(value)
        except (TypeError, ValueError) as error:
            raise UserTypeError(f"function: {what} is no variable: {error}") from error

    if outputs is None:
        return Results((), "none")
    if isinstance(outputs, Mapping):
        names = tuple(outputs)
        if not all(isinstance(n, str) for n in names):
            raise UserTypeError("function: the keys of a dict of outputs must be strings")
        return Results(tuple(convert(outputs[n], f"output '{n}'") for n in names), "dict", names)
    if isinstance(outputs, (list, tuple)):
        return Results(tuple(convert(v, f"output {i}") for i, v in enumerate(outputs)), "list")
    return Results((convert(outputs, "the output"),), "one")


def replacements(pairs: Any, what: str) -> dict[Variable, Variable]:
    """{variable: what to put in its place}, checked; `what` names the argument in messages."""
    from .tensor.types import as_tensor_variable

    result: dict[Variable, Variable] = {}
    for old, value in pairs_of(pairs, what):
        if not isinstance(old, Variable):
            raise UserTypeError(f"{what}: expected a variable to replace, got {old!r}")
        if old in result:
            raise UserValueError(f"{what}: variable '{describe(old)}' is replaced twice")
        weak = isinstance(value, (int, float, list)) and not isinstance(value, np.generic)
        new = as_tensor_variable(np.asarray(value).astype(old.dtype) if weak else value)
        if new.dtype != old.dtype or new.ndim != old.ndim:
            raise UserTypeError(
                f"{what}: '{describe(old)}' is {old.type}, its replacement is {new.type}; "
                "dtype and number of dimensions must be equal: cast or reshape the replacement"
            )
        result[old] = new
    return result


def _default_updates(
    targets: Sequence[Variable],
    updates: dict[SharedVariable, Variable],
    inputs: Sequence[Variable],
    skip: Any,
) -> dict[SharedVariable, Variable]:
    """Add the default updates of every shared variable that is read, found until nothing new appears."""
    if skip is True:
        return updates
    skipped = {id(v) for v in skip} if isinstance(skip, (list, tuple, set)) else set()
    pending = [*targets, *updates.values()]
    while pending:
        found: list[Variable] = []
        for v in roots(pending, inputs):
            new = default_update_of(v)
            if (
                isinstance(v, SharedVariable)
                and new is not None
                and v not in updates
                and id(v) not in skipped
            ):
                updates[v] = as_update(v, new, "default update")
                found.append(updates[v])
        pending = found
    return updates


def normalise(
    inputs: Any,
    outputs: Any,
    updates: Any,
    givens: Any,
    on_unused_input: str | None,
    allow_input_downcast: bool | None,
    strict: bool,
    no_default_updates: Any,
) -> FunctionArguments:
    """Everything `function` was given, checked; errors are user errors."""
    declared = _arguments(inputs, allow_input_downcast, strict)
    arguments = tuple(a for a, _ in declared)
    variables = [a.variable for a in arguments]
    results = _results(outputs)
    table: dict[SharedVariable, Variable] = {}
    for target, value in pairs_of(updates, "updates"):
        if target in table:
            raise UserValueError(f"updates: shared variable '{describe(target)}' is updated twice")
        table[target] = as_update(target, value, "updates")
    for argument, update in declared:
        if update is not None:
            if argument.default is None:
                raise UserValueError(f"In: '{argument.name}' has an update but no default value to update")
            table[argument.default] = as_update(argument.default, update, "update of an input")
    replaced = replacements(givens, "givens")
    targets = substitute([*results.variables, *table.values()], replaced) if replaced else None
    if targets is not None:
        results = Results(tuple(targets[: len(results.variables)]), results.form, results.names)
        table = dict(zip(table, targets[len(results.variables) :]))
    table = _default_updates(results.variables, table, variables, no_default_updates)
    _check_unused(arguments, [*results.variables, *table.values()], on_unused_input)
    return FunctionArguments(arguments, results, tuple(table.items()))


def _check_unused(arguments: Sequence[Argument], targets: Sequence[Variable], policy: str | None) -> None:
    policy = "raise" if policy is None else policy
    if policy not in ("raise", "warn", "ignore"):
        raise UserValueError(f"on_unused_input: expected 'raise', 'warn' or 'ignore', got {policy!r}")
    variables = [a.variable for a in arguments]
    used = {id(v) for v in targets} | {id(v) for node in toposort(targets, variables) for v in node.inputs}
    for v in variables:
        if id(v) in used or policy == "ignore":
            continue
        message = (
            f"function: input '{describe(v)}' is not used by any output or update; remove it, or pass "
            "on_unused_input='ignore'"
        )
        if policy == "raise":
            raise UserValueError(message)
        warnings.warn(message, stacklevel=4)


__all__ = [
    "Argument",
    "FunctionArguments",
    "In",
    "Out",
    "Param",
    "Results",
    "as_update",
    "normalise",
    "pairs_of",
    "replacements",
]
