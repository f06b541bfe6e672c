"""The inverses of the error functions, as a start that is nearly right and Newton's steps."""

from __future__ import annotations

import math
from typing import Any

from ..graph import Variable
from ..ops.gradient import disconnected_grad
from .math import _as_float, abs, eq, erf, erfc, exp, gt, log, lt, minimum, sgn, sqrt, switch

# The last two steps make the first and second derivatives right: a step forgets the slope of where it starts.
_STEPS = 3


def erfinv(x: Any) -> Variable:
    """y with erf(y) = x, elementwise; ±∞ at ±1, NaN outside."""
    x = _as_float(x)
    size = abs(x)
    return sgn(x) * _inverse(size, 1 - size)


def erfcinv(x: Any) -> Variable:
    """y with erfc(y) = x, elementwise, accurate for small x; ±∞ at 0 and 2, NaN outside of [0, 2]."""
    x = _as_float(x)
    rest = minimum(x, 2 - x)
    return sgn(1 - x) * _inverse(1 - rest, rest)


def _inverse(x: Variable, rest: Variable) -> Variable:
    """y >= 0 with erf(y) = x and erfc(y) = rest, x + rest = 1, of which one is known more closely."""
    y = disconnected_grad(_start(rest))
    for k in range(_STEPS):
        y = _closer(y, x, rest)
        if k + 2 < _STEPS:
            y = disconnected_grad(y)
    return switch(eq(rest, 0), math.inf, y)


def _start(rest: Variable) -> Variable:
    """S. Winitzki, "A handy approximation for the error function and its inverse" (2008), solved for y."""
    a = 0.147
    size = log(rest * (2 - rest))
    half = 2 / (math.pi * a) + size / 2
    return sqrt(sqrt(half * half - size / a) - half)


def _closer(y: Variable, x: Variable, rest: Variable) -> Variable:
    """A step for erf(y) - x, or for log erfc(y) - log(rest), which is nearly straight, where rest is small."""
    tail = erfc(y)
    small = lt(x, 0.5)
    # The form that is not taken must not spoil the gradient of the other one.
    ratio = switch(small, 1, tail / switch(gt(rest, 0), rest, 1))
    missing = switch(small, x - erf(y), log(ratio) * tail)
    return y + missing * (math.sqrt(math.pi) / 2) * exp(y * y)


__all__ = ["erfcinv", "erfinv"]
