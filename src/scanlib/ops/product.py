"""The row of matrix products; vectors, outer and tensor products are compositions over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Shape
from ..errors import UserTypeError
from ..graph import Apply, Variable, describe
from .base import Contract, Cotangents, Inference, Op, Params, is_float
from .elementwise import to_dtype
from .shape import dimshuffle, unbroadcast

# Rows that only change how a variable is looked at: messages name what stands behind them.
_VIEWS = ("dimshuffle", "reshape", "cast")


def source_name(v: Variable) -> str:
    """The name of the variable that the user gave to a product."""
    while v.name is None and v.owner is not None and v.owner.op.name in _VIEWS:
        v = v.owner.inputs[0]
    return describe(v)


def _infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    a, b = ctx.shape(0), ctx.shape(1)
    names = f"'{source_name(ctx.inputs[0])}' and '{source_name(ctx.inputs[1])}'"
    if ctx.dtype(0) != ctx.dtype(1) or len(a) < 2 or len(a) != len(b):
        raise UserTypeError(
            f"product of {names}: {ctx.inputs[0].type} and {ctx.inputs[1].type}; "
            "expected one dtype and one number of dimensions, at least 2"
        )
    message = f"product of {names}: {{0}} columns against {{1}} rows; the inner dimensions must be equal"
    ctx.require("eq", a[-1], b[-2], message)
    batch = ctx.broadcast([a[:-2], b[:-2]], lambda: f"product of {names}")
    return [(ctx.dtype(0), (*batch, a[-2], b[-1]))]


def _reference(params: Params, a: np.ndarray, b: np.ndarray) -> Any:
    return np.matmul(a, b)


def swap(x: Variable) -> Variable:
    """The last two axes exchanged."""
    return dimshuffle(x, order=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _gradient(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    (g,) = cotangents
    a, b = node.inputs
    if g is None or not is_float(a.dtype):
        return [None, None]
    return [batch_unbroadcast(contract(g, swap(b)), a), batch_unbroadcast(contract(swap(a), g), b)]


def batch_unbroadcast(g: Variable, x: Variable) -> Variable:
    """The cotangent of a matrix operand, summed over the batch axes it was broadcast along."""
    return to_dtype(unbroadcast(g, x) if x.ndim > 2 else g, x.dtype)


def _forward(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
    a, b = node.inputs
    ta, tb = tangents
    parts = []
    if ta is not None:
        parts.append(contract(ta, b))
    if tb is not None:
        parts.append(contract(a, tb))
    if not parts:
        return [None]
    return [parts[0] if len(parts) == 1 else parts[0] + parts[1]]


def _named(node: Apply, k: int) -> str:
    """m @ w; of longer products the last factor."""
    factors = [source_name(v) for v in node.inputs]
    return " @ ".join("…" if " " in f else f for f in factors)


contract = Op("contract", _infer, _reference, Contract(), _gradient, _forward, named=_named)
