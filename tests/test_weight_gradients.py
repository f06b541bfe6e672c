"""Sums of products over steps, as gradients of weights are: right, and the same bits for every number of threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scanlib.config import threads

_core = pytest.importorskip("scanlib._core")

SHAPES = [
    (1, 40, 32, 40),
    (3, 33, 40, 70),
    (5, 64, 32, 256),
    (2, 300, 300, 130),
    (7, 48, 17, 33),
    (70, 64, 1, 40),
    (600, 40, 1, 33),
]  # items, rows, inner, columns


@pytest.mark.parametrize("shape, dtype", list(itertools.product(SHAPES, ["float32", "float64"])))
@pytest.mark.parametrize("backwards", [False, True])
def test_sums_of_products(shape: tuple[int, int, int, int], dtype: str, backwards: bool) -> None:
    items, rows, inner, columns = shape
    rng = np.random.default_rng(rows)
    left = rng.normal(size=(items, inner, rows)).astype(dtype)
    a = np.swapaxes(left[::-1] if backwards else left, 1, 2)
    b = rng.normal(size=(items, inner, columns)).astype(dtype)
    start = rng.normal(size=(rows, columns)).astype(dtype)
    made = []
    for count in (1, 2, 3):
        total = start.copy()
        # One result for all items: a dim of stride 0.
        out = np.lib.stride_tricks.as_strided(total, (items, rows, columns), (0, *total.strides))
        with threads(count):
            assert _core.run_library("matmul", [a, b], [out], [1]) == "ok"
        made.append(total)
    wanted = start + np.einsum("imk,ikn->mn", a.astype("float64"), b.astype("float64"))
    np.testing.assert_allclose(
        made[0], wanted, rtol=0, atol=np.finfo(dtype).eps * 40 * np.sqrt(items * inner)
    )
    for other in made[1:]:
        np.testing.assert_array_equal(made[0], other)
