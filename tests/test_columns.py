"""Cells of one row, whose columns threads take through all steps of a block: which have them, and the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib.choices import LOWERING
from scanlib.passes.optimise import NAMES

STEPS = 60
# The loop may run with blocks that overlap as well: both ways have been tried after so many calls.
CALLS = 5


@pytest.fixture(autouse=True)
def settings_of_before() -> Iterator[None]:
    threads, choices = scanlib.config.threads, scanlib.config.optimisations
    yield
    scanlib.config.threads, scanlib.config.optimisations = threads, choices


def elman(x: Any, h: Any, U: Any) -> list[Any]:
    n = U.shape[0]
    return [T.tanh(x[:, :n] + T.dot(h, U[:, :n]))]


def lstm(x: Any, h: Any, c: Any, U: Any) -> list[Any]:
    n, z = U.shape[0], x + T.dot(h, U)
    keep, write, read = (T.sigmoid(z[:, i * n : (i + 1) * n]) for i in range(3))
    c = keep * c + write * T.tanh(z[:, 3 * n :])
    return [read * T.tanh(c), c]


def gru(x: Any, h: Any, U: Any) -> list[Any]:
    """Two products in a step, the second of what the step has computed."""
    n = U.shape[0]
    gates = T.sigmoid(x[:, : 2 * n] + T.dot(h, U[:, : 2 * n]))
    new = T.tanh(x[:, 2 * n : 3 * n] + T.dot(gates[:, :n] * h, U[:, 2 * n : 3 * n]))
    return [gates[:, n:] * h + (1 - gates[:, n:]) * new]


def delayed(x: Any, older: Any, h: Any, U: Any) -> list[Any]:
    """The oldest value that is kept is read last."""
    n = U.shape[0]
    new = T.tanh(x[:, :n] + T.dot(h, U[:, :n]))
    return [new + T.dot(T.sin(older), U[:, n : 2 * n]) / 4]


def bent(x: Any, h: Any, U: Any) -> list[Any]:
    """What the product reads is written anew in each step, without a meeting in between."""
    n = U.shape[0]
    return [T.tanh(x[:, :n] + T.dot(T.sin(h), U[:, :n]))]


def twice(x: Any, h: Any, U: Any) -> list[Any]:
    """The result of one product is what the next one reads, and is written anew without a meeting in between."""
    n = U.shape[0]
    return [T.tanh(x[:, :n] + T.dot(T.dot(h, U[:, :n]), U[:, n : 2 * n]))]


CELLS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "elman": (elman, 1, 1),
    "lstm": (lstm, 2, 1),
    "gru": (gru, 1, 1),
    "delayed": (delayed, 1, 2),
    "bent": (bent, 1, 1),
    "twice": (twice, 1, 1),
}


def program(cell: str, dtype: str, keep: str, **options: Any) -> Any:
    step, states, taps = CELLS[cell]
    x, U, h0 = T.tensor3("x", dtype=dtype), T.matrix("U", dtype=dtype), T.matrix("h0", dtype=dtype)
    first: list[Any] = [h0] * states
    if taps == 2:
        first = [{"initial": T.stack([h0, h0]), "taps": [-2, -1]}]
    traces, _ = scanlib.scan(
        step, sequences=x, outputs_info=first, non_sequences=U, name="cell", return_list=True
    )
    h = traces[0]
    loss = (h**2).sum()
    outputs = {"all": [h], "last": [h[-1]], "gradient": [loss, *scanlib.grad(loss, [x, U, h0])]}
    return scanlib.function([x, U, h0], outputs[keep], **options)


def arguments(width: int, dtype: str, steps: int = STEPS) -> list[np.ndarray]:
    rng = np.random.default_rng(width)
    sizes = [(steps, 1, 4 * width), (width, 4 * width), (1, width)]
    x, U, h = (rng.normal(size=s).astype(dtype) for s in sizes)
    return [x, U / np.asarray(np.sqrt(width), dtype), h]


def bits(results: Any) -> list[bytes]:
    return [np.asarray(r).tobytes() for r in results]


@settings(max_examples=25, deadline=None)
@given(
    cell=st.sampled_from(sorted(CELLS)),
    width=st.sampled_from([100, 128, 192, 224, 256, 320, 336, 500]),
    dtype=st.sampled_from(["float32", "float64"]),
    keep=st.sampled_from(["all", "last", "gradient"]),
    threads=st.integers(2, 5),
)
def test_bits_do_not_depend_on_threads(cell: str, width: int, dtype: str, keep: str, threads: int) -> None:
    given_values = arguments(width, dtype)
    scanlib.config.optimisations = [n for n in (*NAMES, *LOWERING) if n != "columns"]
    expected = bits(program(cell, dtype, keep)(*given_values))
    scanlib.config.optimisations = None
    f = program(cell, dtype, keep)
    for count in (threads, 1):
        scanlib.config.threads = count
        for _ in range(CALLS):
            assert bits(f(*given_values)) == expected


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("keep", ["all", "gradient"])
def test_results_are_those_of_the_interpreter(cell: str, keep: str) -> None:
    scanlib.config.threads = 2
    given_values = arguments(256, "float64", 20)
    expected = program(cell, "float64", keep, mode="reference")(*given_values)
    for value, other in zip(program(cell, "float64", keep)(*given_values), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-11)


def shared(f: Any, *values: Any) -> list[bool]:
    return [s.columns for s in scanlib.explain(f, *values).walk()]


def test_which_bodies_share_columns() -> None:
    given_values = arguments(256, "float32")
    for cell in CELLS:
        f = program(cell, "float32", "all")
        assert shared(f, *given_values) == [cell not in ("bent", "twice")]
    scanlib.config.threads = 2
    f = program("lstm", "float32", "gradient")
    assert shared(f, *given_values) == [True, True]
    explained = scanlib.explain(f, *given_values)
    assert explained.scans[0].threads == 2
    assert "2 threads, each with columns of its own" in str(explained)


def readout(x: Any, h: Any, U: Any) -> list[Any]:
    """A sum over the columns."""
    new = elman(x, h, U)[0]
    return [new / (1 + (new**2).sum())]


def test_what_stays_with_one_thread() -> None:
    x, U, h0 = T.tensor3("x"), T.matrix("U"), T.matrix("h0")
    until = scanlib.scan(
        lambda x, h, U: (elman(x, h, U), scanlib.until(h[0, 0] > 2)), x, h0, U, name="stops"
    )[0]
    sums = scanlib.scan(readout, x, h0, U, name="sums")[0]
    given_values = arguments(256, "float64")
    for trace in (until, sums):
        assert shared(scanlib.function([x, U, h0], trace), *given_values) == [False]


def test_a_call_inside_of_many() -> None:
    """The pool serves one call at a time: others find no second thread, and go alone."""
    scanlib.config.threads = 2
    given_values = arguments(256, "float32", 400)
    f = program("gru", "float32", "all")
    expected = bits(f(*given_values))
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: f(*given_values), range(24)):
            assert bits(result) == expected
