"""Rows of the singular value decomposition and of the pseudoinverse, on the library kernels of the core.

Derivations: J. Townsend, "Differentiating the singular value decomposition", 2016 (svd); G. Golub and V. Pereyra,
"The differentiation of pseudo-inverses and nonlinear least squares problems", 1973 (pinv).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dims
from ..dims import Shape
from ..errors import GradientNotDefinedError
from ..graph import Apply, Variable
from ..lowered import Int
from . import reduction
from .base import Cotangents, Inference, Library, Lowering, Op, Params, require_float
from .linalg import Gradients, diagonal_part, inverse_gaps, require_finite, where
from .product import contract, source_name, swap
from .shape import dim, dimshuffle

# svd(a; full): u, s, vt with u diag(s) vt = a, s descending; full: u and vt are square.


def _svd_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    require_float(ctx.inputs[0], "svd")
    (*batch, m, n), dtype = ctx.shape(0), ctx.dtype(0)
    k = dims.minimum(m, n)
    rows, columns = (m, n) if ctx.params["full"] else (k, k)
    return [(dtype, (*batch, m, rows)), (dtype, (*batch, k)), (dtype, (*batch, columns, n))]


def _svd_reference(params: Params, a: np.ndarray) -> Any:
    require_finite(a)
    return tuple(np.linalg.svd(a, full_matrices=params["full"]))


def _require_thin(node: Apply) -> None:
    """The vectors beyond the first min(m, n) are arbitrary, so that they have no derivative."""
    a = node.inputs[0]
    m, n = a.type.shape[-2:]
    if node.params["full"] and (m is None or m != n):
        raise GradientNotDefinedError(
            f"svd of '{source_name(a)}' ({a.type}): the derivatives of u and vt are defined for full_matrices=False, "
            "and those of s alone with compute_uv=False"
        )


def _columns(x: Variable) -> Variable:
    """Numbers, one per column of a matrix."""
    return dimshuffle(x, order=(*range(x.ndim - 1), "x", x.ndim - 1))


def _rows(x: Variable) -> Variable:
    return dimshuffle(x, order=(*range(x.ndim), "x"))


def _inverses(s: Variable) -> Variable:
    """1 / s, and 0 where s is 0: what it then scales is 0, but for rounding."""
    from ..tensor.math import eq

    none = eq(s, 0)
    return where(none, 0, 1 / where(none, 1, s))


def _svd_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    gu, gs, gvt = cotangents
    u, s, vt = node.outputs
    parts: list[Variable] = []
    if gu is not None or gvt is not None:
        _require_thin(node)
    elif node.params["full"]:
        k = dim(s, s.ndim - 1)
        u, vt = u[..., :k], vt[..., :k, :]
    if gs is not None:
        parts.append(contract(u * _columns(gs), vt))
    if gu is not None:
        c = contract(swap(u), gu)
        inner = inverse_gaps(s * s, c) * (c - swap(c)) * _columns(s)
        outer = (gu - contract(u, c)) * _columns(_inverses(s))
        parts.append(contract(contract(u, inner) + outer, vt))
    if gvt is not None:
        c = contract(gvt, swap(vt))
        inner = _rows(s) * (inverse_gaps(s * s, c) * (swap(c) - c))
        outer = _rows(_inverses(s)) * (gvt - contract(c, vt))
        parts.append(contract(u, contract(inner, vt) + outer))
    return [sum(parts[1:], parts[0]) if parts else None]


def _svd_forward(node: Apply, tangents: Cotangents) -> Gradients:
    (t,) = tangents
    if t is None:
        return [None, None, None]
    _require_thin(node)
    u, s, vt = node.outputs
    left, right = contract(swap(u), t), contract(t, swap(vt))
    p = contract(left, swap(vt))
    gaps = inverse_gaps(s * s, p)
    of_u, of_v = p * _columns(s), _rows(s) * p
    du = contract(u, gaps * (of_u + swap(of_u))) + (right - contract(u, p)) * _columns(_inverses(s))
    dvt = _rows(_inverses(s)) * (left - contract(p, vt)) - contract(gaps * (of_v + swap(of_v)), vt)
    ds = reduction.sum(diagonal_part(p), axes=(p.ndim - 1,), keepdims=False)
    return [du, ds, dvt]


svd = Op(
    "svd",
    _svd_infer,
    _svd_reference,
    Library("svd", lambda params: (int(params["full"]),)),
    _svd_gradient,
    _svd_forward,
)


# pinv(a, rcond): the Moore-Penrose inverse, singular values up to rcond times the largest taken as 0.


def _pinv_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    require_float(ctx.inputs[0], "pinv")
    *batch, m, n = ctx.shape(0)
    return [(ctx.dtype(0), (*batch, n, m))]


def _pinv_reference(params: Params, a: np.ndarray, rcond: np.ndarray) -> Any:
    require_finite(a)
    return np.linalg.pinv(a, rcond)


def _pinv_operands(ctx: Lowering) -> Sequence[tuple[int, tuple[Int, ...] | None]]:
    return [(0, None), (1, ctx.shape(0)[:-2])]


def _pinv_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    """With p = a⁺: -pᵀ g pᵀ + (1 - a p) gᵀ p pᵀ + pᵀ p gᵀ (1 - p a)."""
    g, a, p = cotangents[0], node.inputs[0], node.output
    if g is None:
        return [None, None]
    above = contract(swap(g), contract(p, swap(p)))
    beside = contract(contract(swap(p), p), swap(g))
    above = above - contract(a, contract(p, above))
    beside = beside - contract(contract(beside, p), a)
    return [above + beside - contract(contract(swap(p), g), swap(p)), None]


def _pinv_forward(node: Apply, tangents: Cotangents) -> Gradients:
    t, a, p = tangents[0], node.inputs[0], node.output
    if t is None:
        return [None]
    above = contract(contract(p, swap(p)), swap(t))
    beside = contract(swap(t), contract(swap(p), p))
    above = above - contract(contract(above, a), p)
    beside = beside - contract(p, contract(a, beside))
    return [above + beside - contract(contract(p, t), p)]


pinv = Op(
    "pinv",
    _pinv_infer,
    _pinv_reference,
    Library("pinv", operands=_pinv_operands),
    _pinv_gradient,
    _pinv_forward,
)
