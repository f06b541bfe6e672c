"""The Lorenz system by the classical Runge-Kutta method: three scalar states, and one vector state."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Run, Targets, Workload

# A short step, so that rounding has no time to grow: the system is chaotic.
DT, SIGMA, RHO, BETA = 1e-4, 10.0, 28.0, 8.0 / 3.0


def inputs(steps: int) -> Arrays:
    return steps, 1.0, 1.0, 20.0


def inputs_vector(steps: int) -> Arrays:
    return steps, np.array([1.0, 1.0, 20.0])


def slope(x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    return SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z


def step(x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    """One step on anything with arithmetic."""
    a = slope(x, y, z)
    b = slope(x + DT / 2 * a[0], y + DT / 2 * a[1], z + DT / 2 * a[2])
    c = slope(x + DT / 2 * b[0], y + DT / 2 * b[1], z + DT / 2 * b[2])
    d = slope(x + DT * c[0], y + DT * c[1], z + DT * c[2])
    return (
        x + DT / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0]),
        y + DT / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1]),
        z + DT / 6 * (a[2] + 2 * b[2] + 2 * c[2] + d[2]),
    )


def scalars_numpy(n: int, x: float, y: float, z: float) -> Any:
    out = np.empty((3, n))
    for t in range(n):
        x, y, z = step(x, y, z)
        out[0, t], out[1, t], out[2, t] = x, y, z
    return out[0], out[1], out[2]


def vector_numpy(n: int, v: Any) -> Any:
    out = np.empty((n, 3))
    x, y, z = v[0], v[1], v[2]
    for t in range(n):
        x, y, z = step(x, y, z)
        out[t, 0], out[t, 1], out[t, 2] = x, y, z
    return out


def scalars_scanlib() -> Run:
    import scanlib
    import scanlib.tensor as T

    n, (x, y, z) = T.lscalar("n"), T.dscalars("x", "y", "z")
    states, _ = scanlib.scan(step, outputs_info=[x, y, z], n_steps=n, name="lorenz")
    return scanlib.function([n, x, y, z], states)


def vector_scanlib() -> Run:
    import scanlib
    import scanlib.tensor as T

    def flow(v: Any) -> Any:
        return T.stack(slope(v[0], v[1], v[2]))

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
            state = step(*state)
            return state, state

        return lax.scan(body, (x, y, z), length=n, unroll=unroll)[1]

    return lorenz


def vector_jax(unroll: int) -> Run:
    from jax import lax
    from jax import numpy as jnp

    def lorenz(n: int, v: Any) -> Any:
        def body(v: Any, _: Any) -> Any:
            v = runge_kutta(lambda v: jnp.stack(slope(v[0], v[1], v[2])), v)
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


WORKLOADS = (
    Workload(
        "lorenz scalars",
        100_000,
        inputs,
        [
            *systems.scanlib(scalars_scanlib),
            *systems.cpp("lorenz", scalars_cpp),
            *systems.numba(scalars_numpy, helpers=(slope, step)),
            *systems.jax(lambda: scalars_jax(1)),
            *systems.jax(lambda: scalars_jax(4), "unroll 4"),
            *systems.numpy_loop(scalars_numpy),
        ],
        rtol=1e-7,
        targets=Targets(peer=1.0, limit=1.15),
    ),
    Workload(
        "lorenz vector",
        100_000,
        inputs_vector,
        [
            *systems.scanlib(vector_scanlib),
            *systems.cpp("lorenz", vector_cpp),
            *systems.numba(vector_numpy, helpers=(slope, step)),
            *systems.jax(lambda: vector_jax(1)),
            *systems.jax(lambda: vector_jax(4), "unroll 4"),
            *systems.numpy_loop(vector_numpy),
        ],
        rtol=1e-7,
        targets=Targets(peer=1.0, limit=1.15),
    ),
)
