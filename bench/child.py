"""One measurement in a process of its own: `python -m bench.child first|memory WORKLOAD CONTENDER`."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from .suite import workload_named
from .workload import Contender, Workload

# What a system imports before its first call: a program has imported these before it times anything.
IMPORTS = {"scanlib": ["scanlib", "scanlib.tensor"], "jax": ["jax", "jax.numpy"], "numba": ["numba"]}


def first(workload: Workload, contender: Contender) -> dict[str, float]:
    """Milliseconds of building the function and of its first call, on few steps."""
    inputs = contender.load(workload.inputs(workload.few_steps))
    start = perf_counter()
    function = contender.make()
    built = perf_counter()
    contender.wait(function(*inputs))
    called = perf_counter()
    return {"build": (built - start) * 1e3, "call": (called - built) * 1e3}


def memory(workload: Workload, contender: Contender) -> dict[str, float]:
    """Bytes by which the peak of the resident memory rose during a call that compiles nothing."""
    inputs = contender.load(workload.inputs(workload.steps))
    function = contender.make()
    warm = inputs if contender.per_size else contender.load(workload.inputs(workload.few_steps))
    contender.wait(function(*warm))
    del warm
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    # Resets VmHWM to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    result = contender.wait(function(*inputs))
    peak = _status("VmHWM")
    made = {"input": sum(_bytes(x) for x in inputs), "peak": peak - before, "result": _bytes(result)}
    counted = getattr(function, "peak_bytes", None)
    return made if counted is None else {**made, "counted": counted}


def _bytes(x: Any) -> float:
    if isinstance(x, (list, tuple)):
        return sum(map(_bytes, x))
    return float(getattr(x, "nbytes", 0))


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError(f"{key} not found")


def main() -> None:
    what, name, by = sys.argv[1:]
    workload = workload_named(name)
    contender = workload.contender(by)
    for module in IMPORTS.get(contender.system, []):
        if find_spec(module.partition(".")[0]):
            importlib.import_module(module)
    print(json.dumps({"first": first, "memory": memory}[what](workload, contender)))


if __name__ == "__main__":
    main()
