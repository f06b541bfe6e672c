"""The Lorenz system by the classical Runge-Kutta method: scalar states, one vector state, and a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Run, Slope, Targets, Workload

# A short step, so that rounding has no time to grow: the system is chaotic.
DT, SIGMA, RHO, BETA = 1e-4, 10.0, 28.0, 8.0 / 3.0


def inputs(steps: int) -> Arrays:
    return steps, 1.0, 1.0, 20.0


def inputs_gradient(steps: int) -> Arrays:
    return steps, 1.0, 1.0, 20.0, SIGMA, RHO, BETA


def inputs_vector(steps: int) -> Arrays:
    return steps, np.array([1.0, 1.0, 20.0])


def slope(x: Any, y: Any, z: Any, sigma: Any, rho: Any, beta: Any) -> tuple[Any, Any, Any]:
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z


def step(x: Any, y: Any, z: Any, sigma: Any, rho: Any, beta: Any) -> tuple[Any, Any, Any]:
    """One step on anything with arithmetic."""
    a = slope(x, y, z, sigma, rho, beta)
    b = slope(x + DT / 2 * a[0], y + DT / 2 * a[1], z + DT / 2 * a[2], sigma, rho, beta)
    c = slope(x + DT / 2 * b[0], y + DT / 2 * b[1], z + DT / 2 * b[2], sigma, rho, beta)
    d = slope(x + DT * c[0], y + DT * c[1], z + DT * c[2], sigma, rho, beta)
    return (
        x + DT / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0]),
        y + DT / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1]),
        z + DT / 6 * (a[2] + 2 * b[2] + 2 * c[2] + d[2]),
    )


def scalars_numpy(n: int, x: float, y: float, z: float) -> Any:
    out = np.empty((3, n))
    for t in range(n):
        x, y, z = step(x, y, z, SIGMA, RHO, BETA)
        out[0, t], out[1, t], out[2, t] = x, y, z
    return out[0], out[1], out[2]


def vector_numpy(n: int, v: Any) -> Any:
    out = np.empty((n, 3))
    x, y, z = v[0], v[1], v[2]
    for t in range(n):
        x, y, z = step(x, y, z, SIGMA, RHO, BETA)
        out[t, 0], out[t, 1], out[t, 2] = x, y, z
    return out


def scalars_program(scanlib: Any, T: Any) -> Run:
    n, (x, y, z) = T.lscalar("n"), T.dscalars("x", "y", "z")
    states, _ = scanlib.scan(
        lambda *point: step(*point, SIGMA, RHO, BETA), outputs_info=[x, y, z], n_steps=n, name="lorenz"
    )
    return scanlib.function([n, x, y, z], states)


def vector_program(scanlib: Any, T: Any) -> Run:
    def flow(v: Any) -> Any:
        return T.stack(slope(v[0], v[1], v[2], SIGMA, RHO, BETA))

    n, v0 = T.lscalar("n"), T.dvector("v")
    v, _ = scanlib.scan(lambda v: runge_kutta(flow, v), outputs_info=v0, n_steps=n, name="lorenz")
    return scanlib.function([n, v0], v)


def runge_kutta(flow: Any, v: Any) -> Any:
    a = flow(v)
    b = flow(v + DT / 2 * a)
    c = flow(v + DT / 2 * b)
    d = flow(v + DT * c)
    return v + DT / 6 * (a + 2 * b + 2 * c + d)


def scalars_jax(unroll: int) -> Run:
    from jax import lax

    def lorenz(n: int, x: Any, y: Any, z: Any) -> Any:
        def body(state: Any, _: Any) -> Any:
            state = step(*state, SIGMA, RHO, BETA)
            return state, state

        return lax.scan(body, (x, y, z), length=n, unroll=unroll)[1]

    return lorenz


def vector_jax(unroll: int) -> Run:
    from jax import lax
    from jax import numpy as jnp

    def lorenz(n: int, v: Any) -> Any:
        def body(v: Any, _: Any) -> Any:
            v = runge_kutta(lambda v: jnp.stack(slope(v[0], v[1], v[2], SIGMA, RHO, BETA)), v)
            return v, v

        return lax.scan(body, v, length=n, unroll=unroll)[1]

    return lorenz


def scalars_cpp(library: limit.Library) -> Run:
    def lorenz(n: int, x: float, y: float, z: float) -> Any:
        out = np.empty((3, n))
        library.lorenz(n, x, y, z, out[0], out[1], out[2], 1)
        return out[0], out[1], out[2]

    return lorenz


def vector_cpp(library: limit.Library) -> Run:
    def lorenz(n: int, v: Any) -> Any:
        out = np.empty((n, 3))
        flat = out.reshape(-1)
        library.lorenz(n, *v, flat, flat[1:], flat[2:], 3)
        return out

    return lorenz


# -- the sum of the last point's coordinates, and its gradient in the start and the parameters ---------------


def last_numpy(n: int, x: float, y: float, z: float, sigma: float, rho: float, beta: float) -> float:
    for _ in range(n):
        x, y, z = step(x, y, z, sigma, rho, beta)
    return x + y + z


def gradient_program(scanlib: Any, T: Any) -> Run:
    n, (x, y, z) = T.lscalar("n"), T.dscalars("x", "y", "z")
    parameters = T.dscalars("sigma", "rho", "beta")
    states, _ = scanlib.scan(step, outputs_info=[x, y, z], non_sequences=parameters, n_steps=n, name="lorenz")
    total = states[0][-1] + states[1][-1] + states[2][-1]
    given = [x, y, z, *parameters]
    return scanlib.function([n, *given], [total, *scanlib.grad(total, given)])


def last_jax(unroll: int) -> Run:
    from jax import lax

    def last(n: int, x: Any, y: Any, z: Any, *parameters: Any) -> Any:
        def body(state: Any, _: Any) -> Any:
            return step(*state, *parameters), None

        return sum(lax.scan(body, (x, y, z), length=n, unroll=unroll)[0])

    return last


WORKLOADS = (
    Workload(
        "lorenz scalars",
        100_000,
        inputs,
        [
            *systems.scanlib(scalars_program),
            *systems.cpp("lorenz", scalars_cpp),
            *systems.numba(scalars_numpy, helpers=(slope, step)),
            *systems.jax(lambda: scalars_jax(1)),
            *systems.jax(lambda: scalars_jax(4), "unroll 4"),
            *systems.pytensor(scalars_program),
            *systems.numpy_loop(scalars_numpy),
        ],
        rtol=1e-7,
        targets=Targets(peer=1.0, limit=1.15, of=("jax", "numba")),
    ),
    Workload(
        "lorenz vector",
        100_000,
        inputs_vector,
        [
            *systems.scanlib(vector_program),
            *systems.cpp("lorenz", vector_cpp),
            *systems.numba(vector_numpy, helpers=(slope, step)),
            *systems.jax(lambda: vector_jax(1)),
            *systems.jax(lambda: vector_jax(4), "unroll 4"),
            *systems.numpy_loop(vector_numpy),
        ],
        rtol=1e-7,
        targets=Targets(peer=1.0, limit=1.15, of=("jax", "numba")),
    ),
    Workload(
        "lorenz value+grad",
        10_000,
        inputs_gradient,
        [
            *systems.scanlib(gradient_program),
            *systems.jax_gradient(lambda: last_jax(1), range(1, 7)),
            *systems.jax_gradient(lambda: last_jax(4), range(1, 7), "unroll 4"),
            *systems.pytensor(gradient_program),
        ],
        rtol=1e-7,
        slope=Slope(last_numpy, range(1, 7)),
    ),
)
