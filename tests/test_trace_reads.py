"""What is read of a trace, and the few rows of it that a loop then keeps: the numbers of the whole trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError
from scanlib.explain import explain
from scanlib.graph import Variable
from scanlib.scan_module import until
from scanlib.verify import verify_grad

Read = Callable[[Variable], Variable]
WIDTH = 3

# By name: what is read of a trace of rows of 3 numbers, and the most rows that any output of its loop keeps.
READS: dict[str, tuple[Read, int]] = {
    "place in all but the first": (lambda t: T.argmax(t[1:], 0), 1),
    "place in all but the last two": (lambda t: T.argmin(t[:-2], 0), 1),
    "place in every second": (lambda t: T.argmax(t[1::2], 0), 1),
    "extreme and place in the middle": (lambda t: (u := t[1:-1]).min(0) + T.argmin(u, 0), 1),
    "place of the largest increment": (lambda t: T.argmax(abs(t[1:] - t[:-1]), 0), 1),
    "place of an increment before the last": (lambda t: T.argmin((t[1:] - t[:-1])[:-1], 0), 1),
    "last increments": (lambda t: (t[1:] - t[:-1])[-2:], 3),
    "last increment": (lambda t: T.diff(t, axis=0)[-1], 2),
    "last second difference": (lambda t: (t[2:] - 2 * t[1:-1] + t[:-2])[-1], 3),
    "last increment of exponentials, and the last": (lambda t: (T.exp(t[1:]) - T.exp(t[:-1]))[-1] * t[-1], 2),
    "sum of all but the last": (lambda t: t[:-1].sum(0), 1),
    "product of all but the first and the last two": (lambda t: t[1:-2].prod(0), 1),
    "largest of all but the last three": (lambda t: t[:-3].max(0), 1),
    "sum of every third of all but the last": (lambda t: t[1:-1:3].sum(0), 1),
    "variance of all but the last": (lambda t: t[:-1].var(0), 1),
    "logsumexp of all but the last": (lambda t: T.logsumexp(t[:-1], 0), 1),
    "increments before the last": (lambda t: ((t[1:-1] - t[:-2]) ** 2).sum(0), 1),
    "mean of exponentials before the last": (lambda t: T.exp(t[:-1]).mean(0), 1),
    "a row written at the end": (lambda t: (u := T.set_subtensor(t[-1], 2.0))[-2] * u[-1], 2),
    "rows added to before the last": (lambda t: T.inc_subtensor(t[-3:-1], t[-1])[-1], 3),
    "a column written": (lambda t: T.set_subtensor(t[:, 0], 5.0)[-1], 1),
    "a column of other rows written": (lambda t: T.inc_subtensor(t[:, 1], 1.0 * T.arange(t.shape[0]))[-2:], 2),
    "written from the third on": (lambda t: T.set_subtensor(t[2:], 0.5)[-1], 1),
    "every second before the last added to": (lambda t: T.inc_subtensor(t[1:-1:2], 0.5)[-1], 1),
    "last elements of the vector of all": (lambda t: t.flatten()[-4:], 2),
    "before and behind others": (lambda t: T.concatenate([T.ones((2, 3)), t, T.ones((1, 3))])[-3:], 2),
    "the same behind itself": (lambda t: T.concatenate([t, T.ones_like(t), t])[-2:], 2),
    "places from the front": (lambda t: t[T.stack([t.shape[0] - 1, t.shape[0] - 3])], 3),
    "places from both ends": (lambda t: t[T.stack([t.shape[0] - 1, T.constant(-2)])], 2),
    "places counted back": (lambda t: t[t.shape[0] - 1 - T.arange(3)], 3),
    "range of places": (lambda t: t[T.arange(t.shape[0] - 3, t.shape[0]), 1], 3),
    "columns by a list": (lambda t: t[:, [2, 0]][-1], 1),
    "column of a product": (lambda t: T.dot(T.constant(np.eye(3)), t.T)[:, -1], 1),
    "one of many products": (lambda t: T.batched_dot(t[:, None, :], t[:, :, None])[-2:], 2),
    "sum of all but the last twenty": (lambda t: t[:-20].sum(0), 1),
}  # fmt: skip
NOT_ONE_LENGTH = [
    "last increments",
    "a column of other rows written",
    "last elements of the vector of all",
    "the same behind itself",
    "one of many products",
]
ONE_ROW = [name for name in READS if name not in NOT_ONE_LENGTH]
NUMBERS = [name for name in READS if "place" not in name]


def loop(rows: Variable, limit: float | None) -> Variable:
    """h[t] = tanh(h[t-1]/2 + rows[t]), until the sum of a row of h exceeds the limit."""

    def step(u: Variable, h: Variable) -> Any:
        new = T.tanh(0.5 * h + u)
        return new if limit is None else (new, until(T.gt(new.sum(), limit)))

    return scanlib.scan(step, sequences=rows, outputs_info=T.zeros(WIDTH))[0]


@pytest.fixture(scope="module")
def functions() -> Callable[[str, float | None], list[Any]]:
    known: dict[Any, list[Any]] = {}

    def of(name: str, limit: float | None) -> list[Any]:
        if (name, limit) not in known:
            rows = T.TensorType("float64", (None, WIDTH))("rows")
            read = READS[name][0](loop(rows, limit))
            known[name, limit] = [
                scanlib.function([rows], read, mode=mode) for mode in ("native", "reference")
            ]
        return known[name, limit]

    return of


def result(f: Any, *values: Any) -> Any:
    """What a function gives, or what kind of error it raises."""
    try:
        return f(*values)
    except UserError as e:
        return "an index is outside" if isinstance(e, IndexError) else "a length or value is wrong"


@pytest.mark.parametrize("limit", [None, 0.5])
@pytest.mark.parametrize("name", READS)
def test_the_numbers_of_the_trace(name: str, limit: float | None, functions: Any) -> None:
    """Of any number of steps, none and fewer than are read included."""
    native, meaning = functions(name, limit)
    for count in (0, 1, 2, 3, 4, 9, 30):
        rows = np.random.default_rng(count).normal(size=(count, WIDTH)) - 0.2
        a, b = result(native, rows), result(meaning, rows)
        if isinstance(b, str):
            assert a == b, (name, count)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("limit", [None, 0.5])
@pytest.mark.parametrize("name", READS)
def test_no_trace_is_kept(name: str, limit: float | None, functions: Any) -> None:
    (scan,) = explain(functions(name, limit)[0], (1000, WIDTH)).scans
    most = READS[name][1]
    assert all(output.keep is not None and output.keep <= most for output in scan.outputs)


@pytest.mark.parametrize("name", READS)
def test_in_inner_loops(name: str) -> None:
    cube = T.TensorType("float64", (None, None, WIDTH))("cube")
    read = READS[name][0]
    limit = 2.0 if name in ONE_ROW else None  # the rows of the outer loop must have one length
    outer = scanlib.scan(lambda rows: read(loop(rows, limit)), sequences=cube)[0]
    native, meaning = (scanlib.function([cube], outer, mode=mode) for mode in ("native", "reference"))
    values = np.random.default_rng(2).normal(size=(4, 30, WIDTH))
    np.testing.assert_allclose(native(values), meaning(values), rtol=1e-12, atol=1e-14)
    (inner,) = explain(native, values).scans[0].scans
    assert all(output.keep is not None and output.keep <= READS[name][1] for output in inner.outputs)


@pytest.mark.parametrize("limit", [None, 0.5])
@pytest.mark.parametrize("name", NUMBERS)
def test_gradients(name: str, limit: float | None) -> None:
    rows = np.random.default_rng(3).normal(size=(25, WIDTH)) - 0.3

    def cost(rows: Variable) -> Variable:
        return READS[name][0](loop(rows, limit)).sum()

    verify_grad(cost, [rows])
    x = T.dmatrix("x")
    both = [cost(x), scanlib.grad(cost(x), x)]
    native, meaning = (scanlib.function([x], both, mode=mode)(rows) for mode in ("native", "reference"))
    for a, b in zip(native, meaning, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
