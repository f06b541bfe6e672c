"""Linear recurrences in groups of steps: the same numbers as step by step, to the order of sums."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.choices import LOWERING
from scanlib.graph import Variable
from scanlib.lower import linear
from scanlib.passes import NAMES

u, v, x0, a = T.dvector("u"), T.dvector("v"), T.dscalar("x0"), T.dscalar("a")
m, w = T.dmatrix("m"), T.TensorType("float64", (2,))("w")
LENGTHS = (0, 1, 7, 8, 9, 40, 4095, 4096, 4097, 9000)


@contextmanager
def without(name: str) -> Iterator[None]:
    scanlib.config.optimisations = [n for n in (*NAMES, *LOWERING) if n != name]
    try:
        yield
    finally:
        scanlib.config.optimisations = None


def scan(step: Callable[..., Any], states: Any, *sequences: Variable, **options: Any) -> list[Variable]:
    options = {"sequences": list(sequences), "outputs_info": states, "return_list": True, **options}
    return scanlib.scan(step, **options)[0]


# The programs, and whether they run in groups.
PROGRAMS: dict[str, tuple[list[Variable], Callable[[], list[Variable]], bool]] = {
    "constant": ([u, x0], lambda: scan(lambda u, x: 0.9 * x + u, x0, u), True),
    "non-sequence": ([u, a, x0], lambda: scan(lambda u, x: u + x * a, x0, u), True),
    "varying": ([u, v, x0], lambda: scan(lambda u, v, x: v * x - u, x0, u, v), True),
    "sum": ([u, x0], lambda: scan(lambda u, x: x + u, x0, u), True),
    "alternating": ([u, x0], lambda: scan(lambda u, x: u - x, x0, u), True),
    "decay": ([a, x0], lambda: scan(lambda x: x * a, x0, n_steps=50), True),
    "towards a level": ([u, a, x0], lambda: scan(lambda u, x: x + a * (u - x), x0, u), True),
    "factors taken apart": ([u, a, x0], lambda: scan(lambda u, x: -(a * (0.5 * x - u)) + 1, x0, u), True),
    "last": ([u, a, x0], lambda: [scan(lambda u, x: u + x * a, x0, u)[0][-1:]], True),
    "backwards": ([u, a, x0], lambda: scan(lambda u, x: u + x * a, x0, u, go_backwards=True), True),
    "two, one of the other": (
        [u, a, x0],
        lambda: scan(lambda u, x, y: [a * x + u, 0.5 * y + T.maximum(x, 0.1)], [x0, x0], u),
        True,
    ),
    "factor of the other": (
        [u, a, x0],
        lambda: scan(lambda u, x, y: [a * x + u, T.minimum(x, 0.7) * y + u], [x0, x0], u),
        True,
    ),
    "mapped output of a state": (
        [u, a, x0],
        lambda: scan(lambda u, x: [a * x + u, x * x], [x0, None], u),
        True,
    ),
    "pair": ([m, w], lambda: scan(lambda r, x: 0.8 * x + r, w, m[:, :2]), True),
    "coupled": ([u, x0], lambda: scan(lambda u, x, y: [0.5 * y + u, 0.5 * x], [x0, x0], u), False),
    "not linear": ([u, x0], lambda: scan(lambda u, x: u + 0.1 * x * x, x0, u), False),
    "two taps": (
        [u, v],
        lambda: scan(lambda u, p, q: 0.5 * p + 0.2 * q + u, dict(initial=v[:2], taps=[-2, -1]), u),
        False,
    ),
    "until": (
        [u, a, x0],
        lambda: scan(lambda u, x: (u + x * a, scanlib.scan_module.until(T.gt(x, 2))), x0, u),
        False,
    ),
}


def values(inputs: list[Variable], length: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {id(u): (length,), id(v): (max(length, 2),), id(m): (length, 2), id(w): (2,)}
    return [np.asarray(rng.uniform(-1, 1, shapes.get(id(x), ()))) for x in inputs]


def group(f: scanlib.Function, arguments: list[np.ndarray]) -> int:
    return scanlib.explain(f, *[x.shape if x.ndim else x for x in arguments]).scans[0].group


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_step_by_step(name: str) -> None:
    inputs, program, expected = PROGRAMS[name]
    outputs = program()
    native, reference = (scanlib.function(inputs, outputs, mode=m) for m in ("native", "reference"))
    with without("linear"):
        plain = scanlib.function(inputs, outputs)
        assert group(plain, values(inputs, 4000)) == 1
    assert group(native, values(inputs, 4000)) == (linear.GROUP if expected else 1)
    for length in LENGTHS:
        arguments = values(inputs, length)
        # The interpreter takes its time.
        others = [plain, reference] if length < 100 else [plain]
        for other in others:
            for p, q in zip(native(*arguments), other(*arguments), strict=True):
                np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-13)
    again = values(inputs, 4000)
    assert all(np.array_equal(p, q) for p, q in zip(native(*again), native(*again), strict=True))


EXTREMES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e200, 1e-200, 1e-310, 1e308, 1.0, -1.0]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    factors=st.lists(st.sampled_from(EXTREMES), min_size=1, max_size=30),
    terms=st.lists(st.sampled_from(EXTREMES), min_size=1, max_size=30),
    start=st.sampled_from(EXTREMES),
    dtype=st.sampled_from(["float64", "float32"]),
)
def test_what_overflows_and_vanishes(
    factors: list[float], terms: list[float], start: float, dtype: str
) -> None:
    """Infinite, nan and 0 where they are in the plain loop, whatever the size of the factors."""
    f = extremes(dtype)
    length = min(len(factors), len(terms))
    with np.errstate(all="ignore"):
        a, b = (np.asarray(x[:length]).astype(dtype) for x in (factors, terms))
        x = np.asarray(start).astype(dtype)
        made = f(b, a, x)
        expected = []
        for t in range(length):
            x = (a[t].astype("longdouble") * x + b[t]).astype(dtype)  # one rounding, as fused
            expected.append(x)
    np.testing.assert_allclose(made, expected, rtol=1e-12 if dtype == "float64" else 1e-5)


@functools.cache
def extremes(dtype: str) -> scanlib.Function:
    b, a = (T.tensor(dtype, (None,), name=name) for name in "ba")
    start = T.tensor(dtype, (), name="x")
    return scanlib.function([b, a, start], scan(lambda b, a, x: a * x + b, start, b, a)[0])


@pytest.mark.parametrize("start", [0.5, np.inf, np.nan, 1e308])
@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0, -1e200, np.inf])
def test_a_state_in_two_terms(rate: float, start: float) -> None:
    f = scanlib.function([u, a, x0], scan(lambda u, x: x + a * (u - x), x0, u)[0])
    b, x, expected = np.linspace(-1, 1, 20), np.float64(start), []
    with np.errstate(all="ignore"):
        for t in b:
            x = np.float64(x + np.float64(rate) * (t - x))
            expected.append(x)
    np.testing.assert_allclose(f(b, rate, start), expected, rtol=1e-12)


def test_a_gradient_runs_in_groups() -> None:
    """The reverse of a linear recurrence is one."""
    trace = scan(lambda u, x: a * x + u, x0, u)[0]
    f = scanlib.function([u, a, x0], scanlib.grad(trace.sum(), [u, x0]))
    e = scanlib.explain(f, (4000,), 0.9, 0.1)
    assert any(s.group > 1 for s in e.walk())
    found = f(np.ones(50), 0.9, 0.1)
    expected = [sum(0.9**k for k in range(50 - t)) for t in range(50)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-13)
    np.testing.assert_allclose(found[1], sum(0.9 ** (t + 1) for t in range(50)), rtol=1e-13)
