"""Recurrent networks: Elman, LSTM and GRU at several (batch, hidden) sizes, float32, the trace of h kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import limit, systems
from .workload import Arrays, Contender, Run, Targets, Workload

# Gates per cell.
GATES = {"elman": 1, "lstm": 4, "gru": 3}


def inputs(cell: str, batch: int, hidden: int) -> Callable[[int], Arrays]:
    """Sequence of (batch, hidden), input weights, recurrent weights, bias, first h."""

    def made(steps: int) -> Arrays:
        rng, width = np.random.default_rng(10), GATES[cell] * hidden
        x = rng.normal(size=(steps, batch, hidden))
        W, U = (rng.normal(size=(hidden, width)) / np.sqrt(hidden) * 0.5 for _ in range(2))
        return tuple(v.astype(np.float32) for v in (x, W, U, np.zeros(width), np.zeros((batch, hidden))))

    return made


# A step takes what comes from the input (x W + b), the states (h, then c), and U; it returns the new states.


def elman(tensor: Any, sigmoid: Any, z: Any, h: Any, U: Any) -> tuple[Any, ...]:
    return (tensor.tanh(z + tensor.dot(h, U)),)


def lstm(tensor: Any, sigmoid: Any, z: Any, h: Any, c: Any, U: Any) -> tuple[Any, ...]:
    n, z = U.shape[0], z + tensor.dot(h, U)
    keep, write, read = (sigmoid(z[:, i * n : (i + 1) * n]) for i in range(3))
    c = keep * c + write * tensor.tanh(z[:, 3 * n :])
    return read * tensor.tanh(c), c


def gru(tensor: Any, sigmoid: Any, z: Any, h: Any, U: Any) -> tuple[Any, ...]:
    n, v = U.shape[0], tensor.dot(h, U)
    reset, update = sigmoid(z[:, :n] + v[:, :n]), sigmoid(z[:, n : 2 * n] + v[:, n : 2 * n])
    new = tensor.tanh(z[:, 2 * n :] + reset * v[:, 2 * n :])
    return (update * h + (1 - update) * new,)


STEPS = {"elman": elman, "lstm": lstm, "gru": gru}


def numpy_loop(cell: str) -> Run:
    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def run(x: Any, W: Any, U: Any, b: Any, h: Any) -> Any:
        states, out = (h, h)[: 1 + (cell == "lstm")], np.empty_like(x)
        for t in range(len(x)):
            states = STEPS[cell](np, sigmoid, np.dot(x[t], W) + b, *states, U)
            out[t] = states[0]
        return out

    return run


def program(cell: str, scanlib: Any, T: Any) -> Run:
    def step(x: Any, *given: Any) -> Any:
        *states, W, U, b = given
        return list(STEPS[cell](T, T.nnet.sigmoid, T.dot(x, W) + b, *states, U))

    x, (W, U, h0), b = T.ftensor3("x"), T.fmatrices("W", "U", "h"), T.fvector("b")
    states = [h0, T.zeros_like(h0)][: 1 + (cell == "lstm")]
    traces, _ = scanlib.scan(
        step, sequences=x, outputs_info=states, non_sequences=[W, U, b], name=cell, return_list=True
    )
    return scanlib.function([x, W, U, b, h0], traces[0])


def with_jax(cell: str, hoisted: bool) -> Run:
    import jax
    from jax import lax
    from jax import numpy as jnp

    def run(x: Any, W: Any, U: Any, b: Any, h: Any) -> Any:
        def body(states: Any, z: Any) -> Any:
            states = STEPS[cell](jnp, jax.nn.sigmoid, z if hoisted else z @ W + b, *states, U)
            return states, states[0]

        return lax.scan(body, (h, h)[: 1 + (cell == "lstm")], x @ W + b if hoisted else x)[1]

    return run


def at_eigen_rate(cell: str) -> Callable[[limit.Library], Run]:
    """As many multiplications as the loop needs, in products of the shape that Eigen likes best."""

    def make(library: limit.Library) -> Run:
        def run(x: Any, W: Any, U: Any, b: Any, h: Any) -> None:
            library.products(x.size * (W.shape[1] + U.shape[1]), systems.cores())

        return run

    return make


def workload(cell: str, batch: int, hidden: int, steps: int, targets: Targets) -> Workload:
    contenders: list[Contender] = [*systems.scanlib(partial(program, cell))]
    if batch >= 16:
        contenders += systems.cpp("networks", at_eigen_rate(cell), "Eigen's rate", eigen=True)
    contenders += systems.jax(lambda: with_jax(cell, hoisted=True), "product outside")
    contenders += systems.jax(lambda: with_jax(cell, hoisted=False), "product inside")
    contenders += systems.numpy_loop(numpy_loop(cell))
    name, made = f"{cell} {batch}x{hidden}", inputs(cell, batch, hidden)
    return Workload(name, steps, made, contenders, rtol=2e-4, targets=targets)


WORKLOADS = (
    workload("elman", 1, 64, 2000, Targets(peer=0.5)),
    workload("elman", 1, 256, 1000, Targets(peer=0.65)),
    workload("elman", 32, 256, 500, Targets(peer=1.0, limit=1 / 0.75)),
    workload("elman", 64, 512, 100, Targets(peer=0.95, limit=1 / 0.8)),
    workload("lstm", 1, 128, 1000, Targets(peer=0.6)),
    workload("lstm", 16, 128, 200, Targets(peer=0.6)),
    workload("lstm", 32, 256, 100, Targets(peer=0.6)),
    workload("lstm", 64, 512, 30, Targets()),
    workload("gru", 1, 64, 2000, Targets()),
    workload("gru", 1, 256, 1000, Targets()),
    workload("gru", 32, 256, 100, Targets()),
    workload("gru", 64, 512, 30, Targets()),
)
