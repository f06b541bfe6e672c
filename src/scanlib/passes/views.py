"""Views: views of views become one view, and indexing moves towards what it reads from.

Indexing a dimshuffle, an elementwise operation, a reduction over other axes, a product or a stack becomes the
same of the indexed operands, so that `(2 * trace.T)[:, -1]` is seen to read the last step of `trace` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graph import Apply, FunctionGraph, Variable
from ..ops import shape as rows
from ..ops.base import Pointwise, Reduce
from ..ops.index_rules import At, Index, Ref, Span
from ..ops.indexing import gather, subtensor
from ..ops.product import contract
from ..ops.scan_op import operands_of
from . import build
from .compose import Entry, compose
from .reads import difference, is_bounded, renumbered
from .reductions import over_time
from .rewrite import everywhere, is_scan, readers, rewrite, rewrite_by_origin
from .shapes import Shapes

Made = Sequence[Variable]


def indexed(x: Variable, index: Index, inputs: tuple[Variable, ...]) -> Variable:
    """x[index], where symbolic numbers of the index are positions in `inputs`."""
    if all(isinstance(e, Span) and e.whole for e in index):
        return x
    numbers: list[Variable] = []
    index = renumbered(index, inputs, numbers)
    return subtensor(x, *numbers, index=index)


def _constant_numbers(node: Apply) -> Index | None:
    """The index with numbers that are constants written in it; None if there are none."""
    changed = False

    def number(n: int | Ref | None) -> int | Ref | None:
        nonlocal changed
        value = build.number_of(node.inputs[n.input]) if isinstance(n, Ref) else None
        changed = changed or value is not None
        return n if value is None else value

    index = tuple(
        At(number(e.index)) if isinstance(e, At) else Span(number(e.start), number(e.stop), number(e.step))  # type: ignore[arg-type]
        for e in node.params["index"]
    )
    return index if changed else None


def _plain(e: Entry, n: int | None) -> Entry:
    """The entry without numbers that say nothing."""
    if isinstance(e, At):
        return e
    step = None if e.step == 1 else e.step
    forward = step is None or (isinstance(step, int) and step > 0)
    start = None if e.start == 0 and forward else e.start
    stop = None if forward and isinstance(e.stop, int) and n is not None and e.stop >= n else e.stop
    return Span(start, stop, step)


def _subtensor(node: Apply) -> Made | None:
    x, inputs = node.inputs[0], node.inputs
    index = _constant_numbers(node) or node.params["index"]
    index = tuple(_plain(e, n) for e, n in zip(index, x.type.shape))
    if all(isinstance(e, Span) and e.whole for e in index):
        return (x,)
    if index != node.params["index"]:
        return (indexed(x, index, inputs),)
    inner = x.owner
    rule = _SUBTENSOR_OF.get(inner.op.name) if inner is not None else None
    return rule(node, inner) if rule is not None and inner is not None else None


def _of_subtensor(node: Apply, inner: Apply) -> Made | None:
    numbers = inner.inputs + node.inputs
    outer = shifted(node.params["index"], len(inner.inputs))
    index = compose(inner.params["index"], outer)
    return None if index is None else (indexed(inner.inputs[0], index, numbers),)


def shifted(index: Index, by: int) -> Index:
    def number(n: int | Ref | None) -> int | Ref | None:
        return Ref(n.input + by) if isinstance(n, Ref) else n

    return tuple(
        At(number(e.index)) if isinstance(e, At) else Span(number(e.start), number(e.stop), number(e.step))  # type: ignore[arg-type]
        for e in index
    )


def _of_dimshuffle(node: Apply, inner: Apply) -> Made | None:
    """Index the axes where they come from; then shuffle those that are left."""
    x, order = inner.inputs[0], inner.params["order"]
    entries: list[Entry] = [Span()] * x.ndim
    left: list[int | str] = []
    for e, o in zip(node.params["index"], order):
        if o == "x":
            if isinstance(e, Span):
                if not e.whole:
                    return None
                left.append(o)
            elif e.index not in (0, -1):
                return None
            continue
        entries[o] = e
        if isinstance(e, Span):
            left.append(o)
    kept = [a for a in range(x.ndim) if isinstance(entries[a], Span)]
    new = {a: position for position, a in enumerate(kept)}
    part = indexed(x, tuple(entries), node.inputs)
    return (rows.dimshuffle(part, order=tuple("x" if o == "x" else new[o] for o in left)),)  # type: ignore[index]


def _of_stack(node: Apply, inner: Apply) -> Made | None:
    axis, index = inner.params["axis"], node.params["index"]
    e = index[axis]
    if not isinstance(e, At) or not isinstance(e.index, int):
        return None
    count = len(inner.inputs)
    if not -count <= e.index < count:
        return None
    chosen = inner.inputs[e.index]
    if chosen.dtype != inner.output.dtype:
        chosen = build.cast(chosen, inner.output.dtype)
    return (indexed(chosen, (*index[:axis], *index[axis + 1 :]), node.inputs),)


def _of_shape(node: Apply, inner: Apply) -> Made | None:
    e, x = node.params["index"][0], inner.inputs[0]
    if not isinstance(e, At) or not isinstance(e.index, int) or not -x.ndim <= e.index < x.ndim:
        return None
    return (build.shape_i(x, e.index % x.ndim),)


_SUBTENSOR_OF: dict[str, Callable[[Apply, Apply], Made | None]] = {
    "subtensor": _of_subtensor,
    "dimshuffle": _of_dimshuffle,
    "stack": _of_stack,
    "shape": _of_shape,
}


def _dimshuffle(node: Apply) -> Made | None:
    x, order = node.inputs[0], node.params["order"]
    if order == tuple(range(x.ndim)):
        return (x,)
    inner = x.owner
    if inner is None or inner.op is not rows.dimshuffle:
        return None
    before = inner.params["order"]
    return (rows.dimshuffle(inner.inputs[0], order=tuple("x" if o == "x" else before[o] for o in order)),)


def _reshape(node: Apply) -> Made | None:
    x, shape = node.inputs[0], node.output.type.shape
    if None not in shape and x.type.shape == shape:
        return (x,)
    if x.ndim == 1 and node.output.ndim == 1 and build.number_of(node.inputs[1]) == -1:
        return (x,)
    inner = x.owner
    if inner is None or inner.op is not rows.reshape:
        return None
    # -1 in the outer shape means the same of x and of what it was made from: they have as many elements.
    return (rows.reshape(inner.inputs[0], *node.inputs[1:]),)


def _broadcast_to(node: Apply) -> Made | None:
    x, shape = node.inputs[0], node.output.type.shape
    if None not in shape and x.type.shape == shape:
        return (x,)
    inner = x.owner
    if inner is None or inner.op is not rows.broadcast_to:
        return None
    return (rows.broadcast_to(inner.inputs[0], *node.inputs[1:]),)


def _itself(node: Apply) -> Made:
    """Rows that matter to gradients only, and these have been taken."""
    return node.inputs


_RULES: dict[str, Callable[[Apply], Made | None]] = {
    "subtensor": _subtensor,
    "dimshuffle": _dimshuffle,
    "reshape": _reshape,
    "broadcast_to": _broadcast_to,
    **dict.fromkeys(("disconnected_grad", "zero_grad", "grad_clip", "grad_scale"), _itself),
}


def _simplify(node: Apply) -> Made | None:
    rule = _RULES.get(node.op.name)
    if rule is not None:
        return rule(node)
    return _bounded_sequences(node) if is_scan(node) else None


# A scan of at most n steps reads the first n rows of its sequences: of a reversed trace, its last n.


def _bounded_sequences(node: Apply) -> Made | None:
    bound = _upper_bound(node.inputs[0])
    if bound is None:
        return None
    inputs = list(node.inputs)
    for k, v in enumerate(operands_of(node).sequences, start=1):
        inner = v.owner
        if inner is None or inner.op is not subtensor or v.type.shape[0] == bound:
            continue
        first = inner.params["index"][0]
        if first == Span(None, None, -1):
            cut = subtensor(v, index=(Span(None, bound), *(Span(),) * (v.ndim - 1)))
            assert cut.owner is not None
            inputs[k] = (_subtensor(cut.owner) or (cut,))[0]
    if all(a is b for a, b in zip(inputs, node.inputs)):
        return None
    return node.op.apply(inputs, node.params).outputs


def _upper_bound(steps: Variable) -> int | None:
    number = build.number_of(steps)
    if number is not None:
        return number
    if steps.owner is not None and steps.owner.op.name == "minimum":
        bounds = [b for b in map(_upper_bound, steps.owner.inputs) if b is not None]
        return min(bounds, default=None)
    return None


# Indexing before computing, where nothing else reads what is computed.


class _Lift:
    """Moves subtensors through the operations that compute, from traces, what they read."""

    def __init__(self, graph: FunctionGraph) -> None:
        self.table = readers(graph)
        self.shapes = Shapes()
        self.from_scans: set[int] = set()
        self.not_whole: dict[int, bool] = {}

    def rule(self, node: Apply, origin: Apply) -> Made | None:
        if is_scan(node) or any(id(v) in self.from_scans for v in origin.inputs):
            self.from_scans.update(id(v) for v in origin.outputs)
        inner = node.inputs[0].owner if node.op is subtensor else None
        if inner is None or id(origin.inputs[0]) not in self.from_scans or not self._alone(origin.inputs[0]):
            return None
        if isinstance(inner.op.lower, Pointwise):
            return self._pointwise(node, inner)
        if isinstance(inner.op.lower, Reduce):
            return self._reduction(node, inner)
        if inner.op is rows.reshape:
            return self._reshape(node, inner)
        if inner.op in (rows.stack, rows.concatenate):
            return _of_several(node, inner)
        if inner.op is gather:
            return _of_gather(node, inner)
        return self._product(node, inner) if inner.op is contract else None

    def _alone(self, computed: Variable) -> bool:
        """Whether `computed` is read by one subtensor, or by several small ones and what a loop can do, only."""
        return len(self.table[id(computed)]) == 1 or self._not_whole(computed)

    def _not_whole(self, v: Variable) -> bool:
        """Whether all that is read of `v`, or of what is computed from it, is a few last rows, or reduced."""
        if id(v) not in self.not_whole:
            self.not_whole[id(v)] = all(
                r is not None
                and (
                    is_bounded(r, v)
                    or over_time(r)
                    or (isinstance(r.op.lower, Pointwise) and self._not_whole(r.output))
                )
                for r in self.table[id(v)]
            )
        return self.not_whole[id(v)]

    def _pointwise(self, node: Apply, inner: Apply) -> Made | None:
        index = node.params["index"]
        operands: list[Variable] = []
        touched = [a for a, e in enumerate(index) if isinstance(e, At) or not e.whole]
        if not all(self._aligned(inner, axis) for axis in touched):
            return None
        for v in inner.inputs:
            extra = len(index) - v.ndim
            entries: list[Entry] = []
            for axis, d in enumerate(v.type.shape):
                e = index[extra + axis]
                stretched = d == 1 and inner.output.type.shape[extra + axis] != 1
                entries.append((At(0) if isinstance(e, At) else Span()) if stretched else e)
            operands.append(indexed(v, tuple(entries), node.inputs))
        return inner.op.apply(operands, inner.params).outputs

    def _aligned(self, inner: Apply, axis: int) -> bool:
        """Whether every operand has along the axis either the length of the result or is stretched to it."""
        ndim = inner.output.ndim
        full: list[Variable] = []
        for v in inner.inputs:
            own = axis - (ndim - v.ndim)
            if own >= 0 and v.type.shape[own] != 1:
                full.append(self.shapes.dim(v, own))
        if not full:
            return all(v.ndim == ndim for v in inner.inputs)
        return all(difference(full[0], d) == 0 for d in full[1:])

    def _reduction(self, node: Apply, inner: Apply) -> Made | None:
        """Only along axes that are not reduced."""
        axes, index = inner.params["axes"], node.params["index"]
        x = inner.inputs[0]
        if inner.params["keepdims"]:
            if any(isinstance(index[a], At) or not index[a].whole for a in axes):
                return None
            entries = index
        else:
            kept = iter(index)
            entries = tuple(Span() if a in axes else next(kept) for a in range(x.ndim))
        left = [a for a, e in enumerate(entries) if isinstance(e, Span)]
        new_axes = tuple(left.index(a) for a in axes)
        return inner.op.apply([indexed(x, entries, node.inputs)], {**inner.params, "axes": new_axes}).outputs

    def _reshape(self, node: Apply, inner: Apply) -> Made | None:
        """Only along the leading axis, if it is as long before as after."""
        first, *others = node.params["index"]
        x, length, *rest = inner.inputs
        if x.ndim == 0 or any(isinstance(e, At) or not e.whole for e in others):
            return None
        if build.number_of(length) == -1:
            row, made = _size(x.type.shape[1:]), _size(inner.output.type.shape[1:])
            if row is None or row != made or row == 0:
                return None
        elif difference(self.shapes.dim(x, 0), length) != 0:
            return None
        part = indexed(x, (first, *(Span(),) * (x.ndim - 1)), node.inputs)
        return (rows.reshape(part, *([] if isinstance(first, At) else [build.length(part)]), *rest),)

    def _product(self, node: Apply, inner: Apply) -> Made | None:
        """Rows and columns of a product are products of rows and of columns; and so for each matrix of several."""
        index = node.params["index"]
        if all(d == 1 for e, d in zip(index, inner.output.type.shape) if e != Span()):
            return None
        *batch, first, second = index
        for axis, e in enumerate(batch):
            stretched = any(v.type.shape[axis] == 1 for v in inner.inputs)
            if e != Span() and (stretched or not self._aligned(inner, axis)):
                return None
        lines = [_lines(first), _lines(second)]
        if None in lines:
            return None
        (of_left, row), (of_right, column) = (made for made in lines if made is not None)
        left, right = inner.inputs
        product = contract(
            indexed(left, (*batch, of_left, Span()), node.inputs),
            indexed(right, (*batch, Span(), of_right), node.inputs),
        )
        return (indexed(product, (*(Span(),) * (product.ndim - 2), row, column), node.inputs),)


def _lines(e: Entry) -> tuple[Span, Entry] | None:
    """Which rows or columns are read of a matrix, and which of these; None for one at a symbolic place."""
    if isinstance(e, Span):
        return e, Span()
    i = e.index
    return (Span(i, None if i == -1 else i + 1), At(0)) if isinstance(i, int) else None


def _of_gather(node: Apply, inner: Apply) -> Made | None:
    """Index the axes that are not gathered."""
    x, *places = inner.inputs
    width = inner.output.ndim - (x.ndim - len(places))
    index = node.params["index"]
    if any(e != Span() for e in index[:width]):
        return None
    part = indexed(x, (*(Span(),) * len(places), *index[width:]), node.inputs)
    return (gather(part, *places, **inner.params),)


def _size(shape: Sequence[int | None]) -> int | None:
    size = 1
    for d in shape:
        if d is None:
            return None
        size *= d
    return size


def _of_several(node: Apply, inner: Apply) -> Made | None:
    """Index what is stacked or concatenated along another axis."""
    index, axis, joins = node.params["index"], inner.params["axis"], inner.op is rows.concatenate
    if isinstance(index[axis], At) or not index[axis].whole or (joins and not _same_but(inner, axis)):
        return None
    rest = index if joins else (*index[:axis], *index[axis + 1 :])
    parts = [indexed(v, rest, node.inputs) for v in inner.inputs]
    left = sum(isinstance(e, Span) for e in index[:axis])
    return inner.op.apply(parts, {**inner.params, "axis": left}).outputs


def _same_but(inner: Apply, axis: int) -> bool:
    """Whether nothing but the lengths along `axis` may differ: no operand can be too short for an index."""
    shapes = Shapes()
    first, *others = inner.inputs
    return all(
        difference(shapes.dim(first, a), shapes.dim(v, a)) == 0
        for v in others
        for a in range(first.ndim)
        if a != axis
    )


def _views(graph: FunctionGraph) -> FunctionGraph:
    simpler = rewrite(graph, _simplify)
    for _ in range(8):
        lifted = rewrite_by_origin(simpler, _Lift(simpler).rule)
        if lifted is simpler:
            break
        simpler = rewrite(lifted, _simplify)
    return simpler


views = everywhere(_views)
