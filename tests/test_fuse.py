"""Loops over the same elements: which are joined, and that results stay those of the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import lowered
from scanlib.lower.fuse import fused
from scanlib.lowered import Expr, Int
from scanlib.statements import Assign, Check, For, SetDim, Statement, Store

ROWS, COLUMNS = lowered.dim(8, 17), lowered.dim(9, 17)
ROW, COLUMN = lowered.index("i0"), lowered.index("i1")


def place(stride: Int = COLUMNS, row: Int = ROW, column: Int = COLUMN) -> Expr:
    return lowered.as_expr(lowered.add(lowered.mul(row, stride), column))


def read(buffer: int, offset: Expr) -> Expr:
    return lowered.load(buffer, offset, "float64")


def nest(*stores: Store, columns: Int = COLUMNS) -> For:
    return For("i0", 0, ROWS, [For("i1", 0, columns, list(stores))])


def loops(statements: Sequence[Statement]) -> int:
    return sum(isinstance(s, For) for s in statements)


FIRST = nest(Store(1, place(), read(0, place())))


@pytest.mark.parametrize(
    "second",
    [
        nest(Store(2, place(), read(0, place()))),
        # What the first has stored at the same place, and what it has read there.
        nest(Store(2, place(), read(1, place()))),
        nest(Store(0, place(), read(3, place()))),
        # A part of longer rows.
        nest(Store(2, place(lowered.mul(COLUMNS, 4)), read(1, place()))),
    ],
)
def test_these_are_joined(second: For) -> None:
    made = fused([FIRST, SetDim(20, 3), second])
    assert loops(made) == 1
    inner = made[0]
    assert isinstance(inner, For) and isinstance(inner.body[0], For) and len(inner.body[0].body) == 2


@pytest.mark.parametrize(
    "between, second",
    [
        ((), nest(Store(2, place(), read(0, place())), columns=ROWS)),
        # Another place of what the first stores, or overwrites what it reads.
        ((), nest(Store(2, place(), read(1, place(row=0))))),
        ((), nest(Store(0, place(column=lowered.add(COLUMN, 1)), read(3, place())))),
        # Places that come again in other iterations, as rows are shorter than the loop, or all the same.
        ((), nest(Store(1, place(3), read(2, place())))),
        ((), nest(Store(1, place(row=0), lowered.expr("add", (read(1, place(row=0)), read(2, place())), "float64")))),
        # Statements between them come first, as they write what it reads, or fail.
        ((Store(2, 0, lowered.constant(1, "float64")),), nest(Store(3, place(), read(2, place())))),
        ((Check(lowered.compare("eq", ROWS, 3), 1),), nest(Store(2, place(), read(0, place())))),
        # What may fail, and what adds up.
        ((), nest(Store(2, place(), lowered.guard(read(0, place()), lowered.compare("lt", ROW, 3), 1)))),
        ((), For("i0", 0, ROWS, [Assign(("a1",), (read(0, ROW),))])),
    ],
)  # fmt: skip
def test_these_are_not(between: tuple[Statement, ...], second: For) -> None:
    assert loops(fused([FIRST, *between, second])) == 2


def test_loops_of_a_step_are_joined_within_it() -> None:
    step = For(
        "t1",
        lowered.bound("start"),
        lowered.bound("stop"),
        [FIRST, nest(Store(2, place(), read(1, place())))],
    )
    (made,) = fused([step])
    assert isinstance(made, For) and loops(made.body) == 1


def test_results_are_those_of_the_reference() -> None:
    x, c = T.dmatrices("x", "c")

    def step(c: scanlib.Variable, x: scanlib.Variable) -> list[scanlib.Variable]:
        a, b = T.tanh(x + c), T.nnet.sigmoid(c)
        c = a * b + T.set_subtensor(c[:, 1:], a[:, :-1])
        return [c, a.sum(axis=0) + b[0]]

    (trace, sums), _ = scanlib.scan(step, outputs_info=[c, None], non_sequences=x, n_steps=4)
    outputs = [trace, sums, *scanlib.grad(T.tanh(trace).sum() + sums.sum(), [x, c])]
    native, reference = (scanlib.function([x, c], outputs, mode=m) for m in ("native", "reference"))
    for shape in ((1, 20), (3, 17), (33, 40)):
        given = [np.random.default_rng(3).normal(size=shape) for _ in range(2)]
        for got, expected in zip(native(*given), reference(*given)):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
