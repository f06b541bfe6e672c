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
