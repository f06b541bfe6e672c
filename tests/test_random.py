"""RandomStreams, draw for draw as numpy.random.RandomState, and Philox by its published values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import philox
from scanlib.errors import UserError
from scanlib.random import PhiloxStreams
from scanlib.tensor.shared_randomstreams import RandomStreams


def numpy_stream(seed: int) -> np.random.RandomState:
    """What the first draw of RandomStreams(seed) is made by."""
    return np.random.RandomState(np.random.RandomState(seed).randint(2**30))


DRAWS: dict[str, tuple[Any, Any]] = {
    "uniform": (lambda s: s.uniform(size=(3, 5)), lambda r: r.uniform(size=(3, 5))),
    "uniform range": (lambda s: s.uniform((4,), -2.0, 7.0), lambda r: r.uniform(-2, 7, 4)),
    "uniform float32": (
        lambda s: s.uniform((4,), dtype="float32"),
        lambda r: r.uniform(size=4).astype("float32"),
    ),
    "uniform scalar": (lambda s: s.uniform(()), lambda r: r.uniform()),
    "uniform arrays": (
        lambda s: s.uniform((2, 3), low=np.array([[0.0], [5.0]]), high=np.array([6.0, 7.0, 8.0])),
        lambda r: r.uniform([[0.0], [5.0]], [6.0, 7.0, 8.0], (2, 3)),
    ),
    "size from parameters": (
        lambda s: s.normal(avg=np.array([0.0, 10.0]), std=np.array([[1.0], [2.0]])),
        lambda r: r.normal([0.0, 10.0], [[1.0], [2.0]]),
    ),
    "normal": (lambda s: s.normal((7,)), lambda r: r.normal(size=7)),
    "normal with mean": (lambda s: s.normal((2, 2), avg=3.0, std=0.1), lambda r: r.normal(3, 0.1, (2, 2))),
    "binomial": (lambda s: s.binomial((9,)), lambda r: r.binomial(1, 0.5, 9)),
    "binomial few": (lambda s: s.binomial((9,), n=7, p=0.2), lambda r: r.binomial(7, 0.2, 9)),
    "binomial many": (lambda s: s.binomial((9,), n=500, p=0.7), lambda r: r.binomial(500, 0.7, 9)),
    "binomial arrays": (
        lambda s: s.binomial((3,), n=np.array([1, 20, 300]), p=np.array([0.1, 0.5, 0.9])),
        lambda r: r.binomial([1, 20, 300], [0.1, 0.5, 0.9], 3),
    ),
    "binomial float": (
        lambda s: s.binomial((9,), dtype="float64"),
        lambda r: r.binomial(1, 0.5, 9).astype(float),
    ),
    "integers": (lambda s: s.random_integers((9,), 3, 12), lambda r: r.randint(3, 13, 9)),
    "integers of one value": (lambda s: s.random_integers((3,), 4, 4), lambda r: r.randint(4, 5, 3)),
    "integers large": (lambda s: s.random_integers((9,), 0, 2**40), lambda r: r.randint(0, 2**40 + 1, 9)),
    "integers arrays": (
        lambda s: s.random_integers((3,), np.array([0, 5, 9]), np.array([4, 6, 100])),
        lambda r: np.array([r.randint(0, 5), r.randint(5, 7), r.randint(9, 101)]),
    ),
    "poisson": (lambda s: s.poisson((9,), 3.5), lambda r: r.poisson(3.5, 9)),
    "poisson large": (lambda s: s.poisson((9,), 80.0), lambda r: r.poisson(80.0, 9)),
    "exponential": (lambda s: s.exponential((5,), 2.0), lambda r: r.exponential(2.0, 5)),
    "gamma": (lambda s: s.gamma((5,), 2.5, 3.0), lambda r: r.gamma(2.5, 3.0, 5)),
    "gamma small": (lambda s: s.gamma((5,), 0.3, 1.0), lambda r: r.gamma(0.3, 1.0, 5)),
    "beta": (lambda s: s.beta((5,), 2.0, 3.0), lambda r: r.beta(2.0, 3.0, 5)),
    "multinomial": (
        lambda s: s.multinomial((2, 2), n=10, pvals=[0.2, 0.3, 0.5]),
        lambda r: r.multinomial(10, [0.2, 0.3, 0.5], (2, 2)),
    ),
    "multinomial rows": (
        lambda s: s.multinomial(n=4, pvals=np.array([[0.5, 0.5], [0.1, 0.9]])),
        lambda r: np.array([r.multinomial(4, [0.5, 0.5]), r.multinomial(4, [0.1, 0.9])]),
    ),
    "permutation": (lambda s: s.permutation(n=6), lambda r: r.permutation(6)),
    "permutations": (
        lambda s: s.permutation((3,), n=4),
        lambda r: np.array([r.permutation(4) for _ in range(3)]),
    ),
    "choice": (lambda s: s.choice((5,), a=8), lambda r: r.choice(8, 5)),
    "choice without replacement": (
        lambda s: s.choice((5,), a=8, replace=False),
        lambda r: r.choice(8, 5, replace=False),
    ),
    "choice with chances": (
        lambda s: s.choice((5,), a=3, p=[0.1, 0.2, 0.7]),
        lambda r: r.choice(3, 5, p=[0.1, 0.2, 0.7]),
    ),
    "choice of values": (
        lambda s: s.choice((5,), a=np.array([2.0, 4.0, 8.0])),
        lambda r: r.choice([2.0, 4.0, 8.0], 5),
    ),
    "choice of some by chances": (
        lambda s: s.choice((2,), a=3, p=[0.1, 0.2, 0.7], replace=False),
        lambda r: r.choice(3, 2, False, [0.1, 0.2, 0.7]),
    ),
    "shuffled rows": (
        lambda s: s.shuffle_row_elements(np.arange(12.0).reshape(3, 4)),
        lambda r: np.array([row[r.permutation(4)] for row in np.arange(12.0).reshape(3, 4)]),
    ),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_draws_are_those_of_numpy(draw: str, mode: str) -> None:
    symbolic, numpy_draw = DRAWS[draw]
    f = scanlib.function([], symbolic(RandomStreams(42)), mode=mode)
    stream = numpy_stream(42)
    for _ in range(3):
        made, expected = f(), np.asarray(numpy_draw(stream))
        assert made.shape == expected.shape
        np.testing.assert_array_equal(made, expected)


def test_each_draw_has_a_stream_of_its_own(mode: str) -> None:
    streams = RandomStreams(7)
    a, b = streams.uniform((2,)), streams.normal((2,))
    made = scanlib.function([], [a, b], mode=mode)()
    seeds = np.random.RandomState(7)
    np.testing.assert_array_equal(made[0], np.random.RandomState(seeds.randint(2**30)).uniform(size=2))
    np.testing.assert_array_equal(made[1], np.random.RandomState(seeds.randint(2**30)).normal(size=2))


def test_symbolic_sizes(mode: str) -> None:
    x, n = T.matrix("x"), T.iscalar("n")
    s = RandomStreams(1)
    outputs = [s.uniform(x.shape), s.uniform((n, 2)), s.uniform(n), s.uniform(x.shape[1:])]
    f = scanlib.function([x, n], outputs, mode=mode)
    assert [v.shape for v in f(np.ones((2, 3)), 4)] == [(2, 3), (4, 2), (4,), (3,)]


def test_the_gaussian_kept_in_the_state_is_used(mode: str) -> None:
    f = scanlib.function([], RandomStreams(5).normal((3,)), mode=mode)
    stream = numpy_stream(5)
    np.testing.assert_array_equal(f(), stream.normal(size=3))
    np.testing.assert_array_equal(f(), stream.normal(size=3))


def test_without_default_updates_draws_repeat(mode: str) -> None:
    draw = RandomStreams(1).uniform((3,))
    f = scanlib.function([], draw, no_default_updates=True, mode=mode)
    np.testing.assert_array_equal(f(), f())
    twice = scanlib.function([], [draw, draw + draw], mode=mode)()
    np.testing.assert_array_equal(twice[1], 2 * twice[0])


def test_seed_and_state_access(mode: str) -> None:
    streams = RandomStreams(3)
    a = streams.uniform((2,))
    f = scanlib.function([], a, mode=mode)
    first = f()
    streams.seed(3)
    np.testing.assert_array_equal(f(), first)
    streams.seed()
    np.testing.assert_array_equal(f(), first)
    state = a.rng.get_value(borrow=True)  # type: ignore[attr-defined]
    state.seed(89)
    a.rng.set_value(state, borrow=True)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(f(), np.random.RandomState(89).uniform(size=2))
    streams[a.rng] = np.random.RandomState(5)  # type: ignore[attr-defined]
    assert streams[a.rng].uniform() == np.random.RandomState(5).uniform()  # type: ignore[attr-defined]
    assert [pair[0] for pair in streams.updates()] == [a.rng]  # type: ignore[attr-defined]
    with pytest.raises(KeyError):
        streams[scanlib.shared(0)]


def test_draws_made_in_a_step(mode: str) -> None:
    streams = RandomStreams(11)
    results, updates = scanlib.scan(lambda: streams.normal((2,)), n_steps=4)
    f = scanlib.function([], results, updates=updates, mode=mode)
    stream = numpy_stream(11)
    for _ in range(2):
        np.testing.assert_array_equal(f(), stream.normal(size=(4, 2)))


def test_the_same_sample_is_used_twice_in_a_step(mode: str) -> None:
    d = RandomStreams(11).uniform((2,))
    (a, b), updates = scanlib.scan(lambda: (d, 2 * d), n_steps=3)
    made = scanlib.function([], [a, b], updates=updates, mode=mode)()
    np.testing.assert_array_equal(made[1], 2 * made[0])
    assert len(np.unique(made[0])) == 6


def test_gradient_through_a_random_mask(mode: str) -> None:
    """The gradient draws each step's mask again, from the state of that step."""
    streams, w = RandomStreams(3), scanlib.shared(np.full((2, 2), 0.5))
    x = T.matrix("x")
    mask = streams.binomial(size=(2,))
    h, updates = scanlib.scan(
        lambda v, h: T.tanh(T.dot(h, w) + v) * mask, sequences=x, outputs_info=T.zeros((2,))
    )
    f = scanlib.function([x], [h.sum(), scanlib.grad(h.sum(), w)], updates=updates, mode=mode)
    cost, gradient = f(np.ones((6, 2)))
    numeric = np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            moved = np.full((2, 2), 0.5)
            moved[i, j] += 1e-6
            w.set_value(moved)
            streams.seed(3)
            numeric[i, j] = (f(np.ones((6, 2)))[0] - cost) / 1e-6
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-6)
    assert np.any(numeric)


WRONG: dict[str, tuple[Any, str]] = {
    "float size": (lambda s: s.uniform((2.5,)), "size must hold integers"),
    "vector of unknown length": (lambda s: s.uniform(T.lvector("size")), "its length is unknown: give ndim"),
    "ndim": (lambda s: s.uniform((2, 3), ndim=1), "ndim is 1, size has 2"),
    "parameter too wide": (lambda s: s.uniform((3,), low=np.zeros((2, 3))), "has 2 dimensions, the sample 1"),
    "parameter of another length": (
        lambda s: s.uniform((3,), low=np.zeros(2)),
        "does not broadcast.*2 against 3",
    ),
    "scalar pvals": (lambda s: s.multinomial(n=1, pvals=0.5), "pvals"),
    "chances no vector": (lambda s: s.choice((2,), a=2, p=np.ones((2, 2))), "must be a vector"),
    "shuffled scalar": (lambda s: s.shuffle_row_elements(1.0), "rows to shuffle"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_draws(mistake: str) -> None:
    draw, message = WRONG[mistake]
    with pytest.raises(UserError, match=message):
        draw(RandomStreams(1))


# Philox.


def test_philox_known_answers() -> None:
    """The vectors published with the generator."""
    answers = [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ]
    for counter, key, expected in answers:
        words = philox.rounds(np.array(counter, np.uint64)[:, None], (np.uint64(key[0]), np.uint64(key[1])))
        assert words[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("draw", "mean", "std"),
    [
        (lambda s, n: s.uniform((n,)), 0.5, 12**-0.5),
        (lambda s, n: s.uniform((n,), -1.0, 3.0), 1.0, 4 * 12**-0.5),
        (lambda s, n: s.normal((n,), 2.0, 3.0), 2.0, 3.0),
        (lambda s, n: s.binomial((n,)), 0.5, 0.5),
        (lambda s, n: s.binomial((n,), n=20, p=0.7), 14.0, (20 * 0.21) ** 0.5),
        (lambda s, n: s.random_integers((n,), 1, 6), 3.5, (35 / 12) ** 0.5),
    ],
)
def test_philox_moments_and_modes(draw: Any, mean: float, std: float) -> None:
    count = 20_001
    samples = {}
    for mode in ("reference", "native"):
        if mode == "native" and not scanlib_has_kernels():
            continue
        f = scanlib.function([], draw(PhiloxStreams(9), count), mode=mode)
        samples[mode] = np.stack([f(), f()])
    made = samples["reference"].astype(float)
    assert abs(made.mean() - mean) < 5 * std / made.size**0.5
    assert abs(made.std() - std) < 0.03 * std
    assert not np.array_equal(made[0], made[1])
    if "native" in samples:
        np.testing.assert_allclose(samples["native"], made, rtol=1e-12, atol=1e-12)


def scanlib_has_kernels() -> bool:
    try:
        from scanlib import _core
    except ImportError:
        return False
    return "philox_uniform" in _core.library_kernels()


def test_philox_streams_differ_and_can_be_seeded(mode: str) -> None:
    if mode == "native" and not scanlib_has_kernels():
        pytest.skip("the core has no philox kernels")
    streams = PhiloxStreams(1)
    f = scanlib.function([], [streams.uniform((50,)), streams.uniform((50,))], mode=mode)
    a, b = f()
    assert not np.intersect1d(a, b).size
    streams.seed(1)
    np.testing.assert_array_equal(f()[0], a)
    streams.seed(2)
    assert not np.intersect1d(f()[0], a).size


def test_mrg_name() -> None:
    from scanlib.sandbox.rng_mrg import MRG_RandomStreams

    assert MRG_RandomStreams is PhiloxStreams
