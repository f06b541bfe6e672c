"""NumPy meanings of the special functions that NumPy lacks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# Bernoulli numbers B2, B4, … of the asymptotic series of psi (DLMF 5.11.2) and its derivative (DLMF 5.15.8).
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
# From here on the series is accurate to 1e-16.
LARGE = 10.0


def _vectorised(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    def applied(x: np.ndarray) -> np.ndarray:
        flat = [function(float(v)) for v in x.ravel()]
        return np.array(flat, np.float64).reshape(x.shape).astype(x.dtype)

    return applied


def _gamma(x: float) -> float:
    """C's tgamma: infinite at ±0 and on overflow, NaN at the other poles."""
    if x == 0:
        return math.copysign(math.inf, x)
    try:
        return math.gamma(x)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _gammaln(x: float) -> float:
    """log |Γ(x)|: infinite at the poles, and -∞ at -∞ as SciPy."""
    if x == -math.inf:
        return x
    try:
        return math.lgamma(x)
    except (OverflowError, ValueError):
        return math.inf


def _psi(x: float) -> float:
    """Γ'/Γ: infinite at ±0, NaN at the other poles."""
    if math.isnan(x) or x == math.inf:
        return x
    if x == 0:
        return -math.copysign(math.inf, x)
    if x == -math.inf or (x <= 0 and x == math.floor(x)):
        return math.nan
    result = 0.0
    if x < 0:
        # Reflection (DLMF 5.5.4), on the fractional part, where tan(πx) is accurate.
        result -= math.pi / math.tan(math.pi * (x - math.floor(x)))
        x = 1 - x
    while x < LARGE:
        result -= 1 / x
        x += 1
    square = 1 / (x * x)
    series = 0.0
    for k, b in reversed(list(enumerate(BERNOULLI, 1))):
        series = square * (b / (2 * k) + series)
    return result + math.log(x) - 0.5 / x - series


def _tri_gamma(x: float) -> float:
    """The derivative of psi: infinite at the poles."""
    if math.isnan(x):
        return x
    if math.isinf(x):
        return 0.0 if x > 0 else math.inf
    if x <= 0 and x == math.floor(x):
        return math.inf
    if x < 0:
        return (math.pi / math.sin(math.pi * (x - math.floor(x)))) ** 2 - _tri_gamma(1 - x)
    result = 0.0
    while x < LARGE:
        result += 1 / (x * x)
        x += 1
    square = 1 / (x * x)
    series = 0.0
    for b in reversed(BERNOULLI):
        series = square * (b + series)
    return result + 1 / x + 0.5 * square + series / x


erf = _vectorised(math.erf)
erfc = _vectorised(math.erfc)
gamma = _vectorised(_gamma)
gammaln = _vectorised(_gammaln)
psi = _vectorised(_psi)
tri_gamma = _vectorised(_tri_gamma)
