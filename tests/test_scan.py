"""Every form of scan's arguments, against plain NumPy loops."""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.graph import Variable
from scanlib.scan import until


def run(mode: str, inputs: list[Any], outputs: Any, *values: Any, updates: Any = None) -> Any:
    return scanlib.function(inputs, outputs, updates=updates, mode=mode, on_unused_input="ignore")(*values)


U = np.arange(6.0)


# Sequences.


@pytest.mark.parametrize("form", ["variable", "list", "tuple", "dict", "dict with taps", "array"])
def test_sequence_forms(form: str, mode: str) -> None:
    u = T.vector("u")
    given: Any = {
        "variable": u,
        "list": [u],
        "tuple": (u,),
        "dict": dict(input=u),
        "dict with taps": dict(input=u, taps=0),
        "array": U,
    }[form]
    results, updates = scanlib.scan(lambda a: 2 * a, sequences=given)
    assert not updates
    np.testing.assert_array_equal(run(mode, [u], results, U), 2 * U)


@pytest.mark.parametrize(
    ("taps", "first", "steps"),
    [
        ([-1], 1, 5),
        ([0], 0, 6),
        ([2], 0, 4),
        ([-2, 1], 2, 3),
        ([0, -1], 1, 5),
        ([1, 2], 0, 4),
        ([-3, -2], 3, 3),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_sequence_taps(taps: list[int], first: int, steps: int, backwards: bool, mode: str) -> None:
    u = T.vector("u")
    results, _ = scanlib.scan(
        lambda *a: T.stack(list(a)), sequences=dict(input=u, taps=taps), go_backwards=backwards
    )
    # Each tap is cut to the same length, then reversed as Theano does.
    columns = [U[first + tap : first + tap + steps] for tap in taps]
    expected = np.stack([c[::-1] if backwards else c for c in columns], 1)
    np.testing.assert_array_equal(run(mode, [u], results, U), expected)


def test_order_of_arguments(mode: str) -> None:
    u, v, x, y, c = (T.scalar(n) if n in "yc" else T.vector(n) for n in "uvxyc")
    seen: list[Any] = []

    def step(*given: Any) -> Any:
        seen.append([g.name for g in given])
        u0, u1, v0, x1, x2, y1, c = given
        return [x1 + 2 * x2 + u0 - u1 + c, y1 + v0, u0 * v0]

    (xs, ys, zs), _ = scanlib.scan(
        step,
        sequences=[dict(input=u, taps=[0, -1]), v],
        outputs_info=[dict(initial=x, taps=[-1, -2]), y, None],
        non_sequences=c,
    )
    assert seen == [["u[t]", "u[t-1]", "v[t]", "x[t-1]", "x[t-2]", "y[t-1]", "c"]]
    made = run(mode, [u, v, x, y, c], [xs, ys, zs], U, 10 * U, [1.0, 2.0], 3.0, 0.5)
    state, total, expected = [1.0, 2.0], 3.0, []
    for t in range(5):
        state.append(state[-1] + 2 * state[-2] + U[t + 1] - U[t] + 0.5)
        total += 10 * U[t]
        expected.append((state[-1], total, U[t + 1] * 10 * U[t]))
    np.testing.assert_allclose(np.stack(made, 1), expected)


def test_unequal_lengths_stop_at_the_shortest(mode: str) -> None:
    u, v = T.vectors("u", "v")
    results, _ = scanlib.scan(lambda a, b: a + b, sequences=[u, v])
    f = scanlib.function([u, v], results, mode=mode)
    for n, m in ((6, 3), (2, 6), (0, 4)):
        np.testing.assert_array_equal(f(U[:n], U[:m]), 2 * U[: min(n, m)])


def test_no_steps_from_a_sequence_too_short_for_its_taps(mode: str) -> None:
    u = T.vector("u")
    results, _ = scanlib.scan(lambda a, b: a + b, sequences=dict(input=u, taps=[-2, 0]))
    f = scanlib.function([u], results, mode=mode)
    assert f(U[:2]).shape == (0,)
    with pytest.raises(scanlib.errors.UserError, match="taps"):
        f(U[:1])


def test_matrix_sequence_and_state(mode: str) -> None:
    x, h, w = T.matrix("x"), T.vector("h"), T.matrix("w")
    results, _ = scanlib.scan(
        lambda a, s, w: T.tanh(a + T.dot(s, w)), sequences=x, outputs_info=h, non_sequences=w
    )
    rng = np.random.RandomState(0)
    xs, w0 = rng.randn(7, 3), rng.randn(3, 3)
    state, expected = np.zeros(3), []
    for row in xs:
        state = np.tanh(row + state @ w0)
        expected.append(state)
    np.testing.assert_allclose(run(mode, [x, h, w], results, xs, np.zeros(3), w0), expected)


# The number of steps.


@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("symbolic", [False, True])
def test_n_steps(steps: int, symbolic: bool, mode: str) -> None:
    n, x = T.iscalar("n"), T.vector("x")
    results, _ = scanlib.scan(lambda s: 2 * s, outputs_info=x, n_steps=n if symbolic else steps)
    made = run(mode, [n, x], results, steps, [1.0, 3.0])
    expected = np.array([[1.0, 3.0]]) * 2.0 ** np.arange(1, steps + 1)[:, None]
    np.testing.assert_array_equal(made, expected)
    assert made.shape == (steps, 2)


@pytest.mark.parametrize("steps", [3, -3])
@pytest.mark.parametrize("backwards", [False, True])
def test_negative_n_steps_and_go_backwards(steps: int, backwards: bool, mode: str) -> None:
    u = T.vector("u")
    results, _ = scanlib.scan(
        lambda a, s: 10 * s + a,
        sequences=u,
        outputs_info=np.float64(0),
        n_steps=steps,
        go_backwards=backwards,
    )
    order = U[::-1] if (steps < 0) != backwards else U
    total, expected = 0.0, []
    for a in order[:3]:
        total = 10 * total + a
        expected.append(total)
    np.testing.assert_array_equal(run(mode, [u], results, U), expected)


def test_n_steps_larger_than_a_sequence_is_an_error(mode: str) -> None:
    u, n = T.vector("u"), T.iscalar("n")
    results, _ = scanlib.scan(lambda a: a, sequences=u, n_steps=n, name="short")
    f = scanlib.function([u, n], results, mode=mode)
    assert f(U, 6).shape == (6,)
    with pytest.raises(scanlib.errors.UserError, match="scan 'short'.*6 steps.*7"):
        f(U, 7)
    with pytest.raises(scanlib.errors.UserError, match="steps"):
        f(U, -1)


# States.


@pytest.mark.parametrize("form", ["variable", "list", "dict", "dict with taps", "array", "number"])
def test_state_forms(form: str, mode: str) -> None:
    x = T.scalar("x")
    given: Any = {
        "variable": x,
        "list": [x],
        "dict": dict(initial=x),
        "dict with taps": [dict(initial=x, taps=[-1])],
        "array": np.asarray(2.0),
        "number": 2.0,
    }[form]
    results, _ = scanlib.scan(lambda s: s * s, outputs_info=given, n_steps=3)
    np.testing.assert_array_equal(run(mode, [x], results, 2.0), [4, 16, 256])


@pytest.mark.parametrize("taps", [[-1, -2], [-2, -1], [-3], [-3, -1], [-4, -2, -1], [-2]])
def test_state_taps(taps: list[int], mode: str) -> None:
    depth = -min(taps)
    x = T.vector("x")
    results, _ = scanlib.scan(
        lambda *s: sum((k + 1) * v for k, v in enumerate(s)) - 1.0,
        outputs_info=[dict(initial=x, taps=taps)],
        n_steps=6,
    )
    values = [1.0 + 0.5 * i for i in range(depth)]
    made = run(mode, [x], results, [*values, 99.0])
    for _ in range(6):
        values.append(sum((k + 1) * values[len(values) + tap] for k, tap in enumerate(taps)) - 1.0)
    np.testing.assert_allclose(made, values[depth:])


@pytest.mark.parametrize("nothing", [None, [None, None], [{}, {}], [None, dict(initial=None)]])
def test_mapped_outputs(nothing: Any, mode: str) -> None:
    u = T.vector("u")
    (a, b), _ = scanlib.scan(lambda v: [v + 1, T.stack([v, -v])], sequences=u, outputs_info=nothing)
    made = run(mode, [u], [a, b], U)
    np.testing.assert_array_equal(made[0], U + 1)
    np.testing.assert_array_equal(made[1], np.stack([U, -U], 1))


def test_step_that_returns_its_input_or_an_outer_value_or_a_number(mode: str) -> None:
    u, c = T.vector("u"), T.scalar("c")
    (a, b, d, e), _ = scanlib.scan(
        lambda v, s: [v, s, c, 7.0], sequences=u, outputs_info=[np.float64(5), None, None, None]
    )
    made = run(mode, [u, c], [a, b, d, e], U, 3.0)
    np.testing.assert_array_equal(made[0], U)
    np.testing.assert_array_equal(made[1], [5.0, *U[:-1]])
    np.testing.assert_array_equal(made[2], np.full(6, 3.0))
    np.testing.assert_array_equal(made[3], np.full(6, 7.0))


def test_a_plain_number_takes_the_dtype_of_the_step(mode: str) -> None:
    u = T.vector("u")
    results, _ = scanlib.scan(lambda a, s: s + a, sequences=u, outputs_info=0)
    assert results.dtype == "float64"
    np.testing.assert_array_equal(run(mode, [u], results, U), U.cumsum())


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "float64", "bool"])
def test_dtypes_of_states(dtype: str, mode: str) -> None:
    u = T.vector("u", dtype=dtype)
    results, _ = scanlib.scan(
        lambda a, s: (a | s) if dtype == "bool" else a + s, sequences=u, outputs_info=np.zeros((), dtype)
    )
    values = np.array([0, 1, 1, 0, 1]).astype(dtype)
    made = run(mode, [u], results, values)
    assert made.dtype == dtype
    expected = np.logical_or.accumulate(values) if dtype == "bool" else values.cumsum().astype(dtype)
    np.testing.assert_array_equal(made, expected)


# What a step returns.


def test_result_forms() -> None:
    u = T.vector("u")
    one, _ = scanlib.scan(lambda a: a, sequences=u)
    assert isinstance(one, Variable)
    listed, _ = scanlib.scan(lambda a: a, sequences=u, return_list=True)
    assert isinstance(listed, list) and len(listed) == 1
    several, _ = scanlib.scan(lambda a: (a, a), sequences=u)
    assert isinstance(several, list) and len(several) == 2
    k = scanlib.shared(0)
    nothing, _ = scanlib.scan(lambda a: {k: k + 1}, sequences=u)
    assert nothing is None
    empty, _ = scanlib.scan(lambda a: {k: k + 1}, sequences=u, return_list=True)
    assert empty == []


@pytest.mark.parametrize(
    "form",
    [
        "dict",
        "ordered",
        "pairs",
        "outputs and dict",
        "list and pairs",
        "outputs, dict, until",
        "dict and until",
    ],
)
def test_returned_updates(form: str, mode: str) -> None:
    u, k = T.vector("u"), scanlib.shared(3, name="k")
    more = until(T.ge(k, 100))
    returned: Any = {
        "dict": lambda a: {k: k + 1},
        "ordered": lambda a: OrderedDict([(k, k + 1)]),
        "pairs": lambda a: [(k, k + 1)],
        "outputs and dict": lambda a: (a + k, {k: k + 1}),
        "list and pairs": lambda a: ([a + k], [(k, k + 1)]),
        "outputs, dict, until": lambda a: ([a + k], {k: k + 1}, more),
        "dict and until": lambda a: ({k: k + 1}, more),
    }[form]
    results, updates = scanlib.scan(returned, sequences=u)
    assert list(updates) == [k]
    outputs = [] if results is None else [results]
    made = run(mode, [u], outputs, U, updates=updates)
    assert int(k.get_value()) == 9
    if outputs:
        np.testing.assert_array_equal(made[0], U + np.arange(3, 9))


def test_shared_variable_passed_and_updated(mode: str) -> None:
    k = scanlib.shared(np.zeros(2))
    _, updates = scanlib.scan(lambda c: {c: c + 1}, non_sequences=[k], n_steps=4, strict=True)
    run(mode, [], [], updates=updates)
    np.testing.assert_array_equal(k.get_value(), [4, 4])


@pytest.mark.parametrize("limit", [-1.0, 2.5, 100.0])
def test_until_with_outputs_of_all_kinds(limit: float, mode: str) -> None:
    u, m = T.vector("u"), T.scalar("m")
    (s, d), _ = scanlib.scan(
        lambda a, t: ([t + a, 2 * a], until(T.gt(t + a, m))), sequences=u, outputs_info=[np.float64(0), None]
    )
    made = run(mode, [u, m], [s, d, s[-1]], U, limit)
    count = next((i + 1 for i, v in enumerate(U.cumsum()) if v > limit), len(U))
    np.testing.assert_array_equal(made[0], U.cumsum()[:count])
    np.testing.assert_array_equal(made[1], 2 * U[:count])
    assert made[2] == U.cumsum()[count - 1]


# What a step uses.


def test_closures_and_shared_variables(mode: str) -> None:
    u, c, w = T.vector("u"), T.scalar("c"), scanlib.shared(np.float64(10.0), name="w")
    invariant = T.exp(c) * w
    results, updates = scanlib.scan(lambda a: a * invariant + w, sequences=u)
    assert not updates
    np.testing.assert_allclose(run(mode, [u, c], results, U, 0.3), U * np.exp(0.3) * 10 + 10)


def test_invariants_are_computed_outside() -> None:
    u, w = T.vector("u"), T.matrix("w")
    results, _ = scanlib.scan(lambda a: a * T.dot(w, w).sum(), sequences=u)
    spec = results.owner.params["spec"]
    assert spec.non_sequences == 1 and spec.non_sequence_inputs()[0].ndim == 0


def test_nested_scans(mode: str) -> None:
    x, y = T.matrix("x"), T.vector("y")

    def outer(row: Variable, total: Variable) -> Any:
        inner, _ = scanlib.scan(lambda a, b, s: s + a * b, sequences=[row, y], outputs_info=total)
        return inner[-1]

    results, _ = scanlib.scan(outer, sequences=x, outputs_info=np.float64(0))
    values = np.random.RandomState(1).randn(4, 3)
    made = run(mode, [x, y], results, values, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(made, (values @ [1.0, 2.0, 3.0]).cumsum())


def test_nested_scan_with_updates_and_lengths_of_its_own(mode: str) -> None:
    k, n = scanlib.shared(0, name="k"), T.lvector("n")

    def outer(count: Variable) -> Any:
        _, updates = scanlib.scan(lambda: {k: k + 1}, n_steps=count)
        return k, updates

    results, updates = scanlib.scan(outer, sequences=n)
    made = run(mode, [n], results, [1, 0, 3], updates=updates)
    np.testing.assert_array_equal(made, [0, 1, 1])
    assert int(k.get_value()) == 4


def test_scan_over_a_scan(mode: str) -> None:
    u = T.vector("u")
    sums, _ = scanlib.scan(lambda a, s: a + s, sequences=u, outputs_info=np.float64(0))
    again, _ = scanlib.scan(lambda a, s: a + s, sequences=sums, outputs_info=np.float64(0))
    np.testing.assert_array_equal(run(mode, [u], again, U), U.cumsum().cumsum())


def test_ifelse_in_a_step(mode: str) -> None:
    u = T.vector("u")
    results, _ = scanlib.scan(lambda a: scanlib.ifelse(T.gt(a, 2), a * 10, -a), sequences=u)
    np.testing.assert_array_equal(run(mode, [u], results, U), np.where(U > 2, U * 10, -U))


# The variations.


def test_map_reduce_and_folds(mode: str) -> None:
    u = T.vector("u")
    squares, _ = scanlib.map(lambda a: a * a, u)
    total, _ = scanlib.reduce(lambda a, s: s + a, u, np.float64(0))
    left, _ = scanlib.foldl(lambda a, s: 10 * s + a, u, np.float64(0))
    right, _ = scanlib.foldr(lambda a, s: 10 * s + a, u, np.float64(0))
    two, _ = scanlib.reduce(lambda a, s, p: [s + a, p * a], u, [np.float64(0), np.float64(1)])
    made = run(mode, [u], [squares, total, left, right, *two], U[1:])
    np.testing.assert_array_equal(made[0], U[1:] ** 2)
    assert [float(v) for v in made[1:]] == [15, 12345, 54321, 15, 120]


@pytest.mark.parametrize("steps", [10, 7])
@pytest.mark.parametrize("padding", [True, False])
def test_scan_checkpoints(steps: int, padding: bool, mode: str) -> None:
    u, x = T.vector("u"), T.scalar("x")
    results, _ = scanlib.scan_checkpoints(
        lambda a, s: s + a, sequences=u, outputs_info=x, save_every_N=5, padding=padding
    )
    values = np.arange(1.0, steps + 1)
    made = run(mode, [u, x], results, values, 100.0)
    sums = 100 + values.cumsum()
    expected = [sums[4], sums[-1]] if padding or steps == 10 else [sums[4]]
    np.testing.assert_array_equal(made, expected)


def test_accepted_arguments_without_effect(mode: str) -> None:
    u = T.vector("u")
    results, _ = scanlib.scan(
        fn=lambda a: a,
        sequences=u,
        truncate_gradient=3,
        mode="FAST_RUN",
        name="n",
        profile=True,
        allow_gc=False,
    )
    assert results.owner.params["spec"].truncate_gradient == 3
    np.testing.assert_array_equal(run(mode, [u], results, U), U)


def test_last_steps_of_a_trace(mode: str) -> None:
    u = T.vector("u")
    sums, _ = scanlib.scan(lambda a, s: a + s, sequences=u, outputs_info=np.float64(0))
    made = run(mode, [u], [sums[-1], sums[-3:], sums[-2]], U)
    np.testing.assert_array_equal(made[1], U.cumsum()[-3:])
    assert float(made[0]) == 15 and float(made[2]) == 10


def test_many_steps(mode: str) -> None:
    """More steps than any block."""
    steps = 300 if mode == "reference" else 100_000
    x, n = T.scalar("x"), T.iscalar("n")
    results, _ = scanlib.scan(lambda s: 3.7 * s * (1.0 - s), outputs_info=x, n_steps=n)
    made = run(mode, [x, n], results, 0.2, steps)
    s = 0.2
    for t in range(60):
        s = 3.7 * s * (1.0 - s)
        np.testing.assert_allclose(made[t], s, rtol=1e-4)
    assert made.shape == (steps,) and np.all((made > 0) & (made < 1))


def test_of_two_products_the_one_that_waits_for_the_state_is_fused_with_their_difference() -> None:
    u = np.random.default_rng(5).uniform(0, 1, 200)
    x = T.dvector("x")
    states, _ = scanlib.scan(lambda x, s: 0.9 * x - s * s, sequences=x, outputs_info=0.1)
    found = scanlib.function([x], states)(u)
    before = np.concatenate([[0.1], found[:-1]])
    late = [float(Fraction(0.9 * a) - Fraction(s) ** 2) for a, s in zip(u, before, strict=True)]
    rounded = [0.9 * a - s * s for a, s in zip(u, before, strict=True)]
    # A machine without fused multiply-add rounds both products.
    assert found.tolist() in (late, rounded)
    assert late != rounded
