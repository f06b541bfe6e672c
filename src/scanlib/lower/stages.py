"""Statements that put whole variables into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .. import lowered
from ..graph import Apply, Variable
from ..lowered import Expr, Int
from ..ops.base import Contract, Reduce, Reshape, Stages, Unbroadcast
from ..statements import Assign, Lanes, Statement, Store
from .context import ApplyContext
from .program import View, row_major
from .pull import broadcast_index, full_index, reduced_axes

if TYPE_CHECKING:
    from .region import Region


def fill(region: Region, v: Variable, target: View) -> list[Statement]:
    """Statements that store every element of `v` in `target`."""
    rule = v.owner.op.lower if v.owner is not None else None
    if id(v) not in region.values and v.owner is not None:
        if isinstance(rule, Reduce):
            return _reduce(region, v.owner, rule, target)
        if isinstance(rule, Unbroadcast):
            return _unbroadcast(region, v.owner, target)
        if isinstance(rule, Contract):
            return _contract(region, v.owner, target)
        if isinstance(rule, Reshape) and target.contiguous():
            # Laid out under the source's own shape, no index has to be divided.
            source = v.owner.inputs[0]
            shape = region.shape(source)
            return fill(region, source, row_major(target.buffer, shape, target.dtype, target.offset))
    return copy(region, v, target)


def copy(region: Region, v: Variable, target: View) -> list[Statement]:
    def body(index: tuple[Int, ...]) -> list[Statement]:
        return [Store(target.buffer, target.position(index), region.element(v, index))]

    return region.loop(target.shape, body)


def reshape_input(region: Region, node: Apply) -> None:
    """Give the input of a Reshape contiguous memory, so that the result is a view of it."""
    if not isinstance(node.op.lower, Reshape):
        return
    source = node.inputs[0]
    if region.view(source) is None and region.owns(source):
        region.memory(source)


def fill_stages(region: Region, node: Apply) -> None:
    """Run a row's own statements into fresh memory for every output."""
    rule = node.op.lower
    assert isinstance(rule, Stages)
    level = max(0, region.level(node.outputs[0]))
    targets = []
    for k, v in enumerate(node.outputs):
        if len(region.shapes[id(v)]) != v.ndim:
            region.shapes[id(v)] = rule_capacity(region, node, k)
        targets.append(region.target(v, level))
        region.values[id(v)] = targets[-1]
    region.kernels.setdefault(level, []).extend(rule.statements(ApplyContext(region, node, targets)))


def rule_capacity(region: Region, node: Apply, k: int) -> tuple[Int, ...]:
    """Room for an output whose length depends on data: one entry per element of input 0."""
    size: Int = 1
    for d in region.shape(node.inputs[0]):
        size = lowered.mul(size, d)
    return (size,) * node.outputs[k].ndim


def _accumulate(
    region: Region, dtype: str, start: Expr, combine: str, extents: Sequence[Int], term: object, store: object
) -> list[Statement]:
    """register = start; loops over `extents` combine term(index) into it; then store(register)."""
    name = region.program.unique("a")
    register = lowered.register(name, dtype)

    def body(inner: tuple[Int, ...]) -> list[Statement]:
        value = lowered.cast(term(inner), dtype)  # type: ignore[operator]
        return [Assign((name,), (lowered.expr(combine, (register, value), dtype),))]

    loops = region.loop(extents, body)
    return [Assign((name,), (start,)), *loops, store(register)]  # type: ignore[operator]


def _reduce(region: Region, node: Apply, rule: Reduce, target: View) -> list[Statement]:
    source = node.inputs[0]
    axes, keepdims = reduced_axes(node)
    dtype = rule.accumulate(source.dtype)
    shape = region.shape(source)
    extents = [shape[a] for a in axes]
    start = lowered.constant(rule.start(dtype), dtype)
    # A sum may be reassociated so that it runs in vector registers; see docs/decisions.md.
    combine = (
        f"reassociated_{rule.combine}" if rule.combine in ("add", "mul") and dtype[0] == "f" else rule.combine
    )
    if source.ndim - 1 not in axes and axes and dtype == target.dtype and not isinstance(shape[-1], int):
        return _reduce_rows(region, node, rule.combine, target, start)

    def body(out: tuple[Int, ...]) -> list[Statement]:
        def term(inner: tuple[Int, ...]) -> Expr:
            return region.element(source, full_index(source.ndim, axes, keepdims, out, inner))

        def store(total: Expr) -> Statement:
            return Store(target.buffer, target.position(out), lowered.cast(total, target.dtype))

        return _accumulate(region, dtype, start, combine, extents, term, store)

    return region.loop(target.shape, body)


def _reduce_rows(region: Region, node: Apply, combine: str, target: View, start: Expr) -> list[Statement]:
    """A reduction over leading axes: whole rows are combined into the result, the last axis innermost."""
    source = node.inputs[0]
    axes, keepdims = reduced_axes(node)
    shape = region.shape(source)
    kept = [a for a in range(source.ndim) if a not in axes]

    def clear(out: tuple[Int, ...]) -> list[Statement]:
        return [Store(target.buffer, target.position(out), start)]

    def body(index: tuple[Int, ...]) -> list[Statement]:
        at: list[Int] = [0] * source.ndim
        for axis, i in zip([*axes, *kept], index):
            at[axis] = i
        out = [0 if a in axes else at[a] for a in range(source.ndim) if keepdims or a not in axes]
        value = lowered.cast(region.element(source, tuple(at)), target.dtype)
        total = lowered.expr(combine, (target.at(out), value), target.dtype)
        return [Store(target.buffer, target.position(out), total)]

    return region.loop(target.shape, clear) + region.loop([shape[a] for a in [*axes, *kept]], body)


def _unbroadcast(region: Region, node: Apply, target: View) -> list[Statement]:
    """Sum the cotangent over every axis the operand did not have or had with length 1."""
    source, like = node.inputs
    shape, narrow = region.shape(source), region.shape(like)
    lead = len(shape) - len(narrow)
    dtype = source.dtype
    extents: list[Int] = list(shape[:lead])
    for d, wide in zip(narrow, shape[lead:]):
        extents.append(
            1 if region.program.same(d, wide) else lowered.choose(lowered.compare("eq", d, 1), wide, 1)
        )

    def summand(out: Sequence[Int], inner: Sequence[Int]) -> Expr:
        at = [*inner[:lead], *(lowered.add(o, i) for o, i in zip(out, inner[lead:]))]
        return region.element(source, tuple(at))

    if lead and narrow and extents[-1] == 1 and not isinstance(narrow[-1], int):
        return _add_rows(region, target, extents, summand)

    def body(out: tuple[Int, ...]) -> list[Statement]:
        def term(inner: tuple[Int, ...]) -> Expr:
            return summand(out, inner)

        def store(total: Expr) -> Statement:
            return Store(target.buffer, target.position(out), total)

        return _accumulate(
            region, dtype, lowered.constant(0, dtype), "reassociated_add", extents, term, store
        )

    return region.loop(target.shape, body)


def _add_rows(
    region: Region,
    target: View,
    extents: Sequence[Int],
    summand: Callable[[Sequence[Int], Sequence[Int]], Expr],
) -> list[Statement]:
    """target = Σ over `extents` of what `summand` gives for (index of target, index in extents), row by row."""

    def clear(out: tuple[Int, ...]) -> list[Statement]:
        return [Store(target.buffer, target.position(out), lowered.constant(0, target.dtype))]

    def add(index: tuple[Int, ...]) -> list[Statement]:
        inner, out = index[: len(extents)], index[len(extents) :]
        total = lowered.expr("add", (target.at(out), summand(out, inner)), target.dtype)
        return [Store(target.buffer, target.position(out), total)]

    return region.loop(target.shape, clear) + region.loop([*extents, *target.shape], add)


def _contract(region: Region, node: Apply, target: View) -> list[Statement]:
    """A small static product as loops: a row of the result is a sum of multiples of rows of the right operand."""
    a, b = node.inputs
    dtype = target.dtype
    inner, columns = region.shape(a)[-1], target.shape[-1]
    for operand in (a, b):
        if region.view(operand) is None and not isinstance(region.values.get(id(operand)), tuple):
            region.memory(operand)
    batch = target.shape[:-2]

    def term(index: Sequence[Int], k: Int, j: Int) -> Expr:
        *outer, i = index
        left = (*broadcast_index(region.program, region.shape(a)[:-2], outer, batch), i, k)
        right = (*broadcast_index(region.program, region.shape(b)[:-2], outer, batch), k, j)
        return lowered.expr("mul", (_at(region, a, left, dtype), _at(region, b, right, dtype)), dtype)

    lies = region.view(b)
    if lies is None or lies.strides[-1] != 1 or not isinstance(inner, int) or not isinstance(columns, int):
        return _contract_elements(region, target, inner, term)

    def row(index: tuple[Int, ...]) -> list[Statement]:
        """All columns at once, in vector registers."""
        name = region.program.unique("l")
        j, total = lowered.index(name), lowered.register(f"{name}.0", dtype)
        body: list[Statement] = [Assign((f"{name}.0",), (lowered.constant(0, dtype),))]
        for k in range(inner):
            value = lowered.expr("add", (total, term(index, k, j)), dtype)
            body.append(Assign((f"{name}.0",), (value,)))
        body.append(Store(target.buffer, target.position((*index, j)), total))
        widths = sorted({w for w in (32, 16, 8, 4, 1) if w <= max(columns, 1)}, reverse=True)
        return [Lanes(name, 0, columns, body, tuple(widths))]

    return region.loop(target.shape[:-1], row)


def _contract_elements(
    region: Region, target: View, inner: Int, term: Callable[[Sequence[Int], Int, Int], Expr]
) -> list[Statement]:
    """Each element of the product as a sum of its own."""

    def body(index: tuple[Int, ...]) -> list[Statement]:
        *outer, j = index

        def store(total: Expr) -> Statement:
            return Store(target.buffer, target.position(index), total)

        zero = lowered.constant(0, target.dtype)
        combine = "reassociated_add" if target.dtype[0] == "f" else "add"
        return _accumulate(
            region, target.dtype, zero, combine, [inner], lambda k: term(outer, k[0], j), store
        )

    return region.loop(target.shape, body)


def _at(region: Region, v: Variable, index: tuple[Int, ...], dtype: str) -> Expr:
    return lowered.cast(region.element(v, index), dtype)
