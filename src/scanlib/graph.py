"""The symbolic graph: typed variables, the operations that made them, and walks over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InternalError, MissingInputError, UserTypeError
from .operators import Operators

if TYPE_CHECKING:
    from .ops.base import Op

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
)  # fmt: skip


def check_name(name: Any) -> None:
    if not isinstance(name, str | None):
        raise UserTypeError(f"the name of a variable is a string, got {name!r:.60}")


@dataclass(frozen=True)
class TensorType:
    """dtype and shape of a variable; a dimension is an int when known before running, else None."""

    dtype: str
    shape: tuple[int | None, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        dims = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.dtype}({dims})"

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """Theano's pattern: which axes are known to be 1 long."""
        return tuple(d == 1 for d in self.shape)

    def __call__(self, name: str | None = None) -> Variable:
        """A fresh input of this type."""
        check_name(name)
        return Variable(self, name=name)

    def accepts(self, other: TensorType) -> bool:
        """Whether a value of type `other` may stand where this type is declared."""
        return (
            self.dtype == other.dtype
            and self.ndim == other.ndim
            and all(a is None or b is None or a == b for a, b in zip(self.shape, other.shape))
        )


class Variable(Operators):
    """A value of the graph: an input (owner None) or output number `index` of `owner`."""

    def __init__(
        self, type: TensorType, owner: Apply | None = None, index: int = 0, name: str | None = None
    ) -> None:
        self.type = type
        self.owner = owner
        self.index = index
        self.name = name
        # Theano's convention for random streams: (shared variable, its next value), or None.
        self.default_update: tuple[SharedVariable, Variable] | None = None

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.ndim

    def clone(self, name: str | None = None) -> Variable:
        """A fresh input of the same type."""
        return Variable(self.type, name=name or self.name)

    def __repr__(self) -> str:
        return describe(self)


class Constant(Variable):
    """A value fixed when the graph is built; `weak` marks a Python scalar (NEP 50)."""

    def __init__(self, data: np.ndarray, name: str | None = None) -> None:
        array = np.ascontiguousarray(data).reshape(np.shape(data))
        array.flags.writeable = False
        super().__init__(TensorType(array.dtype.name, array.shape), name=name)
        self.data = array
        self.text: str | None = None  # what messages call it; type rules ask for it all the time


class SharedVariable(Variable):
    """A variable with a value that lives between calls and is changed only by `updates`."""

    def __init__(
        self, value: np.ndarray, name: str | None = None, shape: tuple[int | None, ...] | None = None
    ):
        super().__init__(
            TensorType(value.dtype.name, (None,) * value.ndim if shape is None else shape), name=name
        )
        self.container: list[np.ndarray] = [value]

    def get_value(self, borrow: bool = False) -> Any:
        """The current value; a copy unless `borrow`."""
        value = self.container[0]
        return value if borrow else value.copy()

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Replace the value; dtype and number of dimensions must stay as they are."""
        from .values import convert_value

        self.container[0] = convert_value(value, self.type, self.name or "shared variable", copy=not borrow)


@dataclass(eq=False)
class Apply:
    """One use of an operation: `outputs = op(inputs; params)`."""

    op: Op
    inputs: tuple[Variable, ...]
    params: Mapping[str, Any]
    outputs: tuple[Variable, ...] = field(default=())

    @property
    def output(self) -> Variable:
        if len(self.outputs) != 1:
            raise InternalError(f"{self.op.name} has {len(self.outputs)} outputs, one was expected")
        return self.outputs[0]

    def key(self) -> tuple[Any, ...]:
        """Equal keys mean equal values: what common subexpressions are merged by."""
        return (self.op.name, tuple(id(v) for v in self.inputs), tuple(sorted(self.params.items())))


def describe(variable: Variable) -> str:
    """A short name for messages: the user's name, or the operation that made it."""
    if variable.name:
        return variable.name
    if isinstance(variable, Constant):
        if variable.text is None:
            text = np.array2string(variable.data, threshold=6, edgeitems=2)
            variable.text = text if len(text) < 40 else f"constant {variable.type}"
        return variable.text
    if variable.owner is not None:
        named = variable.owner.op.named
        if named is not None:
            return named(variable.owner, variable.index)
        suffix = f".{variable.index}" if len(variable.owner.outputs) > 1 else ""
        return f"{variable.owner.op.name}{suffix}"
    return f"<{variable.type}>"


def toposort(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Apply]:
    """Every Apply that `outputs` depend on, inputs first; `stop` variables are treated as inputs."""
    stopped = set(stop)
    order: list[Apply] = []
    done: set[Apply] = set()
    # A node whose inputs are on the stack above it is followed by None.
    stack: list[Apply | None] = [
        v.owner for v in reversed(list(outputs)) if v.owner is not None and v not in stopped
    ]
    while stack:
        node = stack.pop()
        if node is None:
            ready = stack.pop()
            assert ready is not None
            order.append(ready)
        elif node not in done:
            done.add(node)
            stack += (node, None)
            for v in node.inputs[::-1]:
                owner = v.owner
                if owner is not None and owner not in done and v not in stopped:
                    stack.append(owner)
    return order


def roots(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Variable]:
    """The variables without owner (constants too) and the `stop` variables that `outputs` are built from."""
    outputs = list(outputs)
    stop = list(stop)
    stopped = {id(v) for v in stop}
    found: dict[int, Variable] = {}

    def visit(v: Variable) -> None:
        if v.owner is None or id(v) in stopped:
            found.setdefault(id(v), v)

    for v in outputs:
        visit(v)
    for node in toposort(outputs, stop):
        for v in node.inputs:
            visit(v)
    return list(found.values())


def depends_on(outputs: Iterable[Variable], variables: Iterable[Variable]) -> bool:
    """Whether any of `outputs` is built from any of `variables`."""
    wanted = {id(v) for v in variables}
    outputs = list(outputs)
    return any(id(v) in wanted for v in outputs) or any(
        id(v) in wanted for node in toposort(outputs, variables) for v in node.inputs
    )


def substitute(
    outputs: Sequence[Variable],
    replacements: Mapping[Variable, Variable],
    rewrite: Callable[[Apply, tuple[Variable, ...]], Sequence[Variable] | None] | None = None,
) -> list[Variable]:
    """Rebuild `outputs` with variables replaced; nodes that do not change are shared, not copied.

    `rewrite(node, new_inputs)` may return the node's new outputs, or None for the default.
    """
    mapping: dict[int, Variable] = {id(k): v for k, v in replacements.items()}
    for node in toposort(outputs, replacements):
        inputs = tuple(mapping.get(id(v), v) for v in node.inputs)
        made = rewrite(node, inputs) if rewrite is not None else None
        if made is None:
            if all(a is b for a, b in zip(inputs, node.inputs)):
                continue
            made = node.op.apply(inputs, node.params).outputs
        for old, new in zip(node.outputs, made):
            if old is not new and id(old) not in mapping:
                if new.name is None and new.owner is not None:
                    new.name = old.name
                mapping[id(old)] = new
    return [mapping.get(id(v), v) for v in outputs]


def check(outputs: Sequence[Variable], inputs: Sequence[Variable], stage: str) -> None:
    """D4: types agree with their operations, no cycle, no dangling input; names `stage` when not.

    Raises MissingInputError for a variable without value (the user's mistake), InternalError otherwise.
    """
    allowed = {id(v) for v in inputs}
    position: dict[int, int] = {}
    order = toposort(outputs, inputs)
    for i, node in enumerate(order):
        position[id(node)] = i
        for v in node.inputs:
            if v.owner is not None and id(v) not in allowed and position.get(id(v.owner), i) >= i:
                raise InternalError(f"after {stage}: cycle through {describe(v)}")
        types = node.op.output_types(node.inputs, node.params)
        for v, expected in zip(node.outputs, types):
            if not expected.accepts(v.type):
                raise InternalError(
                    f"after {stage}: {describe(v)} is {v.type}, its operation gives {expected}"
                )
    for v in roots(outputs, inputs):
        if id(v) not in allowed and not isinstance(v, (Constant, SharedVariable)):
            raise MissingInputError(
                f"variable '{describe(v)}' of type {v.type} is needed but is not among the inputs: "
                "add it to `inputs`, or give it a value with `givens`"
            )


def clients(outputs: Iterable[Variable]) -> dict[int, list[tuple[Apply, int]]]:
    """For every variable (by id): the (Apply, input position) pairs that read it."""
    table: dict[int, list[tuple[Apply, int]]] = {}
    for node in toposort(outputs):
        for position, v in enumerate(node.inputs):
            table.setdefault(id(v), []).append((node, position))
    return table


def ancestors(
    outputs: Iterable[Variable], before: Mapping[int, Variable] | None = None
) -> Iterator[Variable]:
    """Every variable `outputs` depend on, themselves included, each once.

    before[id(v)]   what an input v of a step depends on in the step before
    """
    seen: set[int] = set()
    stack = list(outputs)
    while stack:
        v = stack.pop()
        if id(v) in seen:
            continue
        seen.add(id(v))
        yield v
        if v.owner is not None:
            stack.extend(v.owner.inputs)
        elif before and id(v) in before:
            stack.append(before[id(v)])


@dataclass(frozen=True)
class FunctionGraph:
    """What a compiled function computes: `outputs` (results, then new values of shared variables) from
    `inputs` (declared inputs, then the shared variables it reads)."""

    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    name: str = "function"

    @cached_property
    def order(self) -> tuple[Apply, ...]:
        """Every node, inputs first."""
        return tuple(toposort(self.outputs, self.inputs))

    @cached_property
    def settled(self) -> set[object]:
        """The passes that have nothing to do here."""
        return set()
