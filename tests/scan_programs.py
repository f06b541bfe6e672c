"""Scans that several tests differentiate."""

from __future__ import annotations

from typing import Any

import numpy as np

import scanlib
import scanlib.tensor as T
from scanlib.verify import verify_grad

MODE = "reference"
until = scanlib.scan_module.until
rng = np.random.default_rng(7)


def draw(*shape: int) -> np.ndarray:
    return np.asarray(rng.normal(size=shape) * 0.7)


def check(fun: Any, *points: Any, **options: Any) -> None:
    verify_grad(fun, [np.asarray(p) for p in points], mode=MODE, **{"n_tests": 1, **options})


def one_tap(x: Any, u: Any, **options: Any) -> Any:
    return scanlib.scan(lambda u, x: T.tanh(x * 0.9 + u * x), sequences=u, outputs_info=x, **options)[0]


def two_taps(x: Any, u: Any, w: Any, **options: Any) -> Any:
    info = dict(initial=x, taps=[-2, -1])
    return scanlib.scan(
        lambda u, a, b, w: T.tanh(a * 0.9 + u * w - 0.3 * b * b),
        sequences=u, outputs_info=info, non_sequences=w, **options,
    )[0]  # fmt: skip


def several(x: Any, y: Any, u: Any, w: Any, stop: float | None = None, **options: Any) -> Any:
    """A two-tap state with a gap, a one-tap state, a mapped output."""

    def step(u: Any, x1: Any, x3: Any, y: Any, w: Any) -> Any:
        made = (T.tanh(x1 * u + y * x3), T.sin(y * w) + x1, x1 * y * w)
        return made if stop is None else (made, until(T.gt(u, stop)))

    info = [dict(initial=x, taps=[-1, -3]), y, None]
    return scanlib.scan(step, sequences=u, outputs_info=info, non_sequences=w, **options)[0]
