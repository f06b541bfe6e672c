"""Dimension algebra for shape rules: a Dim is an int, a run-time expression, or None (not known yet).

One shape rule per operation serves both times it is needed: while the graph is built (ints and None)
and while a kernel is generated (ints and expressions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import lowered
from .lowered import Expr, Int

Dim = int | Expr | None
Shape = tuple[Dim, ...]


def _lift(rule: Callable[[Int, Int], Int]) -> Callable[[Dim, Dim], Dim]:
    def lifted(a: Dim, b: Dim) -> Dim:
        return None if a is None or b is None else rule(a, b)

    return lifted


add = _lift(lowered.add)
sub = _lift(lowered.sub)
mul = _lift(lowered.mul)
floordiv = _lift(lowered.floordiv)
maximum = _lift(lowered.maximum)
minimum = _lift(lowered.minimum)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """⌈a / b⌉ for b > 0."""
    return floordiv(add(a, sub(b, 1)), b)


def product(shape: Sequence[Dim]) -> Dim:
    # In the order of `strides`, so that the distance of rows of this shape is the same expression.
    total: Dim = 1
    for d in reversed(shape):
        total = mul(total, d)
    return total


def choose(op: str, a: Dim, b: Dim, yes: Dim, no: Dim) -> Dim:
    """`yes` if a `op` b (eq ne lt le gt ge) else `no`."""
    if a is None or b is None:
        return yes if yes is not None and yes is no else None
    condition = lowered.compare(op, a, b)
    if condition.op == "const":
        return yes if condition.value else no
    if yes is None or no is None:
        return None
    return lowered.choose(condition, yes, no)


def known(shape: Sequence[Dim]) -> tuple[int | None, ...]:
    """The shape with everything that is not an int forgotten."""
    return tuple(d if isinstance(d, int) else None for d in shape)


def strides(shape: Sequence[Int]) -> tuple[Int, ...]:
    """Element strides of a C-contiguous array."""
    result: list[Int] = []
    step: Int = 1
    for d in reversed(shape):
        result.append(step)
        step = lowered.mul(step, d)
    return tuple(reversed(result))
