"""Absorbing: work on the rows of a trace moves into the loop where that leaves nothing to read all of the trace.

`((trace - 1) ** 2).sum()` then reads no trace: the elementwise part becomes a mapped output of the scan, and
the reduction a state of it (see reductions.py).  What stands beside the trace must be known to be as long as
the trace (see beside.py), to be a row, or to be a scalar.  In `trace[1:] - trace[:-1]` the rows of the second stand one
step back, and a state holds them.  A product of a vector with a trace is such a reduction too.  What makes rows smaller
(`trace.sum(1)`, `trace[:, 0]`, `trace @ v`) moves in without a reduction over time.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, Constant, FunctionGraph, TensorType, Variable, ancestors, toposort
from ..ops import shape as rows
from ..ops.elementwise import mul
from ..ops.index_rules import At, Span
from ..ops.indexing import subtensor
from ..ops.product import contract, source_name
from ..ops.reduction import sum as sum_row
from ..ops.scan_op import spec_of
from . import build
from .beside import beside
from .loop import Feed, Loop, Mapped
from .reductions import Replacement, with_variables
from .regions import Finder, Leaf, Region, on_row, whole_at
from .rewrite import everywhere, is_scan, rewrite, rewrite_by_origin
from .views import indexed
from .windows import earlier


def _bind(loop: Loop, leaf: Leaf, kind: str | None) -> Variable:
    """A new input of the step for a leaf."""
    v = leaf.v
    operand = build.first_row(v) if kind == "row" else v
    shape = v.type.shape if kind == "whole" else v.type.shape[1:]
    step = Variable(TensorType(v.dtype, shape), name=source_name(v))
    (loop.sequences if kind == "rows" else loop.non_sequences).append(Feed(step, operand))
    return step


def _into_loop(region: Region, finder: Finder) -> dict[int, Replacement]:
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
            operands = [bound[id(v), whole_at(node, i)] for i, v in enumerate(node.inputs)]
            bound[id(node.output), False] = on_row(node, operands)
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
    graph = beside(rewrite(_vector_products(graph), _apart))
    finder = Finder(graph)
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
    finder = Finder(graph)

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
