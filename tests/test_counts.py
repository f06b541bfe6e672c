"""The counts of the benchmark workloads: nothing is allocated inside loops, and bench/counts.json still holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_nothing_is_allocated_inside_loops() -> None:
    stored = json.loads((ROOT / "bench" / "counts.json").read_text())
    assert {counts["allocations per step"] for counts in stored.values()} == {0}


def test_counts_are_those_stored() -> None:
    done = subprocess.run([sys.executable, "-m", "bench.counts"], cwd=ROOT, capture_output=True, text=True)
    hint = "if this is an improvement: python -m bench.counts --write"
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{hint}"


def test_suite_lists_its_workloads() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "--list"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "garch: scanlib" in done.stdout


def test_a_target_counts_as_met_only_if_every_run_meets_it(tmp_path: Path) -> None:
    files = []
    for i, value in enumerate((0.4, 0.45, 0.6)):
        ratio = {"label": "best peer", "to": "jax", "value": value, "target": 0.5}
        workload = {"name": "loop", "wrong": [], "failed": {}, "ratios": [ratio]}
        files.append(tmp_path / f"{i}.json")
        files[-1].write_text(json.dumps({"versions": {}, "cores": 2, "workloads": [workload]}))
    command = [sys.executable, "-m", "bench", "--load", *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    row = done.stdout.splitlines()[-1]
    assert row.split()[:3] == ["loop", "0.45", "jax"]
    assert row.endswith("met in 2 of 3")
