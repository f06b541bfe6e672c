"""Rows of a recurrence that are independent run on threads of their own; others do not, and `explain` says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib import config
from scanlib.errors import StepError
from scanlib.explain import explain
from scanlib.lengths import step_axes
from scanlib.lower import block_length, lower
from scanlib.passes import optimise
from scanlib.plan import NO_SLOT, Library, Loop
from scanlib.scan_module import until

X, W, U, H = T.dtensor3("X"), T.dmatrix("W"), T.dmatrix("U"), T.dmatrix("H")
K = T.lmatrix("K")
Program = tuple[list[Any], list[Any], list[Any]]
ROWS, WIDTH = 40, 20


@pytest.fixture(autouse=True)
def number_of_threads() -> Iterator[None]:
    before = config.threads
    yield
    config.threads = before


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape) * 0.3


def values(rows: int = ROWS, steps: int = 30) -> dict[Any, np.ndarray]:
    return {
        X: draw(steps, rows, WIDTH),
        W: draw(WIDTH, WIDTH),
        U: draw(WIDTH, 3 * WIDTH),
        H: draw(rows, WIDTH),
        K: np.random.default_rng(0).integers(0, WIDTH, (steps, rows)),
    }


def loop(step: Callable[..., Any], *sequences: Any, states: Any = H, fixed: Any = (), **named: Any) -> Any:
    return scanlib.scan(
        step, sequences=list(sequences), outputs_info=states, non_sequences=list(fixed), **named
    )[0]


def elman() -> Any:
    return loop(lambda x, h, W: T.tanh(x + T.dot(h, W)), X, fixed=[W])


def gated() -> Any:
    def step(x: Any, h: Any, c: Any, U: Any) -> list[Any]:
        z = T.dot(h, U)
        keep, read = T.nnet.sigmoid(x + z[:, :WIDTH]), T.nnet.sigmoid(z[:, 2 * WIDTH :])
        c = keep * c + T.tanh(z[:, WIDTH : 2 * WIDTH])
        return [read * T.tanh(c), c]

    return loop(step, X, states=[H, T.zeros_like(H)], fixed=[U])[0]


def two_taps() -> Any:
    def step(x: Any, h2: Any, h1: Any, W: Any) -> Any:
        return T.tanh(T.dot(h1, W) + 0.5 * h2 + x)

    return loop(step, X, states={"initial": T.stack([H, H]), "taps": [-2, -1]}, fixed=[W])


def normalised() -> Any:
    """Sums along a row, and a value that lies the other way round."""

    def step(x: Any, h: Any, W: Any) -> Any:
        y = T.dot(W, T.exp(h).T).T + x
        return (y - y.mean(1, keepdims=True)) / (1 + T.sqr(y).sum(1)).dimshuffle(0, "x")

    return loop(step, X, fixed=[W])


def joined() -> Any:
    return loop(lambda x, h, U: T.tanh(T.dot(T.concatenate([x, h, x * h], axis=1), U.T)), X, fixed=[U])


def driven() -> Any:
    """Dear functions of the sequence: of a row alone, and of what all rows of a step have in common."""

    def step(x: Any, h: Any, W: Any) -> Any:
        return T.tanh(T.exp(-x) + T.exp(x).mean(0) + T.log1p(x * x) * T.dot(h, W))

    return loop(step, X, fixed=[W])


def driven_row_by_row() -> Any:
    return loop(lambda x, h, W: T.tanh(T.exp(-x) + T.log1p(x * x) * T.dot(h, W)), X, fixed=[W])


def traced_twice() -> Any:
    def step(x: Any, h: Any, W: Any) -> list[Any]:
        new = T.tanh(x + T.dot(h, W))
        return [new, T.exp(new).sum(1), T.dot(new * new, W)]

    return loop(step, X, states=[H, None, None], fixed=[W])


def fed() -> Any:
    """A product of the sequence, of which each row is read by its own row."""
    return loop(lambda x, h, W: T.tanh(T.dot(x, W) + T.dot(h, W)), X, fixed=[W])


def fed_twice() -> Any:
    """Products of several matrices with one left operand, columns of one of them left over."""

    def step(x: Any, h: Any, W: Any, U: Any) -> Any:
        z = T.dot(x, U)
        return T.tanh(T.dot(x, W) * z[:, :WIDTH] + z[:, WIDTH : 2 * WIDTH] + T.dot(h, W))

    return loop(step, X, fixed=[W, U])


def fed_by_others() -> Any:
    """Rows read products of other rows of the sequence."""
    return loop(lambda x, h, W: T.tanh(T.dot(x, W)[::-1] + T.dot(h, W)), X, fixed=[W])


def fed_alike() -> Any:
    """All rows read one product."""
    return loop(lambda x, h, W: T.tanh(T.dot(x[:1], W) + T.dot(h, W)), X, fixed=[W])


def fed_both_ways() -> Any:
    """One product has rows, one is the same for all rows."""
    return loop(lambda x, h, W: T.tanh(T.dot(x, W) + T.dot(W, x.T)[0, 0] + T.dot(h, W)), X, fixed=[W])


def fed_by_a_chain() -> Any:
    return loop(lambda x, h, W: T.tanh(T.dot(T.dot(x, W), W) + T.dot(h, W)), X, fixed=[W])


INDEPENDENT = [elman, gated, two_taps, normalised, joined, driven, driven_row_by_row, traced_twice]
# Recurrences with such rows, and a prologue.
FED = [fed, fed_twice, fed_by_others, fed_alike, fed_both_ways, fed_by_a_chain]


def softmax() -> Any:
    """A sum over all rows."""

    def step(x: Any, h: Any, W: Any) -> Any:
        e = T.exp(T.dot(h, W) + x)
        return e / e.sum(0)

    return loop(step, X, fixed=[W])


def gram() -> Any:
    return loop(lambda x, h: T.tanh(x + 0.05 * T.dot(h, T.dot(h.T, x))), X)


def shifted() -> Any:
    return loop(lambda x, h, W: T.tanh(x + T.dot(T.concatenate([h[1:], h[:1]], axis=0), W)), X, fixed=[W])


def stopping() -> Any:
    def step(x: Any, h: Any, W: Any) -> Any:
        new = T.tanh(x + T.dot(h, W))
        return new, until(new.sum() > 1e6)

    return loop(step, X, fixed=[W])


def nested() -> Any:
    def step(x: Any, h: Any, W: Any) -> Any:
        inner = scanlib.scan(lambda g, W: T.tanh(T.dot(g, W)), outputs_info=h, non_sequences=W, n_steps=2)[0]
        return inner[-1] + x

    return loop(step, X, fixed=[W])


def counted() -> Any:
    """A state that has no rows."""

    def step(x: Any, h: Any, n: Any, W: Any) -> list[Any]:
        return [T.tanh(x + T.dot(h, W)) / n, n + 1]

    return loop(step, X, states=[H, T.constant(1.0)], fixed=[W])[0]


MIXED = [
    (softmax, "sum reads other rows"),
    (gram, "contract reads other rows"),
    (shifted, "reads other rows"),
    (stopping, "a condition on all rows"),
    (nested, "a loop runs inside of a step"),
    (counted, "a state has no rows"),
]


def built(program: Callable[[], Any], gradient: bool = True) -> tuple[list[Any], list[Any]]:
    made = program()
    outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    given = [v for v in (X, W, U, H) if v in scanlib.graph.roots(outputs)]
    if gradient:
        cost = sum(T.sqr(o).sum() for o in outputs)
        outputs += scanlib.grad(cost, given)
    return given, outputs


def check(program: Callable[[], Any], arguments: dict[Any, np.ndarray]) -> None:
    given, outputs = built(program)
    f = scanlib.function(given, outputs)
    wanted = scanlib.function(given, outputs, mode="reference")(*[arguments[v] for v in given])
    results = []
    for count in (1, 2, 3):
        config.threads = count
        results.append(f(*[arguments[v] for v in given]))
        for found, expected in zip(results[-1], wanted):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    for found, more in zip(results[0][: len(outputs) - len(given)], results[1]):
        np.testing.assert_array_equal(found, more)


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that cost so much that each thread gets some."""
    from scanlib.lower import cost

    monkeypatch.setattr(cost, "MATH_COST", 100_000)


@pytest.mark.parametrize("rows", [16, 17, ROWS])
@pytest.mark.parametrize("program", [*INDEPENDENT, *FED])
def test_independent_rows(program: Callable[[], Any], rows: int, many_parts: None) -> None:
    check(program, values(rows))


@pytest.mark.parametrize("program", [p for p, _ in MIXED])
def test_rows_that_are_not_independent(program: Callable[[], Any], many_parts: None) -> None:
    check(program, values())


@pytest.mark.parametrize("program", [*INDEPENDENT, *FED])
def test_short_blocks(program: Callable[[], Any], many_parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_length, "CACHE", 1)
    monkeypatch.setattr(block_length, "PRODUCT_ROWS", 3 * ROWS)
    check(program, values())


@pytest.mark.parametrize("program", INDEPENDENT)
def test_explain_tells_rows(program: Callable[[], Any], many_parts: None) -> None:
    config.threads = 3
    for with_gradient in (False, True):
        given, outputs = built(program, with_gradient)
        e = explain(scanlib.function(given, outputs), *[values()[v] for v in given])
        for scan in e.scans:
            assert (scan.form, scan.order, scan.threads) == ("instructions", "rows", 3), scan.reasons
            assert "rows" not in scan.reasons
    assert "rows outside, 3 threads" in str(e)
    few = explain(scanlib.function(given, outputs), *[values(12)[v] for v in given])
    told = {(scan.form, scan.reasons.get("rows")) for scan in few.scans}
    assert told <= {("native", None), ("instructions", "there are fewer than 16 rows")}


@pytest.mark.parametrize(
    ("program", "narrowed"),
    [(fed, True), (fed_twice, True), (fed_by_others, False), (fed_alike, False), (fed_both_ways, False)],
)
def test_threads_prepare_the_rows_that_they_read(program: Callable[[], Any], narrowed: bool) -> None:
    given, outputs = built(program, False)
    graph = optimise(scanlib.function(given, outputs).program.graph)
    plan = lower(graph, [(-1,) * v.ndim for v in graph.inputs], step_axes(graph)).plan
    (made,) = [i for i in plan.instructions if isinstance(i, Loop)]
    products = [i for i in made.prologue if isinstance(i, Library)]
    assert products and made.rows_slot != NO_SLOT
    for i in products:
        assert all((o.row_axis == 1) is narrowed for o in (i.operands[0], *i.operands[2::2]))


@pytest.mark.parametrize(("program", "reason"), MIXED)
def test_explain_tells_why_not(program: Callable[[], Any], reason: str) -> None:
    given, outputs = built(program, False)
    (scan,) = explain(scanlib.function(given, outputs), *[values()[v] for v in given]).scans
    assert scan.order == "time" and reason in scan.reasons["rows"] and scan.threads == 1


def test_the_lowest_failing_row_reports(many_parts: None) -> None:
    def step(x: Any, k: Any, h: Any, W: Any) -> Any:
        return T.tanh(x + T.dot(h, W) + h[T.arange(k.shape[0]), k].dimshuffle(0, "x"))

    outputs = loop(step, X, K, fixed=[W])
    f = scanlib.function([X, K, W, H], outputs)
    arguments = values()
    index = arguments[K].copy()
    index[12, 35], index[13, 2], index[12, 38] = 77, 78, 79
    for count in (1, 2, 3):
        config.threads = count
        with pytest.raises(StepError, match="77") as caught:
            f(arguments[X], index, arguments[W], arguments[H])
        assert "step 12" in str(caught.value)
