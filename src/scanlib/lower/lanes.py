"""Bodies whose lanes are independent (D8): lanes outside, time inside, states in vector registers.

A body qualifies when all of its recurrence is elementwise over the one shape its states have.  The last axis is
the lane axis; a group of lanes stays in registers for all steps of a block.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import lowered
from ..graph import Apply, Variable
from ..lowered import Expr, Int
from ..ops.base import Affine, Contract, Element, Pointwise, Reshape
from ..statements import Assign, For, If, Lanes, Statement, Store, coefficient, parts
from .cost import operations
from .packing import has_few_rows
from .placing import is_identity
from .program import DEEPEST, NotLanes, View, fits_registers, static_size
from .region import Region, itemsize
from .scan_body import Body

# Bytes of one value that a group of lanes holds in registers: eight registers of 32 bytes hide the latency of an
# arithmetic operation; bodies with more values to hold have fewer registers to spare.
WIDE, MEDIUM, NARROW, VECTOR = 256, 128, 64, 32
# Up to so many values a wide group, up to so many a medium one.
FEW_VALUES, SOME_VALUES = 12, 24
# A group whose steps are written past the caches: a page of memory is visited less often, and lines are written whole.
STREAMED = 512
# Bytes of a trace from which that is so: it would not stay in the caches until it is read.
STREAMED_TRACE = 1 << 23
# Lane steps of a block, so that an interrupt is noticed.
LANE_STEPS = 1 << 27


class LaneRegion(Region):
    """A region in which nothing is stored on the way: every value is pulled lane by lane."""

    def store_if_worthwhile(self, node: Apply) -> None:
        if not isinstance(node.op.lower, (Pointwise, Affine, Element, Reshape)) and not is_identity(
            self, node
        ):
            name = "a product" if isinstance(node.op.lower, Contract) else node.op.name
            raise NotLanes(f"{name} mixes lanes")

    def product_of_few_rows(self, node: Apply) -> bool:
        if isinstance(node.op.lower, Contract) and any(has_few_rows(self, node, k) for k in (0, 1)):
            raise NotLanes("a product mixes lanes")
        return False

    def memory(self, v: Variable) -> View:
        found = self.view(v)
        if found is None and not self.owns(v) and self.parent is not None:
            return self.parent.memory(v)
        if found is None:
            raise NotLanes("a value is needed in memory")
        return found


class LaneBody(Body):
    def make_region(self, native: bool) -> Region:
        self.rows: list[tuple[Variable, View]] = []
        return LaneRegion(self.parent.program, self.parent, self.name, True)

    def _bind_states(self) -> None:
        spec, region = self.spec, self.region
        inner = [j for j in range(len(spec.states)) if j in self.parts.recurrence]
        if not inner or spec.condition() is not None:
            raise NotLanes("there is no state, or a condition on all lanes")
        self.shape = self.outputs[inner[0]].shape or ()
        if fits_registers(self.shape):
            raise NotLanes("states are small")
        self.lane = lowered.index(region.program.unique("l"))
        self.index: tuple[Int, ...] = (
            *(lowered.index(f"i{k}") for k in range(len(self.shape) - 1)),
            self.lane,
        )
        if sum(self.outputs[j].depth for j in inner) > DEEPEST:
            raise NotLanes("taps reach far back")
        # Loops made elsewhere start counting their names after these.
        region.nesting = len(self.shape) - 1
        for j in inner:
            self._same_shape(self.outputs[j].shape)
            self.outputs[j].in_lanes = True
        for j, (taps, inputs) in enumerate(zip(spec.states, spec.state_inputs())):
            o = self.outputs[j]
            assert o.shape is not None
            for tap, v in zip(taps, inputs):
                if j in inner:
                    name = self._register(j, o.depth + tap)

                    def element(index: tuple[Int, ...], name: str = name, dtype: str = v.dtype) -> Expr:
                        if any(a is not b for a, b in zip(index, self.index)):
                            raise NotLanes("a state is read at another lane")
                        return lowered.register(name, dtype)

                    region.bind(v, element, o.shape)
                else:
                    region.bind(v, o.slot_view(lowered.add(self.step, tap)), o.shape)

    def _register(self, j: int, p: int) -> str:
        return f"{self.lane.value}.{j}.{p}"

    def _same_shape(self, shape: Sequence[Int] | None) -> None:
        program = self.region.program
        if shape is None or len(shape) != len(self.shape) or not all(map(program.same, shape, self.shape)):
            raise NotLanes("shapes differ")

    def _sinks(self, region: Region, positions: Sequence[int]) -> None:
        if region is self.epilogue:
            super()._sinks(region, positions)

    def _hand_over_sinks(self) -> None:
        return

    def _copy_row(self, source: Variable, target: View) -> None:
        self._same_shape(target.shape)
        self.rows.append((source, target))

    def _store_outputs(self, region: Region, positions: Sequence[int]) -> None:
        if region is self.epilogue:
            super()._store_outputs(region, positions)
            return
        for k in positions:
            o = self.outputs[k]
            if self._stored(k):
                o.shape = o.shape if o.shape is not None else region.shape(self.spec.outputs[k])
                self._same_shape(o.shape)

    def _wrap(self) -> None:
        if self.region.kernels.get(0):
            raise NotLanes("the body needs memory of its own")
        body, values = self._step(streaming=False)
        self._verify([s.value for s in body if isinstance(s, Store)] + values)
        statements = self._loops(body, self._widths(values))
        streams, widths = self._streams(values)
        if streams.op != "const":
            statements = [If(streams, self._loops(self._step(streaming=True)[0], widths), statements)]
        self.region.kernels[0] = statements
        self.region.lanes = (self.region.slot(self.shape[-1]), self.region.slot(self._cost(values)))

    def _step(self, streaming: bool) -> tuple[list[Statement], list[Expr]]:
        """The statements of one step of a lane, and the new values of its registers."""
        spec = self.spec
        body: list[Statement] = []
        names: list[str] = []
        values: list[Expr] = []
        for source, target in self.rows:
            body.append(self._store(target, self.region.element(source, self.index)))
        for k in self.parts.recurrence:
            if not self._stored(k):
                continue
            o = self.outputs[k]
            fresh = self.region.element(spec.outputs[k], self.index)
            if k >= len(spec.states) or o.every_step:
                body.append(self._store(o.slot_view(self.step), fresh, streaming and o.keep is None))
            if k < len(spec.states):
                for p in range(o.depth):
                    names.append(self._register(k, p))
                    last = p + 1 == o.depth
                    values.append(fresh if last else lowered.register(self._register(k, p + 1), o.dtype))
        return [*body, Assign(tuple(names), tuple(values))], values

    def _loops(self, body: list[Statement], widths: tuple[int, ...]) -> list[Statement]:
        before, after = self._load_and_flush()
        loop = For(self.name, lowered.bound("start"), lowered.bound("stop"), body)
        # Threads take ranges of lanes; whatever they are, the lanes of a group are the same.
        start, stop = lowered.bound("lane_start"), lowered.minimum(lowered.bound("lane_stop"), self.shape[-1])
        statements: list[Statement] = [
            Lanes(str(self.lane.value), start, stop, [*before, loop, *after], widths)
        ]
        for k in reversed(range(len(self.shape) - 1)):
            statements = [For(f"i{k}", 0, self.shape[k], statements)]
        return statements

    def _streams(self, values: Sequence[Expr]) -> tuple[Expr, tuple[int, ...]]:
        """Whether traces are large, and made of whole cache lines; and the widths of groups when they are."""
        traces = [self.outputs[k] for k in self.parts.recurrence if self.outputs[k].keep is None]
        if not traces:
            return lowered.constant(False, "bool"), ()
        sizes = [itemsize(o.dtype) for o in traces]
        line = lowered.CACHE_LINE // min(sizes)
        total = lowered.mul(lowered.mul(lowered.dim(self.slots.steps), traces[0].row), sum(sizes))
        whole = lowered.compare("eq", lowered.mod(self.shape[-1], line), 0)
        group = max(STREAMED // max(itemsize(v.dtype) for v in values), line)
        widths = (group, line) if self._count(values) <= FEW_VALUES and group > line else (line,)
        return lowered.logical("logical_and", whole, lowered.compare("ge", total, STREAMED_TRACE)), widths

    def _cost(self, values: Sequence[Expr]) -> int:
        """Arithmetic operations of one lane in one step, roughly."""
        rows = static_size(self.shape[:-1]) or 1
        return rows * operations(values)

    def _store(self, target: View, value: Expr, streaming: bool = False) -> Statement:
        return Store(target.buffer, target.position(self.index), value, streaming)

    def _load_and_flush(self) -> tuple[list[Statement], list[Statement]]:
        before: list[Statement] = []
        after: list[Statement] = []
        for j in self.parts.recurrence:
            if j >= len(self.spec.states):
                continue
            o = self.outputs[j]
            for p in range(o.depth):
                name = self._register(j, p)
                old = o.slot_view(lowered.add(lowered.bound("start"), p - o.depth))
                before.append(Assign((name,), (old.at(self.index),)))
                if not o.every_step:
                    new = o.slot_view(lowered.add(lowered.bound("stop"), p - o.depth))
                    after.append(self._store(new, lowered.register(name, o.dtype)))
        return before, after

    def _verify(self, values: Sequence[Expr]) -> None:
        """Everything that varies with the lane lies lane by lane and can be computed in all lanes."""
        for e in parts(values):
            if self.lane.reads.isdisjoint(e.reads):
                continue
            if e.op in ("select", "guard") or (e.op == "load" and coefficient(e.args[0], self.lane) != 1):
                raise NotLanes("lanes are not next to each other in memory")

    def _widths(self, values: Sequence[Expr]) -> tuple[int, ...]:
        size = max(itemsize(v.dtype) for v in values)
        count = self._count(values)
        group = WIDE if count <= FEW_VALUES else MEDIUM if count <= SOME_VALUES else NARROW
        # A group of a single vector waits for each result: what is left over is one half group at first.
        widths = {group // size, group // 2 // size, VECTOR // size, 1}
        return tuple(sorted(widths, reverse=True))

    def _count(self, values: Sequence[Expr]) -> int:
        """The values of a lane in a step."""
        return sum(1 for e in parts(values) if not self.lane.reads.isdisjoint(e.reads))

    def block_length(self) -> Int:
        if self.prologue.row_bytes or self.epilogue.row_bytes:
            return super().block_length()
        lanes: Int = 1
        for d in self.shape:
            lanes = lowered.mul(lanes, d)
        length = lowered.floordiv(lowered.add(LANE_STEPS, 0), lowered.maximum(lanes, 1))
        return lowered.maximum(lowered.minimum(length, 4096), 1)
