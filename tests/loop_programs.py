"""Loops that the tests of `explain` and of memory look at, over inputs of known shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import scanlib
import scanlib.tensor as T
from scanlib.function import Function
from scanlib.graph import Variable, roots
from scanlib.scan_module import until

x, m, c = T.dvector("x"), T.dmatrix("m"), T.dtensor3("c")
W, U, V, B = T.dmatrix("W"), T.dmatrix("U"), T.dmatrix("V"), T.dmatrix("B")
h0, w, v0, n = T.dscalar("h0"), T.dscalar("w"), T.dvector("v0"), T.lscalar("n")
STEPS, WIDTH = 10_000, 20
SHAPES: dict[Variable, Any] = {
    x: (STEPS,), m: (STEPS, WIDTH), c: (STEPS, 18, WIDTH), W: (WIDTH, WIDTH), U: (WIDTH, WIDTH),
    V: (WIDTH, WIDTH), B: (18, WIDTH), h0: 0.5, w: 0.5, v0: (WIDTH,), n: STEPS,
}  # fmt: skip


def compiled(outputs: Any) -> tuple[Function, list[Variable]]:
    """The function of the inputs that the outputs need, and those inputs."""
    found = roots(outputs if isinstance(outputs, list) else [outputs])
    inputs = [v for v in found if v in SHAPES]
    return scanlib.function(inputs, outputs, no_default_updates=True), inputs


def arguments(inputs: list[Variable], count: int, width: int = WIDTH) -> list[np.ndarray]:
    """Values of the inputs, for `count` steps of rows of `width`."""
    sizes = {STEPS: count, WIDTH: width}
    shapes = [SHAPES[v] for v in inputs]
    return [
        np.full([sizes.get(d, d) for d in s], 1e-3) if isinstance(s, tuple) else np.asarray(sizes.get(s, s))
        for s in shapes
    ]


def scan(fn: Callable[..., Any], *sequences: Variable, states: Any = None, **arguments: Any) -> Any:
    return scanlib.scan(fn, sequences=list(sequences), outputs_info=states, **arguments)[0]


def leaky(a: Variable = x, start: Variable = h0, **arguments: Any) -> Variable:
    """h[t] = h[t-1]/2 + a[t]."""
    return scan(lambda a, h: 0.5 * h + a, a, states=start, **arguments)


def two_taps() -> Variable:
    return scan(
        lambda a, p, q: 0.5 * p + 0.2 * q + a,
        x,
        states={"initial": T.stack([h0, w]), "taps": [-2, -1]},
    )


def deep_taps() -> Variable:
    start = {"initial": T.stack([v0, v0, v0, v0]), "taps": [-4, -1]}
    return scan(lambda a, p, q: 0.5 * p + 0.2 * q + a, m, states=start)


def stopping() -> Variable:
    return scan(lambda h: (h * 2, until(T.gt(h, 2))), states=h0, n_steps=20)


def stopping_late() -> Variable:
    """Stops after all but seven of the steps."""
    count = T.cast(n, "float64")
    return scan(
        lambda h, i: ([0.5 * h + 1, i + 1], until(T.ge(i, count - 8))),
        states=[v0, T.constant(0.0)],
        n_steps=n,
    )[0]


def both() -> list[Variable]:
    return scan(lambda a, h: [0.5 * h + a, T.exp(a)], x, states=[h0, None])


def elman(a: Variable = m, start: Variable = v0, **arguments: Any) -> Variable:
    return scan(lambda a, h: T.tanh(a @ W + h @ U), a, states=start, **arguments)


def readout() -> list[Variable]:
    return scan(lambda a, h: [(s := T.tanh(a @ W + h @ U)), s @ V], m, states=[v0, None])


def lstm() -> Variable:
    def step(a: Variable, h: Variable, c: Variable) -> list[Variable]:
        gate = T.nnet.sigmoid(a @ W + h @ U)
        c = gate * c + T.tanh(h @ V)
        return [gate * T.tanh(c), c]

    return scan(step, m, states=[v0, v0])[0]


def covariance() -> Variable:
    """A Kalman-like pair of a small dense state and its covariance."""
    F = T.constant(np.eye(2) * 0.9)
    start = [T.zeros(2), T.constant(np.eye(2))]
    return scan(lambda a, s, P: [F @ s + a, F @ P @ F.T + np.eye(2)], x, states=start)[0]


def nested(read: Callable[[Variable], Variable]) -> Variable:
    return scan(lambda row: read(leaky(row, name="inner")), m, name="outer")


def carried() -> list[Variable]:
    k = scanlib.shared(0.0, "k")
    _, updates = scanlib.scan(lambda a: {k: k + a}, sequences=x)
    return list(updates.values())


def random_walk() -> Variable:
    streams = T.shared_randomstreams.RandomStreams(1)
    return scan(lambda h: h + streams.normal(), states=h0, n_steps=n)[-1]


def cholesky(a: Variable) -> Variable:
    return T.slinalg.cholesky(a @ a.T + T.eye(a.shape[0]))
