"""Loops whose lanes are independent: the logistic map, a map with tanh, and A**k."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Contender, Run, Targets, Workload

# Below the onset of chaos, so that results can be compared.
RATE, GAIN, SHIFT = np.float32(3.5), np.float32(1.5), np.float32(0.1)


def lanes(count: int) -> Callable[[int], Arrays]:
    def inputs(steps: int) -> Arrays:
        return steps, np.random.default_rng(3).uniform(0.1, 0.9, count).astype(np.float32)

    return inputs


def numbers(steps: int) -> Arrays:
    return steps, np.random.default_rng(4).uniform(0.9, 1.1, 1_000_000)


# -- the steps, as each system writes them ------------------------------------------------------------------


def logistic(x: Any) -> Any:
    return 3.5 * x * (1 - x)


def loop_numpy(step: Callable[[Any], Any]) -> Run:
    def loop(n: int, x: Any) -> Any:
        for _ in range(n):
            x = step(x)
        return x

    return loop


def logistic_numba(n: int, x: Any) -> Any:
    out = np.empty_like(x)
    for i in range(len(x)):
        v = x[i]
        for _ in range(n):
            v = RATE * v * (np.float32(1) - v)
        out[i] = v
    return out


def tanh_numba(n: int, x: Any) -> Any:
    out = x.copy()
    for _ in range(n):
        for i in range(len(x)):
            out[i] = np.tanh(GAIN * out[i] + SHIFT)
    return out


def power_numpy(k: int, a: Any) -> Any:
    x = np.ones_like(a)
    for _ in range(k):
        x = x * a
    return x


def power_numba(k: int, a: Any) -> Any:
    out = np.empty_like(a)
    for i in range(len(a)):
        v = 1.0
        for _ in range(k):
            v = v * a[i]
        out[i] = v
    return out


def map_program(kind: str, scanlib: Any, T: Any) -> Run:
    steps = {"logistic": logistic, "tanh": lambda x: T.tanh(GAIN * x + SHIFT)}
    n, x0 = T.lscalar("n"), T.fvector("x")
    x, _ = scanlib.scan(steps[kind], outputs_info=x0, n_steps=n, name=kind)
    return scanlib.function([n, x0], x[-1])


def map_jax(kind: str) -> Run:
    from jax import lax
    from jax import numpy as jnp

    step = {"logistic": logistic, "tanh": lambda x: jnp.tanh(GAIN * x + SHIFT)}[kind]
    return lambda n, x: lax.fori_loop(0, n, lambda _, x: step(x), x)


def map_cpp(kind: str) -> Callable[[limit.Library], Run]:
    def make(library: limit.Library) -> Run:
        def run(n: int, x: Any) -> Any:
            out = np.empty_like(x)
            # A thousand lanes are too few for threads.
            getattr(library, kind)(n, len(x), x, systems.cores() if len(x) > 10_000 else 1, out)
            return out

        return run

    return make


def torch_loop(step: Callable[[Any], Any]) -> list[Contender]:
    """The loop in Python; torch runs each operation over all lanes."""

    def make() -> Run:
        import torch

        def loop(n: int, x: Any) -> Any:
            with torch.inference_mode():
                return loop_numpy(step)(n, x)

        return loop

    return systems.torch(make, "loop", load_torch, part=0.1)


def load_torch(inputs: Arrays) -> Arrays:
    import torch

    n, x = inputs
    return n, torch.from_numpy(x)


def power_program(scanlib: Any, T: Any) -> Run:
    k, a = T.iscalar("k"), T.dvector("a")
    x, _ = scanlib.scan(
        lambda x, a: x * a, outputs_info=T.ones_like(a), non_sequences=a, n_steps=k, name="power"
    )
    return scanlib.function([k, a], x[-1])


def power_jax() -> Run:
    from jax import lax
    from jax import numpy as jnp

    return lambda k, a: lax.fori_loop(0, k, lambda _, x: x * a, jnp.ones_like(a))


def logistic_contenders() -> list[Contender]:
    return [
        *systems.scanlib(partial(map_program, "logistic")),
        *systems.cpp("lanes", map_cpp("logistic")),
        *systems.numba(logistic_numba),
        *systems.jax(lambda: map_jax("logistic"), "loop"),
        *systems.pytensor(partial(map_program, "logistic")),
        *torch_loop(logistic),
        *systems.numpy_loop(loop_numpy(lambda x: RATE * x * (1 - x))),
    ]


WORKLOADS = (
    Workload(
        "logistic 1e3",
        10_000,
        lanes(1000),
        logistic_contenders(),
        rtol=1e-4,
        targets=Targets(peer=0.4, limit=1.2, of=("jax",)),
    ),
    Workload(
        "logistic 1e6",
        100,
        lanes(1_000_000),
        logistic_contenders(),
        rtol=1e-4,
        targets=Targets(peer=0.2, limit=1.3, of=("jax",)),
    ),
    Workload(
        "tanh 1e3",
        10_000,
        lanes(1000),
        [
            *systems.scanlib(partial(map_program, "tanh")),
            *systems.cpp("lanes", map_cpp("tanh_map")),
            *systems.numba(tanh_numba),
            *systems.jax(lambda: map_jax("tanh"), "loop"),
            *systems.pytensor(partial(map_program, "tanh")),
            *torch_loop(lambda x: (1.5 * x + 0.1).tanh()),
            *systems.numpy_loop(loop_numpy(lambda x: np.tanh(GAIN * x + SHIFT))),
        ],
        rtol=1e-4,
        targets=Targets(peer=0.6, limit=1.3, of=("jax",)),
    ),
    Workload(
        "power 1e6",
        100,
        numbers,
        [
            *systems.scanlib(power_program),
            *systems.cpp("lanes", map_cpp("power")),
            *systems.numba(power_numba),
            *systems.jax(power_jax, "loop"),
            *systems.numpy_loop(power_numpy),
        ],
        targets=Targets(peer=0.3, of=("jax",)),
    ),
)
