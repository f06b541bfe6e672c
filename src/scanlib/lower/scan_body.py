"""The body of a scan as a region: what its inputs are bound to, and where its outputs go each step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import lowered
from ..errors import InternalError
from ..graph import Apply, Variable
from ..lowered import Assign, Expr, For, Int, Leave, SetDim, Statement, Store
from ..ops.scan_op import operands_of, spec_of
from .program import EXPAND, View
from .region import Region, static_size
from .stages import copy, indices

if TYPE_CHECKING:
    from .scan import ScanOutput


@dataclass(frozen=True)
class LoopSlots:
    """The slots of the dims table through which kernels and core talk about one loop."""

    steps: int
    step: int
    stop: int
    done: int


class Body:
    """Builds the region of a step.

    Invariant of registers: at the start of step t, register (j, p, e) holds element e of state j at step
    t − depth + p; they are shifted all at once at the end of the step.
    """

    def __init__(
        self, parent: Region, node: Apply, outputs: list[ScanOutput], slots: LoopSlots, native: bool
    ) -> None:
        self.parent = parent
        self.spec = spec_of(node)
        self.given = operands_of(node)
        self.outputs = outputs
        self.slots = slots
        self.name = parent.program.unique("t")
        parent.program.step_slots[self.name] = slots.step
        self.step = lowered.index(self.name)
        self.region = Region(parent.program, parent, self.name, native)
        self.registers: dict[int, list[list[str]]] = {}
        self._bind()
        self._sinks()
        self.region.analyse(self.spec.outputs, self.spec.inputs)
        self._drift()
        self._store_outputs()
        self._condition()
        if native:
            self._wrap()
        self._initial()

    def in_registers(self) -> bool:
        return self.region.native and len(self.registers) == len(self.spec.states)

    # -- inputs ----------------------------------------------------------------------------------------

    def _bind(self) -> None:
        from .scan import is_free

        region, spec, parent = self.region, self.spec, self.parent
        for v, given in zip(spec.sequence_inputs(), self.given.sequences):
            whole = parent.memory(given)
            offset = lowered.add(whole.offset, lowered.mul(self.step, whole.strides[0]))
            region.bind(
                v, View(whole.buffer, offset, whole.shape[1:], whole.strides[1:], v.dtype), whole.shape[1:]
            )
        for v, given in zip(spec.non_sequence_inputs(), self.given.non_sequences):
            if is_free(parent, given):
                region.bind(v, (parent.element(given, ()),), ())
            else:
                view = parent.memory(given)
                region.bind(v, view, view.shape)
        for j, (taps, inputs) in enumerate(zip(spec.states, spec.state_inputs())):
            o = self.outputs[j]
            assert o.shape is not None
            size = static_size(o.shape)
            if region.native and size is not None and size <= EXPAND:
                self.registers[j] = [
                    [f"{self.name}.{j}.{p}.{e}" for e in range(size)] for p in range(o.depth)
                ]
            for tap, v in zip(taps, inputs):
                if j in self.registers:
                    names = self.registers[j][o.depth + tap]
                    region.bind(v, tuple(lowered.register(n, v.dtype) for n in names), o.shape)
                else:
                    region.bind(v, o.slot_view(lowered.add(self.step, tap)), o.shape)

    def _sinks(self) -> None:
        """Tell the region where outputs must end up, so that they are computed there."""
        for k, (v, o) in enumerate(zip(self.spec.outputs, self.outputs)):
            if k in self.registers or not self._stored(k) or v.owner is None:
                continue

            def place(shape: tuple[Int, ...], o: ScanOutput = o) -> View:
                if o.shape is None:
                    o.shape = shape
                return o.slot_view(self.step)

            self.region.pending.setdefault(id(v), place)

    def _stored(self, k: int) -> bool:
        return k < len(self.spec.states) or self.outputs[k].keep != 0

    # -- outputs ---------------------------------------------------------------------------------------

    def _drift(self) -> None:
        """The value a state is given must have the state's shape."""
        for v, o in zip(self.spec.state_outputs(), self.outputs):
            assert o.shape is not None
            if v.dtype != o.dtype:
                raise InternalError(f"state '{o.label}' is {o.dtype} but its step gives {v.dtype}")
            for axis, (a, b) in enumerate(zip(self.region.shape(v), o.shape)):
                message = (
                    f"scan '{self.spec.name}': the step gives '{o.label}' length {{0}} along axis {axis}, its initial "
                    "value has {1}; a state keeps one shape"
                )
                self.region.require(lowered.compare("eq", a, b), "value", message, (a, b))

    def _store_outputs(self) -> None:
        region = self.region
        done: set[int] = set()
        for k, (v, o) in enumerate(zip(self.spec.outputs, self.outputs)):
            if o.shape is None:
                o.shape = region.shape(v)
            if k in self.registers or not self._stored(k):
                continue
            target = o.slot_view(self.step)
            if id(v) in region.sinks and id(v) not in done:
                region.memory(v)
            if region.values.get(id(v)) != target and region.spilled(v) != target:
                level = max(0, region.level(v))
                region.kernels.setdefault(level, []).extend(copy(region, v, target))
            done.add(id(v))

    def _condition(self) -> None:
        condition = self.spec.condition()
        if condition is None or self.region.native:
            return
        value = lowered.cast(self.region.element(condition, ()), "bool")
        stop = lowered.choose(value, lowered.add(self.step, 1), 0)
        level = max(0, self.region.level(condition))
        self.region.kernels.setdefault(level, []).append(SetDim(self.slots.stop, stop))

    # -- native bodies ---------------------------------------------------------------------------------

    def _wrap(self) -> None:
        """Turn the statements of one step into a kernel that runs all steps of a block."""
        body = list(self.region.kernels.get(0, ()))
        names: list[str] = []
        values: list[Expr] = []
        for j, positions in self.registers.items():
            fresh = self._elements(self.spec.outputs[j], len(positions[0]))
            if self.outputs[j].every_step:
                target = self.outputs[j].slot_view(self.step)
                body += self._write(target, fresh)
            for p, group in enumerate(positions):
                names += group
                values += fresh if p + 1 == len(positions) else self._read(j, p + 1)
        end: Int = lowered.bound("stop")
        before: list[Statement] = []
        condition = self.spec.condition()
        if condition is not None:
            stop, last = f"{self.name}.stop", f"{self.name}.end"
            before.append(Assign((last,), (lowered.as_expr(lowered.bound("start")),)))
            names += [stop, last]
            values += [
                lowered.cast(self.region.element(condition, ()), "bool"),
                lowered.as_expr(lowered.add(self.step, 1)),
            ]
            end = lowered.register(last, "int64")
        if names:
            body.append(Assign(tuple(names), tuple(values)))
        if condition is not None:
            now = lowered.add(self.step, 1)
            body.append(lowered.If(lowered.register(stop, "bool"), [SetDim(self.slots.stop, now)]))
            body.append(Leave(lowered.register(stop, "bool")))
        for j, positions in self.registers.items():
            for p, group in enumerate(positions):
                view = self.outputs[j].slot_view(lowered.add(lowered.bound("start"), p - len(positions)))
                at = [view.at(i) for i in indices(view.shape)]
                before.append(Assign(tuple(group), tuple(at)))
        loop = For(self.name, lowered.bound("start"), lowered.bound("stop"), body)
        self.region.kernels[0] = [*before, loop, *self._flush(end)]

    def _elements(self, v: Variable, size: int) -> list[Expr]:
        elements = [self.region.element(v, i) for i in indices(self.region.shape(v))]
        if len(elements) != size:
            raise InternalError(f"state of {size} elements is given {len(elements)}")
        return elements

    def _read(self, j: int, p: int) -> list[Expr]:
        return [lowered.register(n, self.outputs[j].dtype) for n in self.registers[j][p]]

    def _write(self, target: View, elements: Iterable[Expr]) -> list[Statement]:
        return [
            Store(target.buffer, target.position(i), e) for i, e in zip(indices(target.shape), elements)
        ]

    def _flush(self, end: Int) -> list[Statement]:
        """After the last step of a block: registers go to the slots the next block (or reader) looks in."""
        statements: list[Statement] = []
        for j, positions in self.registers.items():
            o = self.outputs[j]
            if o.every_step:
                continue
            for p in range(len(positions)):
                target = o.slot_view(lowered.add(end, p - o.depth))
                statements += self._write(target, self._read(j, p))
        return statements

    # -- before step 0 ---------------------------------------------------------------------------------

    def _initial(self) -> None:
        """Initial values are computed straight into the first slots."""
        statements: list[Statement] = []
        for j, given in enumerate(self.given.initials):
            o = self.outputs[j]
            for s in range(o.depth):
                target = o.slot_view(s - o.depth)

                def body(index: tuple[Int, ...], target: View = target, s: int = s) -> list[Statement]:
                    value = self.parent.element(given, (s, *index))
                    return [Store(target.buffer, target.position(index), value)]

                statements += self.parent.loop(target.shape, body)
        self.region.kernels.setdefault(-1, []).extend(statements)
