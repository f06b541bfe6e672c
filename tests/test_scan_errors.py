"""Mistakes in scans: each is a user error that names what is wrong, if possible before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import StepError, UserError
from scanlib.graph import Variable
from scanlib.scan import until

u, v = T.vector("u"), T.vector("v")
x, y = T.scalar("x"), T.scalar("y")
f32 = T.fscalar("f32")
k = scanlib.shared(0, name="k")
scan = scanlib.scan


def identity(a: Any) -> Any:
    return a


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "fn not callable": (lambda: scan(3, sequences=u), "fn must be callable"),
    "nothing to loop over": (lambda: scan(identity, outputs_info=x), "number of steps is unknown.*n_steps"),
    "scalar sequence": (lambda: scan(identity, sequences=x), "sequence 0 'x'.*at least one dimension"),
    "unknown key": (lambda: scan(identity, sequences=dict(input=u, tap=[0])), "unknown key 'tap'"),
    "sequence without input": (lambda: scan(identity, sequences=dict(taps=[0])), "nothing to iterate over"),
    "empty taps": (lambda: scan(identity, sequences=dict(input=u, taps=[])), "`taps` is empty"),
    "tap twice": (lambda: scan(identity, sequences=dict(input=u, taps=[0, 0])), "stands twice"),
    "tap no integer": (
        lambda: scan(identity, sequences=dict(input=u, taps=[0.5])),
        "taps must be integers, got 0.5",
    ),
    "sequence shorter than its taps": (
        lambda: scan(lambda a, b: a, sequences=dict(input=np.zeros(3), taps=[-4, 0])),
        r"3 elements, its taps \[-4, 0\] need at least 4",
    ),
    "tap in the future": (
        lambda: scan(identity, outputs_info=dict(initial=u, taps=[1]), n_steps=2),
        r"outputs_info\[0\]: tap 1 of a state is not in the past",
    ),
    "taps without initial": (
        lambda: scan(identity, outputs_info=dict(taps=[-1]), n_steps=2),
        "without `initial`",
    ),
    "initial too short": (
        lambda: scan(lambda a, b: a, outputs_info=dict(initial=np.zeros(1), taps=[-2, -1]), n_steps=2),
        "holds 1 steps, taps .* need 2",
    ),
    "initial without leading axis": (
        lambda: scan(lambda a, b: a, outputs_info=dict(initial=x, taps=[-2, -1]), n_steps=2),
        "'x' is .* needs a leading axis of 2 values",
    ),
    "initial of a wrong kind": (
        lambda: scan(lambda a, s: s, u, "zero"),
        r"outputs_info\[0\].*'zero' is a str.*expected numbers",
    ),
    "sequence of a wrong kind": (lambda: scan(identity, "abc"), r"sequence 0.*'abc' is a str"),
    "non-sequence of a wrong kind": (
        lambda: scan(lambda a, s: s, u, non_sequences=[object()]),
        r"non_sequences\[0\].*is a object.*expected numbers",
    ),
    "range of a variable": (
        lambda: scan(lambda a: sum(a for _ in range(T.lscalar("n"))), u),
        "n is symbolic and has no value yet, as a Python integer",
    ),
    "n_steps float": (
        lambda: scan(identity, outputs_info=x, n_steps=2.5),
        "n_steps must be an integer, got 2.5",
    ),
    "n_steps symbolic float": (
        lambda: scan(identity, outputs_info=x, n_steps=y),
        "'y' is float64.*integer scalar",
    ),
    "n_steps vector": (
        lambda: scan(identity, outputs_info=x, n_steps=T.lvector("n")),
        "'n' is int64.*integer scalar",
    ),
    "n_steps more than a known length": (
        lambda: scan(identity, sequences=np.zeros(3), n_steps=4),
        "has 3 steps, but 4 are to be run",
    ),
    "truncate_gradient": (lambda: scan(identity, sequences=u, truncate_gradient=0), "truncate_gradient"),
    "too few outputs": (
        lambda: scan(lambda a, s: s, sequences=u, outputs_info=[x, None]),
        "returns 1 outputs, outputs_info has 2",
    ),
    "too many arguments": (
        lambda: scan(identity, sequences=[u, v]),
        r"called with 2 arguments \(u\[t\], v\[t\]\)",
    ),
    "output is no value": (
        lambda: scan(lambda a: object(), sequences=u),
        "output 0 of the step is no variable",
    ),
    "dtype drift": (
        lambda: scan(lambda a, s: s + a, sequences=u, outputs_info=f32),
        r"output 0 .* is float64.*'f32\[t-1\]' is float32.*first operation that makes it so is "
        r"add\(.*'float32'",
    ),
    "ndim drift": (
        lambda: scan(lambda s: T.stack([s, s]), outputs_info=x, n_steps=2),
        r"'x\[t-1\]' is float64\(\).*stack",
    ),
    "shape drift": (
        lambda: scan(lambda s: T.concatenate([s, s]), outputs_info=np.zeros(2), n_steps=2),
        "axis 0 changes from 2 to 4",
    ),
    "number whose step gives another kind": (
        lambda: scan(lambda s: T.cast(s, "int32") * 1, outputs_info=0.5, n_steps=2),
        "is int32.*is float64",
    ),
    "shared updated twice": (
        lambda: scan(lambda: [(k, k + 1), (k, k + 2)], n_steps=2),
        "updates shared variable 'k' twice",
    ),
    "shared update of another dtype": (
        lambda: scan(lambda: {k: k * 1.5}, n_steps=2),
        "'k' is float64.*expected int64",
    ),
    "until of a vector": (
        lambda: scan(lambda a: (a, until(u > a)), sequences=u),
        "until: the condition is .*scalar",
    ),
    "two until": (
        lambda: scan(lambda a: (until(a > 1), until(a > 2)), sequences=u),
        "two `until` conditions",
    ),
    "strict": (
        lambda: scan(lambda a: a * x, sequences=u, strict=True),
        "variable 'x'.*add it to non_sequences",
    ),
    "strict shared": (lambda: scan(lambda a: a * k, sequences=u, strict=True), "shared variable 'k'"),
    "strict hidden in an expression": (
        lambda: scan(lambda a, c: a * c * T.exp(y), sequences=u, non_sequences=x, strict=True),
        "variable 'y'",
    ),
    "update of no shared variable": (
        lambda: scan(lambda a: (a, {x: a}), sequences=u),
        "expected a shared variable",
    ),
    "checkpoints after no steps": (
        lambda: scanlib.scan_checkpoints(identity, u, outputs_info=[None], save_every_N=0),
        "save_every_N must be a positive integer, got 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str) -> None:
    make, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=f"(?s){message}"):
        make()


def test_truth_value_in_a_step() -> None:
    with pytest.raises(UserError, match="truth value"):
        scan(lambda a: a if a > 0 else -a, sequences=u)


def test_updates_of_two_scans_cannot_be_merged() -> None:
    _, first = scan(lambda: {k: k + 1}, n_steps=2)
    _, second = scan(lambda: {k: k + 2}, n_steps=2)
    with pytest.raises(UserError, match="'k' is updated twice"):
        first.update(second)
    with pytest.raises(UserError, match="'k' is updated twice"):
        first + second
    first.update(first)


def test_missing_input() -> None:
    results, _ = scan(lambda a: a * x, sequences=u)
    with pytest.raises(UserError, match="'x'.*not among the inputs"):
        scanlib.function([u], results)


# Failures inside a step.


def failing(mode: str) -> tuple[scanlib.Function, scanlib.SharedVariable]:
    """Reads table[i] at step i, and counts in a shared variable."""
    count = scanlib.shared(0, name="count")
    table, index = T.vector("table"), T.lvector("index")
    results, updates = scan(lambda i: (table[i], {count: count + 1}), sequences=index, name="look")
    return scanlib.function([table, index], results, updates=updates, mode=mode), count


def test_failure_names_scan_step_and_operation(mode: str) -> None:
    f, count = failing(mode)
    np.testing.assert_array_equal(f([1.0, 2.0], [0, 1, -1]), [1, 2, 2])
    assert int(count.get_value()) == 3
    with pytest.raises(StepError, match="scan 'look', step 3.*index 7.*2") as caught:
        f([1.0, 2.0], [0, 1, 0, 7, 1])
    assert isinstance(caught.value, IndexError)
    assert int(count.get_value()) == 3, "shared variables stay as they were"
    f([1.0], [0])
    assert int(count.get_value()) == 4


def test_failure_in_a_nested_scan_names_both(mode: str) -> None:
    table, index = T.vector("table"), T.lmatrix("index")

    def outer(row: Any) -> Any:
        return scan(lambda i: table[i], sequences=row, name="inner")[0]

    results, _ = scan(outer, sequences=index, name="outer")
    f = scanlib.function([table, index], results, mode=mode)
    with pytest.raises(UserError, match="scan 'outer', step 1: scan 'inner', step 2"):
        f([1.0, 2.0], [[0, 1, 0], [0, 1, 5]])


def test_singular_matrix_in_a_step(mode: str) -> None:
    a = T.tensor3("a")
    results, _ = scan(lambda m: T.nlinalg.matrix_inverse(m), sequences=a, name="invert")
    f = scanlib.function([a], results, mode=mode)
    good = np.stack([np.eye(2), 2 * np.eye(2)])
    np.testing.assert_allclose(f(good), np.stack([np.eye(2), 0.5 * np.eye(2)]))
    with pytest.raises(UserError, match="scan 'invert'"):
        f(np.stack([np.eye(2), np.zeros((2, 2))]))


def test_shape_mismatch_in_a_step(mode: str) -> None:
    a, w = T.matrix("a"), T.matrix("w")
    results, _ = scan(lambda row: T.dot(row, w), sequences=a, name="product")
    f = scanlib.function([a, w], results, mode=mode)
    assert f(np.ones((3, 2)), np.ones((2, 4))).shape == (3, 4)
    with pytest.raises(UserError, match="scan 'product'.*2 columns against 3 rows"):
        f(np.ones((3, 2)), np.ones((3, 4)))


@pytest.mark.parametrize("length", [9, 20])
def test_messages_tell_lengths_however_large(length: int, mode: str) -> None:
    """Compiled code does not know large lengths apart, its messages do."""
    results, _ = scan(lambda s: s + v, outputs_info=T.zeros(5), n_steps=3, name="sum")
    f = scanlib.function([v], results, mode=mode)
    assert f(np.ones(5)).shape == (3, 5)
    with pytest.raises(UserError, match=f"scan 'sum'.*{length}"):
        f(np.ones(length))
    assert f(np.ones(5)).shape == (3, 5)


def test_a_step_without_results() -> None:
    with pytest.raises(UserError, match="scan 'forgets': the step returns nothing"):
        scan(lambda a: None, sequences=u, name="forgets")


def test_memory_that_is_not_there() -> None:
    n = T.lscalar("n")
    f = scanlib.function([n], scan(lambda a: 2 * a, outputs_info=x * 0 + 1, n_steps=n)[0], givens={x: 1.0})
    with pytest.raises(MemoryError, match="scan 'scan': [0-9]+ bytes could not be allocated"):
        f(10**15)


def test_state_whose_shape_drifts_at_run_time(mode: str) -> None:
    s = T.vector("s")
    results, _ = scan(lambda a: T.concatenate([a, a]), outputs_info=s, n_steps=3, name="grow")
    f = scanlib.function([s], results, mode=mode)
    with pytest.raises(UserError, match="grow"):
        f([1.0, 2.0])


def test_initial_value_that_does_not_cover_the_taps_at_run_time(mode: str) -> None:
    s = T.vector("s")
    results, _ = scan(lambda a, b: a + b, outputs_info=dict(initial=s, taps=[-3, -1]), n_steps=3)
    f = scanlib.function([s], results, mode=mode)
    assert f([1.0, 2.0, 3.0]).shape == (3,)
    with pytest.raises(UserError, match="covers 2 steps, its taps need 3"):
        f([1.0, 2.0])


def test_traces_are_named_after_their_states(mode: str) -> None:
    x, h0 = T.vector("x"), T.vector("h0")

    def step(u: Variable, speed: Variable, place: Variable) -> tuple[Variable, Variable, Variable]:
        return speed * u, place + speed, speed**2

    (speed, place, energy), _ = scanlib.scan(step, x, [h0, T.zeros(3), None])
    for read, name in [(speed, "trace of h0"), (place, "trace of place"), (energy, "trace of output 2")]:
        f = scanlib.function([x, h0], read[7], mode=mode)
        with pytest.raises(
            IndexError, match=f"index 7 is out of bounds for axis 0 of '{name}', which is 2 long"
        ):
            f(np.ones(2), np.ones(3))


# Steps that would fail do not, where no step is run.

READS: dict[str, Callable[[Variable, Variable, Variable, Variable], Variable]] = {
    "a known place of a row": lambda row, s, i, places: s + row[33],
    "a place of a row": lambda row, s, i, places: s + row[i],
    "places of a row": lambda row, s, i, places: s + row[places].sum(),
    "a place of a state": lambda row, s, i, places: s * row[0] + s[i],
    "a known place of a state": lambda row, s, i, places: T.inc_subtensor(s[33], row[0]),
    "a place that is written to": lambda row, s, i, places: s + T.set_subtensor(row[i], 0.0).sum(),
    "a row in an inner loop": lambda row, s, i, places: (
        s + scan(lambda a, b: a + b[i], sequences=row, non_sequences=s * row[0], name="inner")[0].sum()
    ),
}


@pytest.mark.parametrize("width", [3, 20])
@pytest.mark.parametrize("read", READS)
def test_a_place_that_is_not_there_fails_at_the_step_that_reads_it(read: str, width: int, mode: str) -> None:
    m, start, i, places = T.matrix("m"), T.vector("start"), T.lscalar("i"), T.lvector("places")
    trace, _ = scan(
        lambda row, s: READS[read](row, s, i, places), sequences=m, outputs_info=start, name="look"
    )
    inputs = [m, start, i, places]
    forward = scanlib.function(inputs, trace, mode=mode, on_unused_input="ignore")
    slopes = scanlib.function(
        inputs, scanlib.grad(trace.sum(), [m, start]), mode=mode, on_unused_input="ignore"
    )
    one = np.ones(width)
    with_i = [33, [0, 33]]
    assert forward(np.ones((0, width)), one, *with_i).shape == (0, width)
    by_m, by_start = slopes(np.ones((0, width)), one, *with_i)
    assert len(by_m) == 0 and not by_start.any()
    for f in (forward, slopes):
        with pytest.raises(
            StepError, match="(?s)scan '.*look', step .: .*out of bounds for axis 0 of"
        ) as caught:
            f(np.ones((2, width)), one, *with_i)
        assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize("i", [3, 7, -5])
def test_gradients_name_what_was_read(i: int, mode: str) -> None:
    h0, k = T.scalar("h0"), T.lscalar("k")
    trace = scan(lambda a, h: 0.5 * h + a, sequences=u, outputs_info=h0)[0]
    f = scanlib.function([u, h0, k], scanlib.grad(trace[k], [u, h0]), mode=mode)
    assert [g.tolist() for g in f(np.ones(3), 0.5, -2)] == [[0.5, 1, 0], 0.25]
    with pytest.raises(
        IndexError, match=f"index {i} is out of bounds for axis 0 of 'trace of h0', which is 3"
    ):
        f(np.ones(3), 0.5, i)
