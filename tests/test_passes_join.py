"""Scans with a state in common become one that gives the outputs of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.graph import Constant, FunctionGraph, Variable, roots, toposort
from scanlib.ops.scan_op import ScanSpec, scan_op, spec_of
from scanlib.passes import optimise
from scanlib.passes.loop import Feed, Loop, Mapped
from scanlib.reference import evaluate

x, y, m = T.dvector("x"), T.dvector("y"), T.dmatrix("m")
h0, w, v0 = T.dscalar("h0"), T.dscalar("w"), T.dvector("v0")
n = T.lscalar("n")
until = scanlib.scan_module.until
rng = np.random.default_rng(5)
VALUES: dict[Variable, np.ndarray] = {
    x: rng.uniform(-1, 1, 6),
    y: rng.uniform(-1, 1, 6),
    m: rng.uniform(-1, 1, (6, 3)),
    h0: np.asarray(0.3),
    w: np.asarray(-0.6),
    v0: rng.uniform(-1, 1, 3),
    n: np.asarray(4),
}


def scan(step: Callable[..., Any], states: Any, *sequences: Variable, **options: Any) -> list[Variable]:
    return scanlib.scan(
        step, sequences=list(sequences), outputs_info=states, return_list=True, **options
    )[0]  # fmt: skip


def joined(*outputs: Variable, only: set[str] | None = None) -> list[ScanSpec]:
    """The scans left, of a graph that is checked to compute the same."""
    inputs = [v for v in roots(outputs) if not isinstance(v, Constant)]
    graph = FunctionGraph(tuple(inputs), outputs)
    made = optimise(graph, only=only, check_passes=True)
    values = {v: VALUES[v] for v in inputs}
    for a, b in zip(evaluate(graph.outputs, values), evaluate(made.outputs, values), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-13)
    return [spec_of(node) for node in toposort(made.outputs) if node.op is scan_op]


def plain(**options: Any) -> list[Variable]:
    return scan(lambda a, h: T.tanh(h + a), [h0], x, **options)


def with_mapped(**options: Any) -> list[Variable]:
    """The same state, written in another order, and a mapped output."""
    return scan(lambda a, h: [T.tanh(a + h), h * w], [h0, None], x, **options)


def with_state(**options: Any) -> list[Variable]:
    return scan(lambda a, g, h: [0.5 * g + h, T.tanh(h + a)], [h0, h0], x, **options)


def stopping(limit: float, extra: bool) -> list[Variable]:
    def step(a: Variable, h: Variable) -> Any:
        made = [h + a * a, T.exp(h)]
        return (made if extra else made[0]), until(T.gt(made[0], limit))

    return scan(step, [h0, None] if extra else [h0], x)


def maps(extra: bool) -> list[Variable]:
    return scan(
        lambda a: [T.exp(a) * w, T.exp(a) + 1] if extra else T.exp(a) * w,
        [None, None] if extra else [None],
        x,
    )


# name: the program, and the number of states and mapped outputs of each scan left
PROGRAMS: dict[str, tuple[Callable[[], list[Variable]], list[tuple[int, int]]]] = {
    "one more mapped output": (lambda: [plain()[0], with_mapped()[1]], [(1, 1)]),
    "the larger one first": (lambda: [with_mapped()[1], plain()[0]], [(1, 1)]),
    "one more state": (lambda: [plain()[0], with_state()[0]], [(2, 0)]),
    "different additions": (lambda: [with_mapped()[1], with_state()[0]], [(2, 1)]),
    "three": (lambda: [plain()[0], with_mapped()[1], with_state()[0]], [(2, 1)]),
    "read to different depths": (lambda: [plain()[0][-1], with_mapped()[0][-3:], with_mapped()[1]], [(1, 1)]),
    "another initial value": (
        lambda: [plain()[0], scan(lambda a, h: T.tanh(h + a), [w], x)[0]],
        [(1, 0), (1, 0)],
    ),
    "another sequence": (
        lambda: [plain()[0], scan(lambda a, h: T.tanh(h + a), [h0], y)[0]],
        [(1, 0), (1, 0)],
    ),
    "another step": (
        lambda: [plain()[0], scan(lambda a, h: T.tanh(h - a), [h0], x)[0]],
        [(1, 0), (1, 0)],
    ),
    "another number of steps": (lambda: [plain()[0], with_mapped(n_steps=n)[1]], [(1, 0), (1, 1)]),
    "one that reads the other": (
        lambda: [
            scan(lambda a, h, s: [T.tanh(h + a), h * s], [h0, None], x, non_sequences=plain()[0].sum())[1]
        ],
        [(2, 0), (1, 1)],
    ),
    "until": (lambda: [stopping(1.0, False)[0], stopping(1.0, True)[1]], [(1, 1)]),
    "until something else": (
        lambda: [stopping(1.0, False)[0], stopping(1.5, True)[1]],
        [(1, 0), (1, 1)],
    ),
    "maps with work in common": (lambda: [maps(False)[0], maps(True)[1]], [(0, 2)]),
    "maps with nothing in common": (
        lambda: [maps(False)[0], scan(lambda a: T.sin(a), [None], x)[0]],
        [(0, 1), (0, 1)],
    ),
    "taps": (
        lambda: [
            scan(lambda a, p, q: p * q + a, [dict(initial=x[:2], taps=[-2, -1])], x)[0],
            scan(lambda a, p, q: [p * q + a, p - q], [dict(initial=x[:2], taps=[-2, -1]), None], x)[1],
        ],
        [(1, 1)],
    ),
    "states that start alike": (
        lambda: [
            scan(lambda g, h: [g + 1, h * 2], [h0, h0], n_steps=n)[1],
            scan(lambda h: h * 2, [h0], n_steps=n)[0],
            scan(lambda h: h + 1, [h0], n_steps=n)[0],
        ],
        [(2, 0)],
    ),
    "states that depend on one another": (
        lambda: [
            scan(lambda g, h: [g + h, h - g], [h0, h0], n_steps=n)[1],
            scan(lambda g, h: [g - h, h + g], [h0, h0], n_steps=n)[1],
        ],
        [(2, 0)],
    ),
    "equal states of one scan": (
        lambda: scan(lambda a, g, h: [T.tanh(g + a), T.tanh(a + h)], [h0, h0], x),
        [(1, 0)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_joined(name: str) -> None:
    program, expected = PROGRAMS[name]
    found = joined(*program())
    assert sorted((len(s.states), s.mapped) for s in found) == sorted(expected)


def test_keep_of_both() -> None:
    """The joined scan keeps the longer end, and each reader finds its own."""
    short, long = (
        Loop.open(trace.owner)  # type: ignore[arg-type]
        for trace in (plain()[0], with_mapped()[0])
    )
    short.states[0].keep, long.states[0].keep = 2, 3
    outputs = (short.close()[0], *long.close()[:2])
    (spec,) = joined(*outputs, only={"shapes", "views", "merge", "join"})
    assert spec.keep == (3, None)


def test_variables_of_one_step_bound_twice() -> None:
    """Two scans made of the very same step variables, one of them with other operands for some."""
    node = scan(lambda a, h, s: T.tanh(h * s + a), [h0], x, non_sequences=w)[0].owner
    assert node is not None
    loop = Loop.open(node)
    sequence, state = loop.sequences[0].step, loop.states[0].steps[0]
    loop.sequences.append(Feed(factor := sequence.clone(), y[: x.shape[0]]))
    loop.mapped.append(Mapped(state * factor * sequence, None, "more", None))
    more = loop.close()[-1].owner
    assert more is not None
    (spec,) = joined(node.outputs[0], more.outputs[1])
    assert (spec.sequences, len(spec.states), spec.mapped) == (2, 1, 1)


@st.composite
def families(draw: Any) -> list[Variable]:
    """Reads of scans that have some of these states and outputs each."""
    kinds: dict[str, Callable[..., Variable]] = {
        "g": lambda a, g, h, k: T.tanh(g + a),
        "h": lambda a, g, h, k: h * 0.5 + g,
        "k": lambda a, g, h, k: T.maximum(k, h - a),
    }
    needs = {"g": "g", "h": "gh", "k": "ghk"}
    outputs = []
    for _ in range(draw(st.integers(2, 4))):
        states = needs[draw(st.sampled_from("ghk"))]
        order = draw(st.permutations(states))
        initials = {"g": h0, "h": h0, "k": draw(st.sampled_from([h0, w]))}
        extra = draw(st.sampled_from([None, "product", "state"]))
        limit = draw(st.sampled_from([None, None, 0.9]))

        def step(
            a: Variable, *values: Variable, order: Any = order, extra: Any = extra, limit: Any = limit
        ) -> Any:
            own = dict(zip(order, values))
            made = [kinds[s](a, *(own.get(t) for t in "ghk")) for s in order]
            if extra == "product":
                made.append(own["g"] * a)
            elif extra == "state":
                made.append(values[-1] + a)
            return made if limit is None else (made, until(T.gt(own["g"], limit)))

        info: list[Any] = [initials[s] for s in order]
        if extra is not None:
            info.append(None if extra == "product" else w)
        traces = scan(step, info, x)
        trace = draw(st.sampled_from(traces))
        outputs.append(draw(st.sampled_from([trace, trace[-1:], trace[-2:].sum(0), trace.sum(0)])))
    return outputs


@settings(max_examples=60, deadline=None, derandomize=True)
@given(families(), st.sampled_from([{"join"}, {"merge", "join", "prune"}, None]))
def test_generated(outputs: list[Variable], only: set[str] | None) -> None:
    found = joined(*outputs, only=only)
    assert 0 < len(found) <= len(outputs)


def test_compiled() -> None:
    """What was joined computes as compiled what it computes when interpreted."""
    outputs = [plain()[0][-1], with_mapped()[1], with_state()[0][-2:]]
    inputs = [x, h0, w]
    values = [VALUES[v] for v in inputs]
    native = scanlib.function(inputs, outputs)(*values)
    reference = scanlib.function(inputs, outputs, mode="reference")(*values)
    for a, b in zip(native, reference, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
