"""Lowering of a scan: its storages, its body, and the Loop instruction that runs them.

The value of an output at step t lies in slot (t + initial slots) mod R of its storage; R is decided by the core
(storage.cpp), and a whole trace needs no mod.  Small static states of a native body live in registers between
the steps of a block, and are written to their slots when the trace is kept, or else once at the end of the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .. import lowered
from ..dims import product, strides
from ..errors import UserError, UserIndexError, UserValueError, step_error
from ..graph import Apply, Variable
from ..lowered import Expr, Int
from ..ops.scan_op import ScanSpec, operands_of, spec_of
from ..plan import NO_SLOT, Instruction, Loop, Storage
from .block import NotBatched
from .block_length import settle_lengths
from .context import literal
from .in_place import updates_of
from .overlap import shared_buffers
from .partition import partition
from .program import NotLanes, NotNative, NotRows, View, fits_registers
from .report import ScanReport
from .rows import split_rows
from .scan_body import Body, LoopSlots

if TYPE_CHECKING:
    from .region import Region


@dataclass
class ScanOutput:
    """Where one output of a scan is stored.  The shape of one step of a mapped output is set by the body."""

    label: str
    buffer: int
    dtype: str
    depth: int
    keep: int | None
    shape: tuple[Int, ...] | None = None
    updates: tuple[Apply, ...] = ()  # of a state whose parts are replaced in place
    summed: bool = False  # a state that the epilogue adds to
    in_lanes: bool = False  # a state that lanes hold in registers, each its own, for all steps of a block

    @property
    def in_place(self) -> bool:
        """Whether a value may take the slot of the oldest tap."""
        return self.summed or self.in_lanes or bool(self.updates)

    @property
    def slots(self) -> int | None:
        from .._core import ring_slots

        return None if self.keep is None else ring_slots(self.keep, self.depth, self.in_place)

    @property
    def row(self) -> Int:
        """Elements of one step."""
        assert self.shape is not None
        size = product(self.shape)
        assert size is not None
        return size

    @property
    def every_step(self) -> bool:
        """Whether steps older than the taps must survive a block, so that each step is written to its slot."""
        return self.keep is None or self.keep > self.depth

    def slot_view(self, time: Int) -> View:
        """The slot that holds step `time`; −depth is the oldest initial value."""
        assert self.shape is not None
        slot = lowered.add(time, self.depth)
        if self.slots is not None:
            slot = lowered.mod(slot, self.slots)
        return View(self.buffer, lowered.mul(slot, self.row), self.shape, strides(self.shape), self.dtype)


def lower_scan(region: Region, node: Apply, level: int) -> list[Instruction]:
    """The instructions that run the scan `node` as a barrier of `level`."""
    spec, given = spec_of(node), operands_of(node)
    steps = region.number(region.integer(given.steps))
    message = f"scan '{spec.name}': n_steps is {{0}}, expected 0 or more; only a constant may be negative"
    region.require(lowered.compare("ge", steps, 0), UserValueError, message, (steps,))
    for v in given.sequences:
        if not region.pullable(v):
            region.settle(v)
    for v in given.non_sequences:
        if not is_free(region, v):
            region.settle(v)
    outputs = [_output(region, node, spec, k) for k in range(len(spec.keep))]
    program = region.program
    slots = LoopSlots(region.slot(steps), *(program.slot(first) for first in (0, 0, 0, 1, 1)))
    state, undo = program.snapshot(), region.snapshot()
    try:
        body, rows, reasons = _lower_body(region, node, outputs, slots)
    except (UserIndexError, UserValueError) as error:
        program.restore(state)
        undo()
        _without_steps(region, node, steps, error)
        return []
    except UserError as error:
        raise type(error)(f"scan '{spec.name}': {error}") from error
    storages = tuple(_storage(region, body.region, o) for o in outputs)
    start, prologue, recurrence, epilogue = body.instructions()
    shared, beside = shared_buffers(body, prologue, recurrence, epilogue)
    settle_lengths(body, halves=bool(shared))
    loop = Loop(
        spec.name, slots.steps, slots.step, slots.stop, slots.done, slots.block, storages,
        start, prologue, recurrence, epilogue, body.region.native, *rows, body.temporaries(), shared, beside,
    )  # fmt: skip
    program.reports.append(_report(region, node, body, reasons))
    for o in outputs:
        region.buffer_levels[f"b{o.buffer}"] = level + 1
        region.temporaries.append(o.buffer)
    if spec.until:
        region.buffer_levels[f"d{slots.done}"] = level + 1
    done: Int = lowered.dim(slots.done) if spec.until else steps
    for v, o in zip(node.outputs, outputs):
        _publish(region, v, o, done)
    region.values[id(node.outputs[-1])] = (lowered.as_expr(done),)
    region.shapes[id(node.outputs[-1])] = ()
    return [loop]


def _without_steps(region: Region, node: Apply, steps: Int, error: UserError) -> None:
    """A scan whose step is known to fail: what it gives without steps, which is all that it may run."""
    spec = spec_of(node)
    where = f"scan '{spec.name}', step 0: "
    message = literal(error) if str(error).startswith(where) else where + literal(error)
    region.require(lowered.compare("lt", steps, 1), step_error(type(error)), message, (), in_steps=True)
    for k, v in enumerate(node.outputs[:-1]):
        is_state = k < len(spec.states)
        row = (
            region.shape(node.inputs[1 + spec.sequences + k])[1:]
            if is_state
            else [d or 0 for d in v.type.shape[1:]]
        )
        region.shapes[id(v)] = (0, *row)
        nothing = lowered.constant(0, v.dtype)
        region.values[id(v)] = partial(_everywhere, nothing)
    region.shapes[id(node.outputs[-1])] = ()
    region.values[id(node.outputs[-1])] = (lowered.constant(0, "int64"),)


def _everywhere(value: Expr, index: tuple[Int, ...]) -> Expr:
    return value


def _rows(body: Body, reasons: dict[str, str]) -> tuple[int, int]:
    """The slots with the number of independent rows of an instruction list, and with what a row costs in a step.

    NotRows if there are none, and more would stand in the prologue of a body that is not for rows.
    """
    if not body.region.native and "rows" in body.region.program.choices:
        try:
            rows = split_rows(body)
            return body.region.slot(rows.count), body.region.slot(rows.cost)
        except NotRows as reason:
            if body.batched and body.parts != partition(body.spec):
                raise
            reasons["rows"] = str(reason)
    return NO_SLOT, NO_SLOT


def is_free(region: Region, v: Variable) -> bool:
    """Whether a 0-d variable is made of constants and sizes only, so that it needs no memory."""
    return v.ndim == 0 and not any(name[0] in "brt" for name in region.element(v, ()).reads)


def _output(region: Region, node: Apply, spec: ScanSpec, k: int) -> ScanOutput:
    is_state = k < len(spec.states)
    depth = spec.depths[k] if is_state else 0
    keep = spec.keep[k]
    dtype = node.outputs[k].dtype
    # Only the table entry: the core allocates storages, and decides how many slots they have.
    buffer = region.program.buffer(f"{spec.name}: {spec.labels[k]}", dtype)
    shape = region.shape(node.inputs[1 + spec.sequences + k])[1:] if is_state else None
    updates = () if shape is None or fits_registers(shape) else tuple(updates_of(spec, k))
    return ScanOutput(spec.labels[k], buffer, dtype, depth, keep, shape, updates)


def _storage(region: Region, body: Region, o: ScanOutput) -> Storage:
    from .region import itemsize

    if o.shape is None:
        # An unread mapped output: the core allocates nothing, whatever the size.
        return Storage(o.buffer, region.slot(0), 0, 0, 0)
    if body.data_level(o.shape) >= 0:
        raise UserValueError(
            f"output '{o.label}' of a scan: its shape depends on values computed in the step, so its steps cannot be "
            "stacked; give it one shape for all steps (a mask times the value, for instance)"
        )
    size = region.slot(lowered.bytes_of(o.shape, itemsize(o.dtype)))
    return Storage(o.buffer, size, o.depth, o.depth, -1 if o.keep is None else o.keep, o.in_place)


def _report(region: Region, node: Apply, body: Body, reasons: dict[str, str]) -> ScanReport:
    from .lanes import LaneBody
    from .placing import STORE_COST

    computed = [
        v
        for v, given in zip(body.spec.sequence_inputs(), body.given.sequences)
        if body.batched and region.pullable(given) and region.cost(given) >= STORE_COST
    ]
    lanes, native = isinstance(body, LaneBody), body.region.native
    return ScanReport(
        node,
        body.slots.done,
        body.parts,
        tuple(computed),
        tuple(body.outputs),
        lanes,
        native,
        body.group,
        reasons,
    )


def _lower_body(
    region: Region, node: Apply, outputs: list[ScanOutput], slots: LoopSlots
) -> tuple[Body, tuple[int, int], dict[str, str]]:
    """The body with as much batched as can be, its recurrence as one kernel per block if it can be.

    Second, the slots of its rows; third, why not more of "lanes", "native", "rows", "batched" could be had.
    """
    shapes = [o.shape for o in outputs]
    from .lanes import LaneBody

    state, undo = region.program.snapshot(), region.snapshot()
    choices = region.program.choices
    in_place = [o.label for o in outputs if o.updates]
    first: type[Body] = Body if in_place or "lanes" not in choices else LaneBody
    reasons = {"lanes": f"'{in_place[0]}' is updated in place"} if in_place else {}
    kind, native, batched, by_rows = first, True, "batching" in choices, False
    while True:
        try:
            body = kind(region, node, outputs, slots, native, batched, by_rows)
            return body, _rows(body, reasons), reasons
        except NotLanes as reason:
            kind = Body
            reasons["lanes"] = str(reason)
        except NotNative as reason:
            kind, native, by_rows = Body, False, "rows" in choices
            reasons["native"] = str(reason)
        except NotRows:
            by_rows = False
        except NotBatched as reason:
            kind, native, batched, by_rows = first, True, False, False
            reasons = {"batched": str(reason)}
        # An attempt may have put values of the regions around it into memory: they lie there no longer.
        region.program.restore(state)
        undo()
        for o, shape in zip(outputs, shapes):
            o.shape = shape


def _publish(region: Region, v: Variable, o: ScanOutput, done: Int) -> None:
    """Make the stored steps of an output readable in the enclosing region."""
    if o.shape is None:
        return
    inner = strides(o.shape)
    if o.keep is None:
        region.shapes[id(v)] = (done, *o.shape)
        region.values[id(v)] = View(
            o.buffer, lowered.mul(o.row, o.depth), (done, *o.shape), (o.row, *inner), o.dtype
        )
        return
    kept = lowered.minimum(o.keep, done)
    region.shapes[id(v)] = (kept, *o.shape)
    assert o.slots is not None
    first: Int = 0  # the core has turned the ring
    if o.keep <= 1:
        # The extra turn keeps the dividend of the mod from going below zero.
        first = lowered.mod(lowered.maximum(lowered.add(done, o.depth - 1 + o.slots), 0), o.slots)
    region.values[id(v)] = View(
        o.buffer, lowered.mul(first, o.row), (kept, *o.shape), (o.row, *inner), o.dtype
    )
