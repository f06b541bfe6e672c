"""What running statements costs, roughly, in arithmetic operations: whether a share of them is worth a thread."""

from __future__ import annotations

from collections.abc import Sequence

from .. import lowered
from ..lowered import Expr, Int
from ..ops.base import TABLE, Pointwise
from ..statements import Assign, For, Lanes, Product, Statement, Store, parts

# A transcendental function in arithmetic operations.
MATH_COST = 20


def is_math(e: Expr) -> bool:
    row = TABLE.get(e.op)
    return row is not None and isinstance(row.lower, Pointwise) and row.lower.is_math


def operations(values: Sequence[Expr]) -> int:
    """Arithmetic operations that compute `values`."""
    return sum(MATH_COST if is_math(e) else 1 for e in parts(values))


def work(statements: Sequence[Statement]) -> Int:
    """Arithmetic operations of running `statements` once."""
    total: Int = 0
    for s in statements:
        if isinstance(s, (For, Lanes)):
            total = lowered.add(total, lowered.mul(lowered.sub(s.stop, s.start), work(s.body)))
        elif isinstance(s, Store):
            total = lowered.add(total, operations([s.value]))
        elif isinstance(s, Assign):
            total = lowered.add(total, operations(s.values))
        elif isinstance(s, Product):
            rows, inner, columns = s.sizes
            total = lowered.add(total, lowered.mul(lowered.mul(rows, inner), columns))
    return total
