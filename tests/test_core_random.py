"""Random kernels of the core: RandomState draw for draw, and Philox."""

from __future__ import annotations

import numpy as np
import pytest

from scanlib import _core, philox


def run(
    name: str, inputs: list[np.ndarray], outputs: list[np.ndarray], parameters: tuple[int, ...] = ()
) -> None:
    assert _core.run_library(name, inputs, outputs, parameters) == "ok"


# --- the stream of RandomState ----------------------------------------------------------------------------------


def seeded(seed: int) -> np.ndarray:
    state = np.empty(628, np.uint32)
    run("mt_seed", [np.array(seed)], [state])
    return state


def pack(stream: np.random.RandomState) -> np.ndarray:
    _, key, position, waiting, normal = stream.get_state(legacy=True)
    return np.concatenate(
        [key, np.array([position, waiting], np.uint32), np.array([normal]).view(np.uint32)]
    ).astype(np.uint32)


def broadcast(parameters: tuple[object, ...], shape: tuple[int, ...]) -> list[np.ndarray]:
    return [np.broadcast_to(np.asarray(p), shape) for p in parameters]


DRAWS = [
    ("uniform", (-2.0, 3.0)),
    ("normal", (1.0, 2.5)),
    ("binomial", (7, 0.3)),
    ("binomial", (7, 0.9)),
    ("binomial", (1000, 0.4)),
    ("binomial", (100000, 0.77)),
    ("binomial", (5, 0.0)),
    ("binomial", (5, 1.0)),
    ("poisson", (0.0,)),
    ("poisson", (3.5,)),
    ("poisson", (80.0,)),
    ("exponential", (2.0,)),
    ("gamma", (0.4, 2.0)),
    ("gamma", (1.0, 2.0)),
    ("gamma", (4.2, 0.5)),
    ("beta", (0.3, 0.6)),
    ("beta", (2.0, 3.0)),
]


@pytest.mark.parametrize("name,parameters", DRAWS)
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_random_state(name: str, parameters: tuple[float, ...], seed: int) -> None:
    stream = np.random.RandomState(seed)
    state = seeded(seed)
    np.testing.assert_array_equal(state, pack(stream))
    for shape in ((3,), (500, 7)):
        expected = getattr(stream, name)(*parameters, size=shape)
        sample = np.empty(shape, expected.dtype)
        run(f"mt_{name}", [state, *broadcast(parameters, shape)], [state, sample])
        np.testing.assert_array_equal(sample, expected)
        np.testing.assert_array_equal(state, pack(stream))


def test_random_state_with_parameters_per_element() -> None:
    stream, state = np.random.RandomState(3), seeded(3)
    p = np.linspace(0, 1, 40).reshape(4, 10)
    n = np.arange(4)[:, None] * 100
    sample = np.empty((4, 10), np.int64)
    run("mt_binomial", [state, *broadcast((n, p), (4, 10))], [state, sample])
    np.testing.assert_array_equal(sample, stream.binomial(n, p))


@pytest.mark.parametrize(
    "low,high", [(0, 0), (-3, 12), (0, 2**31), (0, 2**32 - 1), (0, 2**32), (-(2**63), 2**63 - 1)]
)
def test_random_state_integers(low: int, high: int) -> None:
    stream, state = np.random.RandomState(4), seeded(4)
    expected = stream.randint(low, high + 1, size=50, dtype=np.int64)
    sample = np.empty(50, np.int64)
    run("mt_random_integers", [state, *broadcast((low, high), (50,))], [state, sample])
    np.testing.assert_array_equal(sample, expected)
    np.testing.assert_array_equal(state, pack(stream))


def test_random_state_selections() -> None:
    stream, state = np.random.RandomState(5), seeded(5)
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0], [0.0, 0.4, 0.6], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    n = np.array([1, 60, 3, 4, 0])
    sample = np.empty((5, 3), np.int64)
    run("mt_multinomial", [state, n, p], [state, sample])
    np.testing.assert_array_equal(sample, [stream.multinomial(n[i], p[i]) for i in range(5)])
    np.testing.assert_array_equal(state, pack(stream))
    sample = np.empty((3, 11), np.int32)
    run("mt_permutation", [state], [state, sample])
    np.testing.assert_array_equal(sample, [stream.permutation(11) for _ in range(3)])
    x = stream.normal(size=(3, 6))
    run("mt_normal", [state, *broadcast((0.0, 1.0), (3, 6))], [state, np.empty((3, 6))])
    out = np.empty_like(x)
    run("mt_shuffle_rows", [state, x], [state, out])
    np.testing.assert_array_equal(out, [row[stream.permutation(6)] for row in x])
    np.testing.assert_array_equal(state, pack(stream))


@pytest.mark.parametrize("replace", [True, False])
def test_random_state_choice(replace: bool) -> None:
    stream, state = np.random.RandomState(6), seeded(6)
    sample = np.empty((4, 5), np.int64)
    run("mt_choice", [state, np.array(30)], [state, sample], (int(replace),))
    np.testing.assert_array_equal(sample, stream.choice(30, (4, 5), replace))
    p = np.linspace(1, 5, 25)
    p /= p.sum()
    run("mt_choice_p", [state, p], [state, sample], (int(replace),))
    np.testing.assert_array_equal(sample, stream.choice(25, (4, 5), replace, p))
    np.testing.assert_array_equal(state, pack(stream))
    if not replace:
        assert _core.run_library("mt_choice", [state, np.array(3)], [state, sample], (0,)) == "bad_parameter"


@pytest.mark.parametrize(
    "name,parameters",
    [
        ("binomial", (3, 1.5)),
        ("binomial", (-1, 0.5)),
        ("normal", (0.0, -1.0)),
        ("poisson", (np.nan,)),
        ("beta", (0.0, 1.0)),
    ],
)
def test_random_state_refuses(name: str, parameters: tuple[float, ...]) -> None:
    state, sample = seeded(1), np.empty(3)
    assert (
        _core.run_library(f"mt_{name}", [state, *broadcast(parameters, (3,))], [state, sample])
        == "bad_parameter"
    )


# --- Philox -----------------------------------------------------------------------------------------------------


def test_philox_words() -> None:
    """The generator against NumPy's Philox4x64 is no test (other width): the published vectors of Random123."""
    state, sample = np.array([0, 0, 0, 0], np.uint64), np.empty(2, np.uint64)
    run("philox_bits", [state], [state, sample])
    words = sample.view(np.uint32)
    np.testing.assert_array_equal(words, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8])
    ones = np.full(4, 2**64 - 1, np.uint64)
    run("philox_bits", [ones], [ones, sample])
    np.testing.assert_array_equal(sample.view(np.uint32), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD])


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize(
    "name,parameters",
    [("uniform", (-1.0, 2.0)), ("normal", (1.0, 0.5)), ("binomial", (9, 0.7)), ("random_integers", (-5, 8))],
)
def test_philox_draws(name: str, parameters: tuple[float, ...], size: int) -> None:
    state = np.array([12345, 6, 7, 0], np.uint64)
    expected_state, expected = getattr(philox, name)(state, *parameters, (size,), "float64")
    sample = np.empty(size)
    run(f"philox_{name}", [state, *broadcast(parameters, (size,))], [state, sample])
    np.testing.assert_allclose(sample, expected, rtol=1e-12)
    np.testing.assert_array_equal(state, expected_state)


def test_philox_binomial_of_many_trials() -> None:
    state, sample = np.array([1, 0, 0, 0], np.uint64), np.empty(4000)
    run("philox_binomial", [state, *broadcast((100_000, 0.3), (4000,))], [state, sample])
    assert abs(sample.mean() - 30_000) < 10
    assert abs(sample.std() - 145) < 8
