"""Regions: work on traces that can be done row by row, and so by the loop, and what it reads beside the traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graph import Apply, Constant, FunctionGraph, Variable, ancestors, toposort
from ..ops import shape as rows
from ..ops.accumulation import cumprod, cumsum
from ..ops.base import Pointwise, Reduce
from ..ops.creation import arange
from ..ops.index_rules import At, Span
from ..ops.indexing import gather, set_subtensor, subtensor
from ..ops.product import contract
from ..ops.reduction import argmax, argmin
from ..ops.scan_op import spec_of
from . import build
from .offsets import offset_of
from .reads import difference, is_bounded
from .reductions import over_time, reductions_of, sliced
from .rewrite import is_scan, readers
from .shapes import Shapes, row_dims
from .windows import Window, lags_of, window_of

# What works along one axis, and what joins arrays along one.
_ALONG_AXIS = (argmax, argmin, cumsum, cumprod)
_JOINS = (rows.stack, rows.concatenate)


def row_operands(node: Apply) -> int | None:
    """How many operands (the first ones) an operation that works row by row takes row by row."""
    rule = node.op.lower
    if any(v.ndim == 0 for v in (*node.inputs[:1], *node.outputs)):
        return len(node.inputs) if isinstance(rule, Pointwise) and node.outputs[0].ndim else None
    if isinstance(rule, Pointwise):
        return len(node.inputs)
    if isinstance(rule, Reduce):
        return None if 0 in node.params["axes"] else 1
    if node.op is rows.dimshuffle:
        return 1 if node.params["order"][:1] == (0,) else None
    if node.op in (subtensor, set_subtensor):
        return 1 if node.params["index"][0] == Span() and not _writes_rows(node) else None
    if node.op in _ALONG_AXIS:
        return 1 if node.params["axis"] > 0 else None
    if node.op in _JOINS:
        single = any(v.type.shape[0] == 1 for v in node.inputs)
        return len(node.inputs) if node.params["axis"] > 0 and not single else None
    if node.op is gather:
        places = node.inputs[1:]
        return len(node.inputs) if all(v.ndim == 1 for v in places) and counts_rows(places[0]) else None
    return 1 if node.op is contract and node.output.ndim == 2 else None


def _writes_rows(node: Apply) -> bool:
    """Whether a set_subtensor writes something else to every row."""
    ndim = sum(isinstance(e, Span) for e in node.params["index"])
    return node.op is set_subtensor and node.inputs[1].ndim == ndim and node.inputs[1].type.shape[0] != 1


def counts_rows(v: Variable) -> bool:
    """Whether a vector is 0, 1, 2, …, of which an array indexed by it, and by others, is read row by row."""
    if isinstance(v, Constant):
        return v.ndim == 1 and v.data.size > 1 and bool((v.data == np.arange(v.data.size)).all())
    numbers = [] if v.owner is None or v.owner.op is not arange else v.owner.inputs
    return bool(numbers) and [build.number_of(numbers[k]) for k in (0, 2)] == [0, 1]


def smaller(node: Apply) -> bool:
    """Whether a row of the result is certainly smaller than a row of the operand."""
    if node.op is subtensor:
        return any(isinstance(e, At) for e in node.params["index"])
    column = node.op is contract and node.inputs[1].type.shape[-1] == 1
    fewer = node.op is gather or node.op.name in ("argmax", "argmin")
    return column or fewer or isinstance(node.op.lower, Reduce)


def on_row(node: Apply, operands: Sequence[Variable]) -> Variable:
    """What the operation makes of a row."""
    params = dict(node.params)
    if isinstance(node.op.lower, Reduce):
        params["axes"] = tuple(a - 1 for a in params["axes"])
    elif node.op is rows.dimshuffle:
        params["order"] = tuple(o if o == "x" else o - 1 for o in params["order"][1:])
    elif node.op in (subtensor, set_subtensor):
        params["index"] = params["index"][1:]
    elif node.op in _ALONG_AXIS or node.op in _JOINS:
        params["axis"] -= 1
    elif node.op is gather:
        params["axes"] = params["axes"][1:]
        operands = (operands[0], *operands[2:])
        return gather(*operands, **params) if len(operands) > 1 else operands[0]
    elif node.op is contract:
        return build.first_row(contract(build.as_trace(operands[0]), operands[1]))
    return node.op.apply(operands, params).output


def whole_at(node: Apply, i: int) -> bool:
    """Whether a node that works row by row reads all of operand `i` at every row."""
    count = row_operands(node)
    assert count is not None
    shorter = isinstance(node.op.lower, Pointwise) and node.inputs[i].ndim < node.output.ndim
    return i >= count or shorter


@dataclass(frozen=True)
class Leaf:
    """What a region reads from elsewhere: all of it for every row, or row by row, or as it was `lag` steps ago."""

    v: Variable
    whole: bool
    lag: int = 0

    @property
    def key(self) -> tuple[int, bool]:
        return (id(self.v), self.whole)


@dataclass
class Region:
    """Nodes that work row by row, from traces of `scan`, or one window of them, to `result`."""

    scan: Apply
    result: Variable
    nodes: set[int]
    traces: list[Variable]
    leaves: dict[tuple[int, bool], Leaf]  # by what the nodes read: what that is, or is a window of
    window: Window | None
    loose: list[Variable]  # what is read row by row, and may be as long as the traces or not


class Finder:
    def __init__(self, graph: FunctionGraph) -> None:
        self.table = readers(graph)
        self.shapes = Shapes()

    def region(self, result: Variable, loosely: bool = False) -> Region | None:
        """The region that ends in `result`, if a loop can do its work.

        `loosely`: even when what stands beside the traces is not known to be as long.
        """
        nodes, read = self._walk(result)
        by_key, window = self._windowed(read, nodes)
        leaves = list(by_key.values())
        traces = [leaf.v for leaf in leaves if not leaf.whole and self.is_trace(leaf.v)]
        scans = {id(v.owner): v.owner for v in traces}
        if not nodes or len(scans) != 1:
            return None
        (scan,) = scans.values()
        assert scan is not None
        others = [leaf for leaf in leaves if leaf.whole or leaf.v.owner is not scan]
        if any(u.owner is scan for u in ancestors([leaf.v for leaf in others])):
            return None
        loose = [leaf.v for leaf in others if self.kind(leaf, scan) is None]
        if loose and (not loosely or window is not None or spec_of(scan).until):
            return None
        # An array of places that is shorter than the trace is a prefix of it.
        if any(counts_rows(v) or (id(v), True) in by_key for v in loose):
            return None
        if window is not None and spec_of(scan).until:
            past = window.of_past()
            if past is None or not all(self._delayed(v, past[1]) for v in traces):
                return None
            window, lag = past
            by_key = {k: replace(u, lag=u.lag + lag) if u.v.owner is scan else u for k, u in by_key.items()}
        return Region(scan, result, nodes, traces, by_key, window, loose)

    def regions(self, loosely: bool = False) -> list[Region]:
        """The regions whose traces are needed for nothing but them and other such regions."""
        found: dict[int, Region] = {}
        for result in self._results():
            region = self.region(result, loosely) if id(result) not in found else None
            if region is not None and (not region.loose or self._reduced(result)):
                found[id(result)] = region
        regions = list(found.values())
        while True:
            nodes = set().union(*(r.nodes for r in regions))
            kept = [r for r in regions if all(self.only_here(v, nodes) for v in r.traces)]
            if len(kept) == len(regions):
                return kept
            regions = kept

    def _reduced(self, v: Variable) -> bool:
        return all(over_time(r) for r in self.table[id(v)])

    def _results(self) -> list[Variable]:
        """What may end a region: read by reductions over time only, or with smaller rows than before."""
        nodes = {id(r): r for group in self.table.values() for r in group if r is not None}
        found = []
        for node in nodes.values():
            if over_time(node):
                offset = offset_of(node)
                reduced = [node.inputs[0]] if offset is None else [node.inputs[0], offset.rows]
                found += [x for x in reduced if not is_scan(x.owner) and self._only_reduced(x)]
            elif row_operands(node) is not None and smaller(node):
                found.append(node.output)
        return found

    def _only_reduced(self, v: Variable) -> bool:
        return all(reductions_of(r, v, self.table) for r in self.table[id(v)])

    def _walk(self, result: Variable) -> tuple[set[int], list[Leaf]]:
        """The nodes that work row by row and that only `result` needs, and what they read."""
        nodes: set[int] = set()
        asked = {(id(result), False): Leaf(result, False)}
        for node in reversed(toposort([result])):
            if len(node.outputs) != 1 or (id(node.output), False) not in asked or row_operands(node) is None:
                continue
            v = node.output
            inside = v is result or all(r is not None and id(r) in nodes for r in self.table[id(v)])
            if not inside or (id(v), True) in asked:
                continue
            nodes.add(id(node))
            del asked[id(v), False]
            leaves = [Leaf(u, whole_at(node, i)) for i, u in enumerate(node.inputs)]
            asked.update({leaf.key: leaf for leaf in leaves})
        return nodes, list(asked.values())

    def _windowed(
        self, leaves: list[Leaf], nodes: set[int]
    ) -> tuple[dict[tuple[int, bool], Leaf], Window | None]:
        """The leaves by key; when all rows are of one window, what that is a window of stands for them."""
        made = {leaf.key: leaf for leaf in leaves}
        moving = [leaf for leaf in leaves if not leaf.whole and leaf.v.type.shape[0] != 1]
        windows = [window_of(leaf.v.owner) for leaf in moving]
        lags = lags_of(windows)
        slices = [leaf.v.owner for leaf in moving]
        sources = [node.inputs[0] for node in slices if node is not None]
        if lags is None or not all(self._delayed(v, lag) for v, lag in zip(sources, lags)):
            return made, None
        if any(r is None or id(r) not in nodes for leaf in moving for r in self.table[id(leaf.v)]):
            return made, None
        for leaf, source, lag in zip(moving, sources, lags):
            made[leaf.key] = Leaf(source, False, lag)
            nodes.add(id(leaf.v.owner))
        return made, windows[lags.index(0)]

    def _delayed(self, v: Variable, lag: int) -> bool:
        """Whether a loop can hold the rows of `v` for so many steps: a trace whose rows have a known shape."""
        return lag == 0 or (self.is_trace(v) and row_dims(v) is not None)

    def is_trace(self, v: Variable) -> bool:
        node = v.owner
        if node is None or not is_scan(node):
            return False
        keep = spec_of(node).keep
        return v.index < len(keep) and keep[v.index] is None

    def only_here(self, trace: Variable, nodes: set[int]) -> bool:
        return all(
            r is not None
            and (
                id(r) in nodes
                or bool(reductions_of(r, trace, self.table) or sliced(r, self.table))
                or is_bounded(r, trace)
            )
            for r in self.table[id(trace)]
        )

    def kind(self, leaf: Leaf, scan: Apply) -> str | None:
        """How a step sees a leaf: as a whole, as its one row, or row by row."""
        if leaf.whole:
            return "whole"
        if leaf.v.type.shape[0] == 1:
            return "row"
        if spec_of(scan).until:
            return None
        return "rows" if difference(self.length(leaf.v), scan.inputs[0]) == 0 else None

    def length(self, v: Variable) -> Variable:
        node = v.owner
        if node is not None and node.op is rows.specify_shape and 0 in node.params["axes"]:
            return node.inputs[1 + node.params["axes"].index(0)]  # says more than a number
        if node is not None and node.op is arange and counts_rows(v):
            return node.inputs[1]  # which may be less than 0, but equals no length then
        return self.shapes.dim(v, 0)
