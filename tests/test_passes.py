"""Every pass alone, and all together, leave the results of generated programs as the interpreter has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.choices import LOWERING
from scanlib.errors import UserError
from scanlib.graph import FunctionGraph, Variable, toposort
from scanlib.ops.index_rules import At, Span
from scanlib.passes import NAMES, optimise
from scanlib.passes.compose import compose
from scanlib.reference import evaluate

WIDTH = 3  # of the rows of vector-valued states
SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Values = dict[Variable, np.ndarray]


def run(graph: FunctionGraph, values: Values) -> list[np.ndarray] | type[UserError]:
    try:
        return evaluate(graph.outputs, values)
    except UserError:
        return UserError


def agree(graph: FunctionGraph, values: Values, only: set[str] | None) -> None:
    """The optimised graph gives what the graph gives, an error for an error."""
    expected = run(graph, values)
    given = graph.outputs
    try:
        optimised = optimise(graph, only=only, check_passes=True)
    except UserError:
        assert expected is UserError
        optimised = optimise(graph, only=only, check_passes=False)
    assert graph.outputs == given
    got = run(optimised, values)
    if expected is UserError or got is UserError:
        assert got is expected
        return
    for a, b in zip(expected, got, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


# Programs.

OPERATIONS: list[Callable[[Variable, Variable], Variable]] = [
    lambda a, b: a + b,
    lambda a, b: a - b * 0.5,
    lambda a, b: a * b,
    lambda a, b: T.maximum(a, b),
    lambda a, b: T.tanh(a) - b,
    lambda a, b: T.switch(T.gt(a, b), a, b * 2),
    lambda a, b: (a * 1) ** 2 + T.sin(b),
]


# Ways to read a trace; k is 1 to 4, j is 1 to 3.
READS: list[Callable[..., Variable]] = [
    lambda t, k, j: t,
    lambda t, k, j: t[-1],
    lambda t, k, j: t[-k],
    lambda t, k, j: t[-k:],
    lambda t, k, j: t[-k - j : -j],
    lambda t, k, j: t[-k::2],
    lambda t, k, j: t[::-1][:k],
    lambda t, k, j: t[::-1][0],
    lambda t, k, j: t[:-1][-1],
    lambda t, k, j: t[1:][-k:],
    lambda t, k, j: t[-k:][0],
    lambda t, k, j: t[-1 : -1 - k : -j],
    lambda t, k, j: t[-2:].sum(0),
    lambda t, k, j: t.sum(),
    lambda t, k, j: t.sum(0),
    lambda t, k, j: t.mean(0),
    lambda t, k, j: t.max(0),
    lambda t, k, j: (t * 2 + 1)[-1],
    lambda t, k, j: T.exp(t.T)[..., -1],
    lambda t, k, j: t.shape,
    lambda t, k, j: t.shape[0] * 2,
    lambda t, k, j: T.zeros_like(t),
    lambda t, k, j: t[0],
    lambda t, k, j: (t**2).sum(tuple(range(1, t.ndim)))[-1],
    lambda t, k, j: ((t - 0.5) ** 2).sum(0),
    lambda t, k, j: (t * T.exp(t)).mean(),
    lambda t, k, j: T.concatenate([t[-1:], t[-k:]]),
    lambda t, k, j: t[::j][-k:],
    lambda t, k, j: t[j::k][-1],
    lambda t, k, j: t[j:][-k:],
    lambda t, k, j: t[:-j][-k:],
    lambda t, k, j: t[j:-k][::2][-2:],
    lambda t, k, j: t[-k:][::j][-1],
    lambda t, k, j: t[[-1, -k]],
    lambda t, k, j: t.reshape((t.shape[0], 1, -1))[-k:],
    lambda t, k, j: T.stack([t, t * 2])[:, -1],
    lambda t, k, j: T.concatenate([t[:1] * 0, t])[-k:],
    lambda t, k, j: T.concatenate([T.zeros_like(t)[:1], t])[-k:],
    lambda t, k, j: t[j:].sum(0),
    lambda t, k, j: t[:-j].mean(),
    lambda t, k, j: t[-k:-j].sum(0),
    lambda t, k, j: t[j::2].prod(0),
    lambda t, k, j: (t[j:] ** 2).sum(),
    lambda t, k, j: t[j:].max(0),
    lambda t, k, j: t[j:-k].min(0),
    lambda t, k, j: T.argmax(t, 0),
    lambda t, k, j: T.argmin(T.log(t * (k - 2)), 0) + t.min(0),
    lambda t, k, j: T.argmax(t[j::k], 0),
    lambda t, k, j: T.argmin(abs(t[j:-k]), 0),
    lambda t, k, j: t[:-j][::-1].sum(0) + t[:-k].var(0),
    lambda t, k, j: (t[j:] - t[:-j])[-k:],
    lambda t, k, j: T.set_subtensor(t[-j], 2.0)[-k:],
    lambda t, k, j: T.inc_subtensor(t[-j:], t[-1])[-k:],
    lambda t, k, j: T.inc_subtensor(t[j::k], 0.5)[-1],
    lambda t, k, j: t.flatten()[-k:],
    lambda t, k, j: t.reshape((-1,))[-1],
    lambda t, k, j: T.concatenate([t * 2, t, T.zeros_like(t)[:j]])[-k:],
    lambda t, k, j: t[T.stack([t.shape[0] - k, T.constant(-j)])],
    lambda t, k, j: T.take(t, t.shape[0] - T.arange(j, j + k), 0),
    lambda t, k, j: (t[2:] * t[1:-1] - T.exp(t[:-2]))[-j],
    lambda t, k, j: t[j::2].max(),
    lambda t, k, j: T.cumsum(t, 0)[-1],
    lambda t, k, j: T.cumprod(t, 0)[-1].sum(),
    lambda t, k, j: ((t[1:] - t[:-1]) ** 2).sum(),
    lambda t, k, j: (t[j:] * t[:-j]).sum(0),
    lambda t, k, j: abs(t[2:] - 2 * t[1:-1] + t[:-2]).mean(),
    lambda t, k, j: (t[j:] - t[:-j]).max(0),
    lambda t, k, j: T.sqrt((t**2).sum(tuple(range(1, t.ndim))) + 1).sum(),
]
# Those of a trace of vectors, and those by the number of steps n.
MATRIX_READS: list[Callable[..., Variable]] = [
    lambda t, k, j: t[:, 1],
    lambda t, k, j: t[:, 0].sum(),
    lambda t, k, j: t.sum(1),
    lambda t, k, j: T.dot(t, T.constant(np.arange(float(WIDTH)))).max(),
    lambda t, k, j: T.dot(T.ones_like(t[:, 0]), t),
    lambda t, k, j: t[:, [0, 2]][-k:],
    lambda t, k, j: T.set_subtensor(t[:, 0], t[:, 1] * 2)[-k:],
    lambda t, k, j: T.dot(t, t.T)[-k:, -j:],
    lambda t, k, j: T.dot(t.T, T.exp(t[:, 0])),
    lambda t, k, j: T.nnet.softmax(t)[:, 0].sum(),
]
LENGTH_READS: list[Callable[..., Variable]] = [
    lambda t, k, j, n: t[n - 1],
    lambda t, k, j, n: t[n - k],
    lambda t, k, j, n: t[n - k :],
    lambda t, k, j, n: t[T.maximum(n - k, 0) : n],
    lambda t, k, j, n: t[n - k : n - j],
    lambda t, k, j, n: t[: n - j][-k:],
    lambda t, k, j, n: t[n - k :].sum(0),
]


def reads(trace: Variable, draw: Any, length: Variable | None) -> Variable:
    """One of the many ways to read a trace."""
    k, j = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    choices = [
        *READS,
        *(MATRIX_READS if trace.ndim == 2 else []),
        *(LENGTH_READS if length is not None else []),
    ]
    chosen = draw(st.sampled_from(choices))
    return chosen(trace, k, j, length) if chosen in LENGTH_READS else chosen(trace, k, j)


class Program:
    """A generated scan and the variables around it."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 1000)))
        self.values: Values = {}
        self.vector_rows = draw(st.booleans())
        self.length = draw(st.sampled_from([0, 1, 2, 3, 6]))

    def variable(self, *shape: int, name: str) -> Variable:
        v = T.tensor("float64", (None,) * len(shape), name=name)
        self.values[v] = self.rng.uniform(-1, 1, shape)
        return v

    def row(self) -> tuple[int, ...]:
        return (WIDTH,) if self.vector_rows else ()

    def expression(self, inputs: list[Variable], size: int) -> Variable:
        pool = list(inputs)
        for _ in range(size):
            a, b = (self.draw(st.sampled_from(pool)) for _ in range(2))
            pool.append(self.draw(st.sampled_from(OPERATIONS))(a, b))
        return pool[-1]

    def sequences(self) -> list[Any]:
        made: list[Any] = []
        for k in range(self.draw(st.integers(0, 2))):
            extra = self.draw(st.integers(0, 1))
            v = self.variable(self.length + extra, *self.row(), name=f"x{k}")
            kind = self.draw(st.sampled_from(["plain", "reversed", "constant", "computed"]))
            if kind == "reversed":
                v = v[::-1]
            elif kind == "computed":
                v = v * 2
            elif kind == "constant":
                v = T.zeros_like(v)
            made.append(v)
        if made and self.draw(st.booleans()):
            made.append(made[0])
        return made

    def states(self) -> list[dict[str, Any]]:
        made = []
        for k in range(self.draw(st.integers(0, 2))):
            taps = sorted(self.draw(st.sets(st.integers(-3, -1), min_size=1, max_size=2)))
            depth = () if taps == [-1] else (-min(taps),)
            initial = self.variable(*depth, *self.row(), name=f"h{k}")
            made.append({"initial": initial, "taps": taps})
        return made

    def scan(self) -> tuple[list[Variable], Variable | None]:
        """The traces, and the number of steps where it is a variable."""
        draw = self.draw
        sequences, states = self.sequences(), self.states()
        weights = [self.variable(*self.row(), name="w"), self.variable(*self.row(), name="b")]
        mapped = draw(st.integers(0 if states else 1, 2))
        stop = draw(st.booleans()) and draw(st.booleans())
        kinds = [draw(st.sampled_from(["free", "same", "weights"])) for _ in range(mapped)]

        def step(*inputs: Variable) -> Any:
            inner = self.nested(inputs)
            results = [self.expression([*inputs, *inner], draw(st.integers(0, 4))) for _ in states]
            for kind in kinds:
                source = list(inputs[-2:]) if kind == "weights" else [*inputs, *inner]
                results.append(
                    inputs[0] if kind == "same" else self.expression(source, draw(st.integers(1, 3)))
                )
            if stop:
                return results, scanlib.scan_module.until(T.gt(T.sum(results[0]), 1.0))
            return results

        steps: Any = None
        length: Variable | None = None
        if not sequences or draw(st.booleans()):
            if draw(st.booleans()):
                steps = length = T.lscalar("n")
                self.values[length] = np.asarray(self.length)
            else:
                steps = self.length
        elif len(sequences) == 1:
            length = sequences[0].shape[0]
        infos = [*states, *[None] * mapped]
        traces, _ = scanlib.scan(
            step,
            sequences=sequences,
            outputs_info=infos,
            non_sequences=weights,
            n_steps=steps,
            return_list=True,
        )
        return traces, None if stop else length

    def nested(self, inputs: tuple[Variable, ...]) -> list[Variable]:
        if self.draw(st.integers(0, 3)):
            return []
        trace, _ = scanlib.scan(
            lambda h, w: T.tanh(h) * w, outputs_info=inputs[0], non_sequences=inputs[-1], n_steps=3
        )
        return [
            self.draw(st.sampled_from([lambda: trace[-1], lambda: trace.sum(0), lambda: trace[-2:][0]]))()
        ]


@st.composite
def programs(draw: Any) -> tuple[FunctionGraph, Values]:
    program = Program(draw)
    try:
        traces, length = program.scan()
        outputs = [reads(draw(st.sampled_from(traces)), draw, length) for _ in range(draw(st.integers(1, 3)))]
    except UserError:
        reject()  # known to fail before it runs
    return FunctionGraph(tuple(program.values), tuple(outputs), "generated"), program.values


@pytest.mark.parametrize("only", [*NAMES, None])
def test_generated(only: str | None) -> None:
    chosen = None if only is None else {only}

    @SETTINGS
    @given(programs())
    def check(made: tuple[FunctionGraph, Values]) -> None:
        agree(*made, chosen)

    check()


def test_gradients() -> None:
    """Derivatives of generated programs."""
    differentiable = settings(SETTINGS, max_examples=25)

    @differentiable
    @given(programs())
    def check(made: tuple[FunctionGraph, Values]) -> None:
        graph, values = made
        costs = [v.sum() for v in graph.outputs if v.dtype == "float64"]
        if not costs:
            return
        wrt = [v for v in graph.inputs if v.dtype == "float64"]
        cost = sum(costs[1:], costs[0])
        found = scanlib.grad(cost, wrt, disconnected_inputs="ignore")
        agree(FunctionGraph(graph.inputs, (cost, *found), "gradient"), values, None)

    check()


@pytest.mark.parametrize("only", [*LOWERING, "nothing", None])
def test_choices_of_the_lowering(only: str | None) -> None:
    """Compiled with each of them alone, with none, and with all and all passes."""
    choices = None if only is None else {only} & set(LOWERING)

    @settings(SETTINGS, max_examples=30)
    @given(programs())
    def check(made: tuple[FunctionGraph, Values]) -> None:
        graph, values = made
        expected = run(graph, values)
        scanlib.config.optimisations = choices
        try:
            f = scanlib.function(list(graph.inputs), list(graph.outputs), on_unused_input="ignore")
            got: Any = f(*(values[v] for v in graph.inputs))
        except UserError:
            got = UserError
        finally:
            scanlib.config.optimisations = None
        if expected is UserError or got is UserError:
            assert got is expected
            return
        for a, b in zip(expected, got, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)

    check()


def test_pass_in_an_error_message() -> None:
    """A broken pass is an internal error that names the pass."""
    from scanlib.errors import InternalError
    from scanlib.passes.optimise import check_graph

    x = T.dvector("x")
    y = T.exp(x)
    y.type = T.lvector
    with pytest.raises(InternalError, match="pass 'broken'"):
        check_graph(FunctionGraph((x,), (y,)), "pass 'broken'")


def test_chosen_passes() -> None:
    x = T.dvector("x")
    graph = FunctionGraph((x,), ((x * 1) ** 2,))
    assert optimise(graph, only=set()) is graph
    optimised = optimise(graph, only={"fold"})
    assert [n.op.name for n in toposort(optimised.outputs)] == ["mul"]
    with pytest.raises(UserError, match="no pass"):
        optimise(graph, only={"nothing"})


NUMBERS = (None, 0, 1, 2, -1, -2, -3)
ENTRIES = [Span(a, b, s) for a in NUMBERS for b in NUMBERS for s in (None, 2, -1)]


def test_composed_slices() -> None:
    """A slice of a slice as one slice, of arrays of every length."""

    def read(x: np.ndarray, e: At | Span) -> Any:
        if isinstance(e, Span):
            return x[e.start : e.stop : e.step].tolist()
        assert isinstance(e.index, int)
        return x[e.index] if -len(x) <= e.index < len(x) else "outside"

    composed = 0
    for inner in ENTRIES:
        for outer in [*ENTRIES, *(At(i) for i in (0, 1, -1, -2))]:
            made = compose((inner,), (outer,))
            if made is None:
                continue
            composed += 1
            for x in map(np.arange, range(7)):
                assert read(x, made[0]) == read(x[inner.start : inner.stop : inner.step], outer)
    assert composed > 1000
