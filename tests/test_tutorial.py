"""The tutorial programs, and the further loops of the scan guide, with their exact values."""

from __future__ import annotations

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import tutorial
from scanlib.errors import UserError


@pytest.mark.parametrize("number", range(1, 12))
def test_program(number: int, mode: str) -> None:
    program = tutorial.PROGRAMS[number - 1](mode)
    value = program.run()
    assert tutorial.close(value, program.expected)
    np.testing.assert_allclose(value, program.numpy(), rtol=1e-12, atol=1e-12)
    # Running again gives the same.
    np.testing.assert_array_equal(program.run(), value)


def test_trace_is_float32(mode: str) -> None:
    assert tutorial.program_5(mode).run().dtype == np.float32


def test_a_second_call_draws_again(mode: str) -> None:
    program = tutorial.program_9(mode)
    first = program.run()
    second = program.function(np.eye(10, 2), np.ones((2, 2)), np.ones(2))
    assert not np.array_equal(first, second)
    stream = np.random.RandomState(np.random.RandomState(1234).randint(2**30))
    for _ in range(10):
        stream.binomial(1, 0.5, 2)
    expected = np.array([np.tanh(v + 1) * stream.binomial(1, 0.5, 2) for v in np.eye(10, 2).sum(1)[:, None]])
    np.testing.assert_allclose(second, expected)


def test_the_counter_goes_on(mode: str) -> None:
    k, n = scanlib.shared(0), T.iscalar("n")
    _, updates = scanlib.scan(lambda: {k: k + 1}, n_steps=n)
    f = scanlib.function([n], [], updates=updates, mode=mode)
    assert f(5) == []
    assert k.get_value() == 5
    f(7)
    f(0)
    assert k.get_value() == 12


def test_draw_passed_as_non_sequence_is_drawn_once(mode: str) -> None:
    trng = T.shared_randomstreams.RandomStreams(1234)
    d = trng.uniform(size=(2,))
    results, updates = scanlib.scan(lambda i, d: d + i, sequences=T.arange(3), non_sequences=d)
    assert not updates
    made = scanlib.function([], results, mode=mode)()
    np.testing.assert_allclose(made - np.arange(3)[:, None], np.tile(made[0], (3, 1)), atol=1e-15)


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 100])
def test_one_function_runs_every_length(steps: int, mode: str) -> None:
    f = tutorial.power(mode)
    np.testing.assert_allclose(f(np.full(3, 1.01), max(steps, 1)), 1.01 ** max(steps, 1))
    x = T.dvector("x")
    sums, _ = scanlib.scan(lambda a, s: s + a, sequences=x, outputs_info=np.float64(0))
    np.testing.assert_allclose(
        scanlib.function([x], sums, mode=mode)(np.ones(steps)), np.arange(1, steps + 1)
    )


def test_triangular_numbers(mode: str) -> None:
    up_to = T.iscalar("up_to")
    results, _ = scanlib.scan(
        lambda number, sum_to_date: sum_to_date + number,
        sequences=T.arange(up_to),
        outputs_info=T.as_tensor_variable(np.asarray(0, "int32")).astype("int64"),
    )
    f = scanlib.function([up_to], results, mode=mode)
    np.testing.assert_array_equal(f(15), np.arange(15).cumsum())


def test_arange_of_an_int32_accumulates_into_a_plain_zero(mode: str) -> None:
    up_to = T.iscalar("up_to")
    seq = T.arange(up_to)
    start = T.as_tensor_variable(np.asarray(0, seq.dtype))
    results, _ = scanlib.scan(lambda number, total: total + number, outputs_info=start, sequences=seq)
    np.testing.assert_array_equal(scanlib.function([up_to], results, mode=mode)(4), [0, 1, 3, 6])


def test_set_subtensor_in_a_step(mode: str) -> None:
    location, values = T.imatrix("location"), T.vector("values")
    model = T.matrix("model")

    def step(at: object, value: object, model: object) -> object:
        zeros = T.zeros_like(model)
        return T.set_subtensor(zeros[at[0], at[1]], value)  # type: ignore[index]

    results, _ = scanlib.scan(step, sequences=[location, values], outputs_info=None, non_sequences=model)
    f = scanlib.function([location, values, model], results, mode=mode)
    made = f(np.array([[1, 1], [2, 3]], np.int32), np.array([42.0, 50.0]), np.zeros((5, 5)))
    expected = np.zeros((2, 5, 5))
    expected[0, 1, 1], expected[1, 2, 3] = 42, 50
    np.testing.assert_array_equal(made, expected)


def _gibbs(form: str, mode: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(7)
    w, bvis, bhid = rng.randn(4, 3), rng.randn(4), rng.randn(3)
    W, B, C = (
        scanlib.shared(w, name="W"),
        scanlib.shared(bvis, name="bvis"),
        scanlib.shared(bhid, name="bhid"),
    )
    trng = T.shared_randomstreams.RandomStreams(1234)

    def step(vsample: object, *weights: object) -> object:
        weight, bv, bh = weights or (W, B, C)
        hmean = T.nnet.sigmoid(T.dot(vsample, weight) + bh)
        hsample = trng.binomial(size=hmean.shape, n=1, p=hmean)
        vmean = T.nnet.sigmoid(T.dot(hsample, weight.T) + bv)  # type: ignore[attr-defined]
        return trng.binomial(size=vsample.shape, n=1, p=vmean, dtype=scanlib.config.floatX)  # type: ignore[attr-defined]

    sample = T.matrix("sample")
    passed = [W, B, C] if form != "found" else None
    values, updates = scanlib.scan(
        step, outputs_info=sample, n_steps=10, non_sequences=passed, strict=form == "strict"
    )
    gibbs10 = scanlib.function([sample], values[-1], updates=updates, mode=mode)
    made = gibbs10(np.ones((2, 4)))
    seeds = np.random.RandomState(1234)
    hidden = np.random.RandomState(seeds.randint(2**30))
    visible = np.random.RandomState(seeds.randint(2**30))
    v = np.ones((2, 4))
    for _ in range(10):
        h = hidden.binomial(1, 1 / (1 + np.exp(-(v @ w + bhid))))
        v = visible.binomial(1, 1 / (1 + np.exp(-(h @ w.T + bvis)))).astype(float)
    return made, v


@pytest.mark.parametrize("form", ["passed", "found", "strict"])
def test_gibbs_sampling(form: str, mode: str) -> None:
    np.testing.assert_array_equal(*_gibbs(form, mode))


def test_strict_refuses_an_undeclared_shared_variable() -> None:
    W = scanlib.shared(np.eye(2), name="W")
    x = T.matrix("x")
    with pytest.raises(UserError, match="'W'"):
        scanlib.scan(lambda v: T.dot(v, W), sequences=x, strict=True)


def test_taps_of_a_sequence_and_of_states(mode: str) -> None:
    """x[n] = tanh(W x[n-1] + W_in1 u[n] + W_in2 u[n-4] + W_fb y[n-1]); y[n] = W_out x[n-3]."""
    u, x0, y0 = T.vector("u"), T.vector("x0"), T.scalar("y0")

    def step(u_tm4: object, u_t: object, x_tm3: object, x_tm1: object, y_tm1: object) -> object:
        return [0.5 * x_tm1 + u_t - 0.1 * u_tm4 + 0.2 * y_tm1, 2.0 * x_tm3]  # type: ignore[operator]

    (xs, ys), _ = scanlib.scan(
        step, sequences=dict(input=u, taps=[-4, 0]), outputs_info=[dict(initial=x0, taps=[-3, -1]), y0]
    )
    made_x, made_y = scanlib.function([u, x0, y0], [xs, ys], mode=mode)(np.arange(9.0), [1.0, 2.0, 3.0], 4.0)
    x, y = [1.0, 2.0, 3.0], 4.0
    expected = []
    for t in range(4, 9):
        new = 0.5 * x[-1] + t - 0.1 * (t - 4) + 0.2 * y
        y = 2.0 * x[-3]
        x.append(new)
        expected.append((new, y))
    np.testing.assert_allclose(np.stack([made_x, made_y], 1), expected)


def test_until(mode: str) -> None:
    max_value = T.scalar("max_value")
    values, _ = scanlib.scan(
        lambda previous, limit: (previous * 2, scanlib.scan_module.until(previous * 2 > limit)),
        outputs_info=T.constant(1.0),
        non_sequences=max_value,
        n_steps=1024,
    )
    np.testing.assert_array_equal(scanlib.function([max_value], values, mode=mode)(45), [2, 4, 8, 16, 32, 64])


def test_updates_passed_and_not_passed(mode: str) -> None:
    a = scanlib.shared(1)
    _, updates = scanlib.scan(lambda: {a: a + 1}, n_steps=10)
    b = updates[a] + 1
    keep = scanlib.function([], b, mode=mode)
    assert [int(keep()), int(keep()), int(a.get_value())] == [12, 12, 1]
    change = scanlib.function([], b, updates=updates, mode=mode)
    assert [int(change()), int(change()), int(a.get_value())] == [12, 22, 21]


def test_main_prints_eleven_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert tutorial.main(["--mode", "reference"]) == 0
    assert "11 of 11 programs" in capsys.readouterr().out
