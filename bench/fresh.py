"""First calls and memory, each in a fresh process: a copy of one that has only imported the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

from .measure import FirstCalls, rest, turned
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
# First calls that are compared are repeated in turns: for so many seconds a workload, and so many times.
COMPARED_SECONDS, FEWEST, MOST = 1.5, 4, 6
# What the disk cache gives is not compared: it is measured in some of the rounds.
WARM_EVERY = 3


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

    def first_call(self, workload: Workload, contender: Contender, state: str) -> dict[str, float]:
        """Milliseconds of building and of the first call: with an empty disk cache, or with what that left."""
        if state == "cold":
            self.forget()
        return {f"{state} {part}": value for part, value in self.ask("first", workload, contender).items()}

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


def compared_rounds() -> Iterator[int]:
    end = perf_counter() + COMPARED_SECONDS
    for number in range(MOST):
        if number < FEWEST or perf_counter() < end:
            yield number


def first_calls(
    workload: Workload, turns: Sequence[tuple[Fresh, Contender]], rounds: Iterable[int]
) -> dict[str, FirstCalls]:
    """First calls of the contenders, which take turns in each round."""
    found: dict[str, FirstCalls] = {contender.name: {} for _, contender in turns}
    for number in rounds if turns else ():
        rest()
        for processes, contender in turned(turns, number):
            for state in ("cold", "warm") if number % WARM_EVERY == 0 else ("cold",):
                for part, value in processes.first_call(workload, contender, state).items():
                    found[contender.name].setdefault(part, []).append(value)
    return found
