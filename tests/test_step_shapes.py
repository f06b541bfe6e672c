"""Steps whose results have lengths known only when they run: compiled and interpreted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserValueError
from scanlib.graph import Variable
from scanlib.ifelse import ifelse


@pytest.mark.parametrize("length", [1, 2, 20])
def test_a_state_of_a_length_that_an_input_tells(length: int, mode: str) -> None:
    h0, k, n = T.vector("h0"), T.lscalar("k"), T.lscalar("n")
    halves: list[Callable[[Variable], Variable]] = [
        lambda h: T.zeros((k,)) + h / 2,
        lambda h: T.concatenate([h, h])[:k] / 2,
        lambda h: T.inc_subtensor(T.concatenate([h, h])[:k][:], -h / 2),
    ]
    for half in halves:
        trace, _ = scanlib.scan(half, outputs_info=h0, n_steps=n)
        f = scanlib.function([h0, k, n], trace, mode=mode)
        assert f(np.full(length, 8.0), length, 2).tolist() == [[4.0] * length, [2.0] * length]
        assert f(np.ones(length), length, 0).shape == (0, length)
        with pytest.raises(UserValueError):
            f(np.ones(length + 1), length + 3, 1)


def test_choices_of_choices_have_the_lengths_of_what_they_are_made_of(mode: str) -> None:
    """An arm's own lengths are known in it alone: what is stacked has those that inputs tell."""
    u, v, c = T.matrix("u"), T.matrix("v"), T.vector("c")

    def mix(r: Variable, x: Variable) -> Variable:
        rows, _ = scanlib.scan(
            lambda a, total: total + a, sequences=r, outputs_info=T.zeros_like((r + x)[:1].sum(0))
        )
        return r + rows[-1:].sum(0)

    def choose(r: Variable, x: Variable) -> Variable:
        return ifelse(T.gt(x.sum(), 0.5), r + x, r * x + x * x)

    def step(u: Variable, v: Variable) -> Variable:
        return choose(mix(choose(mix(c, u), v), u), v)

    trace, _ = scanlib.scan(step, [u, v])
    f = scanlib.function([u, v, c], [trace.sum(0), trace], mode=mode)
    wide = np.ones((3, 18))
    for shift in (0, -1):
        expected = c0 = np.ones(18)
        for _ in range(2):
            expected = expected + expected.sum()
            x = 1.0 + shift
            expected = expected + x if x > 0 else expected * x + x * x
        total, whole = f(wide, wide + shift, c0)
        np.testing.assert_allclose(total, 3 * expected)
        np.testing.assert_allclose(whole, np.broadcast_to(expected, (3, 18)))
