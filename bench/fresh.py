"""First calls and memory, each in a fresh process: a copy of one that has only imported the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .workload import Contender, Workload

# Where a system keeps compiled code, so that an empty directory is a cold start.
CACHES = {
    "SCANLIB_CACHE": "{}",
    "JAX_COMPILATION_CACHE_DIR": "{}",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    "PYTENSOR_FLAGS": "base_compiledir={}",
    "TORCHINDUCTOR_CACHE_DIR": "{}",
}


class Fresh:
    """Processes of one system: `python -m bench.child` imports it once, and forks for each measurement."""

    def __init__(self, system: str) -> None:
        self.directory = tempfile.TemporaryDirectory()
        caches = {name: value.format(self.directory.name) for name, value in CACHES.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.child", system],
            env={**os.environ, **caches},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, workload: Workload, contender: Contender) -> dict[str, float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([what, workload.name, contender.name]), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline() or '"the process ended"')
        if not isinstance(answer, dict):
            raise RuntimeError(f"{what} of {contender.name} on {workload.name}: {answer}")
        return answer

    def first_calls(self, workload: Workload, contender: Contender, repeats: int) -> dict[str, float]:
        """Milliseconds of building and of the first call: with an empty disk cache, and with what that left."""
        times: dict[str, list[float]] = {}
        for _ in range(repeats):
            self.forget()
            for state in ("cold", "warm"):
                for part, value in self.ask("first", workload, contender).items():
                    times.setdefault(f"{state} {part}", []).append(value)
        return {key: float(np.median(values)) for key, values in times.items()}

    def memory(self, workload: Workload, contender: Contender) -> dict[str, float]:
        """Bytes of the inputs, and by how much a call raised the resident memory at its peak."""
        return self.ask("memory", workload, contender)

    def forget(self) -> None:
        for path in Path(self.directory.name).rglob("*"):
            if path.is_file():
                path.unlink()

    def close(self) -> None:
        self.process.communicate()
        self.directory.cleanup()
