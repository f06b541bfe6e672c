"""Measures memory: forks, for each program named on standard input, a copy of a process that has run nothing."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from loop_programs import WIDTH, arguments, c, compiled, m, n, scan, stopping_late, v0
from loop_table import TABLE

import scanlib
import scanlib.tensor as T
from scanlib import _core
from scanlib.explain import explain
from scanlib.graph import Variable

K = 5  # rows that are read


def constant_steps(**options: Any) -> Variable:
    return scan(lambda h: 0.5 * h + 1, states=v0, n_steps=n, **options)


def three_taps() -> Variable:
    start = {"initial": T.stack([v0, v0, v0]), "taps": [-3, -1]}
    return scan(lambda p, q: 0.5 * p + 0.2 * q, states=start, n_steps=n)


def within(read: Callable[[Variable], Variable]) -> Variable:
    """The last of three runs of an inner loop."""
    return scan(
        lambda h: read(scan(lambda h: 0.5 * h + 1, states=h, n_steps=n)), non_sequences=v0, n_steps=3
    )[-1]


def with_gradient(read: Callable[[Variable], Variable]) -> list[Variable]:
    rows = read(constant_steps())
    return [rows, scanlib.grad(rows.sum(), v0)]


READS: dict[str, Callable[[Variable], Variable]] = {
    "plain": lambda t: t[-K:],
    "strided": lambda t: t[-K::2],
    "backwards": lambda t: t[::-1][:K],
}
LOOPS: dict[str, Callable[[Callable[[Variable], Variable]], Any]] = {
    "steps": lambda read: read(constant_steps()),
    "until": lambda read: read(stopping_late()),
    "taps": lambda read: read(three_taps()),
    "within": within,
    "gradient": with_gradient,
}
PROGRAMS: dict[str, Callable[[], Any]] = {name: program for name, (program, _) in TABLE.items()} | {
    f"{loop} {read}": lambda make=make, row=row: make(row)
    for loop, make in LOOPS.items()
    for read, row in READS.items()
}


def resident(line: str) -> int:
    """The bytes that this line of the status of the process says."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in status if row.startswith(line)) * 1024


def width_for(inputs: list[Variable], count: int) -> int:
    """Rows so wide that `count` of them take tens or hundreds of megabytes, but no wide matrix as a state."""
    many = WIDTH if count < 10**5 and {m, c, v0} & {*inputs} else 1
    return many * (2 if c in inputs else WIDTH)


def measured(name: str, count: int, width: int | None) -> dict[str, int | None]:
    """Bytes of inputs, of the plan, of the call, and what the core and the process took more during it."""
    f, inputs = compiled(PROGRAMS[name]())
    width = width_for(inputs, count) if width is None else width
    # Compiles for these lengths (all above 16 are one to it), and leaves no large blocks for the next call.
    f(*arguments(inputs, 20, min(width, WIDTH)))
    values = arguments(inputs, count, width)
    planned = explain(f, *values).peak_bytes
    assert planned == explain(f, *[v.shape if v.ndim else v for v in values]).peak_bytes
    gc.collect()
    linux = Path("/proc/self/clear_refs")
    if linux.exists():
        ctypes.CDLL(None).malloc_trim(0)
        linux.write_text("5")  # the high-water mark becomes what is resident now
    before, pages = _core.allocated_bytes(), resident("VmHWM") if linux.exists() else None
    _core.reset_peak_bytes()
    f(*values)
    return {
        "inputs": sum(v.nbytes for v in values),
        "planned": planned,
        "call": f.peak_bytes,
        "core": _core.peak_bytes() - before,
        "resident": None if pages is None else resident("VmHWM") - pages,
    }


def main() -> None:
    for line in sys.stdin:
        name, count, width = json.loads(line)
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                print(json.dumps(measured(name, count, width)), flush=True)
                failed = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(failed)
        if os.waitpid(child, 0)[1]:
            print("null", flush=True)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
