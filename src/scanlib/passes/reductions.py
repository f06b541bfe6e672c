"""Reductions over time: sum, prod, max, min, all, any of a trace that nothing else reads become a state.

The elements are then added one step after the other, where NumPy adds in pairs: sums of floats may differ in
the last bits.  Axes other than time are reduced after the loop, so that the loop stays elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, Constant, FunctionGraph, TensorType, Variable
from ..ops.base import TABLE, Reduce
from ..ops.history import history
from ..ops.scan_op import spec_of
from . import build
from .loop import Fed, Loop
from .reads import is_bounded, last_row
from .rewrite import everywhere, is_scan, readers, rewrite_by_origin
from .shapes import Shapes


def over_time(node: Apply | None) -> bool:
    return node is not None and isinstance(node.op.lower, Reduce) and 0 in node.params["axes"]


def _candidates(graph: FunctionGraph) -> dict[int, tuple[Apply, list[Apply]]]:
    """For every trace (by id) read by reductions, and otherwise only near its end: its scan, and they."""
    table = readers(graph)
    found: dict[int, tuple[Apply, list[Apply]]] = {}
    for group in table.values():
        for reader in group:
            if reader is None or not over_time(reader):
                continue
            trace = reader.inputs[0]
            node = trace.owner
            if node is None or not is_scan(node) or id(trace) in found:
                continue
            spec = spec_of(node)
            if trace.index >= len(spec.keep) or spec.keep[trace.index] is not None:
                continue
            read = table[id(trace)]
            if all(r is not None and (over_time(r) or is_bounded(r, trace)) for r in read):
                found[id(trace)] = (node, [r for r in read if over_time(r)])  # type: ignore[misc]
    return found


def _accumulator(loop: Loop, trace: Variable, reduction: Apply) -> Fed | None:
    """The state that holds the reduction of the steps so far; None when its shape cannot be told."""
    rule = reduction.op.lower
    assert isinstance(rule, Reduce)
    dims = []
    for axis in range(1, trace.ndim):
        d = Shapes().dim(trace, axis)
        asked = build.asked_shape(d.owner)
        if asked is not None and asked[0] is trace:
            return None
        dims.append(d)
    dtype = rule.accumulate(trace.dtype)
    start = Constant(build.array(rule.start(trace.dtype), dtype))
    shape = (build.integer(1), *dims)
    initial = TABLE["broadcast_to"](start, *shape)
    source = trace.index
    part = loop.states[source] if source < len(loop.states) else None
    value = part.next if part is not None else loop.mapped[source - len(loop.states)].value
    label = f"{reduction.op.name} of {loop.spec.labels[source]}"
    before = Variable(TensorType(dtype, value.type.shape))
    after = TABLE[rule.combine](before, build.cast(value, dtype))
    return Fed((-1,), (before,), initial, after, None, label, None)


def _result(reduction: Apply, state: Fed, trace: Variable, steps: Variable) -> Variable:
    """What stands for the reduction, given the trace of its accumulator."""
    number = build.number_of(steps)
    empty_is_error = reduction.op.name in ("max", "min")
    if empty_is_error or (number is not None and number > 0):
        total = last_row(trace)
    else:
        total = last_row(history(state.initial, trace))
    axes, keepdims = reduction.params["axes"], reduction.params["keepdims"]
    rest = tuple(a - 1 for a in axes if a != 0)
    if rest:
        total = reduction.op(total, axes=rest, keepdims=keepdims)
    return build.as_trace(total) if keepdims else total


def _reduce(graph: FunctionGraph) -> FunctionGraph:
    candidates = _candidates(graph)
    if not candidates:
        return graph
    by_scan: dict[int, tuple[Apply, list[tuple[Variable, Apply]]]] = {}
    for node, reductions in candidates.values():
        entry = by_scan.setdefault(id(node), (node, []))
        entry[1].extend((r.inputs[0], r) for r in reductions)
    # One scan at a time: what another reads may be about to change.
    for node, pairs in by_scan.values():
        replacement = _with_accumulators(node, pairs)
        if replacement:
            return _reduce(with_variables(graph, replacement))
    return graph


def _with_accumulators(node: Apply, pairs: list[tuple[Variable, Apply]]) -> dict[int, Variable]:
    """New variables, by the id of the old ones: the reductions, and the outputs of the scan."""
    loop = Loop.open(node)
    made: list[tuple[Apply, Fed]] = []
    for trace, reduction in pairs:
        state = _accumulator(loop, trace, reduction)
        if state is not None:
            made.append((reduction, state))
    if not made:
        return {}
    count = len(loop.states)
    loop.states += [state for _, state in made]
    outputs = loop.close()
    new = outputs[-1].owner
    assert new is not None
    replaced = {id(old): v for old, v in zip(node.outputs, outputs)}
    for k, (reduction, state) in enumerate(made):
        replaced[id(reduction.output)] = _result(reduction, state, new.outputs[count + k], loop.steps)
    return replaced


def with_variables(graph: FunctionGraph, replacement: dict[int, Variable]) -> FunctionGraph:
    """The graph with variables replaced wherever they stand."""

    def rule(node: Apply, origin: Apply) -> Sequence[Variable] | None:
        if not any(id(v) in replacement for v in origin.outputs):
            return None
        return [replacement.get(id(old), v) for old, v in zip(origin.outputs, node.outputs)]

    return rewrite_by_origin(graph, rule)


reduce_over_time = everywhere(_reduce)
