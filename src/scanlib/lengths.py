"""Which axes of a function's inputs count steps: those stay run-time values however short they are."""

from __future__ import annotations

from .graph import FunctionGraph, Variable, toposort
from .ops.base import Affine, Pointwise
from .ops.scan_op import operands_of


def step_axes(graph: FunctionGraph) -> list[tuple[bool, ...]]:
    """For every input, per axis, whether it is iterated over by a scan (followed through views and arithmetic)."""
    inputs = {id(v) for v in graph.inputs}
    found: set[int] = set()
    stack: list[Variable] = []
    for node in toposort(graph.outputs, graph.inputs):
        if node.op.name == "scan":
            stack.extend(operands_of(node).sequences)
    seen: set[int] = set()
    while stack:
        v = stack.pop()
        if id(v) in seen or v.ndim == 0:
            continue
        seen.add(id(v))
        if id(v) in inputs:
            found.add(id(v))
        elif v.owner is not None and isinstance(v.owner.op.lower, (Affine, Pointwise)):
            stack.extend(u for u in v.owner.inputs if u.ndim == v.ndim)
    return [tuple(id(v) in found and axis == 0 for axis in range(v.ndim)) for v in graph.inputs]
