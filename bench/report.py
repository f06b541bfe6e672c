"""Prints what was measured, as a table; as JSON; as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import systems
from .measure import Result


def show(result: Result) -> None:
    """One workload: a line per contender, then the ratios."""
    print(f"\n{result.workload.name}   ({result.workload.steps} steps)")
    width = max(len(name) for name in (*result.timings, *result.failed))
    for name, timing in result.timings.items():
        step = timing.median / result.workload.steps * 1e9
        line = f"  {name:{width}}  {step:12.2f} ns/step  ±{timing.spread:5.1%}"
        line += _compile(result, name) + _memory(result, name)
        print(line + ("   WRONG RESULT" if name in result.wrong else ""))
    for name, message in result.failed.items():
        print(f"  {name:{width}}  FAILED  {message}")
    for label, other, target in _ratios(result):
        ratio = result.ratio(other)
        outcome = (
            "" if target is None else f"   target {target:.2f}  {'met' if ratio <= target else 'NOT MET'}"
        )
        print(f"  scanlib ÷ {label} ({other}): {ratio:.2f}{outcome}")


def _ratios(result: Result) -> list[tuple[str, str, float | None]]:
    targets, found = result.workload.targets, []
    if not result.of_system("scanlib"):
        return []
    if result.best_peer is not None:
        found.append(("best peer", result.best_peer, targets.peer))
    if result.limit is not None:
        found.append(("limit", result.limit, targets.limit))
    return found


def met(result: Result) -> bool:
    """Whether results agree and no target is missed."""
    return (
        not result.wrong
        and not result.failed
        and all(t is None or result.ratio(o) <= t for _, o, t in _ratios(result))
    )


def _compile(result: Result, name: str) -> str:
    made = result.first_call.get(name)
    if made is None:
        return ""
    cold, warm = (f"{made[f'{s} build']:.0f}+{made[f'{s} call']:.0f}" for s in ("cold", "warm"))
    return f"  first call cold {cold} ms, warm {warm} ms"


def _memory(result: Result, name: str) -> str:
    made = result.memory.get(name)
    if made is None:
        return ""
    counted = f" (core counts {made['counted'] / 1e6:.2f})" if "counted" in made else ""
    return f"  +{made['peak'] / 1e6:.1f} MB{counted}"


def as_dict(results: Sequence[Result]) -> dict[str, Any]:
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
                "seconds_per_call": {
                    n: {"median": t.median, "spread": t.spread} for n, t in r.timings.items()
                },
                "first_call_ms": r.first_call,
                "memory_bytes": r.memory,
                "ratios": {
                    label: {"to": other, "value": r.ratio(other), "target": target}
                    for label, other, target in _ratios(r)
                },
            }
            for r in results
        ],
    }


def write_json(results: Sequence[Result], path: str) -> None:
    Path(path).write_text(json.dumps(as_dict(results), indent=1) + "\n")


def plot(results: Sequence[Result], path: str) -> None:
    """A picture of time per step relative to scanlib's, one group of bars per workload."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    results = [r for r in results if r.of_system("scanlib")]
    present = {t.contender.system for r in results for t in r.timings.values()}
    named = [s for s in ("scanlib", "C++", "numba", "jax", "scipy", "numpy") if s in present]
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(results) + 1.5))
    height = 0.8 / len(named)
    for i, system in enumerate(named):
        rows, bars = [], []
        for row, result in enumerate(results):
            timings = result.of_system(system)
            if timings:
                best = timings[0] if system in ("scanlib", "C++") else min(timings, key=lambda t: t.median)
                rows.append(row + i * height)
                bars.append(best.median / result.of_system("scanlib")[0].median)
        axes.barh(rows, bars, height, label=system)
    axes.set_yticks([row + 0.4 for row in range(len(results))], [r.workload.name for r in results])
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.5)
    axes.set_xlabel("time per step, scanlib = 1")
    axes.invert_yaxis()
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)
