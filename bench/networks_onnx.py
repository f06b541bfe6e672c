"""The networks in ONNX Runtime: the operators RNN, LSTM and GRU, with constant weights, which it may pack."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import systems
from .gates import reorder
from .workload import Contender, Run

# The operator, and which gate of ours (LSTM: keep, write, read, candidate; GRU: reset, update, new) it has where.
OPERATORS = {"elman": ("RNN", (0,)), "lstm": ("LSTM", (1, 2, 0, 3)), "gru": ("GRU", (1, 0, 2))}
MODEL = """
<ir_version: 9, opset_import: ["" : 18]>
network (float[steps, batch, inputs] x, float[1, batch, hidden] h) => (float[steps, 1, batch, hidden] y) {{
  y = {operator} <hidden_size = {hidden}{more}> (x, W, U, b, , {states})
}}
"""


def session(cell: str, W: Any, U: Any, b: Any) -> Any:
    operator, order = OPERATORS[cell]
    text = MODEL.format(
        operator=operator,
        hidden=U.shape[0],
        # The reset gate acts on h U, as in our step.
        more=", linear_before_reset = 1" if cell == "gru" else "",
        states="h, h" if cell == "lstm" else "h",
    )
    rows = [np.ascontiguousarray(reorder(w, order).T)[None] for w in (W, U)]
    biases = np.concatenate([reorder(b, order), np.zeros_like(b)])[None]
    return systems.onnx_session(text, W=rows[0], U=rows[1], b=biases)


def with_onnx(cell: str) -> Run:
    made: list[Any] = []

    def run(x: Any, W: Any, U: Any, b: Any, h: Any) -> Any:
        if not made:
            made.append(session(cell, W, U, b))
        return made[0].run(None, {"x": x, "h": h[None]})

    return run


def forward(cell: str) -> list[Contender]:
    return systems.onnxruntime(lambda: with_onnx(cell), OPERATORS[cell][0])
