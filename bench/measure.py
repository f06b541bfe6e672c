"""Times contenders in turns, and compares their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time, sleep
from typing import Any, TypeVar

import numpy as np

from .agreement import agree, slopes_hold
from .workload import Contender, Workload, arrays

T = TypeVar("T")

# One sample takes about this long, and a contender whose call is longer than this is sampled less often.
SAMPLE_SECONDS, SLOW_SECONDS = 0.02, 0.2
# Threads of the contender before may still spin, on the cores of the next; so long they may take to go to sleep.
REST_SECONDS, LOOK_SECONDS = 0.2, 0.004

# Milliseconds of a first call, one per process, of each part of it: building, calling, by what the disk cache holds.
FirstCalls = dict[str, list[float]]


def spread(samples: Sequence[float]) -> float:
    """Half the distance between the quartiles, relative to the median."""
    low, middle, high = np.percentile(samples, [25, 50, 75])
    return float((high - low) / 2 / middle)


@dataclass
class Timing:
    """Seconds per step of one contender, one per sample; `rounds` says in which round."""

    contender: Contender
    call: Callable[[], Any]
    steps: int
    count: int = 1
    samples: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.samples))

    @property
    def spread(self) -> float:
        return spread(self.samples)


@dataclass
class Result:
    """What was measured for one workload."""

    workload: Workload
    timings: dict[str, Timing]
    wrong: list[str]
    failed: dict[str, str]
    first_call: dict[str, FirstCalls] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)

    def of_system(self, *systems: str) -> list[Timing]:
        return [t for t in self.timings.values() if t.contender.system in systems]

    def ratios(self, over: str) -> list[float]:
        """scanlib's time divided by the other's, both of the same round; for each round."""
        own, other = self.of_system("scanlib")[0], self.timings[over]
        theirs = dict(zip(other.rounds, other.samples, strict=True))
        pairs = [s / theirs[r] for r, s in zip(own.rounds, own.samples, strict=True) if r in theirs]
        return pairs or [own.median / other.median]

    def compile_ratios(self, over: str) -> list[float]:
        """Cold first calls: scanlib's time of building and calling, divided by the other's; for each round."""
        own, other = (
            zip(*(self.first_call[name][f"cold {part}"] for part in ("build", "call")), strict=True)
            for name in (self.of_system("scanlib")[0].contender.name, over)
        )
        return [sum(ours) / sum(theirs) for ours, theirs in zip(own, other, strict=True)]

    def best(self, timings: Sequence[Timing]) -> str | None:
        return min(timings, key=lambda t: t.median).contender.name if timings else None

    @property
    def peers(self) -> list[Timing]:
        return [t for t in self.timings.values() if t.contender.system not in ("scanlib", "C++", "numpy")]

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
            result = arrays(contender.read(call()))
        except Exception as error:  # the others are still worth measuring
            failed[contender.name] = f"{type(error).__name__}: {error}".partition("\n")[0]
            continue
        if result and reference is None:
            reference = result
            if workload.slope is not None and not slopes_hold(workload.slope, inputs, result):
                wrong.append(contender.name)
        elif result and not agree(result, reference, workload.rtol):
            wrong.append(contender.name)
        steps = workload.timed_steps(contender)
        if steps != workload.steps:
            call = bound(contender, workload.inputs(steps))
        timings[contender.name] = Timing(contender, call, steps)
    _sample(list(timings.values()), repeats)
    ordered = {c.name: timings[c.name] for c in contenders if c.name in timings}
    return Result(workload, ordered, wrong, failed)


def bound(contender: Contender, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    function, loaded, wait = contender.make(), contender.load(inputs), contender.wait
    return lambda: wait(function(*loaded))


def _sample(timings: Sequence[Timing], repeats: int) -> None:
    """Rounds of one sample each, in an order that turns; slow contenders sit some rounds out."""
    once = {}
    for timing in timings:
        taken = min(_timed(timing.call, 1), _timed(timing.call, 1))
        timing.count = max(1, round(SAMPLE_SECONDS / max(taken, 1e-9)))
        once[timing.contender.name] = taken
    for number in range(repeats):
        for timing in turned(timings, number):
            every = 1 + int(once[timing.contender.name] / SLOW_SECONDS)
            if number % every == 0:
                rest()
                # Cores that have slept, and threads that have moved, are slow at first.
                if once[timing.contender.name] < SLOW_SECONDS / 4:
                    _timed(timing.call, timing.count)
                timing.samples.append(_timed(timing.call, timing.count) / timing.steps)
                timing.rounds.append(number)


def rest() -> None:
    """Waits until no thread of this process is at work."""
    end = perf_counter() + REST_SECONDS
    while perf_counter() < end:
        used = process_time()
        sleep(LOOK_SECONDS)
        if process_time() - used < LOOK_SECONDS / 10:
            return


def turned(items: Sequence[T], number: int) -> Iterator[T]:
    """All of them, in an order that turns with the number of the round."""
    start = number % len(items)
    yield from items[start:]
    yield from items[:start]


def _timed(call: Callable[[], Any], count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - start) / count
