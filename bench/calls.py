"""The cost of a call: a ten-step scalar loop, called many times."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import systems
from .workload import Arrays, Run, Targets, Workload


def inputs(steps: int) -> Arrays:
    return (np.random.default_rng(9).normal(size=steps),)


def numpy_loop(u: Any) -> Any:
    x = 0.0
    for t in range(len(u)):
        x = 0.9 * x + u[t]
    return x


def program(scanlib: Any, T: Any) -> Run:
    u = T.dvector("u")
    x, _ = scanlib.scan(lambda u, x: 0.9 * x + u, sequences=u, outputs_info=0.0, name="ten")
    return scanlib.function([u], x[-1])


def with_jax(unroll: int) -> Run:
    from jax import lax

    def ten(u: Any) -> Any:
        return lax.scan(lambda x, u: (0.9 * x + u, None), u[0] * 0, u, unroll=unroll)[0]

    return ten


def with_torch() -> Run:
    import torch

    def ten(u: Any) -> Any:
        x = torch.zeros((), dtype=torch.float64)
        for v in u:
            x = 0.9 * x + v
        return x

    return ten


def load_torch(inputs: Arrays) -> Arrays:
    import torch

    return tuple(map(torch.from_numpy, inputs))


WORKLOADS = (
    Workload(
        "ten steps",
        10,
        inputs,
        [
            *systems.scanlib(program),
            *systems.numba(numpy_loop),
            *systems.jax(lambda: with_jax(1)),
            *systems.jax(lambda: with_jax(10), "unrolled"),
            *systems.pytensor(program),
            *systems.torch(with_torch, "loop", load_torch),
            *systems.numpy_loop(numpy_loop),
        ],
        targets=Targets(peer=0.9, of=("pytensor", "jax")),
        few_steps=10,
    ),
)
