"""The plan: plain records that tell the C++ core what to run (mirrored by cpp/include/scanlib/plan.hpp).

A plan is flat.  All buffers of a function stand in one table, nested loops included, and all sizes, offsets,
strides and conditions live in one table of int64 numbers, the *dims table*.  A *slot* is an index into it.
The core never computes a shape: compiled kernels write the slots, the core reads them.

Slots 0 to 7 are reserved: a kernel that fails writes the step into slot 0 and up to three offending values into
slots 1 to 3 before it returns its check id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

RESERVED_SLOTS = 8
SEAT_SLOT = 4  # where products find the thread's place among those that share columns; 0 for none
"""Number of slots at the front of the dims table that are kept for failure reports."""

KEEP_ALL = -1
"""The value of `Storage.keep` that stores the whole trace."""

NO_SLOT = -1
"""Stands for "no slot": an offset of zero, or the byte size of an input or a constant."""

STEPS_SLOT = -2
"""The `lanes_slot` of a call whose lanes are the steps at hand."""

NO_AXIS = -1
"""The `row_axis` of an operand that is the same for all rows."""

Role: TypeAlias = Literal["input", "constant", "temporary"]


@dataclass(frozen=True, eq=False)
class Buffer:
    """One entry of the buffer table.

    `bytes_slot` holds the byte size when an `Allocate` instruction is executed; it is `NO_SLOT` for inputs,
    constants, and the buffers of storages (their size is decided by the core).  `data` is the value of a constant
    (C-contiguous) and None for the other roles.
    """

    name: str
    dtype: str
    role: Role = "temporary"
    bytes_slot: int = NO_SLOT
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Operand:
    """A strided view of a buffer.  Offset and strides count elements; every entry is a slot.

    `offset_slot` may be `NO_SLOT` (offset zero).  Strides may be zero or negative.  Where a loop runs range by range
    of rows, the range is taken of the dim `row_axis`.
    """

    buffer: int
    offset_slot: int = NO_SLOT
    dims: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    row_axis: int = NO_AXIS


@dataclass(frozen=True)
class Call:
    """Call compiled kernel number `kernel` with the steps at hand (0, 1 outside of a loop).

    With a `lanes_slot` the kernel runs dims[lanes_slot] independent lanes, each through all steps, and the core may
    give ranges of them to several threads when (steps · lanes · dims[cost_slot]) is large enough; the cost is about
    the number of arithmetic operations of one lane in one step (a transcendental function counts about 20).  Such a
    kernel gets lane_start and lane_stop, multiples of 64 (except lane_stop = lanes); it may write no slot of the dims
    table but the report of a failing check, and goes through its lanes in rising order.  Of several ranges with
    failing checks the lowest reports, so that the report does not depend on the number of threads.

    With the lanes_slot `STEPS_SLOT` the lanes are the steps at hand themselves: they may run in any order, and a range
    of any length of them is given as lanes, beside start and stop of all of them.

    `together` says that the lanes are columns which threads take through all steps side by side, waiting for each other
    in products; dims[cost_slot] is then half of the bytes of matrices that a step reads for one column.
    """

    kernel: int
    name: str = ""
    lanes_slot: int = NO_SLOT
    cost_slot: int = NO_SLOT
    together: bool = False


@dataclass(frozen=True)
class Library:
    """Call the library kernel named `kernel`; see `library.hpp` for the operands and parameters of each."""

    kernel: str
    operands: tuple[Operand, ...]
    parameters: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Allocate:
    """Give `buffer` at least dims[bytes_slot] bytes.  A live buffer only grows; growing loses its content."""

    buffer: int


@dataclass(frozen=True)
class Release:
    """Free `buffer`.  Releasing a buffer that is not live does nothing."""

    buffer: int


@dataclass(frozen=True)
class Storage:
    """Where the values of one output over time are kept.

    One slot of the ring takes dims[slot_bytes_slot] bytes.  `initial_slots` slots are filled by `Loop.start`
    before step 0; `depth` is the deepest tap read back (0 for a mapped output); `keep` is -1 for the whole trace,
    k for the last k steps, 0 for nothing.
    With `in_place` a value takes the slot of a tap that has been read before: by the step (of a state of depth 1), or,
    where lanes stay in registers, for all steps of the block.
    """

    buffer: int
    slot_bytes_slot: int
    initial_slots: int
    depth: int
    keep: int
    in_place: bool = False


@dataclass(frozen=True)
class Loop:
    """One scan, executed block by block.

    dims[steps_slot] is the number of steps.  The core writes the current step into dims[step_slot] (when the loop
    is not native) and the number of steps done into dims[done_slot].  Writing t + 1 into dims[stop_slot] during
    step t stops the loop after that step.  dims[block_slot] is the number of steps of a block (set before the loop
    or by `start`).  `start` runs once, after the storages were allocated; `temporaries` are the buffers released
    after the last block.

    With a `rows_slot` the dims[rows_slot] rows of all that the recurrence computes are independent: the core may give
    ranges of them to several threads, each of which takes its own through all steps of a block, with a copy of the
    dims table.  The recurrence then holds nothing but calls without lanes, which get the range as lane_start and
    lane_stop, and library kernels, whose operands are narrowed along their `row_axis`.  dims[row_cost_slot] is what a
    row costs in a step, as for lanes.  Of several failures that of the lowest step reports, at that step the first
    instruction, of it the lowest range.

    With `shared_buffers` the core may run the recurrence of a block on one thread while another one runs the epilogue
    of the block before and the prologue of the block after.  These buffers have room for two blocks, of which every
    second one then has the second half.  The parts of different blocks meet in nothing else but whole traces, and hold
    nothing but calls and library kernels.  dims[beside_cost_slot] is what prologue and epilogue cost in a step, as for
    lanes.
    """

    name: str
    steps_slot: int
    step_slot: int
    stop_slot: int
    done_slot: int
    block_slot: int
    storages: tuple[Storage, ...] = ()
    start: Sequence[Instruction] = ()
    prologue: Sequence[Instruction] = ()
    recurrence: Sequence[Instruction] = ()
    epilogue: Sequence[Instruction] = ()
    native: bool = False
    rows_slot: int = NO_SLOT
    row_cost_slot: int = NO_SLOT
    temporaries: tuple[int, ...] = ()
    shared_buffers: tuple[int, ...] = ()
    beside_cost_slot: int = NO_SLOT


@dataclass(frozen=True)
class Branch:
    """Run `then` if the bool scalar `condition` is true, else `otherwise`."""

    condition: Operand
    then: Sequence[Instruction] = ()
    otherwise: Sequence[Instruction] = ()


Instruction: TypeAlias = Call | Library | Allocate | Release | Loop | Branch


@dataclass(frozen=True)
class Input:
    """An argument of the function.  At run time dims[first_dim_slot + axis] is its length along `axis`."""

    buffer: int
    first_dim_slot: int
    ndim: int
    dtype: str


@dataclass(frozen=True)
class Output:
    """A result of the function: a C-contiguous view of a buffer, `offset_slot` in elements."""

    buffer: int
    offset_slot: int
    dims: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Plan:
    """A whole function.  `initial_dims` is the first content of the dims table, constants filled in."""

    buffers: Sequence[Buffer]
    initial_dims: Sequence[int]
    inputs: Sequence[Input] = field(default=())
    outputs: Sequence[Output] = field(default=())
    instructions: Sequence[Instruction] = field(default=())
