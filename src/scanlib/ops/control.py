"""The row of `ifelse`: several outputs, of which only the chosen branch is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dims
from ..dims import Shape
from ..errors import UserTypeError
from ..graph import Apply, Variable
from .base import Inference, Op, Region, is_float


def _infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    """Inputs: the condition (bool scalar), the `then` values, as many `else` values of the same types."""
    half = (len(ctx.inputs) - 1) // 2
    types: list[tuple[str, Shape]] = []
    for i in range(1, 1 + half):
        j = i + half
        if ctx.dtype(i) != ctx.dtype(j) or ctx.ndim(i) != ctx.ndim(j):
            raise UserTypeError(
                f"ifelse: '{ctx.name(i)}' is {ctx.inputs[i].type} and '{ctx.name(j)}' is "
                f"{ctx.inputs[j].type}; "
                "both branches must have the same dtype and number of dimensions: cast or reshape one"
            )
        chosen = ctx.value(0)
        shape = tuple(
            a if isinstance(a, int) and isinstance(b, int) and a == b else dims.choose("ne", chosen, 0, a, b)
            for a, b in zip(ctx.shape(i), ctx.shape(j))
        )
        types.append((ctx.dtype(i), shape))
    return types


def _reference(params: Any, condition: Any, *branches: Any) -> Any:
    half = len(branches) // 2
    chosen = branches[:half] if condition else branches[half:]
    return tuple(chosen)


def _zeros_for(branch: Variable, like: Variable) -> Variable:
    """Zeros of the shape of `branch`, without computing `branch` when `like` is known to have its shape."""
    from ..tensor import zeros_like

    return zeros_like(like if None not in branch.type.shape and like.type == branch.type else branch)


def _gradient(node: Apply, cotangents: Sequence[Variable | None]) -> Sequence[Variable | None]:
    """Each branch gets the cotangent where it was taken and zeros where it was not."""
    half = len(node.outputs)
    condition, then, otherwise = node.inputs[0], node.inputs[1 : 1 + half], node.inputs[1 + half :]
    result: list[Variable | None] = [None] * len(node.inputs)
    for k, g in enumerate(cotangents):
        if g is not None and is_float(node.outputs[k].dtype):
            result[1 + k] = ifelse_op(condition, g, _zeros_for(then[k], g))
            result[1 + half + k] = ifelse_op(condition, _zeros_for(otherwise[k], g), g)
    return result


def _forward(node: Apply, tangents: Sequence[Variable | None]) -> Sequence[Variable | None]:
    half = len(node.outputs)
    result: list[Variable | None] = []
    for k in range(half):
        a, b = tangents[1 + k], tangents[1 + half + k]
        if a is None and b is None:
            result.append(None)
            continue
        a = _zeros_for(node.inputs[1 + k], node.inputs[1 + k]) if a is None else a
        b = _zeros_for(node.inputs[1 + half + k], node.inputs[1 + half + k]) if b is None else b
        result.append(ifelse_op(node.inputs[0], a, b))
    return result


ifelse_op = Op("ifelse", _infer, _reference, Region("ifelse"), _gradient, _forward)
