"""GARCH(1, 1): x[t] = w + a r[t]² + b x[t-1]: the trace; and a likelihood with its gradient in w, a, b."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Run, Targets, Workload


def inputs(steps: int) -> Arrays:
    return np.random.default_rng(0).normal(size=steps), 0.1, 0.1, 0.8, 1.0


def numpy_loop(r: Any, w: float, a: float, b: float, x: float) -> Any:
    out = np.empty(len(r))
    for t in range(len(r)):
        x = w + a * r[t] ** 2 + b * x
        out[t] = x
    return out


def program(scanlib: Any, T: Any) -> Run:
    r = T.dvector("r")
    w, a, b, x0 = T.dscalars("w", "a", "b", "x0")
    x, _ = scanlib.scan(lambda r, x: w + a * r**2 + b * x, sequences=r, outputs_info=x0, name="garch")
    return scanlib.function([r, w, a, b, x0], x)


def with_jax(unroll: int) -> Run:
    from jax import lax

    def garch(r: Any, w: Any, a: Any, b: Any, x0: Any) -> Any:
        def step(x: Any, r: Any) -> Any:
            x = w + a * r**2 + b * x
            return x, x

        return lax.scan(step, x0, r, unroll=unroll)[1]

    return garch


ONNX = """
<ir_version: 9, opset_import: ["" : 18]>
garch (double[n] r, double w, double a, double b, double x0) => (double[n] x) {
  last, x = Scan <num_scan_inputs = 1, body = step (double v, double s) => (double next, double out) {
    square = Mul(s, s)
    news = Mul(a, square)
    level = Add(w, news)
    kept = Mul(b, v)
    next = Add(level, kept)
    out = Identity(next)
  }> (x0, r)
}
"""


def with_onnx() -> Run:
    session = systems.onnx_session(ONNX)

    def garch(r: Any, *numbers: float) -> Any:
        given = {name: np.asarray(x) for name, x in zip(("w", "a", "b", "x0"), numbers)}
        return session.run(None, {"r": r, **given})

    return garch


def with_jax_associative() -> Run:
    from jax import lax

    def garch(r: Any, w: Any, a: Any, b: Any, x0: Any) -> Any:
        def combine(first: Any, then: Any) -> Any:
            return first[0] * then[0], first[1] * then[0] + then[1]

        factors = lax.broadcast(b, r.shape)
        products, sums = lax.associative_scan(combine, (factors, w + a * r**2))
        return products * x0 + sums

    return garch


def with_cpp(library: limit.Library, reuse: bool) -> Run:
    buffer = np.empty(0)

    def garch(r: Any, w: float, a: float, b: float, x: float) -> Any:
        nonlocal buffer
        if not reuse or len(buffer) != len(r):
            buffer = np.empty(len(r))
        out = buffer
        library.garch(r, len(r), w, a, b, x, out)
        return out

    return garch


# -- value and gradient of Σ log x[t] + r[t]² / x[t] --------------------------------------------------------


def value_and_gradient_program(scanlib: Any, T: Any) -> Run:
    r = T.dvector("r")
    w, a, b, x0 = T.dscalars("w", "a", "b", "x0")
    x, _ = scanlib.scan(lambda r, x: w + a * r**2 + b * x, sequences=r, outputs_info=x0, name="garch")
    loss = (T.log(x) + r**2 / x).sum()
    return scanlib.function([r, w, a, b, x0], [loss, *scanlib.grad(loss, [w, a, b])])


def loss_jax(unroll: int) -> Run:
    from jax import numpy as jnp

    trace = with_jax(unroll)

    def loss(r: Any, w: Any, a: Any, b: Any, x0: Any) -> Any:
        x = trace(r, w, a, b, x0)
        return (jnp.log(x) + r**2 / x).sum()

    return loss


def value_and_gradient_numpy(r: Any, w: float, a: float, b: float, x: float) -> Any:
    """Forward: the derivatives of x go along with it."""
    value = dw = da = db = xw = xa = xb = 0.0
    for t in range(len(r)):
        square = r[t] * r[t]
        xw, xa, xb = 1 + b * xw, square + b * xa, x + b * xb
        x = w + a * square + b * x
        slope = (1 - square / x) / x
        value += np.log(x) + square / x
        dw, da, db = dw + slope * xw, da + slope * xa, db + slope * xb
    return value, dw, da, db


def value_and_gradient_cpp(library: limit.Library) -> Run:
    def run(r: Any, w: float, a: float, b: float, x: float) -> Any:
        out = np.empty(4)
        library.value_and_gradient(r, len(r), w, a, b, x, out)
        return tuple(out)

    return run


WORKLOADS = (
    Workload(
        "garch",
        1_000_000,
        inputs,
        [
            *systems.scanlib(program),
            *systems.cpp("garch", lambda library: with_cpp(library, reuse=False)),
            *systems.cpp("garch", lambda library: with_cpp(library, reuse=True), "into one buffer"),
            *systems.numba(numpy_loop),
            *systems.jax(lambda: with_jax(1)),
            *systems.jax(lambda: with_jax(8), "unroll 8"),
            *systems.jax(with_jax_associative, "associative"),
            *systems.pytensor(program),
            *systems.onnxruntime(with_onnx, "Scan", part=0.02),
            *systems.numpy_loop(numpy_loop),
        ],
        targets=Targets(peer=0.9, limit=1.2, of=("jax", "numba", "pytensor", "onnxruntime")),
    ),
    Workload(
        "garch value+grad",
        1_000_000,
        inputs,
        [
            *systems.scanlib(value_and_gradient_program),
            *systems.cpp("garch", value_and_gradient_cpp),
            *systems.numba(value_and_gradient_numpy, "forward"),
            *systems.jax_gradient(lambda: loss_jax(1), (1, 2, 3)),
            *systems.jax_gradient(lambda: loss_jax(8), (1, 2, 3), "unroll 8"),
            *systems.pytensor(value_and_gradient_program),
            *systems.numpy_loop(value_and_gradient_numpy),
        ],
        targets=Targets(peer=0.45, limit=1.4, of=("jax", "pytensor")),
    ),
)
