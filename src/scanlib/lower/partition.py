"""Which part of a step is a recurrence, and which runs batched before or after it (D7).

prologue    what the recurrence needs that depends on sequences only, where that is dear: products, library
            kernels, transcendental functions (these not where threads share rows: a thread that computes them
            when it needs them has them in its own cache)
recurrence  what leads to the next value of a state, or to the condition
epilogue    what nothing in the loop reads back: mapped outputs, and sums over time
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..graph import Apply, Constant, Variable, clients, toposort
from ..ops.base import Contract, Library, Pointwise
from ..ops.scan_op import ScanSpec


@dataclass(frozen=True)
class Accumulator:
    """State number `state` only adds `terms` up over time."""

    state: int
    terms: tuple[Variable, ...]


@dataclass(frozen=True)
class Partition:
    """The three parts of a step by the variables they must provide.

    hoisted      computed by the prologue, read by the others
    recurrence   outputs (by position in spec.outputs) the recurrence writes
    epilogue     mapped outputs (likewise) the epilogue writes
    accumulators states the epilogue adds up
    handed_over  what the recurrence (or a state's tap) gives to the epilogue
    """

    hoisted: tuple[Variable, ...]
    recurrence: tuple[int, ...]
    epilogue: tuple[int, ...]
    accumulators: tuple[Accumulator, ...]
    handed_over: tuple[Variable, ...]


def is_kernel(node: Apply) -> bool:
    """Whether a node is a product or another kernel of the core, to be called for many steps at once."""
    return isinstance(node.op.lower, (Contract, Library))


def is_dear(node: Apply) -> bool:
    """Whether batching a node over the steps of a block pays for the memory traffic it causes."""
    rule = node.op.lower
    if isinstance(rule, Pointwise):
        return rule.is_math
    return is_kernel(node)


def whole(spec: ScanSpec) -> Partition:
    """Everything in the recurrence."""
    return Partition((), tuple(range(len(spec.keep))), (), (), ())


def partition(spec: ScanSpec, by_rows: bool = False) -> Partition:
    """The parts of a step; `by_rows` if threads are to share the rows of its recurrence."""
    order = toposort(spec.outputs, spec.inputs)
    readers = clients(spec.outputs)
    accumulators = _accumulators(spec, readers)
    summed = {a.state for a in accumulators}
    states = [k for k in range(len(spec.states)) if k not in summed]
    condition = spec.condition()
    wanted = [spec.outputs[k] for k in states] + ([condition] if condition is not None else [])
    # A node that works on one step at a time stands in the recurrence wherever it is read.
    rules = [(node.outputs[0], node.op.lower) for node in order]
    single = [v for v, rule in rules if isinstance(rule, Library) and not rule.batches]
    inner = toposort([*wanted, *single], spec.inputs)
    mapped = [k for k in range(len(spec.states), len(spec.keep)) if spec.keep[k] != 0]
    late = [spec.outputs[k] for k in mapped] + [t for a in accumulators for t in a.terms]
    inside = {id(node) for node in inner}
    outer = [node for node in toposort(late, spec.inputs) if id(node) not in inside]
    hoisted = _hoisted(spec, inner, wanted, single, by_rows)
    if states and not any(is_dear(node) for node in outer):
        # Cheap work is done while its operands are in registers.
        return Partition(hoisted, tuple(range(len(spec.keep))), (), (), ())
    given = {id(v) for v in hoisted}
    handed = _handed_over(spec, outer, late, inside, given)
    return Partition(hoisted, tuple(states), tuple(mapped), tuple(accumulators), handed)


def _accumulators(spec: ScanSpec, readers: dict[int, list[tuple[Apply, int]]]) -> list[Accumulator]:
    """States of the form s ← s + terms, read by nothing else, of which only the last value is kept."""
    found = []
    for j, (taps, inputs) in enumerate(zip(spec.states, spec.state_inputs())):
        keep = spec.keep[j]
        if taps != (-1,) or keep is None or keep > 1:
            continue
        terms = _terms(spec.outputs[j], inputs[0], readers)
        shared = sum(1 for v in spec.outputs if v is spec.outputs[j]) > 1
        if terms and not shared and spec.outputs[j].dtype.startswith("float"):
            found.append(Accumulator(j, terms))
    return found


def _terms(
    total: Variable, state: Variable, readers: dict[int, list[tuple[Apply, int]]]
) -> tuple[Variable, ...]:
    """The terms of a chain of additions that ends in `state`, or none if it is anything else."""
    if len(readers.get(id(state), ())) != 1:
        return ()
    leading = _dependent(toposort([total], [state]), [state])
    terms: list[Variable] = []
    v, first = total, True
    while v is not state:
        node = v.owner
        if node is None or node.op.name != "add" or v.dtype != state.dtype:
            return ()
        if (readers.get(id(v)) and first) or (not first and len(readers[id(v)]) != 1):
            return ()
        onward = [u for u in node.inputs if id(u) in leading]
        if len(onward) != 1:
            return ()
        terms += [u for u in node.inputs if u is not onward[0]]
        v, first = onward[0], False
    fits = all(t.dtype == state.dtype and t.ndim <= state.ndim for t in terms)
    return tuple(terms) if fits else ()


def _dependent(order: Sequence[Apply], start: Iterable[Variable]) -> set[int]:
    """The variables (by id) that depend on any of `start`."""
    found = {id(v) for v in start}
    for node in order:
        if any(id(v) in found for v in node.inputs):
            found.update(id(v) for v in node.outputs)
    return found


def _hoisted(
    spec: ScanSpec,
    inner: Sequence[Apply],
    wanted: Sequence[Variable],
    single: Sequence[Variable],
    by_rows: bool,
) -> tuple[Variable, ...]:
    """The last variables of the recurrence's own nodes that depend on sequences alone and are dear.

    By rows, these end at kernels: elementwise work is done by the thread that needs it.
    """
    states = [v for group in spec.state_inputs() for v in group]
    alone = [v for first in single if first.owner is not None for v in first.owner.outputs]
    recurrent = _dependent(inner, [*states, *alone])
    varying = _dependent(inner, spec.sequence_inputs())
    free = {id(v) for node in inner for v in node.outputs if id(v) not in recurrent and id(v) in varying}
    if by_rows:
        kernels = [v for node in inner for v in node.outputs if id(v) in free and is_kernel(node)]
        free &= {id(v) for node in toposort(kernels, spec.inputs) for v in node.outputs}
    read = {id(v) for node in inner if id(node.outputs[0]) not in free for v in node.inputs}
    read |= {id(v) for v in wanted}
    dear = _dependent(inner, [v for node in inner if is_dear(node) for v in node.outputs])
    made = [v for node in inner for v in node.outputs]
    return tuple(v for v in made if id(v) in free and id(v) in read and id(v) in dear)


def _handed_over(
    spec: ScanSpec, outer: Sequence[Apply], late: Sequence[Variable], inside: set[int], given: set[int]
) -> tuple[Variable, ...]:
    """What the epilogue reads that only the recurrence knows."""
    state_inputs = {id(v) for group in spec.state_inputs() for v in group}
    found: dict[int, Variable] = {}
    for v in [*(u for node in outer for u in node.inputs), *late]:
        if id(v) in given or isinstance(v, Constant):
            continue
        if id(v) in state_inputs or (v.owner is not None and id(v.owner) in inside):
            found[id(v)] = v
    return tuple(found.values())
