"""Linear recurrences x[t] = a x[t-1] + u[t]: a scalar one, with a gradient too, and diagonal ones over lanes."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Contender, Run, Slope, Targets, Workload


def signal(steps: int) -> Arrays:
    return np.random.default_rng(1).normal(size=steps), 0.95


def signals(steps: int) -> Arrays:
    return np.random.default_rng(2).normal(size=(steps, 1000)).astype(np.float32), np.float32(0.95)


def states(steps: int) -> Arrays:
    """As in a layer of a state-space model: a batch of 8 rows, 256 states, each with a factor of its own."""
    rng = np.random.default_rng(11)
    u, a = rng.normal(size=(steps, 8, 256)), rng.uniform(0.8, 0.99, 256)
    return u.astype(np.float32), a.astype(np.float32)


def numpy_loop(u: Any, a: Any) -> Any:
    out = np.empty_like(u)
    x = np.zeros_like(u[0])
    for t in range(len(u)):
        x = a * x + u[t]
        out[t] = x
    return out


def numba_scalar(u: Any, a: float) -> Any:
    out = np.empty(len(u))
    x = 0.0
    for t in range(len(u)):
        x = a * x + u[t]
        out[t] = x
    return out


def scalar_program(scanlib: Any, T: Any) -> Run:
    u, a = T.dvector("u"), T.dscalar("a")
    x, _ = scanlib.scan(lambda u, x: a * x + u, sequences=u, outputs_info=0.0, name="linear")
    return scanlib.function([u, a], x)


def lanes_program(scanlib: Any, T: Any) -> Run:
    u, a = T.fmatrix("u"), T.fscalar("a")
    start = T.zeros_like(u[0])
    x, _ = scanlib.scan(lambda u, x: a * x + u, sequences=u, outputs_info=start, name="lanes")
    return scanlib.function([u, a], x)


def states_program(scanlib: Any, T: Any) -> Run:
    u, a = T.ftensor3("u"), T.fvector("a")
    start = T.zeros_like(u[0])
    x, _ = scanlib.scan(lambda u, x: a * x + u, sequences=u, outputs_info=start, name="states")
    return scanlib.function([u, a], x)


def with_jax(unroll: int) -> Run:
    from jax import lax

    def linear(u: Any, a: Any) -> Any:
        def step(x: Any, u: Any) -> Any:
            x = a * x + u
            return x, x

        return lax.scan(step, u[0] * 0, u, unroll=unroll)[1]

    return linear


def with_jax_associative() -> Run:
    from jax import lax
    from jax import numpy as jnp

    def linear(u: Any, a: Any) -> Any:
        def combine(first: Any, then: Any) -> Any:
            return first[0] * then[0], first[1] * then[0] + then[1]

        return lax.associative_scan(combine, (jnp.broadcast_to(a, u.shape), u))[1]

    return linear


def with_scipy() -> Run:
    from scipy.signal import lfilter

    def linear(u: Any, a: Any) -> Any:
        return lfilter(np.ones(1, u.dtype), np.array([1, -a], u.dtype), u, axis=0)

    return linear


def with_cpp(library: limit.Library) -> Run:
    def linear(u: Any, a: Any) -> Any:
        out = np.empty_like(u)
        if u.ndim == 1:
            library.scalar(u, len(u), a, out)
        else:
            factors = np.ascontiguousarray(np.broadcast_to(a, u.shape[1:]))
            library.diagonal(u, len(u), u[0].size, factors, systems.cores(), out)
        return out

    return linear


def peers(lanes: bool) -> list[Contender]:
    return [
        *systems.numba(numpy_loop if lanes else numba_scalar),
        *systems.jax(lambda: with_jax(1)),
        *systems.jax(lambda: with_jax(8), "unroll 8"),
        *systems.jax(with_jax_associative, "associative"),
        *systems.numpy_loop(numpy_loop),
    ]


# -- value and gradient of Σ x[t]² with respect to u and a --------------------------------------------------


def gradient_program(scanlib: Any, T: Any) -> Run:
    u, a = T.dvector("u"), T.dscalar("a")
    x, _ = scanlib.scan(lambda u, x: a * x + u, sequences=u, outputs_info=0.0, name="linear")
    loss = (x**2).sum()
    return scanlib.function([u, a], [loss, *scanlib.grad(loss, [u, a])])


def gradient_numba(u: Any, a: float) -> Any:
    """Backwards by hand."""
    x, du = np.empty(len(u)), np.empty(len(u))
    state = value = slope = da = 0.0
    for t in range(len(u)):
        state = a * state + u[t]
        x[t] = state
        value += state * state
    for t in range(len(u) - 1, -1, -1):
        slope = 2 * x[t] + a * slope
        du[t] = slope
        da += slope * (x[t - 1] if t else 0.0)
    return value, du, da


def gradient_cpp(library: limit.Library) -> Run:
    def gradient(u: Any, a: float) -> Any:
        du, sums = np.empty_like(u), np.empty(2)
        library.scalar_gradient(u, len(u), a, np.empty_like(u), du, sums)
        return sums[0], du, sums[1]

    return gradient


def squares_jax(make: Run) -> Run:
    linear = make()
    return lambda u, a: (linear(u, a) ** 2).sum()


WORKLOADS = (
    Workload(
        "scalar linear",
        1_000_000,
        signal,
        [
            *systems.scanlib(scalar_program),
            *systems.cpp("linear", with_cpp),
            *systems.scipy(with_scipy, "lfilter"),
            *systems.pytensor(scalar_program),
            *peers(lanes=False),
        ],
        targets=Targets(limit=1.0),
    ),
    Workload(
        "scalar linear value+grad",
        1_000_000,
        signal,
        [
            *systems.scanlib(gradient_program),
            *systems.cpp("linear", gradient_cpp),
            *systems.numba(gradient_numba, "by hand"),
            *systems.jax_gradient(lambda: squares_jax(lambda: with_jax(1)), (0, 1)),
            *systems.jax_gradient(lambda: squares_jax(with_jax_associative), (0, 1), "associative"),
        ],
        slope=Slope(lambda u, a: (numba_scalar(u, a) ** 2).sum(), wrt=(0, 1)),
    ),
    Workload(
        "diagonal linear",
        4096,
        signals,
        [
            *systems.scanlib(lanes_program),
            *systems.cpp("linear", with_cpp),
            *systems.scipy(with_scipy, "lfilter"),
            *peers(lanes=True),
        ],
        rtol=1e-5,
    ),
    Workload(
        "diagonal linear 8x256",
        2048,
        states,
        [*systems.scanlib(states_program), *systems.cpp("linear", with_cpp), *peers(lanes=True)],
        rtol=1e-5,
        targets=Targets(peer=0.35, of=("jax",)),
    ),
)
