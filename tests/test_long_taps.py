"""States with taps far back: delays of sound and of simulations, whose cost does not grow with the delay."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T

DELAYS = [33, 700]


def echo(taps: list[int], rows: tuple[int, ...] = ()) -> tuple[list[scanlib.Variable], scanlib.Variable]:
    """y[t] = x[t] + Σ 0.3 y[t + tap], and its inputs: x, and the values before step 0."""
    x, y0 = (T.tensor("float64", (False,) * (1 + len(rows)), name) for name in ("x", "y0"))
    y, _ = scanlib.scan(
        lambda x, *past: x + sum(0.3 * p for p in past), x, dict(initial=y0, taps=taps), name="echo"
    )
    return [x, y0], y


def plain(taps: list[int], x: np.ndarray, y0: np.ndarray) -> np.ndarray:
    y = list(y0)
    for row in x:
        y.append(row + sum(0.3 * y[len(y) + tap] for tap in taps))
    return np.array(y[len(y0) :])


@pytest.mark.parametrize("rows", [(), (3,), (40,)])
@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("near", [[], [-1], [-20, -1]])
def test_values_and_gradients(delay: int, near: list[int], rows: tuple[int, ...]) -> None:
    taps = [-delay, *near]
    inputs, y = echo(taps, rows)
    f = scanlib.function(inputs, [y, y[-1], *scanlib.grad(y[-3:].sum() + y[0].sum(), inputs)])
    rng = np.random.default_rng(delay)
    for steps in (1, 5, delay, 2 * delay + 10):
        x, y0 = rng.normal(size=(steps, *rows)), rng.normal(size=(delay, *rows))
        trace, last, gx, gy0 = f(x, y0)
        expected = plain(taps, x, y0)
        np.testing.assert_allclose(trace, expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(last, expected[-1], rtol=1e-10, atol=1e-12)
        # The loop is linear: its derivative along a direction is its value there.
        dx, dy0 = rng.normal(size=x.shape), rng.normal(size=y0.shape)
        along = plain(taps, dx, dy0)
        np.testing.assert_allclose(
            (gx * dx).sum() + (gy0 * dy0).sum(), along[-3:].sum() + along[0].sum(), rtol=1e-9
        )


def test_the_gradient_holds_a_state_per_tap() -> None:
    """Not one per step that a cotangent is delayed."""
    for delay in DELAYS:
        inputs, y = echo([-delay, -1])
        e = scanlib.explain(scanlib.function(inputs, scanlib.grad(y[-1], inputs[0])))
        labels = [o.label for o in e.scan("gradient of echo").outputs]
        assert [label for label in labels if "y0" in label] == [
            "cotangent of y0[t-1]",
            "cotangent of y0[t-2]",
        ]


@pytest.mark.parametrize("checkpoint", [7, "auto"])
def test_checkpoints(checkpoint: int | str) -> None:
    x, y0 = T.vectors("x", "y0")
    grads = []
    for c in (None, checkpoint):
        y, _ = scanlib.scan(
            lambda x, a, b: T.tanh(x + a * b), x, dict(initial=y0, taps=[-50, -2]), checkpoint=c
        )
        grads.append(scanlib.function([x, y0], scanlib.grad((y**2).sum(), [x, y0])))
    rng = np.random.default_rng(0)
    values = rng.normal(size=120), rng.normal(size=50)
    for a, b in zip(*(g(*values) for g in grads)):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_states_that_feed_each_other_in_a_chain() -> None:
    """What is read needs all of the chain before it; the end of it that nothing reads goes."""
    x = T.vector("x")
    count, used = 6, 3
    outputs, _ = scanlib.scan(lambda x, *s: [x, *s[:-1]], x, [np.float64(0)] * count, name="chain")
    f = scanlib.function([x], outputs[used])
    assert f([1.0, 2.0, 3.0, 4.0, 5.0]).tolist() == [0.0, 0.0, 0.0, 1.0, 2.0]
    (scan,) = scanlib.explain(f).scans
    assert len(scan.outputs) <= used + 1
    summed = scanlib.function([x], [v.sum() for v in scanlib.grad(outputs[used][-1] ** 2, [x])])
    assert summed([1.0, 2.0, 3.0, 4.0, 5.0]) == [4.0]


def test_many_taps() -> None:
    """An autoregression of high order, and its gradient."""
    order, rng = 40, np.random.default_rng(1)
    x, w = T.vectors("x", "w")
    y, _ = scanlib.scan(
        lambda x, *past: x + sum(w[i] * v for i, v in enumerate(past)),
        x,
        dict(initial=T.zeros(order), taps=list(range(-order, 0))),
    )
    cost = (y**2).sum()
    f = scanlib.function([x, w], [cost, *scanlib.grad(cost, [x, w])])
    at = rng.normal(size=60), 0.2 * rng.normal(size=order) / order
    along = rng.normal(size=60), rng.normal(size=order)

    def plain(values: np.ndarray, weights: np.ndarray) -> float:
        past = [0.0] * order
        for v in values:
            past.append(v + np.dot(weights, past[-order:]))
        return float(np.sum(np.square(past)))

    value, *slopes = f(*at)
    assert value == pytest.approx(plain(*at), rel=1e-10)
    up, down = (plain(*(a + e * d for a, d in zip(at, along))) for e in (1e-6, -1e-6))
    assert sum((g * d).sum() for g, d in zip(slopes, along)) == pytest.approx((up - down) / 2e-6, rel=1e-6)
