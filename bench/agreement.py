"""Whether results are right: they agree with each other, and gradients with finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .workload import Arrays, Slope

# Steps of the differences, relative to the norm of what is varied.
STEP = 1e-5


def agree(result: Sequence[np.ndarray], reference: Sequence[np.ndarray], rtol: float) -> bool:
    if len(result) != len(reference):
        return False
    return all(_close(a, b, rtol) for a, b in zip(result, reference, strict=True))


def _close(a: np.ndarray, b: np.ndarray, rtol: float) -> bool:
    largest = float(np.max(np.abs(b), initial=0))
    return a.size == b.size and np.allclose(a.reshape(b.shape), b, rtol=rtol, atol=rtol * largest)


def slopes_hold(slope: Slope, inputs: Arrays, result: Sequence[np.ndarray]) -> bool:
    """Whether the value rises along each gradient as fast as its length says, by central differences.

    Along a wrong direction it rises more slowly than along the gradient, and so one direction is enough.
    """
    exact = tuple(np.asarray(x, np.float64) if _real(x) else x for x in inputs)
    value, *gradients = result
    if len(gradients) != len(slope.wrt) or not _close(np.asarray(slope.value(*exact)), value, slope.rtol):
        return False
    return all(
        np.isfinite(g).all()
        and abs(_difference(slope, exact, i, _direction(g)) - np.linalg.norm(g))
        <= slope.rtol * np.linalg.norm(g)
        for i, g in zip(slope.wrt, gradients, strict=True)
    )


def _direction(gradient: np.ndarray) -> np.ndarray:
    return np.asarray(gradient, np.float64) / np.linalg.norm(gradient)


def _difference(slope: Slope, inputs: Arrays, index: int, direction: np.ndarray) -> float:
    """Of central differences over one and over two steps, so combined that their errors of second order cancel."""
    step = STEP * (float(np.linalg.norm(inputs[index])) or 1.0)

    def moved(by: float) -> float:
        return float(slope.value(*inputs[:index], inputs[index] + by * direction, *inputs[index + 1 :]))

    near, far = moved(step) - moved(-step), moved(2 * step) - moved(-2 * step)
    return (8 * near - far) / (12 * step)


def _real(x: Any) -> bool:
    return isinstance(x, float) or (isinstance(x, np.ndarray) and x.dtype.kind == "f")
