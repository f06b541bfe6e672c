"""Rows that make arrays from numbers: arange and eye; and diagonal, which reads one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import dims, lowered
from ..dims import Dim, Shape
from ..graph import Apply
from ..lowered import Expr, Int
from .base import Affine, AxisMap, Cotangents, Element, Inference, Lowering, Op
from .shape import Gradients, along_first, dim, dims_of, no_flow, no_tangent, tensor

# arange(start, stop, step; dtype) of int64 scalars.  (A range of floats is made of one of ints.)


def _arange_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    start, stop, step = ctx.value(0), ctx.value(1), ctx.value(2)
    ctx.require("ne", step, 0, "arange: the step is 0")
    up = dims.ceildiv(dims.sub(stop, start), dims.maximum(step, 1))
    down = dims.ceildiv(dims.sub(start, stop), dims.maximum(dims.sub(0, step), 1))
    return [(ctx.params["dtype"], (dims.maximum(dims.choose("gt", step, 0, up, down), 0),))]


def _arange_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    value = lowered.add(ctx.value(0), lowered.mul(index[0], ctx.value(2)))
    return lowered.cast(lowered.as_expr(value), ctx.output_dtype())


arange: Op = Op(
    "arange",
    _arange_infer,
    lambda params, start, stop, step: np.arange(int(start), int(stop), int(step)).astype(params["dtype"]),
    Element(_arange_element),
    no_flow,
    no_tangent,
)


# eye(n, m, k; dtype): ones where column - row == k.


def _eye_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    n, m = ctx.value(0), ctx.value(1)
    for d in (n, m):
        ctx.require("ge", d, 0, "eye: a dimension cannot be {0}")
    return [(ctx.params["dtype"], (n, m))]


def _eye_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    on = lowered.compare("eq", index[1], lowered.add(index[0], ctx.value(2)))
    dtype = ctx.output_dtype()
    return lowered.select(on, lowered.constant(1, dtype), lowered.constant(0, dtype))


eye: Op = Op(
    "eye",
    _eye_infer,
    lambda params, n, m, k: np.eye(int(n), int(m), int(k), dtype=params["dtype"]),
    Element(_eye_element),
    no_flow,
    no_tangent,
)


# diagonal(x; offset): of the last two axes, as the last axis.


def _diagonal_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    *rest, rows, columns = ctx.shape(0)
    offset = ctx.params["offset"]
    length: Dim = dims.minimum(dims.add(rows, min(offset, 0)), dims.add(columns, -max(offset, 0)))
    return [(ctx.dtype(0), (*rest, dims.maximum(length, 0)))]


def _diagonal_axes(ctx: Lowering) -> Sequence[AxisMap]:
    last, offset = len(ctx.shape(0)) - 2, ctx.params["offset"]
    rest = [AxisMap(0, 1, axis) for axis in range(last)]
    return [*rest, AxisMap(max(-offset, 0), 1, last), AxisMap(max(offset, 0), 1, last)]


def _diagonal_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    """Rows laid end to end: the diagonal is every (columns + 1)-th element."""
    g, x, T = cotangents[0], node.inputs[0], tensor()
    if g is None:
        return [None]
    offset, columns = node.params["offset"], dim(x, x.ndim - 1)
    start = max(offset, 0) + max(-offset, 0) * columns
    stop = start + dim(node.output, x.ndim - 2) * (columns + 1)
    flat = T.zeros((*dims_of(x)[:-2], dim(x, x.ndim - 2) * columns), g.dtype)
    where = (Ellipsis, slice(T.fold_int(start), T.fold_int(stop), T.fold_int(columns + 1)))
    return [T.reshape(T.set_subtensor(flat[where], g), dims_of(x))]


diagonal: Op = Op(
    "diagonal",
    _diagonal_infer,
    lambda params, x: np.diagonal(x, params["offset"], -2, -1),
    Affine(_diagonal_axes),
    _diagonal_gradient,
    lambda node, tangents: along_first(diagonal, node, tangents),
)
