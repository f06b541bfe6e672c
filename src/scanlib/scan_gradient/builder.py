"""Building a scan part by part, for derivatives: roles are named here, positions only in ScanSpec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph import Apply, Constant, TensorType, Variable, substitute, toposort
from ..ops.scan_op import ScanSpec, scan_op


@dataclass(frozen=True)
class Row:
    """A sequence or non-sequence of the scan: the operand and the step input it is bound to."""

    step: Variable
    operand: Variable


@dataclass
class State:
    """A state; `steps` are its step inputs, one per tap, oldest first; `next` is set before building."""

    steps: tuple[Variable, ...]
    taps: tuple[int, ...]
    initial: Variable
    label: str
    next: Variable | None = None

    @property
    def value(self) -> Variable:
        """The newest of the earlier values: the only one of a one-tap state."""
        return self.steps[-1]


@dataclass(frozen=True)
class Built:
    """The traces of the states and mapped outputs, and the number of steps done."""

    states: tuple[Variable, ...]
    mapped: tuple[Variable, ...]
    done: Variable


def row_type(operand: Variable) -> TensorType:
    return TensorType(operand.dtype, operand.type.shape[1:])


class ScanBuilder:
    """Collects the parts of a scan; outer variables that the step uses become non-sequences by themselves."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequences: list[Row] = []
        self.states: list[State] = []
        self.constants: list[Row] = []
        self.mapped: list[tuple[Variable, str]] = []
        self.condition: Variable | None = None

    def sequence(self, operand: Variable, name: str | None = None) -> Variable:
        step = Variable(row_type(operand), name=name)
        self.sequences.append(Row(step, operand))
        return step

    def constant(
        self, operand: Variable, type: TensorType | None = None, name: str | None = None
    ) -> Variable:
        step = Variable(type or operand.type, name=name)
        self.constants.append(Row(step, operand))
        return step

    def state(
        self,
        initial: Variable,
        label: str,
        taps: tuple[int, ...] = (-1,),
        type: TensorType | None = None,
    ) -> State:
        """A state whose `initial` has a leading axis as long as its deepest tap."""
        of = type or row_type(initial)
        steps = tuple(Variable(of, name=f"{label}[t{tap}]") for tap in taps)
        made = State(steps, taps, initial, label)
        self.states.append(made)
        return made

    def output(self, value: Variable, label: str) -> None:
        self.mapped.append((value, label))

    def inputs(self) -> list[Variable]:
        taps = [v for s in self.states for v in s.steps]
        return [*(r.step for r in self.sequences), *taps, *(r.step for r in self.constants)]

    def _capture(self, results: Sequence[Variable]) -> list[Variable]:
        """`results` with the outer variables they use replaced by non-sequences."""
        captured = outer(results, self.inputs())
        return substitute(results, {v: self.constant(v, name=v.name) for v in captured})

    def build(self, steps: Variable, **params: object) -> Built:
        """The scan over `steps` steps; `params` go to ScanSpec (truncate_gradient, checkpoint, …)."""
        results = [s.next for s in self.states] + [v for v, _ in self.mapped]
        results += [] if self.condition is None else [self.condition]
        assert all(v is not None for v in results), "a state without next value"
        outputs = self._capture(results)  # type: ignore[arg-type]
        spec = ScanSpec(
            name=self.name,
            inputs=tuple(self.inputs()),
            outputs=tuple(outputs),
            sequences=len(self.sequences),
            states=tuple(s.taps for s in self.states),
            mapped=len(self.mapped),
            non_sequences=len(self.constants),
            until=self.condition is not None,
            keep=(None,) * (len(self.states) + len(self.mapped)),
            labels=(*(s.label for s in self.states), *(label for _, label in self.mapped)),
            **params,  # type: ignore[arg-type]
        )
        operands = [steps, *(r.operand for r in self.sequences), *(s.initial for s in self.states)]
        node = scan_op.apply([*operands, *(r.operand for r in self.constants)], {"spec": spec})
        return _built(node, len(self.states))


def _built(node: Apply, states: int) -> Built:
    return Built(node.outputs[:states], node.outputs[states:-1], node.outputs[-1])


def outer(results: Sequence[Variable], inputs: Sequence[Variable]) -> list[Variable]:
    """What `results` use that does not depend on `inputs`: the last variables before a dependence.

    What is made of constants only is not counted: it is as well made inside.
    """
    inside = {id(v) for v in inputs}
    fixed: set[int] = set()
    order = toposort(results, inputs)
    for node in order:
        if any(id(v) in inside for v in node.inputs):
            inside.update(id(v) for v in node.outputs)
        elif all(isinstance(v, Constant) or id(v) in fixed for v in node.inputs):
            fixed.update(id(v) for v in node.outputs)
    found: dict[int, Variable] = {}
    readers = [v for node in order if id(node.outputs[0]) in inside for v in node.inputs]
    for v in [*readers, *results]:
        if not (id(v) in inside or id(v) in fixed or isinstance(v, Constant)):
            found.setdefault(id(v), v)
    return list(found.values())


def renamed(outputs: Sequence[Variable], mapping: Mapping[Variable, Variable]) -> list[Variable]:
    """`outputs` over other step inputs."""
    return substitute(outputs, mapping)
