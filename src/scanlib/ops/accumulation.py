"""Accumulations along an axis: cumsum, cumprod, and the linear recurrence that their gradients are made of.

Parameters of each: `axis`; `reverse`: from the last element to the first; `exclusive`: the result at an
element leaves that element out.  With these three rows every derivative of every order is again made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import lowered
from ..dims import Shape
from ..graph import Apply, Variable
from ..lowered import Expr, Int
from ..statements import Statement
from .base import Cotangents, Inference, Lowering, Op, Params, Stages, is_float
from .reduction import Index, widened


def _infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    return [(widened(ctx.dtype(0)), ctx.shape(0))]


def _stages(start: int, update: Callable[[Expr, Sequence[Expr]], Expr], inputs: int = 1) -> Stages:
    """`update(accumulated, elements of the inputs)` is the next accumulated value."""

    def statements(ctx: Lowering) -> list[Statement]:
        axis, shape, dtype = ctx.params["axis"], ctx.shape(0), ctx.output_dtype()
        reverse, exclusive = ctx.params["reverse"], ctx.params["exclusive"]

        def line(outer: Index) -> list[Statement]:
            value, set_value, start_value = ctx.accumulator(dtype, lowered.constant(start, dtype))

            def step(index: Index) -> list[Statement]:
                k: Int = index[0]
                if reverse:
                    k = lowered.sub(lowered.sub(shape[axis], 1), k)
                at = (*outer[:axis], k, *outer[axis:])
                store = ctx.store(0, at, value)
                elements = [lowered.cast(ctx.element(i, at), dtype) for i in range(inputs)]
                advance = set_value(update(value, elements))
                return [store, advance] if exclusive else [advance, store]

            return [start_value, *ctx.loop((shape[axis],), step)]

        return ctx.loop((*shape[:axis], *shape[axis + 1 :]), line)

    return Stages(statements)


def _combine(op: str) -> Callable[[Expr, Sequence[Expr]], Expr]:
    return lambda value, elements: lowered.expr(op, (value, elements[0]), value.dtype)


def _directed(
    params: Params, arrays: Sequence[np.ndarray], function: Callable[..., np.ndarray], start: int
) -> Any:
    """`function(*arrays)` accumulates along axis 0; applied along the axis, in the direction asked for."""
    arrays = [np.moveaxis(a, params["axis"], 0) for a in arrays]
    if params["reverse"]:
        arrays = [a[::-1] for a in arrays]
    result = function(*arrays)
    if params["exclusive"] and len(result):
        result = np.concatenate([np.full_like(result[:1], start), result[:-1]])
    if params["reverse"]:
        result = result[::-1]
    return np.moveaxis(result, 0, params["axis"])


def _sum_reference(params: Params, x: np.ndarray) -> Any:
    return _directed(params, [x], lambda a: np.cumsum(a, 0, dtype=widened(x.dtype.name)), 0)


def _prod_reference(params: Params, x: np.ndarray) -> Any:
    return _directed(params, [x], lambda a: np.cumprod(a, 0, dtype=widened(x.dtype.name)), 1)


def _opposite(params: Params) -> dict[str, Any]:
    return {**params, "reverse": not params["reverse"]}


def _sum_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    if g is None or not is_float(node.inputs[0].dtype):
        return [None]
    return [cumsum(g, **_opposite(node.params))]


def _sum_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    (t,) = tangents
    return [None if t is None else cumsum(t, **node.params)]


def _suffix(a: Variable, g: Variable, params: Params) -> Variable:
    """Σ_{k>=j} g_k Π_{j<i<=k} a_i, or over k > j with the product of j < i < k when exclusive, against the
    direction of `params`: what one accumulated value passes on to all later ones."""
    back = {**_opposite(params), "exclusive": True}
    if params["exclusive"]:
        return linear_recurrence(a, g, **back)
    return g + linear_recurrence(a, a * g, **back)


def _prod_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    (x,) = node.inputs
    if g is None or not is_float(x.dtype):
        return [None]
    return [cumprod(x, **{**node.params, "exclusive": True}) * _suffix(x, g, node.params)]


def _prod_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    (t,) = tangents
    (x,) = node.inputs
    if t is None:
        return [None]
    return [linear_recurrence(x, t * cumprod(x, **{**node.params, "exclusive": True}), **node.params)]


cumsum = Op("cumsum", _infer, _sum_reference, _stages(0, _combine("add")), _sum_gradient, _sum_forward)
cumprod = Op("cumprod", _infer, _prod_reference, _stages(1, _combine("mul")), _prod_gradient, _prod_forward)


# linear_recurrence(a, b): s[k] = a[k] s[k-1] + b[k], from s[-1] = 0.  Both inputs have one float dtype and
# one shape.


def _recurrence_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    shape = ctx.broadcast([ctx.shape(0), ctx.shape(1)], lambda: "linear_recurrence")
    return [(ctx.dtype(0), shape)]


def _recurrence_update(value: Expr, elements: Sequence[Expr]) -> Expr:
    a, b = elements
    return lowered.expr("add", (lowered.expr("mul", (a, value), a.dtype), b), a.dtype)


def _run_recurrence(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = np.empty_like(b)
    state = np.zeros_like(b[0]) if len(b) else None
    for k in range(len(b)):
        result[k] = state = a[k] * state + b[k]
    return result


def _recurrence_reference(params: Params, a: np.ndarray, b: np.ndarray) -> Any:
    return _directed(params, [a, b], _run_recurrence, 0)


def _recurrence_gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    if g is None:
        return [None, None]
    passed = _suffix(node.inputs[0], g, node.params)
    return [passed * _before(node), passed]


def _before(node: Apply) -> Variable:
    """s[k-1] for every k."""
    return linear_recurrence(*node.inputs, **{**node.params, "exclusive": True})


def _recurrence_forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    ta, tb = tangents
    driven = None if ta is None else ta * _before(node)
    if tb is not None:
        driven = tb if driven is None else driven + tb
    return [None if driven is None else linear_recurrence(node.inputs[0], driven, **node.params)]


linear_recurrence = Op(
    "linear_recurrence",
    _recurrence_infer,
    _recurrence_reference,
    _stages(0, _recurrence_update, 2),
    _recurrence_gradient,
    _recurrence_forward,
)
