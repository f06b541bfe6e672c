"""The number of threads: its setting, results that do not depend on it, forks, calls from several Python threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib import _core, config
from scanlib.errors import UserError
from scanlib.plan import NO_SLOT, RESERVED_SLOTS, Allocate, Buffer, Call, Input, Output, Plan


@pytest.fixture(autouse=True)
def same_threads_after() -> Iterator[None]:
    before = config.threads
    yield
    config.threads = before


def python(code: str, **environment: str) -> str:
    """What a fresh Python prints for this code."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


# --- the setting ------------------------------------------------------------------------------------------------


def test_setting() -> None:
    config.threads = 3
    assert config.threads == _core.get_threads() == 3
    config.threads = np.int64(2)
    assert config.threads == 2
    for all_cores in (None, 0):
        config.threads = all_cores
        assert config.threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("value", [-1, 1.5, "two", True, 2**40, [2]])
def test_setting_errors(value: Any) -> None:
    with pytest.raises(UserError, match=r"config\.threads: expected a number of threads .*got"):
        config.threads = value
    with pytest.raises(UserError, match=r"config\.threads"):
        scanlib.threads(value)


def test_context() -> None:
    config.threads = 5
    two = scanlib.threads(2)
    with two as count:
        assert count == config.threads == 2
        with scanlib.threads(1), two:
            assert config.threads == 2
        assert config.threads == 2
    assert config.threads == 5
    with pytest.raises(ZeroDivisionError), scanlib.threads(None):
        raise ZeroDivisionError
    assert config.threads == 5

    @scanlib.threads(4)
    def decorated() -> int:
        return config.threads

    assert decorated() == 4 and config.threads == 5


@pytest.mark.parametrize(
    "text, expected", [("3", 3), ("0", None), ("many", None), ("-2", None), ("1000", 256)]
)
def test_environment(text: str, expected: int | None) -> None:
    printed = python("import scanlib; print(scanlib.config.threads)", SCANLIB_NUM_THREADS=text)
    assert int(printed) == (expected or len(os.sched_getaffinity(0)))


# --- products ---------------------------------------------------------------------------------------------------

# (batch), m, k, n: split by rows, by columns, a row, a column, a batch, edges in parts.
PRODUCTS = [
    ((), 200, 70, 90),
    ((), 32, 256, 256),
    ((), 33, 300, 259),
    ((), 1, 401, 403),
    ((), 403, 401, 1),
    ((), 9, 3000, 11),
    ((7,), 40, 50, 60),
    ((2, 3), 70, 64, 65),
    ((2,), 150, 64, 100),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch, m, k, n", PRODUCTS)
@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
def test_products(dtype: str, batch: tuple[int, ...], m: int, k: int, n: int, layout: str) -> None:
    rng = np.random.default_rng(0)

    def draw(rows: int, cols: int) -> np.ndarray:
        if layout == "columns":
            return rng.normal(size=(*batch, cols, rows)).astype(dtype).swapaxes(-1, -2)
        step = 2 if layout == "strided" else 1
        return rng.normal(size=(*batch, rows, cols * step)).astype(dtype)[..., ::step]

    a, b, start = draw(m, k), draw(k, n), draw(m, n)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    tolerance = 4 * np.finfo(dtype).eps * k
    for accumulate in (0, 1):
        for count in (1, 2, 3, 8):
            config.threads = count
            results = [start.copy(order="K") for _ in range(2)]
            for out in results:
                assert _core.run_library("matmul", [a, b], [out], [accumulate]) == "ok"
            np.testing.assert_array_equal(results[0], results[1])
            np.testing.assert_allclose(results[0], exact + accumulate * start, rtol=0, atol=tolerance)


def test_batch_that_adds_up() -> None:
    """All items of the batch add to one matrix: they must not run at once."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 64, 50)).swapaxes(-1, -2)[:, ::2]
    b = rng.normal(size=(40, 64, 33))
    for count in (1, 4):
        config.threads = count
        out = np.zeros((25, 33))
        broadcast = np.lib.stride_tricks.as_strided(out, (40, 25, 33), (0, *out.strides))
        assert _core.run_library("matmul", [a, b], [broadcast], [1]) == "ok"
        np.testing.assert_allclose(out, (a @ b).sum(0), atol=1e-10)


def test_products_of_integers() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 100, (30, 50, 50)), rng.integers(0, 100, (30, 50, 50))
    config.threads = 4
    out = np.empty_like(a)
    assert _core.run_library("matmul", [a, b], [out], [0]) == "ok"
    np.testing.assert_array_equal(out, a @ b)


# --- lanes ------------------------------------------------------------------------------------------------------

# y[l] = x[l] + 1 for the lanes asked for; a lane with x[l] < 0 is check 7, with the lane and the number of lanes of
# the range as values.
LANES_IR = """
define i64 @prepare(ptr %b, ptr %d, i64 %start, i64 %stop, i64 %lane_start, i64 %lane_stop) {
  %from = getelementptr i64, ptr %d, i64 8
  %n = load i64, ptr %from
  %bytes = mul i64 %n, 8
  %to = getelementptr i64, ptr %d, i64 9
  store i64 %bytes, ptr %to
  ret i64 0
}
define i64 @lanes(ptr %b, ptr %d, i64 %start, i64 %stop, i64 %lane_start, i64 %lane_stop) {
entry:
  %x = load ptr, ptr %b
  %b1 = getelementptr ptr, ptr %b, i64 1
  %y = load ptr, ptr %b1
  br label %head
head:
  %l = phi i64 [ %lane_start, %entry ], [ %next, %good ]
  %more = icmp slt i64 %l, %lane_stop
  br i1 %more, label %body, label %done
body:
  %from = getelementptr double, ptr %x, i64 %l
  %v = load double, ptr %from
  %bad = fcmp olt double %v, 0.0
  br i1 %bad, label %fail, label %good
good:
  %w = fadd double %v, 1.0
  %to = getelementptr double, ptr %y, i64 %l
  store double %w, ptr %to
  %next = add i64 %l, 1
  br label %head
fail:
  %value1 = getelementptr i64, ptr %d, i64 1
  store i64 %l, ptr %value1
  %value2 = getelementptr i64, ptr %d, i64 2
  %range = sub i64 %lane_stop, %lane_start
  store i64 %range, ptr %value2
  ret i64 7
done:
  ret i64 0
}
"""


class CheckFailed(Exception):
    """A failed call, with what the core reported."""


def lanes_executable(lane_cost: int = 100_000) -> _core.Executable:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(LANES_IR), target)
    engine.finalize_object()
    addresses = [engine.get_function_address(name) for name in ("prepare", "lanes")]
    size, cost = RESERVED_SLOTS, RESERVED_SLOTS + 2
    plan = Plan(
        buffers=(Buffer("x", "float64", "input"), Buffer("y", "float64", "temporary", size + 1)),
        initial_dims=[0] * (size + 2) + [lane_cost],
        inputs=(Input(0, size, 1, "float64"),),
        outputs=(Output(1, NO_SLOT, (size,), "float64"),),
        instructions=(Call(0, "prepare"), Allocate(1), Call(1, "lanes", size, cost)),
    )

    def on_failure(kind: str, code: int, values: Any, path: Any, name: str) -> Exception:
        return CheckFailed(kind, code, values[0], values[1], name)

    return _core.Executable(plan, addresses, on_failure, engine)


@pytest.mark.parametrize("lanes", [0, 1, 63, 64, 65, 500, 1000, 4096])
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_lanes(lanes: int, count: int) -> None:
    executable = lanes_executable()
    config.threads = count
    x = np.arange(lanes, dtype=np.float64)
    np.testing.assert_array_equal(executable.run([x])[0], x + 1)


def test_lowest_failing_lane_reports() -> None:
    executable = lanes_executable()
    x = np.ones(1000)
    x[[300, 700, 999]] = -1
    for count, range_size in ((1, 1000), (2, 448), (4, 256)):  # 16 units of 64 lanes, the last one of 40
        config.threads = count
        for _ in range(20):
            with pytest.raises(CheckFailed) as caught:
                executable.run([x])
            kind, code, lane, size, name = caught.value.args
            assert (kind, code, lane, name) == ("check", 7, 300, "lanes")
            assert abs(size - range_size) <= 64
    np.testing.assert_array_equal(executable.run([np.ones(1000)])[0], 2)


def test_plans_with_broken_lanes_are_refused() -> None:
    plan = lanes_executable().plan
    for call in (Call(1, "x", 99), Call(1, "x", 0), Call(1, "x", 8, 0)):
        broken = replace(plan, instructions=(*plan.instructions[:2], call))
        with pytest.raises(scanlib.errors.InternalError):
            _core.Executable(broken, [1, 1], None, None)


# --- whole programs ---------------------------------------------------------------------------------------------


def map_program() -> Any:
    x = T.matrix("x")
    r = T.scalar("r")
    y, _ = scanlib.scan(lambda h, r: r * h * (1 - h), outputs_info=[x], non_sequences=[r], n_steps=50)
    return scanlib.function([x, r], y[-1])


def network_program() -> Any:
    h, u, x = T.matrix("h"), T.matrix("u"), T.tensor3("x")
    y, _ = scanlib.scan(
        lambda x, h, u: T.tanh(x + T.dot(h, u)), sequences=[x], outputs_info=[h], non_sequences=[u]
    )
    return scanlib.function([x, h, u], y[-1])


def network_arguments() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(20, 32, 128), (32, 128), (128, 128)]
    return [0.1 * rng.normal(size=shape) for shape in shapes]


def test_elementwise_results_are_independent_of_threads() -> None:
    f = map_program()
    x = np.random.default_rng(0).random((37, 501))
    results = []
    for count in (1, 2, 3, 7):
        config.threads = count
        results.append(f(x, 3.9))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


ELEMENTWISE: list[Any] = [
    lambda h, a, w: w * h * (1 - h) + a,
    lambda h, a, w: T.tanh(h) * w - T.exp(-(a**2)),
    lambda h, a, w: T.switch(T.gt(h, a), h - w, T.maximum(a, h * w)),
    lambda h, a, w: T.sqrt(T.abs(h)) / (1 + a**2) + T.sin(w),
]
ROWS: dict[str, Any] = {"trace": lambda t: t, "last": lambda t: t[-1], "every other": lambda t: t[::2]}


@pytest.mark.parametrize(
    ("body", "read", "dtype"),
    [(0, "trace", "float32"), (1, "last", "float64"), (2, "every other", "float64"), (3, "trace", "float32")],
)
def test_bits_of_elementwise_bodies_are_independent_of_threads(body: int, read: str, dtype: str) -> None:
    """Sizes around the grain of lanes and the length of a block, states in lanes, maps by steps."""
    h, a, w = T.matrix("h", dtype), T.tensor3("a", dtype), T.vector("w", dtype)
    step = ELEMENTWISE[body]
    states, _ = scanlib.scan(lambda a, h, w: step(h, a, w), sequences=a, outputs_info=h, non_sequences=w)
    maps, _ = scanlib.scan(lambda a, h, w: step(h, a, w), sequences=a, non_sequences=[h, w])
    f = scanlib.function([h, a, w], [ROWS[read](states), ROWS[read](maps), maps.sum(0)])

    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(st.integers(1, 40), st.integers(1, 7), st.integers(17, 300), st.integers(0, 99))
    def check(steps: int, rows: int, width: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        given = [rng.random(shape).astype(dtype) for shape in ((rows, width), (steps, rows, width), (width,))]
        results = []
        for count in (1, 2, 3, 4):
            config.threads = count
            results.append(f(*given))
        for result in results[1:]:
            for one, other in zip(results[0], result, strict=True):
                assert one.tobytes() == other.tobytes()

    check()


def test_networks_agree_to_rounding() -> None:
    f, arguments = network_program(), network_arguments()
    results = []
    for count in (1, 2, 5):
        config.threads = count
        results.append(f(*arguments))
        np.testing.assert_array_equal(f(*arguments), results[-1])
        np.testing.assert_allclose(results[-1], results[0], rtol=1e-12, atol=1e-13)


def test_calls_from_several_python_threads() -> None:
    config.threads = 3
    f, arguments = network_program(), network_arguments()
    expected = f(*arguments)
    wrong: list[int] = []

    def call(which: int) -> None:
        for _ in range(10):
            if not np.array_equal(f(*arguments), expected):
                wrong.append(which)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


FORK = """
import os
import numpy as np
from scanlib import _core, config

rng = np.random.default_rng(0)
a, b = rng.normal(size=(64, 300)), rng.normal(size=(300, 200))

def product():
    out = np.empty((64, 200))
    assert _core.run_library("matmul", [a, b], [out], [0]) == "ok"
    return out

config.threads = 3
expected = product()
for generation in range(3):
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        assert np.array_equal(product(), expected)
        break
    for _ in range(50):
        assert np.array_equal(product(), expected)
if generation == 0:
    print("good")
"""


def test_fork_after_use() -> None:
    """Children, and children of children, make threads of their own; all processes end by themselves."""
    assert python(FORK) == "good"


FORK_OF_FUNCTIONS = """
import multiprocessing, os, threading
import numpy as np
import scanlib, scanlib.tensor as T

h, u, x, w = T.matrix("h"), T.matrix("u"), T.tensor3("x"), T.vector("w")
lanes = scanlib.scan(lambda v: 3.9 * v * (1 - v), outputs_info=w, n_steps=50)[0][-1]
rows = scanlib.scan(lambda x, h: T.tanh(x + T.dot(h, u)), sequences=x, outputs_info=h)[0][-1]
by_steps = scanlib.scan(lambda x: T.exp(x), sequences=x)[0]
f = scanlib.function([h, u, x, w], [lanes, rows, by_steps])
rng = np.random.default_rng(0)
arguments = [rng.random(s) for s in ((32, 40), (40, 40), (60, 32, 40), (100_000,))]
scanlib.config.threads = 3
expected = f(*arguments)

def good(_=None):
    again = f(*arguments)
    fresh = scanlib.function([w], w * 2 + 1)(arguments[-1])  # compiles in the child
    return all(map(np.array_equal, again, expected)) and fresh[0] == arguments[-1][0] * 2 + 1

busy = threading.Thread(target=lambda: [f(*arguments) for _ in range(20)])
busy.start()  # the pool may be at work when the process forks
child = os.fork()
if child == 0:
    os._exit(0 if good() and good() else 1)
assert os.waitpid(child, 0)[1] == 0
busy.join()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(good, range(4)))
assert good()
print("good")
"""


def test_fork_after_calls_of_functions() -> None:
    """Compiled functions work in children, made by os.fork and by multiprocessing, while the parent computes."""
    assert python(FORK_OF_FUNCTIONS) == "good"
