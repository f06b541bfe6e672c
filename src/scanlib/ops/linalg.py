"""Linear algebra rows, on the library kernels of the core.  Matrices are the last two axes, the rest a batch.

Derivations: M. Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation", 2008 (solve, inv, det, cholesky, eigh); S. Walter and L. Lehmann, "Algorithmic
differentiation of linear algebra functions", 2010 (qr).  cholesky and eigh read one triangle of their input,
so their cotangent lies in that triangle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dims
from ..dims import Shape
from ..errors import GradientNotDefinedError
from ..graph import Apply, Variable
from ..lowered import Int
from . import elementwise, reduction
from .base import Cotangents, Inference, Library, Lowering, Op, Params, require_float
from .product import batch_unbroadcast, contract, source_name, swap
from .shape import dim, dimshuffle

Gradients = Sequence["Variable | None"]


# Pieces of rules.


def require_finite(a: np.ndarray) -> None:
    """What LAPACK gives for other matrices differs from one to the other: errors, NaN, or any numbers."""
    if not np.isfinite(a).all():
        raise np.linalg.LinAlgError("no convergence, expected finite elements")


def _square(ctx: Inference, name: str, i: int = 0) -> Shape:
    """The shape of input i, which must be square matrices."""
    v = ctx.inputs[i]
    require_float(v, name)
    shape = ctx.shape(i)
    message = f"{name}: '{source_name(v)}' must be square, but it is {{0}} by {{1}}"
    ctx.require("eq", shape[-2], shape[-1], message)
    return shape


def _same_as_input(name: str) -> Callable[[Inference], Sequence[tuple[str, Shape]]]:
    return lambda ctx: [(ctx.dtype(0), _square(ctx, name))]


def _indices(x: Variable) -> tuple[Variable, Variable]:
    """The row numbers and column numbers of a matrix, as (rows, 1) and (1, columns)."""
    from ..tensor import arange

    rows, columns = arange(dim(x, x.ndim - 2)), arange(dim(x, x.ndim - 1))
    return dimshuffle(rows, order=(0, "x")), dimshuffle(columns, order=("x", 0))


def where(condition: Variable, x: Any, other: Any = 0) -> Variable:
    from ..tensor.math import switch

    return switch(condition, x, other)


def _lower(x: Variable, strict: bool = False) -> Variable:
    """The lower triangle, without the diagonal if `strict`."""
    rows, columns = _indices(x)
    return where((elementwise.gt if strict else elementwise.ge)(rows, columns), x)


def _upper(x: Variable, strict: bool = False) -> Variable:
    rows, columns = _indices(x)
    return where((elementwise.lt if strict else elementwise.le)(rows, columns), x)


def _triangle(x: Variable, lower: bool, strict: bool = False) -> Variable:
    return _lower(x, strict) if lower else _upper(x, strict)


def diagonal_part(x: Variable) -> Variable:
    """The diagonal, zero elsewhere."""
    rows, columns = _indices(x)
    return where(elementwise.eq(rows, columns), x)


def _halved_lower(x: Variable) -> Variable:
    """The lower triangle with half of the diagonal."""
    return (_lower(x) + _lower(x, strict=True)) * 0.5


def _to_triangle(s: Variable, lower: bool) -> Variable:
    """The cotangent of the triangle that is read, given that of the whole symmetric matrix."""
    return _triangle(s + swap(s), lower) - diagonal_part(s)


def _from_triangle(t: Variable, lower: bool) -> Variable:
    """The symmetric matrix of which `t` holds one triangle."""
    return _triangle(t, lower) + swap(_triangle(t, lower, strict=True))


def _as_column(x: Variable) -> Variable:
    """Numbers, one per matrix, against the matrices."""
    return dimshuffle(x, order=(*range(x.ndim), "x", "x"))


def _matrix_sum(x: Variable) -> Variable:
    return reduction.sum(x, axes=(x.ndim - 2, x.ndim - 1), keepdims=False)


# solve: a x = b.


def _solve_infer(name: str) -> Callable[[Inference], Sequence[tuple[str, Shape]]]:
    def infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
        a, b = _square(ctx, name), ctx.shape(1)
        names = f"'{source_name(ctx.inputs[0])}' and '{source_name(ctx.inputs[1])}'"
        message = f"{name} of {names}: a matrix of {{0}} rows against a right side of {{1}} rows"
        ctx.require("eq", a[-2], b[-2], message)
        batch = ctx.broadcast([a[:-2], b[:-2]], lambda: f"{name} of {names}")
        return [(ctx.dtype(0), (*batch, *b[-2:]))]

    return infer


def _solve_operands(ctx: Lowering) -> Sequence[tuple[int, tuple[Int, ...] | None]]:
    batch = ctx.output_shape()[:-2]
    return [(i, (*batch, *ctx.shape(i)[-2:])) for i in range(2)]


def _solve_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    (g,) = cotangents
    a, b = node.inputs
    if g is None:
        return [None, None]
    back = solve(swap(a), g)
    return [batch_unbroadcast(-contract(back, swap(node.output)), a), batch_unbroadcast(back, b)]


def _pushed(node: Apply, product: Callable[[Variable], Variable], tangents: Cotangents) -> Variable | None:
    """ḃ - ȧ x, with product(ȧ) = ȧ x."""
    ta, tb = tangents
    if ta is None:
        return tb
    return -product(ta) if tb is None else tb - product(ta)


def _solve_forward(node: Apply, tangents: Cotangents) -> Gradients:
    right = _pushed(node, lambda ta: contract(ta, node.output), tangents)
    return [None if right is None else solve(node.inputs[0], right)]


solve = Op(
    "solve",
    _solve_infer("solve"),
    lambda params, a, b: np.linalg.solve(a, b),
    Library("solve", operands=_solve_operands),
    _solve_gradient,
    _solve_forward,
)


# solve_triangular: op(a) x = b with one triangle of a; params lower, transpose, unit_diagonal.


def _triangular_reference(params: Params, a: np.ndarray, b: np.ndarray) -> Any:
    if params["unit_diagonal"]:
        eye = np.eye(a.shape[-1], dtype=a.dtype)
        a = np.tril(a, -1) + eye if params["lower"] else np.triu(a, 1) + eye
    else:
        a = np.tril(a) if params["lower"] else np.triu(a)
    return np.linalg.solve(np.swapaxes(a, -1, -2) if params["transpose"] else a, b)


def _triangular_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    (g,) = cotangents
    a, b = node.inputs
    if g is None:
        return [None, None]
    params = node.params
    back = solve_triangular(a, g, **{**params, "transpose": not params["transpose"]})
    x = node.output
    full = -contract(x, swap(back)) if params["transpose"] else -contract(back, swap(x))
    to_a = _triangle(full, params["lower"], strict=params["unit_diagonal"])
    return [batch_unbroadcast(to_a, a), batch_unbroadcast(back, b)]


def _triangular_forward(node: Apply, tangents: Cotangents) -> Gradients:
    params = node.params

    def product(ta: Variable) -> Variable:
        part = _triangle(ta, params["lower"], strict=params["unit_diagonal"])
        return contract(swap(part) if params["transpose"] else part, node.output)

    right = _pushed(node, product, tangents)
    return [None if right is None else solve_triangular(node.inputs[0], right, **params)]


solve_triangular = Op(
    "solve_triangular",
    _solve_infer("solve_triangular"),
    _triangular_reference,
    Library(
        "solve_triangular",
        lambda params: (int(params["lower"]), int(params["transpose"]), int(params["unit_diagonal"])),
        _solve_operands,
    ),
    _triangular_gradient,
    _triangular_forward,
)


def _solve_lower(factor: Variable, b: Variable, transpose: bool = False) -> Variable:
    return solve_triangular(factor, b, lower=True, transpose=transpose, unit_diagonal=False)


# cholesky: the lower factor of the lower triangle, or (lower=False) the upper factor of the upper one.


def _cholesky_reference(params: Params, a: np.ndarray) -> Any:
    factor = np.linalg.cholesky(a if params["lower"] else np.swapaxes(a, -1, -2))
    # What LAPACK does with pivots that are no numbers differs from one to the other.
    if np.isnan(np.diagonal(factor, axis1=-2, axis2=-1)).any():
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    return factor if params["lower"] else np.swapaxes(factor, -1, -2)


def _cholesky_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    (g,) = cotangents
    if g is None:
        return [None]
    lower = node.params["lower"]
    factor = node.output if lower else swap(node.output)
    inner = _halved_lower(contract(swap(factor), _lower(g if lower else swap(g))))
    half = _solve_lower(factor, inner, transpose=True)
    whole = _solve_lower(factor, swap(half), transpose=True)
    return [_to_triangle(whole, lower)]


def _cholesky_forward(node: Apply, tangents: Cotangents) -> Gradients:
    (t,) = tangents
    if t is None:
        return [None]
    lower = node.params["lower"]
    factor = node.output if lower else swap(node.output)
    half = _solve_lower(factor, _from_triangle(t, lower))
    result = contract(factor, _halved_lower(_solve_lower(factor, swap(half))))
    return [result if lower else swap(result)]


cholesky = Op(
    "cholesky",
    _same_as_input("cholesky"),
    _cholesky_reference,
    Library("cholesky", lambda params: (int(params["lower"]),)),
    _cholesky_gradient,
    _cholesky_forward,
)


# inv, det, slogdet.


def _inv_flow(node: Apply, middle: Variable | None, transposed: bool) -> Gradients:
    y = swap(node.output) if transposed else node.output
    return [None if middle is None else -contract(contract(y, middle), y)]


inv = Op(
    "inv",
    _same_as_input("inv"),
    lambda params, a: np.linalg.inv(a),
    Library("inv"),
    lambda node, cotangents: _inv_flow(node, cotangents[0], True),
    lambda node, tangents: _inv_flow(node, tangents[0], False),
)


def _log_slope(a: Variable) -> Variable:
    """∂ log|det a| / ∂a."""
    return swap(inv(a))


def _det_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    (g,) = cotangents
    return [None if g is None else _as_column(g * node.output) * _log_slope(node.inputs[0])]


def _det_forward(node: Apply, tangents: Cotangents) -> Gradients:
    (t,) = tangents
    return [None if t is None else node.output * _matrix_sum(_log_slope(node.inputs[0]) * t)]


det = Op(
    "det",
    lambda ctx: [(ctx.dtype(0), _square(ctx, "det")[:-2])],
    lambda params, a: np.linalg.det(a),
    Library("det"),
    _det_gradient,
    _det_forward,
)


def _slogdet_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    g = cotangents[1]
    return [None if g is None else _as_column(g) * _log_slope(node.inputs[0])]


def _slogdet_forward(node: Apply, tangents: Cotangents) -> Gradients:
    (t,) = tangents
    return [None, None if t is None else _matrix_sum(_log_slope(node.inputs[0]) * t)]


# slogdet(a): the sign of the determinant, and the logarithm of its size.
slogdet = Op(
    "slogdet",
    lambda ctx: [(ctx.dtype(0), _square(ctx, "slogdet")[:-2])] * 2,
    lambda params, a: tuple(np.linalg.slogdet(a)),
    Library("slogdet"),
    _slogdet_gradient,
    _slogdet_forward,
)


# eigh(a; lower): ascending eigenvalues and eigenvectors (columns) of the symmetric matrix of one triangle.


def _eigh_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    shape = _square(ctx, "eigh")
    return [(ctx.dtype(0), shape[:-1]), (ctx.dtype(0), shape)]


def inverse_gaps(w: Variable, like: Variable) -> Variable:
    """1 / (w_j - w_i), zero on the diagonal; eigenvalues must be distinct."""
    rows, columns = _indices(like)
    axes = range(w.ndim)
    gaps = dimshuffle(w, order=(*axes[:-1], "x", w.ndim - 1)) - dimshuffle(w, order=(*axes, "x"))
    same = elementwise.eq(rows, columns)
    return where(same, 0, 1 / where(same, 1, gaps))


def _eigh_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    gw, gv = cotangents
    w, v = node.outputs
    inner: Variable | None = None
    if gv is not None:
        inner = inverse_gaps(w, v) * contract(swap(v), gv)
    if gw is not None:
        # diag(gw) vᵀ without the diagonal matrix: scale the columns of v.
        scaled = contract(v * dimshuffle(gw, order=(*range(gw.ndim - 1), "x", gw.ndim - 1)), swap(v))
    if inner is None:
        return [None if gw is None else _to_triangle(scaled, node.params["lower"])]
    whole = contract(contract(v, inner), swap(v))
    return [_to_triangle(whole if gw is None else whole + scaled, node.params["lower"])]


def _eigh_forward(node: Apply, tangents: Cotangents) -> Gradients:
    (t,) = tangents
    if t is None:
        return [None, None]
    w, v = node.outputs
    inner = contract(contract(swap(v), _from_triangle(t, node.params["lower"])), v)
    diagonal = reduction.sum(diagonal_part(inner), axes=(inner.ndim - 1,), keepdims=False)
    return [diagonal, contract(v, inverse_gaps(w, v) * inner)]


def _eigh_reference(params: Params, a: np.ndarray) -> Any:
    require_finite(np.tril(a) if params["lower"] else np.triu(a))
    return tuple(np.linalg.eigh(a, "L" if params["lower"] else "U"))


eigh = Op(
    "eigh",
    _eigh_infer,
    _eigh_reference,
    Library("eigh", lambda params: (int(params["lower"]),)),
    _eigh_gradient,
    _eigh_forward,
)


# qr(a; complete): q with orthonormal columns, r upper triangular; complete: q is square.


def _qr_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    require_float(ctx.inputs[0], "qr")
    shape = ctx.shape(0)
    inner = shape[-2] if ctx.params["complete"] else dims.minimum(shape[-2], shape[-1])
    dtype = ctx.dtype(0)
    return [(dtype, (*shape[:-1], inner)), (dtype, (*shape[:-2], inner, shape[-1]))]


def _qr_reference(params: Params, a: np.ndarray) -> Any:
    return tuple(np.linalg.qr(a, "complete" if params["complete"] else "reduced"))


def _require_tall(node: Apply) -> None:
    """Derivatives hold for a reduced factorization of a matrix at least as tall as wide."""
    a = node.inputs[0]
    rows, columns = a.type.shape[-2:]
    wide = rows is not None and columns is not None and rows < columns
    if wide or (node.params["complete"] and (rows is None or rows != columns)):
        raise GradientNotDefinedError(
            f"qr of '{source_name(a)}' ({a.type}): the derivative is defined for mode 'reduced' "
            "and at least as many rows as columns"
        )


def _over_r(x: Variable, r: Variable, transpose: bool) -> Variable:
    """x r⁻¹, or x r⁻ᵀ."""
    return swap(solve_triangular(r, swap(x), lower=False, transpose=not transpose, unit_diagonal=False))


def _qr_gradient(node: Apply, cotangents: Cotangents) -> Gradients:
    gq, gr = cotangents
    q, r = node.outputs
    if gq is None and gr is None:
        return [None]
    _require_tall(node)
    parts = []
    if gr is not None:
        parts.append(contract(r, swap(_upper(gr))))
    if gq is not None:
        parts.append(-contract(swap(gq), q))
    m = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    right = contract(q, _lower(m) + swap(_lower(m, strict=True)))
    return [_over_r(right if gq is None else gq + right, r, transpose=True)]


def _qr_forward(node: Apply, tangents: Cotangents) -> Gradients:
    (t,) = tangents
    if t is None:
        return [None, None]
    _require_tall(node)
    q, r = node.outputs
    scaled = _over_r(t, r, transpose=False)
    c = contract(swap(q), scaled)
    below = _lower(c, strict=True)
    triangular = c - (below - swap(below))
    return [scaled - contract(q, triangular), contract(triangular, r)]


qr = Op(
    "qr",
    _qr_infer,
    _qr_reference,
    Library("qr", lambda params: (int(params["complete"]),)),
    _qr_gradient,
    _qr_forward,
)
