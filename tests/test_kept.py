"""What a gradient keeps of the forward run: products are not computed again, elementwise work is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.graph import Apply, FunctionGraph, Variable, toposort
from scanlib.ops.base import Library
from scanlib.ops.scan_op import ScanSpec, spec_of
from scanlib.passes import optimise
from scanlib.random import RandomStreams

Step = Callable[..., Variable]


def scans(inputs: list[Variable], outputs: list[Variable]) -> list[ScanSpec]:
    """The scans that are run."""
    graph = optimise(FunctionGraph(tuple(inputs), tuple(outputs)))
    return [spec_of(node) for node in toposort(graph.outputs) if node.op.name == "scan"]


def products(spec: ScanSpec) -> list[Apply]:
    return [node for node in toposort(spec.outputs, spec.inputs) if node.op.name == "contract"]


def gated(h: Variable, x: Variable, W: Variable, U: Variable) -> Variable:
    z = T.dot(x, W) + T.dot(h, U)
    n = h.shape[1]
    return T.nnet.sigmoid(z[:, :n]) * h + T.tanh(z[:, n:])


def gradient_of(
    step: Step, static: int | None = None
) -> tuple[list[Variable], list[Variable], list[ScanSpec]]:
    """Inputs x, h0, W, U; the gradients of Σ h² in the last three; the scans in them."""
    n = static
    x, h0 = T.TensorType("float64", (None, n, n))("x"), T.TensorType("float64", (n, n))("h0")
    W, U = (T.TensorType("float64", (n, None if n is None else 2 * n))(name) for name in "WU")
    h, _ = scanlib.scan(
        lambda x, h, W, U: step(h, x, W, U), sequences=x, outputs_info=h0, non_sequences=[W, U]
    )
    inputs = [x, h0, W, U]
    made = scanlib.grad((h**2).sum(), inputs[1:])
    return inputs, made, scans(inputs, made)


def test_one_array_stands_for_the_products_it_is_made_of() -> None:
    _, _, found = gradient_of(gated)
    reverse = next(s for s in found if s.name.startswith("gradient"))
    forward = max((s for s in found if s is not reverse), key=lambda s: s.mapped)
    assert forward.mapped == 1  # z, and not x W beside h U
    # Two weights and one state get a product each; none is left of the forward step.
    assert len(products(reverse)) == 3


def test_small_products_are_computed_again() -> None:
    _, _, found = gradient_of(gated, static=3)
    assert all(s.mapped == 0 for s in found if not s.name.startswith("gradient"))


def test_elementwise_steps_keep_nothing() -> None:
    u, a = T.vector("u"), T.scalar("a")
    x, _ = scanlib.scan(lambda u, x: T.tanh(a * x + T.exp(u)), sequences=u, outputs_info=0.0)
    found = scans([u, a], [scanlib.grad(x.sum(), a)])
    assert len(found) == 2 and sum(s.mapped for s in found) == 0


def test_the_result_of_the_step_needs_no_product_again() -> None:
    """tanh' is made of tanh, which is the state."""
    _, _, found = gradient_of(lambda h, x, W, U: T.tanh(T.dot(x, W) + T.dot(h, U))[:, : h.shape[1]])
    assert all(len(products(s)) <= 3 for s in found if s.name.startswith("gradient"))


def test_random_draws_are_kept_rather_than_the_generator() -> None:
    streams, w = RandomStreams(3), T.scalar("w")
    x, updates = scanlib.scan(lambda x: w * x * streams.normal(), outputs_info=1.0, n_steps=5)
    g = scanlib.grad(x.sum(), w)
    f = scanlib.function([w], [x, g], updates=updates)
    reverse = next(s for s in scans([w, *updates], [g]) if s.name.startswith("gradient"))
    nodes = toposort(reverse.outputs, reverse.inputs)
    assert nodes and not any(isinstance(node.op.lower, Library) for node in nodes)
    value = 0.7
    trace, slope = f(value)
    # x[t] is w**t times what was drawn.
    powers = np.arange(1, 6)
    np.testing.assert_allclose(slope, (powers * trace).sum() / value)


@pytest.mark.parametrize("mode", ["reference", "native"])
@pytest.mark.parametrize("static", [None, 3])
def test_values(mode: str, static: int | None) -> None:
    inputs, made, _ = gradient_of(gated, static)
    rng = np.random.default_rng(0)
    values = [rng.normal(size=s) for s in [(4, 3, 3), (3, 3), (3, 6), (3, 6)]]
    got = scanlib.function(inputs, made, mode=mode)(*values)

    def cost(h0: np.ndarray, W: np.ndarray, U: np.ndarray) -> float:
        h, total = h0, 0.0
        for x in values[0]:
            z = x @ W + h @ U
            h = h / (1 + np.exp(-z[:, :3])) + np.tanh(z[:, 3:])
            total += float((h**2).sum())
        return total

    for k, gradient in enumerate(got):
        for index in np.ndindex(gradient.shape):
            sides = []
            for sign in (1, -1):
                moved = [v.copy() for v in values[1:]]
                moved[k][index] += sign * 1e-6
                sides.append(cost(*moved))
            np.testing.assert_allclose(gradient[index], (sides[0] - sides[1]) / 2e-6, rtol=1e-5, atol=1e-7)
