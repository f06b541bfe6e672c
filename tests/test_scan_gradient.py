"""Derivatives of scans: every kind of sequence, state and output, checked by differences."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_programs import MODE, check, draw, one_tap, several, two_taps, until

import scanlib
import scanlib.tensor as T
from scanlib.gradient import grad, hessian_vector_product
from scanlib.graph import Variable, toposort
from scanlib.ops.scan_op import scan_op, spec_of
from scanlib.verify import verify_grad


def test_one_tap_to_third_order() -> None:
    check(one_tap, draw(), draw(4), order=3)
    check(lambda *a: one_tap(*a)[-1], draw(), draw(4), order=3)


def test_two_taps_to_third_order() -> None:
    check(two_taps, draw(2), draw(4), draw(), order=3)
    check(lambda *a: two_taps(*a)[-1], draw(2), draw(3), draw(), order=3)


def test_rows_of_states() -> None:
    check(two_taps, draw(2, 3), draw(4, 3), draw(3), order=2)


def test_last_values_of_a_two_tap_state() -> None:
    for k in (1, 2, 3):
        check(lambda *a, k=k: two_taps(*a)[-k:], draw(2), draw(4), draw(), order=2)
        check(lambda *a, k=k: two_taps(*a)[-k], draw(2), draw(4), draw())


def test_a_tail_longer_than_the_run() -> None:
    check(lambda *a: two_taps(*a)[-5:], draw(2), draw(3), draw(), order=2)
    check(lambda *a: one_tap(*a)[-3:], draw(), draw(1))


def test_a_tail_beside_the_whole_trace() -> None:
    def fun(*a: Any) -> Any:
        r = one_tap(*a)
        return r[-1] * r.sum() + r[-2] + r[0] * r[-2:].sum()

    check(fun, draw(), draw(4), order=2)


def test_part_of_the_last_row() -> None:
    check(lambda x, u: one_tap(x, u)[-1, 1], draw(3), draw(4, 3), order=2)
    check(lambda x, u: one_tap(x, u)[-2, ::-2], draw(3), draw(4, 3))


@pytest.mark.parametrize("steps", [0, 1])
def test_zero_and_one_step(steps: int) -> None:
    check(one_tap, draw(), draw(steps), order=2)
    check(two_taps, draw(2), draw(steps), draw(), order=2)


def test_zero_steps_give_zeros() -> None:
    x, u, w = T.dvector("x"), T.dvector("u"), T.dscalar("w")
    f = scanlib.function([x, u, w], grad(two_taps(x, u, w).sum() + x.sum(), [x, u, w]), mode=MODE)
    gx, gu, gw = f([1.0, 2.0], np.zeros(0), 3.0)
    np.testing.assert_array_equal(gx, [1, 1])
    assert gu.shape == (0,) and gw == 0


def test_sequences_longer_than_the_run() -> None:
    check(lambda x, u: one_tap(x, u, n_steps=3), draw(), draw(6), order=2)
    check(lambda x, u, n: one_tap(x, u, n_steps=n), draw(), draw(6), np.int64(2), order=2)


def test_backwards() -> None:
    check(lambda x, u: one_tap(x, u, go_backwards=True), draw(), draw(4), order=2)
    check(lambda x, u: one_tap(x, u, n_steps=-3), draw(), draw(4))


def test_taps_of_a_sequence() -> None:
    def fun(x: Any, u: Any, backwards: bool) -> Any:
        def step(a: Any, b: Any, c: Any, x: Any) -> Any:
            return T.tanh(x * a + b * c)

        source = dict(input=u, taps=[0, -2, 1])
        return scanlib.scan(step, sequences=[source], outputs_info=x, go_backwards=backwards)[0]

    for backwards in (False, True):
        check(lambda x, u, b=backwards: fun(x, u, b), draw(), draw(6), order=2)


def test_several_outputs() -> None:
    points = draw(3), draw(), draw(4), draw()
    check(several, *points, order=2)
    check(lambda *a: several(*a)[2], *points, order=2)
    check(lambda *a: (several(*a)[2][-1], several(*a)[0][1]), *points)


def test_duplicated_and_disconnected_outputs() -> None:
    def fun(x: Any, u: Any, w: Any) -> Any:
        def step(u: Any, x: Any, y: Any) -> Any:
            new = T.tanh(x * u)
            return new, new, new, y + 1.0, u

        a, b, c, d, e = scanlib.scan(step, sequences=u, outputs_info=[x, w, None, None, None])[0][:5]
        return a, b, c, d, e

    check(fun, draw(), draw(3), draw(), order=2)
    x, u = T.dscalar("x"), T.dvector("u")
    counted = scanlib.scan(lambda u, x: (x * 2, u * 3), sequences=u, outputs_info=[x, None])[0]
    assert grad(counted[1].sum(), x, disconnected_inputs="ignore", return_disconnected="None") is None
    with pytest.raises(scanlib.errors.DisconnectedInputError, match="'x'"):
        grad(counted[1].sum(), x)


def test_a_state_that_is_handed_on() -> None:
    def fun(x: Any, y: Any, u: Any) -> Any:
        # y[t] = x[t-1], x[t] = u[t]·y[t-1]
        return scanlib.scan(lambda u, x, y: (u * y, x), sequences=u, outputs_info=[x, y])[0]

    check(fun, draw(), draw(), draw(4), order=2)


def test_an_initial_value_that_only_others_read() -> None:
    def fun(x: Any, u: Any) -> Any:
        # The state itself does not depend on its initial values, the mapped output does.
        def step(u: Any, old: Any) -> Any:
            return u, old * old * u

        info = [dict(initial=x, taps=[-2]), None]
        return scanlib.scan(step, sequences=u, outputs_info=info)[0][1]

    check(fun, draw(2), draw(4), order=2)


def test_integer_states_and_sequences() -> None:
    def fun(x: Any, u: Any) -> Any:
        def step(i: Any, count: Any, x: Any, u: Any) -> Any:
            return count + i, T.tanh(x * u[i]) * count

        return scanlib.scan(step, sequences=T.arange(3), outputs_info=[T.constant(1), x], non_sequences=u)[0][
            1
        ]

    check(fun, draw(), draw(4), order=2)


@pytest.mark.parametrize("last", [False, True])
def test_until(last: bool) -> None:
    u = np.array([0.1, 0.2, -0.3, 0.7, 0.9, 0.1])

    def fun(x: Any, u: Any) -> Any:
        def step(u: Any, x: Any) -> Any:
            return T.tanh(x * 0.9 + u), until(T.gt(u, 0.5))

        r = scanlib.scan(step, sequences=u, outputs_info=x)[0]
        return r[-1] if last else r

    check(fun, draw(), u, order=2)


def test_until_on_the_state_without_sequences() -> None:
    def fun(x: Any, a: Any) -> Any:
        def step(x: Any, a: Any) -> Any:
            return x * a, until(T.gt(x * a, 10.0))

        return scanlib.scan(step, outputs_info=x, non_sequences=a, n_steps=100)[0]

    check(fun, 0.7, 1.9, order=2)


def test_truncated_gradient_reads_the_last_steps_only() -> None:
    x, u, w = T.dscalar("x"), T.dvector("u"), T.dscalar("w")

    def run(u: Any, x: Any, **options: Any) -> Any:
        return scanlib.scan(lambda u, x, w: x * u * w, u, x, w, **options)[0]

    cut = grad(run(u, x, truncate_gradient=2)[-1], [x, u, w])
    # The same with everything before the last two steps held constant.
    held = run(u, T.constant(1.0) * x)[-3]
    expected = grad(run(u[-2:], held)[-1], [u, w], consider_constant=[held])
    f = scanlib.function([x, u, w], [*cut, *expected], mode=MODE)
    gx, gu, gw, eu, ew = f(0.7, [1.0, 2.0, 3.0, 4.0, 5.0], 0.9)
    assert gx == 0
    np.testing.assert_allclose(gu, eu)
    np.testing.assert_allclose(gw, ew)
    long = scanlib.function([x, u, w], grad(run(u, x, truncate_gradient=9)[-1], [x, u, w]), mode=MODE)
    full = scanlib.function([x, u, w], grad(run(u, x)[-1], [x, u, w]), mode=MODE)
    for a, b in zip(long(0.7, [1.0, 2.0], 0.9), full(0.7, [1.0, 2.0], 0.9)):
        np.testing.assert_allclose(a, b)


def test_carried_shared_variables() -> None:
    weight = scanlib.shared(np.asarray(0.8), name="weight")
    u = T.dvector("u")

    def step(u: Any) -> Any:
        return weight * u, {weight: T.tanh(weight + u)}

    trace, updates = scanlib.scan(step, sequences=u)
    cost = trace.sum() + updates[weight] * 2
    f = scanlib.function([u], [cost, *grad(cost, [weight, u])], mode=MODE)
    point = draw(4)
    _, g_weight, g_u = f(point)
    h = 1e-5

    def at(w: float, point: np.ndarray) -> float:
        weight.set_value(np.asarray(w))
        return float(f(point)[0])

    np.testing.assert_allclose(g_weight, (at(0.8 + h, point) - at(0.8 - h, point)) / (2 * h), rtol=1e-7)
    for i in range(4):
        move = h * (np.arange(4) == i)
        np.testing.assert_allclose(
            g_u[i], (at(0.8, point + move) - at(0.8, point - move)) / (2 * h), rtol=1e-7
        )


def test_gradients_with_respect_to_outer_variables_of_the_step() -> None:
    w = scanlib.shared(draw(3), name="w")
    x = T.dvector("x")
    y = x * x
    r = scanlib.scan(lambda h: T.tanh(h * w + y), outputs_info=T.zeros_like(x), n_steps=3)[0]
    f = scanlib.function([x], grad(r[-1].sum(), [w, x]), mode=MODE)
    points = w.get_value(), draw(3)

    def fun(w: Any, x: Any) -> Any:
        y = x * x
        return scanlib.scan(lambda h: T.tanh(h * w + y), outputs_info=T.zeros_like(x), n_steps=3)[0][-1].sum()

    a, b = T.dvector(), T.dvector()
    expected = scanlib.function([a, b], grad(fun(a, b), [a, b]), mode=MODE)(*points)
    for got, want in zip(f(points[1]), expected):
        np.testing.assert_allclose(got, want)


def test_elman_network() -> None:
    def fun(h: Any, W: Any, U: Any, b: Any, X: Any) -> Any:
        def step(x: Any, h: Any, W: Any, U: Any, b: Any) -> Any:
            return T.tanh(x @ W + h @ U + b)

        return scanlib.scan(step, sequences=X, outputs_info=h, non_sequences=[W, U, b])[0]

    points = draw(2, 3), draw(4, 3), draw(3, 3), draw(3), draw(3, 2, 4)
    check(fun, *points, order=2)
    check(fun, *[p.astype("float32") for p in points])


def test_nested() -> None:
    def fun(x: Any, u: Any) -> Any:
        def outer(row: Any, x: Any) -> Any:
            inner = scanlib.scan(lambda a, y, x: T.tanh(a * x + y * x), row, x, x)[0]
            return x + inner[-1], inner

        return scanlib.scan(outer, sequences=u, outputs_info=[x, None])[0]

    check(fun, draw(), draw(2, 3), order=2)


def test_grad_inside_a_step() -> None:
    def fun(x: Any, u: Any) -> Any:
        # Gradient descent on sin(x·u).
        return scanlib.scan(lambda u, x: x - 0.3 * grad(T.sin(x * u), x), sequences=u, outputs_info=x)[0]

    check(fun, draw(), draw(4), order=2)


def test_gradient_of_a_scan_inside_a_step() -> None:
    def fun(x: Any, u: Any) -> Any:
        def descend(row: Any, x: Any) -> Any:
            return x - 0.1 * grad(one_tap(x, row)[-1], x)

        return scanlib.scan(descend, sequences=u, outputs_info=x)[0]

    check(fun, draw(), draw(2, 2))


def test_hessian_vector_products() -> None:
    x, u, v = T.dscalar("x"), T.dvector("u"), T.dvector("v")
    cost = (one_tap(x, u) ** 2).sum()
    forward = hessian_vector_product(cost, u, v)
    reverse = grad((grad(cost, u) * v).sum(), u)
    f = scanlib.function([x, u, v], [forward, reverse], mode=MODE)
    a, b = f(0.6, draw(4), draw(4))
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_random_draws_are_constants() -> None:
    from scanlib.tensor.shared_randomstreams import RandomStreams

    x = T.dvector("x")
    stream = RandomStreams(5)
    r, updates = scanlib.scan(lambda h: h * stream.uniform(size=(2,)), outputs_info=x, n_steps=3)
    f = scanlib.function([x], [r[-1], grad(r[-1].sum(), x)], updates=updates, mode=MODE)
    for _ in range(2):
        value, g = f([2.0, 4.0])
        np.testing.assert_allclose(g, value / [2.0, 4.0])


# Compiled.


def _elman(h: Any, W: Any, U: Any, X: Any) -> Any:
    return scanlib.scan(lambda x, h, W, U: T.tanh(x @ W + h @ U), X, h, [W, U])[0]


def _nested(x: Any, u: Any) -> Any:
    return scanlib.scan(lambda row, x: one_tap(x, row)[-1], u, x)[0]


def _stopped(x: Any, u: Any) -> Any:
    return scanlib.scan(lambda u, x: (T.tanh(x * u), until(T.gt(u, 0.8))), u, x)[0]


PROGRAMS: dict[str, tuple[Any, list[np.ndarray]]] = {
    "one tap": (one_tap, [draw(3), draw(5, 3)]),
    "last of two taps": (lambda *a: two_taps(*a)[-1], [draw(2), draw(5), draw()]),
    "several outputs": (several, [draw(3), draw(), draw(5), draw()]),
    "zero steps": (two_taps, [draw(2), draw(0), draw()]),
    "longer sequence": (lambda x, u: one_tap(x, u, n_steps=3), [draw(), draw(6)]),
    "until": (_stopped, [draw(), np.asarray([0.1, 0.4, 0.9, 0.2])]),
    "elman": (_elman, [draw(2, 3), draw(4, 3), draw(3, 3), draw(5, 2, 4)]),
    "nested": (_nested, [draw(), draw(3, 4)]),
    "truncated": (lambda *a: two_taps(*a, truncate_gradient=2)[-1], [draw(2), draw(5), draw()]),
    "checkpoints": (lambda *a: several(*a, checkpoint=2)[1][-1], [draw(3), draw(), draw(5), draw()]),
}


@pytest.mark.skipif(find_spec("scanlib._core") is None, reason="scanlib._core is not built")
@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_derivatives_are_those_of_the_interpreter(name: str) -> None:
    fun, points = PROGRAMS[name]
    inputs = [T.TensorType("float64", (False,) * p.ndim)(f"x{i}") for i, p in enumerate(points)]
    outputs = fun(*inputs)
    many = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    cost = sum((v**2).sum() for v in many)
    made = [*grad(cost, inputs), *hessian_vector_product(cost, inputs, [T.ones_like(v) for v in inputs])]
    expected = scanlib.function(inputs, made, mode=MODE)(*points)
    for got, want in zip(scanlib.function(inputs, made, mode="native")(*points), expected):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)


# The shape of the reverse scan.


def scans(outputs: list[Variable]) -> list[Any]:
    return [node for node in toposort(outputs) if node.op is scan_op]


def test_the_last_state_gets_its_cotangent_as_an_initial_value() -> None:
    x, u = T.dvector("x"), T.dmatrix("u")
    made = grad(one_tap(x, u)[-1].sum(), [x, u])
    _, reverse = scans(made)
    spec = spec_of(reverse)
    # u, x[t-1] and x[t]; no sequence of cotangents.
    assert spec.sequences == 3 and spec.states == ((-1,),)
    whole = grad(one_tap(x, u).sum(), [x, u])
    assert spec_of(scans(whole)[1]).sequences == 4


def test_k_taps_give_k_one_tap_states() -> None:
    x, u, w = T.dvector("x"), T.dvector("u"), T.dscalar("w")
    made = grad(two_taps(x, u, w).sum(), [x, u, w])
    spec = spec_of(scans(made)[1])
    assert spec.states == ((-1,), (-1,), (-1,)) and spec.mapped == 1


def test_what_is_not_wanted_is_not_carried() -> None:
    x, u, w = T.dvector("x"), T.dvector("u"), T.dscalar("w")
    spec = spec_of(scans([grad(two_taps(x, u, w).sum(), w)])[1])
    assert spec.states == ((-1,), (-1,), (-1,)) and spec.mapped == 0
    spec = spec_of(scans([grad(two_taps(x, u, w).sum(), u)])[1])
    assert spec.states == ((-1,), (-1,)) and spec.mapped == 1


# Random combinations.


@st.composite
def cases(draw_: Any) -> dict[str, Any]:
    kinds = st.sampled_from([None, (-1,), (-2,), (-2, -1), (-3, -1)])
    return dict(
        taps=draw_(st.lists(kinds, min_size=1, max_size=3)),
        steps=draw_(st.integers(0, 4)),
        sequence_taps=draw_(st.sampled_from([(0,), (-1, 0), (0, 2)])),
        until=draw_(st.booleans()),
        keep=draw_(st.lists(st.sampled_from(["all", "last", "two", "none"]), min_size=3, max_size=3)),
        checkpoint=draw_(st.sampled_from([None, None, 2])),
        shape=draw_(st.sampled_from([(), (2,)])),
    )


def _read(trace: Any, keep: str, steps: int) -> list[Any]:
    if keep == "none":
        return []
    if keep == "all" or steps == 0:
        return [trace]
    return [trace[-1] if keep == "last" else trace[-2:]]


def _random_scan(case: dict[str, Any], u: Any, w: Any, *initials: Any) -> list[Any]:
    remaining = iter(initials)
    infos = [
        None if taps is None else dict(initial=next(remaining), taps=list(taps)) for taps in case["taps"]
    ]

    def step(*args: Any) -> Any:
        sequence, rest = args[: len(case["sequence_taps"])], list(args[len(case["sequence_taps"]) : -1])
        known = [*sequence, *rest]
        outputs = []
        for k in range(len(case["taps"])):
            value = sum((v * (0.3 + 0.2 * ((i + k) % 3)) for i, v in enumerate(known)), known[0])
            outputs.append(T.tanh(value) + known[(k + 1) % len(known)] * args[-1] * 0.5)
        if case["until"]:
            return outputs, until(T.gt(sequence[0].sum(), 1.0))
        return outputs

    traces = scanlib.scan(
        step, dict(input=u, taps=list(case["sequence_taps"])), infos, w,
        checkpoint=case["checkpoint"], return_list=True,
    )[0]  # fmt: skip
    return [v for trace, keep in zip(traces, case["keep"]) for v in _read(trace, keep, case["steps"])]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(cases())
def test_random_scans(case: dict[str, Any]) -> None:
    local = np.random.default_rng(case["steps"])
    span = max(case["sequence_taps"]) - min(case["sequence_taps"])
    # The initial value of a state with the one tap -1 has no leading axis.
    leading = [() if taps == (-1,) else (-min(taps),) for taps in case["taps"] if taps is not None]
    points = [local.normal(size=(case["steps"] + span, *case["shape"])), local.normal(size=case["shape"])]
    points += [local.normal(size=(*lead, *case["shape"])) for lead in leading]

    def fun(*variables: Any) -> Any:
        return _random_scan(case, *variables) or [variables[0].sum()]

    order = 2 if len(case["taps"]) < 3 else 1
    verify_grad(fun, points, n_tests=1, mode=MODE, order=order)


def test_the_gradient_of_what_is_indexed_is_added_in_place() -> None:
    """A step that reads rows of a table costs its gradient those rows, not the table."""
    table, places, h = T.dmatrix("table"), T.lvector("places"), T.dvector("h")

    def step(i: Any, h: Any, table: Any) -> Any:
        return T.tanh(h * table[i] + table[T.stack([i, i + 1, i])].sum(0) + table[2:4].sum())

    trace, _ = scanlib.scan(step, sequences=places, outputs_info=h, non_sequences=table)
    gradient = scanlib.grad(trace[-1].sum(), [table, h])
    rng = np.random.default_rng(4)
    point = rng.normal(size=(50, 20)) * 0.3, np.array([3, 7, 3, 48, 0]), rng.normal(size=20)
    expected, made = (
        scanlib.function([table, places, h], gradient, mode=m)(*point) for m in ("reference", "native")
    )
    for a, b in zip(expected, made):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-13)
    f = scanlib.function([table, places, h], gradient)
    assert (
        scanlib.explain(f, (50, 20), (5,), (20,)).scans[-1].output("cotangent of table").storage == "in place"
    )


def test_the_start_of_a_state_whose_own_past_no_step_reads() -> None:
    """Its trace is that of a mapped output when it is lengthened by the start for the gradient."""
    start, m = T.vector("start"), T.matrix("m")

    def step(x: Any, m: Any) -> Any:
        return T.tanh(m[:, 0]), T.tanh(m * 0.9), T.tanh(x)

    outputs, _ = scanlib.scan(step, outputs_info=[start, m, None], n_steps=T.lscalar("n"))
    inputs = [start, m, outputs[0].owner.inputs[0]]
    slopes = scanlib.grad(T.sin(outputs[2]).sum(), [start, m])
    arguments = (draw(3), draw(3, 3), 4)
    wanted = scanlib.function(inputs, slopes, mode="reference")(*arguments)
    for got, value in zip(scanlib.function(inputs, slopes)(*arguments), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12)
