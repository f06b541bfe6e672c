"""States updated in place: which they are, and that the order of reads and writes shows nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.scan import until

ROWS, COLUMNS = 12, 20


@dataclass(frozen=True)
class Update:
    """One state of the step: how many parts of it change, where, by what, and whether they are added."""

    place: str
    value: str
    other: int
    inc: bool
    twice: bool


updates = st.builds(
    Update,
    place=st.sampled_from(["row", "element", "span", "step", "rows", "last"]),
    value=st.sampled_from(["row above", "other", "sum", "product", "constant"]),
    other=st.integers(0, 2),
    inc=st.booleans(),
    twice=st.booleans(),
)


def part(x: Any, place: str, i: Any) -> Any:
    if place == "row":
        return x[i]
    if place == "element":
        return x[i, 2 * i]
    if place == "span":
        return x[i : i + 2, 3:]
    if place == "step":
        return x[::3, i]
    if place == "rows":
        return x[T.stack([i, i + 2])]
    return x[-1, i:]


def new_part(update: Update, i: Any, states: list[Any], k: int) -> Any:
    """What is written to state k: of the shape of the part, made of all states as they were."""
    x, other = states[k], states[update.other % len(states)]
    here = part(x, update.place, i)
    if update.value == "row above":
        return here * 0 + part(x, update.place, i + 1).sum() * 0.1
    if update.value == "other":
        return part(other, update.place, i) * 0.5 if update.place != "span" else other[i, 3:] * 0.5
    if update.value == "sum":
        return T.tanh(x.sum()) + here * 0.3
    if update.value == "product":
        return T.tanh(T.dot(x, T.transpose(other))[0, 0] + here)
    return T.constant(0.25)


def step_of(chosen: list[Update]) -> Callable[..., Any]:
    def step(i: Any, *states: Any) -> Any:
        *tensors, scalar = states
        results = []
        for k, update in enumerate(chosen):
            write = T.inc_subtensor if update.inc else T.set_subtensor
            v = new_part(update, i, list(tensors), k)
            made = write(part(tensors[k], update.place, i), v)
            if update.twice:
                made = T.set_subtensor(made[i + 1], scalar + tensors[0][i])
            results.append(made)
        last = T.tanh(scalar + tensors[-1][i, i])
        return [*results, last], until(T.gt(last, 0.95))

    return step


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    chosen=st.lists(updates, min_size=1, max_size=3),
    steps=st.integers(0, 8),
    static=st.booleans(),
    seed=st.integers(0, 99),
)
def test_generated_updates(chosen: list[Update], steps: int, static: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = T.lscalar("n")
    shape = (ROWS, COLUMNS) if static else (None, None)
    states = [T.tensor("float64", shape=shape, name=f"x{k}") for k in range(len(chosen))]
    scalar = T.dscalar("s")
    traces, _ = scanlib.scan(
        step_of(chosen), sequences=T.arange(8), outputs_info=[*states, scalar], n_steps=n, return_list=True
    )
    arguments = [steps, *(rng.normal(size=(ROWS, COLUMNS)) for _ in chosen), 0.1]
    before = [np.copy(a) for a in arguments]
    results = []
    for mode in ("reference", "native"):
        f = scanlib.function([n, *states, scalar], [v[-1:] for v in traces], mode=mode)
        results.append(f(*arguments))
    for expected, got in zip(*results):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    for a, b in zip(arguments, before):
        np.testing.assert_array_equal(a, b)


def test_where_to_write_is_read_from_a_state_in_place() -> None:
    """Lengths and positions of what is written may come from what another update changes."""
    places, x = T.lvector("places"), T.dvector("x")

    def step(places: Any, x: Any) -> Any:
        first, count = places[0], places[1]
        part = x[first : first + count]
        moved = T.set_subtensor(x[first + 1 : first + 1 + count], part.sum() * T.ones_like(part))
        return T.set_subtensor(places[:2], T.stack([first + 1, count + 1])), moved

    (_, made), _ = scanlib.scan(step, outputs_info=[places, x], n_steps=3)
    point = np.arange(1, 21), np.linspace(0.0, 1.0, 30)
    expected, got = (scanlib.function([places, x], made[-1], mode=m)(*point) for m in ("reference", "native"))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def storage(step: Callable[..., Any], *shape: int, read: slice | int = -1, label: str = "x") -> str:
    x = T.tensor("float64", shape=(None,) * len(shape), name="x")
    trace, _ = scanlib.scan(step, sequences=T.arange(5), outputs_info=x)
    explained = scanlib.explain(scanlib.function([x], trace[read]), shape)
    return explained.scans[0].output(label).storage


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (lambda i, x: T.set_subtensor(x[i], x[i + 1]), "in place"),
        (lambda i, x: T.inc_subtensor(x[i], x.sum()), "in place"),
        (lambda i, x: T.set_subtensor(x[T.stack([i, i + 1])], 2.0), "in place"),
        (lambda i, x: T.set_subtensor(T.set_subtensor(x[i], 1.0)[i + 1], x[i]), "in place"),
        # As large as the state, and made of it: a second slot is as good.
        (lambda i, x: T.set_subtensor(x[1:], x[:-1]), "last"),
        (lambda i, x: x * 2, "last"),
        # Something else of the step reads the new value.
        (lambda i, x: T.set_subtensor(T.set_subtensor(x[i], 1.0)[0], T.set_subtensor(x[i], 1.0)[1]), "last"),
    ],
)
def test_storage(step: Callable[..., Any], expected: str) -> None:
    assert storage(step, 20) == expected


def test_storage_of_what_is_read_as_a_whole_or_small() -> None:
    def step(i: Any, x: Any) -> Any:
        return T.set_subtensor(x[i], 1.0)

    assert storage(step, 20, read=slice(None)) == "trace"
    assert storage(step, 20, read=slice(-3, None)) == "ring"
    assert storage(step, 7) == "last"  # registers


def test_a_position_outside_is_an_error_of_its_step() -> None:
    x = T.dvector("x")
    trace, _ = scanlib.scan(lambda i, x: T.set_subtensor(x[i], 1.0), sequences=T.arange(30), outputs_info=x)
    f = scanlib.function([x], trace[-1])
    with pytest.raises(IndexError, match="index 20 is out of bounds"):
        f(np.zeros(20))


def test_one_slot_is_taken() -> None:
    x = T.dvector("x")
    trace, _ = scanlib.scan(
        lambda i, x: T.set_subtensor(x[i], x[i + 1]), sequences=T.arange(1000), outputs_info=x
    )
    f = scanlib.function([x], trace[-1])
    point = np.arange(100_000.0)
    np.testing.assert_array_equal(f(point)[:1000], point[1:1001])
    assert f.peak_bytes < 1.01 * point.nbytes
