"""The likelihood of daily counts under an SEIR model of an epidemic: a value, and its gradient in six numbers.

Of s susceptible, e exposed and i infectious people of N, β s i / N become exposed each day; the exposed become
infectious with probability γ, the infectious recover with probability δ, and how many do is observed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma, log
from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Run, Slope, Targets, Workload

PEOPLE = 1e6
# Inputs with respect to which the gradient is taken.
WRT = (2, 3, 4, 5, 6, 7)


def inputs(days: int) -> Arrays:
    """New infectious and new recovered people of each day; s, e, i on day 0; β, γ, δ."""
    rng = np.random.default_rng(12)
    (s, e, i), beta, gamma, delta = start = (PEOPLE - 3000, 2000.0, 1000.0), 0.033, 0.05, 0.03
    counts = np.empty((2, days))
    for t in range(days):
        exposed = beta * s * i / PEOPLE
        counts[:, t] = rng.binomial(int(e), gamma), rng.binomial(int(i), delta)
        s, e, i = s - exposed, e + exposed - counts[0, t], i + counts[0, t] - counts[1, t]
    return (*counts, *start[0], beta, gamma, delta)


def step(
    binomial: Callable[[Any, Any, Any], Any], c: Any, d: Any, s: Any, e: Any, i: Any, *rates: Any
) -> Any:
    """(s, e, i, log-likelihood of this day's counts c and d) from the day before."""
    beta, gamma, delta = rates
    exposed = beta * s * i / PEOPLE
    likelihood = binomial(c, e, gamma) + binomial(d, i, delta)
    return s - exposed, e + exposed - c, i + c - d, likelihood


def binomial(gammaln: Any, log: Any) -> Callable[[Any, Any, Any], Any]:
    """The logarithm of the probability of k successes in n trials."""

    def log_probability(k: Any, n: Any, p: Any) -> Any:
        ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        return ways + k * log(p) + (n - k) * log(1 - p)

    return log_probability


def numpy_loop(c: Any, d: Any, s: float, e: float, i: float, *rates: float) -> float:
    total, of = 0.0, binomial(lgamma, log)
    for t in range(len(c)):
        s, e, i, likelihood = step(of, c[t], d[t], s, e, i, *rates)
        total += likelihood
    return total


def probability(k: float, n: float, p: float) -> float:
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return ways + k * log(p) + (n - k) * log(1 - p)


def numba_loop(
    c: Any, d: Any, s: float, e: float, i: float, beta: float, gamma: float, delta: float
) -> float:
    total = 0.0
    for t in range(len(c)):
        exposed = beta * s * i / PEOPLE
        total += probability(c[t], e, gamma) + probability(d[t], i, delta)
        s, e, i = s - exposed, e + exposed - c[t], i + c[t] - d[t]
    return total


def likelihood(scanlib: Any, T: Any) -> tuple[list[Any], Any]:
    """Inputs and value."""
    of = binomial(T.gammaln, T.log)
    c, d = T.dvectors("c", "d")
    numbers = T.dscalars("s", "e", "i", "beta", "gamma", "delta")
    traces, _ = scanlib.scan(
        lambda c, d, s, e, i: step(of, c, d, s, e, i, *numbers[3:]),
        sequences=[c, d],
        outputs_info=[*numbers[:3], None],
        name="seir",
    )
    return [c, d, *numbers], traces[-1].sum()


def value_program(scanlib: Any, T: Any) -> Run:
    return scanlib.function(*likelihood(scanlib, T))


def gradient_program(scanlib: Any, T: Any) -> Run:
    given, value = likelihood(scanlib, T)
    return scanlib.function(given, [value, *scanlib.grad(value, given[2:])])


def with_jax(unroll: int) -> Run:
    from jax import lax
    from jax import numpy as jnp
    from jax.scipy.special import gammaln

    of = binomial(gammaln, jnp.log)

    def likelihood(c: Any, d: Any, s: Any, e: Any, i: Any, *rates: Any) -> Any:
        def body(state: Any, counts: Any) -> Any:
            *state, likelihood = step(of, *counts, *state, *rates)
            return tuple(state), likelihood

        return lax.scan(body, (s, e, i), (c, d), unroll=unroll)[1].sum()

    return likelihood


def with_jax_outside() -> Run:
    """The likelihoods of all days at once, after the loop."""
    from jax import lax
    from jax import numpy as jnp
    from jax.scipy.special import gammaln

    of = binomial(gammaln, jnp.log)

    def likelihood(c: Any, d: Any, s: Any, e: Any, i: Any, *rates: Any) -> Any:
        def body(state: Any, counts: Any) -> Any:
            *after, _ = step(lambda *_: 0.0, *counts, *state, *rates)
            return tuple(after), state[1:]

        e, i = lax.scan(body, (s, e, i), (c, d), unroll=4)[1]
        return (of(c, e, rates[1]) + of(d, i, rates[2])).sum()

    return likelihood


def with_cpp(library: limit.Library) -> Run:
    def likelihood(c: Any, d: Any, *numbers: float) -> Any:
        out = np.empty(1)
        library.seir(c, d, len(c), *numbers, PEOPLE, out)
        return out[0]

    return likelihood


WORKLOADS = (
    Workload(
        "seir",
        1200,
        inputs,
        [
            *systems.scanlib(value_program),
            *systems.cpp("seir", with_cpp),
            *systems.numba(numba_loop, helpers=(probability,)),
            *systems.jax(lambda: with_jax(1)),
            *systems.jax(with_jax_outside, "likelihood outside"),
            *systems.pytensor(value_program),
            *systems.numpy_loop(numpy_loop),
        ],
        targets=Targets(peer=0.5, of=("jax",)),
    ),
    Workload(
        "seir value+grad",
        1200,
        inputs,
        [
            *systems.scanlib(gradient_program),
            *systems.jax_gradient(lambda: with_jax(1), WRT),
            *systems.jax_gradient(with_jax_outside, WRT, "likelihood outside"),
            *systems.pytensor(gradient_program),
        ],
        slope=Slope(numpy_loop, WRT),
        targets=Targets(peer=0.3, of=("jax",)),
    ),
)
