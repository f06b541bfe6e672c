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
