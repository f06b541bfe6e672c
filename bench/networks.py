"""Recurrent networks: Elman, LSTM and GRU at several (batch, hidden) sizes, float32.

Forwards, the trace of h is kept; with gradient, the loss is the sum of h² over all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import limit, networks_onnx, networks_torch, systems
from .workload import Arrays, Contender, Run, Slope, Targets, Workload

# Gates per cell, and which of the inputs are differentiated: W, U, b.
GATES = {"elman": 1, "lstm": 4, "gru": 3}
WRT = (1, 2, 3)


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


def trace(cell: str, scanlib: Any, T: Any) -> tuple[list[Any], Any]:
    """Inputs and the trace of h."""

    def step(x: Any, *given: Any) -> Any:
        *states, W, U, b = given
        return list(STEPS[cell](T, T.sigmoid, T.dot(x, W) + b, *states, U))

    x, (W, U, h0), b = T.ftensor3("x"), T.fmatrices("W", "U", "h"), T.fvector("b")
    states = [h0, T.zeros_like(h0)][: 1 + (cell == "lstm")]
    traces, _ = scanlib.scan(
        step, sequences=x, outputs_info=states, non_sequences=[W, U, b], name=cell, return_list=True
    )
    return [x, W, U, b, h0], traces[0]


def forward_program(cell: str, scanlib: Any, T: Any) -> Run:
    return scanlib.function(*trace(cell, scanlib, T))


def gradient_program(cell: str, scanlib: Any, T: Any) -> Run:
    given, h = trace(cell, scanlib, T)
    loss = (h**2).sum()
    return scanlib.function(given, [loss, *scanlib.grad(loss, [given[i] for i in WRT])])


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


def loss_jax(cell: str, hoisted: bool) -> Run:
    run = with_jax(cell, hoisted)
    return lambda *inputs: (run(*inputs) ** 2).sum()


def at_peak(products: int) -> Callable[[limit.Library], Run]:
    """As many multiply-adds as `products` products per step have, in registers alone."""

    def make(library: limit.Library) -> Run:
        def run(x: Any, W: Any, U: Any, b: Any, h: Any) -> None:
            library.products(products * x.size * U.shape[1], systems.cores())

        return run

    return make


def rate(batch: int, products: int) -> list[Contender]:
    """The peak rate is a limit only where the products are products of matrices: vectors wait for memory."""
    if batch == 1:
        return []
    return systems.cpp("networks", at_peak(products), "peak rate")


NONE = Targets()


def forward(cell: str, batch: int, hidden: int, steps: int, targets: Targets = NONE) -> Workload:
    program = partial(forward_program, cell)
    contenders = [
        *systems.scanlib(program),
        *rate(batch, products=2),
        *systems.jax(lambda: with_jax(cell, hoisted=True), "product outside"),
        *systems.jax(lambda: with_jax(cell, hoisted=False), "product inside"),
        *networks_torch.forward(cell),
        *networks_onnx.forward(cell),
        *(systems.pytensor(program) if (cell, batch) == ("elman", 1) else []),
        *systems.numpy_loop(numpy_loop(cell)),
    ]
    made = inputs(cell, batch, hidden)
    return Workload(f"{cell} {batch}x{hidden}", steps, made, contenders, rtol=2e-4, targets=targets)


def gradient(cell: str, batch: int, hidden: int, steps: int, targets: Targets = NONE) -> Workload:
    program, loop = partial(gradient_program, cell), numpy_loop(cell)
    contenders = [
        *systems.scanlib(program),
        # Forwards x W and h U; backwards dz Uᵀ, hᵀ dz and xᵀ dz.
        *rate(batch, products=5),
        *systems.jax_gradient(lambda: loss_jax(cell, hoisted=True), WRT, "product outside"),
        *systems.jax_gradient(lambda: loss_jax(cell, hoisted=False), WRT, "product inside"),
        *networks_torch.gradient(cell),
        *(systems.pytensor(program) if (cell, batch) == ("elman", 1) else []),
    ]
    return Workload(
        f"{cell} {batch}x{hidden} value+grad",
        steps,
        inputs(cell, batch, hidden),
        contenders,
        rtol=5e-4,
        targets=targets,
        slope=Slope(lambda *given: (loop(*given) ** 2).sum(), WRT, rtol=2e-4),
    )


def against_jax(peer: float, *others: str, limit: float | None = None) -> Targets:
    return Targets(peer=peer, limit=limit, of=("jax", *others))


WORKLOADS = (
    forward("elman", 1, 64, 2000, against_jax(0.5)),
    forward("elman", 1, 256, 1000, against_jax(0.65, "onnxruntime")),
    forward("elman", 32, 256, 200, against_jax(1.0, "onnxruntime", limit=1 / 0.75)),
    forward("elman", 64, 512, 100, against_jax(0.95, limit=1 / 0.8)),
    forward("lstm", 1, 64, 1000),
    forward("lstm", 1, 128, 1000, against_jax(0.6)),
    forward("lstm", 1, 256, 500),
    forward("lstm", 16, 128, 200, against_jax(0.6)),
    forward("lstm", 32, 256, 100, against_jax(0.6)),
    forward("lstm", 64, 512, 30),
    forward("gru", 1, 64, 2000),
    forward("gru", 1, 256, 1000),
    forward("gru", 32, 256, 100),
    forward("gru", 64, 512, 30),
    gradient("elman", 1, 64, 2000, against_jax(0.5)),
    gradient("elman", 1, 256, 500, against_jax(0.5)),
    gradient("elman", 32, 256, 200, against_jax(0.5)),
    gradient("elman", 64, 512, 50, against_jax(0.8)),
    gradient("lstm", 1, 64, 1000),
    gradient("lstm", 1, 128, 500, against_jax(0.5)),
    gradient("lstm", 1, 256, 200),
    gradient("lstm", 16, 128, 100, against_jax(0.5)),
    gradient("lstm", 32, 256, 50, against_jax(0.5)),
    gradient("lstm", 64, 512, 20),
    gradient("gru", 1, 64, 1000),
    gradient("gru", 1, 256, 200),
    gradient("gru", 32, 256, 50),
    gradient("gru", 64, 512, 20),
)
