"""Rows that rearrange elements: reshape, dimshuffle, broadcasting and its adjoint, joins; and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from .. import dims, lowered
from ..dims import Dim, Shape
from ..errors import UserTypeError
from ..graph import Apply, Constant, Variable, describe
from ..lowered import Expr, Int
from ..statements import Statement
from .base import (
    Affine,
    AxisMap,
    Cotangents,
    Element,
    Inference,
    Lowering,
    Op,
    Params,
    Reshape,
    Stages,
    Unbroadcast,
)
from .base import result_dtype as common_dtype

Gradients = Sequence["Variable | None"]


def tensor() -> ModuleType:
    """The user's namespace, in which gradients are written (imported late: it imports the rows)."""
    from .. import tensor

    return tensor


# Helpers of gradient rules and user functions.


def int_constant(value: int) -> Constant:
    return Constant(np.asarray(value, dtype="int64"))


def dim(x: Variable, axis: int) -> Variable:
    """x.shape[axis] as an int64 scalar: a constant when it is static."""
    length = x.type.shape[axis]
    return shape_i(x, axis=axis) if length is None else int_constant(length)


def dims_of(x: Variable) -> tuple[Variable, ...]:
    return tuple(dim(x, axis) for axis in range(x.ndim))


def unbroadcast(g: Variable, x: Variable) -> Variable:
    """`g` summed over the axes along which it was broadcast from the shape of `x`."""
    if g.type.shape == x.type.shape and None not in x.type.shape:
        return g
    return unbroadcast_op(g, x)


def no_flow(node: Apply, cotangents: Cotangents) -> Gradients:
    """The gradient of what depends on shapes and integers only."""
    return [None] * len(node.inputs)


def no_tangent(node: Apply, tangents: Cotangents) -> Gradients:
    return [None] * len(node.outputs)


def along_first(op: Op, node: Apply, tangents: Cotangents) -> Gradients:
    """The forward rule of an operation linear in input 0: the same operation on its tangent."""
    t = tangents[0]
    return [None if t is None else op(t, *node.inputs[1:], **node.params)]


def merge(a: Dim, b: Dim) -> Dim:
    """One of two dims required to be equal: the one that is known better."""
    return a if isinstance(a, int) or not isinstance(b, int) else b


# reshape(x, *dims): the same elements in C order; one dim may be -1.


def _reshape_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    size = dims.product(ctx.shape(0))
    given = [ctx.value(i) for i in range(1, len(ctx.inputs))]
    others = dims.product([dims.choose("eq", d, -1, 1, d) for d in given])
    if -1 in [d for d in given if isinstance(d, int)]:
        ctx.require(
            "ge", others, 1, f"reshape of '{ctx.name(0)}': -1 stands beside a dimension of 0 elements"
        )
    rest = dims.floordiv(size, dims.maximum(others, 1))
    shape = tuple(dims.choose("eq", d, -1, rest, d) for d in given)
    for d in given:
        ctx.require("ge", d, -1, f"reshape of '{ctx.name(0)}': a dimension cannot be {{0}}")
    message = f"reshape of '{ctx.name(0)}': the new shape has {{0}} elements, '{ctx.name(0)}' has {{1}}"
    ctx.require("eq", dims.product(shape), size, message)
    return [(ctx.dtype(0), shape)]


def _reshape_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    (g,), x = cotangents, node.inputs[0]
    return [None if g is None else reshape(g, *dims_of(x)), *[None] * (len(node.inputs) - 1)]


reshape: Op = Op(
    "reshape",
    _reshape_infer,
    lambda params, x, *shape: np.reshape(x, [int(d) for d in shape]),
    Reshape(),
    _reshape_gradient,
    lambda node, tangents: along_first(reshape, node, tangents),
)


# dimshuffle(x; order): axes in a new order; 'x' makes an axis of 1, an axis left out must be 1 long.


def _dimshuffle_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    shape, order = ctx.shape(0), ctx.params["order"]
    for axis, d in enumerate(shape):
        if axis not in order:
            message = f"axis {axis} of '{ctx.name(0)}' is dropped and must be 1 long, but it is {{0}} long"
            ctx.require("eq", d, 1, message)
    return [(ctx.dtype(0), tuple(1 if o == "x" else shape[o] for o in order))]


def _dimshuffle_axes(ctx: Lowering) -> Sequence[AxisMap]:
    order = ctx.params["order"]
    kept = {o: position for position, o in enumerate(order) if o != "x"}
    return [AxisMap(0, 1, kept[a]) if a in kept else AxisMap(0) for a in range(len(ctx.shape(0)))]


def _dimshuffle_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g, order = cotangents[0], node.params["order"]
    if g is None:
        return [None]
    back = tuple(order.index(a) if a in order else "x" for a in range(node.inputs[0].ndim))
    return [dimshuffle(g, order=back)]


def _dimshuffle_reference(params: Params, x: np.ndarray) -> np.ndarray:
    order = params["order"]
    kept = [o for o in order if o != "x"]
    moved = np.squeeze(x, tuple(a for a in range(x.ndim) if a not in kept))
    ranks = {o: rank for rank, o in enumerate(sorted(kept))}
    return np.expand_dims(
        moved.transpose([ranks[o] for o in kept]), tuple(p for p, o in enumerate(order) if o == "x")
    )


dimshuffle: Op = Op(
    "dimshuffle",
    _dimshuffle_infer,
    _dimshuffle_reference,
    Affine(_dimshuffle_axes),
    _dimshuffle_gradient,
    lambda node, tangents: along_first(dimshuffle, node, tangents),
    named=lambda node, k: describe(node.inputs[0]),
)


# shape(x): the vector of dims.  shape_i(x; axis): one of them.


def _shape_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    shape, (i,) = ctx.shape(0), index
    if isinstance(i, int):
        return lowered.as_expr(shape[i])
    value = shape[-1]
    for axis in reversed(range(len(shape) - 1)):
        value = lowered.choose(lowered.compare("eq", i, axis), shape[axis], value)
    return lowered.as_expr(value)


shape: Op = Op(
    "shape",
    lambda ctx: [("int64", (ctx.ndim(0),))],
    lambda params, x: np.array(x.shape, dtype="int64"),
    Element(_shape_element),
    no_flow,
    no_tangent,
)
shape_i: Op = Op(
    "shape_i",
    lambda ctx: [("int64", ())],
    lambda params, x: np.asarray(x.shape[params["axis"]], dtype="int64"),
    Element(lambda ctx, index: lowered.as_expr(ctx.shape(0)[ctx.params["axis"]])),
    no_flow,
    no_tangent,
)


# broadcast_to(x, *dims) and its adjoint unbroadcast(g, x).


def _require_stretch(ctx: Inference, small: Shape, big: Shape, what: str) -> None:
    """User error unless `small` broadcasts to `big`, which stays as it is; both right-aligned."""
    for a, b in zip(reversed(small), reversed(big), strict=False):
        ctx.require(
            "eq", dims.choose("eq", a, 1, b, a), b, f"{what}: a dimension of {{0}} where {{1}} is needed"
        )


def _broadcast_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    target = [ctx.value(i) for i in range(1, len(ctx.inputs))]
    source = ctx.shape(0)
    extra = len(target) - len(source)
    if extra < 0:
        raise UserTypeError(
            f"broadcast of '{ctx.name(0)}': {len(source)} dimension(s), more than the {len(target)} of the result"
        )
    for d in target:
        ctx.require("ge", d, 0, f"broadcast of '{ctx.name(0)}': a dimension cannot be {{0}}")
    _require_stretch(ctx, source, tuple(target), f"broadcast of '{ctx.name(0)}'")
    for axis, d in enumerate(source):
        # A dimension that is not 1 stays, so it is known even where the target is not.
        if target[extra + axis] is None and isinstance(d, int) and d != 1:
            target[extra + axis] = d
    return [(ctx.dtype(0), tuple(target))]


def stretched(d: Int, length: Int, axis: int) -> AxisMap:
    """How an axis `d` long is read when broadcast to `length`."""
    if d is length or (isinstance(d, int) and d != 1):
        return AxisMap(0, 1, axis)
    return AxisMap(0, lowered.choose(lowered.compare("eq", d, 1), 0, 1), axis)


def _broadcast_axes(ctx: Lowering) -> Sequence[AxisMap]:
    source, target = ctx.shape(0), ctx.output_shape()
    extra = len(target) - len(source)
    return [stretched(d, target[extra + axis], extra + axis) for axis, d in enumerate(source)]


def _broadcast_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g = cotangents[0]
    return [None if g is None else unbroadcast(g, node.inputs[0]), *[None] * (len(node.inputs) - 1)]


broadcast_to: Op = Op(
    "broadcast_to",
    _broadcast_infer,
    lambda params, x, *shape: np.broadcast_to(x, [int(d) for d in shape]),
    Affine(_broadcast_axes),
    _broadcast_gradient,
    lambda node, tangents: along_first(broadcast_to, node, tangents),
)


def _unbroadcast_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    _require_stretch(ctx, ctx.shape(1), ctx.shape(0), f"gradient of '{ctx.name(1)}'")
    return [(ctx.dtype(0), ctx.shape(1))]


def _unbroadcast_reference(params: Params, g: np.ndarray, x: np.ndarray) -> np.ndarray:
    extra = g.ndim - x.ndim
    axes = tuple(a for a in range(g.ndim) if a < extra or (x.shape[a - extra] == 1 and g.shape[a] != 1))
    return np.asarray(g.sum(axis=axes, keepdims=True, dtype=g.dtype)).reshape(x.shape)


def _unbroadcast_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    c = cotangents[0]
    return [None if c is None else broadcast_to(c, *dims_of(node.inputs[0])), None]


unbroadcast_op: Op = Op(
    "unbroadcast",
    _unbroadcast_infer,
    _unbroadcast_reference,
    Unbroadcast(),
    _unbroadcast_gradient,
    lambda node, tangents: along_first(unbroadcast_op, node, tangents),
)


# specify_shape(x, *lengths; axes, beside): x itself, checked to be that long along those axes, or as long as
# what messages call `beside`.


def _specify_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    shape = list(ctx.shape(0))
    for k, axis in enumerate(ctx.params["axes"]):
        length = ctx.value(1 + k)
        beside = ctx.params.get("beside")
        reason = f", as '{beside}' is" if beside else ""
        message = f"axis {axis} of '{ctx.name(0)}' must be {{1}} long{reason}, but it is {{0}} long"
        ctx.require("eq", shape[axis], length, message)
        shape[axis] = merge(shape[axis], length)
    return [(ctx.dtype(0), tuple(shape))]


def _same(op: Op, node: Apply, flow: Variable | None) -> Variable | None:
    return None if flow is None else op(flow, *node.inputs[1:], **node.params)


specify_shape: Op = Op(
    "specify_shape",
    _specify_infer,
    lambda params, x, *lengths: x,
    Affine(lambda ctx: [AxisMap(0, 1, axis) for axis in range(len(ctx.shape(0)))]),
    lambda node, cotangents: [_same(specify_shape, node, cotangents[0]), *[None] * (len(node.inputs) - 1)],
    lambda node, tangents: along_first(specify_shape, node, tangents),
)


# concatenate(*xs; axis, count), along an axis they have; stack(*xs; axis, count), along a new one.


def _agree(ctx: Inference, what: str, skip: int | None = None) -> list[Dim]:
    """The common shape of all inputs, `skip` excepted; a user error when they differ."""
    common = list(ctx.shape(0))
    for i in range(1, len(ctx.inputs)):
        for axis, d in enumerate(ctx.shape(i)):
            if axis != skip:
                message = (
                    f"{what}: axis {axis} of '{ctx.name(0)}' is {{0}} long, that of '{ctx.name(i)}' {{1}}"
                )
                ctx.require("eq", common[axis], d, message)
                common[axis] = merge(common[axis], d)
    return common


def _concatenate_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    axis = ctx.params["axis"]
    joined = _agree(ctx, "concatenate", axis)
    for i in range(1, len(ctx.inputs)):
        joined[axis] = dims.add(joined[axis], ctx.shape(i)[axis])
    return [(common_dtype(*(v.dtype for v in ctx.inputs)), tuple(joined))]


def _concatenate_statements(ctx: Lowering) -> list[Statement]:
    axis = ctx.params["axis"]
    made: list[Statement] = []
    offset: Int = 0
    for i in range(ctx.params["count"]):

        def copy(index: tuple[Int, ...], i: int = i, offset: Int = offset) -> list[Statement]:
            target = (*index[:axis], lowered.add(index[axis], offset), *index[axis + 1 :])
            return [ctx.store(0, target, lowered.cast(ctx.element(i, index), ctx.output_dtype()))]

        made += ctx.loop(ctx.shape(i), copy)
        offset = lowered.add(offset, ctx.shape(i)[axis])
    return made


def _concatenate_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g, axis = cotangents[0], node.params["axis"]
    if g is None:
        return [None] * len(node.inputs)
    pieces: list[Variable | None] = []
    offset: Variable = int_constant(0)
    for x in node.inputs:
        end = tensor().fold_int(offset + dim(x, axis))
        pieces.append(g[(slice(None),) * axis + (slice(offset, end),)])
        offset = end
    return pieces


def _filled(node: Apply, tangents: Cotangents) -> list[Variable] | None:
    """Tangents with zeros where nothing flows; None when nothing flows at all."""
    if all(t is None for t in tangents):
        return None
    return [tensor().zeros_like(x) if t is None else t for t, x in zip(tangents, node.inputs, strict=True)]


def _join_forward(op: Op, node: Apply, tangents: Cotangents) -> Gradients:
    filled = _filled(node, tangents)
    return [None if filled is None else op(*filled, **node.params)]


concatenate: Op = Op(
    "concatenate",
    _concatenate_infer,
    lambda params, *xs: np.concatenate(xs, axis=params["axis"]),
    Stages(_concatenate_statements),
    _concatenate_gradient,
    lambda node, tangents: _join_forward(concatenate, node, tangents),
)


def _stack_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    joined = _agree(ctx, "stack")
    joined.insert(ctx.params["axis"], len(ctx.inputs))
    return [(common_dtype(*(v.dtype for v in ctx.inputs)), tuple(joined))]


def _stack_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    axis, count = ctx.params["axis"], ctx.params["count"]
    which, inner = index[axis], (*index[:axis], *index[axis + 1 :])
    if isinstance(which, int):
        return lowered.cast(ctx.element(which, inner), ctx.output_dtype())
    # All inputs have one shape, so the index is inside every one of them.
    value = lowered.cast(ctx.element(count - 1, inner), ctx.output_dtype())
    for k in reversed(range(count - 1)):
        chosen = lowered.cast(ctx.element(k, inner), ctx.output_dtype())
        value = lowered.select(lowered.compare("eq", which, k), chosen, value)
    return value


def _stack_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g, axis = cotangents[0], node.params["axis"]
    if g is None:
        return [None] * len(node.inputs)
    return [g[(slice(None),) * axis + (k,)] for k in range(len(node.inputs))]


stack: Op = Op(
    "stack",
    _stack_infer,
    lambda params, *xs: np.stack(xs, axis=params["axis"]),
    Element(_stack_element),
    _stack_gradient,
    lambda node, tangents: _join_forward(stack, node, tangents),
)
