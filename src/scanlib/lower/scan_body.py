"""The body of a scan: what its inputs are bound to, and where its outputs go, in each of its three parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .. import lowered
from ..errors import InternalError, UserValueError
from ..graph import Apply, Variable, describe
from ..lowered import Expr, Int
from ..ops.base import Affine, Reshape, Unbroadcast
from ..ops.base import Region as RegionRule
from ..ops.scan_op import operands_of, spec_of
from ..plan import Instruction
from ..statements import Assign, For, If, Leave, SetDim, Statement, Store
from .block import BlockRegion, NotBatched, rows_view
from .block_length import block_length, product_of
from .branch import agreed, eager_nodes, settled
from .columns import share_columns
from .in_place import append_last, lower_updates, operands
from .linear import GROUP, Step, in_groups
from .partition import partition, whole
from .placing import STORE_COST, is_identity
from .program import ROW, View, history_fits_registers, indices
from .region import Region
from .stages import copy

if TYPE_CHECKING:
    from .scan import ScanOutput


@dataclass(frozen=True)
class LoopSlots:
    """The slots of the dims table through which kernels and core talk about one loop."""

    steps: int
    step: int
    stop: int
    done: int
    block: int
    room: int


class Body:
    """Builds the regions of a step: prologue, recurrence, epilogue.

    Invariant of registers: at the start of step t, register (j, p, e) holds element e of state j at step
    t − depth + p; they are shifted all at once at the end of the step.
    """

    def __init__(
        self,
        parent: Region,
        node: Apply,
        outputs: list[ScanOutput],
        slots: LoopSlots,
        native: bool,
        batched: bool,
        by_rows: bool,
    ) -> None:
        self.parent = parent
        self.spec = spec_of(node)
        self.given = operands_of(node)
        self.outputs = outputs
        self.slots = slots
        self.batched = batched
        self.parts = partition(self.spec, by_rows) if batched else whole(self.spec)
        for k, o in enumerate(outputs):
            o.summed, o.in_lanes = any(a.state == k for a in self.parts.accumulators), False
        self.name = parent.program.unique("t")
        parent.program.step_slots[self.name] = slots.step
        self.step = lowered.index(self.name)
        self.block = lowered.dim(slots.block, 1)
        self.registers: dict[int, list[list[str]]] = {}
        self.group = 1
        self.handed: dict[int, View] = {}
        self.region = self.make_region(native)
        room = lowered.dim(slots.room, 1)
        self.prologue = BlockRegion(parent.program, parent, self.name, room)
        self.epilogue = BlockRegion(parent.program, parent, self.name, room)
        for region in (self.prologue, self.region, self.epilogue):
            region.scan = self.spec.name, parent.number(parent.integer(self.given.steps))
        self._prologue()
        self._recurrence()
        self._epilogue()
        self._update_in_place()
        self._initial()

    def make_region(self, native: bool) -> Region:
        return Region(self.parent.program, self.parent, self.name, native)

    # -- what the core runs ----------------------------------------------------------------------------

    def instructions(self) -> tuple[list[Instruction], ...]:
        """(start, prologue, recurrence, epilogue)."""
        for block in (self.prologue, self.epilogue):
            block.finish()
        parts = [r.instructions() for r in (self.prologue, self.region, self.epilogue)]
        return ([i for start, _ in parts for i in start], *(steps for _, steps in parts))

    def temporaries(self) -> tuple[int, ...]:
        return tuple(b for r in (self.prologue, self.region, self.epilogue) for b in r.temporaries)

    def block_length(self) -> Int:
        return block_length(self)

    # -- inputs ----------------------------------------------------------------------------------------

    def _bind_outside(self, region: Region) -> None:
        """Sequences and non-sequences."""
        from .scan import is_free

        spec, parent = self.spec, self.parent
        for v, given in zip(spec.sequence_inputs(), self.given.sequences):
            if parent.pullable(given):
                self._bind_pulled(region, v, given)
                continue
            whole = parent.memory(given)
            offset = lowered.add(whole.offset, lowered.mul(self.step, whole.strides[0]))
            region.bind(
                v, View(whole.buffer, offset, whole.shape[1:], whole.strides[1:], v.dtype), whole.shape[1:]
            )
        for v, given in zip(spec.non_sequence_inputs(), self.given.non_sequences):
            region.fixed[id(v)] = given
            if is_free(parent, given):
                region.bind(v, (parent.element(given, ()),), ())
            else:
                view = parent.memory(given)
                region.bind(v, view, view.shape)

    def _bind_pulled(self, region: Region, v: Variable, given: Variable) -> None:
        """A sequence that is arithmetic on other arrays is computed step by step, or by the prologue when dear."""
        shape = self.parent.shape(given)[1:]
        if self.parent.cost(given) < STORE_COST or not self.batched:
            region.bind(v, lambda index: self.parent.element(given, (self.step, *index)), shape)
        elif region is self.prologue:
            view = region.temporary(v.name or "sequence", v.dtype, shape, 0)

            def body(index: tuple[Int, ...]) -> list[Statement]:
                return [
                    Store(view.buffer, view.position(index), self.parent.element(given, (self.step, *index)))
                ]

            region.kernels.setdefault(0, []).extend(region.loop(shape, body))
            region.bind(v, view, shape)
        else:
            view = self._batched_row(v, region)
            region.bind(v, view, shape)

    def _batched_row(self, v: Variable, region: Region) -> View:
        row = region.row if isinstance(region, BlockRegion) else self.row
        return self._hoisted(v, row)

    def _bind_states(self) -> None:
        region, spec = self.region, self.spec
        for j, (taps, inputs) in enumerate(zip(spec.states, spec.state_inputs())):
            o = self.outputs[j]
            assert o.shape is not None
            if region.native and j in self.parts.recurrence and history_fits_registers(o.depth, o.shape):
                self.registers[j] = [
                    [f"{self.name}.{j}.{p}.{e}" for e in range(len(indices(o.shape)))] for p in range(o.depth)
                ]
            for tap, v in zip(taps, inputs):
                if j in self.registers:
                    names = self.registers[j][o.depth + tap]
                    region.bind(v, tuple(lowered.register(n, v.dtype) for n in names), o.shape)
                else:
                    region.bind(v, o.slot_view(lowered.add(self.step, tap)), o.shape)

    # -- the parts -------------------------------------------------------------------------------------

    def _prologue(self) -> None:
        region = self.prologue
        self._bind_outside(region)
        region.analyse(self.parts.hoisted, self.spec.inputs)
        for v in self.parts.hoisted:
            region.memory(v)

    def _hoisted(self, v: Variable, row: Int) -> View:
        """The prologue's value of `v`, `row` being the place of the step in its block."""
        view = self.prologue.memory(v)
        offset = lowered.Substitution({self.prologue.row: row})(view.offset)
        return View(view.buffer, offset, view.shape, view.strides, view.dtype)

    def _recurrence(self) -> None:
        region, spec = self.region, self.spec
        # A block that runs step by step begins anew at each step; its rows are found by the step's remainder.
        self.row = self.prologue.row if region.native else lowered.as_expr(lowered.mod(self.step, self.block))
        self._bind_outside(region)
        self._bind_states()
        for v in self.parts.hoisted:
            view = self._hoisted(v, self.row)
            region.bind(v, view, view.shape)
        self._sinks(region, self.parts.recurrence)
        self._hand_over_sinks()
        written = [k for k in self.parts.recurrence if self._stored(k)]
        wanted = [spec.outputs[k] for k in written if not self.outputs[k].updates]
        wanted += [v for k in written for v in operands(self.outputs[k].updates)]
        condition = spec.condition()
        wanted += [condition] if condition is not None else []
        wanted += [v for v in self.parts.handed_over if v.owner is not None]
        self.order = eager_nodes(wanted, [*spec.inputs, *self.parts.hoisted])
        region.analyse(wanted, [*spec.inputs, *self.parts.hoisted])
        self._drift()
        self._store_outputs(region, self.parts.recurrence)
        self._condition()

    def _epilogue(self) -> None:
        from .scan import is_free

        parts, region = self.parts, self.epilogue
        if not parts.epilogue and not parts.accumulators:
            return
        self._bind_outside(region)
        for v in parts.hoisted:
            view = self._hoisted(v, region.row)
            region.bind(v, view, view.shape)
        for v in parts.handed_over:
            if is_free(self.region, v):
                region.bind(v, (self.region.element(v, ()),), ())
            else:
                view = self._hand_over(v)
                region.bind(v, view, view.shape)
        self._sinks(region, parts.epilogue)
        wanted = [self.spec.outputs[k] for k in parts.epilogue]
        for a in parts.accumulators:
            for term in a.terms:
                node = product_of(term)
                wanted += [term] if node is None else list(node.inputs)
        region.analyse(wanted, [*self.spec.inputs, *parts.hoisted, *parts.handed_over])
        self._store_outputs(region, parts.epilogue)
        if parts.accumulators:
            from .accumulate import accumulate

            for a in parts.accumulators:
                accumulate(region, self.outputs[a.state], a.terms)

    def _hand_over_sinks(self) -> None:
        """Values the epilogue will read are computed in its memory right away, if they are stored at all."""
        for v in self.parts.handed_over:
            if v.owner is None or any(v is u for u in self.spec.outputs):
                continue

            def place(shape: tuple[Int, ...], v: Variable = v) -> View:
                shape = self._one_shape(shape, v)
                self.handed[id(v)] = self.epilogue.temporary(describe(v), v.dtype, shape, -1)
                return rows_view(self.handed[id(v)].buffer, shape, v.dtype, self.row)

            # Scalars and small tensors stay in registers; views, and what a scan has stored, where they are.
            if v.ndim and not isinstance(v.owner.op.lower, (Affine, Reshape, Unbroadcast, RegionRule)):
                self.region.pending.setdefault(id(v), place)

    def _hand_over(self, v: Variable) -> View:
        """Where the epilogue reads a value of the recurrence: its trace, or a row written for it each step."""
        spec = self.spec
        for j, (taps, inputs) in enumerate(zip(spec.states, spec.state_inputs())):
            o = self.outputs[j]
            if o.slots is not None:
                continue
            for tap, tapped in zip(taps, inputs):
                if v is tapped:
                    return o.slot_view(lowered.add(self.step, tap))
            if v is spec.outputs[j]:
                return o.slot_view(self.step)
        source, region = resolve(self.region, v), self.region
        view = self.handed.get(id(source))
        if view is None:
            shape = self._one_shape(region.shape(source), v)
            view = self.epilogue.temporary(describe(v), v.dtype, shape, -1)
            self.handed[id(source)] = view
            target = rows_view(view.buffer, shape, v.dtype, self.row)
            self._copy_row(source, target)
        elif id(source) in region.sinks:
            region.memory(source)
        return view

    def _one_shape(self, shape: tuple[Int, ...], v: Variable) -> tuple[Int, ...]:
        """`shape` of a value of the recurrence, which must be the same at all steps to be handed over."""
        shape = agreed(self.region, shape)
        if self.region.data_level(shape) >= 0:
            raise NotBatched(f"the shape of {describe(v)} changes from step to step")
        return shape

    def _copy_row(self, source: Variable, target: View) -> None:
        level = max(0, self.region.level(source))
        self.region.kernels.setdefault(level, []).extend(copy(self.region, source, target))

    # -- outputs ---------------------------------------------------------------------------------------

    def _sinks(self, region: Region, positions: Sequence[int]) -> None:
        """Tell the region where outputs must end up, so that they are computed there."""
        for k in positions:
            v, o = self.spec.outputs[k], self.outputs[k]
            if k in self.registers or not self._stored(k) or v.owner is None or o.updates:
                continue
            # Batched kernels write rows at equal distances, which a ring does not have.
            if region is self.epilogue and o.slots is not None:
                continue

            def place(shape: tuple[Int, ...], o: ScanOutput = o) -> View:
                if o.shape is None:
                    o.shape = settled(region, shape, f"'{o.label}'")
                return o.slot_view(self.step)

            region.pending.setdefault(id(v), place)

    def _stored(self, k: int) -> bool:
        return k < len(self.spec.states) or self.outputs[k].keep != 0

    def _drift(self) -> None:
        """The value a state is given must have the state's shape."""
        for k in self.parts.recurrence:
            if k >= len(self.spec.states):
                continue
            v, o = self.spec.outputs[k], self.outputs[k]
            assert o.shape is not None
            for node in o.updates:
                self.region.infer(node)
            if v.dtype != o.dtype:
                raise InternalError(f"state '{o.label}' is {o.dtype} but its step gives {v.dtype}")
            for axis, (a, b) in enumerate(zip(self.region.shape(v), o.shape)):
                given = f"the step gives '{o.label}' length {{0}} along axis {axis}"
                message = f"{given}, its initial value has {{1}}; a state keeps one shape"
                self.region.require(lowered.compare("eq", a, b), UserValueError, message, (a, b))

    def _store_outputs(self, region: Region, positions: Sequence[int]) -> None:
        for k in positions:
            v, o = self.spec.outputs[k], self.outputs[k]
            if not self._stored(k):
                continue
            if o.shape is None:
                o.shape = settled(region, region.shape(v), f"'{o.label}'")
            if k in self.registers or o.updates:
                continue
            target = o.slot_view(self.step)
            if region.sinks.get(id(v)) == target:
                region.memory(v)
            if region.values.get(id(v)) != target and region.spilled(v) != target:
                level = max(0, region.level(v))
                region.kernels.setdefault(level, []).extend(copy(region, v, target))

    def _condition(self) -> None:
        condition = self.spec.condition()
        if condition is None or self.region.native:
            return
        value = lowered.cast(self.region.element(condition, ()), "bool")
        stop = lowered.choose(value, lowered.add(self.step, 1), 0)
        level = max(0, self.region.level(condition))
        self.region.kernels.setdefault(level, []).append(SetDim(self.slots.stop, stop))

    def _update_in_place(self) -> None:
        """The end of a step: what is updated in place changes when everything else has been computed."""
        states = [(o, o.slot_view(self.step), o.updates) for o in self.outputs if o.updates]
        self.updates = lower_updates(self.region, states)
        if self.region.native:
            self._wrap()
        elif states:
            append_last(self.region, self.updates)

    # -- native bodies ---------------------------------------------------------------------------------

    def _wrap(self) -> None:
        """Turn the statements of one step into a kernel that runs all steps of a block."""
        body = list(self.region.kernels.get(0, ()))
        condition = self.spec.condition()
        if not body and not self.registers and not self.updates.statements and condition is None:
            return
        names = list(self.updates.names)
        values = list(self.updates.values)
        for j, positions in self.registers.items():
            fresh = self._elements(j)
            if self.outputs[j].every_step:
                body += self._write(self.outputs[j].slot_view(self.step), fresh)
            for p, group in enumerate(positions):
                names += group
                values += fresh if p + 1 == len(positions) else self._read(j, p + 1)
        end: Int = lowered.bound("stop")
        before: list[Statement] = []
        stop, last = f"{self.name}.stop", f"{self.name}.end"
        if condition is not None:
            before.append(Assign((last,), (lowered.as_expr(lowered.bound("start")),)))
            names += [stop, last]
            values.append(lowered.cast(self.region.element(condition, ()), "bool"))
            values.append(lowered.as_expr(lowered.add(self.step, 1)))
            end = lowered.register(last, "int64")
        loop: list[Statement] | None = None
        if condition is None and "linear" in self.parent.program.choices:
            step = Step(self.step, tuple(body), tuple(names), tuple(values))
            loop = in_groups(step, self.parent.program.unique("t"))
        if names:
            body.append(Assign(tuple(names), tuple(values)))
        body += self.updates.statements
        if condition is not None:
            body.append(
                If(lowered.register(stop, "bool"), [SetDim(self.slots.stop, lowered.add(self.step, 1))])
            )
            body.append(Leave(lowered.register(stop, "bool")))
        for j, positions in self.registers.items():
            for p, group in enumerate(positions):
                view = self.outputs[j].slot_view(lowered.add(lowered.bound("start"), p - len(positions)))
                before.append(Assign(tuple(group), tuple(view.at(i) for i in indices(view.shape))))
        if loop is not None:
            self.group = GROUP
        else:
            loop = [For(self.name, lowered.bound("start"), lowered.bound("stop"), body)]
        self.region.kernels[0] = share_columns(self, [*before, *loop, *self._flush(end)])

    def _elements(self, j: int) -> list[Expr]:
        """The new value of state j, whose shape is that of the state, though maybe known only when it runs."""
        shape = self.outputs[j].shape
        assert shape is not None
        return [self.region.element(self.spec.outputs[j], i) for i in indices(shape)]

    def _read(self, j: int, p: int) -> list[Expr]:
        return [lowered.register(n, self.outputs[j].dtype) for n in self.registers[j][p]]

    def _write(self, target: View, elements: Iterable[Expr]) -> list[Statement]:
        return [Store(target.buffer, target.position(i), e) for i, e in zip(indices(target.shape), elements)]

    def _flush(self, end: Int) -> list[Statement]:
        """After the last step of a block: registers go to the slots the next block (or reader) looks in."""
        statements: list[Statement] = []
        for j, positions in self.registers.items():
            o = self.outputs[j]
            if o.every_step:
                continue
            for p in range(len(positions)):
                statements += self._write(o.slot_view(lowered.add(end, p - o.depth)), self._read(j, p))
        return statements

    # -- before step 0 ---------------------------------------------------------------------------------

    def _initial(self) -> None:
        """Initial values are computed straight into the first slots."""
        pairs = zip(self.outputs, self.given.initials)
        statements = [one for o, given in pairs for one in self._initial_slots(o, given)]
        self.region.kernels.setdefault(-1, []).extend(statements)

    def _initial_slots(self, o: ScanOutput, given: Variable) -> list[Statement]:
        assert o.shape is not None

        def store(s: Int, index: tuple[Int, ...]) -> list[Statement]:
            target = o.slot_view(lowered.add(s, -o.depth))
            return [Store(target.buffer, target.position(index), self.parent.element(given, (s, *index)))]

        if o.depth >= ROW:
            return self.parent.loop((o.depth, *o.shape), lambda index: store(index[0], index[1:]))
        return [one for s in range(o.depth) for one in self.parent.loop(o.shape, partial(store, s))]


def resolve(region: Region, v: Variable) -> Variable:
    """The variable that `v` is another name of."""
    while v.owner is not None and region.owns(v) and is_identity(region, v.owner):
        v = v.owner.inputs[0]
    return v
