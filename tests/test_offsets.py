"""Variances and sums of exponentials over time, of which the loop keeps no trace: the numbers of the trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserValueError
from scanlib.explain import explain
from scanlib.function import Function
from scanlib.graph import Variable
from scanlib.scan_module import until
from scanlib.verify import verify_grad

Read = Callable[[Variable], Variable]

READS: dict[str, Read] = {
    "variance": lambda t: t.var(0),
    "of all": lambda t: t.var(),
    "one less": lambda t: t.var(0, ddof=1),
    "deviation": lambda t: t.std(0, keepdims=True),
    "of a slice": lambda t: t[2:].var(0),
    "of a stride": lambda t: t[1:-1:2].var(0),
    "of squares": lambda t: (t * t).var(0),
    "from the last": lambda t: ((t - t[-1]) ** 2).sum(0),
    "of the last": lambda t: T.sqr(t.max(0) - t).mean(),
    "logsumexp": lambda t: T.logsumexp(t, 0),
    "logsumexp of all": lambda t: T.logsumexp(t),
    "logsumexp of a slice": lambda t: T.logsumexp(t[1:], 0),
    "logsumexp as written": lambda t: T.log(T.sum(T.exp(t - t.max(0)), 0)) + t.max(0),
    "softmax of the last": lambda t: T.nnet.softmax(t, 0)[-1],
    "with others": lambda t: t.var(0) / (1 + T.logsumexp(2 * t, 0)) + t[-1] - t.mean(0),
}


def loop(rows: Variable, limit: float | None = None) -> Variable:
    """The rows themselves, so that tests choose what the trace holds; until an element is above the limit."""
    start = T.zeros_like(rows[:1].sum(0))
    if limit is None:
        return scanlib.scan(lambda u, h: u + 0 * h, sequences=rows, outputs_info=start)[0]
    return scanlib.scan(
        lambda u, h: (u + 0 * h, until(T.gt(u.max(), limit))), sequences=rows, outputs_info=start
    )[0]


def compiled(read: Read, rows: Variable, mode: str = "native", **options: Any) -> Function:
    return scanlib.function([rows], read(loop(rows, **options)), mode=mode)


def matrix(dtype: str = "float64") -> Variable:
    return T.TensorType(dtype, (None, None))("rows")


@pytest.mark.parametrize("limit", [None, 1.5])
@pytest.mark.parametrize("name", READS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_numbers_of_the_trace(name: str, limit: float | None, data: st.DataObject) -> None:
    rows = T.TensorType("float64", (None, 3))("rows")
    native, meaning = FUNCTIONS.setdefault(
        (name, limit), [compiled(READS[name], rows, mode, limit=limit) for mode in ("native", "reference")]
    )
    count, seed = data.draw(st.integers(5, 40)), data.draw(st.integers(0, 99))
    scale, shift = (
        data.draw(st.sampled_from([1e-3, 1.0, 30.0])),
        data.draw(st.sampled_from([0.0, -2.0, 50.0])),
    )
    values = np.random.default_rng(seed).normal(size=(count, 3)) * scale + shift
    if limit is not None:
        values[:4] = np.minimum(values[:4], limit - 0.1)
    expected = meaning(values)
    np.testing.assert_allclose(native(values), expected, rtol=1e-9, atol=1e-12 * max(1.0, shift**2))


FUNCTIONS: dict[Any, list[Function]] = {}


@pytest.mark.parametrize("name", READS)
def test_no_trace_is_kept(name: str) -> None:
    rows = matrix()
    f = compiled(READS[name], rows)
    (scan,) = explain(f, (1000, 20)).scans
    assert all(output.keep in (0, 1) for output in scan.outputs)


@pytest.mark.parametrize(("dtype", "shift"), [("float64", 1e8), ("float32", 1e3), ("float64", -1e12)])
def test_variances_far_from_zero(dtype: str, shift: float) -> None:
    """Sums of squares less the square of the sum would have no digit left."""
    rows = matrix(dtype)
    values = (np.random.default_rng(0).normal(size=(100_000, 20)) + shift).astype(dtype)
    made = compiled(lambda t: t.var(0), rows)(values)
    assert made.dtype == dtype
    # What is lost when the deviations are that much smaller than the numbers.
    lost = 4 * np.finfo(dtype).eps * abs(shift)
    np.testing.assert_allclose(made, values.astype("longdouble").var(0), rtol=lost)


EDGES = [0.0, 1.0, -1e308, 1e308, 750.0, -750.0, np.inf, -np.inf, np.nan, np.finfo(float).min]


@given(st.lists(st.sampled_from(EDGES), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_exponentials_at_the_ends_of_the_numbers(elements: list[float]) -> None:
    rows = T.dvector("rows")
    for name in ("logsumexp", "logsumexp as written"):
        native, meaning = FUNCTIONS.setdefault(
            (name, "vector"), [compiled(READS[name], rows, mode) for mode in ("native", "reference")]
        )
        with np.errstate(all="ignore"):
            expected = meaning(np.array(elements))
        np.testing.assert_allclose(native(np.array(elements)), expected, rtol=1e-14)


@pytest.mark.parametrize("count", [0, 1])
def test_few_steps(count: int) -> None:
    rows = matrix()
    values = np.ones((count, 3)) * 0.5
    for read in (
        lambda t: ((t - t.mean(0)) ** 2).sum(0),
        lambda t: t.var(0),
        lambda t: T.exp(t - t.sum(0)).sum(0),
    ):
        native, meaning = (compiled(read, rows, mode) for mode in ("native", "reference"))
        np.testing.assert_array_equal(native(values), meaning(values))
    if count == 0:
        for mode in ("native", "reference"):
            with pytest.raises(UserValueError):  # of the largest of nothing
                compiled(READS["logsumexp"], rows, mode)(values)


@pytest.mark.parametrize("name", READS)
def test_gradients(name: str) -> None:
    rows = np.random.default_rng(1).normal(size=(6, 3))

    def cost(rows: Variable) -> Variable:
        trace = scanlib.scan(
            lambda u, h: T.tanh(0.5 * h + u), sequences=rows, outputs_info=T.zeros_like(rows[0])
        )[0]
        return READS[name](trace).sum()

    verify_grad(cost, [rows])
    x = T.dmatrix("x")
    both = [cost(x), scanlib.grad(cost(x), x)]
    for a, b in zip(
        *(scanlib.function([x], both, mode=mode)(rows) for mode in ("native", "reference")), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["variance", "of all", "of a slice", "logsumexp", "softmax of the last"])
def test_in_inner_loops(name: str) -> None:
    cube = T.dtensor3("cube")
    outer = scanlib.scan(lambda rows: READS[name](loop(rows)), sequences=cube)[0]
    values = np.random.default_rng(2).normal(size=(4, 6, 3))
    native, meaning = (scanlib.function([cube], outer, mode=mode) for mode in ("native", "reference"))
    np.testing.assert_allclose(native(values), meaning(values), rtol=1e-13)
    assert all(o.keep in (0, 1) for o in explain(native, values).scans[0].scans[0].outputs)
