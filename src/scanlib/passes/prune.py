"""Pruning: what nothing reads leaves the scan, and what need not be in the loop becomes simpler.

Unread outputs, states and inputs go; equal inputs become one; a sequence of equal rows and a state that never
changes become non-sequences; a state that the step does not read becomes a mapped output; a mapped output
that is the same at every step is computed outside.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, Constant, FunctionGraph, Variable, ancestors, toposort
from ..ops.product import source_name
from . import build
from .hoist import IFELSE, is_free
from .loop import Fed, Feed, Loop, Mapped
from .merge import constant_key
from .reads import at_least, row
from .rewrite import is_scan, map_step, rewrite_by_origin
from .shapes import Shapes


def live_outputs(graph: FunctionGraph) -> dict[int, set[int]]:
    """For every scan (by id): the numbers of the outputs that something reads."""
    live = {id(v) for v in graph.outputs}
    table: dict[int, set[int]] = {}
    for node in reversed(graph.order):
        if not is_scan(node):
            if any(id(v) in live for v in node.outputs):
                live.update(id(v) for v in node.inputs)
            continue
        read = table[id(node)] = {i for i, v in enumerate(node.outputs) if id(v) in live}
        loop = Loop.open(node)
        _drop_unread(loop, read)
        _drop_inputs(loop)
        live.add(id(loop.steps))
        live.update(id(f.operand) for f in [*loop.sequences, *loop.non_sequences])
        live.update(id(s.initial) for s in loop.states)
    return table


def _needs(results: Sequence[Variable]) -> set[int]:
    return {id(v) for v in ancestors(results)}


def _drop_unread(loop: Loop, read: set[int]) -> bool:
    """Drop mapped outputs nobody reads and states that only feed themselves."""
    mapped = [m for m in loop.mapped if m.source is None or m.source in read]
    results = [m.value for m in mapped] + ([] if loop.condition is None else [loop.condition])
    kept = [s.source is None or s.source in read for s in loop.states]
    before = {id(v): s.next for s in loop.states for v in s.steps}
    reached = ancestors([*results, *(s.next for s, is_read in zip(loop.states, kept) if is_read)], before)
    needed = {id(v) for v in reached}
    states = [s for s, is_read in zip(loop.states, kept) if is_read or any(id(v) in needed for v in s.steps)]
    changed = len(states) != len(loop.states) or len(mapped) != len(loop.mapped)
    loop.states, loop.mapped = states, mapped
    return changed


def _drop_inputs(loop: Loop) -> bool:
    """Drop sequences and non-sequences that the step does not use."""
    needed = _needs(loop.results())
    sequences = [f for f in loop.sequences if id(f.step) in needed]
    non_sequences = [f for f in loop.non_sequences if id(f.step) in needed]
    changed = len(sequences) != len(loop.sequences) or len(non_sequences) != len(loop.non_sequences)
    loop.sequences, loop.non_sequences = sequences, non_sequences
    return changed


def _constants_inside(loop: Loop) -> bool:
    """A non-sequence bound to a constant is that constant."""
    inside = {id(f.step): f.operand for f in loop.non_sequences if isinstance(f.operand, Constant)}
    loop.non_sequences = [f for f in loop.non_sequences if id(f.step) not in inside]
    loop.replace_in_step(inside)
    return bool(inside)


def _made_inside(loop: Loop) -> bool:
    """A non-sequence that costs nothing where it is read (zeros, a range, …) is made there from its sizes."""
    inside: dict[int, Variable] = {}
    for f in list(loop.non_sequences):
        node = f.operand.owner
        if node is None or f.operand.ndim == 0 or not is_free(node) or any(v.ndim for v in node.inputs):
            continue
        inputs: list[Variable] = []
        for v in node.inputs:
            if isinstance(v, Constant):
                inputs.append(v)
                continue
            step = Variable(v.type, name=source_name(v))
            loop.non_sequences.append(Feed(step, v))
            inputs.append(step)
        made = node.op.apply(inputs, node.params).outputs[f.operand.index]
        made.name = f.step.name
        inside[id(f.step)] = made
        loop.non_sequences.remove(f)
    loop.replace_in_step(inside)
    return bool(inside)


def _merge_inputs(loop: Loop) -> bool:
    """Sequences, or non-sequences, bound to the same variable become one."""
    inside: dict[int, Variable] = {}
    for feeds in (loop.sequences, loop.non_sequences):
        first: dict[object, Feed] = {}
        for f in list(feeds):
            key = constant_key(f.operand) if isinstance(f.operand, Constant) else id(f.operand)
            same = first.setdefault((key, f.step.type), f)
            if same is not f:
                inside[id(f.step)] = same.step
                feeds.remove(f)
    loop.replace_in_step(inside)
    return bool(inside)


def _equal_rows(loop: Loop) -> bool:
    """A sequence that repeats one row becomes a non-sequence (if it is known to be long enough)."""
    changed = False
    for f in list(loop.sequences):
        same = build.repeated_row(f.operand)
        if same is not None and at_least(Shapes().dim(f.operand, 0), loop.steps):
            loop.sequences.remove(f)
            loop.non_sequences.append(Feed(f.step, same))
            changed = True
    return changed


def _shapes_alone(loop: Loop) -> bool:
    """Where the step reads the shape alone of a sequence or state, it gets the lengths as non-sequences."""
    read, asked = {id(v) for v in loop.results()}, []
    for node in toposort(loop.results()):
        if build.asked_shape(node) is None:
            read.update(id(v) for v in node.inputs)
        else:
            asked.append(node)
    sources = {id(f.step): f.operand for f in loop.sequences if id(f.step) not in read}
    for s in loop.states:
        if not any(id(v) in read for v in s.steps):
            sources.update({id(v): s.initial for v in s.steps})
    inside: dict[int, Variable] = {}
    for node in asked:
        if id(node.inputs[0]) in sources:
            length = build.shape_i(sources[id(node.inputs[0])], 1 + node.params["axis"])
            step = Variable(length.type, name=f"{source_name(node.inputs[0])}.shape[{node.params['axis']}]")
            loop.non_sequences.append(Feed(step, length))
            inside[id(node.output)] = step
    loop.replace_in_step(inside)
    return bool(inside)


def _unchanging_states(loop: Loop) -> bool:
    """A state whose next value is its previous one becomes a non-sequence."""
    still = [s for s in loop.states if s.taps == (-1,) and s.next is s.steps[0]]
    for s in still:
        loop.states.remove(s)
        loop.non_sequences.append(Feed(s.steps[0], row(s.initial, 0)))
        loop.mapped.append(Mapped(s.next, s.keep, s.label, s.source))
    return bool(still)


def _unread_taps(loop: Loop) -> bool:
    """A state whose earlier values no step uses becomes a mapped output."""
    needed = _needs(loop.results())
    free = [s for s in loop.states if not any(id(v) in needed for v in s.steps)]
    for s in free:
        loop.states.remove(s)
        loop.mapped.append(Mapped(s.next, s.keep, s.label, s.source))
    return bool(free)


def _equal_outputs(loop: Loop) -> bool:
    """Mapped outputs with the same value, or the next value of a state, are computed once."""
    first: dict[tuple[int, int | None], Fed | Mapped] = {(id(s.next), s.keep): s for s in loop.states}
    changed = False
    for m in list(loop.mapped):
        same = first.setdefault((id(m.value), m.keep), m)
        if same is not m and m.source is not None and same.source is not None:
            loop.mapped.remove(m)
            loop.aliases[m.source] = same.source
            changed = True
    return changed


def _outside_values(loop: Loop) -> bool:
    """A mapped output that reads neither sequences nor states is computed once and repeated."""
    varying = {id(f.step) for f in loop.sequences} | {id(v) for s in loop.states for v in s.steps}
    outside = {id(f.step): f.operand for f in loop.non_sequences}
    changed = False
    for m in list(loop.mapped):
        if m.source is None or m.keep is not None or loop.condition is not None:
            continue
        if isinstance(m.value, Constant) or not (
            _needs([m.value]) & varying or any(n.op.lower == IFELSE for n in toposort([m.value]))
        ):
            loop.mapped.remove(m)
            loop.replaced[m.source] = build.repeat(build.outside(m.value, outside), loop.steps)
            changed = True
    return changed


RULES = (
    _unread_taps,
    _unchanging_states,
    _equal_rows,
    _shapes_alone,
    _constants_inside,
    _made_inside,
    _merge_inputs,
    _equal_outputs,
    _outside_values,
    _drop_inputs,
)


def prune_loop(loop: Loop, read: set[int]) -> bool:
    """Everything above on one scan; whether anything changed."""
    changed = _drop_unread(loop, read)
    for _ in range(4):
        done = [rule(loop) for rule in RULES]
        if not any(done):
            break
        changed = True
        _drop_unread(loop, read)
    return changed


def prune(graph: FunctionGraph) -> FunctionGraph:
    """Outermost scans first: an inner output is often read only by an outer one that goes."""
    live: dict[int, set[int]] = {}
    if any(map(is_scan, graph.order)):
        live = live_outputs(graph)
    if not live:
        return graph

    def rule(node: Apply, origin: Apply) -> Sequence[Variable] | None:
        # A scan that nothing reads any more goes by itself.
        if not is_scan(node) or not live[id(origin)]:
            return None
        loop = Loop.open(node)
        changed = prune_loop(loop, live[id(origin)])
        spec = loop.to_spec()
        step = map_step(prune, spec)
        if step is not spec:
            loop.set_results(list(step.outputs))
            changed = True
        return loop.close() if changed else None

    return rewrite_by_origin(graph, rule)
