"""Pickling of graphs: flat records instead of a recursion as deep as the graph."""

from __future__ import annotations

import copyreg
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from .graph import FunctionGraph, Variable, roots, toposort
from .ops.base import TABLE, Op
from .ops.scan_op import ScanSpec


@dataclass(frozen=True)
class NodeRecord:
    """One Apply: its row by name, its inputs as positions, the names of its outputs."""

    op: str
    inputs: tuple[int, ...]
    params: Mapping[str, Any]
    names: tuple[str | None, ...]


@dataclass(frozen=True)
class GraphRecord:
    """A graph: positions count the leaves, then the outputs of the nodes in order."""

    leaves: tuple[Variable, ...]
    nodes: tuple[NodeRecord, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def record(inputs: Sequence[Variable], outputs: Sequence[Variable]) -> GraphRecord:
    """The graph from `inputs` to `outputs`; an input that has an owner becomes a leaf of its own."""
    leaves: list[Variable] = []
    position: dict[int, int] = {}
    for v in (*inputs, *roots(outputs, inputs)):
        if id(v) not in position:
            position[id(v)] = len(leaves)
            leaves.append(v if v.owner is None else v.clone())
    count = len(leaves)
    nodes: list[NodeRecord] = []
    for node in toposort(outputs, inputs):
        names = tuple(v.name for v in node.outputs)
        nodes.append(
            NodeRecord(node.op.name, tuple(position[id(v)] for v in node.inputs), dict(node.params), names)
        )
        for v in node.outputs:
            # An output that is an input of the graph keeps its leaf.
            position.setdefault(id(v), count)
            count += 1
    return GraphRecord(
        tuple(leaves),
        tuple(nodes),
        tuple(position[id(v)] for v in inputs),
        tuple(position[id(v)] for v in outputs),
    )


def rebuild(record: GraphRecord) -> tuple[tuple[Variable, ...], tuple[Variable, ...]]:
    """(inputs, outputs) of the graph."""
    variables: list[Variable] = list(record.leaves)
    for node in record.nodes:
        made = row(node.op).apply([variables[i] for i in node.inputs], node.params).outputs
        for v, name in zip(made, node.names):
            v.name = name
        variables.extend(made)
    return tuple(variables[i] for i in record.inputs), tuple(variables[i] for i in record.outputs)


def _spec(graph: GraphRecord, rest: Mapping[str, Any]) -> ScanSpec:
    inputs, outputs = rebuild(graph)
    return ScanSpec(inputs=inputs, outputs=outputs, **rest)


def _reduce_spec(spec: ScanSpec) -> tuple[Any, ...]:
    rest = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in ("inputs", "outputs")}
    return _spec, (record(spec.inputs, spec.outputs), rest)


def _graph(graph: GraphRecord, name: str) -> FunctionGraph:
    return FunctionGraph(*rebuild(graph), name)


def _reduce_graph(fg: FunctionGraph) -> tuple[Any, ...]:
    return _graph, (record(fg.inputs, fg.outputs), fg.name)


def row(name: str) -> Op:
    """The row of that name."""
    if name not in TABLE:
        # Rows of families that are loaded when first used.
        for family in ("control", "gradient", "history", "random", "linalg", "sort"):
            import_module(f".ops.{family}", __package__)
    return TABLE[name]


def _reduce_op(op: Op) -> tuple[Any, ...]:
    return row, (op.name,)


copyreg.pickle(ScanSpec, _reduce_spec)
copyreg.pickle(FunctionGraph, _reduce_graph)
copyreg.pickle(Op, _reduce_op)
