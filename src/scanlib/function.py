"""`function` makes a graph callable; `Function` is the callable: converts arguments, applies updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import graph
from ._core import Caller, Dispatcher
from .config import mode_name
from .errors import UserTypeError, UserValueError
from .function_arguments import Argument, In, Out, Param, Results, normalise
from .graph import FunctionGraph, SharedVariable, Variable, describe
from .values import convert_value

if TYPE_CHECKING:
    from .profile import Profile

# Gives the list of outputs, or the output itself where that is all a call returns.
Runner = Callable[..., Any]
# convert(i, value): value as an array of the type of input i.
Convert = Callable[[int, Any], np.ndarray]


@dataclass(frozen=True, eq=False)
class Program:
    """A function before it is compiled: its graph and how arguments, results and shared variables line up.

    The inputs of `graph` are the arguments, then `reads`; its outputs the results, then the new `writes`.
    """

    graph: FunctionGraph
    arguments: tuple[Argument, ...]
    results: Results
    reads: tuple[SharedVariable, ...]
    writes: tuple[SharedVariable, ...]
    mode: str
    profile: bool = False


def function(
    inputs: Any = None,
    outputs: Any = None,
    mode: Any = None,
    updates: Any = None,
    givens: Any = None,
    no_default_updates: Any = False,
    accept_inplace: bool = False,
    name: str | None = None,
    rebuild_strict: bool = True,
    allow_input_downcast: bool | None = None,
    profile: Any = None,
    on_unused_input: str | None = None,
    strict: bool = False,
) -> Function:
    """A callable that computes `outputs` from `inputs`, and then applies `updates` to shared variables.

    inputs                list of variables or `In`s
    outputs               one variable, a list, a dict (the result is of the same form), or None
    updates               {shared variable: new value}; every new value is computed from the old ones, and
                          none is applied unless the whole call succeeds
    givens                {variable: replacement} to be used in the graph
    mode                  "native" (compiled), "reference" (the NumPy interpreter), None for config.mode
    on_unused_input       "raise" (default), "warn" or "ignore"
    allow_input_downcast  True: inputs are cast even where that loses information
    no_default_updates    True, or a list of shared variables: without their default updates (random streams)
    profile               True: count and time calls, scans and their parts, in the function's attribute `profile`
    accept_inplace, rebuild_strict   accepted, without effect

    Raises UserTypeError, UserValueError, MissingInputError.
    """
    given = normalise(
        inputs, outputs, updates, givens, on_unused_input, allow_input_downcast, strict, no_default_updates
    )
    variables = [a.variable for a in given.arguments]
    targets = (*given.results.variables, *(value for _, value in given.updates))
    reads = tuple(v for v in graph.roots(targets, variables) if isinstance(v, SharedVariable))
    made = FunctionGraph((*variables, *reads), targets, name or "function")
    writes = tuple(target for target, _ in given.updates)
    return Function(
        Program(made, given.arguments, given.results, reads, writes, mode_name(mode), bool(profile))
    )


def _compile(program: Program, convert: Convert) -> Runner:
    fg = program.graph
    graph.check(fg.outputs, fg.inputs, "building the graph")
    unpack = program.results.form == "one" and not program.writes
    if program.mode == "reference":
        return _interpreter(fg, convert, unpack)
    from .compile import runner
    from .passes import optimise

    return runner(optimise(fg), convert, unpack, program.profile)


def _interpreter(fg: FunctionGraph, convert: Convert, unpack: bool) -> Runner:
    from .reference import evaluate

    def run(*values: Any) -> Any:
        arrays = [convert(i, value) for i, value in enumerate(values)]
        made = [np.array(a, order="C") for a in evaluate(fg.outputs, dict(zip(fg.inputs, arrays)))]
        return made[0] if unpack else made

    return run


class Function(Caller):
    """A compiled function.  Call it with values by position or by name; results are fresh arrays.

    Re-entrant: it holds no state of its own, but for the shared variables it updates.
    """

    def __init__(self, program: Program, run: Runner | None = None) -> None:
        self.program = program
        self.name = program.graph.name
        self.trust_input = False
        self._arguments = program.arguments
        self._count = len(program.arguments)
        self._containers = tuple(v.container for v in program.reads)
        self._targets = tuple(v.container for v in program.writes)
        self._results = len(program.results.variables)
        self._form = program.results.form
        # The runner checks dtype and ndim only.
        self._careful = any(a.strict or _has_static_dims(a.variable) for a in program.arguments)
        self._run = _compile(program, self._convert) if run is None else run
        # The runner alone is the whole call.
        plain = not (self._careful or self._containers or self._targets) and self._form in ("one", "list")
        self.direct = self._run if plain and isinstance(self._run, Dispatcher) else None

    @property
    def inputs(self) -> tuple[Variable, ...]:
        return tuple(a.variable for a in self._arguments)

    @property
    def outputs(self) -> tuple[Variable, ...]:
        return self.program.results.variables

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """A call that is more than running: named or missing arguments, shared variables, strict types."""
        if kwargs or len(args) != self._count:
            args = self._bind(args, kwargs)
        if self._careful:
            args = tuple(self._convert(i, v) for i, v in enumerate(args))
        made = self._run(*args, *[c[0] for c in self._containers])
        if self._form == "one":
            return self._update(made)[0] if self._targets else made
        if self._targets:
            made = self._update(made)
        if self._form == "list":
            return made
        return dict(zip(self.program.results.names, made)) if self._form == "dict" else None

    def _update(self, made: list[np.ndarray]) -> list[np.ndarray]:
        """Applied only now that every value has been computed."""
        for container, value in zip(self._targets, made[self._results :]):
            container[0] = value
        return made[: self._results]

    def _convert(self, position: int, value: Any) -> np.ndarray:
        if position >= self._count:
            return np.asarray(value)
        argument = self._arguments[position]
        label = argument.name or describe(argument.variable)
        if argument.strict and not (
            isinstance(value, np.ndarray) and value.dtype.name == argument.variable.dtype
        ):
            raise UserTypeError(
                f"{self.name}: strict input '{label}' must be an array of {argument.variable.type}, got "
                f"{value!r:.60}"
            )
        type, downcast = argument.variable.type, bool(argument.allow_downcast)
        array = convert_value(value, type, label, copy=False, allow_downcast=downcast)
        return np.require(array, requirements=["C", "A"]).reshape(array.shape)

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments in order, from what was passed by position, by name, and from defaults."""
        count = len(self._arguments)
        if len(args) > count:
            raise UserTypeError(f"{self.name}: takes {count} input(s) ({self._signature()}), got {len(args)}")
        missing = object()
        bound: list[Any] = [*args, *[missing] * (count - len(args))]
        positions = {a.name: i for i, a in enumerate(self._arguments) if a.name is not None}
        for key, value in kwargs.items():
            if key not in positions:
                raise UserTypeError(
                    f"{self.name}: no input is named '{key}'; the inputs are {self._signature()}"
                )
            if bound[positions[key]] is not missing:
                raise UserTypeError(f"{self.name}: input '{key}' was given twice, by position and by name")
            bound[positions[key]] = value
        for i, value in enumerate(bound):
            if value is missing:
                default = self._arguments[i].default
                if default is None:
                    label = self._arguments[i].name or f"number {i}"
                    raise UserTypeError(
                        f"{self.name}: input '{label}' is missing; the inputs are {self._signature()}"
                    )
                bound[i] = default.container[0]
        return tuple(bound)

    def _signature(self) -> str:
        return (
            ", ".join(f"{a.name or describe(a.variable)}: {a.variable.type}" for a in self._arguments)
            or "none"
        )

    def copy(
        self,
        share_memory: bool = False,
        swap: Mapping[SharedVariable, SharedVariable] | None = None,
        delete_updates: bool = False,
        name: str | None = None,
        profile: Any = None,
    ) -> Function:
        """The same function, with shared variables exchanged by `swap`, or without its updates."""
        program = self.program
        swap = dict(swap or {})
        for old, new in swap.items():
            if old not in (*program.reads, *program.writes):
                raise UserValueError(f"copy: '{describe(old)}' is no shared variable of {self.name}")
            if not isinstance(new, SharedVariable) or not old.type.accepts(new.type):
                raise UserTypeError(f"copy: '{describe(old)}' is {old.type}, cannot be swapped for {new!r}")
        program = replace(
            program,
            graph=replace(program.graph, name=name or self.name),
            reads=tuple(swap.get(v, v) for v in program.reads),
            writes=tuple(swap.get(v, v) for v in program.writes),
        )
        if not delete_updates:
            return Function(program, self._run)
        outputs = program.graph.outputs[: self._results]
        program = replace(program, graph=replace(program.graph, outputs=outputs), writes=())
        return Function(program)

    @property
    def peak_bytes(self) -> int | None:
        """Most bytes its buffers held at once in the last calls, results included; None if interpreted."""
        made = getattr(self._run, "specialisations", None)
        return None if made is None else max((e.last_peak_bytes for _, e in made), default=0)

    @property
    def profile(self) -> Profile | None:
        """Where the time of all calls went; None unless made with profile=True, or if interpreted."""
        made = getattr(self._run, "specialisations", None)
        if made is None or not self.program.profile:
            return None
        from .profile import profile_of

        return profile_of(self.name, [e for _, e in made])

    def free(self) -> None:
        """Accepted for Theano's sake: no memory is held between calls."""

    def __reduce__(self) -> tuple[Any, ...]:
        from . import graph_pickle  # registers how graphs are pickled

        assert graph_pickle is not None
        p = self.program
        arguments = tuple((a.name, a.default, a.strict, a.allow_downcast) for a in p.arguments)
        results = (p.results.form, p.results.names)
        return _unpickle, (p.graph, arguments, len(p.results.variables), results, p.writes, p.mode, self.name)

    def __repr__(self) -> str:
        return f"<scanlib function {self.name}({self._signature()})>"


def _unpickle(
    fg: FunctionGraph,
    arguments: Sequence[tuple[Any, ...]],
    count: int,
    results: tuple[str, tuple[str, ...]],
    writes: tuple[SharedVariable, ...],
    mode: str,
    name: str,
) -> Function:
    """The inverse of __reduce__: shared variables come with their values, kernels are compiled anew."""
    n = len(arguments)
    made = tuple(Argument(v, *a) for v, a in zip(fg.inputs, arguments))
    reads = tuple(v for v in fg.inputs[n:] if isinstance(v, SharedVariable))
    program = Program(fg, made, Results(fg.outputs[:count], *results), reads, writes, mode)
    return Function(program)


def _has_static_dims(v: Variable) -> bool:
    return any(d is not None for d in v.type.shape)


__all__ = ["Function", "In", "Out", "Param", "function"]
