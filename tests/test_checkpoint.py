"""Checkpointed gradients of scans: the same values, from fewer states held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scan_programs import MODE, check, draw, one_tap, several, until

import scanlib
import scanlib.tensor as T
from scanlib.gradient import grad
from scanlib.ops.revolve import plan, revolve_plan, revolve_split, split
from scanlib.scan_gradient.checkpoint import bytes_of_states, cut

MODES = ["reference", "native"]


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
    for plain, made in zip(results[:3], results[3:]):
        for p, q in zip(plain, made):
            np.testing.assert_allclose(q, p, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("steps", "budget"), [(40, 8 * 6), (40, 8 * 9), (40, 8 * 20), (40, 8 * 80), (3, 8 * 3), (0, 8)]
)
def test_checkpoints_within_a_budget(steps: int, budget: int) -> None:
    x, u = T.dscalar("x"), T.dvector("u")
    plain = grad(one_tap(x, u).sum(), [x, u])
    cut = grad(one_tap(x, u, checkpoint="auto", memory_budget=budget).sum(), [x, u])
    f = scanlib.function([x, u], [*plain, *cut], mode=MODE)
    px, pu, cx, cu = f(0.4, draw(steps))
    np.testing.assert_allclose(cx, px, rtol=1e-12)
    np.testing.assert_allclose(cu, pu, rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [1, 7, 8, 9, 999, 10**6])
def test_leaves_fit_the_budget(steps: int, mode: str) -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    made = scanlib.scan(
        lambda x: T.tanh(x), outputs_info=x, n_steps=n, checkpoint="auto", memory_budget=8 * 100 * 200
    )[0]
    node = made.owner
    row = bytes_of_states(node)
    leaves = cut(node, n, row, row)
    f = scanlib.function([x, n], [leaves.length, leaves.slots], mode=mode)
    length, slots = map(int, f(np.zeros(100), steps))
    assert length + slots <= 200
    assert (length >= steps) == (steps < 200)


# -- the schedule ------------------------------------------------------------------------------------------


@cache
def fewest(leaves: int, slots: int) -> int:
    """Leaves to run forward to reverse `leaves`, by trying every place for the next state."""
    if leaves <= 1:
        return 0
    if slots == 1:
        return leaves * (leaves - 1) // 2
    return min(m + fewest(leaves - m, slots - 1) + fewest(m, slots) for m in range(1, leaves))


def run_forward(leaves: int, slots: int) -> int:
    """The same as `split` has it."""
    total, stack = 0, [leaves]
    while stack:
        m = split(stack[-1], slots + 1 - len(stack))
        total += m
        if m == 0:
            stack.pop()
        elif stack[-1] - m == 1:
            stack[-1] = m
        else:
            stack[-1:] = [m, stack[-1] - m]
        assert len(stack) <= slots
    return total


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 5, 8, 13, 30])
def test_the_schedule_is_the_binomial_optimum(slots: int) -> None:
    for leaves in range(90):
        assert run_forward(leaves, slots) == fewest(leaves, slots), leaves


def test_the_rows_compute_what_their_references_do() -> None:
    numbers = [T.lscalar(name) for name in "abcd"]
    splits = scanlib.function(numbers[:2], revolve_split(*numbers[:2]))
    for length in [0, 1, 2, 3, 5, 17, 90, 1000, 12345, 10**6]:
        for slots in [1, 2, 3, 7, 50, 1000]:
            assert int(splits(length, slots)) == split(length, slots), (length, slots)
    plans = scanlib.function(numbers, list(revolve_plan.apply(numbers, {"label": "f"}).outputs))
    rng = np.random.default_rng(2)
    for _ in range(200):
        steps, state, step = (int(10 ** rng.uniform(0, high)) for high in (6, 3, 3))
        budget = int((state + step) * 10 ** rng.uniform(0, 4))
        made = tuple(map(int, plans(steps, budget, state, step)))
        assert made == plan(steps, budget, state, step), (steps, budget, state, step)
        length, slots = made
        assert length * step + slots * state <= budget and length >= 1 and slots >= 1


@pytest.mark.parametrize(("steps", "every"), [(0, 3), (1, 3), (10, 3), (100, 7)])
def test_the_step_of_the_scan_runs_as_often_as_the_schedule_says(steps: int, every: int) -> None:
    """Each step is run forward once to get to the leaves, and once in its leaf."""
    x, n = T.dscalar("x"), T.lscalar("n")
    made = scanlib.scan(lambda x: T.sin(x), outputs_info=x, n_steps=n, checkpoint=every, name="loop")[0]
    f = scanlib.function([x, n], grad(made[-1:].sum(), x), profile=True)
    f(0.3, steps)
    counted = [s.steps for s in f.profile.scans if s.name == "loop"]
    last = min(every, steps)
    assert sorted(counted) == sorted([steps - last, steps])


# -- what a budget allows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [40, 100, 1000])
def test_memory_stays_within_the_budget(budget: int) -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    rows = 1000
    made = scanlib.scan(
        lambda x: T.sin(x), outputs_info=x, n_steps=n, checkpoint="auto", memory_budget=8 * rows * budget
    )[0]
    f = scanlib.function([x, n], grad(made[-1].sum(), x))
    g = scanlib.function([x, n], grad(scanlib.scan(T.sin, outputs_info=x, n_steps=n)[0][-1].sum(), x))
    point = np.linspace(0.1, 3.0, rows)
    np.testing.assert_allclose(f(point, 5000), g(point, 5000), rtol=1e-10)
    # Besides: a block of what is computed for many steps at once, the state in each of the inner scans, the result.
    assert f.peak_bytes < 8 * rows * (budget + 12) + (1 << 19)
    assert f.peak_bytes > 8 * rows * budget * 0.5


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_too_small_is_an_error(mode: str) -> None:
    x, u = T.dvector("x"), T.dmatrix("u")

    def cost(**options: Any) -> Any:
        return scanlib.scan(
            lambda u, x: T.tanh(x + u), sequences=u, outputs_info=x, checkpoint="auto", name="walk", **options
        )[0].sum()

    f = scanlib.function([x, u], grad(cost(memory_budget=2000), [x, u]), mode=mode)
    with pytest.raises(
        ValueError, match="scan 'walk': memory_budget is 2000 bytes.*take 2400; give at least"
    ):
        f(np.zeros(100), np.zeros((5, 100)))
    f(np.zeros(80), np.zeros((5, 80)))
    f(np.zeros(100), np.zeros((0, 100)))


def test_a_budget_known_to_be_too_small_is_an_error_of_the_gradient() -> None:
    x = T.tensor("float64", shape=(100,), name="x")
    made = scanlib.scan(T.tanh, outputs_info=x, n_steps=9, checkpoint="auto", memory_budget=900, name="walk")[
        0
    ]
    with pytest.raises(ValueError, match="scan 'walk': memory_budget is 900 bytes.*take 1600"):
        grad(made[-1].sum(), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(checkpoint=0), "checkpoint must be None, 'auto', or a positive number of steps, got 0"),
        (dict(checkpoint="often"), "got 'often'"),
        (dict(checkpoint=True), "got True"),
        (dict(checkpoint="auto", memory_budget=0), "memory_budget must be a positive number of bytes, got 0"),
        (dict(checkpoint=3, memory_budget=100), "memory_budget needs checkpoint='auto', got checkpoint=3"),
        (dict(memory_budget=100), "got checkpoint=None"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scanlib.scan(T.tanh, outputs_info=T.dscalar("x"), n_steps=3, **options)


# -- truncation, derivatives of derivatives ----------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("checkpoint", [2, 5, "auto"])
@pytest.mark.parametrize("limit", [1, 3, 7, 20])
def test_truncated(limit: int, checkpoint: Any, mode: str) -> None:
    x, y, u, w = T.dvector("x"), T.dscalar("y"), T.dvector("u"), T.dscalar("w")
    point = [draw(3), draw(), draw(7), draw()]
    results = []
    for every in (None, checkpoint):
        a, b, c = several(x, y, u, w, truncate_gradient=limit, checkpoint=every)
        for cost in (a[-1] + b.sum() + c.sum(), b[-1]):
            results += scanlib.function([x, y, u, w], grad(cost, [x, y, u, w]), mode=mode)(*point)
    half = len(results) // 2
    for plain, made in zip(results[:half], results[half:]):
        np.testing.assert_allclose(made, plain, rtol=1e-12, atol=1e-14)


def test_truncated_keeps_the_last_steps_alone() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    made = scanlib.scan(T.sin, outputs_info=x, n_steps=n, truncate_gradient=50, checkpoint=10)[0]
    f = scanlib.function([x, n], grad(made[-1].sum(), x))
    f(np.zeros(1000), 10_000)
    assert f.peak_bytes < 8 * 1000 * 100


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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stop", [None, 0.9])
@pytest.mark.parametrize("steps", [0, 1, 4, 6, 8, 9])
def test_scan_checkpoints_without_restrictions(steps: int, stop: float | None, mode: str) -> None:
    """Taps, mapped outputs, a condition, any length, arguments that are no variables: every N-th step."""
    x, u, w = T.dvector("x"), T.dvector("u"), T.dscalar("w")

    def step(u0: Any, u1: Any, a: Any, b: Any, y: Any, w: Any, half: Any) -> Any:
        made = T.tanh(a * u0 - b * half + y), y * w + u1, a * u1
        return made if stop is None else (made, until(T.gt(u0, stop)))

    given_arguments = dict(
        sequences=[dict(input=u, taps=[0, 1])],
        outputs_info=[dict(initial=x, taps=[-2, -1]), 0.25, None],
        non_sequences=[w, 0.5],
    )
    saved, _ = scanlib.scan_checkpoints(step, save_every_N=3, padding=False, **given_arguments)
    plain, _ = scanlib.scan(step, **given_arguments)

    # A loop that stops on the way saves the step in which it stops; one that runs out of steps saves whole blocks.
    stopped = stop is not None and steps > 5

    def every(trace: Any) -> Any:
        return T.concatenate([trace[2::3], trace[-1:]]) if stopped else trace[2::3]

    expected = [every(v) for v in plain]
    outputs = [*saved, *expected]
    for values in (saved, expected):
        cost = sum(((v * (k + 1)).sum() for k, v in enumerate(values)), start=T.constant(0.0))
        outputs += grad(cost, [x, u, w])
    f = scanlib.function([x, u, w], outputs, mode=mode)
    point = np.linspace(-0.8, 0.7, steps + 1)
    if steps > 5:
        point[4] = 0.95
    made = f(np.array([0.3, -0.2]), point, 0.7)
    for got, wanted in zip([*made[:3], *made[6:9]], [*made[3:6], *made[9:]]):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mode", MODES)
def test_scan_checkpoints_with_zeros_for_the_last_block(mode: str) -> None:
    x, u = T.dscalar("x"), T.dvector("u")

    def step(u: Any, x: Any) -> Any:
        return x + u + 1

    made, _ = scanlib.scan_checkpoints(step, sequences=[u], outputs_info=[x], save_every_N=3)
    f = scanlib.function([x, u], made, mode=mode)
    assert f(0.0, np.full(7, 10.0)).tolist() == [33.0, 66.0, 79.0]


def test_scan_checkpoints_of_updates() -> None:
    count = scanlib.shared(0, name="count")
    made, updates = scanlib.scan_checkpoints(
        lambda x: (x * 2, {count: count + 1}), outputs_info=[1.0], n_steps=10, save_every_N=4, padding=False
    )
    f = scanlib.function([], made, updates=updates)
    assert f().tolist() == [16.0, 256.0] and count.get_value() == 8


def test_scan_checkpoints_keep_every_nth_state() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    made, _ = scanlib.scan_checkpoints(T.sin, outputs_info=[x], n_steps=n, save_every_N=100)
    f = scanlib.function([x, n], grad(made[-1].sum(), x))
    f(np.zeros(1000), 10_000)
    assert f.peak_bytes < 8 * 1000 * 300  # of 10 000 states: those saved, those of a block, and a few


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


# -- generated scans ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loop:
    """A generated scan: its taps, what is checkpointed, what the cost reads, and where it stops."""

    row: tuple[int, ...]
    sequences: tuple[tuple[int, ...], ...]
    states: tuple[tuple[int, ...], ...]
    mapped: int
    checkpoint: int | str
    budget: int | None
    limit: float | None
    truncate: int
    backwards: bool
    reads: tuple[int | None, ...]


def taps(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(low, high), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def loops(draw: st.DrawFn) -> Loop:
    states = draw(st.lists(st.one_of(st.just((-1,)), taps(-4, -1)), min_size=1, max_size=2))
    mapped = draw(st.integers(0, 2))
    checkpoint = draw(st.one_of(st.integers(1, 9), st.just("auto"), st.just("auto")))
    return Loop(
        row=draw(st.sampled_from([(), (3,), (20,)])),
        sequences=tuple(draw(st.lists(st.one_of(st.just((0,)), taps(-2, 1)), min_size=1, max_size=2))),
        states=tuple(states),
        mapped=mapped,
        checkpoint=checkpoint,
        budget=draw(st.one_of(st.none(), st.integers(30, 300))) if checkpoint == "auto" else None,
        limit=draw(st.one_of(st.none(), st.floats(-1, 2))),
        truncate=draw(st.sampled_from([-1, -1, -1, 1, 4, 30])),
        backwards=draw(st.booleans()),
        reads=tuple(draw(st.sampled_from([None, 0, 1, 2, 5])) for _ in range(len(states) + mapped)),
    )


def gradients(loop: Loop, checkpointed: bool, mode: str) -> scanlib.Function:
    """The gradients of a cost that reads, of each output, all, nothing, or the last steps."""

    def variable(name: str) -> Any:
        return T.tensor("float64", shape=(None,) * (1 + len(loop.row)), name=name)

    u = [variable(f"u{i}") for i in range(len(loop.sequences))]
    x = [variable(f"x{i}") for i in range(len(loop.states))]
    w = T.dscalar("w")

    def step(*values: Any) -> Any:
        *values, w = values
        first = len(values)
        total = values[0] * w
        for k, v in enumerate(values[1:], start=1):
            total = total * 0.6 + v * np.cos(k)
        outputs = [T.tanh(total + 0.1 * k * values[k % first]) for k in range(len(loop.states))]
        outputs += [T.sin(total * (k + 1)) * values[-1] for k in range(loop.mapped)]
        return outputs if loop.limit is None else (outputs, until(T.gt(values[0].sum(), loop.limit)))

    options: dict[str, Any] = {}
    if checkpointed:
        options["checkpoint"] = loop.checkpoint
        if loop.budget is not None:
            options["memory_budget"] = 8 * max(int(np.prod(loop.row)), 1) * loop.budget
    traces, _ = scanlib.scan(
        step,
        sequences=[dict(input=v, taps=list(t)) for v, t in zip(u, loop.sequences)],
        outputs_info=[v[0] if t == (-1,) else dict(initial=v, taps=list(t)) for v, t in zip(x, loop.states)]
        + [None] * loop.mapped,
        non_sequences=w,
        go_backwards=loop.backwards,
        truncate_gradient=loop.truncate,
        return_list=True,
        **options,
    )
    cost = w * 0.1
    for k, (trace, read) in enumerate(zip(traces, loop.reads), start=1):
        if read != 0:
            cost = cost + (trace if read is None else trace[-read:]).sum() * np.sin(k)
    return scanlib.function(
        [*u, *x, w],
        grad(cost, [*u, *x, w], disconnected_inputs="ignore"),
        mode=mode,
        on_unused_input="ignore",
    )


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=24, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(loop=loops(), lengths=st.lists(st.integers(0, 40), min_size=2, max_size=2), seed=st.integers(0, 999))
def test_generated(mode: str, loop: Loop, lengths: list[int], seed: int) -> None:
    plain, made = (gradients(loop, checkpointed, mode) for checkpointed in (False, True))
    rng = np.random.default_rng(seed)
    for steps in lengths:
        values: list[Any] = []
        for t in loop.sequences:
            values.append(rng.normal(size=(steps + max(*t, 0) - min(*t, 0), *loop.row)) * 0.7)
        values += [rng.normal(size=(-min(t), *loop.row)) for t in loop.states]
        for expected, got in zip(plain(*values, 0.4), made(*values, 0.4)):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "options", [dict(checkpoint=3), dict(checkpoint="auto", memory_budget=8 * 12)], ids=["every", "auto"]
)
def test_second_derivatives_are_the_plain_ones(options: dict[str, Any], mode: str) -> None:
    x, u = T.dscalar("x"), T.dvector("u")
    results = []
    for given_options in ({}, options):
        cost = (one_tap(x, u, **given_options)[-2:] ** 2).sum()
        first = grad(cost, [x, u])
        outputs = [*grad(first[0], [x, u]), *grad((first[1] ** 2).sum(), [x, u])]
        outputs.append(scanlib.Rop(first[1], u, T.sin(u)))
        results.append(scanlib.function([x, u], outputs, mode=mode)(0.4, np.linspace(-1, 1, 11)))
    for expected, got in zip(*results):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-13)
