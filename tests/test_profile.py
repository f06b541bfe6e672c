"""Functions made with profile=True: calls, steps, blocks, seconds and bytes of each scan."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib.function import Function
from scanlib.profile import Profile

m, W, U, v0 = T.dmatrix("m"), T.dmatrix("W"), T.dmatrix("U"), T.dvector("v0")
WIDTH = 40


def network(**arguments: object) -> Function:
    """Products before and after the recurrence."""
    traces, _ = scanlib.scan(
        lambda a, h: [(s := T.tanh(a @ W + h @ U)), T.exp(s @ W)],
        sequences=m,
        outputs_info=[v0, None],
        name="network",
    )
    return scanlib.function([m, W, U, v0], traces[1], **arguments)


def values(steps: int, width: int = WIDTH) -> tuple[np.ndarray, ...]:
    return np.ones((steps, width)), *(np.full((width, width), 0.01) for _ in range(2)), np.zeros(width)


def profiled(f: Function) -> Profile:
    found = f.profile
    assert found is not None
    return found


def test_off_unless_asked_for() -> None:
    assert network().profile is None
    assert network(profile=True, mode="reference").profile is None


def test_counts() -> None:
    f = network(profile=True)
    assert profiled(f) == Profile("function", 0, 0.0, 0, ())
    start = time.perf_counter()
    for _ in range(3):
        f(*values(1000))
    elapsed = time.perf_counter() - start
    p = profiled(f)
    (s,) = p.scans
    block = scanlib.explain(f, *values(1000)).scans[0].block_length
    assert block is not None
    assert (s.name, s.depth, s.calls, s.steps, s.blocks) == ("network", 0, 3, 3000, 3 * -(-1000 // block))
    parts = s.prologue, s.recurrence, s.epilogue
    assert all(t > 0 for t in parts) and sum(parts) <= s.seconds <= p.seconds <= elapsed
    assert p.calls == 3 and p.peak_bytes == f.peak_bytes


def test_bytes_are_those_explained() -> None:
    f = network(profile=True)
    f(*values(1000))
    (explained,) = scanlib.explain(f, *values(1000)).scans
    sizes = [o.bytes for o in explained.outputs] + [explained.temporary_bytes]
    assert profiled(f).scan("network").bytes == sum(size for size in sizes if size is not None)


def test_specialisations_are_added_up() -> None:
    f = network(profile=True)
    f(*values(100))
    f(*values(50, 3))
    (s,) = profiled(f).scans
    assert (s.calls, s.steps) == (2, 150)


def test_inner_scans() -> None:
    def step(row: T.TensorVariable) -> T.TensorVariable:
        inner, _ = scanlib.scan(lambda a, h: h / 2 + a, sequences=row, outputs_info=v0[0], name="inner")
        return inner[-1]

    trace, _ = scanlib.scan(step, sequences=m, name="outer")
    f = scanlib.function([m, v0], trace, name="nested", profile=True)
    f(np.ones((30, 20)), np.ones(1))
    outer, inner = profiled(f).scans
    assert (outer.name, outer.depth, outer.calls, outer.steps) == ("outer", 0, 1, 30)
    assert (inner.name, inner.depth, inner.calls, inner.steps) == ("inner", 1, 30, 600)
    assert inner.seconds <= outer.recurrence
    lines = str(profiled(f)).splitlines()
    assert lines[0].startswith("function 'nested': 1 calls") and lines[3].lstrip().startswith("inner")
    assert len(lines) == 4


def test_until_counts_the_steps_done() -> None:
    from scanlib.scan_module import until

    trace, _ = scanlib.scan(lambda h: (h * 2, until(h > 10)), outputs_info=1.0, n_steps=100)
    f = scanlib.function([], trace, profile=True)
    assert profiled_steps(f) == len(f())


def profiled_steps(f: Function) -> int:
    f()
    return profiled(f).scans[0].steps


def test_pickled_functions_start_anew() -> None:
    f = network(profile=True)
    f(*values(10))
    assert pickle.loads(pickle.dumps(f)).profile is None
