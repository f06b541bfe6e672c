"""Linear recurrences: a biquad cascade, a scalar one, and a diagonal one over many lanes."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Run, Workload

# Two second-order sections of a Butterworth low-pass, one row (b0, b1, b2, a1, a2) each.
SECTIONS = (
    (0.00482434, 0.00964869, 0.00482434, -1.04859958, 0.29614036),
    (1.0, 2.0, 1.0, -1.32091343, 0.63273879),
)


# -- biquad cascade, transposed direct form II -------------------------------------------------------------


def signal(steps: int) -> Arrays:
    return (np.random.default_rng(1).normal(size=steps),)


def biquad_step(u: Any, p1: Any, p2: Any, q1: Any, q2: Any) -> tuple[Any, ...]:
    """(new states…, output): the same text for every system."""
    (b0, b1, b2, a1, a2), (c0, c1, c2, d1, d2) = SECTIONS
    v = b0 * u + p1
    p1, p2 = b1 * u - a1 * v + p2, b2 * u - a2 * v
    y = c0 * v + q1
    q1, q2 = c1 * v - d1 * y + q2, c2 * v - d2 * y
    return p1, p2, q1, q2, y


def biquad_numpy(u: Any) -> Any:
    (b0, b1, b2, a1, a2), (c0, c1, c2, d1, d2) = SECTIONS
    out = np.empty(len(u))
    p1 = p2 = q1 = q2 = 0.0
    for t in range(len(u)):
        v = b0 * u[t] + p1
        p1 = b1 * u[t] - a1 * v + p2
        p2 = b2 * u[t] - a2 * v
        y = c0 * v + q1
        q1 = c1 * v - d1 * y + q2
        q2 = c2 * v - d2 * y
        out[t] = y
    return out


def biquad_scanlib() -> Run:
    import scanlib
    import scanlib.tensor as T

    u = T.dvector("u")
    states, _ = scanlib.scan(biquad_step, sequences=u, outputs_info=[0.0, 0.0, 0.0, 0.0, None], name="biquad")
    return scanlib.function([u], states[-1])


def biquad_jax(unroll: int) -> Run:
    from jax import lax

    def step(state: Any, u: Any) -> Any:
        *state, y = biquad_step(u, *state)
        return tuple(state), y

    return lambda u: lax.scan(step, (0.0, 0.0, 0.0, 0.0), u, unroll=unroll)[1]


def biquad_scipy() -> Run:
    from scipy.signal import sosfilt

    sections = [[b0, b1, b2, 1.0, a1, a2] for b0, b1, b2, a1, a2 in SECTIONS]
    return lambda u: sosfilt(sections, u)


def biquad_cpp(library: limit.Library) -> Run:
    sections = np.array(SECTIONS)

    def biquad(u: Any) -> Any:
        out = np.empty(len(u))
        library.biquad(u, len(u), sections, out)
        return out

    return biquad


# -- scalar: x[t] = a x[t-1] + u[t] ------------------------------------------------------------------------


def scalar_numpy(u: Any) -> Any:
    out = np.empty(len(u))
    x = 0.0
    for t in range(len(u)):
        x = 0.95 * x + u[t]
        out[t] = x
    return out


def scalar_scanlib() -> Run:
    import scanlib
    import scanlib.tensor as T

    u = T.dvector("u")
    x, _ = scanlib.scan(lambda u, x: 0.95 * x + u, sequences=u, outputs_info=0.0, name="linear")
    return scanlib.function([u], x)


def linear_jax(unroll: int) -> Run:
    from jax import lax

    def linear(u: Any) -> Any:
        def step(x: Any, u: Any) -> Any:
            x = 0.95 * x + u
            return x, x

        return lax.scan(step, u[0] * 0, u, unroll=unroll)[1]

    return linear


def linear_jax_associative() -> Run:
    from jax import lax
    from jax import numpy as jnp

    def linear(u: Any) -> Any:
        def combine(first: Any, then: Any) -> Any:
            return first[0] * then[0], first[1] * then[0] + then[1]

        return lax.associative_scan(combine, (jnp.full_like(u, 0.95), u))[1]

    return linear


def scalar_scipy() -> Run:
    from scipy.signal import lfilter

    return lambda u: lfilter([1.0], [1.0, -0.95], u)


def linear_cpp(library: limit.Library) -> Run:
    def linear(u: Any) -> Any:
        out = np.empty_like(u)
        if u.ndim == 1:
            library.scalar(u, len(u), out)
        else:
            library.diagonal(u, *u.shape, systems.cores(), out)
        return out

    return linear


# -- diagonal: one such recurrence per lane -----------------------------------------------------------------


def signals(steps: int) -> Arrays:
    return (np.random.default_rng(2).normal(size=(steps, 1000)).astype(np.float32),)


def diagonal_numpy(u: Any) -> Any:
    out = np.empty_like(u)
    x = np.zeros_like(u[0])
    for t in range(len(u)):
        x = np.float32(0.95) * x + u[t]
        out[t] = x
    return out


def diagonal_scanlib() -> Run:
    import scanlib
    import scanlib.tensor as T

    u = T.fmatrix("u")
    x, _ = scanlib.scan(
        lambda u, x: 0.95 * x + u, sequences=u, outputs_info=T.zeros_like(u[0]), name="diagonal"
    )
    return scanlib.function([u], x)


def diagonal_scipy() -> Run:
    from scipy.signal import lfilter

    one, factors = np.float32([1.0]), np.float32([1.0, -0.95])
    return lambda u: lfilter(one, factors, u, axis=0)


WORKLOADS = (
    Workload(
        "biquad cascade",
        1_000_000,
        signal,
        [
            *systems.scanlib(biquad_scanlib),
            *systems.cpp("filters", biquad_cpp),
            *systems.numba(biquad_numpy),
            *systems.scipy(biquad_scipy, "sosfilt"),
            *systems.jax(lambda: biquad_jax(1)),
            *systems.jax(lambda: biquad_jax(8), "unroll 8"),
            *systems.numpy_loop(biquad_numpy),
        ],
    ),
    Workload(
        "scalar linear",
        1_000_000,
        signal,
        [
            *systems.scanlib(scalar_scanlib),
            *systems.cpp("filters", linear_cpp),
            *systems.numba(scalar_numpy),
            *systems.scipy(scalar_scipy, "lfilter"),
            *systems.jax(lambda: linear_jax(1)),
            *systems.jax(lambda: linear_jax(8), "unroll 8"),
            *systems.jax(linear_jax_associative, "associative"),
            *systems.numpy_loop(scalar_numpy),
        ],
    ),
    Workload(
        "diagonal linear",
        4096,
        signals,
        [
            *systems.scanlib(diagonal_scanlib),
            *systems.cpp("filters", linear_cpp),
            *systems.numba(diagonal_numpy),
            *systems.scipy(diagonal_scipy, "lfilter"),
            *systems.jax(lambda: linear_jax(1)),
            *systems.jax(lambda: linear_jax(8), "unroll 8"),
            *systems.jax(linear_jax_associative, "associative"),
            *systems.numpy_loop(diagonal_numpy),
        ],
        rtol=1e-5,
    ),
)
