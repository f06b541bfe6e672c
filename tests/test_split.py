"""Loops over axes that are made of parts: one loop per part where the order of the cuts is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib import lowered
from scanlib.lower.split import split_loop
from scanlib.statements import For, Store

pytest.importorskip("scanlib._core")


def pads(z: Any, cuts: list[int], axis: int) -> Any:
    """The gradient of a sum of functions of slices of z, which is a sum of arrays padded with zeros."""
    ends = list(zip([0, *cuts], [*cuts, None]))
    parts = [z[(slice(None),) * axis + (slice(a, b),)] for a, b in ends]
    cost = sum((T.tanh(p) * (k + 2) + p**2).sum() for k, p in enumerate(parts))
    return scanlib.grad(cost, z)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 45), max_size=4),
    st.integers(0, 1),
    st.sampled_from([(40, 3), (3, 40), (5, 5), (20, 20)]),
)
def test_sums_of_pads(cuts: list[int], axis: int, shape: tuple[int, int]) -> None:
    z = T.dmatrix("z")
    made = pads(z, cuts, axis)
    value = np.random.default_rng(len(cuts)).normal(size=shape)
    got, wanted = (scanlib.function([z], made, mode=mode)(value) for mode in ("native", "reference"))
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("n", [20, 24])
def test_gates_cut_at_multiples(n: int) -> None:
    z, c = T.dmatrix("z"), T.dmatrix("c")
    k = c.shape[1]
    cost = (T.tanh(z[:, :k]) * c + z[:, k : 2 * k] ** 2 * T.exp(z[:, 2 * k :])).sum()
    rng = np.random.default_rng(n)
    arrays = rng.normal(size=(5, 3 * n)), rng.normal(size=(5, n))
    made = scanlib.grad(cost, [z, c])
    got, wanted = (scanlib.function([z, c], made, mode=mode)(*arrays) for mode in ("native", "reference"))
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-13)


N = lowered.dim(911, 17)
INDEX = lowered.index("i0")


def chosen(*conditions: Any) -> list[Store]:
    value = lowered.constant(0.0, "float64")
    for k, c in enumerate(conditions):
        value = lowered.where(c, lowered.constant(k + 1.0, "float64"), value)
    return [Store(0, INDEX, value)]


def test_parts_are_those_of_the_conditions() -> None:
    body = chosen(
        lowered.compare("ge", lowered.sub(INDEX, N), 0),
        lowered.compare("lt", lowered.sub(INDEX, lowered.mul(N, 2)), 0),
    )
    made = split_loop(For("i0", 0, lowered.mul(N, 3), body))
    assert [(p.start, p.stop) for p in made] == [
        (0, N),
        (N, lowered.mul(N, 2)),
        (lowered.mul(N, 2), lowered.mul(N, 3)),
    ]
    values = [s.value.value for p in made for s in p.body if isinstance(s, Store)]
    assert values == [2.0, 2.0, 1.0]


def test_what_cannot_be_told_stays() -> None:
    other = lowered.dim(912, 0)
    loop = For("i0", 0, N, chosen(lowered.compare("lt", INDEX, other)))
    assert split_loop(loop) == [loop]
    assert len(split_loop(For("i0", 0, N, chosen(lowered.compare("gt", INDEX, 3))))) == 2
