"""The settings of scanlib: `config.floatX`, `config.mode`; every other name of Theano's is accepted."""

from __future__ import annotations

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
    """

    def __init__(self) -> None:
        self.floatX = "float64"
        self.mode = "native"
        self.device = "cpu"
        self.compute_test_value = "off"

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "floatX" and value not in ("float32", "float64"):
            raise UserValueError(f"config.floatX: expected 'float32' or 'float64', got {value!r}")
        if name == "mode":
            value = mode_name(value)
        object.__setattr__(self, name, value)


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
