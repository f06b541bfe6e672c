"""States updated in place: one slot, changed after everything else of a step has been computed.

A state qualifies when its next value is its previous value with parts replaced, by rows that have an `update`
rule.  It is safe because of the order: what is written, and where, is first brought into registers or into memory
of its own; the parts are written last, when nothing of the step reads the previous value any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import lowered
from ..graph import Apply, Constant, Variable, clients, depends_on, describe
from ..lowered import Expr, Int
from ..ops.scan_op import ScanSpec
from ..statements import Assign, Statement
from .context import ApplyContext
from .program import View
from .region import Region
from .stages import copy

if TYPE_CHECKING:
    from .scan import ScanOutput


def updates_of(spec: ScanSpec, k: int) -> list[Apply]:
    """The rows that turn the previous value of output k into its next one in place, in order; none if it cannot be.

    A part as large as the state that is computed from the state itself would be stored before it is written:
    a slot for the next value is as good there.  Whatever else reads the next value needs it before the end of the
    step.
    """
    if k >= len(spec.states) or spec.states[k] != (-1,) or spec.keep[k] not in (0, 1):
        return []
    (state,) = spec.state_inputs()[k]
    found: list[Apply] = []
    v = spec.outputs[k]
    readers = clients(spec.outputs)
    if sum(v is u for u in spec.outputs) > 1:
        return []
    while v is not state:
        node = v.owner
        if node is None or node.op.update is None or len(readers.get(id(v), ())) > (1 if found else 0):
            return []
        part = node.inputs[1]
        if part.ndim == v.ndim and depends_on([part], [state]):
            return []
        found.append(node)
        v = node.inputs[0]
    return found[::-1]


def operands(nodes: Sequence[Apply]) -> list[Variable]:
    """What the updates write, and where."""
    return [v for node in nodes for v in node.inputs[1:] if not isinstance(v, Constant)]


@dataclass(frozen=True)
class Updates:
    """`names` get `values` all at once, then `statements` run."""

    names: tuple[str, ...]
    values: tuple[Expr, ...]
    statements: tuple[Statement, ...]


class _Held:
    """What the updates write, and where, as it is before the first of them."""

    def __init__(self, region: Region, buffers: set[int]) -> None:
        self.region = region
        self.buffers = buffers
        self.changed = {f"b{b}" for b in buffers}
        self.names: list[str] = []
        self.values: list[Expr] = []
        self.registers: dict[Expr, Expr] = {}
        self.views: dict[int, View] = {}

    def number(self, value: Int) -> Int:
        """`value`, in a register if an update may change what it is computed from."""
        if isinstance(value, int) or not value.reads & self.changed:
            return value
        return self.register(value)

    def register(self, value: Expr) -> Expr:
        if value not in self.registers:
            name = self.region.program.unique("u")
            self.names.append(name)
            self.values.append(value)
            self.registers[value] = lowered.register(name, value.dtype)
        return self.registers[value]

    def element(self, v: Variable, index: Sequence[Int]) -> Expr:
        if v.ndim == 0:
            return self.register(self.region.element(v, ()))
        if id(v) not in self.views:
            view = self._apart(v)
            shape, strides = (tuple(map(self.number, group)) for group in (view.shape, view.strides))
            self.views[id(v)] = View(view.buffer, self.number(view.offset), shape, strides, view.dtype)
        return self.views[id(v)].at(index)

    def _apart(self, v: Variable) -> View:
        """Memory that holds `v` and that no update changes."""
        region = self.region
        view = region.memory(v)
        if view.buffer not in self.buffers:
            return view
        level = max(0, region.level(v))
        made = region.temporary(describe(v), v.dtype, region.shape(v), level)
        region.kernels.setdefault(level, []).extend(copy(region, v, made))
        return made


class _Context(ApplyContext):
    """The lowering of one update."""

    def __init__(self, node: Apply, target: View, held: _Held) -> None:
        super().__init__(held.region, node, (target,))
        self.held = held

    def shape(self, i: int) -> tuple[Int, ...]:
        return tuple(map(self.held.number, super().shape(i)))

    def element(self, i: int, index: Sequence[Int]) -> Expr:
        v = self.node.inputs[i]
        return super().element(i, index) if isinstance(v, Constant) else self.held.element(v, index)

    def value(self, i: int) -> Int:
        return lowered.fold(lowered.cast(self.element(i, ()), "int64"))


def lower_updates(region: Region, states: Sequence[tuple[ScanOutput, View, Sequence[Apply]]]) -> Updates:
    """The updates of all states of a step; each stands with its slot and its rows."""
    held = _Held(region, {o.buffer for o, _, _ in states})
    statements: list[Statement] = []
    for _, slot, nodes in states:
        for node in nodes:
            assert node.op.update is not None
            statements += node.op.update(_Context(node, slot, held))
    return Updates(tuple(held.names), tuple(held.values), tuple(statements))


def append_last(region: Region, updates: Updates) -> None:
    """Run the updates after everything else of a step that is a list of instructions."""
    last = max([*region.kernels, *region.barriers, *region.allocations, -1])
    region.kernels[last + 1] = [Assign(updates.names, updates.values), *updates.statements]
