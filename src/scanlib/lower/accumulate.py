"""Sums over time, added up a block at a time by the epilogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import lowered
from ..errors import UserValueError
from ..graph import Variable, describe
from ..lowered import Int
from ..plan import Library
from ..statements import Assign, Statement, Store
from .block import BlockRegion, NotBatched
from .block_length import product_of
from .program import View, fits_registers, indices
from .pull import broadcast_index
from .region import Region

if TYPE_CHECKING:
    from .scan import ScanOutput


def accumulate(region: BlockRegion, o: ScanOutput, terms: Sequence[Variable]) -> None:
    """Add the block's terms to a state that is a sum."""
    assert o.shape is not None and o.in_place
    target = o.slot_view(0)
    products = [t for t in terms if product_of(t) is not None]
    others = [t for t in terms if product_of(t) is None]
    for t in terms:
        _check_shape(region, o, t)
    level = max([0, *(region.level(t) for t in others)])
    if fits_registers(o.shape):
        _in_registers(region, o, others, target, level)
    else:
        _in_memory(region, o, others, target, level)
    for t in products:
        _product(region, o, t, target)


def _check_shape(region: BlockRegion, o: ScanOutput, term: Variable) -> None:
    assert o.shape is not None
    node = product_of(term)
    # A product is added as it is: it cannot be repeated along an axis.
    shape = (
        region.shape(term)
        if node is None
        else tuple(region.shape(v)[-1 - k] for k, v in zip((1, 0), node.inputs))
    )
    for axis, (a, b) in enumerate(zip(shape, o.shape[len(o.shape) - len(shape) :])):
        condition = lowered.compare("eq", a, b)
        single = lowered.compare("eq", a, 1)
        if node is None:
            condition = lowered.logical("logical_or", condition, single)
        elif not region.program.same(a, b) and (single.op != "const" or single.value):
            raise NotBatched(f"a product is added to '{o.label}' that may be repeated along axis {axis}")
        message = f"the step gives '{o.label}' length {{0}} along axis {axis}, its initial value has {{1}}"
        region.require(condition, UserValueError, message, (a, b))


def _in_registers(
    region: BlockRegion, o: ScanOutput, terms: Sequence[Variable], target: View, level: int
) -> None:
    assert o.shape is not None
    names = [region.program.unique("a") for _ in indices(o.shape)]
    before = region.before.setdefault(level, [])
    after = region.after.setdefault(level, [])
    statements = region.kernels.setdefault(level, [])
    for name, index in zip(names, indices(o.shape)):
        total = lowered.register(name, o.dtype)
        before.append(Assign((name,), (target.at(index),)))
        for t in terms:
            value = region.element(
                t, broadcast_index(region.program, region.shape(t), index[len(index) - t.ndim :], o.shape)
            )
            statements.append(Assign((name,), (lowered.expr("reassociated_add", (total, value), o.dtype),)))
        after.append(Store(target.buffer, target.position(index), total))


def _in_memory(
    region: BlockRegion, o: ScanOutput, terms: Sequence[Variable], target: View, level: int
) -> None:
    assert o.shape is not None
    for t in terms:
        shape = region.shape(t)

        def add(index: tuple[Int, ...], t: Variable = t, shape: tuple[Int, ...] = shape) -> list[Statement]:
            assert o.shape is not None
            tail = index[len(index) - len(shape) :]
            value = region.element(
                t, broadcast_index(region.program, shape, tail, o.shape[len(index) - len(shape) :])
            )
            total = lowered.expr("add", (target.at(index), value), o.dtype)
            return [Store(target.buffer, target.position(index), total)]

        region.kernels.setdefault(level, []).extend(region.loop(o.shape, add))


def _product(region: BlockRegion, o: ScanOutput, term: Variable, target: View) -> None:
    """target += Σ over the block's steps of a[t] @ b[t], as one product."""
    node = product_of(term)
    assert node is not None
    a, b = (region.memory(v) for v in node.inputs)
    level = max([0, *(region.level(v) for v in node.inputs)])
    # The result is the same at every step of the block: the kernel adds up over a dim of stride 0.
    steps = lowered.sub(lowered.bound("stop"), lowered.bound("start"))
    total = View(target.buffer, target.offset, (steps, *target.shape), (0, *target.strides), target.dtype)
    operands = (region.operand(a), region.operand(b), Region.operand(region, total))
    call = Library("matmul", operands, (1,), describe(term))
    region.barriers.setdefault(level, []).append(call)
