"""Reductions, their transpose `spread`, and arg-reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import lowered
from ..dims import Shape
from ..graph import Apply, Variable
from ..lowered import Expr, Int
from ..statements import Statement
from . import elementwise as ew
from .base import (
    Affine,
    AxisMap,
    Cotangents,
    Inference,
    Lowering,
    Op,
    Params,
    Reduce,
    Stages,
    is_float,
)
from .shape import no_flow, no_tangent

Index = tuple[Int, ...]


# Dtypes.


def widened(dtype: str) -> str:
    """NumPy's dtype of a sum: integers narrower than 64 bits and bools become 64 bits wide."""
    if is_float(dtype):
        return dtype
    return "uint64" if dtype.startswith("u") else "int64"


def unchanged(dtype: str) -> str:
    return dtype


def lowest(dtype: str) -> Any:
    if is_float(dtype):
        return -np.inf
    return False if dtype == "bool" else int(np.iinfo(dtype).min)


def highest(dtype: str) -> Any:
    if is_float(dtype):
        return np.inf
    return True if dtype == "bool" else int(np.iinfo(dtype).max)


# Shapes.


def reduced(shape: Sequence[Any], params: Params) -> Shape:
    axes = params["axes"]
    if params["keepdims"]:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def _infer(name: str, rule: Reduce, empty: bool) -> Callable[[Inference], Sequence[tuple[str, Shape]]]:
    """`empty`: whether the reduction of nothing has a value."""

    def infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
        shape = ctx.shape(0)
        if not empty:
            _require_elements(ctx, name, [(axis, shape[axis]) for axis in ctx.params["axes"]])
        return [(rule.accumulate(ctx.dtype(0)), reduced(shape, ctx.params))]

    return infer


def _require_elements(ctx: Inference, name: str, axes: Sequence[tuple[int, Any]]) -> None:
    for axis, dim in axes:
        message = f"{name} of '{ctx.name(0)}': axis {axis} has {{0}} elements, at least {{1}} is needed"
        ctx.require("ge", dim, 1, message)


def _row(
    name: str,
    rule: Reduce,
    function: Callable[..., Any],
    gradient: Any,
    forward: Any,
    empty: bool = True,
) -> Op:
    def reference(params: Params, x: np.ndarray) -> Any:
        x = x.astype(rule.accumulate(x.dtype.name))
        return function(x, axis=params["axes"], keepdims=params["keepdims"])

    return Op(name, _infer(name, rule, empty), reference, rule, gradient, forward)


# spread: the transpose of a sum.


def _spread_axes(ctx: Lowering) -> Sequence[AxisMap]:
    axes, keepdims = ctx.params["axes"], ctx.params["keepdims"]
    maps = []
    for axis in range(len(ctx.shape(1))):
        if axis not in axes:
            maps.append(AxisMap(0, 1, axis))
        elif keepdims:
            maps.append(AxisMap(0))
    return maps


def _spread_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    shape = list(ctx.shape(1))
    kept = [a for a in range(len(shape)) if a not in ctx.params["axes"]]
    source = ctx.shape(0)
    for position, axis in enumerate(kept):
        d = source[axis if ctx.params["keepdims"] else position]
        shape[axis] = d if shape[axis] is None else shape[axis]
    return [(ctx.dtype(0), tuple(shape))]


def _spread_reference(params: Params, g: np.ndarray, x: np.ndarray) -> Any:
    if not params["keepdims"]:
        g = np.expand_dims(g, params["axes"])
    return np.broadcast_to(g, x.shape)


def _spread_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    return [None if g is None else sum(g, **node.params), None]


def _spread_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    t = tangents[0]
    return [None if t is None else spread(t, node.inputs[1], **node.params)]


# spread(g, x; axes, keepdims): g, shaped as the reduction of x, repeated along the axes.  Of x only the shape
# is used.
spread = Op(
    "spread", _spread_infer, _spread_reference, Affine(_spread_axes), _spread_gradient, _spread_forward
)


# sum, prod, max, min.


def _sum_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    (x,) = node.inputs
    return [spread(g, x, **node.params) if g is not None and is_float(x.dtype) else None]


def _sum_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    (t,) = tangents
    return [None if t is None else sum(t, **node.params)]


def _prod_partial(node: Apply) -> Variable:
    """∂out/∂x = the product of the other elements, right where elements are zero."""
    from .accumulation import cumprod

    y = node.inputs[0]
    others: Variable | None = None
    for axis in node.params["axes"]:
        before = cumprod(y, axis=axis, reverse=False, exclusive=True)
        after = cumprod(y, axis=axis, reverse=True, exclusive=True)
        part = before * after
        others = part if others is None else others * part
        y = prod(y, axes=(axis,), keepdims=True)
    return y.ones_like() if others is None else others


def _prod_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    (x,) = node.inputs
    if g is None or not is_float(x.dtype):
        return [None]
    return [spread(g, x, **node.params) * _prod_partial(node)]


def _prod_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    (t,) = tangents
    return [None if t is None else sum(t * _prod_partial(node), **node.params)]


def _is_extreme(node: Apply) -> tuple[Variable, Variable]:
    """Which elements equal the result, and how many they are."""
    (x,) = node.inputs
    mask = ew.eq(x, spread(node.output, x, **node.params))
    return mask, sum(ew.cast(mask, dtype=x.dtype), **node.params)


def _extreme_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    """Equal extremes share the gradient equally."""
    (g,) = cotangents
    (x,) = node.inputs
    if g is None or not is_float(x.dtype):
        return [None]
    mask, count = _is_extreme(node)
    return [_where(mask, spread(g / count, x, **node.params))]


def _extreme_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    (t,) = tangents
    if t is None:
        return [None]
    mask, count = _is_extreme(node)
    return [sum(_where(mask, t), **node.params) / count]


def _where(mask: Variable, x: Variable) -> Variable:
    from ..tensor.math import switch

    return switch(mask, x, 0)


sum = _row("sum", Reduce(lambda d: 0, "add", widened), np.sum, _sum_gradient, _sum_forward)
prod = _row("prod", Reduce(lambda d: 1, "mul", widened), np.prod, _prod_gradient, _prod_forward)
max = _row(
    "max", Reduce(lowest, "maximum", unchanged), np.max, _extreme_gradient, _extreme_forward, empty=False
)
min = _row(
    "min", Reduce(highest, "minimum", unchanged), np.min, _extreme_gradient, _extreme_forward, empty=False
)
all = _row("all", Reduce(lambda d: True, "logical_and", lambda d: "bool"), np.all, no_flow, no_tangent)
any = _row("any", Reduce(lambda d: False, "logical_or", lambda d: "bool"), np.any, no_flow, no_tangent)


# argmax and argmin, along one axis.


def _arg_infer(name: str) -> Callable[[Inference], Sequence[tuple[str, Shape]]]:
    def infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
        shape, axis = ctx.shape(0), ctx.params["axis"]
        _require_elements(ctx, name, [(axis, shape[axis])])
        return [("int64", shape[:axis] + shape[axis + 1 :])]

    return infer


def _arg_stages(comparison: str) -> Stages:
    """One pass per line: the best element so far and its place; the first NaN wins over all."""

    def statements(ctx: Lowering) -> list[Statement]:
        axis, shape, dtype = ctx.params["axis"], ctx.shape(0), ctx.dtype(0)

        def line(outer: Index) -> list[Statement]:
            def at(k: Int) -> Expr:
                return ctx.element(0, (*outer[:axis], k, *outer[axis:]))

            best, set_best, start_best = ctx.accumulator(dtype, at(0))
            place, set_place, start_place = ctx.accumulator("int64", lowered.constant(0, "int64"))

            def step(index: Index) -> list[Statement]:
                value = at(index[0])
                better = lowered.expr(comparison, (value, best), "bool")
                if is_float(dtype):
                    nan = lowered.expr("isnan", (value,), "bool")
                    number = lowered.expr("eq", (best, best), "bool")
                    better = lowered.logical(
                        "logical_or", better, lowered.logical("logical_and", nan, number)
                    )
                return [
                    set_place(lowered.select(better, lowered.as_expr(index[0]), place)),
                    set_best(lowered.select(better, value, best)),
                ]

            return [start_best, start_place, *ctx.loop((shape[axis],), step), ctx.store(0, outer, place)]

        return ctx.loop((*shape[:axis], *shape[axis + 1 :]), line)

    return Stages(statements)


def _arg_row(name: str, function: Callable[..., Any], comparison: str) -> Op:
    def reference(params: Params, x: np.ndarray) -> Any:
        return function(x, axis=params["axis"])

    return Op(name, _arg_infer(name), reference, _arg_stages(comparison), no_flow, no_tangent)


argmax = _arg_row("argmax", np.argmax, "gt")
argmin = _arg_row("argmin", np.argmin, "lt")
