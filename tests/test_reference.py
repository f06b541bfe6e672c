"""The interpreter: laziness, checks of types while it runs, and what it says when an operation fails."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import InternalError, StepError, UserError
from scanlib.graph import TensorType, Variable
from scanlib.ops.base import TABLE, Op, Region
from scanlib.ops.scan_op import ScanSpec
from scanlib.reference import evaluate, run_scan

x, y = T.vector("x"), T.vector("y")


def test_evaluate() -> None:
    total, twice = evaluate([(x + y).sum(), x * 2], {x: np.array([1.0, 2.0]), y: np.array([3.0, 4.0])})
    assert total == 10 and twice.tolist() == [2, 4]


def test_shared_variables_have_their_value() -> None:
    w = scanlib.shared(np.arange(3.0))
    assert evaluate([w + 1], {})[0].tolist() == [1, 2, 3]


def test_a_missing_value_is_an_internal_error() -> None:
    with pytest.raises(InternalError, match="'y' has no value"):
        evaluate([x + y], {x: np.zeros(1)})


def test_only_the_chosen_branch_is_computed() -> None:
    bad = x[10]
    out = scanlib.ifelse(T.lt(x.shape[0], 5), x[0], bad)
    assert evaluate([out], {x: np.array([7.0])})[0] == 7
    with pytest.raises(IndexError):
        evaluate([bad], {x: np.array([7.0])})


def test_errors_name_the_operation() -> None:
    with pytest.raises(UserError, match="2 against 3|3 against 2"):
        evaluate([x + y], {x: np.zeros(2), y: np.zeros(3)})


def _wrong(result: object) -> Op:
    """A row that promises two float64 and gives `result`."""
    row = Op("wrong", lambda ctx: [("float64", (2,))], lambda params, a: result, Region("scan"))
    del TABLE["wrong"]
    return row


@pytest.mark.parametrize("result", [np.zeros(3), np.zeros((2, 1)), (np.zeros(2), np.zeros(2))])
def test_results_of_another_type_are_internal_errors(result: object) -> None:
    row = _wrong(result)
    with pytest.raises(InternalError, match="wrong gave"):
        evaluate([row(x)], {x: np.zeros(1)})


def test_results_take_the_declared_dtype() -> None:
    row = _wrong([1, 2])
    assert evaluate([row(x)], {x: np.zeros(1)})[0].dtype == np.float64


def _sums(**changes: object) -> ScanSpec:
    """s[t] = s[t-1] + u[t]; d[t] = 2 u[t]."""
    u, s = (Variable(TensorType("float64", ()), name=n) for n in "us")
    spec = ScanSpec("sums", (u, s), (s + u, 2.0 * u), 1, ((-1,),), 1, 0, False, (None, None), ("s", "d"))
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keep", "rows"), [(None, slice(None)), (2, slice(-2, None)), (0, slice(0, 0)), (9, slice(None))]
)
def test_keep(keep: int | None, rows: slice) -> None:
    u = np.arange(1.0, 5.0)
    s, d, done = run_scan(_sums(keep=(keep, None)), [np.asarray(4), u, np.zeros(1)])
    np.testing.assert_array_equal(s, u.cumsum()[rows])
    np.testing.assert_array_equal(d, 2 * u)
    assert done == 4


def test_no_step_gives_empty_traces_of_the_right_shape() -> None:
    s, d, done = run_scan(_sums(), [np.asarray(0), np.zeros(0), np.zeros(1)])
    assert s.shape == d.shape == (0,) and done == 0
    m = T.matrix("m")
    rows, _ = scanlib.scan(lambda r: T.outer(r, r), sequences=m)
    assert evaluate([rows], {m: np.zeros((0, 3))})[0].shape == (0, 3, 3)


def test_a_failing_step_says_where() -> None:
    table, index = T.vector("table"), T.lvector("index")
    found, _ = scanlib.scan(lambda i: table[i], sequences=index, name="look")
    with pytest.raises(StepError, match="scan 'look', step 2") as caught:
        evaluate([found], {table: np.zeros(2), index: np.array([0, 1, 2])})
    assert isinstance(caught.value, IndexError)


def test_a_state_must_keep_its_shape() -> None:
    state = T.vector("state")
    grown, _ = scanlib.scan(lambda s: T.concatenate([s, s]), outputs_info=state, n_steps=2, name="grow")
    with pytest.raises(
        UserError, match=r"scan 'grow', step 0: output 'state' has shape \(4,\), expected \(2,\)"
    ):
        evaluate([grown], {state: np.zeros(2)})
    mapped, _ = scanlib.scan(lambda n: T.zeros((n,)), sequences=T.arange(1, 3), name="ragged")
    with pytest.raises(UserError, match="scan 'ragged', step 1"):
        evaluate([mapped], {})


def test_steps_that_are_not_run_have_shapes_though_zeros_have_no_factor(mode: str) -> None:
    a = T.tensor3("a")
    factors, _ = scanlib.scan(lambda m: T.linalg.inv(m) @ m, sequences=a)
    f = scanlib.function([a], factors, mode=mode)
    assert f(np.zeros((0, 3, 3))).shape == (0, 3, 3)
