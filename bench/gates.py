"""Systems have the gates of a cell in an order of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def reorder(weights: Any, order: Sequence[int]) -> Any:
    """Blocks of columns of the last axis, one per gate: in place i the one that was in place order[i]."""
    blocks = np.split(weights, len(order), axis=-1)
    return np.concatenate([blocks[i] for i in order], axis=-1)


def inverse(order: Sequence[int]) -> list[int]:
    return [list(order).index(i) for i in range(len(order))]
