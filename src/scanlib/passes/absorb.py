"""Absorbing: elementwise work between a trace and a reduction over time moves into the loop.

`((trace - 1) ** 2).sum()` then reads no trace: the elementwise part becomes a mapped output of the scan, and
the reduction a state of it (see reductions.py).  What stands beside the trace must be known to be as long as
the trace, to be a row, or to be a scalar.  A product of a vector with a trace is such a reduction too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..graph import Apply, FunctionGraph, TensorType, Variable, ancestors, toposort
from ..ops import shape as rows
from ..ops.base import Pointwise
from ..ops.elementwise import mul
from ..ops.product import contract
from ..ops.reduction import sum as sum_row
from ..ops.scan_op import spec_of
from . import build
from .loop import Feed, Loop, Mapped
from .reads import difference, is_bounded
from .reductions import over_time, with_variables
from .rewrite import everywhere, is_scan, readers, rewrite_by_origin
from .shapes import Shapes


@dataclass
class _Region:
    """Elementwise nodes from traces of `scan` to `result`; `leaves` are what they read from elsewhere."""

    scan: Apply
    result: Variable
    nodes: set[int]
    traces: list[Variable]
    leaves: list[Variable]


class _Finder:
    def __init__(self, graph: FunctionGraph) -> None:
        self.table = readers(graph)
        self.shapes = Shapes()

    def region(self, result: Variable) -> _Region | None:
        """The elementwise region that ends in `result`, if a loop can do its work."""
        nodes, leaves = self._walk(result)
        traces = [v for v in leaves if self.is_trace(v, result)]
        scans = {id(v.owner): v.owner for v in traces}
        if not nodes or len(scans) != 1:
            return None
        (scan,) = scans.values()
        assert scan is not None
        others = [v for v in leaves if not any(v is t for t in traces)]
        if any(u.owner is scan for u in ancestors(others)):
            return None
        if any(self.as_row(v, result, scan) is None for v in others):
            return None
        return _Region(scan, result, nodes, traces, leaves)

    def regions(self) -> list[_Region]:
        """The regions whose traces are needed for nothing but them and other such regions."""
        found: dict[int, _Region] = {}
        for group in self.table.values():
            for reader in group:
                if reader is None or not over_time(reader) or is_scan(reader.inputs[0].owner):
                    continue
                result = reader.inputs[0]
                if id(result) in found or not all(over_time(r) for r in self.table[id(result)]):
                    continue
                region = self.region(result)
                if region is not None:
                    found[id(result)] = region
        regions = list(found.values())
        while True:
            nodes = set().union(*(r.nodes for r in regions))
            kept = [r for r in regions if all(self.only_here(v, nodes) for v in r.traces)]
            if len(kept) == len(regions):
                return kept
            regions = kept

    def _walk(self, result: Variable) -> tuple[set[int], list[Variable]]:
        """Elementwise nodes that only `result` needs, and what they read."""
        nodes: set[int] = set()
        leaves: dict[int, Variable] = {}
        stack = [result]
        while stack:
            v = stack.pop()
            node = v.owner
            inside = node is not None and isinstance(node.op.lower, Pointwise) and v.ndim == result.ndim
            if inside and (v is result or all(r is not None and id(r) in nodes for r in self.table[id(v)])):
                assert node is not None
                nodes.add(id(node))
                stack.extend(node.inputs)
            else:
                leaves[id(v)] = v
        return nodes, list(leaves.values())

    def is_trace(self, v: Variable, result: Variable) -> bool:
        node = v.owner
        if node is None or not is_scan(node) or v.ndim != result.ndim:
            return False
        keep = spec_of(node).keep
        return v.index < len(keep) and keep[v.index] is None

    def only_here(self, trace: Variable, nodes: set[int]) -> bool:
        return all(
            r is not None and (id(r) in nodes or over_time(r) or is_bounded(r, trace))
            for r in self.table[id(trace)]
        )

    def as_row(self, v: Variable, result: Variable, scan: Apply) -> str | None:
        """How a step sees a leaf: as a whole, as its one row, or row by row."""
        if v.ndim < result.ndim:
            return "whole"
        if v.type.shape[0] == 1:
            return "row"
        if spec_of(scan).until:
            return None
        return "rows" if difference(self.shapes.dim(v, 0), scan.inputs[0]) == 0 else None


def _into_loop(region: _Region, finder: _Finder) -> dict[int, Variable]:
    """New variables, by the id of the old ones: the outputs of the scan, and the result of the region."""
    loop = Loop.open(region.scan)
    bound: dict[int, Variable] = {}
    for v in region.leaves:
        if v.owner is region.scan:
            k = v.index
            bound[id(v)] = loop.results()[k]
            continue
        kind = finder.as_row(v, region.result, region.scan)
        operand = build.first_row(v) if kind == "row" else v
        shape = v.type.shape if kind == "whole" else v.type.shape[1:]
        step = Variable(TensorType(v.dtype, shape), name=v.name)
        (loop.sequences if kind == "rows" else loop.non_sequences).append(Feed(step, operand))
        bound[id(v)] = step
    for node in toposort([region.result], region.leaves):
        made = node.op.apply([bound[id(v)] for v in node.inputs], node.params)
        bound[id(node.output)] = made.output
    label = region.result.name or f"{region.result.owner.op.name} of {loop.spec.name}"  # type: ignore[union-attr]
    loop.mapped.append(Mapped(bound[id(region.result)], None, label, None))
    outputs = loop.close()
    new = outputs[-1].owner
    assert new is not None
    replaced = {id(old): v for old, v in zip(region.scan.outputs, outputs)}
    replaced[id(region.result)] = new.outputs[len(loop.states) + len(loop.mapped) - 1]
    return replaced


def _absorb(graph: FunctionGraph) -> FunctionGraph:
    graph = _vector_products(graph)
    finder = _Finder(graph)
    regions = finder.regions()
    # One at a time: the others may read what has now changed.
    return _absorb(with_variables(graph, _into_loop(regions[0], finder))) if regions else graph


# Products of a vector with a trace.


def _vector_products(graph: FunctionGraph) -> FunctionGraph:
    """w @ trace as the sum of w[t] · trace[t], when nothing else reads all of the trace."""
    finder = _Finder(graph)

    def rule(node: Apply, origin: Apply) -> Sequence[Variable] | None:
        if node.op is not contract:
            return None
        left, right = (v.owner for v in origin.inputs)
        if left is None or left.op is not rows.dimshuffle or left.params["order"] != ("x", 0):
            return None
        trace, vector = origin.inputs[1], left.inputs[0]
        if right is None or not is_scan(right) or not finder.is_trace(trace, origin.output):
            return None
        if not finder.only_here(trace, {id(origin)}) or any(u.owner is right for u in ancestors([vector])):
            return None
        steps = right.outputs[-1] if spec_of(right).until else right.inputs[0]
        current = node.inputs[0].owner
        assert current is not None
        weights = rows.specify_shape(current.inputs[0], steps, axes=(0,))
        column = rows.dimshuffle(weights, order=(0, "x"))
        return (sum_row(mul(column, node.inputs[1]), axes=(0,), keepdims=True),)

    return rewrite_by_origin(graph, rule)


absorb = everywhere(_absorb)
