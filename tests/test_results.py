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
from scanlib.ops.history import history
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


LAST: dict[str, Callable[[Any, Any, Any], Any]] = {
    "in registers of lanes": lambda a, h, w: h * w[0] + a,
    "by instructions": lambda a, h, w: T.tanh(T.dot(h, w) + a) + a.sum(),
    "in place": lambda a, h, w: T.inc_subtensor(h[1:3], a[1:3] * w[0, 1:3]),
}


@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("step", LAST)
def test_the_last_value_lies_where_the_loop_left_it(step: str, width: int) -> None:
    """Steps or none: the slot of a state holds its initial value at first."""
    w = T.dmatrix("w")
    trace = scanlib.scan(LAST[step], sequences=m, outputs_info=v0, non_sequences=w)[0]
    outputs = [history(v0[None], trace)[-1], *scanlib.grad((trace**2).sum(), [v0, w])]
    f, interpreted = (scanlib.function([m, v0, w], outputs, mode=mode) for mode in ("native", "reference"))
    rng = np.random.default_rng(3)
    for steps in (0, 1, 2, 3, 61):
        given = (
            rng.normal(size=(steps, width)),
            rng.normal(size=width),
            rng.normal(size=(width, width)) / width,
        )
        for made, expected in zip(f(*given), interpreted(*given), strict=True):
            np.testing.assert_allclose(made, expected, rtol=1e-10, atol=1e-12)


def test_gradients_of_weights_are_not_copied() -> None:
    x, h, w = T.dtensor3("x"), T.dmatrix("h"), T.dmatrix("w")
    trace = scanlib.scan(
        lambda a, h, w: T.tanh(h + T.dot(a, w)), sequences=x, outputs_info=h, non_sequences=w
    )[0]
    f = scanlib.function([x, h, w], scanlib.grad((trace**2).sum(), w))
    width = 600
    f(np.ones((2, 1, width)), np.ones((1, width)), np.ones((width, width)))
    # The packed weights before, the gradient after: a copy of it would be a second one.
    assert f.peak_bytes < 1.75 * 8 * width * width
