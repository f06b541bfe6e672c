"""Rows that pass their input through unchanged and change only what its gradient is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dims import Shape
from ..graph import Apply, Variable
from .base import Affine, AxisMap, Cotangents, Inference, Lowering, Op


def _same(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    return [(ctx.dtype(0), ctx.shape(0))]


def _itself(params: Any, x: Any) -> Any:
    return x


def _axes(ctx: Lowering) -> Sequence[AxisMap]:
    return [AxisMap(0, 1, axis) for axis in range(len(ctx.shape(0)))]


def _blocked(node: Apply, cotangents: Cotangents) -> Cotangents:
    return [None]


def _zero(node: Apply, cotangents: Cotangents) -> Cotangents:
    from ..tensor import zeros_like

    return [zeros_like(node.inputs[0])]


def _clipped(node: Apply, cotangents: Cotangents) -> Cotangents:
    """The cotangent with each element brought into [lower, upper]."""
    from ..tensor import clip

    g = cotangents[0]
    return [None if g is None else clip(g, node.params["lower"], node.params["upper"])]


def _scaled(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
    g = cotangents[0]
    return [None if g is None else g * node.params["multiplier"]]


def _unchanged(node: Apply, tangents: Cotangents) -> Cotangents:
    return [tangents[0]]


disconnected_grad = Op("disconnected_grad", _same, _itself, Affine(_axes), _blocked, _blocked)
zero_grad = Op("zero_grad", _same, _itself, Affine(_axes), _zero, _zero)
grad_clip = Op("grad_clip", _same, _itself, Affine(_axes), _clipped, _unchanged)
grad_scale = Op("grad_scale", _same, _itself, Affine(_axes), _scaled, _scaled)
