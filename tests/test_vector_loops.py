"""Loops that are emitted as vector code: which they are, and that they compute what the reference does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import jit, lowered
from scanlib.graph import Variable
from scanlib.llvm_metadata import THOROUGH, VECTORISE
from scanlib.lowered import Expr, Int
from scanlib.statements import Assign, For, Store
from scanlib.vector_loops import apart, left_to_llvm, vector_loop

INDEX, LANE = lowered.index("i0"), lowered.index("li0")
LENGTH = lowered.dim(9)


def at(*terms: Int) -> Int:
    total: Int = 0
    for term in terms:
        total = lowered.add(total, term)
    return total


def loop(*body: Store | Assign, stop: Int = LENGTH) -> For:
    return For("i0", 0, stop, list(body))


def read(buffer: int, offset: Int) -> Expr:
    return lowered.load(buffer, offset, "float64")


def total(value: Expr, name: str = "a1") -> Assign:
    return Assign(
        (name,), (lowered.expr("reassociated_add", (lowered.register(name, "float64"), value), "float64"),)
    )


def test_elementwise_loops_are_vectors() -> None:
    found = vector_loop(loop(Store(1, INDEX, read(0, at(INDEX, lowered.dim(8))))), {})
    assert found is not None and found.widths == (8, 1) and not found.totals


def test_what_lies_backwards_is_vectors() -> None:
    backwards = lowered.sub(lowered.dim(9), INDEX)
    assert vector_loop(loop(Store(1, INDEX, read(0, backwards))), {}) is not None
    assert vector_loop(loop(Store(1, backwards, read(0, INDEX))), {}) is None


def test_known_lengths_take_halves() -> None:
    body = Store(1, INDEX, read(0, INDEX))
    assert [getattr(vector_loop(loop(body, stop=n), {}), "widths", None) for n in (3, 4, 10)] == [
        None,
        (4, 2, 1),
        (8, 4, 2, 1),
    ]


def test_short_sums_are_spread_over_several_vectors() -> None:
    found = vector_loop(loop(total(read(0, INDEX)), total(read(1, INDEX))), {})
    assert found is not None and found.widths == (32, 8, 1)
    assert [t.register for t in found.totals] == ["a1"]
    slow = vector_loop(loop(total(lowered.expr("log", (read(0, INDEX),), "float64"))), {})
    assert slow is not None and slow.widths == (8, 1)


@pytest.mark.parametrize(
    "body",
    [
        # Each element is made of the one before.
        (Store(0, at(INDEX, 1), read(0, INDEX)),),
        # What is read may have been written in a round before.
        (Store(0, INDEX, read(1, INDEX)), Store(2, INDEX, read(0, at(INDEX, lowered.dim(8))))),
        # A running sum is read on the way, and states wait for each other.
        (total(read(0, INDEX)), Store(1, INDEX, lowered.register("a1", "float64"))),
        (
            Assign(
                ("a1",),
                (lowered.expr("mul", (lowered.register("a1", "float64"), read(0, INDEX)), "float64"),),
            ),
        ),
        # Elements that do not lie side by side.
        (Store(1, INDEX, read(0, lowered.mul(INDEX, 2))),),
        (Store(1, lowered.mul(INDEX, 2), read(0, INDEX)),),
        # The place of what is read is written.
        (Store(0, INDEX, read(1, at(INDEX, lowered.load(0, 3, "int64")))),),
    ],
)
def test_these_are_no_vectors(body: tuple[Store | Assign, ...]) -> None:
    assert vector_loop(loop(*body), {}) is None


def test_rows_of_one_array_are_apart() -> None:
    row, other, size = lowered.dim(20), lowered.dim(21), lowered.dim(22)
    first, second = (lowered.as_expr(at(lowered.mul(r, size), LANE)) for r in (row, other))
    assert apart(first, first, LANE, size) and apart(first, second, LANE, size)
    assert not apart(first, lowered.as_expr(at(lowered.mul(row, size), LANE, 1)), LANE, size)
    # Rows that are shorter than the loop overlap with the next.
    first, second = (lowered.as_expr(at(lowered.mul(r, 4), LANE)) for r in (row, other))
    assert (
        apart(first, second, LANE, 4)
        and not apart(first, second, LANE, 8)
        and not apart(first, second, LANE, size)
    )


def test_gathers_are_left_to_llvm() -> None:
    assert left_to_llvm(loop(Store(1, INDEX, read(0, lowered.load(2, INDEX, "int64")))))
    assert not left_to_llvm(
        loop(total(lowered.guard(read(0, INDEX), lowered.compare("lt", INDEX, lowered.dim(8)), 1)))
    )


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    load = jit.load

    def loads(modules: Sequence[str]) -> jit.Code:
        texts.extend(modules)
        return load(modules)

    monkeypatch.setattr(jit, "load", loads)
    return texts


LENGTHS = (0, 1, 3, 7, 8, 16, 17, 31, 32, 33, 64, 100, 129)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_of_every_length(dtype: str) -> None:
    x = T.vector("x", dtype=dtype)
    outputs = [T.tanh(x)[::-1] + x, (x * x).sum(), T.exp(-x).sum() + x.prod(), x > 0, T.switch(x > 0, x, -1)]
    native, reference = (scanlib.function([x], outputs, mode=m) for m in ("native", "reference"))
    for n in LENGTHS:
        given = np.random.default_rng(n).uniform(0.5, 1.2, n).astype(dtype)
        for got, expected in zip(native(given), reference(given)):
            np.testing.assert_allclose(got, expected, rtol=1e-12 if dtype == "float64" else 1e-4)


def test_parts_that_overlap_are_moved_in_order() -> None:
    x = T.dvector("x")
    moved = T.set_subtensor(x[1:], 2 * x[:-1])
    added = T.inc_subtensor(x[:-1], x[1:])
    trace, _ = scanlib.scan(lambda s: T.set_subtensor(s[1:], s[:-1] + 1.0), outputs_info=x, n_steps=3)
    for outputs in (moved, added, trace[-1]):
        native, reference = (scanlib.function([x], outputs, mode=m) for m in ("native", "reference"))
        for n in (2, 17, 40):
            given = np.random.default_rng(n).normal(size=n)
            np.testing.assert_allclose(native(given), reference(given), rtol=1e-13)


def test_rare_arguments_of_vectors() -> None:
    x = T.dvector("x")
    outputs = [T.sin(x), T.gammaln(x), T.psi(x), T.tan(x)]
    native, reference = (scanlib.function([x], outputs, mode=m) for m in ("native", "reference"))
    given = np.random.default_rng(1).uniform(1, 9, 27)
    given[[3, 20]] = 1e15, 3e13
    given[[8, 26]] = -2.3, -0.7
    for got, expected in zip(native(given), reference(given)):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_modules_without_loops_for_llvm_take_fewer_passes(modules: list[str]) -> None:
    x, i = T.dvector("x"), T.lvector("i")
    scanlib.function([x], T.tanh(x) + x[::-1])(np.arange(20.0))
    assert not modules[-1].startswith(VECTORISE) and "<8 x double>" in modules[-1]
    scanlib.function([i], i.sum())(np.arange(20))
    assert modules[-1].startswith(VECTORISE)


def test_loops_over_steps_take_few_passes_unless_something_in_them_stays_the_same(modules: list[str]) -> None:
    """Scalars and what is made of them are computed before the loops, also where no step or arm runs."""
    u, a, b, w = T.dvector("u"), T.dscalar("a"), T.dscalar("b"), T.dvector("w")
    pair = np.array([0.5, -0.25])

    def of_scalars(u: Variable, x: Variable) -> Any:
        return T.switch(T.gt(u, 0), T.exp(a * b) * x + u, T.tanh(a) - T.log(b) * u / x)

    def of_vector(u: Variable, x: Variable) -> Any:
        return T.sin(w * x) + u

    programs = [(of_scalars, 1.0, [u, a, b], (0.5, 0.25), False), (of_vector, w, [u, w], (pair,), True)]
    for step, start, inputs, given, stays in programs:
        x, _ = scanlib.scan(step, sequences=u, outputs_info=start)
        native, reference = (scanlib.function(inputs, x, mode=m) for m in ("native", "reference"))
        for n in (0, 1, 30):
            steps = np.random.default_rng(n).normal(size=n)
            np.testing.assert_allclose(native(steps, *given), reference(steps, *given), rtol=1e-12)
        assert f'attributes #1 = {{ nounwind "{THOROUGH.decode()}" }}' in modules[0]
        assert any(") #1 {" in m for m in modules) == stays
        modules.clear()
