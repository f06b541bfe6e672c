"""Rows that read and replace parts: subtensor and set_subtensor for ints and slices, gather and scatter for
index arrays, nonzero for masks.

Where an index array or a mask is involved, the user functions move the indexed axes to the front first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dims, lowered
from ..dims import Shape
from ..errors import UserValueError
from ..graph import Apply, Constant, Variable, describe
from ..lowered import Expr, Int
from ..statements import If, Statement
from .base import Affine, AxisMap, Cotangents, Element, Inference, Lowering, Op, Params, Stages
from .index_rules import (
    At,
    Span,
    at,
    checked_arrays,
    filled,
    indexed_shape,
    masked,
    numpy_index,
    outside,
    position,
    region,
    stretched_index,
)
from .shape import Gradients, along_first, no_flow, no_tangent, tensor, unbroadcast

# subtensor(x, *numbers; index): a view.


def _subtensor_axes(ctx: Lowering) -> Sequence[AxisMap]:
    made: list[AxisMap] = []
    out = 0
    for axis, entry in enumerate(ctx.params["index"]):
        if isinstance(entry, At):
            made.append(AxisMap(at(ctx, entry, axis)))
            continue
        r = region(entry, ctx.shape(0)[axis], ctx.value)
        assert r.first is not None and r.step is not None
        made.append(AxisMap(r.first, r.step, out))
        out += 1
    return made


def _subtensor_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g, (x, *numbers) = cotangents[0], node.inputs
    if g is None:
        return [None] * len(node.inputs)
    # Every element is read at most once, so the rest of the gradient is zero.
    zeros = tensor().zeros_like(x)
    zeros.name = describe(x)  # in messages of positions outside
    made = set_subtensor(zeros, g, *numbers, index=shift_refs(node.params["index"], 1), inc=False)
    return [made, *[None] * len(numbers)]


def shift_refs(index: Any, by: int) -> Any:
    """The index when its numbers stand `by` inputs later (set_subtensor has the value before them)."""
    from .index_rules import Ref

    def move(n: Any) -> Any:
        return Ref(n.input + by) if isinstance(n, Ref) else n

    return tuple(
        At(move(e.index)) if isinstance(e, At) else Span(move(e.start), move(e.stop), move(e.step))
        for e in index
    )


subtensor: Op = Op(
    "subtensor",
    lambda ctx: [(ctx.dtype(0), indexed_shape(ctx))],
    lambda params, *arrays: arrays[0][numpy_index(params["index"], arrays)],
    Affine(_subtensor_axes),
    _subtensor_gradient,
    lambda node, tangents: along_first(subtensor, node, tangents),
)


# set_subtensor(x, v, *numbers; index, inc): x with v in place of, or added to, a region.


def _require_fit(ctx: Inference, value: Shape, target: Shape) -> None:
    """User error unless `value` (input 1) broadcasts to the shape of the part it is written to."""
    if len(value) > len(target):
        raise UserValueError(
            f"'{ctx.name(1)}' has {len(value)} dimensions, "
            f"the part of '{ctx.name(0)}' it is written to {len(target)}"
        )
    for a, b in zip(reversed(value), reversed(target), strict=False):
        message = (
            f"'{ctx.name(1)}' does not fit the part of '{ctx.name(0)}' it is written to: "
            "a dimension of {0} where {1} is needed"
        )
        ctx.require("eq", dims.choose("eq", a, 1, b, a), b, message)


def _set_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    _require_fit(ctx, ctx.shape(1), indexed_shape(ctx))
    return [(ctx.dtype(0), ctx.shape(0))]


def _set_reference(params: Params, x: np.ndarray, v: np.ndarray, *numbers: np.ndarray) -> np.ndarray:
    made = x.copy()
    index = numpy_index(params["index"], (x, v, *numbers))
    made[index] = made[index] + v if params["inc"] else v
    return made


def _inside(ctx: Lowering, index: Sequence[Int]) -> tuple[Expr, list[Int]]:
    """Whether x[index] is in the region, and which element of the region it is (0 where it is not)."""
    holds = lowered.constant(True, "bool")
    where: list[Int] = []
    for axis, (entry, o) in enumerate(zip(ctx.params["index"], index, strict=True)):
        if isinstance(entry, At):
            holds = lowered.logical("logical_and", holds, lowered.compare("eq", o, at(ctx, entry, axis)))
            continue
        if entry.whole:
            where.append(o)
            continue
        r = region(entry, ctx.shape(0)[axis], ctx.value)
        assert r.first is not None and r.step is not None and r.length is not None
        up, down = lowered.sub(o, r.first), lowered.sub(r.first, o)
        rising = lowered.compare("gt", r.step, 0)
        distance = lowered.choose(rising, up, down)
        stride = lowered.maximum(lowered.choose(rising, r.step, lowered.sub(0, r.step)), 1)
        j = lowered.floordiv(distance, stride)
        here = lowered.logical(
            "logical_and", lowered.compare("ge", distance, 0), lowered.compare("lt", j, r.length)
        )
        on = lowered.compare("eq", lowered.mod(distance, stride), 0)
        here = lowered.logical("logical_and", here, on)
        holds = lowered.logical("logical_and", holds, here)
        where.append(lowered.choose(here, j, 0))
    return holds, where


def _set_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    x = ctx.element(0, index)
    holds, where = _inside(ctx, index)
    if holds.op == "const" and not holds.value:
        return x
    v = ctx.element(1, stretched_index(ctx.shape(1), where))
    if not filled(ctx.shape(1)):
        v = masked(v, holds)
    new = _added(x, v) if ctx.params["inc"] else v
    return lowered.select(holds, new, x)


def _set_update(ctx: Lowering) -> list[Statement]:
    """The region of x, element by element."""
    places: list[Int | tuple[Int, Int]] = []  # a position, or (first, step)
    extents: list[Int] = []
    for axis, (entry, n) in enumerate(zip(ctx.params["index"], ctx.shape(0), strict=True)):
        if isinstance(entry, At):
            places.append(at(ctx, entry, axis))
            continue
        r = region(entry, n, ctx.value)
        assert r.first is not None and r.step is not None and r.length is not None
        places.append((r.first, r.step))
        extents.append(r.length)

    def write(index: tuple[Int, ...]) -> list[Statement]:
        along = iter(index)
        target = [
            lowered.add(p[0], lowered.mul(p[1], next(along))) if isinstance(p, tuple) else p for p in places
        ]
        v = ctx.element(1, stretched_index(ctx.shape(1), index))
        return [ctx.store(0, target, _added(ctx.output_element(0, target), v) if ctx.params["inc"] else v)]

    return ctx.loop(extents, write)


def _added(x: Expr, v: Expr) -> Expr:
    return lowered.expr("logical_or" if x.dtype == "bool" else "add", (x, v), x.dtype)


def _set_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g, (_, v, *numbers) = cotangents[0], node.inputs
    if g is None:
        return [None] * len(node.inputs)
    index, inc = node.params["index"], node.params["inc"]
    part = unbroadcast(subtensor(g, *numbers, index=shift_refs(index, -1)), v)
    rest = g if inc else set_subtensor(g, tensor().zeros((), g.dtype), *numbers, index=index, inc=False)
    return [rest, part, *[None] * len(numbers)]


def _set_forward(op: Op, node: Apply, tangents: Cotangents) -> Gradients:
    """Linear in x and v together."""
    tx, tv = tangents[0], tangents[1]
    if tx is None and tv is None:
        return [None]
    zeros_like = tensor().zeros_like
    tx = zeros_like(node.inputs[0]) if tx is None else tx
    tv = zeros_like(node.inputs[1]) if tv is None else tv
    return [op(tx, tv, *node.inputs[2:], **node.params)]


set_subtensor: Op = Op(
    "set_subtensor",
    _set_infer,
    _set_reference,
    Element(_set_element),
    _set_gradient,
    lambda node, tangents: _set_forward(set_subtensor, node, tangents),
    update=_set_update,
)


# gather(x, *indices; axes, label): index arrays, broadcast together, for the leading axes of x.  `axes` and
# `label` are what the user calls those axes and x, for messages.


def _gathered_shape(ctx: Inference, first: int) -> Shape:
    """The shape of x read with the index arrays that are inputs `first`, …."""
    arrays = [ctx.shape(i) for i in range(first, len(ctx.inputs))]
    label = ctx.params["label"]
    together = ctx.broadcast(arrays, lambda: f"the index arrays of '{label}'")
    count = dims.product(together)
    for axis, n, array in zip(ctx.params["axes"], ctx.shape(0), ctx.inputs[first:]):
        # Elements test their positions; where other axes are empty there is none that could.
        if isinstance(array, Constant) and isinstance(count, int) and count > 0:
            for i in (array.data.min(), array.data.max()):
                ctx.require_inside(int(i), n, outside(axis, label))
            continue
        message = f"the index array of axis {axis} of '{label}' has entries, the axis is 0 long"
        ctx.require_inside(0, dims.choose("eq", count, 0, 1, n), message)
    return (*together, *ctx.shape(0)[len(arrays) :])


def _positions(ctx: Lowering, first: int, index: Sequence[Int]) -> list[Int]:
    """The positions in the leading axes of x that the index arrays hold at `index`."""
    found: list[Int] = []
    for k, axis in enumerate(ctx.params["axes"]):
        i = lowered.fold(ctx.element(first + k, stretched_index(ctx.shape(first + k), index)))
        found.append(position(ctx, i, ctx.shape(0)[k], axis, ctx.params["label"]))
    return found


def _gather_element(ctx: Lowering, index: tuple[Int, ...]) -> Expr:
    count = len(ctx.params["axes"])
    width = len(index) - (len(ctx.shape(0)) - count)
    places = _positions(ctx, 1, index[:width])
    value = ctx.element(0, (*places, *index[width:]))
    # An element may not depend on its index; that is checked all the same.
    for place in places:
        value = lowered.under(value, place)
    return value


def _gather_reference(params: Params, x: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    checked_arrays(x, indices, params["label"], params["axes"])
    return np.asarray(x[tuple(indices)])


def _gather_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g, (x, *indices) = cotangents[0], node.inputs
    if g is None:
        return [None] * len(node.inputs)
    made = scatter(tensor().zeros_like(x), g, *indices, inc=True, **node.params)
    return [made, *[None] * len(indices)]


gather: Op = Op(
    "gather",
    lambda ctx: [(ctx.dtype(0), _gathered_shape(ctx, 1))],
    _gather_reference,
    Element(_gather_element),
    _gather_gradient,
    lambda node, tangents: along_first(gather, node, tangents),
)


# scatter(x, v, *indices; axes, label, inc): x with v written, or added, where gather would read.  Later
# elements win over earlier ones; added elements accumulate.


def _scatter_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    _require_fit(ctx, ctx.shape(1), _gathered_shape(ctx, 2))
    return [(ctx.dtype(0), ctx.shape(0))]


def _scatter_reference(params: Params, x: np.ndarray, v: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    checked_arrays(x, indices, params["label"], params["axes"])
    made = x.copy()
    if params["inc"]:
        np.add.at(made, tuple(indices), v)
    else:
        made[tuple(indices)] = v
    return made


def _broadcast_dims(shapes: Sequence[Sequence[Int]]) -> list[Int]:
    """The broadcast of shapes already known to agree."""
    made: list[Int] = [1] * max(len(s) for s in shapes)
    for s in shapes:
        for k, d in enumerate(reversed(s), 1):
            made[-k] = lowered.choose(lowered.compare("eq", made[-k], 1), d, made[-k])
    return made


def _scatter_statements(ctx: Lowering) -> list[Statement]:
    copy = ctx.loop(ctx.shape(0), lambda index: [ctx.store(0, index, ctx.element(0, index))])
    return copy + _scatter_update(ctx)


def _scatter_update(ctx: Lowering) -> list[Statement]:
    count = len(ctx.params["axes"])
    width_shape = _broadcast_dims([ctx.shape(2 + k) for k in range(count)])
    width = len(width_shape)

    def write(index: tuple[Int, ...]) -> list[Statement]:
        target = (*_positions(ctx, 2, index[:width]), *index[width:])
        v = ctx.element(1, stretched_index(ctx.shape(1), index))
        new = _added(ctx.output_element(0, target), v) if ctx.params["inc"] else v
        return [ctx.store(0, target, new)]

    return ctx.loop([*width_shape, *ctx.shape(0)[count:]], write)


def _scatter_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g, (_, v, *indices) = cotangents[0], node.inputs
    if g is None:
        return [None] * len(node.inputs)
    names = {k: node.params[k] for k in ("axes", "label")}
    part = unbroadcast(gather(g, *indices, **names), v)
    rest: Variable = g
    if not node.params["inc"]:
        rest = scatter(g, tensor().zeros((), g.dtype), *indices, inc=False, **names)
    return [rest, part, *[None] * len(indices)]


scatter: Op = Op(
    "scatter",
    _scatter_infer,
    _scatter_reference,
    Stages(_scatter_statements),
    _scatter_gradient,
    lambda node, tangents: _set_forward(scatter, node, tangents),
    update=_scatter_update,
)


# nonzero(mask): how many elements are true, then for each axis their positions in C order, in vectors as long
# as the mask has elements, of which the first `count` entries mean something.


def _nonzero_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    capacity = dims.product(ctx.shape(0))
    return [("int64", ()), *[("int64", (capacity,))] * ctx.ndim(0)]


def _nonzero_reference(params: Params, mask: np.ndarray) -> tuple[Any, ...]:
    found = np.nonzero(mask)
    vectors = [np.zeros(mask.size, dtype="int64") for _ in found]
    for vector, positions in zip(vectors, found, strict=True):
        vector[: len(positions)] = positions
    return (np.asarray(len(found[0]), dtype="int64"), *vectors)


def _nonzero_statements(ctx: Lowering) -> list[Statement]:
    count, assign, begin = ctx.accumulator("int64", lowered.constant(0, "int64"))

    def visit(index: tuple[Int, ...]) -> list[Statement]:
        found = [ctx.store(1 + axis, (count,), lowered.as_expr(i)) for axis, i in enumerate(index)]
        return [If(ctx.element(0, index), [*found, assign(lowered.as_expr(lowered.add(count, 1)))])]

    return [begin, *ctx.loop(ctx.shape(0), visit), ctx.store(0, (), count)]


nonzero: Op = Op(
    "nonzero", _nonzero_infer, _nonzero_reference, Stages(_nonzero_statements), no_flow, no_tangent
)


# repeat_index(repeats, total): position i repeats[i] times, `total` entries in all.


def _repeat_reference(params: Params, repeats: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(repeats)), repeats)


def _repeat_statements(ctx: Lowering) -> list[Statement]:
    at_end, assign, begin = ctx.accumulator("int64", lowered.constant(0, "int64"))

    def visit(index: tuple[Int, ...]) -> list[Statement]:
        times = lowered.fold(ctx.element(0, index))
        # Their sum is the length of the output: if one were negative, the others would not fit.
        times = ctx.check(times, lowered.compare("ge", times, 0), "repeat: a count of {0} is negative", times)

        def write(_: tuple[Int, ...]) -> list[Statement]:
            step = assign(lowered.as_expr(lowered.add(at_end, 1)))
            return [ctx.store(0, (at_end,), lowered.as_expr(index[0])), step]

        return ctx.loop([times], write)

    return [begin, *ctx.loop(ctx.shape(0), visit)]


repeat_index: Op = Op(
    "repeat_index",
    lambda ctx: [("int64", (ctx.value(1),))],
    _repeat_reference,
    Stages(_repeat_statements),
    no_flow,
    no_tangent,
)
