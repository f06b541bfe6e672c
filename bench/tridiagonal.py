"""The Thomas algorithm: a tridiagonal system by one scan forwards and one backwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Run, Workload


def inputs(steps: int) -> Arrays:
    """Below, on, and above the diagonal; right-hand side."""
    rng = np.random.default_rng(7)
    below, above, right = rng.uniform(-1, 1, (3, steps))
    return below, 3 + rng.uniform(0, 1, steps), above, right


def numpy_loop(a: Any, b: Any, c: Any, d: Any) -> Any:
    n = len(b)
    above, right = np.empty(n), np.empty(n)
    p, q = 0.0, 0.0
    for t in range(n):
        pivot = b[t] - a[t] * p
        p, q = c[t] / pivot, (d[t] - a[t] * q) / pivot
        above[t], right[t] = p, q
    x = 0.0
    for t in range(n - 1, -1, -1):
        x = right[t] - above[t] * x
        right[t] = x
    return right


def forward(a: Any, b: Any, c: Any, d: Any, p: Any, q: Any) -> tuple[Any, Any]:
    pivot = b - a * p
    return c / pivot, (d - a * q) / pivot


def program(scanlib: Any, T: Any) -> Run:
    bands = T.dvectors("a", "b", "c", "d")
    (above, right), _ = scanlib.scan(forward, sequences=list(bands), outputs_info=[0.0, 0.0], name="forward")
    x, _ = scanlib.scan(
        lambda p, q, x: q - p * x,
        sequences=[above, right],
        outputs_info=0.0,
        go_backwards=True,
        name="backward",
    )
    return scanlib.function(bands, x[::-1])


def with_jax(unroll: int) -> Run:
    from jax import lax

    def solve(a: Any, b: Any, c: Any, d: Any) -> Any:
        def down(state: Any, row: Any) -> Any:
            state = forward(*row, *state)
            return state, state

        def up(x: Any, row: Any) -> Any:
            x = row[1] - row[0] * x
            return x, x

        swept = lax.scan(down, (0.0, 0.0), (a, b, c, d), unroll=unroll)[1]
        return lax.scan(up, 0.0, swept, reverse=True, unroll=unroll)[1]

    return solve


def with_scipy() -> Run:
    from scipy.linalg import solve_banded

    def solve(a: Any, b: Any, c: Any, d: Any) -> Any:
        bands = np.zeros((3, len(b)))
        bands[0, 1:], bands[1], bands[2, :-1] = c[:-1], b, a[1:]
        return solve_banded((1, 1), bands, d, overwrite_ab=True, check_finite=False)

    return solve


def with_cpp(library: limit.Library) -> Run:
    def solve(a: Any, b: Any, c: Any, d: Any) -> Any:
        above, x = np.empty_like(b), np.empty_like(b)
        library.thomas(len(b), a, b, c, d, above, x)
        return x

    return solve


WORKLOADS = (
    Workload(
        "thomas",
        1_000_000,
        inputs,
        [
            *systems.scanlib(program),
            *systems.cpp("tridiagonal", with_cpp),
            *systems.numba(numpy_loop),
            *systems.scipy(with_scipy, "solve_banded"),
            *systems.jax(lambda: with_jax(1)),
            *systems.jax(lambda: with_jax(8), "unroll 8"),
            *systems.pytensor(program),
            *systems.numpy_loop(numpy_loop),
        ],
    ),
)
