"""einsum: sums of products over named axes, as a composition of views, products and sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UserTypeError, UserValueError
from ..graph import Variable, describe
from ..ops import elementwise
from ..ops.product import contract
from ..ops.shape import dim, dimshuffle, reshape
from .creation import diagonal
from .products import _operands, _require_equal, _size
from .reductions import sum
from .types import as_tensor_variable


def einsum(subscripts: str, *operands: Any) -> Variable:
    """Σ of products over the axes named in `subscripts`, one letter for each, as numpy.einsum.

    "ij,jk->ik": letters after "->" are the axes of the result; without it those that occur once, in alphabetical
    order.  A letter twice in one operand takes its diagonal.  More than two operands are multiplied from the left.
    Raises UserValueError for subscripts that do not fit the operands; an ellipsis is not taken.
    """
    names, wanted = _parsed(subscripts, operands)
    values = [_diagonals(as_tensor_variable(v), n) for v, n in zip(operands, names, strict=True)]
    made, axes = values[0]
    for k, (value, other) in enumerate(values[1:], 1):
        later = "".join(n for _, n in values[k + 1 :]) + wanted
        made, axes = _product(made, axes, value, other, later)
    made, axes = _summed(made, axes, wanted)
    order = tuple(axes.index(c) for c in wanted)
    return made if order == tuple(range(made.ndim)) else dimshuffle(made, order=order)


def _parsed(subscripts: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """The letters of each operand, and those of the result."""
    if not isinstance(subscripts, str):
        raise UserTypeError(f"einsum: expected subscripts such as 'ij,jk->ik' first, got {subscripts!r:.60}")
    left, arrow, wanted = subscripts.replace(" ", "").partition("->")
    names = left.split(",")
    every = "".join(names)
    if not arrow:
        wanted = "".join(sorted(c for c in set(every) if every.count(c) == 1))
    if not all(c.isalpha() for c in every + wanted):
        raise UserValueError(f"einsum: {subscripts!r}: expected letters, ',' and '->' only; name every axis")
    if len(names) != len(operands):
        raise UserValueError(f"einsum: {subscripts!r} names {len(names)} operands, {len(operands)} are given")
    if len(set(wanted)) != len(wanted) or not set(wanted) <= set(every):
        raise UserValueError(
            f"einsum: {subscripts!r}: each axis of the result must occur once, and in an operand"
        )
    for v, letters in zip(map(as_tensor_variable, operands), names, strict=True):
        if v.ndim != len(letters):
            raise UserValueError(
                f"einsum: {subscripts!r}: '{letters}' names {len(letters)} axes of '{describe(v)}', "
                f"which has {v.ndim}"
            )
    return names, wanted


def _diagonals(x: Variable, names: str) -> tuple[Variable, str]:
    """x with one axis for each letter."""
    for c in sorted(set(names)):
        while names.count(c) > 1:
            i = names.index(c)
            j = names.index(c, i + 1)
            _require_equal(x, i, x, j, f"einsum: axis '{c}'")
            x, names = diagonal(x, 0, i, j), names[:i] + names[i + 1 : j] + names[j + 1 :] + c
    return x, names


def _summed(x: Variable, names: str, kept: str) -> tuple[Variable, str]:
    """x summed over the axes that nothing else names."""
    over = [k for k, c in enumerate(names) if c not in kept]
    if not over:
        return x, names
    return sum(x, axis=over, dtype=x.dtype), "".join(c for c in names if c in kept)


def _product(x: Variable, a: str, y: Variable, b: str, later: str) -> tuple[Variable, str]:
    """The product of two, summed over the axes that neither what follows nor the result names."""
    x, a = _summed(x, a, b + later)
    y, b = _summed(y, b, a + later)
    x, y = _operands(x, y)
    batch = [c for c in a if c in b and c in later]
    inner = [c for c in a if c in b and c not in later]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    for c in [*batch, *inner]:
        _require_equal(x, a.index(c), y, b.index(c), f"einsum: axis '{c}'")
    made = "".join([*batch, *rows, *columns])
    if not inner:
        return elementwise.mul(_aligned(x, a, made), _aligned(y, b, made)), made
    sizes = [dim(x, a.index(c)) for c in [*batch, *rows]] + [dim(y, b.index(c)) for c in columns]
    product = contract(_grouped(x, a, (batch, rows, inner)), _grouped(y, b, (batch, inner, columns)))
    return reshape(product, *sizes), made


def _aligned(x: Variable, names: str, target: str) -> Variable:
    return dimshuffle(x, order=tuple(names.index(c) if c in names else "x" for c in target))


def _grouped(x: Variable, names: str, groups: Sequence[Sequence[str]]) -> Variable:
    """x with each group of axes laid into one; no batch is no axis."""
    axes = [[names.index(c) for c in group] for group in groups]
    moved = dimshuffle(x, order=tuple(k for group in axes for k in group))
    if not axes[0]:
        axes = axes[1:]
    if all(len(group) == 1 for group in axes):
        return moved
    return reshape(moved, *(_size(x, group) for group in axes))


__all__ = ["einsum"]
