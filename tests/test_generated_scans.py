"""Generated scans (taps, lengths, dtypes, until, reads): compiled, interpreted, in plain Python."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.scan import until

MODES = ["reference"] + (["native"] if importlib.util.find_spec("scanlib._core") else [])
OPERATIONS = ("add", "sub", "mul", "mix", "max", "tanh", "sum", "reverse")


@dataclass(frozen=True)
class Loop:
    """A generated scan.  Every output combines, by its operations in turn, all arguments of the step."""

    dtype: str
    row: tuple[int, ...]
    sequences: tuple[tuple[int, ...], ...]
    states: tuple[tuple[int, ...], ...]
    mapped: int
    shared: bool
    operations: tuple[tuple[str, ...], ...]
    spare: tuple[int, ...]
    backwards: bool
    limit: float | None
    keep: tuple[int | None, ...]
    symbolic_steps: bool

    @property
    def outputs(self) -> int:
        return len(self.states) + self.mapped


def taps(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(low, high), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def loops(draw: st.DrawFn) -> Loop:
    states = draw(st.lists(st.one_of(st.just((-1,)), taps(-4, -1)), max_size=3))
    mapped = draw(st.integers(0 if states else 1, 2))
    sequences = draw(st.lists(st.one_of(st.just((0,)), taps(-3, 2)), min_size=0 if states else 1, max_size=3))
    total = len(states) + mapped
    chain = st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=4).map(tuple)
    dtype = draw(st.sampled_from(["float64", "float32", "int64", "int32", "uint8"]))
    return Loop(
        dtype=dtype,
        row=draw(st.sampled_from([(), (), (1,), (3,), (2, 3), (20,), (17, 2)])),
        sequences=tuple(sequences),
        states=tuple(states),
        mapped=mapped,
        shared=draw(st.booleans()),
        operations=tuple(draw(chain) for _ in range(total)),
        spare=tuple(draw(st.integers(0, 3)) for _ in sequences),
        backwards=draw(st.booleans()),
        limit=draw(st.one_of(st.none(), st.sampled_from([-5.31, 1.137, 60.4]))),
        keep=tuple(draw(st.sampled_from([None, None, 1, 2, 5])) for _ in range(total)),
        symbolic_steps=draw(st.booleans()) or not sequences,
    )


def combine(operations: Sequence[str], values: Sequence[Any], xp: Any, dtype: str) -> Any:
    """The step, written once for arrays and for variables (`xp` is numpy or scanlib.tensor)."""
    result = values[0]
    for i, value in enumerate([*values[1:], values[-1]]):
        operation = operations[i % len(operations)]
        if operation == "mul" or (operation == "tanh" and not dtype.startswith("float")):
            result = result * value
        elif operation == "sub":
            result = result - value
        elif operation == "mix":
            # Continuous, so that a last bit cannot choose another value.
            result = xp.where(result > value, result - value, value - value)
        elif operation == "max":
            result = xp.maximum(result, value)
        elif operation == "tanh":
            result = xp.tanh(result) + value
        elif operation == "sum":
            result = result + cast(value.sum(), dtype)
        elif operation == "reverse" and value.ndim:
            result = result + value[::-1]
        else:
            result = result + value
    if dtype.startswith("float"):
        return xp.tanh(result) * 2
    return result


def cast(value: Any, dtype: str) -> Any:
    return T.cast(value, dtype) if isinstance(value, scanlib.Variable) else value.astype(dtype)


def inputs_of(loop: Loop, steps: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.RandomState(seed)

    def values(length: int) -> np.ndarray:
        if loop.dtype.startswith("float"):
            return rng.randn(length, *loop.row).astype(loop.dtype)
        return rng.randint(0, 7, (length, *loop.row)).astype(loop.dtype)

    sequences = []
    for tap, spare in zip(loop.sequences, loop.spare):
        span = max(*tap, 0) - min(*tap, 0)
        sequences.append(values(steps + span + spare))
    return sequences, [values(-min(tap)) for tap in loop.states]


def plain(
    loop: Loop, steps: int, sequences: list[np.ndarray], initials: list[np.ndarray], constant: Any
) -> tuple[list[np.ndarray], int]:
    """The loop in plain Python: traces and the value of the counter."""
    views = []
    for u, tap in zip(sequences, loop.sequences):
        first = min(*tap, 0)
        length = len(u) - (max(*tap, 0) - first)
        for t in tap:
            view = u[t - first : t - first + length]
            views.append(view[::-1] if loop.backwards else view)
    histories = [list(initial) for initial in initials]
    traces: list[list[Any]] = [[] for _ in range(loop.outputs)]
    count = 0
    for t in range(steps):
        values = [view[t] for view in views]
        values += [h[len(h) + tap] for h, group in zip(histories, loop.states) for tap in group]
        values = [*(np.asarray(v) for v in values), constant]
        with np.errstate(all="ignore"):
            made = [
                np.asarray(combine(ops, values, np, loop.dtype)).astype(loop.dtype) for ops in loop.operations
            ]
        if loop.shared:
            count += 1
        for k, value in enumerate(made):
            traces[k].append(value)
            if k < len(histories):
                histories[k].append(value)
        if loop.limit is not None and made[0].sum() > loop.limit:
            break
    return [np.array(trace, loop.dtype).reshape(len(trace), *loop.row) for trace in traces], count


def symbolic(loop: Loop, mode: str) -> tuple[scanlib.Function, scanlib.SharedVariable]:
    """The same loop as a function of (steps, sequences, initial values, constant)."""

    def variable(name: str, leading: bool) -> Any:
        return T.tensor(loop.dtype, (False,) * (len(loop.row) + leading), name)

    n, counter = T.lscalar("n"), scanlib.shared(0, name="counter")
    sequences = [variable(f"u{i}", True) for i in range(len(loop.sequences))]
    initials = [variable(f"x{i}", True) for i in range(len(loop.states))]
    constant = variable("c", False)

    def step(*values: Any) -> Any:
        outputs = [combine(ops, values, T, loop.dtype) for ops in loop.operations]
        returned: list[Any] = [outputs]
        if loop.shared:
            returned.append({counter: counter + 1})
        if loop.limit is not None:
            returned.append(until(outputs[0].sum() > loop.limit))
        return tuple(returned)

    info: list[Any] = []
    for x, tap in zip(initials, loop.states):
        info.append(x[0] if tap == (-1,) else dict(initial=x, taps=list(tap)))
    traces, updates = scanlib.scan(
        step,
        sequences=[dict(input=u, taps=list(tap)) for u, tap in zip(sequences, loop.sequences)],
        outputs_info=[*info, *[None] * loop.mapped],
        non_sequences=constant,
        n_steps=n if loop.symbolic_steps else None,
        go_backwards=loop.backwards,
        return_list=True,
    )
    read = [trace if keep is None else trace[-keep:] for trace, keep in zip(traces, loop.keep)]
    f = scanlib.function(
        [n, *sequences, *initials, constant], read, updates=updates, mode=mode, on_unused_input="ignore"
    )
    return f, counter


@pytest.mark.parametrize("mode", MODES)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
@given(loop=loops(), lengths=st.lists(st.integers(0, 40), min_size=1, max_size=3), seed=st.integers(0, 1000))
def test_generated(mode: str, loop: Loop, lengths: list[int], seed: int) -> None:
    f, counter = symbolic(loop, mode)
    tolerance = dict(rtol=1e-4, atol=1e-5) if loop.dtype == "float32" else dict(rtol=1e-9, atol=1e-11)
    counted = 0
    for length in lengths:
        sequences, initials = inputs_of(loop, length, seed)
        steps = (
            length
            if loop.symbolic_steps
            else min(len(u) - (max(*tap, 0) - min(*tap, 0)) for u, tap in zip(sequences, loop.sequences))
        )
        constant = np.ones(loop.row, loop.dtype)
        expected, count = plain(loop, steps, sequences, initials, constant)
        made = f(steps, *sequences, *initials, constant)
        for k, (value, trace, keep) in enumerate(zip(made, expected, loop.keep)):
            trace = trace if keep is None else trace[-keep:]
            assert value.shape == trace.shape and value.dtype == trace.dtype, f"output {k}"
            np.testing.assert_allclose(value, trace, err_msg=f"output {k}", **tolerance)
        counted += count
        if loop.shared:
            assert int(counter.get_value()) == counted
