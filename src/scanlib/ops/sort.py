"""Sorting along the last axis: sort, argsort, and the permutation that carries their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import lowered
from ..dims import Shape
from ..graph import Apply, Variable
from ..lowered import Expr, Int
from .base import Cotangents, Element, Inference, Library, Lowering, Op, Params, is_float
from .shape import no_flow, no_tangent

# permute_last(x, order): out[..., k] = x[..., order[..., k]]; each line of `order` is a permutation.


def _permute_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    return ctx.element(0, (*index[:-1], lowered.fold(ctx.element(1, index))))


def _permute_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    return [(ctx.dtype(0), ctx.shape(0))]


def _permute_reference(params: Params, x: np.ndarray, order: np.ndarray) -> Any:
    return np.take_along_axis(x, order, -1)


def _permute_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    if g is None or not is_float(node.inputs[0].dtype):
        return [None, None]
    return [permute_last(g, argsort(node.inputs[1])), None]


def _permute_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    t = tangents[0]
    return [None if t is None else permute_last(t, node.inputs[1])]


permute_last = Op(
    "permute_last",
    _permute_infer,
    _permute_reference,
    Element(_permute_element),
    _permute_gradient,
    _permute_forward,
)


# sort and argsort: ascending, NaN last, stable.


def _sort_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    (x,) = node.inputs
    # The place of every element in the sorted line is the inverse of the order.
    return [permute_last(g, argsort(argsort(x))) if g is not None and is_float(x.dtype) else None]


def _sort_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    (t,) = tangents
    return [None if t is None else permute_last(t, argsort(node.inputs[0]))]


sort = Op(
    "sort",
    lambda ctx: [(ctx.dtype(0), ctx.shape(0))],
    lambda params, x: np.sort(x, axis=-1, kind="stable"),
    Library("sort"),
    _sort_gradient,
    _sort_forward,
)
argsort = Op(
    "argsort",
    lambda ctx: [("int64", ctx.shape(0))],
    lambda params, x: np.argsort(x, axis=-1, kind="stable"),
    Library("argsort"),
    no_flow,
    no_tangent,
)
