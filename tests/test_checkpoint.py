"""Checkpointed gradients of scans: the same values, from fewer states held."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scan_programs import MODE, check, draw, one_tap, several

import scanlib
import scanlib.tensor as T
from scanlib.gradient import grad
from scanlib.ops.scan_op import spec_of


@pytest.mark.parametrize("every", [1, 2, 3, 7, 9, "auto"])
@pytest.mark.parametrize("stop", [None, 5.0])
def test_checkpoints_change_nothing(every: Any, stop: float | None) -> None:
    x, y, u, w = T.dvector("x"), T.dscalar("y"), T.dvector("u"), T.dscalar("w")
    point = [draw(3), draw(), draw(7), draw()]
    if stop is not None:
        point[2][4] = 6.0
    results = []
    for checkpoint in (None, every):
        a, b, c = several(x, y, u, w, stop=stop, checkpoint=checkpoint)
        for cost in (a[-1] + b.sum() + c.sum(), b[-1], a[-2:].sum() + c[-1]):
            results.append(scanlib.function([x, y, u, w], grad(cost, [x, y, u, w]), mode=MODE)(*point))
    for plain, cut in zip(results[:3], results[3:]):
        for p, q in zip(plain, cut):
            np.testing.assert_allclose(q, p, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("steps", "budget"), [(40, 8 * 6), (40, 8 * 9), (40, 8 * 20), (40, 8 * 80), (3, 8), (0, 8)]
)
def test_checkpoints_within_a_budget(steps: int, budget: int) -> None:
    x, u = T.dscalar("x"), T.dvector("u")
    plain = grad(one_tap(x, u).sum(), [x, u])
    cut = grad(one_tap(x, u, checkpoint="auto", memory_budget=budget).sum(), [x, u])
    f = scanlib.function([x, u], [*plain, *cut], mode=MODE)
    px, pu, cx, cu = f(0.4, draw(steps))
    np.testing.assert_allclose(cx, px, rtol=1e-12)
    np.testing.assert_allclose(cu, pu, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 999, 10**6])
def test_segments_fit_the_budget(steps: int) -> None:
    from scanlib.ops.scan_op import operands_of
    from scanlib.scan_gradient.checkpoint import segment_lengths

    x, n = T.dvector("x"), T.lscalar("n")
    made = scanlib.scan(
        lambda x: T.tanh(x), outputs_info=x, n_steps=n, checkpoint="auto", memory_budget=8 * 100 * 200
    )[0]
    node = made.owner
    lengths = segment_lengths(spec_of(node), operands_of(node))
    found = [int(v) for v in scanlib.function([x, n], lengths, mode=MODE)(np.zeros(100), steps)]
    assert all(a % b == 0 or a > steps for a, b in pairwise(found))
    # Steps of the shortest segments, and the segments held at each level.
    used = [length for length in found if length <= steps]
    edges = [steps, *used]
    held = sum(-(-a // b) for a, b in pairwise(edges)) + edges[-1]
    assert held <= 205


def test_second_derivatives_through_checkpoints() -> None:
    check(lambda x, u: one_tap(x, u, checkpoint=2)[-1], draw(), draw(5), order=2)


def test_scan_checkpoints_of_theano() -> None:
    x, u = T.dscalar("x"), T.dvector("u")

    def step(u: Any, x: Any) -> Any:
        return T.tanh(x * 0.9 + u * x)

    every, _ = scanlib.scan_checkpoints(step, sequences=[u], outputs_info=[x], save_every_N=3)
    plain = one_tap(x, u)[2::3]
    f = scanlib.function([x, u], [*grad(every.sum(), [x, u]), *grad(plain.sum(), [x, u])], mode=MODE)
    gx, gu, px, pu = f(0.4, draw(9))
    np.testing.assert_allclose(gx, px, rtol=1e-12)
    np.testing.assert_allclose(gu, pu, rtol=1e-12)


def test_checkpoints_of_integer_states_and_random_draws() -> None:
    from scanlib.tensor.shared_randomstreams import RandomStreams

    x = T.dscalar("x")
    results = []
    for checkpoint in (None, 2):
        stream = RandomStreams(3)

        def step(i: Any, h: Any, stream: Any = stream) -> Any:
            return i + 1, T.tanh(h * i * stream.uniform())

        (_, h), updates = scanlib.scan(
            step, outputs_info=[T.constant(1), x], n_steps=5, checkpoint=checkpoint
        )
        f = scanlib.function([x], grad(h.sum() + h[-1], x), updates=updates, mode=MODE)
        results.append([f(0.7), f(0.7)])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)
    assert results[0][0] != results[0][1]
