"""The derivative of the trigamma function as a graph: rare enough to need no row of its own."""

from __future__ import annotations

import math

from ..graph import Variable
from .special import BERNOULLI, LARGE


def tetra_gamma(x: Variable) -> Variable:
    """ψ''(x): recurrence up to where the asymptotic series holds (DLMF 5.15.5, 5.15.8 with n = 2).

    For x < 0 by reflection, the derivative of DLMF 5.15.6.
    """
    from ..tensor import cos, lt, sin, switch

    negative = lt(x, 0)
    y = switch(negative, 1 - x, x)
    result = _series(y + LARGE)
    for k in range(int(LARGE)):
        result = result - 2 / (y + float(k)) ** 3
    angle = math.pi * x
    reflected = result - 2 * math.pi**3 * cos(angle) / sin(angle) ** 3
    made: Variable = switch(negative, reflected, result)
    return made


def _series(x: Variable) -> Variable:
    """-(1/x² + 1/x³ + Σ B(2k) (2k + 1) / x^(2k + 2))."""
    square = 1 / (x * x)
    total: Variable | float = 0.0
    for k, b in reversed(list(enumerate(BERNOULLI, 1))):
        total = square * (b * (2 * k + 1) + total)
    return -square * (1 + 1 / x + total)
