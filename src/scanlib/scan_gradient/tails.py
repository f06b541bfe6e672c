"""Cotangents that are zero but for the last rows, as reading trace[-1] or trace[-k:] gives them.

Seen for what they are, they enter the reverse scan as initial values, and no zeros over time are made.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..differentiate import total
from ..graph import Apply, Constant, Variable
from ..ops.history import pad_start
from ..ops.index_rules import At, Span
from ..ops.indexing import scatter, set_subtensor, shift_refs
from ..ops.shape import broadcast_to, dim, dims_of, int_constant

LONGEST = 8  # rows; a longer tail is not worth as many registers

_SPREADING = frozenset(
    {"broadcast_to", "reshape", "dimshuffle", "cast", "alloc", "fill", "history", "pad_start"}
)


def split_tail(g: Variable) -> tuple[Variable | None, Variable | None]:
    """g as (dense, tail): dense has the shape of g; tail has the last rows to add to it, in their order.

    Either may be None.  The tail has a static number of rows; where g has fewer, those before it are zero.
    """
    dense: list[Variable] = []
    tails: list[Variable] = []
    for term in _terms(g):
        if is_zero(term):
            continue
        tail = _tail(term)
        if tail is None:
            dense.append(term)
        else:
            tails.append(tail)
    if not tails:
        return (g if dense else None), None
    longest = max(int(t.type.shape[0] or 0) for t in tails)
    same = [t if t.type.shape[0] == longest else pad_start(t, int_constant(longest)) for t in tails]
    return total(dense), total(same)


def added(x: Variable, g: Variable) -> Variable:
    """x + g, where what g has at some places only is added at these places: a state that is x then is updated there."""
    terms = _terms(g)
    placed = [t.owner for t in terms if t.owner is not None and _is_placed(t.owner) and t.dtype == x.dtype]
    if not placed:
        return x + g
    rest = total([t for t in terms if t.owner not in placed])
    made = x if rest is None else x + rest
    for node in placed:
        made = node.op(made, *node.inputs[1:], **{**node.params, "inc": True})
    return made


def _is_placed(node: Apply) -> bool:
    """Whether the result is zero but for some places, at each of which values are added up."""
    # What is set at one place several times counts once.
    sums = node.op is set_subtensor or (node.op is scatter and node.params["inc"])
    return sums and is_zero(node.inputs[0])


def _terms(g: Variable) -> list[Variable]:
    """The terms of a sum of arrays of the same number of dimensions."""
    stack, found = [g], []
    while stack:
        v = stack.pop()
        if v.owner is not None and v.owner.op.name == "add" and all(u.ndim == v.ndim for u in v.owner.inputs):
            stack.extend(reversed(v.owner.inputs))
        else:
            found.append(v)
    return found


def is_zero(v: Variable) -> bool:
    """Whether `v` is seen to be zero everywhere."""
    if isinstance(v, Constant):
        return not v.data.any()
    if v.owner is None or v.owner.op.name not in _SPREADING:
        return False
    values = v.owner.inputs if v.owner.op.name == "history" else v.owner.inputs[:1]
    return all(is_zero(u) for u in values)


def _tail(term: Variable) -> Variable | None:
    """The last rows of `term` if all others are zero."""
    node = term.owner
    if node is None:
        return None
    if node.op is pad_start:
        rows, length = node.inputs
        return _masked(rows, length) if 0 < (rows.type.shape[0] or 0) <= LONGEST else None
    if node.op is not set_subtensor or not is_zero(node.inputs[0]):
        return None
    base, value, *numbers = node.inputs
    first, *others = node.params["index"]
    if isinstance(first, At) and isinstance(first.index, int) and -LONGEST <= first.index < 0:
        row = _row(base, value, numbers, others)
        rows = broadcast_to(row, int_constant(1), *dims_of(row))
        return rows if first.index == -1 else _followed_by_zeros(rows, -first.index)
    if isinstance(first, Span) and all(e == Span() for e in others):
        return _last_rows(base, value, first)
    return None


def _row(
    base: Variable, value: Variable, numbers: Sequence[Variable], others: Sequence[At | Span]
) -> Variable:
    """One row of `base` (zeros) with `value` written to it at `others`."""
    from ..tensor import zeros

    dims = dims_of(base)[1:]
    if all(e == Span() for e in others):
        known = base.type.shape[1:]
        return value if value.type.shape == known and None not in known else broadcast_to(value, *dims)
    row = zeros(dims, dtype=base.dtype)
    made: Variable = set_subtensor(row, value, *numbers, index=shift_refs(tuple(others), 0), inc=False)
    return made


def _last_rows(base: Variable, value: Variable, span: Span) -> Variable | None:
    """`value` as it stands in base[-k:]."""
    from ..tensor import minimum

    start = span.start
    if span.stop is not None or span.step not in (None, 1) or not isinstance(start, int):
        return None
    if not -LONGEST <= start < 0:
        return None
    rows = broadcast_to(value, minimum(dim(base, 0), -start), *dims_of(base)[1:])
    return rows if rows.type.shape[0] == -start else pad_start(rows, int_constant(-start))


def _followed_by_zeros(rows: Variable, length: int) -> Variable:
    from ..ops.history import pad_end

    made: Variable = pad_end(rows, int_constant(length))
    return made


def _masked(rows: Variable, length: Variable) -> Variable:
    """`rows` with zeros for those that do not fit into `length`."""
    from ..tensor import arange, ge, reshape, switch, zeros_like

    count = int(rows.type.shape[0] or 0)
    if isinstance(length, Constant) and int(length.data) >= count:
        return rows
    shape = (count, *[1] * (rows.ndim - 1))
    fits = reshape(ge(arange(count), int_constant(count) - length), shape)
    made: Variable = switch(fits, rows, zeros_like(rows))
    return made
