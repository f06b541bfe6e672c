"""Prints what was measured, as a table; as plain data, for JSON; as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from . import systems
from .measure import Result, spread

# The largest cold first call, relative to jax's.
COMPILE_TARGET = 0.5


@dataclass(frozen=True)
class Ratio:
    """scanlib's time divided by another's; `label` says what the other stands for."""

    label: str
    to: str
    value: float
    target: float | None = None
    spread: float = 0.0

    @classmethod
    def of(cls, label: str, to: str, rounds: Sequence[float], target: float | None = None) -> Ratio:
        """The median over rounds of both."""
        return cls(label, to, median(rounds), target, spread(rounds))

    @property
    def met(self) -> bool:
        return self.target is None or self.value <= self.target

    @property
    def text(self) -> str:
        outcome = (
            "" if self.target is None else f"   target {self.target:.3g}  {'met' if self.met else 'NOT MET'}"
        )
        value = f"{self.value:.2f}" if self.value >= 0.1 else f"{self.value:.5f}"
        spread = f"  ±{self.spread:.1%}" if self.spread else ""
        return f"scanlib ÷ {self.label} ({self.to}): {value}{spread}{outcome}"


def ratios(result: Result) -> list[Ratio]:
    targets, found = result.workload.targets, []
    if not result.of_system("scanlib"):
        return []
    best = result.best(result.peers)
    if best is not None:
        target = None if targets.of else targets.peer
        found.append(Ratio.of("best peer", best, result.ratios(best), target))
    named = result.best(result.of_system(*targets.of))
    if named is not None:
        label = f"best of {', '.join(targets.of)}"
        found.append(Ratio.of(label, named, result.ratios(named), targets.peer))
    if targets.memory is not None and named in result.memory:
        own, other = result.memory[result.of_system("scanlib")[0].contender.name], result.memory[named]
        for label, key in (("bytes the core counts", "counted"), ("rise of the resident memory", "peak")):
            found.append(Ratio(label, named, own[key] / other[key], targets.memory))
    if result.limit is not None:
        found.append(Ratio.of("limit", result.limit, result.ratios(result.limit), targets.limit))
    jax = result.best(result.of_system("jax"))
    if jax in result.first_call:
        found.append(Ratio.of("jax, first call, cold", jax, result.compile_ratios(jax), COMPILE_TARGET))
    return found


def show(result: Result) -> None:
    """One workload: a line per contender, then the ratios."""
    print(f"\n{result.workload.name}   ({result.workload.steps} steps)")
    width = max(len(name) for name in (*result.timings, *result.failed))
    for name, timing in result.timings.items():
        line = f"  {name:{width}}  {timing.median * 1e9:12.2f} ns/step  ±{timing.spread:5.1%}"
        line += _compile(result, name) + _memory(result, name)
        print(line + ("   WRONG RESULT" if name in result.wrong else ""))
    for name, message in result.failed.items():
        print(f"  {name:{width}}  FAILED  {message}")
    for ratio in ratios(result):
        print(f"  {ratio.text}", flush=True)


def _compile(result: Result, name: str) -> str:
    made = result.first_call.get(name)
    if made is None:
        return ""
    cold, warm = (
        f"{median(made[f'{s} build']):.0f}+{median(made[f'{s} call']):.0f}" for s in ("cold", "warm")
    )
    return f"  first call cold {cold} ms, warm {warm} ms"


def _memory(result: Result, name: str) -> str:
    made = result.memory.get(name)
    if made is None:
        return ""
    counted = f" (core counts {made['counted'] / 1e6:.2f})" if "counted" in made else ""
    return f"  +{made['peak'] / 1e6:.1f} MB{counted}"


def as_dict(results: Iterable[Result]) -> dict[str, Any]:
    """Everything measured, in plain data."""
    return {
        "versions": systems.versions(),
        "cores": systems.cores(),
        "workloads": [
            {
                "name": r.workload.name,
                "steps": r.workload.steps,
                "wrong": r.wrong,
                "failed": r.failed,
                "seconds_per_step": {
                    n: {"median": t.median, "spread": t.spread, "system": t.contender.system}
                    for n, t in r.timings.items()
                },
                "first_call_ms": {
                    n: {part: median(values) for part, values in made.items()}
                    for n, made in r.first_call.items()
                },
                "memory_bytes": r.memory,
                "ratios": [asdict(ratio) for ratio in ratios(r)],
            }
            for r in results
        ],
    }


def write_json(measured: dict[str, Any], path: str) -> None:
    Path(path).write_text(json.dumps(measured, indent=1) + "\n")


def plot(workloads: Sequence[dict[str, Any]], path: str) -> None:
    """A picture of time per step relative to scanlib's: a row per workload, a mark per system."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [(w["name"], _best_by_system(w)) for w in workloads]
    rows = [(name, times) for name, times in rows if "scanlib" in times]
    figure, axes = plt.subplots(figsize=(9, 0.28 * len(rows) + 1.5))
    for system, mark in zip(("scanlib", "C++", *systems.PEERS, "numpy"), "o|sDv^Px."):
        points = [
            (times[system] / times["scanlib"], i) for i, (_, times) in enumerate(rows) if system in times
        ]
        if points:
            axes.plot(*zip(*points), mark, label=system, markersize=14 if mark == "|" else 6)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xscale("log")
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("time per step, scanlib = 1 (right: slower than scanlib)")
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def _best_by_system(workload: dict[str, Any]) -> dict[str, float]:
    """The time of each system: of scanlib and the limit the first way, of the others the best."""
    found: dict[str, float] = {}
    for timing in workload["seconds_per_step"].values():
        system, median = timing["system"], timing["median"]
        if system not in found or (system not in ("scanlib", "C++") and median < found[system]):
            found[system] = median
    return found
