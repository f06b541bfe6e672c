"""The Kalman filter with its log-likelihood: 4 or 6 states, 2 observations.

A 2×2 system is solved at each step; the step is written with the inverse by hand, and once with a solve, and every
system counts by its better one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Contender, Run, Slope, Targets, Workload

LOG_TAU = 2 * math.log(2 * math.pi)
# Inputs with respect to which the gradient is taken: F, Q and R.
WRT = (1, 3, 4)


def inputs(states: int) -> Callable[[int], Arrays]:
    """Observations y, then F, H, Q, R, first mean and covariance: a point moving in the plane."""

    def made(steps: int) -> Arrays:
        order = states // 2
        F = np.kron(np.eye(2), np.eye(order) + 0.1 * np.eye(order, k=1))
        H = np.kron(np.eye(2), np.eye(1, order))
        y = np.cumsum(np.random.default_rng(8).normal(size=(steps, 2)), axis=0)
        return y, 0.98 * F, H, 0.1 * np.eye(states), 0.5 * np.eye(2), np.zeros(states), np.eye(states)

    return made


def numpy_loop(y: Any, F: Any, H: Any, Q: Any, R: Any, m: Any, P: Any) -> Any:
    total = 0.0
    for t in range(len(y)):
        m = np.dot(F, m)
        P = np.dot(np.dot(F, P), F.T) + Q
        v = y[t] - np.dot(H, m)
        PH = np.dot(P, H.T)
        S = np.dot(H, PH) + R
        determinant = S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0]
        J = np.array([[S[1, 1], -S[0, 1]], [-S[1, 0], S[0, 0]]]) / determinant
        K = np.dot(PH, J)
        m = m + np.dot(K, v)
        P = P - np.dot(K, np.dot(H, P))
        total -= 0.5 * (LOG_TAU + np.log(determinant) + np.dot(v, np.dot(J, v)))
    return total


def step(
    tensor: Any,
    inverse: Callable[[Any], Any],
    y: Any,
    m: Any,
    P: Any,
    total: Any,
    F: Any,
    H: Any,
    Q: Any,
    R: Any,
) -> Any:
    """One step for a system whose functions are found in `tensor`."""
    dot = tensor.dot
    m = dot(F, m)
    P = dot(dot(F, P), F.T) + Q
    v = y - dot(H, m)
    PH = dot(P, H.T)
    S = dot(H, PH) + R
    J = inverse(S)
    K = dot(PH, J)
    determinant = S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0]
    total = total - 0.5 * (LOG_TAU + tensor.log(determinant) + dot(v, dot(J, v)))
    # H P, though it equals PHᵀ: with that, a P that is not quite symmetric would become less so with each step.
    return m + dot(K, v), P - dot(K, dot(H, P)), total


def inverse_by_hand(tensor: Any) -> Callable[[Any], Any]:
    def inverse(S: Any) -> Any:
        determinant = S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0]
        rows = [tensor.stack([S[1, 1], -S[0, 1]]), tensor.stack([-S[1, 0], S[0, 0]])]
        return tensor.stack(rows) / determinant

    return inverse


def likelihood(scanlib: Any, T: Any, by_hand: bool) -> tuple[list[Any], Any]:
    """Inputs and value."""
    y, F, H, Q, R, P0 = T.dmatrices("y", "F", "H", "Q", "R", "P")
    m0 = T.dvector("m")
    inverse = inverse_by_hand(T) if by_hand else lambda S: T.linalg.solve(S, T.eye(2))
    (_, _, total), _ = scanlib.scan(
        lambda *given: step(T, inverse, *given),
        sequences=y,
        outputs_info=[m0, P0, 0.0],
        non_sequences=[F, H, Q, R],
        name="kalman",
    )
    return [y, F, H, Q, R, m0, P0], total[-1]


def program(scanlib: Any, T: Any, by_hand: bool = True) -> Run:
    return scanlib.function(*likelihood(scanlib, T, by_hand))


def gradient_program(scanlib: Any, T: Any) -> Run:
    given, value = likelihood(scanlib, T, by_hand=True)
    return scanlib.function(given, [value, *scanlib.grad(value, [given[i] for i in WRT])])


def with_jax(by_hand: bool, unroll: int = 1) -> Run:
    from jax import lax
    from jax import numpy as jnp

    inverse = inverse_by_hand(jnp) if by_hand else lambda S: jnp.linalg.solve(S, jnp.eye(2))

    def likelihood(y: Any, F: Any, H: Any, Q: Any, R: Any, m0: Any, P0: Any) -> Any:
        def body(state: Any, y: Any) -> Any:
            return step(jnp, inverse, y, *state, F, H, Q, R), None

        return lax.scan(body, (m0, P0, 0.0), y, unroll=unroll)[0][2]

    return likelihood


def with_cpp(states: int) -> Callable[[limit.Library], Run]:
    def make(library: limit.Library) -> Run:
        def likelihood(y: Any, F: Any, H: Any, Q: Any, R: Any, m: Any, P: Any) -> Any:
            out = np.empty(1)
            getattr(library, f"kalman{states}")(len(y), y, F, H, Q, R, m, P, out)
            return out[0]

        return likelihood

    return make


def contenders(states: int) -> list[Contender]:
    return [
        *systems.scanlib(program),
        *systems.scanlib(lambda *library: program(*library, by_hand=False), "solve"),
        *systems.cpp("kalman", with_cpp(states), eigen=True),
        *systems.numba(numpy_loop),
        *systems.jax(lambda: with_jax(by_hand=True)),
        *systems.jax(lambda: with_jax(by_hand=True, unroll=4), "unroll 4"),
        *systems.jax(lambda: with_jax(by_hand=False), "solve"),
        *systems.numpy_loop(numpy_loop),
    ]


WORKLOADS = (
    Workload(
        "kalman 4/2", 5_000, inputs(4), contenders(4), targets=Targets(peer=0.1, limit=1.5, of=("jax",))
    ),
    Workload("kalman 6/2", 5_000, inputs(6), contenders(6)),
    Workload(
        "kalman 4/2 value+grad",
        2_000,
        inputs(4),
        [
            *systems.scanlib(gradient_program),
            *systems.jax_gradient(lambda: with_jax(by_hand=True), WRT),
            *systems.jax_gradient(lambda: with_jax(by_hand=False), WRT, "solve"),
            *systems.pytensor(gradient_program),
        ],
        slope=Slope(numpy_loop, WRT),
    ),
)
