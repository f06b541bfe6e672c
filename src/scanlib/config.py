"""The settings of scanlib: `config.floatX`, `.mode`, `.threads`, …; every other name of Theano's is accepted."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ContextDecorator
from operator import index
from typing import Any

from .errors import UserValueError

MODES = ("native", "reference")
# Theano's names of modes and of optimisation levels all mean: compiled.
MODE_ALIASES = {
    "FAST_RUN": "native",
    "FAST_COMPILE": "native",
    "Mode": "native",
    "JAX": "native",
    "NUMBA": "native",
    "DebugMode": "reference",
    "DEBUG_MODE": "reference",
}


class Group:
    """Settings that have no meaning here (`config.warn.…`): they can be set and read, and do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        group = Group()
        object.__setattr__(self, name, group)
        return group

    def __bool__(self) -> bool:
        return False


class Config(Group):
    """The settings that mean something, checked when they are set.

    floatX   dtype of `T.matrix()` and the like and of Python floats: "float64" (default) or "float32"
    mode     how functions run unless told otherwise: "native" (default) or "reference"
    threads  how many threads compiled functions use, and compiling them: a number of at least 1; None or 0 for all
             cores this process may run on (default, unless the environment variable SCANLIB_NUM_THREADS says
             otherwise).  It holds for the whole process; a loop that is running keeps what it started with.
    optimisations  None (default) for everything that pays, or a collection of names: the passes and choices that
             functions are compiled with (see choices.py), for finding where a fault lies
    check_passes   True to check the graph after every pass, not only after the last (default False)
    """

    def __init__(self) -> None:
        self.floatX = "float64"
        self.mode = "native"
        self.device = "cpu"
        self.compute_test_value = "off"
        self.optimisations: Collection[str] | None = None
        self.check_passes = False

    @property
    def threads(self) -> int:
        from ._core import get_threads

        return get_threads()

    @threads.setter
    def threads(self, value: int | None) -> None:
        from ._core import set_threads

        set_threads(thread_count(value))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "floatX" and value not in ("float32", "float64"):
            raise UserValueError(f"config.floatX: expected 'float32' or 'float64', got {value!r}")
        if name == "mode":
            value = mode_name(value)
        object.__setattr__(self, name, value)


def thread_count(value: Any) -> int:
    """A number of threads, 0 for all cores."""
    try:
        count = 0 if value is None else -1 if isinstance(value, bool) else index(value)
    except TypeError:
        count = -1
    if not 0 <= count < 2**31:
        raise UserValueError(
            f"config.threads: expected a number of threads (None or 0 for all cores), got {value!r}"
        )
    return count


class threads(ContextDecorator):
    """`with threads(2): …` runs what is inside with that many threads (None or 0: all cores), then as before.

    The setting is that of the process, `config.threads`: other Python threads see it, too.  Also a decorator.
    Raises UserValueError for anything that is no number of threads.
    """

    def __init__(self, count: int | None) -> None:
        self.count = thread_count(count)
        self._before: list[int] = []

    def __enter__(self) -> int:
        self._before.append(config.threads)
        config.threads = self.count
        return config.threads

    def __exit__(self, *exception: object) -> None:
        config.threads = self._before.pop()


def mode_name(mode: Any) -> str:
    """The name of a mode given by any of its names, by a `Mode` object, or by None for the configured one."""
    if mode is None:
        return config.mode
    name = getattr(mode, "name", mode)
    if isinstance(name, str):
        name = MODE_ALIASES.get(name, name)
    if name not in MODES:
        raise UserValueError(f"mode: expected one of {', '.join(map(repr, MODES))}, got {mode!r}")
    return str(name)


class Mode:
    """Theano's `Mode(linker, optimizer)`: every linker and optimizer means compiled code."""

    def __init__(self, linker: Any = None, optimizer: Any = None, name: str = "native") -> None:
        self.linker, self.optimizer, self.name = linker, optimizer, name

    def including(self, *tags: str) -> Mode:
        return self

    def excluding(self, *tags: str) -> Mode:
        return self


def get_mode(mode: Any) -> Mode:
    return mode if isinstance(mode, Mode) else Mode(name=mode_name(mode))


def get_default_mode() -> Mode:
    return Mode(name=config.mode)


config = Config()
