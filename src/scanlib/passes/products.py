"""Products: several products of a step with one left operand become one, `h @ [U1, U2, …]`.

The right operands, which do not change during the loop, are laid side by side outside of it; what each
product gave is a view of the columns of the one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, Constant, FunctionGraph, TensorType, Variable
from ..ops import shape as rows
from ..ops.index_rules import Ref, Span
from ..ops.indexing import subtensor
from ..ops.product import contract
from . import build
from .hoist import eager
from .loop import Feed, Loop
from .rewrite import everywhere, is_scan, rewrite


def _groups(loop: Loop) -> list[list[Apply]]:
    """Products of a matrix that changes with matrices that do not, by their left operand."""
    varying = {id(f.step) for f in loop.sequences} | {id(v) for s in loop.states for v in s.steps}
    found: dict[int, list[Apply]] = {}
    for node in eager(loop.results()):
        if any(id(v) in varying for v in node.inputs):
            varying.update(id(v) for v in node.outputs)
        if node.op is contract and node.output.ndim == 2:
            left, right = node.inputs
            if id(left) in varying and id(right) not in varying:
                found.setdefault(id(left), []).append(node)
    return [group for group in found.values() if len({id(node.inputs[1]) for node in group}) > 1]


def _columns(product: Variable, start: Variable, stop: Variable) -> Variable:
    numbers: list[Variable] = []

    def number(v: Variable) -> int | Ref:
        value = build.number_of(v)
        if value is not None:
            return value
        numbers.append(v)
        return Ref(len(numbers))

    columns = Span(number(start), number(stop))
    return subtensor(product, *numbers, index=(Span(), columns))


def _join(loop: Loop, group: list[Apply]) -> None:
    outside = {id(f.step): f.operand for f in loop.non_sequences}
    left, rights = group[0].inputs[0], [node.inputs[1] for node in group]
    joined = rows.concatenate(*(build.outside(v, outside) for v in rights), axis=1, count=len(rights))
    step: Variable = joined
    if not isinstance(joined, Constant):
        step = Variable(TensorType(joined.dtype, joined.type.shape))
        loop.non_sequences.append(Feed(step, joined))
    product = contract(left, step)
    replaced: dict[int, Variable] = {}
    start: Variable = build.integer(0)
    for node, right in zip(group, rights):
        stop = build.total(start, rows.dim(right, 1))
        part = _columns(product, start, stop)
        part.name = node.output.name
        replaced[id(node.output)] = part
        start = stop
    loop.replace_in_step(replaced)


def _join_products(node: Apply) -> Sequence[Variable] | None:
    if not is_scan(node):
        return None
    loop = Loop.open(node)
    changed = False
    while groups := _groups(loop):
        _join(loop, groups[0])
        changed = True
    return loop.close() if changed else None


def _sweep(graph: FunctionGraph) -> FunctionGraph:
    return rewrite(graph, _join_products)


join_products = everywhere(_sweep)
