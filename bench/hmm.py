"""The forward algorithm of a hidden Markov model: the log-likelihood of a row of observations, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Contender, Run, Slope, Targets, Workload

SYMBOLS = 20


def inputs(states: int) -> Callable[[int], Arrays]:
    """Observations, transition matrix (rows sum to 1), emission rows per symbol, first distribution."""

    def made(steps: int) -> Arrays:
        rng = np.random.default_rng(6)
        transition = rng.dirichlet(np.ones(states), states)
        emission = np.ascontiguousarray(rng.dirichlet(np.ones(SYMBOLS), states).T)
        return rng.integers(0, SYMBOLS, steps), transition, emission, np.full(states, 1 / states)

    return made


def numpy_loop(y: Any, transition: Any, emission: Any, p: Any) -> Any:
    total = 0.0
    for t in range(len(y)):
        p = np.dot(p, transition) * emission[y[t]]
        mass = p.sum()
        p = p / mass
        total += np.log(mass)
    return total


def numba_loop(y: Any, transition: Any, emission: Any, p: Any) -> Any:
    states = len(p)
    p, q, total = p.copy(), np.empty_like(p), 0.0
    for t in range(len(y)):
        q[:] = 0.0
        for i in range(states):
            for j in range(states):
                q[j] += p[i] * transition[i, j]
        mass = 0.0
        for j in range(states):
            q[j] *= emission[y[t], j]
            mass += q[j]
        for j in range(states):
            p[j] = q[j] / mass
        total += np.log(mass)
    return total


def likelihood(scanlib: Any, T: Any) -> tuple[list[Any], Any]:
    """Inputs and value."""

    def step(e: Any, p: Any, total: Any, transition: Any) -> Any:
        p = T.dot(p, transition) * e
        mass = p.sum()
        return p / mass, total + T.log(mass)

    y, transition, emission, p0 = (
        T.lvector("y"),
        T.dmatrix("transition"),
        T.dmatrix("emission"),
        T.dvector("p"),
    )
    (_, total), _ = scanlib.scan(
        step, sequences=emission[y], outputs_info=[p0, 0.0], non_sequences=transition, name="hmm"
    )
    return [y, transition, emission, p0], total[-1]


def program(scanlib: Any, T: Any) -> Run:
    return scanlib.function(*likelihood(scanlib, T))


def gradient_program(scanlib: Any, T: Any) -> Run:
    given, value = likelihood(scanlib, T)
    return scanlib.function(given, [value, *scanlib.grad(value, given[1:])])


def with_jax(unroll: int) -> Run:
    from jax import lax
    from jax import numpy as jnp

    def likelihood(y: Any, transition: Any, emission: Any, p0: Any) -> Any:
        def step(state: Any, y: Any) -> Any:
            p, total = state
            p = (p @ transition) * emission[y]
            mass = p.sum()
            return (p / mass, total + jnp.log(mass)), None

        return lax.scan(step, (p0, 0.0), y, unroll=unroll)[0][1]

    return likelihood


def with_cpp(states: int) -> Callable[[limit.Library], Run]:
    def make(library: limit.Library) -> Run:
        def likelihood(y: Any, transition: Any, emission: Any, p: Any) -> Any:
            out = np.empty(1)
            getattr(library, f"hmm{states}")(len(y), y, transition, emission, p, out)
            return out[0]

        return likelihood

    return make


def forward(states: int) -> list[Contender]:
    return [
        *systems.scanlib(program),
        *systems.cpp("hmm", with_cpp(states)),
        *systems.numba(numba_loop),
        *systems.jax(lambda: with_jax(1)),
        *systems.jax(lambda: with_jax(4), "unroll 4"),
        *systems.pytensor(program),
        *systems.numpy_loop(numpy_loop),
    ]


def gradient() -> list[Contender]:
    return [
        *systems.scanlib(gradient_program),
        *systems.jax_gradient(lambda: with_jax(1), (1, 2, 3)),
        *systems.jax_gradient(lambda: with_jax(4), (1, 2, 3), "unroll 4"),
        *systems.pytensor(gradient_program),
    ]


SLOPE = Slope(numpy_loop, (1, 2, 3))
WORKLOADS = (
    Workload("hmm 16", 10_000, inputs(16), forward(16), targets=Targets(peer=0.4, limit=1.5, of=("jax",))),
    Workload("hmm 64", 2_000, inputs(64), forward(64)),
    Workload("hmm 16 value+grad", 5_000, inputs(16), gradient(), slope=SLOPE),
    Workload("hmm 64 value+grad", 1_000, inputs(64), gradient(), slope=SLOPE),
)
