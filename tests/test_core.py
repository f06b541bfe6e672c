"""The compiled core by itself: executables and dispatch."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from scanlib import _core
from scanlib.errors import InternalError
from scanlib.plan import (
    KEEP_ALL,
    NO_SLOT,
    RESERVED_SLOTS,
    Allocate,
    Branch,
    Buffer,
    Call,
    Input,
    Instruction,
    Loop,
    Operand,
    Output,
    Plan,
    Storage,
)

FLOATS = ["float32", "float64"]
ALL_DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", *FLOATS]

# --- executables ------------------------------------------------------------------------------------------------

# Slots: 8 steps, 9 step, 10 stop, 11 done, 12 bytes per slot, 13 length of u, 14 one,
# 15 steps per block.  x[t] = x[t-1] + u[t], whole trace.
SIGNATURE = "(ptr %b, ptr %d, i64 %start, i64 %stop, i64 %lane_start, i64 %lane_stop)"
KERNELS = f"""
define i64 @set_steps{SIGNATURE} {{
  %n_at = getelementptr i64, ptr %d, i64 13
  %n = load i64, ptr %n_at
  %steps_at = getelementptr i64, ptr %d, i64 8
  store i64 %n, ptr %steps_at
  ret i64 0
}}
define i64 @begin{SIGNATURE} {{
  %x_at = getelementptr ptr, ptr %b, i64 1
  %x = load ptr, ptr %x_at
  store double 0.0, ptr %x
  ret i64 0
}}
define i64 @step{SIGNATURE} {{
entry:
  %u = load ptr, ptr %b
  %x_at = getelementptr ptr, ptr %b, i64 1
  %x = load ptr, ptr %x_at
  br label %head
head:
  %t = phi i64 [%start, %entry], [%next, %body]
  %more = icmp slt i64 %t, %stop
  br i1 %more, label %body, label %end
body:
  %next = add i64 %t, 1
  %u_at = getelementptr double, ptr %u, i64 %t
  %from_at = getelementptr double, ptr %x, i64 %t
  %to_at = getelementptr double, ptr %x, i64 %next
  %u_t = load double, ptr %u_at
  %x_t = load double, ptr %from_at
  %sum = fadd double %u_t, %x_t
  store double %sum, ptr %to_at
  br label %head
end:
  ret i64 0
}}
define i64 @fail{SIGNATURE} {{
  %v = getelementptr i64, ptr %d, i64 1
  store i64 42, ptr %v
  ret i64 7
}}
"""


@pytest.fixture(scope="module")
def compiled() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(KERNELS), machine)
    engine.finalize_object()
    return engine, [engine.get_function_address(name) for name in ("set_steps", "begin", "step", "fail")]


def cumulated(*recurrence: Instruction, block_length: int = 64) -> Plan:
    """x = cumsum(u) as a scan."""
    loop = Loop(
        "cumsum", 8, 9, 10, 11, 15, storages=(Storage(1, 12, 1, 1, KEEP_ALL),),
        start=(Call(1, "begin"),), recurrence=recurrence or (Call(2, "step"),), native=True,
    )  # fmt: skip
    dims = [0] * RESERVED_SLOTS + [0, 0, 0, 0, 8, 0, 1, block_length]
    return Plan(
        buffers=(Buffer("u", "float64", "input"), Buffer("x", "float64")),
        initial_dims=dims,
        inputs=(Input(0, 13, 1, "float64"),),
        outputs=(Output(1, 14, (11,), "float64"),),
        instructions=(Call(0, "set_steps"), loop),
    )


@pytest.mark.parametrize("size", [0, 1, 100, 100_000])
def test_executable(compiled: Any, size: int) -> None:
    engine, addresses = compiled
    executable = _core.Executable(cumulated(), addresses, None, engine)
    u = np.random.default_rng(0).normal(size=2 * size)
    for layout in (u[:size], u[::2], u[:size][::-1]):
        before = _core.allocated_bytes()
        (x,) = executable.run([layout])
        np.testing.assert_allclose(x, np.cumsum(layout), rtol=1e-9, atol=1e-9)
        assert x.flags.writeable and x.flags.c_contiguous
        assert isinstance(x.base, _core.Memory) == (8 * (size + 1) > 65536)
        (again,) = executable([layout])
        assert not np.shares_memory(x, again)
        assert executable.last_peak_bytes == 8 * (size + 1)
        del x, again
        assert _core.allocated_bytes() <= before + 65536


def test_executable_failures(compiled: Any) -> None:
    engine, addresses = compiled
    seen: list[Any] = []

    def on_failure(*report: Any) -> Exception:
        seen.append(report)
        return ValueError("from on_failure")

    executable = _core.Executable(cumulated(Call(2, "step"), Call(3, "bad")), addresses, on_failure, engine)
    with pytest.raises(ValueError, match="from on_failure"):
        executable.run([np.ones(5)])
    assert seen == [("check", 7, (42, 0, 0), [("cumsum", -1)], "bad")]
    with pytest.raises(InternalError, match="float32"):
        executable.run([np.ones(5, "float32")])
    with pytest.raises(InternalError, match="dims"):
        executable.run([np.ones((5, 1))])
    with pytest.raises(InternalError, match="inputs"):
        executable.run([])
    with pytest.raises(InternalError, match="kernel 9"):
        _core.Executable(cumulated(Call(9, "none")), addresses)
    with pytest.raises(InternalError, match="no instruction"):
        _core.Executable(cumulated("what"), addresses)  # type: ignore[arg-type]


def test_executable_stops_at_signals(compiled: Any) -> None:
    engine, addresses = compiled
    executable = _core.Executable(cumulated(block_length=1), addresses, None, engine)

    class Alarm(Exception):
        pass

    def handler(*_: Any) -> None:
        raise Alarm

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            u = np.ones(3_000_000)
            end = time.monotonic() + 20
            while time.monotonic() < end:
                executable.run([u])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_executable_from_threads(compiled: Any) -> None:
    engine, addresses = compiled
    executable = _core.Executable(cumulated(), addresses, None, engine)
    wrong: list[int] = []

    def work(seed: int) -> None:
        u = np.random.default_rng(seed).normal(size=20_000)
        for _ in range(50):
            if not np.allclose(executable.run([u])[0], np.cumsum(u)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_outputs_never_alias_inputs_or_constants(compiled: Any) -> None:
    data = np.arange(3.0)
    plan = Plan(
        buffers=(Buffer("u", "float64", "input"), Buffer("c", "float64", "constant", NO_SLOT, data)),
        initial_dims=[0] * RESERVED_SLOTS + [3],
        inputs=(Input(0, 8, 1, "float64"),),
        outputs=tuple(Output(buffer, NO_SLOT, (8,), "float64") for buffer in (0, 0, 1)),
    )
    u = np.ones(3)
    outputs = _core.Executable(plan, []).run([u])
    np.testing.assert_array_equal(outputs, [u, u, data])
    for a, b in itertools.combinations([u, data, *outputs], 2):
        assert not np.shares_memory(a, b)


def test_branch_and_scalars() -> None:
    buffers = (
        Buffer("c", "bool", "input"),
        Buffer("y", "float64", "temporary", 9),
        Buffer("z", "float64", "temporary", 9),
    )
    plan = Plan(
        buffers=buffers,
        initial_dims=[0] * RESERVED_SLOTS + [0, 8],
        inputs=(Input(0, 8, 0, "bool"),),
        outputs=(Output(0, NO_SLOT, (), "bool"),),
        instructions=(Branch(Operand(0), then=(Allocate(1),), otherwise=(Allocate(1), Allocate(2))),),
    )
    executable = _core.Executable(plan, [])
    for value, used in ((True, 8), (False, 16)):
        (out,) = executable.run([np.array(value)])
        assert out.shape == () and isinstance(out, np.ndarray) and out == value
        assert executable.last_peak_bytes == used


# --- dispatch ---------------------------------------------------------------------------------------------------


def echo(dtypes: list[str], ndims: list[int]) -> Plan:
    """Returns its inputs."""
    starts = [RESERVED_SLOTS + sum(ndims[:i]) for i in range(len(ndims))]
    return Plan(
        buffers=tuple(Buffer(f"i{i}", dtype, "input") for i, dtype in enumerate(dtypes)),
        initial_dims=[0] * (RESERVED_SLOTS + sum(ndims)),
        inputs=tuple(Input(i, starts[i], ndims[i], dtypes[i]) for i in range(len(ndims))),
        outputs=tuple(
            Output(i, NO_SLOT, tuple(range(starts[i], starts[i] + ndims[i])), dtypes[i])
            for i in range(len(ndims))
        ),
    )


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_dispatcher_takes_scalars_only_when_safe(dtype: str) -> None:
    slow: list[Any] = []

    def convert(i: int, value: Any) -> np.ndarray:
        slow.append(value)
        return np.zeros((), dtype)

    executable = _core.Executable(echo([dtype], [0]), [])
    dispatcher = _core.Dispatcher(lambda signature: executable, convert, [dtype], [0], [()], True)
    info = None if dtype == "bool" else np.iinfo(dtype) if dtype not in FLOATS else np.finfo(dtype)
    fast: list[Any] = [True, np.dtype(dtype).type(1), np.array(1, dtype)]
    refused: list[Any] = ["1", None, 1j, 10**30]
    if dtype in FLOATS:
        fast += [0.5, -3, 2**24]
        refused += [2**62 + 1]
    elif dtype == "bool":
        refused += [1, 0.0]
    else:
        fast += [int(info.min), int(info.max) if dtype != "uint64" else 2**63 - 1]
        refused += [1.0, int(info.max) + 1, int(info.min) - 1]
    if dtype == "float32":
        refused += [np.float64(1)]
    for value in fast:
        out = dispatcher(value)
        assert not slow and out.dtype == dtype and out == np.array(value, dtype)
    for value in refused:
        slow.clear()
        dispatcher(value)
        assert slow == [value]


def test_dispatcher_signatures() -> None:
    made: list[Any] = []
    dtypes, ndims = ["float64", "int32"], [2, 1]
    executable = _core.Executable(echo(dtypes, ndims), [])

    def specialise(signature: Any) -> Any:
        made.append(signature)
        return executable

    def convert(i: int, value: Any) -> np.ndarray:
        return np.asarray(value, dtypes[i])

    dispatcher = _core.Dispatcher(specialise, convert, dtypes, ndims, [(True, False), (False,)])
    for rows, cols, size in [(3, 4, 5), (9, 4, 5), (3, 16, 17), (3, 16, 900), (5, 4, 5), (3, 0, 16)]:
        x, y = np.random.default_rng(0).normal(size=(cols, rows)).T, list(range(size))
        got = dispatcher(x, y)
        np.testing.assert_array_equal(got[0], x)
        np.testing.assert_array_equal(got[1], y)
    assert made == [((-1, 4), (5,)), ((-1, 16), (-1,)), ((-1, 0), (16,))]
    assert [signature for signature, _ in dispatcher.specialisations] == made
    dispatcher.clear()
    dispatcher(np.ones((1, 4)), np.ones(5, "int32"))
    assert len(made) == 4
    with pytest.raises(InternalError):
        dispatcher(1)
    swapped = np.ones((2, 4)).astype(">f8")
    np.testing.assert_array_equal(dispatcher(swapped, np.ones(5, "int32"))[0], np.ones((2, 4)))


def test_dispatcher_of_many_inputs() -> None:
    count = 40
    plan = echo(["float64"] * count, [2] * count)
    executable = _core.Executable(replace(plan), [])
    dispatcher = _core.Dispatcher(
        lambda signature: executable,
        lambda i, value: value,
        ["float64"] * count,
        [2] * count,
        [(False, False)] * count,
    )
    arrays = [np.full((2, 3), float(i)) for i in range(count)]
    np.testing.assert_array_equal(dispatcher(*arrays), arrays)


def test_ring_slots() -> None:
    assert [_core.ring_slots(keep, depth) for keep, depth in ((0, 0), (1, 0), (0, 1), (2, 5))] == [0, 1, 2, 6]
    with pytest.raises(InternalError):
        _core.ring_slots(-1, 0)
