"""Rows of random draws: each takes a state and gives the next state and a sample.

mt_*      the stream of numpy.random.RandomState; state uint32[628]: 624 words of MT19937, position,
          has_gauss, and the two words of the cached gaussian
philox_*  the counter-based Philox4x32-10; state uint64[4]: key, counter, stream, unused (see philox.py)

Inputs: state, parameters, then the dimensions of the sample, one int64 scalar each.  params: its dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import philox
from ..dims import Shape
from ..errors import UserTypeError
from ..lowered import Int
from .base import Inference, Library, Lowering, Op
from .shape import no_flow, no_tangent

STATE_TYPES = {"mt": ("uint32", (628,)), "philox": ("uint64", (4,))}
Draw = Callable[..., Any]


def _check_state(ctx: Inference, name: str) -> tuple[str, Shape]:
    dtype, shape = STATE_TYPES[name.split("_")[0]]
    if ctx.dtype(0) != dtype or ctx.ndim(0) != 1:
        raise UserTypeError(
            f"{name}: '{ctx.name(0)}' is {ctx.inputs[0].type}, expected a state of type {dtype}{shape}"
        )
    return dtype, shape


def _size(ctx: Inference, name: str, first: int) -> Shape:
    """The dimensions that stand from input `first` on."""
    size = tuple(ctx.value(i) for i in range(first, len(ctx.inputs)))
    for d in size:
        ctx.require("ge", d, 0, f"{name}: a dimension of the sample cannot be {{0}}")
    return size


def _fit(ctx: Inference, name: str, i: int, size: Shape) -> None:
    """User error unless parameter `i` broadcasts to the sample."""
    shape = ctx.shape(i)
    if len(shape) > len(size):
        raise UserTypeError(
            f"{name}: parameter '{ctx.name(i)}' has {len(shape)} dimensions, the sample {len(size)}; give "
            "a larger size"
        )
    message = f"{name}: parameter '{ctx.name(i)}' does not broadcast to the sample: {{0}} against {{1}}"
    for d, target in zip(reversed(shape), reversed(size)):
        if d != 1:
            ctx.require_broadcast(d, target, lambda: message)
            if target == 1:
                ctx.require("eq", d, target, message)


def _numpy_state(state: np.ndarray) -> np.random.RandomState:
    stream = np.random.RandomState(0)
    gauss = float(state[626:628].copy().view(np.float64)[0])
    stream.set_state(("MT19937", state[:624], int(state[624]), int(state[625]), gauss))
    return stream


def pack_state(stream: np.random.RandomState) -> np.ndarray:
    """The state of a RandomState as uint32[628]."""
    _, words, position, has_gauss, gauss = stream.get_state(legacy=True)
    state = np.empty(628, np.uint32)
    state[:624] = words
    state[624], state[625] = position, has_gauss
    state[626:628] = np.array([gauss]).view(np.uint32)
    return state


unpack_state = _numpy_state


def _mt_reference(parameters: int, draw: Draw) -> Callable[..., Any]:
    def reference(params: Any, state: Any, *rest: Any) -> Any:
        stream = _numpy_state(state)
        size = tuple(int(d) for d in rest[parameters:])
        sample = draw(stream, *rest[:parameters], size, params)
        return pack_state(stream), np.asarray(sample).astype(params["dtype"])

    return reference


def _philox_reference(parameters: int, draw: Draw) -> Callable[..., Any]:
    def reference(params: Any, state: Any, *rest: Any) -> Any:
        size = tuple(int(d) for d in rest[parameters:])
        return draw(state, *rest[:parameters], size, params["dtype"])

    return reference


def _row(name: str, parameters: int, draw: Draw) -> Op:
    """A row whose parameters all broadcast to the sample."""

    def infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
        state, size = _check_state(ctx, name), _size(ctx, name, 1 + parameters)
        for i in range(1, 1 + parameters):
            _fit(ctx, name, i, size)
        return [state, (ctx.params["dtype"], size)]

    def operands(ctx: Lowering) -> Sequence[tuple[int, tuple[Int, ...] | None]]:
        return [(0, None), *((i, ctx.output_shape(1)) for i in range(1, 1 + parameters))]

    make = _philox_reference if name.startswith("philox") else _mt_reference
    return Op(
        name,
        infer,
        make(parameters, draw),
        Library(name, operands=operands, batches=False),
        no_flow,
        no_tangent,
    )


mt_uniform = _row("mt_uniform", 2, lambda s, low, high, size, _: s.uniform(low, high, size))
mt_normal = _row("mt_normal", 2, lambda s, mean, std, size, _: s.normal(mean, std, size))
mt_binomial = _row("mt_binomial", 2, lambda s, n, p, size, _: s.binomial(n, p, size))
mt_poisson = _row("mt_poisson", 1, lambda s, lam, size, _: s.poisson(lam, size))
mt_exponential = _row("mt_exponential", 1, lambda s, scale, size, _: s.exponential(scale, size))
mt_gamma = _row("mt_gamma", 2, lambda s, shape, scale, size, _: s.gamma(shape, scale, size))
mt_beta = _row("mt_beta", 2, lambda s, a, b, size, _: s.beta(a, b, size))
mt_random_integers = _row(
    "mt_random_integers",
    2,
    lambda s, low, high, size, _: s.randint(low, np.asarray(high) + 1, size, dtype=np.int64),
)
philox_uniform = _row("philox_uniform", 2, philox.uniform)
philox_normal = _row("philox_normal", 2, philox.normal)
philox_binomial = _row("philox_binomial", 2, philox.binomial)
philox_random_integers = _row("philox_random_integers", 2, philox.random_integers)


# mt_multinomial(state, n, pvals[…, k], size…): sample[size…, k].


def _multinomial_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    state, size = _check_state(ctx, "mt_multinomial"), _size(ctx, "mt_multinomial", 3)
    if ctx.ndim(2) == 0:
        raise UserTypeError(
            f"multinomial: pvals '{ctx.name(2)}' is a scalar, expected probabilities along an axis"
        )
    _fit(ctx, "mt_multinomial", 1, size)
    shape = (*size, ctx.shape(2)[-1])
    _fit(ctx, "mt_multinomial", 2, shape)
    return [state, (ctx.params["dtype"], shape)]


def _multinomial_draw(s: Any, n: Any, pvals: Any, size: tuple[int, ...], _: Any) -> Any:
    kinds = pvals.shape[-1]
    counts = np.broadcast_to(n, size).reshape(-1)
    rows = np.broadcast_to(pvals, (*size, kinds)).reshape(-1, kinds).astype(np.float64)
    drawn = [s.multinomial(int(count), row) for count, row in zip(counts, rows)]
    return np.array(drawn, np.int64).reshape(*size, kinds)


def _multinomial_operands(ctx: Lowering) -> Sequence[tuple[int, tuple[Int, ...] | None]]:
    shape = ctx.output_shape(1)
    return [(0, None), (1, shape[:-1]), (2, shape)]


mt_multinomial = Op(
    "mt_multinomial",
    _multinomial_infer,
    _mt_reference(2, _multinomial_draw),
    Library("mt_multinomial", operands=_multinomial_operands, batches=False),
    no_flow,
    no_tangent,
)


# mt_permutation(state, size…, n): every row of sample[size…, n] is a permutation of 0 … n-1.


def _permutation_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    return [_check_state(ctx, "mt_permutation"), (ctx.params["dtype"], _size(ctx, "mt_permutation", 1))]


def _permutation_draw(s: Any, size: tuple[int, ...], _: Any) -> Any:
    *rows, n = size
    drawn = [s.permutation(n) for _ in range(int(np.prod(rows, dtype=int)))]
    return np.array(drawn, np.int64).reshape(size)


mt_permutation = Op(
    "mt_permutation",
    _permutation_infer,
    _mt_reference(0, _permutation_draw),
    Library("mt_permutation", operands=lambda ctx: [(0, None)], batches=False),
    no_flow,
    no_tangent,
)


# mt_shuffle_rows(state, x): x with the elements of every row (last axis) in random order.


def _shuffle_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    if ctx.ndim(1) == 0:
        raise UserTypeError(f"shuffle_row_elements: '{ctx.name(1)}' is a scalar, expected rows to shuffle")
    return [_check_state(ctx, "mt_shuffle_rows"), (ctx.dtype(1), ctx.shape(1))]


def _shuffle_reference(params: Any, state: Any, x: Any) -> Any:
    stream = _numpy_state(state)
    rows = x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, 0)
    drawn = [row[stream.permutation(len(row))] for row in rows]
    return pack_state(stream), np.array(drawn, x.dtype).reshape(x.shape)


mt_shuffle_rows = Op(
    "mt_shuffle_rows",
    _shuffle_infer,
    _shuffle_reference,
    Library("mt_shuffle_rows", batches=False),
    no_flow,
    no_tangent,
)


# mt_choice(state, n, size…) and mt_choice_p(state, weights[n], size…): indices in 0 … n-1; params replace.


def _choice(name: str, ndim: int, draw: Draw) -> Op:
    def infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
        if ctx.ndim(1) != ndim:
            what = "the probabilities must be a vector" if ndim else "`a` must be an integer scalar"
            raise UserTypeError(f"choice: '{ctx.name(1)}' is {ctx.inputs[1].type}; {what}")
        return [_check_state(ctx, name), (ctx.params["dtype"], _size(ctx, name, 2))]

    lower = Library(
        name, lambda params: (int(params["replace"]),), lambda ctx: [(0, None), (1, None)], batches=False
    )
    return Op(name, infer, _mt_reference(1, draw), lower, no_flow, no_tangent)


mt_choice = _choice("mt_choice", 0, lambda s, n, size, params: s.choice(int(n), size, params["replace"]))
mt_choice_p = _choice(
    "mt_choice_p",
    1,
    lambda s, p, size, params: s.choice(len(p), size, params["replace"], p.astype(np.float64)),
)
