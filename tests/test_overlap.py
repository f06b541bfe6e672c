"""Blocks whose parts run beside each other: which loops have them, and that nothing but time depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib.choices import LOWERING
from scanlib.errors import StepError
from scanlib.graph import Variable
from scanlib.passes.optimise import NAMES

WIDTH, STEPS = 48, 3000
# Both ways of running a loop have been tried after so many calls.
CALLS = 6

a, W, U, h0 = T.dmatrix("a"), T.dmatrix("W"), T.dmatrix("U"), T.dvector("h0")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = scanlib.config.threads
    scanlib.config.threads = 2
    yield
    scanlib.config.threads = before


def arguments(steps: int = STEPS) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(steps, WIDTH))
    return x, *(rng.normal(size=(WIDTH, WIDTH)) / WIDTH for _ in range(2)), rng.normal(size=WIDTH)


def network(step: Callable[..., Any], states: Any, sequence: Variable = a) -> Any:
    return scanlib.scan(step, sequences=sequence, outputs_info=states, non_sequences=[W, U], name="network")[
        0
    ]


def elman(x: Any, h: Any, W: Any, U: Any) -> Any:
    return T.tanh(x @ W + h @ U)


def gated(x: Any, h: Any, W: Any, U: Any) -> Any:
    g = T.sigmoid(x @ W + h @ U)
    return g * h + (1 - g) * T.tanh(x)


def loss() -> Any:
    return (network(elman, h0) ** 2).sum()


def readout(x: Any, h: Any, W: Any, U: Any) -> list[Any]:
    h = elman(x, h, W, U)
    return [h, T.exp(h @ W)]


def reaches_back(x: Any, older: Any, h: Any, W: Any, U: Any) -> Any:
    return T.tanh(x @ W + h @ U) + older / 4


PROGRAMS: dict[str, Callable[[], list[Any]]] = {
    "trace": lambda: [network(elman, h0)],
    "last": lambda: [network(elman, h0)[-1]],
    "some steps": lambda: [network(gated, h0)[-5:]],
    "mapped output": lambda: network(readout, [h0, None]),
    "two taps": lambda: [
        network(reaches_back, [{"initial": T.stack([h0, h0]), "taps": [-2, -1]}]),
    ],
    "gradient": lambda: [loss(), *scanlib.grad(loss(), [W, U, h0, a])],
    "gradient of a gradient": lambda: scanlib.grad((scanlib.grad(loss(), U) ** 2).sum(), [W, U]),
    "backwards": lambda: [scanlib.scan(elman, a, h0, [W, U], go_backwards=True, name="network")[0]],
}


def compiled(outputs: list[Any], **options: Any) -> Any:
    return scanlib.function([a, W, U, h0], outputs, on_unused_input="ignore", **options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_results(name: str) -> None:
    """Those of the interpreter, and in every bit the same however often and on however many threads."""
    f = compiled(PROGRAMS[name]())
    assert any(s.overlap for s in scanlib.explain(f, *arguments()).walk())
    given = arguments(700)
    expected = compiled(PROGRAMS[name](), mode="reference")(*given)
    for value, other in zip(f(*given), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-12)
    first = f(*arguments())
    for threads in (2, 3, 1):
        scanlib.config.threads = threads
        for _ in range(CALLS):
            for value, other in zip(f(*arguments()), first, strict=True):
                np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("steps", [0, 1, 500, 1023, 1024, 1025, 2000])
def test_any_number_of_steps(steps: int) -> None:
    f = compiled(PROGRAMS["mapped output"]())
    g = compiled(PROGRAMS["mapped output"](), mode="reference")
    expected = g(*arguments(steps))
    for _ in range(CALLS):
        for value, other in zip(f(*arguments(steps)), expected, strict=True):
            np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("part", ["prologue", "recurrence", "epilogue"])
@pytest.mark.parametrize("where", [0, 700, 2999])
def test_failures_name_the_step(part: str, where: int) -> None:
    """A position outside of a vector, read before, during or after the recurrence."""
    k, table = T.lvector("k"), T.dvector("table")

    def step(k: Any, x: Any, h: Any, W: Any, U: Any, table: Any) -> list[Any]:
        found = T.exp(table[k])
        new = T.tanh(x @ W * (found if part == "prologue" else 1.0) + h @ U)
        new = new * table[k + T.cast(h[0] * 0, "int64")] if part == "recurrence" else new
        return [new, T.exp(new @ W) * (found if part == "epilogue" else 1.0)]

    traces, _ = scanlib.scan(step, [k, a], [h0, None], [W, U, table], name="network")
    f = scanlib.function([k, a, W, U, h0, table], traces)
    positions = np.zeros(STEPS, dtype="int64")
    x, *others = arguments()
    assert scanlib.explain(f, positions, x, *others, np.ones(3)).scans[0].overlap
    for _ in range(CALLS):
        f(positions, x, *others, np.ones(3))
    positions[where] = 7
    for _ in range(CALLS):
        with pytest.raises(StepError, match=f"scan 'network', step {where}: .*7"):
            f(positions, x, *others, np.ones(3))


def test_what_does_not_overlap() -> None:
    """Lanes, loops that end early, loops with nothing to do before or after, and all if the choice is off."""
    until, _ = scanlib.scan(
        lambda x, h, W, U: ((h := elman(x, h, W, U)), scanlib.scan_module.until(h[0] > 2)), a, h0, [W, U]
    )
    lanes, _ = scanlib.scan(lambda x, h: T.tanh(x) + h / 2, a, h0)
    alone, _ = scanlib.scan(lambda h, U: T.tanh(h @ U), None, h0, [U], n_steps=5000)
    for trace in (until, lanes, alone):
        assert not any(s.overlap for s in scanlib.explain(compiled([trace]), *arguments()).walk())
    scanlib.config.optimisations = [n for n in (*NAMES, *LOWERING) if n != "overlap"]
    try:
        f = compiled(PROGRAMS["trace"]())
        assert not scanlib.explain(f, *arguments()).scans[0].overlap
    finally:
        scanlib.config.optimisations = None
    np.testing.assert_allclose(f(*arguments())[0], compiled(PROGRAMS["trace"]())(*arguments())[0], rtol=1e-12)


def test_memory_is_that_of_a_block_without() -> None:
    """Two blocks of half the length."""
    kept = {}
    for choices in (None, [n for n in (*NAMES, *LOWERING) if n != "overlap"]):
        scanlib.config.optimisations = choices
        try:
            explained = scanlib.explain(compiled(PROGRAMS["last"]()), *arguments())
        finally:
            scanlib.config.optimisations = None
        (scan,) = explained.scans
        kept[scan.overlap] = scan.block_length, explained.peak_bytes
    half, whole = kept[True], kept[False]
    assert half[0] == whole[0] // 2 and half[1] <= whole[1]  # type: ignore[operator]
