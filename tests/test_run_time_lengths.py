"""Kernels over run-time lengths: which loops are written twice, and which results are not stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import jit
from scanlib.ifelse import ifelse

pytest.importorskip("scanlib._core")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The text of every module that is compiled."""
    seen: list[str] = []
    load = jit.load

    def recorded(texts: Sequence[str]) -> Any:
        seen.extend(texts)
        return load(texts)

    monkeypatch.setattr(jit, "load", recorded)
    return seen


def gates(z: Any, c: Any) -> Any:
    n = c.shape[1]
    return T.nnet.sigmoid(z[:, :n]) * c + T.nnet.sigmoid(z[:, n : 2 * n]) * T.tanh(z[:, 2 * n :])


# Lengths that agree, and slices of length 1 that broadcast.
@pytest.mark.parametrize("width, n", [(60, 20), (3, 1), (41, 20), (60, 30)])
def test_slices_of_unknown_length(width: int, n: int, modules: list[str]) -> None:
    z, c = T.dmatrices("z", "c")
    rng = np.random.default_rng(width)
    given = rng.normal(size=(20, width)), rng.normal(size=(20, n))
    if (width, n) == (60, 30):  # z[:, 2n:] is empty, which broadcasts with nothing but 1
        with pytest.raises(scanlib.errors.UserError):
            scanlib.function([z, c], gates(z, c))(*given)
        return
    got, expected = (scanlib.function([z, c], gates(z, c), mode=m)(*given) for m in ("native", "reference"))
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    # Of lengths that are multiples of n it is known which are 1.
    twice = any("plain" in text and "broadcast" in text for text in modules)
    assert twice == (width % n != 0)


def test_what_meets_again_is_computed_once(modules: list[str]) -> None:
    x = T.dvector("x")
    f = scanlib.function([x], T.nnet.sigmoid(x))
    given = np.linspace(-40, 40, 101)
    np.testing.assert_allclose(f(given), 1 / (1 + np.exp(-given)), rtol=1e-14)
    # Once for vectors, and once for what is left of the length.
    assert modules[-1].count("call <8 x double> @scanlib.exp.v8f64(") == 1
    assert modules[-1].count("call double @scanlib.exp.f64.shared(") == 1
    assert modules[-1].count("store <8 x double>") == 1
    assert modules[-1].count("store double") == 1


def test_what_is_summed_as_well_is_stored(modules: list[str]) -> None:
    x = T.dvector("x")
    e = T.exp(x)
    f = scanlib.function([x], e / e.sum())
    given = np.linspace(-4, 4, 101)
    np.testing.assert_allclose(f(given), np.exp(given) / np.exp(given).sum(), rtol=1e-14)
    # Once for vectors, and once for what is left of the length.
    assert modules[-1].count("call <8 x double> @scanlib.exp.v8f64(") == 1
    assert modules[-1].count("call double @scanlib.exp.f64.shared(") == 1


def test_the_mean_of_rows_whose_length_only_a_choice_tells(mode: str) -> None:
    """The mean asks for the length of a row that nothing stores."""
    x, s = T.matrix("x"), T.scalar("s")
    trace, _ = scanlib.scan(lambda row, s: T.tanh(ifelse(T.lt(s, 0), row, 2 * row)), x, non_sequences=s)
    f = scanlib.function([x, s], [(trace * trace).mean(), (trace * trace).sum(axis=0)], mode=mode)
    for n in (3, 20):
        value = np.linspace(-1, 1, 4 * n).reshape(4, n)
        wanted = np.tanh(2 * value) ** 2
        mean, total = f(value, 1.0)
        np.testing.assert_allclose(mean, wanted.mean(), rtol=1e-12)
        np.testing.assert_allclose(total, wanted.sum(axis=0), rtol=1e-12)
