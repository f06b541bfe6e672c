"""sort and argsort against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserValueError
from scanlib.graph import DTYPES, TensorType, Variable
from scanlib.ops.base import TABLE

SHAPES = [(0,), (1,), (7,), (60,), (3, 5), (30, 2), (2, 3, 4), (2, 0)]


def variable(a: np.ndarray) -> Variable:
    return Variable(TensorType(a.dtype.name, (None,) * a.ndim))


def values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "bool":
        return rng.random(shape) < 0.5
    a = rng.integers(0 if dtype.startswith("u") else -3, 4, shape).astype(dtype)
    if dtype.startswith("float") and a.size:
        a.flat[rng.integers(a.size)] = np.nan
    return a


@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_every_dtype_shape_and_axis(name: str, mode: str) -> None:
    rng, function, meaning = np.random.default_rng(1), getattr(T, name), getattr(np, name)
    arrays = [(values(rng, d, (9,)), -1) for d in DTYPES]
    arrays += [(values(rng, "float64", s), axis) for s in SHAPES for axis in [None, *range(-len(s), len(s))]]
    inputs = [variable(a) for a, _ in arrays]
    outputs = [function(x, axis) for x, (_, axis) in zip(inputs, arrays, strict=True)]
    results = scanlib.function(inputs, outputs, mode=mode)(*[a for a, _ in arrays])
    for got, (a, axis) in zip(results, arrays, strict=True):
        wanted = meaning(a, axis=axis, kind="stable")
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        np.testing.assert_array_equal(got, wanted, f"{a.dtype}{a.shape}, axis {axis}")


def test_permute_last(mode: str) -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(4, 20))
    order = np.argsort(rng.normal(size=(4, 20)), -1)
    x, i = T.dmatrix(), T.lmatrix()
    f = scanlib.function([x, i], TABLE["permute_last"](x, i), mode=mode)
    np.testing.assert_array_equal(f(a, order), np.take_along_axis(a, order, -1))


def test_bad_axis_names_the_variable() -> None:
    with pytest.raises(UserValueError, match=r"'x'"):
        T.sort(T.vector("x"), axis=1)
    with pytest.raises(UserValueError, match=r"'x'"):
        T.argsort(T.scalar("x"))
