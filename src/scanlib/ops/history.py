"""Rows that join, lengthen and cut arrays along their leading axis, as gradients of scans need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dims, lowered
from ..dims import Shape
from ..graph import Apply, Variable
from ..lowered import Expr, Int
from .base import Cotangents, Element, Inference, Lowering, Op
from .index_rules import masked
from .shape import dim

# history(initial, trace): the values of a state, the initial ones first: concatenate([initial, trace]).
# A row of its own so that the storage of a scan, [initial slots | steps], can be read as it lies.


def _history_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    for axis in range(1, ctx.ndim(0)):
        message = f"history: axis {axis} of '{ctx.name(0)}' is {{0}}, of '{ctx.name(1)}' {{1}}"
        ctx.require("eq", ctx.shape(0)[axis], ctx.shape(1)[axis], message)
    rows = tuple(a if isinstance(a, int) else b for a, b in zip(ctx.shape(0)[1:], ctx.shape(1)[1:]))
    return [(ctx.dtype(0), (dims.add(ctx.shape(0)[0], ctx.shape(1)[0]), *rows))]


def _history_reference(params: Any, initial: Any, trace: Any) -> Any:
    return np.concatenate([initial, trace])


def _history_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    first, t = ctx.shape(0)[0], index[0]
    early = lowered.compare("lt", t, first)
    old = _read(ctx, 0, index, early)
    new = _read(ctx, 1, (lowered.sub(t, first), *index[1:]), lowered.negation(early))
    return lowered.select(early, old, new)


def _read(ctx: Lowering, i: int, index: tuple[Int, ...], holds: Expr) -> Expr:
    """Element `index` of input i, which may be loaded also where `holds` is false; it is not used there."""
    nothing = lowered.constant(0, ctx.dtype(i))
    if (holds.op == "const" and not holds.value) or 0 in [d for d in ctx.shape(i) if isinstance(d, int)]:
        return nothing
    return masked(ctx.element(i, index), holds)


def _history_gradient(node: Apply, cotangents: Cotangents) -> Cotangents:
    """What was read off the end of the history goes to the end of the trace, so that the scan can see it.

    With fewer steps than values read, the rest falls on the initial values.
    """
    from ..differentiate import total
    from ..scan_gradient.tails import split_tail

    g = cotangents[0]
    if g is None:
        return [None, None]
    initial, trace = node.inputs
    dense, tail = split_tail(g)
    depth, steps = dim(initial, 0), dim(trace, 0)
    to_initial, to_trace = [], []
    if dense is not None:
        to_initial.append(dense[:depth])
        to_trace.append(dense[depth:])
    if tail is not None:
        to_trace.append(pad_start(tail, steps))
        to_initial.append(_before(tail, steps, depth))
    return [total(to_initial), total(to_trace)]


def _before(tail: Variable, steps: Variable, depth: Variable) -> Variable:
    """The rows of `tail` that lie before the last `steps` ones, as the last of `depth` rows."""
    from ..tensor import maximum

    left = maximum(dim(tail, 0) - steps, 0)
    return pad_start(tail[:left], depth)


def _history_forward(node: Apply, tangents: Cotangents) -> Cotangents:
    from ..tensor import zeros_like

    if tangents[0] is None and tangents[1] is None:
        return [None]
    made = [zeros_like(v) if t is None else t for v, t in zip(node.inputs, tangents)]
    return [history(*made)]


history = Op(
    "history",
    _history_infer,
    _history_reference,
    Element(_history_element),
    _history_gradient,
    _history_forward,
)


# pad_start(x, n), pad_end(x, n): x brought to n rows by zeros before (after) it; too many rows are cut there.


def _pad_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    return [(ctx.dtype(0), (ctx.value(1), *ctx.shape(0)[1:]))]


def _pad_start_reference(params: Any, x: Any, n: Any) -> Any:
    made = np.zeros((int(n), *x.shape[1:]), x.dtype)
    count = min(len(x), len(made))
    made[len(made) - count :] = x[len(x) - count :]
    return made


def _pad_end_reference(params: Any, x: Any, n: Any) -> Any:
    made = np.zeros((int(n), *x.shape[1:]), x.dtype)
    count = min(len(x), len(made))
    made[:count] = x[:count]
    return made


def _pad_start_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    t = lowered.sub(lowered.add(index[0], ctx.shape(0)[0]), ctx.output_shape()[0])
    return _padded(ctx, t, index, lowered.compare("ge", t, 0))


def _pad_end_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    return _padded(ctx, index[0], index, lowered.compare("lt", index[0], ctx.shape(0)[0]))


def _padded(ctx: Lowering, t: Int, index: tuple[Int, ...], inside: Expr) -> Expr:
    value = _read(ctx, 0, (t, *index[1:]), inside)
    return lowered.select(inside, value, lowered.constant(0, ctx.output_dtype()))


def _pad_gradient(node: Apply, cotangents: Cotangents) -> Cotangents:
    """The transpose of bringing m rows to n is bringing n rows to m."""
    g = cotangents[0]
    return [None if g is None else node.op(g, dim(node.inputs[0], 0)), None]


def _pad_forward(node: Apply, tangents: Cotangents) -> Cotangents:
    t = tangents[0]
    return [None if t is None else node.op(t, node.inputs[1])]


pad_start = Op(
    "pad_start", _pad_infer, _pad_start_reference, Element(_pad_start_element), _pad_gradient, _pad_forward
)
pad_end = Op(
    "pad_end", _pad_infer, _pad_end_reference, Element(_pad_end_element), _pad_gradient, _pad_forward
)
