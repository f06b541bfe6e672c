"""Shared variables: values that live between calls of functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .config import config
from .errors import UserTypeError
from .graph import DTYPES, SharedVariable, Variable


def shared(
    value: Any,
    name: str | None = None,
    strict: bool = False,
    allow_downcast: bool | None = None,
    borrow: bool = False,
    shape: tuple[int | None, ...] | None = None,
    **ignored: Any,
) -> SharedVariable:
    """A variable whose value functions read when they are called, and change only through `updates`.

    value   an array (kept as it is, copied unless `borrow`), or a Python number: an int is int64, a float
            is config.floatX
    shape   dimensions that never change, if any are known; others None

    Raises UserTypeError for a symbolic variable and for values of no supported dtype.
    """
    if isinstance(value, Variable):
        raise UserTypeError("shared: got a symbolic variable, expected an array or a number")
    if isinstance(value, float) and not isinstance(value, np.generic):
        value = np.asarray(value, config.floatX)
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise UserTypeError(
            f"shared{f' {name!r}' if name else ''}: dtype {array.dtype} is not supported, expected one of "
            f"{', '.join(DTYPES)}"
        )
    array = np.require(array if borrow else array.copy(), array.dtype.newbyteorder("="), ["C", "A"])
    return SharedVariable(array.reshape(np.shape(value)), name, shape)


def default_update_of(variable: Variable) -> Variable | None:
    """The value a shared variable takes after each call that reads it: set by random streams and by users."""
    update = variable.default_update if isinstance(variable, SharedVariable) else None
    if isinstance(update, tuple):
        return update[1]
    return update
