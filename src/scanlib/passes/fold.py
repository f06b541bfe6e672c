"""Folding: constants are computed, and exact identities of elementwise operations applied.

Only what leaves every result as it is, to the last bit, with these exceptions, where it is NumPy's operator
`**` that is followed: x**2 is x*x, x**0.5 is sqrt(x), x**-1 is 1/x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import UserError
from ..graph import Apply, Constant, FunctionGraph, Variable
from ..ops import elementwise
from ..ops.base import Region, is_float
from ..reference import apply as run
from .hoist import IFELSE
from .rewrite import everywhere, rewrite

LARGEST = 4096  # elements of a folded result
# Rows that are made where they are read: as constants they would cost memory.
UNFOLDED = frozenset(("alloc", "broadcast_to"))


def uniform(v: Variable) -> float | int | bool | None:
    """The number that every element of a constant is, if it is so."""
    if not isinstance(v, Constant) or v.data.size != 1:
        return None
    return v.data.reshape(())[()].item()


def _same_type(x: Variable, node: Apply) -> Sequence[Variable] | None:
    """`x` in place of the node's output, if it is known to have its type."""
    return (x,) if x.type == node.output.type else None


def _constant(node: Apply) -> Sequence[Variable] | None:
    if isinstance(node.op.lower, Region) or node.op.name in UNFOLDED:
        return None
    values: dict[int, np.ndarray] = {}
    for v in node.inputs:
        if not isinstance(v, Constant):
            return None
        values[id(v)] = v.data
    for v in node.outputs:
        size = 1
        for d in v.type.shape:
            size *= LARGEST + 1 if d is None else d
        if size > LARGEST:
            return None
    try:
        return [Constant(a, name=v.name) for v, a in zip(node.outputs, run(node, values))]
    except UserError:
        return None  # the error belongs to the call, not to compilation


def _ifelse(node: Apply) -> Sequence[Variable] | None:
    chosen = uniform(node.inputs[0])
    if chosen is None:
        return None
    half = len(node.outputs)
    made = node.inputs[1 : 1 + half] if chosen else node.inputs[1 + half :]
    return made if all(a.type == b.type for a, b in zip(made, node.outputs)) else None


def _add(node: Apply) -> Sequence[Variable] | None:
    if is_float(node.output.dtype):
        return None  # x + 0.0 is not x for x = -0.0
    for x, other in (node.inputs, node.inputs[::-1]):
        if uniform(other) == 0:
            return _same_type(x, node)
    return None


def _sub(node: Apply) -> Sequence[Variable] | None:
    x, y = node.inputs
    zero = uniform(y)
    # x - (-0.0) is x + 0.0, which is not x for x = -0.0.
    return _same_type(x, node) if zero is not None and zero == 0 and not np.signbit(zero) else None


def _mul(node: Apply) -> Sequence[Variable] | None:
    for x, other in (node.inputs, node.inputs[::-1]):
        if uniform(other) == 1:
            return _same_type(x, node)
    return None


def _true_div(node: Apply) -> Sequence[Variable] | None:
    x, y = node.inputs
    return _same_type(x, node) if uniform(y) == 1 else None


def _pow(node: Apply) -> Sequence[Variable] | None:
    x, y = node.inputs
    number = uniform(y)
    if number is None or x.dtype != node.output.dtype:
        return None
    if number == 1:
        return _same_type(x, node)
    made = None
    if number == 2:
        made = elementwise.mul(x, x)
    elif number == 0.5 and is_float(x.dtype):
        made = elementwise.sqrt(x)
    elif number == -1 and is_float(x.dtype):
        made = elementwise.true_div(Constant(np.asarray(1, x.dtype)), x)
    return None if made is None else _same_type(made, node)


def _involution(node: Apply) -> Sequence[Variable] | None:
    """f(f(x)) is x for neg and logical_not."""
    inner = node.inputs[0].owner
    if inner is not None and inner.op is node.op:
        return _same_type(inner.inputs[0], node)
    return None


def _cast(node: Apply) -> Sequence[Variable] | None:
    x = node.inputs[0]
    if x.dtype == node.output.dtype:
        return _same_type(x, node)
    inner = x.owner
    if inner is None or inner.op is not elementwise.cast:
        return None
    first, last = inner.inputs[0].dtype, node.output.dtype
    # Out of range, a float and an integer become an integer in different ways.
    alike = is_float(first) or is_float(last) or not is_float(x.dtype)
    exact = alike and _lossless(first, x.dtype)
    return (elementwise.cast(inner.inputs[0], **node.params),) if exact else None


def _lossless(a: str, b: str) -> bool:
    """Whether every value of dtype `a` is a value of dtype `b`."""
    # NumPy calls int64 -> float64 safe, though it rounds.
    return bool(np.can_cast(a, b, "safe")) and not (a in ("int64", "uint64") and is_float(b))


def _switch(node: Apply) -> Sequence[Variable] | None:
    condition, yes, no = node.inputs
    chosen = uniform(condition)
    if chosen is not None:
        return _same_type(yes if chosen else no, node)
    return _same_type(yes, node) if yes is no else None


def _extreme(node: Apply) -> Sequence[Variable] | None:
    x, y = node.inputs
    return _same_type(x, node) if x is y else None


RULES: dict[str, Callable[[Apply], Sequence[Variable] | None]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "true_div": _true_div,
    "pow": _pow,
    "neg": _involution,
    "cast": _cast,
    "switch": _switch,
    "maximum": _extreme,
    "minimum": _extreme,
}


def _rule(node: Apply) -> Sequence[Variable] | None:
    made = _constant(node)
    if made is None and node.op.name in RULES:
        made = RULES[node.op.name](node)
    return _ifelse(node) if made is None and node.op.lower == IFELSE else made


def _fold(graph: FunctionGraph) -> FunctionGraph:
    return rewrite(graph, _rule)


fold = everywhere(_fold)
