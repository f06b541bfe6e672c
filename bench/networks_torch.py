"""The networks in torch: nn.RNN, nn.LSTM and nn.GRU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import systems
from .gates import inverse, reorder
from .workload import Arrays, Contender, Run

# The module, and which gate of ours (LSTM: keep, write, read, candidate; GRU: reset, update, new) it has where.
MODULES = {"elman": ("RNN", (0,)), "lstm": ("LSTM", (1, 0, 3, 2)), "gru": ("GRU", (0, 1, 2))}


def load(cell: str) -> Callable[[Arrays], Arrays]:
    """Makes a module with the weights; it has them transposed, and a second bias."""

    def loaded(inputs: Arrays) -> Arrays:
        import torch

        x, W, U, b, h = inputs
        name, order = MODULES[cell]
        module = getattr(torch.nn, name)(*W.shape[:1], h.shape[1])
        parameters = (module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0)
        with torch.no_grad():
            module.bias_hh_l0.zero_()
            for parameter, value in zip(parameters, (W, U, b)):
                parameter.copy_(torch.from_numpy(reorder(value, order).T))
        first = torch.from_numpy(h[None])
        return module, torch.from_numpy(x), (first, first) if cell == "lstm" else first

    return loaded


def with_torch() -> Run:
    import torch

    def run(module: Any, x: Any, first: Any) -> Any:
        with torch.inference_mode():
            return module(x, first)[0]

    return run


def gradient_torch() -> Run:
    import torch

    def run(module: Any, x: Any, first: Any) -> Any:
        loss = (module(x, first)[0] ** 2).sum()
        wrt = (module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0)
        return (loss, *torch.autograd.grad(loss, wrt))

    return run


def forward(cell: str) -> list[Contender]:
    return systems.torch(with_torch, f"nn.{MODULES[cell][0]}", load(cell))


def gradient(cell: str) -> list[Contender]:
    name, order = MODULES[cell]

    def read(result: Any) -> Any:
        loss, *gradients = (r.detach().numpy() for r in result)
        return [loss, *(reorder(g.T, inverse(order)) for g in gradients)]

    return systems.torch(gradient_torch, f"nn.{name}", load(cell), read=read)
