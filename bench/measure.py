"""Times contenders in turns, compares their results; first calls and memory in fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from .workload import Contender, Workload, arrays

# One sample takes about this long, and a contender whose call is longer than this is sampled less often.
SAMPLE_SECONDS, SLOW_SECONDS = 0.02, 0.4


@dataclass
class Timing:
    """Seconds per call of one contender, one per sample; `rounds` says in which round."""

    contender: Contender
    call: Callable[[], Any]
    count: int = 1
    samples: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.samples))

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, relative to the median."""
        low, high = np.percentile(self.samples, [25, 75])
        return float(high - low) / 2 / self.median


@dataclass
class Result:
    """What was measured for one workload."""

    workload: Workload
    timings: dict[str, Timing]
    wrong: list[str]
    failed: dict[str, str]
    first_call: dict[str, dict[str, float]] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)

    def of_system(self, system: str) -> list[Timing]:
        return [t for t in self.timings.values() if t.contender.system == system]

    def ratio(self, over: str) -> float:
        """The median over the rounds of scanlib's time divided by the other's, both of the same round."""
        own, other = self.of_system("scanlib")[0], self.timings[over]
        theirs = dict(zip(other.rounds, other.samples, strict=True))
        pairs = [s / theirs[r] for r, s in zip(own.rounds, own.samples, strict=True) if r in theirs]
        return float(np.median(pairs)) if pairs else own.median / other.median

    @property
    def best_peer(self) -> str | None:
        peers = [t for t in self.timings.values() if t.contender.system not in ("scanlib", "C++", "numpy")]
        return min(peers, key=lambda t: t.median).contender.name if peers else None

    @property
    def limit(self) -> str | None:
        limits = self.of_system("C++")
        return limits[0].contender.name if limits else None


def measure(workload: Workload, repeats: int, contenders: Sequence[Contender]) -> Result:
    """Times the contenders in turns and compares their results."""
    inputs = workload.inputs(workload.steps)
    timings, wrong, failed = {}, [], {}
    reference = None
    for contender in sorted(contenders, key=lambda c: c.system != "numpy"):
        try:
            call = bound(contender, inputs)
            result = arrays(call())
        except Exception as error:  # the others are still worth measuring
            failed[contender.name] = f"{type(error).__name__}: {error}".partition("\n")[0]
            continue
        reference = result if reference is None else reference
        if result and not agree(result, reference, workload.rtol):
            wrong.append(contender.name)
        timings[contender.name] = Timing(contender, call)
    _sample(list(timings.values()), repeats)
    ordered = {c.name: timings[c.name] for c in contenders if c.name in timings}
    return Result(workload, ordered, wrong, failed)


def bound(contender: Contender, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    function, loaded, wait = contender.make(), contender.load(inputs), contender.wait
    return lambda: wait(function(*loaded))


def agree(result: list[np.ndarray], reference: list[np.ndarray], rtol: float) -> bool:
    if len(result) != len(reference):
        return False
    return all(_close(a, b, rtol) for a, b in zip(result, reference, strict=True))


def _close(a: np.ndarray, b: np.ndarray, rtol: float) -> bool:
    largest = float(np.max(np.abs(b), initial=0))
    return a.size == b.size and np.allclose(a.reshape(b.shape), b, rtol=rtol, atol=rtol * largest)


def _sample(timings: Sequence[Timing], repeats: int) -> None:
    """Rounds of one sample each, in an order that turns; slow contenders sit some rounds out."""
    once = {}
    for timing in timings:
        taken = min(_timed(timing.call, 1), _timed(timing.call, 1))
        timing.count = max(1, round(SAMPLE_SECONDS / max(taken, 1e-9)))
        once[timing.contender.name] = taken
    for number in range(repeats):
        for timing in _turned(timings, number):
            every = 1 + int(once[timing.contender.name] / SLOW_SECONDS)
            if number % every == 0:
                timing.samples.append(_timed(timing.call, timing.count))
                timing.rounds.append(number)


def _turned(timings: Sequence[Timing], number: int) -> Iterator[Timing]:
    start = number % len(timings)
    yield from timings[start:]
    yield from timings[:start]


def _timed(call: Callable[[], Any], count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - start) / count


# Fresh processes.


def first_calls(workload: Workload, contender: Contender, repeats: int = 3) -> dict[str, float]:
    """Milliseconds of building and of the first call: with an empty disk cache, and with what that left."""
    times: dict[str, list[float]] = {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as directory:
            caches = {
                "SCANLIB_CACHE": directory,
                "JAX_COMPILATION_CACHE_DIR": directory,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
            }
            for state in ("cold", "warm"):
                made = child("first", workload, contender, caches)
                for part, value in made.items():
                    times.setdefault(f"{state} {part}", []).append(value)
    return {key: float(np.median(values)) for key, values in times.items()}


def memory(workload: Workload, contender: Contender) -> dict[str, float]:
    """Bytes of the inputs, and by how much a call raised the resident memory at its peak."""
    return child("memory", workload, contender, {})


def child(
    what: str, workload: Workload, contender: Contender, environment: dict[str, str]
) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.child", what, workload.name, contender.name]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    made: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return made
