"""A cascade of two second-order filters."""

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


def signal(steps: int) -> Arrays:
    return (np.random.default_rng(1).normal(size=steps),)


def biquad_step(u: Any, p1: Any, p2: Any, q1: Any, q2: Any) -> tuple[Any, ...]:
    """(new states…, output) of the transposed direct form II: the same text for every system."""
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


def biquad_program(scanlib: Any, T: Any) -> Run:
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


WORKLOADS = (
    Workload(
        "biquad cascade",
        1_000_000,
        signal,
        [
            *systems.scanlib(biquad_program),
            *systems.cpp("filters", biquad_cpp),
            *systems.numba(biquad_numpy),
            *systems.scipy(biquad_scipy, "sosfilt"),
            *systems.jax(lambda: biquad_jax(1)),
            *systems.jax(lambda: biquad_jax(8), "unroll 8"),
            *systems.pytensor(biquad_program),
            *systems.numpy_loop(biquad_numpy),
        ],
    ),
)
