"""`Profile`: where the time of a function's calls went, per scan and per part, once it was made with profile=True."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .explain_text import readable, table
from .plan import Branch, Instruction, Loop

if TYPE_CHECKING:
    from ._core import Executable


@dataclass(frozen=True)
class ScanProfile:
    """One scan, over all calls.  Times are in seconds; those of a part include the scans inside it.

    What runs beside the recurrence counts for its part as far as the loop waits for it; what threads prepare for their
    own rows counts as recurrence.

    depth    0 for a scan of the function itself, 1 for one in the step of such a scan, …
    calls    how often the loop ran: for an inner scan, once per step of the outer one
    seconds  of the whole loop, what happens before step 0 included
    bytes    of its storages and temporaries, the most at once (temporaries of an inner scan count to the outermost)
    """

    name: str
    depth: int
    calls: int
    steps: int
    blocks: int
    seconds: float
    prologue: float
    recurrence: float
    epilogue: float
    bytes: int


@dataclass(frozen=True)
class Profile:
    """All calls of a function so far: `seconds` is the time in compiled code and in the core."""

    name: str
    calls: int
    seconds: float
    peak_bytes: int
    scans: tuple[ScanProfile, ...]

    def scan(self, name: str) -> ScanProfile:
        """The first scan of this name."""
        return next(s for s in self.scans if s.name == name)

    def __str__(self) -> str:
        head = ("scan", "calls", "steps", "blocks", "seconds", "prologue", "recurrence", "epilogue", "bytes")
        rows = [tuple(_row(s)) for s in self.scans]
        title = f"function '{self.name}': {self.calls} calls, {self.seconds:.3g} s, at most {readable(self.peak_bytes)}"
        return "\n".join([title, *(f"  {line}" for line in table([head, *rows]) if rows)])

    __repr__ = __str__


def profile_of(name: str, executables: Iterable[Executable]) -> Profile:
    """What the executables of one function have counted together."""
    calls, ns, peak = 0, 0, 0
    rows: dict[tuple[int, str, int], list[int]] = {}  # (position, name, depth) of a loop -> what was counted
    for executable in executables:
        counted = executable.profile()
        if counted is None:
            continue
        calls, ns, peak = calls + counted[0], ns + counted[1], max(peak, executable.last_peak_bytes)
        for position, (loop, row) in enumerate(
            zip(_loops(executable.plan.instructions), counted[2], strict=True)
        ):
            total = rows.setdefault((position, *loop), [0] * len(row))
            total[:-1] = [a + b for a, b in zip(total, row[:-1])]
            total[-1] = max(total[-1], row[-1])
    scans = tuple(_scan(key, row) for key, row in sorted(rows.items(), key=_position))
    return Profile(name, calls, ns / 1e9, peak, scans)


def _row(s: ScanProfile) -> Iterable[str]:
    yield "  " * s.depth + s.name
    yield from (str(count) for count in (s.calls, s.steps, s.blocks))
    yield from (f"{seconds:.3g}" for seconds in (s.seconds, s.prologue, s.recurrence, s.epilogue))
    yield readable(s.bytes)


def _position(row: tuple[tuple[int, str, int], Any]) -> int:
    return row[0][0]


def _scan(key: tuple[int, str, int], row: Sequence[int]) -> ScanProfile:
    calls, steps, blocks, *times, size = row
    seconds, prologue, recurrence, epilogue = (ns / 1e9 for ns in times)
    return ScanProfile(key[1], key[2], calls, steps, blocks, seconds, prologue, recurrence, epilogue, size)


def _loops(instructions: Iterable[Instruction], depth: int = 0) -> Iterable[tuple[str, int]]:
    """(name, depth) of every loop, in the order in which the core numbers them."""
    for i in instructions:
        if isinstance(i, Branch):
            yield from _loops([*i.then, *i.otherwise], depth)
        elif isinstance(i, Loop):
            yield i.name, depth
            yield from _loops([*i.start, *i.prologue, *i.recurrence, *i.epilogue], depth + 1)
