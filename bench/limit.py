"""Compiles the hand-written loops of limits/ with `g++ -O3 -march=native` and calls them through ctypes.

A file may ask for more flags in its first line: `// flags: -ffast-math`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

COMPILER = os.environ.get("CXX", "g++")
FLAGS = ["-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread"]
_DIRECTORY = Path(__file__).parent / "limits"


class Library:
    """Functions of a compiled file: arrays are passed as pointers, ints as int64, floats as double."""

    def __init__(self, path: Path) -> None:
        self._handle = ctypes.CDLL(str(path))

    def __getattr__(self, name: str) -> Callable[..., None]:
        function = getattr(self._handle, name)
        function.restype = None

        def call(*arguments: Any) -> None:
            function(*map(_argument, arguments))

        return call


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, (int, np.integer)):
        return ctypes.c_int64(int(value))
    return ctypes.c_double(float(value))


@cache
def library(name: str) -> Library:
    """The library made from limits/`name`.cpp, compiled once for this text, compiler and user."""
    source = _DIRECTORY / f"{name}.cpp"
    text = source.read_text()
    first = text.partition("\n")[0]
    flags = [*FLAGS, *(first.removeprefix("// flags:").split() if first.startswith("// flags:") else [])]
    headers = eigen()
    if headers is not None:
        flags += ["-isystem", str(headers)]
    shared = [header.read_text() for header in sorted(_DIRECTORY.glob("*.hpp"))]
    key = hashlib.sha256("\0".join([COMPILER, *flags, text, *shared]).encode()).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"scanlib-bench-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to somebody else")
    made = directory / f"{name}-{key}.so"
    if not made.exists():
        temporary = made.with_suffix(f".{os.getpid()}")
        command = [COMPILER, *flags, str(source), "-o", str(temporary)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        temporary.replace(made)
    return Library(made)


def eigen() -> Path | None:
    """The headers of the package cmeel-eigen, if it is installed."""
    places = (Path(d, "cmeel.prefix/include/eigen3") for d in sys.path if d)
    return next((p for p in places if p.is_dir()), None)
