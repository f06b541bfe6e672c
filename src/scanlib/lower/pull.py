"""Elements of variables, pulled from elements of their inputs; and views, which need no computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import lowered
from ..dims import strides
from ..errors import InternalError
from ..graph import Apply, Constant, Variable
from ..lowered import Expr, Int
from ..ops.base import Affine, AxisMap, Contract, Element, Pointwise, Reduce, Reshape
from ..ops.scan_op import spec_of
from .context import ApplyContext
from .placing import expanded, is_identity
from .program import Program, View, indices

if TYPE_CHECKING:
    from .region import Region


def pull(region: Region, v: Variable, index: tuple[Int, ...]) -> Expr:
    """The element of `v`, output of a node of this region, at `index`."""
    node = v.owner
    assert node is not None
    rule = node.op.lower
    if isinstance(rule, Pointwise):
        return _pointwise(region, node, rule, index)
    if isinstance(rule, Affine):
        maps = rule.axes(ApplyContext(region, node))
        value = region.element(node.inputs[0], tuple(_mapped(m, index) for m in maps))
        # An element may not depend on its index; that is checked all the same.
        for m in maps:
            value = lowered.under(value, m.start)
        return value
    if isinstance(rule, Element):
        return lowered.cast(rule.element(ApplyContext(region, node), index), v.dtype)
    if is_identity(region, node):
        return region.element(node.inputs[0], index)
    if isinstance(rule, Reshape):
        source = _reshaped_index(region.shape(node.inputs[0]), region.shape(v), index)
        return region.element(node.inputs[0], source)
    if expanded(region, v) and all(isinstance(i, int) for i in index):
        if isinstance(rule, Contract):
            return _contract(region, node, index)
        if isinstance(rule, Reduce):
            return _reduce(region, node, rule, index)
    return region.memory(v).at(index)


def broadcast_index(
    program: Program, shape: Sequence[Int], index: Sequence[Int], out: Sequence[Int]
) -> tuple[Int, ...]:
    """The index into an operand of `shape` for `index` into the broadcast result of shape `out`."""
    result: list[Int] = []
    offset = len(index) - len(shape)
    for axis, d in enumerate(shape):
        i = index[offset + axis]
        if isinstance(d, int):
            result.append(0 if d == 1 else i)
        elif program.same(d, out[offset + axis]) or (d.minimum is not None and d.minimum > 1):
            result.append(i)
        else:
            result.append(lowered.choose(lowered.compare("eq", d, 1), 0, i))
    return tuple(result)


def _pointwise(region: Region, node: Apply, rule: Pointwise, index: tuple[Int, ...]) -> Expr:
    arguments, result = rule.argument_dtypes([v.dtype for v in node.inputs])
    out = region.shape(node.output)
    operands = []
    for v, dtype in zip(node.inputs, arguments):
        value = region.element(v, broadcast_index(region.program, region.shape(v), index, out))
        operands.append(lowered.cast(value, dtype))
    if rule.build is not None:
        return rule.build(node.params, operands)
    if len(operands) == 2 and all(map(lowered.is_index, operands)):
        a, b = map(lowered.fold, operands)
        if node.op.name in _INT:
            return lowered.as_expr(_INT[node.op.name](a, b))
        if node.op.name in _COMPARISONS:
            return lowered.compare(node.op.name, a, b)
    return lowered.expr(node.op.name, tuple(operands), result)


# Folding these keeps shapes and steps that are computed from constants constant.
_INT = {
    "add": lowered.add,
    "sub": lowered.sub,
    "mul": lowered.mul,
    "maximum": lowered.maximum,
    "minimum": lowered.minimum,
}
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def _mapped(m: AxisMap, index: tuple[Int, ...]) -> Int:
    if m.axis is None:
        return m.start
    return lowered.add(m.start, lowered.mul(m.step, index[m.axis]))


def affine_view(region: Region, node: Apply) -> View | None:
    """The view an Affine node is of its input's memory, if the input lies in memory."""
    if not isinstance(node.op.lower, Affine):
        return None
    whole = region.view(node.inputs[0])
    last = _ring_of_history(region, node.inputs[0]) if whole is None else None
    source = whole or last
    if source is None:
        return None
    axes = node.op.lower.axes(ApplyContext(region, node))
    if last is not None:
        if not _is_last(region, node.inputs[0], axes[0]):
            return None
        axes = [replace(axes[0], start=0), *axes[1:]]
    offset = source.offset
    shape = region.shape(node.output)
    steps: list[Int] = [0] * len(shape)
    for m, stride in zip(axes, source.strides):
        offset = lowered.add(offset, lowered.mul(m.start, stride))
        if m.axis is not None:
            steps[m.axis] = lowered.add(steps[m.axis], lowered.mul(m.step, stride))
    return View(source.buffer, offset, shape, tuple(steps), source.dtype)


def _ring_of_history(region: Region, history: Variable) -> View | None:
    """The trace in history(initial, trace) if it is the last step alone, whose slot holds the initial value first."""
    if history.owner is None or not _is_of_one_state(region, history.owner):
        return None
    trace = history.owner.inputs[1]
    assert trace.owner is not None
    return region.view(trace) if spec_of(trace.owner).keep[trace.index] == 1 else None


def _is_last(region: Region, v: Variable, first: AxisMap) -> bool:
    return first.axis is None and region.program.same(first.start, lowered.sub(region.shape(v)[0], 1))


def history_view(region: Region, node: Apply) -> View | None:
    """history(initial, trace) is the storage of a scan as it lies, if both come from the same state."""
    if not _is_of_one_state(region, node) or region.view_is_ring(node.inputs[1]):
        return None
    initial, trace = node.inputs
    view = region.view(trace)
    if view is None:
        return None
    start = lowered.sub(view.offset, lowered.mul(view.strides[0], region.shape(initial)[0]))
    return View(view.buffer, start, region.shape(node.output), view.strides, view.dtype)


def _is_of_one_state(region: Region, node: Apply) -> bool:
    """Whether this is history(initial, trace) of a state and all its initial values."""
    if node.op.name != "history":
        return False
    initial, trace = node.inputs
    if trace.owner is None or trace.owner.op.name != "scan":
        return False
    spec = spec_of(trace.owner)
    if trace.index >= len(spec.states):
        return False  # a state once, whose earlier values no step reads
    given = trace.owner.inputs[1 + spec.sequences + trace.index]
    equal = given is initial or (
        isinstance(given, Constant)
        and isinstance(initial, Constant)
        and given.type == initial.type
        and given.data.tobytes() == initial.data.tobytes()
    )
    return equal and region.shape(initial)[0] == spec.depths[trace.index]


def reshaped_view(region: Region, node: Apply) -> View | None:
    """The view a Reshape node is of its input's memory, if that lies contiguous in memory."""
    if not isinstance(node.op.lower, Reshape):
        return None
    source = region.view(node.inputs[0])
    if source is None or not source.contiguous():
        return None
    shape = region.shape(node.output)
    return View(source.buffer, source.offset, shape, strides(shape), source.dtype)


def _reshaped_index(source: Sequence[Int], target: Sequence[Int], index: tuple[Int, ...]) -> tuple[Int, ...]:
    """The index of the same element, in C order, under the shape `source`."""
    moved = [d for d in source if not (isinstance(d, int) and d == 1)]
    kept = [(d, i) for d, i in zip(target, index) if not (isinstance(d, int) and d == 1)]
    if len(moved) == len(kept) and all(a is b or a == b for a, (b, _) in zip(moved, kept)):
        rest = iter(i for _, i in kept)
        return tuple(0 if isinstance(d, int) and d == 1 else next(rest) for d in source)
    position: Int = 0
    for i, step in zip(index, strides(target)):
        position = lowered.add(position, lowered.mul(i, step))
    result: list[Int] = []
    for axis, step in enumerate(strides(source)):
        quotient = lowered.floordiv(position, step)
        result.append(quotient if axis == 0 else lowered.mod(quotient, source[axis]))
    return tuple(result)


def _contract(region: Region, node: Apply, index: tuple[Int, ...]) -> Expr:
    """Σ_k a[..., i, k] b[..., k, j], unrolled."""
    a, b = node.inputs
    dtype = node.output.dtype
    inner = region.shape(a)[-1]
    if not isinstance(inner, int):
        raise InternalError("an unrolled product has a run-time inner dimension")
    left = broadcast_index(region.program, region.shape(a)[:-2], index[:-2], region.shape(node.output)[:-2])
    right = broadcast_index(region.program, region.shape(b)[:-2], index[:-2], region.shape(node.output)[:-2])
    total: Expr | None = None
    for k in range(inner):
        x = lowered.cast(region.element(a, (*left, index[-2], k)), dtype)
        y = lowered.cast(region.element(b, (*right, k, index[-1])), dtype)
        term = lowered.expr("mul", (x, y), dtype)
        total = term if total is None else lowered.expr("add", (total, term), dtype)
    return total if total is not None else lowered.constant(0, dtype)


def reduced_axes(node: Apply) -> tuple[tuple[int, ...], bool]:
    return tuple(node.params["axes"]), bool(node.params["keepdims"])


def full_index(
    ndim: int, axes: Sequence[int], keepdims: bool, kept: Sequence[Int], inner: Sequence[Int]
) -> tuple[Int, ...]:
    """The index into the input of a reduction from the output's index and the index within the reduced axes."""
    result: list[Int] = []
    out, within = iter(kept), iter(inner)
    for axis in range(ndim):
        if axis in axes:
            if keepdims:
                next(out)
            result.append(next(within))
        else:
            result.append(next(out))
    return tuple(result)


def _reduce(region: Region, node: Apply, rule: Reduce, index: tuple[Int, ...]) -> Expr:
    """A reduction over static axes, unrolled."""
    source = node.inputs[0]
    axes, keepdims = reduced_axes(node)
    dtype = rule.accumulate(source.dtype)
    extents = [d for a, d in enumerate(region.shape(source)) if a in axes and isinstance(d, int)]
    total: Expr | None = None
    for inner in indices(extents):
        at = full_index(source.ndim, axes, keepdims, index, inner)
        value = lowered.cast(region.element(source, at), dtype)
        total = value if total is None else lowered.expr(rule.combine, (total, value), dtype)
    if total is None:
        total = lowered.constant(rule.start(dtype), dtype)
    return lowered.cast(total, node.output.dtype)
