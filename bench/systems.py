"""Contenders of each system; an empty list where the system is not installed."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import numpy as np

from . import limit
from .workload import Arrays, Contender, Run, same

Make = Callable[[], Run]
# A program in Theano's language: it gets the library and its `tensor`.
Program = Callable[[Any, Any], Run]
PEERS = ("jax", "numba", "scipy", "pytensor", "torch", "onnxruntime")
# An interpreted loop is timed on this part of the steps.
INTERPRETED = 0.05


def scanlib(program: Program, way: str = "") -> list[Contender]:
    def make() -> Run:
        import scanlib
        import scanlib.tensor

        return program(scanlib, scanlib.tensor)

    return [Contender("scanlib", make, way)]


class Pytensor:
    """The part of pytensor that programs here use, by the names and returns that Theano had."""

    def __init__(self) -> None:
        # A BLAS for its C backend, which is not used here.
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
        import pytensor

        self.pytensor, self.tensor, self.grad = pytensor, pytensor.tensor, pytensor.grad

    def scan(self, step: Any, *, outputs_info: Any, **given: Any) -> Any:
        def initial(x: Any) -> Any:
            return self.tensor.constant(x, dtype="float64") if isinstance(x, float) else x

        several = isinstance(outputs_info, (list, tuple))
        info = [initial(x) for x in outputs_info] if several else initial(outputs_info)
        return self.pytensor.scan(step, outputs_info=info, return_updates=False, **given), {}

    def function(self, inputs: Any, outputs: Any) -> Run:
        made: Run = self.pytensor.function(inputs, outputs, mode="NUMBA", trust_input=True)
        return made


def pytensor(program: Program) -> list[Contender]:
    """The program that scanlib runs, compiled by pytensor through numba."""

    def make() -> Run:
        library = Pytensor()
        return program(library, library.tensor)

    def load(inputs: Arrays) -> Arrays:
        return tuple(np.asarray(x) for x in inputs)

    return [Contender("pytensor", make, "numba", load)] if find_spec("pytensor") else []


def numpy_loop(function: Run) -> list[Contender]:
    """The loop in Python over NumPy; every result is compared with its own."""
    return [Contender("numpy", lambda: function, "loop", part=INTERPRETED)]


def scipy(make: Make, way: str) -> list[Contender]:
    return [Contender("scipy", make, way)] if find_spec("scipy") else []


@cache
def import_jax() -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def jax(make: Make, way: str = "scan") -> list[Contender]:
    """`make` returns a function that is not compiled yet.  Inputs that are Python ints are static."""

    def load(inputs: Arrays) -> Arrays:
        return tuple(x if isinstance(x, int) else import_jax().device_put(x) for x in inputs)

    def compiled() -> Run:
        jax, made = import_jax(), {}
        function = make()

        def call(*inputs: Any) -> Any:
            if 0 not in made:
                static = tuple(i for i, x in enumerate(inputs) if isinstance(x, int))
                made[0] = jax.jit(function, static_argnums=static)
            return made[0](*inputs)

        return call

    def wait(result: Any) -> Any:
        return import_jax().block_until_ready(result)

    return [Contender("jax", compiled, way, load, wait, per_size=True)] if find_spec("jax") else []


def jax_gradient(make: Make, wrt: Sequence[int], way: str = "scan") -> list[Contender]:
    """(value, *gradients) of a function of one value."""

    def both() -> Run:
        function = import_jax().value_and_grad(make(), argnums=tuple(wrt))

        def run(*inputs: Any) -> Any:
            value, gradients = function(*inputs)
            return (value, *gradients)

        return run

    return jax(both, way)


def numba(function: Run, way: str = "", helpers: Sequence[Run] = ()) -> list[Contender]:
    """`function` is Python that numba compiles, with the `helpers` that it calls (callees first)."""

    def compiled() -> Run:
        import numba

        namespace = dict(function.__globals__)
        for helper in helpers:
            namespace[helper.__name__] = numba.njit(FunctionType(helper.__code__, namespace))
        made: Run = numba.njit(FunctionType(function.__code__, namespace))
        return made

    return [Contender("numba", compiled, way)] if find_spec("numba") else []


def torch(
    make: Make,
    way: str,
    load: Callable[[Arrays], Arrays],
    read: Callable[[Any], Any] = same,
    part: float = 1.0,
) -> list[Contender]:
    """`load` makes tensors of the inputs."""
    return [Contender("torch", make, way, load, read=read, part=part)] if find_spec("torch") else []


def onnx_session(text: str, **constants: np.ndarray) -> Any:
    """A session of the model that is written in ONNX's language; constants are named there, but not declared."""
    import onnx.numpy_helper
    import onnx.parser
    import onnxruntime

    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(x, name) for name, x in constants.items())
    options = onnxruntime.SessionOptions()
    # Its threads would wait for the next call for tens of milliseconds, on the cores of whoever is timed then.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def onnxruntime(make: Make, way: str, part: float = 1.0) -> list[Contender]:
    both = find_spec("onnx") and find_spec("onnxruntime")
    return [Contender("onnxruntime", make, way, part=part)] if both else []


def cpp(
    file: str, make: Callable[[limit.Library], Run], way: str = "", eigen: bool = False
) -> list[Contender]:
    """The hand-written loop of limits/`file`.cpp, compiled here; it may need Eigen."""
    if shutil.which(limit.COMPILER) is None or (eigen and limit.eigen() is None):
        return []
    return [Contender("C++", lambda: make(limit.library(file)), way)]


def versions() -> dict[str, str]:
    """The installed version of each system."""
    found = {}
    for name in ("scanlib", "numpy", *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if find_spec(name):
                found[name] = "source"
    return found


def absent() -> list[str]:
    """The peers that are not installed."""
    return [name for name in PEERS if name not in versions()]


def cores() -> int:
    return len(os.sched_getaffinity(0))
