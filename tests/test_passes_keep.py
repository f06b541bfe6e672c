"""Programs, and what the optimised scan keeps, has lost, and has left to the outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.graph import FunctionGraph, SharedVariable, Variable, roots, toposort
from scanlib.ops.scan_op import ScanSpec
from scanlib.passes import optimise
from scanlib.reference import evaluate

x, u, m = T.dvector("x"), T.dvector("u"), T.dmatrix("m")
W, U = T.dmatrix("W"), T.dmatrix("U")
h0, w, v0 = T.dscalar("h0"), T.dscalar("w"), T.dvector("v0")
n, labels = T.lscalar("n"), T.lvector("labels")
rng = np.random.default_rng(3)
VALUES: dict[Variable, Any] = {
    x: rng.uniform(-1, 1, 7),
    u: rng.uniform(-1, 1, 7),
    m: rng.uniform(-1, 1, (7, 3)),
    W: rng.uniform(-1, 1, (3, 3)),
    U: rng.uniform(-1, 1, (3, 3)),
    h0: np.asarray(0.3),
    w: np.asarray(0.7),
    v0: rng.uniform(-1, 1, 3),
    n: np.asarray(5),
    labels: np.array([0, 2, 1, 1, 0, 2, 1]),
}


def specs(graph: FunctionGraph) -> list[ScanSpec]:
    """The scans of a graph, inner ones after the one they are in."""
    found: list[ScanSpec] = []
    for node in toposort(graph.outputs):
        if node.op.name == "scan":
            spec = node.params["spec"]
            found += [spec, *specs(FunctionGraph(spec.inputs, spec.outputs))]
    return found


def operations(spec: ScanSpec) -> list[str]:
    return sorted(node.op.name for node in toposort(spec.outputs))


def optimised(*outputs: Variable) -> FunctionGraph:
    """The optimised graph of `outputs`, checked to compute the same."""
    inputs = [v for v in roots(outputs) if v in VALUES]
    graph = FunctionGraph(tuple(inputs), tuple(outputs))
    made = optimise(graph, check_passes=True)
    values = {v: VALUES[v] for v in inputs}
    for a, b in zip(evaluate(graph.outputs, values), evaluate(made.outputs, values), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-13)
    return made


def leaky(**arguments: Any) -> Variable:
    """h[t] = h[t-1]/2 + x[t]."""
    trace, _ = scanlib.scan(lambda a, h: 0.5 * h + a, sequences=x, outputs_info=h0, **arguments)
    return trace


def vectors() -> Variable:
    trace, _ = scanlib.scan(lambda a, h: T.tanh(0.5 * h + a), sequences=m, outputs_info=v0)
    return trace


def two_taps() -> Variable:
    start = {"initial": T.stack([h0, w]), "taps": [-2, -1]}
    trace, _ = scanlib.scan(lambda a, p, q: 0.5 * p + 0.2 * q + a, sequences=x, outputs_info=start)
    return trace


def counted() -> Variable:
    trace, _ = scanlib.scan(lambda h: 0.5 * h + 1, outputs_info=h0, n_steps=n)
    return trace


def stopping() -> Variable:
    trace, _ = scanlib.scan(
        lambda h: (h * 2, scanlib.scan_module.until(T.gt(h, 2))), outputs_info=h0, n_steps=20
    )
    return trace


def both() -> list[Variable]:
    """A state and a mapped output."""
    traces, _ = scanlib.scan(lambda a, h: [0.5 * h + a, T.exp(a)], sequences=x, outputs_info=[h0, None])
    return traces


def summed(inner_read: Callable[[Variable], Variable]) -> Variable:
    """A scan in a scan."""

    def step(row: Variable) -> Variable:
        inner, _ = scanlib.scan(lambda a, h: 0.5 * h + a, sequences=row, outputs_info=h0)
        return inner_read(inner)

    trace, _ = scanlib.scan(step, sequences=m)
    return trace


KEEP: dict[str, tuple[Callable[[], Any], list[tuple[int | None, ...]]]] = {
    "whole": (lambda: leaky(), [(None,)]),
    "last": (lambda: leaky()[-1], [(1,)]),
    "third from the end": (lambda: leaky()[-3], [(3,)]),
    "last four": (lambda: leaky()[-4:], [(4,)]),
    "slice near the end": (lambda: leaky()[-5:-2], [(5,)]),
    "strided near the end": (lambda: leaky()[-6::2], [(6,)]),
    "backwards from the end": (lambda: leaky()[-1:-5:-2], [(3,)]),
    "reversed, first three": (lambda: leaky()[::-1][:3], [(3,)]),
    "every second from the end": (lambda: leaky()[::-2][:2], [(3,)]),
    "all but the first": (lambda: leaky()[1:], [(None,)]),
    "all but the last, last": (lambda: leaky()[:-1][-1], [(2,)]),
    "view of a view of a view": (lambda: leaky()[::-1][1:][:2][::-1], [(3,)]),
    "first": (lambda: leaky()[0], [(None,)]),
    "several reads": (lambda: [(t := leaky())[-1], t[-3:]], [(3,)]),
    "several reads, one of all": (lambda: [(t := leaky())[-1], t], [(None,)]),
    "shape": (lambda: leaky().shape, []),
    "shape and last": (lambda: [(t := leaky()).shape[0], t[-1]], [(1,)]),
    "length - 1": (lambda: leaky()[x.shape[0] - 1], [(1,)]),
    "length - 3": (lambda: leaky()[x.shape[0] - 3 :], [(3,)]),
    "own length - 2": (lambda: (t := leaky())[t.shape[0] - 2], [(2,)]),
    "n_steps - 1": (lambda: counted()[n - 1], [(1,)]),
    "n_steps - 4 up to n_steps - 1": (lambda: counted()[n - 4 : n - 1], [(4,)]),
    "clamped start": (lambda: counted()[T.maximum(n - 2, 0) :], [(2,)]),
    "any index": (lambda: leaky()[n], [(None,)]),
    "all of a known number": (
        lambda: scanlib.scan(lambda h: h * 2, outputs_info=h0, n_steps=4)[0][-4:],
        [(None,)],
    ),
    "last of known number, from the front": (
        lambda: scanlib.scan(lambda h: h * 2, outputs_info=h0, n_steps=9)[0][7],
        [(2,)],
    ),
    "elementwise, then last": (lambda: (T.exp(leaky()) * 2)[-1], [(1,)]),
    "transposed, then last": (lambda: vectors().T[:, -2:], [(2,)]),
    "one column, then last": (lambda: vectors()[:, 1][-1], [(1,)]),
    "norms of rows, then last": (lambda: (vectors() ** 2).sum(1)[-1], [(1,)]),
    "product, then last": (lambda: T.dot(vectors(), W)[-1], [(1,)]),
    "softmax of a product, then last two": (lambda: T.nnet.softmax(T.dot(vectors(), W))[-2:], [(2,)]),
    "taps deeper than the read": (lambda: two_taps()[-1], [(1,)]),
    "until, last": (lambda: stopping()[-1], [(1,)]),
    "until, last of its own length": (lambda: (t := stopping())[t.shape[0] - 1], [(1,)]),
    "until, last three": (lambda: stopping()[-3:], [(3,)]),
    "state unread, mapped read": (lambda: both()[1][-2:], [(2,)]),
    "state read, mapped unread": (lambda: both()[0][-2:], [(2,)]),
    "state fed back only": (
        lambda: scanlib.scan(
            lambda a, h: [0.5 * h + a, h * h], sequences=x, outputs_info=[h0, None]
        )[0][1],
        [(0, None)],
    ),
    "inner last": (lambda: summed(lambda t: t[-1]), [(None,), (1,)]),
    "inner last two, outer last": (lambda: summed(lambda t: t[-2:].sum())[-1], [(1,), (2,)]),
    "inner sum": (lambda: summed(lambda t: t.sum()), [(None,), (0, 1)]),
    "sum over time": (lambda: leaky().sum(), [(0, 1)]),
    "sum of rows over time": (lambda: vectors().sum(0), [(0, 1)]),
    "mean over time": (lambda: leaky().mean(0), [(0, 1)]),
    "max over time": (lambda: leaky().max(0), [(0, 1)]),
    "sum of squares over time": (lambda: (leaky() ** 2).sum(), [(0, 1)]),
    "squared distance from a sequence": (lambda: ((leaky() - x) ** 2).mean(), [(0, 1)]),
    "squared distance from a row": (lambda: ((vectors() - v0) ** 2).sum(), [(0, 1)]),
    "product with a vector": (lambda: T.dot(x, leaky()), [(0, 1)]),
    "product of a vector with rows": (lambda: T.dot(T.exp(x), vectors()), [(0, 1)]),
    "several reductions and the last": (
        lambda: [((t := leaky()) ** 2).sum(), (t * x).max(0), t[-1]],
        [(1, 1, 1)],
    ),
    "sum of squares, until": (lambda: ((stopping() - w) ** 2).sum(), [(0, 1)]),
    "sum and last": (lambda: [(t := leaky()).sum(), t[-1]], [(1, 1)]),
    "sum and all": (lambda: [(t := leaky()).sum(), t], [(None,)]),
    "stride, then last": (lambda: leaky()[::2][-1], [(2,)]),
    "stride, then last two": (lambda: leaky()[1::3][-2:], [(6,)]),
    "from the third, then last": (lambda: leaky()[2:][-1], [(1,)]),
    "from the third, then last three": (lambda: leaky()[2:][-3:], [(3,)]),
    "from a symbolic place, then last": (lambda: leaky()[n:][-1:], [(1,)]),
    "all but a symbolic last, then last": (lambda: counted()[: n - 1][-1], [(2,)]),
    "all but the last two of a length, then last two": (lambda: leaky()[: x.shape[0] - 2][-2:], [(4,)]),
    "between symbolic places, then last": (lambda: counted()[1:n][-1], [(1,)]),
    "a slice of a stride of a slice": (lambda: leaky()[1:][:-1][::2][-1], [(3,)]),
    "length of a slice": (lambda: leaky()[2:].shape[0], []),
    "length of a stride, and last": (lambda: [(t := leaky())[1::2].shape[0], t[-1]], [(1,)]),
    "take": (lambda: leaky().take(-1), [(1,)]),
    "list of places from the end": (lambda: leaky()[[-1, -4]], [(4,)]),
    "reshaped rows, then last": (lambda: (t := vectors()).reshape((t.shape[0], 3, 1))[-1], [(1,)]),
    "stacked, then last": (lambda: T.stack([leaky(), leaky() * 2])[:, -1], [(1,)]),
    "stacked along the rows, then last": (lambda: T.stack([leaky(), both()[1]], axis=1)[-1], [(1, 1)]),
    "with the initial value, then last two": (
        lambda: T.concatenate([T.stack([h0]), leaky()])[-2:],
        [(2,)],
    ),
    "one column": (lambda: vectors()[:, 1], [(0, None)]),
    "sums of rows": (lambda: vectors().sum(1), [(0, None)]),
    "outer trace of inner last": (lambda: summed(lambda t: t)[:, -1], [(None,), (1,)]),
    "outer last of inner last": (lambda: summed(lambda t: t)[-1, -1], [(1,), (1,)]),
    "outer last of inner traces": (lambda: summed(lambda t: t)[-1], [(1,), (None,)]),
    "outer sum of inner traces": (lambda: summed(lambda t: t).sum(), [(1,), (0, 1)]),
    "product over time": (lambda: leaky().prod(), [(0, 1)]),
    "minimum over time": (lambda: leaky().min(), [(0, 1)]),
    "any and all over time": (lambda: [T.gt(t := leaky(), 0.2).any(), T.lt(t, 9).all()], [(0, 1, 1)]),
    "norm": (lambda: T.sqrt((vectors() ** 2).sum()), [(0, 1)]),
    "sum of norms of rows": (lambda: T.sqrt((vectors() ** 2).sum(1)).sum(), [(0, 1)]),
    "logarithm of a sum of exponentials": (lambda: T.log(T.exp(leaky()).sum()), [(0, 1)]),
    "log-likelihood of a class": (
        lambda: T.log(T.nnet.softmax(T.dot(vectors(), W)))[:, 0].sum(),
        [(0, 1)],
    ),
    "product with a constant vector": (lambda: T.dot(T.constant(np.arange(7.0)), leaky()), [(0, 1)]),
    "constant vector times rows": (lambda: T.dot(T.constant(np.arange(7.0)), vectors()), [(0, 1)]),
    "transposed rows times a constant vector": (
        lambda: T.dot(vectors().T, T.constant(np.arange(7.0))),
        [(0, 1)],
    ),
    "product of rows with a constant vector, summed": (
        lambda: T.dot(vectors(), T.constant(np.arange(3.0))).sum(),
        [(0, 1)],
    ),
    "mean after some steps": (lambda: vectors()[2:].mean(0), [(0, 1)]),
    "sum after a symbolic number of steps": (lambda: leaky()[n:].sum(), [(0, 1)]),
    "sum of all but the last": (lambda: leaky()[:-1].sum(), [(0, 1)]),
    "sum of every second": (lambda: leaky()[::2].sum(), [(0, 1)]),
    "sum of squares after some steps": (lambda: (leaky()[3:] ** 2).sum(), [(0, 1)]),
    "sum after some steps, until": (lambda: stopping()[2:].sum(), [(0, 1)]),
    "sum of all but the last, until": (lambda: stopping()[:-1].sum(), [(0, 1)]),
    "maximum after some steps": (lambda: leaky()[3:].max(), [(0, 1)]),
    "place of the largest": (lambda: T.argmax(leaky(), 0), [(0, 0, 1)]),
    "smallest square and its place, until": (
        lambda: [(t := (stopping() - w) ** 2).min(), T.argmin(t, 0)],
        [(0, 1, 0, 1)],
    ),
    "place in a slice": (lambda: T.argmax(leaky()[1:], 0), [(0, 0, 1)]),
    "place of the largest increment": (lambda: T.argmax(abs((t := leaky())[1:] - t[:-1])), [(0, 0, 1)]),
    "place before the last, until": (lambda: T.argmin(stopping()[:-1]), [(0, 0, 1)]),
    "middle of a loop with until": (lambda: stopping()[1:-2:2].prod(), [(0, 0, 1)]),
    "deviation before the last, until": (lambda: stopping()[:-1].std(), [(0, 1, 0, 1, 1)]),
    "last increments": (lambda: ((t := leaky())[1:] - t[:-1])[-2:], [(3,)]),
    "last second difference, until": (
        lambda: ((t := stopping())[2:] - 2 * t[1:-1] + t[:-2])[-1],
        [(3,)],
    ),
    "last rows, one written": (lambda: T.set_subtensor(vectors()[-1], w)[-2:], [(2,)]),
    "last row of what a column is written to": (lambda: T.inc_subtensor(vectors()[:, 0], x)[-1], [(1,)]),
    "last elements of all rows": (lambda: vectors().flatten()[-2:], [(2,)]),
    "last rows before another": (lambda: T.concatenate([x, leaky(), T.stack([w])])[-3:], [(2,)]),
    "places by the length": (lambda: (t := leaky())[T.stack([t.shape[0] - 1, t.shape[0] - 3])], [(3,)]),
    "places by n_steps, from both ends": (lambda: counted()[T.stack([n - 2, T.constant(-3)])], [(3,)]),
    "range of places": (lambda: counted()[T.arange(n - 3, n)], [(3,)]),
    "any places": (lambda: leaky()[T.stack([n, n - 1])], [(None,)]),
    "last row of some columns": (lambda: vectors()[:, [0, 1]][-1], [(1,)]),
    "last column of a product": (lambda: T.dot(W, vectors().T)[:, -1], [(1,)]),
    "last of many products": (lambda: T.batched_dot(vectors()[:, None, :], vectors()[:, :, None])[-1], [(1,)]),
    "squared distance from what may be as long": (lambda: ((leaky() - u) ** 2).mean(), [(1, 1)]),
    "crossentropy": (
        lambda: T.nnet.categorical_crossentropy(T.nnet.softmax(vectors()), labels).mean(),
        [(1, 1)],
    ),
    "hits": (lambda: T.eq(T.argmax(vectors(), 1), labels).mean(), [(0, 1, 1)]),
    "places in rows": (lambda: T.argmax(vectors(), 1), [(0, None)]),
    "a column replaced, summed": (lambda: T.set_subtensor(vectors()[:, 0], w).sum(0), [(0, 1)]),
    "rows side by side, summed": (lambda: T.concatenate([vectors(), m], 1).sum(0), [(0, 1)]),
    "totals of sums along rows": (lambda: T.cumsum(vectors(), 1).max(0), [(0, 1)]),
    "variance over time": (lambda: vectors().var(0), [(0, 1, 1, 1)]),
    "standard deviation of a slice": (lambda: leaky()[2:].std(), [(0, 1, 0, 1, 1)]),
    "mean, deviation and last": (lambda: [(t := vectors()).mean(0), t.std(0), t[-1]], [(1, 1, 1, 1)]),
    "squared distance from the last": (lambda: (((t := leaky()) - t[-1]) ** 2).sum(), [(1, 1, 1)]),
    "variance of exponentials, until": (lambda: T.exp(stopping()).var(), [(0, 1, 1, 1)]),
    "inner variance": (lambda: summed(lambda t: t.var(0)), [(None,), (0, 1, 1, 1)]),
    "logsumexp over time": (lambda: T.logsumexp(vectors(), 0), [(0, 1, 1, 1)]),
    "logsumexp over time, as written": (
        lambda: T.log(T.exp((t := leaky()) - t.max(0)).sum(0)) + t.max(0),
        [(0, 1, 1, 1)],
    ),
    "softmax over time, last": (lambda: T.nnet.softmax(leaky(), 0)[-1], [(1, 1, 1, 1)]),
    "minimum of a slice": (lambda: vectors()[1:-1].min(0), [(0, 1)]),
    "last of the sums so far": (lambda: T.cumsum(leaky())[-1], [(0, 1)]),
    "total variation": (lambda: abs((t := leaky())[1:] - t[:-1]).sum(), [(0, 1)]),
    "second differences": (lambda: (((t := vectors())[2:] - 2 * t[1:-1] + t[:-2]) ** 2).sum(0), [(0, 0, 1)]),
    "total variation, until": (lambda: abs((t := stopping())[1:] - t[:-1]).sum(), [(0, 1)]),
    "increments of exponentials": (
        lambda: (T.exp(t := leaky())[1:] - T.exp(t)[:-1]).max(),
        [(0, 1)],
    ),
    "gradient of the last, linear": (
        # The forward loop is not needed: the derivative does not depend on the states.
        lambda: scanlib.grad(leaky()[-1], h0),
        [(1,)],
    ),
    "gradient of the last, not linear": (
        lambda: scanlib.grad(vectors()[-1].sum(), v0),
        [(None,), (1,)],
    ),
    "gradient and value of a sum of squares": (
        lambda: [c := (vectors() ** 2).sum(), scanlib.grad(c, v0)],
        [(None,), (1,)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KEEP)
def test_keep(name: str) -> None:
    program, expected = KEEP[name]
    outputs = program()
    graph = optimised(*(outputs if isinstance(outputs, list) else [outputs]))
    assert [spec.keep for spec in specs(graph)] == expected


def test_shorter_than_the_read() -> None:
    """Fewer steps than are kept: the same elements, the same errors."""
    trace = counted()
    outputs = (trace[-3:], trace[n - 3 :], trace[::-1][:3], trace[T.maximum(n - 3, 0) :])
    graph = FunctionGraph((h0, n), outputs)
    made = optimise(graph)
    assert [spec.keep for spec in specs(made)] == [(3,)]
    for steps in range(6):
        values = {h0: VALUES[h0], n: np.asarray(steps)}
        for a, b in zip(evaluate(graph.outputs, values), evaluate(made.outputs, values), strict=True):
            np.testing.assert_array_equal(a, b)


# What is left of a scan.


@dataclass(frozen=True)
class Left:
    sequences: int = 0
    states: int = 0
    mapped: int = 0
    non_sequences: int = 0
    operations: tuple[str, ...] | None = None


def pair_of_states() -> list[Variable]:
    traces, _ = scanlib.scan(lambda a, b, g, h: [g + a, h * b + w], sequences=[x, u], outputs_info=[h0, h0])
    return traces


def scanned(fn: Callable[..., Any], *sequences: Variable, states: Any = None, **arguments: Any) -> Any:
    return scanlib.scan(fn, sequences=list(sequences), outputs_info=states, **arguments)[0]


LEFT: dict[str, tuple[Callable[[], Any], list[Left]]] = {
    "unread state, its sequence": (lambda: pair_of_states()[0], [Left(1, 1)]),
    "unread state, its non-sequence": (lambda: pair_of_states()[1], [Left(1, 1, 0, 1)]),
    "unread mapped output": (lambda: both()[0], [Left(1, 1)]),
    "state that feeds another": (
        lambda: scanned(lambda a, g, h: [g + a, h + g], x, states=[h0, h0])[1],
        [Left(1, 2)],
    ),
    "states that feed each other, unread": (
        lambda: scanned(
            lambda a, g, h, k: [g + h, h + g, k + a], x, states=[h0, h0, h0]
        )[2],
        [Left(1, 1)],
    ),
    "sequence for the length only": (lambda: scanned(lambda a, h: h * 2, x, states=h0), [Left(0, 1)]),
    "one sequence twice": (lambda: scanned(lambda a, b, h: h + a * b, x, x, states=h0), [Left(1, 1)]),
    "equal sequences": (
        lambda: scanned(lambda a, b, h: h + a * b, x[1:], x[1:], states=h0),
        [Left(1, 1)],
    ),
    "repeated row": (
        lambda: scanned(lambda a, b, h: h * b + a, x, T.zeros_like(x), states=h0),
        [Left(1, 1, 0, 0)],
    ),
    "constant non-sequence": (
        lambda: scanned(lambda a, h: h + a * T.constant(3.0), x, states=h0),
        [Left(1, 1, 0, 0)],
    ),
    "state that never changes": (
        lambda: scanned(lambda a, h, k: [h * k + a, k], x, states=[h0, w])[0],
        [Left(1, 1, 0, 1)],
    ),
    "state that never changes, read": (
        lambda: scanned(lambda a, h, k: [h * k + a, k], x, states=[h0, w]),
        [Left(1, 1, 0, 1)],
    ),
    "state whose past is unread": (lambda: scanned(lambda a, h: a * 2, x, states=h0), [Left(1, 0, 1)]),
    "mapped output of the outside": (lambda: scanned(lambda a: [a * 2, T.exp(w)], x), [Left(1, 0, 1)]),
    "mapped output equal to a state": (
        lambda: scanned(lambda a, h: [(s := h + a), s], x, states=[h0, None]),
        [Left(1, 1)],
    ),
    "one step": (lambda: scanned(lambda h: h * 2 + w, states=h0, n_steps=1), []),
    "one step, until": (
        lambda: scanned(
            lambda h: (h * 2, scanlib.scan_module.until(T.gt(h, 0))), states=h0, n_steps=1
        ),
        [],
    ),
    "equal scans": (lambda: [leaky()[-1], leaky()[-2]], [Left(1, 1)]),
    "equal expressions in the step": (
        lambda: scanned(lambda a, h: T.exp(a) * h + T.exp(a), x, states=h0),
        [Left(1, 1, 0, 0, ("add", "exp", "mul"))],
    ),
    "work of the outside": (
        lambda: scanned(lambda a, h: T.exp(w) * h + a, x, states=h0),
        [Left(1, 1, 0, 1, ("add", "mul"))],
    ),
    "work on a repeated row": (
        lambda: scanned(lambda a, b, h: T.exp(b) * h + a, x, T.zeros_like(x) + 0, states=h0),
        [Left(2, 1, 0, 0, ("add", "exp", "mul"))],
    ),
    "work on zeros": (
        lambda: scanned(lambda a, b, h: T.exp(b) * h + a, x, T.zeros_like(x), states=h0),
        [Left(1, 1, 0, 0, ("add",))],
    ),
    "constants of the step": (
        lambda: scanned(lambda a, h: h * (T.constant(2.0) + T.constant(3.0)) + a, x, states=h0),
        [Left(1, 1, 0, 0, ("add", "mul"))],
    ),
    "square": (lambda: scanned(lambda a, h: h + a**2, x, states=h0), [Left(1, 1, 0, 0, ("add", "mul"))]),
    "zeros from outside": (
        lambda: scanned(lambda a, h: h + a + T.zeros_like(v0), m, states=v0),
        [Left(1, 1, 0, 1, ("add", "add", "broadcast_to"))],
    ),
    "shape of a product": (
        lambda: scanned(lambda a: T.zeros_like(a @ W) + a, m),
        [Left(1, 0, 1, 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_left(name: str) -> None:
    program, expected = LEFT[name]
    outputs = program()
    found = specs(optimised(*(outputs if isinstance(outputs, list) else [outputs])))
    assert [(s.sequences, len(s.states), s.mapped, s.non_sequences) for s in found] == [
        (e.sequences, e.states, e.mapped, e.non_sequences) for e in expected
    ]
    for spec, e in zip(found, expected, strict=True):
        if e.operations is not None:
            assert operations(spec) == list(e.operations)


def test_no_product_for_its_shape() -> None:
    """In the step of a gradient the products of the forward step are not done again for their shapes."""
    trace, _ = scanlib.scan(lambda a, h: T.tanh(a @ W + h @ U), sequences=m, outputs_info=v0)
    graph = optimised(scanlib.grad(trace[-1].sum(), U))
    forward, backward = specs(graph)
    assert operations(forward).count("contract") == 2
    assert operations(backward).count("contract") == 2  # λ Uᵀ and the gradient itself


def test_labels_survive() -> None:
    traces, _ = scanlib.scan(
        lambda a, h: [T.add(h, a), T.exp(a)],
        sequences=x,
        outputs_info=[{"initial": h0, "taps": [-1]}, None],
        name="loop",
    )
    (spec,) = specs(optimised(traces[0].sum()))
    assert spec.name == "loop" and spec.labels == ("h0", "sum of h0")


def test_updates_of_shared_variables() -> None:
    """A carried shared variable keeps one step; where nothing else is asked for, it is all that is left."""
    k = scanlib.shared(np.asarray(0, "int64"), "k")
    _, updates = scanlib.scan(lambda a: ({k: k + 1}), sequences=x)
    graph = FunctionGraph((x, k), tuple(updates.values()))
    (spec,) = specs(optimise(graph, check_passes=True))
    assert spec.keep == (1,) and spec.sequences == 0 and isinstance(k, SharedVariable)


def test_hoisting_from_a_step() -> None:
    """Work on non-sequences leaves inner and outer loops; branches that may not be taken stay."""
    from scanlib.ifelse import ifelse
    from scanlib.scan_gradient.builder import ScanBuilder

    def loop(inner: bool) -> Variable:
        builder = ScanBuilder("loop")
        a, b = builder.sequence(m), builder.constant(v0)
        value = T.exp(b) * a
        if inner:
            nested = ScanBuilder("inner")
            h = nested.state(T.shape_padleft(a), "h")
            c = nested.constant(b)
            h.next = h.value * T.exp(c) + ifelse(T.gt(h.value[0], 100), T.sin(c), c)
            value = nested.build(T.constant(3)).states[0][-1]
        builder.output(value, "y")
        return builder.build(m.shape[0]).mapped[0]

    (plain,) = specs(optimised(loop(False)))
    assert operations(plain) == ["mul"]
    outer, inner = specs(optimised(loop(True)))
    assert "exp" not in operations(outer) + operations(inner)
    assert "sin" in operations(inner)
