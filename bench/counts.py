"""What can be counted, and so does not depend on the machine: `python -m bench.counts` compares with counts.json.

For each workload: allocations per step, the instructions of a step (or of a block, where one kernel runs all its
steps), how much of each trace is kept (-1 all, k the last k steps), and the bytes that each step adds to the peak.
`python -m bench.counts --write` writes the file anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .suite import WORKLOADS
from .workload import Workload

FILE = Path(__file__).with_name("counts.json")
STEPS = 20


def count(workload: Workload) -> dict[str, Any]:
    """The counts of scanlib's first contender."""
    function = next(c for c in workload.contenders if c.system == "scanlib").make()
    fewer, more = workload.inputs(STEPS), workload.inputs(3 * STEPS)
    # The first calls compile and grow the workspace.
    function(*more)
    function(*fewer)
    # One allocation more or less, as a longer trace has another place, is none per step.
    per_step = round((_allocations(function, more) - _allocations(function, fewer)) / (2 * STEPS))
    executable = function._run.specialisations[-1][1]
    return {
        "allocations per step": per_step,
        "loops": [_loop(loop) for loop in _loops(executable.plan.instructions)],
        "bytes per step": _bytes_per_step(function, fewer, more),
    }


def _allocations(function: Any, inputs: tuple[Any, ...]) -> int:
    from scanlib import _core

    before = _core.allocation_count()
    result = function(*inputs)
    made: int = _core.allocation_count() - before
    del result
    return made


def _bytes_per_step(function: Any, fewer: tuple[Any, ...], more: tuple[Any, ...]) -> int:
    """By how much the peak of the core's memory grows with each step."""
    function(*fewer)
    small = function.peak_bytes
    function(*more)
    return round((function.peak_bytes - small) / (2 * STEPS))


def _loops(instructions: Sequence[Any]) -> Iterator[Any]:
    from scanlib.plan import Loop

    for instruction in instructions:
        if isinstance(instruction, Loop):
            yield instruction
            yield from _loops(instruction.recurrence)


def _loop(loop: Any) -> dict[str, Any]:
    per = "block" if loop.native else "step"
    return {
        "name": loop.name,
        f"instructions per {per}": len(loop.recurrence),
        "before and after a block": len(loop.prologue) + len(loop.epilogue),
        "keeps": [storage.keep for storage in loop.storages],
    }


def all_counts() -> dict[str, Any]:
    return {w.name: count(w) for w in WORKLOADS}


def main() -> int:
    found = all_counts()
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    stored = json.loads(FILE.read_text())
    differing = [name for name in found if found[name] != stored.get(name)]
    for name in differing:
        print(f"{name}:\n  stored {stored.get(name)}\n  found  {found[name]}")
    return int(bool(differing))


if __name__ == "__main__":
    raise SystemExit(main())
