"""Absorbing: work on the rows of a trace moves into the loop where that leaves nothing to read all of the trace.

`((trace - 1) ** 2).sum()` then reads no trace: the elementwise part becomes a mapped output of the scan, and
the reduction a state of it (see reductions.py).  What stands beside the trace must be known to be as long as
the trace, to be a row, or to be a scalar.  In `trace[1:] - trace[:-1]` the rows of the second stand one step back, and
a state holds them.  A product of a vector with a trace is such a reduction too.  What
makes rows smaller (`trace.sum(1)`, `trace[:, 0]`, `trace @ v`) moves in without a reduction over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..graph import Apply, Constant, FunctionGraph, TensorType, Variable, ancestors, toposort
from ..ops import shape as rows
from ..ops.base import Pointwise, Reduce
from ..ops.elementwise import mul
from ..ops.index_rules import At, Span
from ..ops.indexing import subtensor
from ..ops.product import contract
from ..ops.reduction import sum as sum_row
from ..ops.scan_op import spec_of
from . import build
from .loop import Feed, Loop, Mapped
from .offsets import offset_of
from .reads import difference, is_bounded
from .reductions import Replacement, over_time, reductions_of, sliced, with_variables
from .rewrite import everywhere, is_scan, readers, rewrite, rewrite_by_origin
from .shapes import Shapes, row_dims
from .views import indexed
from .windows import Window, earlier, lags_of, window_of


def _row_operands(node: Apply) -> int | None:
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
    if node.op is subtensor:
        first = node.params["index"][0]
        return 1 if isinstance(first, Span) and first.whole else None
    return 1 if node.op is contract and node.output.ndim == 2 else None


def _smaller(node: Apply) -> bool:
    """Whether a row of the result is certainly smaller than a row of the operand."""
    if node.op is subtensor:
        return any(isinstance(e, At) for e in node.params["index"])
    column = node.op is contract and node.inputs[1].type.shape[-1] == 1
    return column or isinstance(node.op.lower, Reduce)


def _on_row(node: Apply, operands: Sequence[Variable]) -> Variable:
    """What the operation makes of a row."""
    params = dict(node.params)
    if isinstance(node.op.lower, Reduce):
        params["axes"] = tuple(a - 1 for a in params["axes"])
    elif node.op is rows.dimshuffle:
        params["order"] = tuple(o if o == "x" else o - 1 for o in params["order"][1:])
    elif node.op is subtensor:
        params["index"] = params["index"][1:]
    elif node.op is contract:
        return build.first_row(contract(build.as_trace(operands[0]), operands[1]))
    return node.op.apply(operands, params).output


def _whole(node: Apply, i: int) -> bool:
    """Whether a node that works row by row reads all of operand `i` at every row."""
    count = _row_operands(node)
    assert count is not None
    shorter = isinstance(node.op.lower, Pointwise) and node.inputs[i].ndim < node.output.ndim
    return i >= count or shorter


@dataclass(frozen=True)
class _Leaf:
    """What a region reads from elsewhere: all of it for every row, or row by row, or as it was `lag` steps ago."""

    v: Variable
    whole: bool
    lag: int = 0

    @property
    def key(self) -> tuple[int, bool]:
        return (id(self.v), self.whole)


@dataclass
class _Region:
    """Nodes that work row by row, from traces of `scan`, or one window of them, to `result`."""

    scan: Apply
    result: Variable
    nodes: set[int]
    traces: list[Variable]
    leaves: dict[tuple[int, bool], _Leaf]  # by what the nodes read: what that is, or is a window of
    window: Window | None


class _Finder:
    def __init__(self, graph: FunctionGraph) -> None:
        self.table = readers(graph)
        self.shapes = Shapes()

    def region(self, result: Variable) -> _Region | None:
        """The region that ends in `result`, if a loop can do its work."""
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
        if any(self.kind(leaf, scan) is None for leaf in others):
            return None
        if window is not None and spec_of(scan).until:
            past = window.of_past()
            if past is None or not all(self._delayed(v, past[1]) for v in traces):
                return None
            window, lag = past
            by_key = {k: replace(u, lag=u.lag + lag) if u.v.owner is scan else u for k, u in by_key.items()}
        return _Region(scan, result, nodes, traces, by_key, window)

    def regions(self) -> list[_Region]:
        """The regions whose traces are needed for nothing but them and other such regions."""
        found: dict[int, _Region] = {}
        for result in self._results():
            region = self.region(result) if id(result) not in found else None
            if region is not None:
                found[id(result)] = region
        regions = list(found.values())
        while True:
            nodes = set().union(*(r.nodes for r in regions))
            kept = [r for r in regions if all(self.only_here(v, nodes) for v in r.traces)]
            if len(kept) == len(regions):
                return kept
            regions = kept

    def _results(self) -> list[Variable]:
        """What may end a region: read by reductions over time only, or with smaller rows than before."""
        nodes = {id(r): r for group in self.table.values() for r in group if r is not None}
        found = []
        for node in nodes.values():
            if over_time(node):
                offset = offset_of(node)
                reduced = [node.inputs[0]] if offset is None else [node.inputs[0], offset.rows]
                found += [x for x in reduced if not is_scan(x.owner) and self._only_reduced(x)]
            elif _row_operands(node) is not None and _smaller(node):
                found.append(node.output)
        return found

    def _only_reduced(self, v: Variable) -> bool:
        return all(reductions_of(r, v, self.table) for r in self.table[id(v)])

    def _walk(self, result: Variable) -> tuple[set[int], list[_Leaf]]:
        """The nodes that work row by row and that only `result` needs, and what they read."""
        nodes: set[int] = set()
        asked = {(id(result), False): _Leaf(result, False)}
        for node in reversed(toposort([result])):
            if len(node.outputs) != 1 or (id(node.output), False) not in asked or _row_operands(node) is None:
                continue
            v = node.output
            inside = v is result or all(r is not None and id(r) in nodes for r in self.table[id(v)])
            if not inside or (id(v), True) in asked:
                continue
            nodes.add(id(node))
            del asked[id(v), False]
            leaves = [_Leaf(u, _whole(node, i)) for i, u in enumerate(node.inputs)]
            asked.update({leaf.key: leaf for leaf in leaves})
        return nodes, list(asked.values())

    def _windowed(
        self, leaves: list[_Leaf], nodes: set[int]
    ) -> tuple[dict[tuple[int, bool], _Leaf], Window | None]:
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
            made[leaf.key] = _Leaf(source, False, lag)
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

    def kind(self, leaf: _Leaf, scan: Apply) -> str | None:
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
        return self.shapes.dim(v, 0)


def _bind(loop: Loop, leaf: _Leaf, kind: str | None) -> Variable:
    """A new input of the step for a leaf."""
    v = leaf.v
    operand = build.first_row(v) if kind == "row" else v
    shape = v.type.shape if kind == "whole" else v.type.shape[1:]
    step = Variable(TensorType(v.dtype, shape), name=v.name)
    (loop.sequences if kind == "rows" else loop.non_sequences).append(Feed(step, operand))
    return step


def _into_loop(region: _Region, finder: _Finder) -> dict[int, Replacement]:
    """New variables, by the id of the old ones: the outputs of the scan, and the result of the region."""
    loop = Loop.open(region.scan)
    bound: dict[tuple[int, bool], Variable] = {}
    for key, leaf in region.leaves.items():
        if leaf.v.owner is region.scan:
            bound[key] = earlier(loop, leaf.v, leaf.lag)
        elif not isinstance(leaf.v, Constant) or not leaf.whole:
            bound[key] = _bind(loop, leaf, finder.kind(leaf, region.scan))
        else:
            bound[key] = leaf.v
    for node in toposort([region.result]):
        if id(node) in region.nodes and (id(node.output), False) not in bound:
            operands = [bound[id(v), _whole(node, i)] for i, v in enumerate(node.inputs)]
            bound[id(node.output), False] = _on_row(node, operands)
    owner = region.result.owner
    assert owner is not None
    label = region.result.name or f"{owner.op.name} of {loop.spec.name}"
    loop.mapped.append(Mapped(bound[id(region.result), False], None, label, None))
    outputs = loop.close()
    new = outputs[-1].owner
    assert new is not None
    replaced: dict[int, Replacement] = {id(old): v for old, v in zip(region.scan.outputs, outputs)}
    made = new.outputs[len(loop.states) + len(loop.mapped) - 1]
    replaced[id(region.result)] = made if region.window is None else region.window.of(made)
    return replaced


def _absorb(graph: FunctionGraph) -> FunctionGraph:
    graph = rewrite(_vector_products(graph), _apart)
    finder = _Finder(graph)
    regions = finder.regions()
    # One at a time: the others may read what has now changed.
    return _absorb(with_variables(graph, _into_loop(regions[0], finder))) if regions else graph


# Products of a vector with a trace.


def _as_vector(v: Variable, axis: int) -> Variable | None:
    """The vector that a matrix of length 1 along `axis` was made of."""
    if isinstance(v, Constant):
        return Constant(v.data.reshape(-1)) if v.ndim == 2 and v.type.shape[axis] == 1 else None
    node = v.owner
    order = ("x", 0) if axis == 0 else (0, "x")
    made = node is not None and node.op is rows.dimshuffle and node.params["order"] == order
    return node.inputs[0] if made and node is not None else None


def _factors(node: Apply) -> tuple[Variable, Variable] | None:
    """(w, trace) of the products w @ trace, and trace.T @ w, of a vector and a matrix."""
    left, right = node.inputs
    vector = _as_vector(left, 0)
    if vector is not None:
        return vector, right
    vector, turned = _as_vector(right, 1), left.owner
    if vector is None or turned is None or turned.op is not rows.dimshuffle:
        return None
    return (vector, turned.inputs[0]) if turned.params["order"] == (1, 0) else None


def _vector_products(graph: FunctionGraph) -> FunctionGraph:
    """w @ trace as the sum of w[t] · trace[t], when nothing else reads all of the trace."""
    finder = _Finder(graph)

    def rule(node: Apply, origin: Apply) -> Sequence[Variable] | None:
        old = _factors(origin) if origin.op is contract and origin.output.ndim == 2 else None
        if old is None or not finder.is_trace(old[1]):
            return None
        reads = {id(origin), *(id(v.owner) for v in origin.inputs)}
        scan = old[1].owner
        assert scan is not None
        if not finder.only_here(old[1], reads) or any(u.owner is scan for u in ancestors([old[0]])):
            return None
        new = _factors(node)
        assert new is not None
        current = new[1].owner
        assert current is not None
        steps = current.outputs[-1] if spec_of(current).until else current.inputs[0]
        weights = rows.dimshuffle(rows.specify_shape(new[0], steps, axes=(0,)), order=(0, "x"))
        total = sum_row(mul(weights, new[1]), axes=(0,), keepdims=False)
        of_row = _as_vector(origin.inputs[0], 0) is not None
        return (rows.dimshuffle(total, order=("x", 0) if of_row else (0, "x")),)

    return rewrite_by_origin(graph, rule)


# Parts of the traces of inner scans.


def _of_inner_scan(v: Variable) -> bool:
    """Whether the steps of a trace are traces of a scan in the step."""
    node = v.owner
    if node is None or not is_scan(node) or v.index >= len(spec_of(node).keep):
        return False
    return is_scan(spec_of(node).outputs[v.index].owner)


def _apart(node: Apply) -> Sequence[Variable] | None:
    """trace[-1, i] as trace[:, i][-1], so that the inner scan need not keep more than that."""
    if node.op is not subtensor or not _of_inner_scan(node.inputs[0]):
        return None
    x, (first, *rest) = node.inputs[0], node.params["index"]
    if first == Span() or not any(isinstance(e, At) for e in rest):
        return None
    part = indexed(x, (Span(), *rest), node.inputs)
    return (indexed(part, (first, *(Span(),) * (part.ndim - 1)), node.inputs),)


absorb = everywhere(_absorb)
