"""Each optimisation alone, and all together, at sizes that fill lanes, vectors, rows, threads and several blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_large_shapes import short_blocks

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib import config
from scanlib.choices import LOWERING
from scanlib.graph import Variable
from scanlib.passes import NAMES

scan = scanlib.scan
# Sequences of numbers, rows and matrices; a row, a matrix, weights.
a, b, c = T.dvector("a"), T.dmatrix("b"), T.dtensor3("c")
v, m, W = T.dvector("v"), T.dmatrix("m"), T.dmatrix("W")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threads = config.threads
    yield
    config.threads, config.optimisations = threads, None


def gated() -> list[Variable]:
    def step(x: Variable, h: Variable, s: Variable) -> list[Variable]:
        gate = T.nnet.sigmoid(T.dot(x, W) + T.dot(h, W))
        s = gate * s + T.tanh(T.dot(h, W))
        return [gate * T.tanh(s), s, T.dot(s, W)]

    traces = scan(step, c, [m, m, None])[0]
    return [traces[0][-1], traces[2]]


PROGRAMS: dict[str, Callable[[], list[Variable]]] = {
    "numbers": lambda: [scan(lambda x, h: 0.9 * h + x, a, v[0])[0], a.sum()],
    "product of sequences": lambda: [scan(lambda x, y, h: x * h + y, [0.9 * a, T.exp(a)], v[0])[0]],
    "numbers of sums": lambda: [scan(lambda x, y, h: 0.5 * h + x + T.tanh(y).sum(), [a, b], v[0])[0][-3:]],
    "lanes": lambda: [scan(lambda x, h: T.tanh(x * v) + 0.5 * h, b, v)[0]],
    "lanes of matrices": lambda: [scan(lambda x, h: v * h * (1 - h) + x, c, m)[0][-1]],
    "lanes and sums": lambda: [
        (t := scan(lambda x, h: h * 0.5 + T.exp(x), b, v)[0]).sum(0),
        t.max(0),
        t[-4::2],
    ],
    "maps": lambda: [scan(lambda x: T.exp(x) * v, c)[0], scan(lambda x: T.dot(x, W), c)[0].sum(0)],
    "rows": lambda: [scan(lambda x, h: T.tanh(T.dot(x, W) + T.dot(h, W)), c, m)[0]],
    "vectors": lambda: [scan(lambda x, h: T.tanh(T.dot(x, W) + T.dot(h, W)), b, v)[0][::2]],
    "gates": gated,
    "sums of products": lambda: [scan(lambda x, s: s + T.dot(x.T, T.tanh(x)), c, T.zeros_like(W))[0][-1]],
    "steps of steps": lambda: [scan(lambda x: scan(lambda y, h: 0.5 * h + y * v, x, v)[0][-1], c)[0]],
    "mixed lanes": lambda: [scan(lambda x, h: (h + x) / (1 + abs(h).sum()), b, v)[0][-5:]],
    "gradient of lanes": lambda: scanlib.grad((scan(lambda x, h: T.tanh(h + x), b, v)[0] ** 2).sum(), [b, v]),
    "gradient of rows": lambda: scanlib.grad(
        scan(lambda x, h: T.tanh(T.dot(x, W) + T.dot(h, W)), c, m)[0][-1].sum(), [W, m]
    ),
}


PRODUCTS = ("maps", "rows", "vectors", "gates", "sums of products", "gradient of rows")


def arguments(steps: int, rows: int, width: int) -> dict[Variable, np.ndarray]:
    rng = np.random.default_rng(steps)
    shapes = {a: (steps,), b: (steps, width), c: (steps, rows, width), v: (width,), m: (rows, width)}
    values = {x: rng.uniform(-1, 1, shape) for x, shape in shapes.items()}
    return {**values, W: rng.uniform(-1, 1, (width, width)) / width}


@pytest.mark.parametrize("only", [*LOWERING, "passes", "nothing", None])
@pytest.mark.parametrize("name", PROGRAMS)
def test_optimisations_at_large_sizes(name: str, only: str | None) -> None:
    """With each choice of the lowering alone, with all passes alone, with none of them, and with all."""
    inputs, outputs = [a, b, c, v, m, W], PROGRAMS[name]()
    reference = scanlib.function(inputs, outputs, mode="reference", on_unused_input="ignore")
    config.optimisations = None if only is None else NAMES if only == "passes" else {only} & set(LOWERING)
    # A block is shorter than most loops.
    with short_blocks(1 << 16, 16):
        compiled = scanlib.function(inputs, outputs, on_unused_input="ignore")

        @settings(max_examples=5, deadline=None, derandomize=True)
        @given(st.integers(1, 40), st.integers(17, 40), st.integers(17, 300), st.sampled_from([1, 3]))
        def check(steps: int, rows: int, width: int, threads: int) -> None:
            # Products of matrices need no more than a few vectors of columns.
            values = arguments(steps, rows, 17 + width % 32 if name in PRODUCTS else width).values()
            config.threads = threads
            for made, expected in zip(compiled(*values), reference(*values), strict=True):
                np.testing.assert_allclose(made, expected, rtol=1e-9, atol=1e-10)

        check()


@pytest.mark.parametrize("only", NAMES)
def test_each_pass_alone_at_large_sizes(only: str) -> None:
    """All programs in one function, compiled after one pass."""
    inputs, outputs = [a, b, c, v, m, W], [y for make in PROGRAMS.values() for y in make()]
    values = arguments(21, 19, 33).values()
    reference = scanlib.function(inputs, outputs, mode="reference")(*values)
    config.optimisations = {only, *LOWERING}
    with short_blocks(1 << 16, 8):
        for made, expected in zip(scanlib.function(inputs, outputs)(*values), reference, strict=True):
            np.testing.assert_allclose(made, expected, rtol=1e-9, atol=1e-10)
