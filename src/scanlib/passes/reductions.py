"""Reductions over time: sum, prod, max, min, all, any of a trace that nothing else reads become a state.

argmax and argmin become two, the best row so far and the step of it; so do variances and the like (offsets.py).

So do those of a slice of it: what is outside the slice counts as nothing.  The last row of a cumsum or cumprod over
time is such a sum or product.

The elements are then added one step after the other, where NumPy adds in pairs: sums of floats may differ in
the last bits.  Axes other than time are reduced after the loop, so that the loop stays elementwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..graph import Apply, Constant, FunctionGraph, TensorType, Variable
from ..ops.base import TABLE, Reduce, is_float
from ..ops.history import history
from ..ops.index_rules import At, Ref, Span
from ..ops.indexing import subtensor
from ..ops.scan_op import spec_of
from . import build
from .loop import Fed, Loop
from .offsets import about_row, offset_of, states_of, sums_of
from .reads import at_least, is_bounded, last_row
from .rewrite import everywhere, is_scan, readers, rewrite, rewrite_by_origin
from .shapes import Shapes, row_dims
from .windows import Window, counts, earlier, place_in, window_of

# What stands for a variable; a function is given the node that it comes out of, of which the inputs are replaced.
Replacement = Variable | Callable[[Apply], Variable]
# How an element is better than the best so far.
_PLACES = {"argmax": "gt", "argmin": "lt"}
# What is an error of nothing.
_OF_SOME = ("max", "min", *_PLACES)


def over_time(node: Apply | None) -> bool:
    if node is None or not isinstance(node.op.lower, Reduce):
        return _is_place(node)
    return 0 in node.params["axes"]


def _is_place(node: Apply | None) -> bool:
    return node is not None and node.op.name in _PLACES and node.params["axis"] == 0


@dataclass(frozen=True)
class _Reduction:
    """A reduction over time of a trace, or of a window of it as it was `lag` steps ago."""

    node: Apply
    trace: Variable
    window: Window | None = None
    lag: int = 0


def sliced(reader: Apply | None, table: dict[int, list[Apply | None]]) -> list[Apply]:
    """The reductions of a slice of a trace, if nothing else reads it and a loop can do them."""
    window = window_of(reader)
    if reader is None or window is None or is_bounded(reader, reader.inputs[0]):
        return []  # a few last steps are better kept
    node = reader.inputs[0].owner
    if node is None or not is_scan(node) or (spec_of(node).until and window.of_past() is None):
        return []
    found = [reductions_of(r, reader.output, table) for r in table[id(reader.output)]]
    return [u for made in found for u in made] if all(found) else []


def reductions_of(reader: Apply | None, v: Variable, table: dict[int, list[Apply | None]]) -> list[Apply]:
    """The reductions over time of `v` that alone need `reader`, if a loop can do them."""
    return [reader] if reader is not None and over_time(reader) else sums_of(reader, v, table)


def _reductions(trace: Variable, table: dict[int, list[Apply | None]]) -> list[_Reduction]:
    """The reductions over time of a trace that is read, otherwise, only near its end."""
    found: dict[int, _Reduction] = {}
    for r in table[id(trace)]:
        of_all, of_slice = reductions_of(r, trace, table), sliced(r, table)
        if of_all or of_slice:
            window, lag = window_of(r) if of_slice else None, 0
            if window is not None and trace.owner is not None and spec_of(trace.owner).until:
                window, lag = window.of_past() or (window, 0)
            found.update({id(u): _Reduction(u, trace, window, lag) for u in of_all or of_slice})
        elif not is_bounded(r, trace):
            return []
    return list(found.values())


def _candidates(graph: FunctionGraph) -> dict[int, tuple[Apply, list[_Reduction]]]:
    """For every scan (by id) what is reduced of it."""
    table = readers(graph)
    scans = {id(r): r for group in table.values() for r in group if r is not None and is_scan(r)}
    found: dict[int, tuple[Apply, list[_Reduction]]] = {}
    for node in scans.values():
        made: list[_Reduction] = []
        for trace, keep in zip(node.outputs, spec_of(node).keep):
            if keep is None and id(trace) in table:
                made += _reductions(trace, table)
        if made:
            found[id(node)] = (node, made)
    return found


def _accumulators(loop: Loop, asked: _Reduction) -> list[Fed]:
    """The states of which the last holds the reduction of the steps so far; none when its shape cannot be told."""
    dims = row_dims(asked.trace)
    if dims is None:
        return []
    value = earlier(loop, asked.trace, asked.lag)
    if _is_place(asked.node):
        return _best_and_place(loop, asked, value, dims)
    offset = offset_of(asked.node)
    if offset is None:
        return [_accumulator(loop, asked, value, dims)]
    label = loop.spec.labels[asked.trace.index]
    return states_of(loop, offset, value, asked.window, dims, label)


def _best_and_place(loop: Loop, asked: _Reduction, value: Variable, dims: Sequence[Variable]) -> list[Fed]:
    name, (now, inside) = asked.node.op.name, place_in(loop, asked.window)
    best, place = Variable(value.type), Variable(TensorType("int64", value.type.shape))
    better = TABLE[_PLACES[name]](value, best)
    if is_float(value.dtype):  # the first NaN wins over all
        nan = TABLE["logical_and"](TABLE["isnan"](value), TABLE["eq"](best, best))
        better = TABLE["logical_or"](better, nan)
    better = TABLE["logical_or"](better, TABLE["eq"](now, build.integer(0)))
    if inside is not None:
        better = TABLE["logical_and"](better, inside)
    label = loop.spec.labels[asked.trace.index]
    states = []
    for before, new, title in ((best, value, "best"), (place, now, name)):
        zero = Constant(build.array(0, before.dtype))
        initial = TABLE["broadcast_to"](zero, build.integer(1), *dims)
        after = TABLE["switch"](better, new, before)
        states.append(Fed((-1,), (before,), initial, after, None, f"{title} of {label}", None))
    return states


def _accumulator(loop: Loop, asked: _Reduction, value: Variable, dims: Sequence[Variable]) -> Fed:
    trace, reduction = asked.trace, asked.node
    rule = reduction.op.lower
    assert isinstance(rule, Reduce)
    dtype = rule.accumulate(trace.dtype)
    start = Constant(build.array(rule.start(trace.dtype), dtype))
    shape: tuple[Variable, ...] = (build.integer(1), *dims)
    if is_scan(value.owner):
        # Only the reduction of an inner trace is carried on, so that the inner scan need not keep it.
        rest = tuple(a - 1 for a in reduction.params["axes"] if a != 0)
        value = reduction.op(value, axes=rest, keepdims=True) if rest else value
        shape = tuple(build.integer(1) if a in reduction.params["axes"] else d for a, d in enumerate(shape))
    label = f"{reduction.op.name} of {loop.spec.labels[trace.index]}"
    initial = TABLE["broadcast_to"](start, *shape)
    before = Variable(TensorType(dtype, value.type.shape))
    value = build.cast(value, dtype)
    inside = counts(loop, asked.window)
    if inside is not None:
        value = TABLE["switch"](inside, value, start)
    after = TABLE[rule.combine](before, value)
    return Fed((-1,), (before,), initial, after, None, label, None)


def _result(asked: _Reduction, states: list[Fed], traces: Sequence[Variable], steps: Variable) -> Replacement:
    """What stands for the reduction, given the traces of its accumulators."""
    reduction, window = asked.node, asked.window
    count = steps if window is None else Shapes().dim(window.of(traces[-1]), 0)
    if reduction.op.name in _OF_SOME and not at_least(count, build.integer(1)):
        over = {"axes": (0,), "keepdims": False} if _is_place(reduction) else reduction.params
        op = TABLE["max"] if _is_place(reduction) else reduction.op
        return op(_first_rows(subtensor(traces[-1], index=_index(traces[-1], Span(-1))), count), **over)
    some = at_least(steps, build.integer(1))
    rows = [last_row(t if some else history(s.initial, t)) for s, t in zip(states, traces)]
    if _is_place(reduction):
        return rows[-1]
    if offset_of(reduction) is None:
        return _over_rest(reduction, rows[-1])
    followed, total = rows[-2:]
    return lambda node: _over_rest(node, about_row(node, followed, total, count))


def _over_rest(reduction: Apply, total: Variable) -> Variable:
    """The reduction over the axes other than time."""
    axes, keepdims = reduction.params["axes"], reduction.params["keepdims"]
    rest = tuple(a - 1 for a in axes if a != 0)
    if rest:
        total = reduction.op(total, axes=rest, keepdims=keepdims)
    return build.as_trace(total) if keepdims else total


def unless_none(row: Variable, count: Variable) -> Variable:
    """An array of that row, of no rows when the count is 0."""
    rows = build.as_trace(row)
    return rows if at_least(count, build.integer(1)) else _first_rows(rows, count)


def _first_rows(rows: Variable, count: Variable) -> Variable:
    """The one row that there is at most, if `count` is 1 or more."""
    return subtensor(rows, build.minimum(count, build.integer(1)), index=_index(rows, Span(None, Ref(1))))


def _index(x: Variable, first: Span) -> tuple[Span, ...]:
    return (first, *(Span(),) * (x.ndim - 1))


# What the last row of an accumulation is.
_TOTALS = {"cumsum": "sum", "cumprod": "prod"}


def _totals(node: Apply) -> Sequence[Variable] | None:
    """cumsum(x)[-1] as the sum of x; of nothing there is no last row."""
    made = node.inputs[0].owner if node.op is subtensor else None
    if made is None or made.op.name not in _TOTALS or made.params["axis"] != 0 or made.params["reverse"]:
        return None
    first, *rest = node.params["index"]
    if made.params["exclusive"] or first != At(-1) or any(e != Span() for e in rest):
        return None
    total = TABLE[_TOTALS[made.op.name]](made.inputs[0], axes=(0,), keepdims=False)
    return (last_row(unless_none(total, Shapes().dim(made.inputs[0], 0))),)


def _reduce(graph: FunctionGraph) -> FunctionGraph:
    graph = rewrite(graph, _totals)
    # One scan at a time: what another reads may be about to change.
    for node, reductions in _candidates(graph).values():
        replacement = _with_accumulators(node, reductions)
        if replacement:
            return _reduce(with_variables(graph, replacement))
    return graph


def _with_accumulators(node: Apply, reductions: list[_Reduction]) -> dict[int, Replacement]:
    """What replaces variables, by the id of the old ones: the reductions, and the outputs of the scan."""
    loop = Loop.open(node)
    found = [(reduction, _accumulators(loop, reduction)) for reduction in reductions]
    made = [(reduction, states) for reduction, states in found if states]
    if not made:
        return {}
    position = len(loop.states)
    loop.states += [state for _, states in made for state in states]
    outputs = loop.close()
    new = outputs[-1].owner
    assert new is not None
    steps = outputs[-1] if loop.spec.until else loop.steps
    replaced: dict[int, Replacement] = {id(old): v for old, v in zip(node.outputs, outputs)}
    for reduction, states in made:
        traces = new.outputs[position : position + len(states)]
        replaced[id(reduction.node.output)] = _result(reduction, states, traces, steps)
        position += len(states)
    return replaced


def with_variables(graph: FunctionGraph, replacement: Mapping[int, Replacement]) -> FunctionGraph:
    """The graph with variables replaced wherever they stand."""

    def rule(node: Apply, origin: Apply) -> Sequence[Variable] | None:
        if not any(id(v) in replacement for v in origin.outputs):
            return None
        found = [replacement.get(id(old), v) for old, v in zip(origin.outputs, node.outputs)]
        return [v if isinstance(v, Variable) else v(node) for v in found]

    return rewrite_by_origin(graph, rule)


reduce_over_time = everywhere(_reduce)
