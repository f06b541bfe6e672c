"""Results: contiguous, with the values of the interpreter, in the memory of the loop if nothing else reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib import _core
from scanlib.graph import Variable
from scanlib.scan_module import until

v0, n, m = T.dvector("v0"), T.lscalar("n"), T.dmatrix("m")
# By kind of loop: the inputs and the trace.
LOOPS: dict[str, tuple[list[Variable], Variable]] = {
    "steps": ([n, v0], scanlib.scan(lambda h: h * 0.5 + 1, outputs_info=v0, n_steps=n)[0]),
    "until": (
        [n, v0],
        scanlib.scan(lambda h: (h * 0.5 + 1, until(T.gt(h[0], 1.99))), outputs_info=v0, n_steps=n)[0],
    ),
    "sequence": ([m, v0], scanlib.scan(lambda a, h: h * 0.5 + a, sequences=m, outputs_info=v0)[0]),
    "bools": ([m, v0], scanlib.scan(lambda a, h: T.gt(a, h), sequences=m, non_sequences=v0)[0]),
}
READS: dict[str, Callable[[Variable], Any]] = {
    "strided": lambda t: t[-5::2],
    "less than half": lambda t: t[-9::3],
    "far less": lambda t: t[-200::100],
    "backwards": lambda t: t[::-1][:5],
    "strided backwards": lambda t: t[-1:-8:-2],
    "every other": lambda t: t[::2],
    "all backwards": lambda t: t[::-1],
    "two": lambda t: [t[-5::2], t[::-1][:3]],
    "strided and last": lambda t: [t[-9::3], t[-1]],
    "last and all": lambda t: [t[-1], t, t[::2]],
    "turned": lambda t: t[-5::2].T,
    "columns": lambda t: t[-5::2, 1:],
    "columns backwards": lambda t: t[-5::2, ::-1],
    "one column": lambda t: t[::2, 1],
    "strided and its sum": lambda t: [t[-5::2], t[-5::2].sum(0)],
}


@pytest.mark.parametrize("width", [5, 20, 9000])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("loop", LOOPS)
def test_results_are_those_of_the_interpreter(loop: str, read: str, width: int) -> None:
    inputs, trace = LOOPS[loop]
    outputs = READS[read](trace)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    f = scanlib.function(inputs, outputs)
    interpreted = scanlib.function(inputs, outputs, mode="reference")
    start = np.linspace(0.0, 1.0, width)
    for steps in (1, 2, 4, 5, 61):
        given = np.linspace(-1.0, 1.0, steps * width).reshape(steps, width) if inputs[0] is m else steps
        for made, expected in zip(f(given, start), interpreted(given, start), strict=True):
            assert made.flags.c_contiguous and made.shape == expected.shape
            np.testing.assert_allclose(made, expected, rtol=1e-13)


@pytest.mark.parametrize("read", ["every other", "less than half", "all backwards"])
def test_what_is_not_part_of_a_result_goes_back(read: str) -> None:
    inputs, trace = LOOPS["sequence"]
    f = scanlib.function(inputs, READS[read](trace))
    rows = np.ones((61, 9000))
    before = _core.allocated_bytes()
    made = f(rows, rows[0])
    # An eighth may stay with the result; the arena of the call stays for the next one.
    assert _core.allocated_bytes() - before <= made.nbytes * 8 / 7 + (1 << 16)
    assert f.peak_bytes <= 8 * 9000 * {"less than half": 10}.get(read, 62)


def test_results_outlive_the_next_calls() -> None:
    inputs, trace = LOOPS["sequence"]
    f = scanlib.function(inputs, trace[::2])
    rows = np.random.default_rng(0).random((100, 5000))
    first = f(rows, rows[0])
    expected = first.copy()
    for _ in range(3):
        f(rows + 1, rows[0])
    np.testing.assert_array_equal(first, expected)
