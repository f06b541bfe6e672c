"""The peak of memory: what the plan says is what a call, the core and the process take, and it is what is read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scanlib._core")

from loop_programs import WIDTH, arguments, compiled, deep_taps, leaky, m, stopping, v0
from loop_table import TABLE
from memory_child import LOOPS, READS, K

from scanlib.explain import explain

Measure = Callable[..., dict[str, int]]
# The arena of a call: small buffers lie in it, and the core counts it as a whole.
ARENA = 1 << 16
# Of the trace of a million numbers, in bytes; and what a process may take besides what is planned, where that is less:
# pages of code and stacks that a call is the first to touch, less the block or two that the first call left to it.
LEAST_TRACE, TOUCHED = 8 * 10**6, 1 << 20
# What Eigen lays out of both operands of a product, on all threads: what caches hold, however many steps.
LAID_OUT = 3 << 20


@pytest.fixture(scope="module")
def measure() -> Iterator[Measure]:
    """Runs a program in a process of its own: there is nothing of other tests that could be given back meanwhile."""
    command = [sys.executable, str(Path(__file__).with_name("memory_child.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None

        @cache
        def ask(name: str, count: int, width: int | None = None) -> Any:
            print(json.dumps([name, count, width]), file=child.stdin, flush=True)
            return json.loads(child.stdout.readline())

        yield ask
        child.stdin.close()


@pytest.mark.parametrize("count", [10**4, 10**6])
@pytest.mark.parametrize("name", TABLE)
def test_bytes_agree_with_those_of_a_call(measure: Measure, name: str, count: int) -> None:
    made = measure(name, count)
    assert made["planned"] == pytest.approx(made["call"], rel=0.05)
    # The core also counts the arena of a call, and the headers of blocks.
    assert made["planned"] == pytest.approx(made["core"], rel=0.05, abs=ARENA + 4096)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("count", [10**4, 10**6])
@pytest.mark.parametrize("name", TABLE)
def test_resident_memory(measure: Measure, name: str, count: int) -> None:
    """What the process takes from the system is what the plan says; a trace of a million numbers would be seen."""
    made = measure(name, count)
    spare = TOUCHED if made["planned"] < LEAST_TRACE else 0
    _, loops = TABLE[name]
    if any(loop.sums and "matmul" in loop.kernels[2] for loop in loops):
        spare += LAID_OUT
    assert made["resident"] == pytest.approx(made["planned"], rel=0.05, abs=spare)


def slots_needed(loop: str) -> int:
    """Rows of a loop of which the last K rows are read: those of its states, and those that are read."""
    return {
        "steps": 1 + K,
        "until": 1 + K,
        "taps": 3 + K,
        "within": 1 + K + K,  # and the newest result of the outer loop
        "gradient": 1 + K + K,  # and the states of the reverse loop: K cotangents
    }[loop]


@pytest.mark.parametrize("count", [10**3, 10**5])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_read_is_what_is_kept(measure: Measure, loop: str, read: str, count: int) -> None:
    width = 4096
    made = measure(f"{loop} {read}", count, width)
    allowed = made["inputs"] + 8 * width * slots_needed(loop)
    for which in ("planned", "call", "core"):
        assert made["inputs"] + made[which] <= 1.05 * allowed, which


@pytest.mark.parametrize("count", [10**4, 10**6])
@pytest.mark.parametrize(
    ("program", "slots", "row"),
    [
        (lambda: leaky()[-5:], 5, 8),
        (lambda: leaky(m, v0)[-7::2], 7, 8 * WIDTH),
        (lambda: deep_taps()[-2:], 4, 8 * WIDTH),
        (lambda: leaky(m, v0)[::3][-4:], 12, 8 * WIDTH),
        (lambda: stopping()[-3:], 3, 8),
    ],
)
def test_rings_do_not_grow_with_the_number_of_steps(
    program: Callable[[], Any], slots: int, row: int, count: int
) -> None:
    f, inputs = compiled(program())
    e = explain(f, *arguments(inputs, count))
    (output,) = e.scans[0].outputs
    assert output.storage == "ring" and (output.slots, output.bytes) == (slots, slots * row)
    # The ring is handed over, the rows that a strided read takes brought together in it.
    given = sum(v.nbytes for v in arguments(inputs, count))
    f(*arguments(inputs, count))
    for used in (e.peak_bytes, f.peak_bytes):
        assert used is not None and used <= 2 * slots * row
        assert used + given <= 1.05 * ((slots + 1) * row + given)
