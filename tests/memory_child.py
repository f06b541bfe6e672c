"""Measures memory: forks, for each program named on standard input, a copy of a process that has run nothing."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from loop_programs import (
    U,
    W,
    arguments,
    compiled,
    deep_taps,
    elman,
    leaky,
    m,
    n,
    nested,
    readout,
    scan,
    two_taps,
    v0,
    w,
)

import scanlib
import scanlib.tensor as T
from scanlib import _core
from scanlib.explain import explain
from scanlib.graph import Variable
from scanlib.scan_module import until

K = 5  # rows that are read


def constant_steps(**options: Any) -> Variable:
    return scan(lambda h: 0.5 * h + 1, states=v0, n_steps=n, **options)


def stopped() -> Variable:
    """Stops after all but seven of the steps."""
    count = T.cast(n, "float64")
    return scan(
        lambda h, i: ([0.5 * h + 1, i + 1], until(T.ge(i, count - 8))),
        states=[v0, T.constant(0.0)],
        n_steps=n,
    )[0]


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


PROGRAMS: dict[str, Callable[[], Any]] = {
    "trace": leaky,
    "last thousand": lambda: leaky()[-1000:],
    "two taps": two_taps,
    "rows": lambda: leaky(m, v0),
    "every other row": lambda: leaky(m, v0)[::2],
    "exp": lambda: scan(lambda a, h: T.exp(a) * h, m, states=v0)[-1],
    "map": lambda: scan(lambda a: T.exp(a) * w, m),
    "readout": lambda: readout()[1],
    "gradient": lambda: scanlib.grad((elman() ** 2).sum(), [W, U]),
    "inner sum": lambda: nested(lambda t: t.sum()),
    "deep taps": lambda: deep_taps()[-2:],
}
READS: dict[str, Callable[[Variable], Variable]] = {
    "plain": lambda t: t[-K:],
    "strided": lambda t: t[-K::2],
    "backwards": lambda t: t[::-1][:K],
}
LOOPS: dict[str, Callable[[Callable[[Variable], Variable]], Any]] = {
    "steps": lambda read: read(constant_steps()),
    "until": lambda read: read(stopped()),
    "taps": lambda read: read(three_taps()),
    "within": within,
    "gradient": with_gradient,
}
PROGRAMS |= {
    f"{loop} {read}": lambda make=make, row=row: make(row)
    for loop, make in LOOPS.items()
    for read, row in READS.items()
}


def resident(line: str) -> int:
    """The bytes that this line of the status of the process says."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in status if row.startswith(line)) * 1024


def measured(name: str, count: int, width: int) -> dict[str, int | None]:
    """Bytes of inputs, of the plan, of the call, and what the core and the process took more during it."""
    f, inputs = compiled(PROGRAMS[name]())
    # Compiles; and what a call leaves for the next one is there when that is measured.
    f(*arguments(inputs, 20, width))
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
            try:
                print(json.dumps(measured(name, count, width)), flush=True)
            finally:
                os._exit(0)
        if os.waitpid(child, 0)[1]:
            print("null", flush=True)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
