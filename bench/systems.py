"""Contenders of each system; an empty list where the system is not installed."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from types import FunctionType
from typing import Any

from . import limit
from .workload import Arrays, Contender, Run

Make = Callable[[], Run]
PEERS = ("jax", "numba", "scipy")


def scanlib(make: Make, way: str = "") -> list[Contender]:
    return [Contender("scanlib", make, way)]


def numpy_loop(function: Run) -> list[Contender]:
    """The loop in Python over NumPy; every result is compared with its own."""
    return [Contender("numpy", lambda: function, "loop")]


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
        function, jit = make(), import_jax().jit
        made: dict[int, Run] = {}

        def call(*inputs: Any) -> Any:
            if 0 not in made:
                static = tuple(i for i, x in enumerate(inputs) if isinstance(x, int))
                made[0] = jit(function, static_argnums=static)
            return made[0](*inputs)

        return call

    def wait(result: Any) -> Any:
        return import_jax().block_until_ready(result)

    return [Contender("jax", compiled, way, load, wait, per_size=True)] if find_spec("jax") else []


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


def cores() -> int:
    return len(os.sched_getaffinity(0))
