"""Lengths told as multiples of others, and the arithmetic of lengths that rests on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib import lowered
from scanlib.compile import runner
from scanlib.lengths import base_axes, multiple, signature, step_axes
from scanlib.lowered import Expr, Int

core = pytest.importorskip("scanlib._core")

SMALL = core.EXACT_DIM_LIMIT


def cut(z: Any, n: Any) -> Any:
    return T.tanh(z[:, :n]) * z[:, n : 2 * n] + z[:, 2 * n :]


def graph_of(inputs: list[Any], outputs: list[Any]) -> Any:
    from scanlib.passes import optimise

    return optimise(scanlib.function(inputs, outputs).program.graph)


def test_the_lengths_at_which_a_step_cuts_are_bases() -> None:
    x, W, c = T.dtensor3("x"), T.dmatrix("W"), T.dmatrix("c")
    h, _ = scanlib.scan(lambda u, s, V: cut(T.dot(u + s, V), V.shape[0]), x, c, [W])
    assert base_axes(graph_of([x, W, c], [h])) == [(1, 0)]
    assert base_axes(graph_of([x, W], [T.dot(x[0], W)[:, 3:]])) == []


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.sampled_from([5, SMALL, 17, 20]))
def test_arguments_and_shapes_tell_the_same(factors: list[int], unit: int) -> None:
    z, c, d = T.dmatrix("z"), T.dmatrix("c"), T.dvector("d")
    graph = graph_of([z, c, d], [cut(z, c.shape[1]).sum() + z[:, d.shape[0] :].sum()])
    shapes = [(factors[0] * unit, 3 * unit), (factors[1], unit), (factors[2] * unit + factors[3],)]
    run = runner(graph)
    run(*(np.zeros(s) for s in shapes))
    ((found, _),) = run.specialisations
    bases, lengths = base_axes(graph), step_axes(graph)
    assert bases == [(1, 1), (2, 0)]
    assert list(found) == signature(shapes, lengths, bases, SMALL)
    for told, shape in zip(found, shapes):
        for t, length in zip(told, shape):
            assert t == length or (t == -1 and length > SMALL) or t < -1
            if t < -1:
                base, factor = multiple(t)
                i, axis = bases[base]
                assert shapes[i][axis] * factor == length


@pytest.mark.parametrize("batch, n", [(3, 20), (20, 20), (20, 40), (7, 3)])
def test_a_cell_cut_at_multiples(batch: int, n: int) -> None:
    x, W, c = T.dtensor3("x"), T.dmatrix("W"), T.dmatrix("c")
    h, _ = scanlib.scan(lambda u, s, V: cut(T.dot(u + s, V), V.shape[0]), x, c, [W])
    outputs = [h[-1], *scanlib.grad((h**2).sum(), [x, W, c])]
    rng = np.random.default_rng(n)
    arrays = (rng.normal(size=(4, batch, n)), rng.normal(size=(n, 3 * n)) / n, rng.normal(size=(batch, n)))
    f = scanlib.function([x, W, c], outputs)
    wanted = scanlib.function([x, W, c], outputs, mode="reference")(*arrays)
    for a, b in zip(f(*arrays), wanted):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    explained = scanlib.explain(f, *arrays)
    assert [s.steps for s in explained.scans] == [4, 4]


DIMS = (lowered.dim(901, 0), lowered.dim(902, 17), lowered.dim(903, None))


def value(e: Int, dims: dict[Expr, int]) -> int:
    if isinstance(e, int):
        return e
    if e in dims:
        return dims[e]
    if e.op == "const":
        return int(e.value)
    a, *rest = (value(x, dims) for x in e.args)
    b = rest[0] if rest else 0
    rules = {
        "index_add": a + b,
        "index_sub": a - b,
        "index_mul": a * b,
        "maximum": max(a, b),
        "minimum": min(a, b),
    }
    tests = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}
    return int({**rules, **tests}[e.op])


@st.composite
def sums(draw: st.DrawFn) -> Int:
    made: Int = draw(st.integers(-20, 20))
    for _ in range(draw(st.integers(0, 3))):
        part = lowered.mul(draw(st.sampled_from(DIMS)), draw(st.integers(-3, 4)))
        made = draw(st.sampled_from([lowered.add, lowered.sub]))(made, part)
    return made


@settings(max_examples=300)
@given(sums(), sums(), st.integers(0, 30), st.integers(17, 60), st.integers(-30, 30))
def test_arithmetic_of_lengths(a: Int, b: Int, p: int, q: int, r: int) -> None:
    dims = dict(zip(DIMS, (p, q, r)))
    x, y = value(a, dims), value(b, dims)
    assert value(lowered.sub(a, b), dims) == x - y
    assert value(lowered.minimum(a, b), dims) == min(x, y)
    assert value(lowered.maximum(a, b), dims) == max(x, y)
    for op, holds in {
        "eq": x == y,
        "ne": x != y,
        "lt": x < y,
        "le": x <= y,
        "gt": x > y,
        "ge": x >= y,
    }.items():
        assert value(lowered.compare(op, a, b), dims) == holds
    low = lowered.least(lowered.linear(a))
    assert low is None or low <= x


def test_what_is_told_decides() -> None:
    n = DIMS[1]
    assert (
        lowered.maximum(
            lowered.sub(lowered.minimum(lowered.mul(n, 3), lowered.mul(n, 4)), lowered.mul(n, 2)), 0
        )
        is n
    )
    assert lowered.compare("lt", lowered.mul(n, 2), lowered.mul(n, 3)).value is True
    assert lowered.compare("eq", n, lowered.sub(lowered.mul(n, 4), lowered.mul(n, 3))).value is True
