"""What all regions of one function share: buffers, slots of the dims table, checks and kernels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import lowered
from ..errors import UserError
from ..lowered import Expr, Int
from ..plan import NO_SLOT, RESERVED_SLOTS, Buffer, Role
from ..statements import Kernel, Statement
from .report import ScanReport

# A static tensor of at most this many elements lives in registers, one value per element, if all its dims are
# shorter than a vector; longer axes are walked through by vector code.
EXPAND = 64
ROW = 8
# Values of a state further back than these steps are read from memory: a step would shift as many registers.
DEEPEST = 32
# A static product of at most this many multiplications is unrolled in registers.
UNROLL = 512
# A static product of at most this many multiplications stays inside a kernel, as loops.
IN_KERNEL = 16 * 16 * 16
# With fewer rows a thread would have less than what products of matrices compute at once.
FEWEST_ROWS = 16


def static_size(shape: Sequence[Int]) -> int | None:
    """The number of elements when it is known while the kernel is generated."""
    total = 1
    for d in shape:
        if not isinstance(d, int):
            return None
        total *= d
    return total


def indices(shape: Sequence[Int]) -> list[tuple[int, ...]]:
    """Every index of a static shape, in C order."""
    return list(itertools.product(*(range(d) for d in shape if isinstance(d, int))))


def fits_registers(shape: Sequence[Int]) -> bool:
    """Whether a tensor lives in registers, one per element."""
    size = static_size(shape)
    return size is not None and size <= EXPAND and all(isinstance(d, int) and d < ROW for d in shape)


def history_fits_registers(depth: int, shape: Sequence[Int]) -> bool:
    """Whether the last `depth` values of a state live in registers, which each step shifts."""
    size = static_size(shape)
    return depth <= DEEPEST and fits_registers(shape) and size is not None and depth * size <= EXPAND


@dataclass(frozen=True)
class CheckRecord:
    """A condition a kernel tests: the kind of user error it stands for and its message ({0}, {1}, {2})."""

    kind: type[UserError]
    message: str


@dataclass(frozen=True)
class View:
    """Elements of a buffer: element `index` is at offset + Σ index[a]·strides[a]."""

    buffer: int
    offset: Int
    shape: tuple[Int, ...]
    strides: tuple[Int, ...]
    dtype: str

    def position(self, index: Sequence[Int]) -> Int:
        position = self.offset
        for i, stride in zip(index, self.strides):
            position = lowered.add(position, lowered.mul(i, stride))
        return position

    def at(self, index: Sequence[Int]) -> Expr:
        return lowered.load(self.buffer, self.position(index), self.dtype)

    def contiguous(self) -> bool:
        step: Int = 1
        for d, stride in zip(reversed(self.shape), reversed(self.strides)):
            if isinstance(d, int) and d == 1:
                continue
            if stride is not step and stride != step:
                return False
            step = lowered.mul(step, d)
        return True


def row_major(buffer: int, shape: tuple[Int, ...], dtype: str, offset: Int = 0) -> View:
    from ..dims import strides

    return View(buffer, offset, shape, strides(shape), dtype)


class NotNative(Exception):
    """The body of a scan needs more than one kernel per step; carries the reason for `explain`."""


class NotLanes(Exception):
    """The lanes of a body are not independent, or too few; carries the reason for `explain`."""


class NotRows(Exception):
    """The rows of a recurrence are not independent, or too few; carries the reason for `explain`."""


@dataclass(frozen=True)
class Snapshot:
    """The lengths of a program's lists, and copies of its tables."""

    buffers: int
    slots: int
    kernels: int
    reports: int
    tables: tuple[tuple[str, dict[Any, Any]], ...]


# What is known by slot or buffer is forgotten with them.
TABLES = ("step_slots", "constant_slots", "constant_buffers", "equal_dims", "branch_dims")


class Program:
    """The growing lists of one function's plan."""

    def __init__(self, choices: frozenset[str]) -> None:
        self.choices = choices  # names of choices.py
        self.buffers: list[Buffer] = []
        self.initial_dims: list[int] = [0] * RESERVED_SLOTS
        self.checks: list[CheckRecord] = []
        self.kernels: list[Kernel] = []
        self.reports: list[ScanReport] = []
        self.step_slots: dict[str, int] = {}
        self.constant_slots: dict[int, int] = {}
        self.constant_buffers: dict[int, int] = {}
        self.counter = 0
        self.equal_dims: dict[Expr, Expr] = {}
        # Dims that an ifelse sets when it runs: the dims in its two arms.
        self.branch_dims: dict[Expr, tuple[Int, Int]] = {}

    def unify(self, a: Expr, b: Expr) -> None:
        """Record that a check has made two dims equal."""
        a, b = self.representative(a), self.representative(b)
        if a is not b:
            self.equal_dims[b] = a

    def representative(self, e: Expr) -> Expr:
        while e in self.equal_dims:
            e = self.equal_dims[e]
        return e

    def same(self, a: Int, b: Int) -> bool:
        """Whether two dims are known to be equal."""
        if isinstance(a, int) or isinstance(b, int):
            return isinstance(a, int) and isinstance(b, int) and a == b
        return self.representative(a) is self.representative(b)

    def snapshot(self) -> Snapshot:
        tables = tuple((name, dict(getattr(self, name))) for name in TABLES)
        return Snapshot(
            len(self.buffers), len(self.initial_dims), len(self.kernels), len(self.reports), tables
        )

    def restore(self, state: Snapshot) -> None:
        """Forget what was made since `snapshot` (a native body turned out not to be one).

        Checks stay: enclosing regions may have taken some over.
        """
        for name, table in state.tables:
            # A copy: a state may be restored more than once.
            setattr(self, name, dict(table))
        del self.buffers[state.buffers :], self.initial_dims[state.slots :]
        del self.kernels[state.kernels :], self.reports[state.reports :]

    def unique(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def slot(self, initial: int = 0) -> int:
        self.initial_dims.append(initial)
        return len(self.initial_dims) - 1

    def constant_slot(self, value: int) -> int:
        if value not in self.constant_slots:
            self.constant_slots[value] = self.slot(value)
        return self.constant_slots[value]

    def buffer(
        self,
        name: str,
        dtype: str,
        role: Role = "temporary",
        bytes_slot: int = NO_SLOT,
        data: np.ndarray | None = None,
    ) -> int:
        self.buffers.append(Buffer(name, dtype, role, bytes_slot, data))
        return len(self.buffers) - 1

    def constant_buffer(self, data: np.ndarray, name: str) -> int:
        key = id(data)
        if key not in self.constant_buffers:
            self.constant_buffers[key] = self.buffer(name, data.dtype.name, "constant", data=data)
        return self.constant_buffers[key]

    def check(self, kind: type[UserError], message: str) -> int:
        """The id of a new check; ids start at 1, 0 means success."""
        self.checks.append(CheckRecord(kind, message))
        return len(self.checks)

    def kernel(self, body: list[Statement]) -> int:
        self.kernels.append(Kernel(f"k{len(self.kernels)}", body))
        return len(self.kernels) - 1
