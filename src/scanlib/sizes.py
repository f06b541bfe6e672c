"""A dry run of a plan for given shapes: the dims table, the loops and the bytes live, without computing any data.

Kernels are run for what they write into the dims table only.  What depends on the values of arrays that are not
given is not known, and stands as None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .lower import Lowered
from .lowered import MOST_BYTES, Expr, Int
from .ops.base import TABLE
from .plan import KEEP_ALL, Allocate, Branch, Call, Instruction, Loop, Release, Storage
from .statements import SetDim, Store

Number = Any  # a Python or NumPy number, or None: not known

_RULES: dict[str, Callable[[Any, Any], Any]] = {
    "index_add": lambda a, b: a + b,
    "index_sub": lambda a, b: a - b,
    "index_mul": lambda a, b: a * b,
    "size_mul": lambda a, b: min(a * b, MOST_BYTES),
    "udiv": lambda a, b: a // b if b else None,
    "urem": lambda a, b: a % b if b else None,
    "maximum": max,
    "minimum": min,
}


@dataclass
class LoopSizes:
    """One loop in the dry run; `temporaries` is the bytes its body allocates beside the storages."""

    steps: int | None = None
    block: int | None = None
    slots: list[int | None] = field(default_factory=list)
    bytes: list[int | None] = field(default_factory=list)
    temporaries: int | None = 0


def storage_slots(s: Storage, steps: int | None) -> int | None:
    from ._core import ring_slots

    if s.keep == KEEP_ALL:
        return None if steps is None else s.initial_slots + steps
    return ring_slots(s.keep, s.depth, s.in_place)


class DryRun:
    """`dims`, `loops` (by done_slot) and `peak_bytes` for arguments of these shapes.

    shapes   one per input of the plan; None for a dim that is not known
    values   the arguments that are known, by position
    """

    def __init__(
        self, lowered: Lowered, shapes: Sequence[Sequence[int | None]], values: Mapping[int, np.ndarray]
    ) -> None:
        plan = lowered.plan
        self.lowered = lowered
        self.dims: list[Number] = list(plan.initial_dims)
        self.arrays = {i: b.data.ravel() for i, b in enumerate(plan.buffers) if b.data is not None}
        self.written: dict[tuple[int, int], Number] = {}
        self.live: dict[int, int | None] = {}
        self.loops: dict[int, LoopSizes] = {}
        self.peak_bytes: int | None = 0
        for i, (row, shape) in enumerate(zip(plan.inputs, shapes, strict=True)):
            self.dims[row.first_dim_slot : row.first_dim_slot + row.ndim] = shape
            if i in values:
                self.arrays[row.buffer] = values[i].ravel()
        self.run(plan.instructions, 0, 1, None)

    def sizes(self, loop: Loop) -> LoopSizes:
        """What was found of `loop`; of one within a loop of no steps nothing is known."""
        unknown: list[int | None] = [None for _ in loop.storages]
        return self.loops.get(loop.done_slot) or LoopSizes(slots=unknown, bytes=unknown)

    # -- instructions ----------------------------------------------------------------------------------

    def run(
        self, instructions: Iterable[Instruction], start: Number, stop: Number, outermost: list[int] | None
    ) -> None:
        """`outermost` collects what the outermost loop releases; None outside of loops."""
        for i in instructions:
            if isinstance(i, Call):
                self.call(i, start, stop)
            elif isinstance(i, Allocate):
                self.reserve(i.buffer, self.dims[self.lowered.plan.buffers[i.buffer].bytes_slot])
            elif isinstance(i, Release):
                self.live.pop(i.buffer, None)
            elif isinstance(i, Loop):
                self.loop(i, outermost)
            elif isinstance(i, Branch):
                self.branch(i, start, stop, outermost)

    def reserve(self, buffer: int, size: Number) -> None:
        """A live buffer only grows."""
        before = self.live.get(buffer, 1)
        self.live[buffer] = None if size is None or before is None else max(before, int(size))
        self.peak_bytes = _most(self.peak_bytes, _sum(self.live.values()))

    def loop(self, loop: Loop, outermost: list[int] | None) -> None:
        steps = self.dims[loop.steps_slot]
        sizes = LoopSizes(steps)
        self.loops[loop.done_slot] = sizes
        for s in loop.storages:
            slots = storage_slots(s, steps)
            row = self.dims[s.slot_bytes_slot]
            size = 0 if slots == 0 else None if slots is None or row is None else slots * row
            sizes.slots.append(slots)
            sizes.bytes.append(size)
            if slots != 0:
                self.reserve(s.buffer, size)
        released = [] if outermost is None else outermost
        self.run(loop.start, 0, 1, released)
        sizes.block = self.dims[loop.block_slot]
        if steps is None or steps > 0:
            self.block(loop, steps, sizes.block, released)
        self.dims[loop.done_slot] = steps
        own = {s.buffer for s in loop.storages}
        sizes.temporaries = _sum(self.live.get(b, 0) for b in loop.temporaries if b not in own)
        released += loop.temporaries
        if outermost is None:
            for buffer in released:
                self.live.pop(buffer, None)

    def block(self, loop: Loop, steps: Number, block: Number, released: list[int]) -> None:
        """The first block, and of a list of instructions also the last step: sizes may depend on the step."""
        end = None if steps is None or block is None else min(max(block, 1), steps)
        self.dims[loop.step_slot] = 0
        self.run(loop.prologue, 0, end, released)
        if loop.native:
            self.run(loop.recurrence, 0, end, released)
        else:
            for step in (0,) if steps == 1 else (0, None if steps is None else steps - 1):
                self.dims[loop.step_slot] = step
                self.run(loop.recurrence, step, None if step is None else step + 1, released)
        self.run(loop.epilogue, 0, end, released)

    def branch(self, branch: Branch, start: Number, stop: Number, outermost: list[int] | None) -> None:
        """Both arms; what follows finds the memory of the one known to run, or else of the one that takes more."""
        where = branch.condition
        # Other steps of a loop may run the other one.
        chosen = self.load(where.buffer, self.dims[where.offset_slot]) if outermost is None else None
        before = self.live, self.dims, self.written, self.peak_bytes
        found = []
        for arm in (branch.then, branch.otherwise):
            self.live, self.dims, self.written = before[0].copy(), before[1].copy(), before[2].copy()
            self.peak_bytes = before[3]
            self.run(arm, start, stop, outermost)
            found.append((self.live, self.dims, self.written, self.peak_bytes))
        if chosen is None:
            most = _most(found[0][3], found[1][3])
            larger = max(found, key=lambda state: _sum(state[0].values()) or 0)
            self.live, self.dims, self.written, self.peak_bytes = *larger[:3], most
        else:
            self.live, self.dims, self.written, self.peak_bytes = found[not chosen]

    def call(self, call: Call, start: Number, stop: Number) -> None:
        bounds = {"start": start, "stop": stop}
        for s in self.lowered.kernels[call.kernel].body:
            if isinstance(s, SetDim):
                self.dims[s.slot] = self.value(s.value, bounds)
            elif isinstance(s, Store) and s.value.dtype in ("int64", "bool"):
                offset = self.value(s.offset, bounds)
                if offset is not None:
                    self.written[s.buffer, offset] = self.value(s.value, bounds)

    # -- expressions -----------------------------------------------------------------------------------

    def value(self, e: Int, bounds: Mapping[str, Number]) -> Number:
        """The number an expression stands for; each shared part is computed once."""
        if isinstance(e, int):
            return e
        found: dict[int, Number] = {}
        stack = [e]
        while stack:
            x = stack[-1]
            missing = [a for a in x.args if id(a) not in found]
            if missing:
                stack += missing
                continue
            stack.pop()
            if id(x) not in found:
                found[id(x)] = self.number(x, [found[id(a)] for a in x.args], bounds)
        return found[id(e)]

    def number(self, e: Expr, args: list[Number], bounds: Mapping[str, Number]) -> Number:
        if e.op == "const":
            return e.value
        if e.op == "dim":
            return self.dims[e.value]
        if e.op == "bound":
            return bounds[e.value]
        if e.op == "index":
            slot = self.lowered.step_slots.get(e.value)
            return None if slot is None else self.dims[slot]
        if e.op == "load":
            return self.load(e.value, args[0])
        if e.op == "guard":
            return args[0]
        if e.op in ("select", "where"):
            return None if args[0] is None else args[1] if args[0] else args[2]
        if any(a is None for a in args):
            return None
        if e.op == "cast":
            return np.asarray(args[0]).astype(e.dtype).item()
        if e.op in _RULES:
            return _RULES[e.op](*args)
        row = TABLE.get(e.op)
        if row is None:
            return None
        with np.errstate(all="ignore"):
            made = row.reference({}, *(np.asarray(v, dtype=a.dtype) for v, a in zip(args, e.args)))
        return np.asarray(made).item()

    def load(self, buffer: int, offset: Number) -> Number:
        if offset is None:
            return None
        array = self.arrays.get(buffer)
        if array is None:
            return self.written.get((buffer, offset))
        return array[offset].item() if 0 <= offset < array.size else None


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _most(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)
