"""Losses: a trace beside targets of its own, which may be as many as the steps, or one, or several for one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError
from scanlib.explain import explain
from scanlib.graph import Variable
from scanlib.verify import verify_grad

WIDTH = 3
# What is made of a trace of rows of 3 numbers, of as many rows of targets, and of as many numbers of classes.
Loss = Callable[[Variable, Variable, Variable], Variable]

LOSSES: dict[str, Loss] = {
    "squares": lambda t, y, k: ((t - y) ** 2).mean(),
    "squares of each column": lambda t, y, k: T.sqr(y - T.exp(t)).sum(0),
    "largest distance": lambda t, y, k: abs(t - y).max(0) - abs(t).min(0),
    "place of the largest distance": lambda t, y, k: T.argmax(abs(t - y), 0),
    "covariance of a kind": lambda t, y, k: (t * y).mean(0),
    "crossentropy": lambda t, y, k: T.nnet.categorical_crossentropy(T.nnet.softmax(t), k).mean(),
    "gathered": lambda t, y, k: T.nnet.logsoftmax(t)[T.arange(t.shape[0]), k].sum(),
    "crossentropy with rows": lambda t, y, k: T.nnet.categorical_crossentropy(T.nnet.softmax(t), y**2).sum(),
    "binary crossentropy": lambda t, y, k: T.nnet.binary_crossentropy(T.nnet.sigmoid(t), y).mean(0),
    "hits": lambda t, y, k: T.eq(T.argmax(t, 1), k).sum(),
    "masked": lambda t, y, k: (T.eq(k, 1) * ((t - y) ** 2).sum(1)).sum() / (1.0 + k.sum()),
    "several": lambda t, y, k: (t * y).sum() + T.exp(y - t).max() + ((t - y) ** 2).sum(0).max() + t[-1, 0],
    "one hot": lambda t, y, k: (T.log(T.nnet.softmax(t)) * T.eq(T.arange(3), k[:, None])).sum(),
}  # fmt: skip
DIFFERENTIABLE = [name for name in LOSSES if name not in ("place of the largest distance", "hits")]


def loop(rows: Variable) -> Variable:
    return scanlib.scan(lambda u, h: T.tanh(0.5 * h + u), sequences=rows, outputs_info=T.zeros(WIDTH))[0]


def inputs() -> list[Variable]:
    matrix = T.TensorType("float64", (None, WIDTH))
    return [matrix("rows"), matrix("y"), T.lvector("k")]


@pytest.fixture(scope="module")
def functions() -> Callable[[str], list[Any]]:
    known: dict[str, list[Any]] = {}

    def of(name: str) -> list[Any]:
        if name not in known:
            rows, y, k = inputs()
            loss = LOSSES[name](loop(rows), y, k)
            options: dict[str, Any] = {"on_unused_input": "ignore"}
            known[name] = [
                scanlib.function([rows, y, k], loss, mode=m, **options) for m in ("native", "reference")
            ]
        return known[name]

    return of


def values(steps: int, targets: int, classes: int | None = None) -> list[np.ndarray]:
    rng = np.random.default_rng(steps + 100 * targets)
    kinds = rng.integers(0, WIDTH, targets if classes is None else classes)
    return [rng.normal(size=(steps, WIDTH)), rng.uniform(0.1, 0.9, (targets, WIDTH)), kinds]


def result(f: Any, *arguments: Any) -> Any:
    try:
        return f(*arguments)
    except UserError:
        return "an error"


@pytest.mark.parametrize("name", LOSSES)
def test_whatever_the_lengths(name: str, functions: Any) -> None:
    native, meaning = functions(name)
    counts = (0, 1, 2, 5, 40)
    for steps in counts:
        for targets in counts:
            for classes in {targets, 1, steps}:
                arguments = values(steps, targets, classes)
                with np.errstate(all="ignore"):
                    a, b = result(native, *arguments), result(meaning, *arguments)
                if isinstance(b, str) or isinstance(a, str):
                    assert type(a) is type(b), (name, steps, targets, classes)
                else:
                    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_no_trace_is_kept(name: str, functions: Any) -> None:
    (scan,) = explain(functions(name)[0], (1000, WIDTH), (1000, WIDTH), (1000,)).scans
    assert all(output.keep in (0, 1) for output in scan.outputs)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name: str) -> None:
    rows, y, k = inputs()
    arguments = values(6, 6)
    cost = LOSSES[name](loop(rows), y, k).sum()
    both = [
        scanlib.function([rows, y, k], [cost, scanlib.grad(cost, rows)], mode=m, on_unused_input="ignore")
        for m in ("native", "reference")
    ]
    for a, b in zip(*(f(*arguments) for f in both), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    targets, kinds = (T.constant(v) for v in arguments[1:])
    verify_grad(lambda rows: LOSSES[name](loop(rows), targets, kinds).sum(), [arguments[0]])


@pytest.mark.parametrize("name", LOSSES)
def test_in_inner_loops(name: str) -> None:
    """Each step of the outer loop compares the trace of an inner one with targets that are the same for all."""
    _, y, k = inputs()
    cube = T.TensorType("float64", (None, None, WIDTH))("cube")
    outer = scanlib.scan(lambda rows: LOSSES[name](loop(rows), y, k), sequences=cube)[0]
    native, meaning = (
        scanlib.function([cube, y, k], outer, mode=m, on_unused_input="ignore")
        for m in ("native", "reference")
    )
    for steps, targets in ((6, 6), (1, 4), (4, 1)):
        _, *others = values(steps, targets)
        rows = np.random.default_rng(1).normal(size=(3, steps, WIDTH))
        np.testing.assert_allclose(native(rows, *others), meaning(rows, *others), rtol=1e-12, atol=1e-13)
