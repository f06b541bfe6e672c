"""Measurements in processes of their own: `python -m bench.child SYSTEM` imports it and forks for each request.

A request is a line [what, workload, contender] of JSON, the answer a line with numbers, or with an error's text.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from .suite import workload_named
from .workload import Contender, Workload

# What is not compile time: modules, among them those that a system only imports when they are first needed.
IMPORTS = {
    "scanlib": ["scanlib.tensor", "scanlib.scan", "scanlib.gradient", "scanlib.compile", "llvmlite.binding"],
    "jax": ["jax", "jax.numpy", "jax.scipy.special"],
    "numba": ["numba"],
    "scipy": ["scipy.signal", "scipy.linalg"],
    "pytensor": ["pytensor", "pytensor.tensor", "pytensor.link.numba.dispatch"],
    "torch": ["torch"],
    "onnxruntime": ["onnx", "onnx.parser", "onnxruntime"],
}


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
    inputs = contender.load(workload.inputs(workload.timed_steps(contender)))
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


def answer(request: str) -> dict[str, float] | str:
    what, name, by = json.loads(request)
    workload = workload_named(name)
    try:
        return {"first": first, "memory": memory}[what](workload, workload.contender(by))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    for module in IMPORTS.get(sys.argv[1], []):
        if find_spec(module.partition(".")[0]):
            importlib.import_module(module)
    # Whatever a system prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for request in sys.stdin:
        print(in_copy(request), file=answers, flush=True)


def in_copy(request: str) -> str:
    """The answer to a request, when the process that found it has ended: giving memory back takes a core, too."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.write(writing, json.dumps(answer(request)).encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(process, 0)
    with os.fdopen(reading) as found:
        return json.dumps(f"the process ended with status {status}") if status else found.read()


if __name__ == "__main__":
    main()
