"""Values that enter a graph: a user's number, list or array as an array of a variable's type, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import UserTypeError, UserValueError
from .graph import DTYPES, TensorType, Variable


def convert_value(
    value: Any, type: TensorType, name: str, copy: bool = True, allow_downcast: bool = False
) -> np.ndarray:
    """`value` as a C-contiguous array of `type`; a fresh one if `copy`.

    Python numbers (and lists of them) take the dtype of `type` when it can hold them; NumPy values are cast
    only when nothing can be lost (int32 to float64, …) unless `allow_downcast`.

    Raises UserTypeError (dtype, number of dimensions) or UserValueError (a dimension, a number out of range),
    naming the variable.
    """
    array = as_array(value, f"'{name}'")
    if array.ndim != type.ndim:
        raise UserTypeError(
            f"'{name}': expected {type.ndim} dimension(s) ({type}), got {array.ndim} "
            f"(an array of shape {array.shape}); reshape the value or declare the variable with {array.ndim}"
        )
    for axis, (expected, got) in enumerate(zip(type.shape, array.shape, strict=True)):
        if expected is not None and expected != got:
            raise UserValueError(
                f"'{name}': axis {axis} must be {expected} long ({type}), the value has shape {array.shape}"
            )
    if array.dtype.name != type.dtype:
        weak = not isinstance(value, (np.ndarray, np.generic))
        _check_cast(array, type, name, weak, allow_downcast)
        # astype of an array outside the range of an integer dtype warns; that was asked for.
        with np.errstate(invalid="ignore", over="ignore"):
            return np.array(array, dtype=type.dtype, order="C")
    if copy:
        return np.array(array, dtype=type.dtype, order="C", copy=True)
    return np.asarray(array, dtype=type.dtype, order="C")


def as_array(value: Any, what: str) -> np.ndarray:
    """`value` as a NumPy array of one of scanlib's dtypes; `what` starts the message when it is none."""
    if isinstance(value, Variable):
        raise UserTypeError(
            f"{what}: got the symbolic variable '{value!r}' where a value is needed; "
            "pass an array, or its .eval() or .get_value()"
        )
    try:
        array = np.asarray(value)
    except UserTypeError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise UserValueError(f"{what}: {value!r:.80} is not an array: {error}") from error
    if array.dtype.kind in "OSU":
        raise UserTypeError(
            f"{what}: {value!r:.60} is a {type(value).__name__}: dtype {array.dtype} is not supported, expected numbers"
        )
    if array.dtype.name not in DTYPES:
        raise UserTypeError(
            f"{what}: dtype {array.dtype} is not supported; expected one of {', '.join(DTYPES)}: "
            "convert the value with .astype first"
        )
    return array


def _check_cast(array: np.ndarray, type: TensorType, name: str, weak: bool, allow_downcast: bool) -> None:
    """User error unless `array` may become type.dtype; `weak` values come from Python numbers."""
    target = np.dtype(type.dtype)
    if allow_downcast or np.can_cast(array.dtype, target, "safe") or (weak and array.size == 0):
        return
    if weak and array.dtype.kind == "f" and target.kind == "f":
        return
    if weak and array.dtype.kind in "iu" and target.kind in "iuf":
        if target.kind == "f":
            return
        limits = np.iinfo(target)
        low, high = int(array.min()), int(array.max())
        if limits.min <= low and high <= limits.max:
            return
        raise UserValueError(
            f"'{name}': {low if low < limits.min else high} does not fit {type.dtype} "
            f"({limits.min} … {limits.max}); declare the variable with a wider dtype"
        )
    got = f"a Python {'float' if array.dtype.kind == 'f' else 'int'}" if weak else f"{array.dtype.name}"
    raise UserTypeError(
        f"'{name}': expected {type}, got {got}: casting it could lose information; pass "
        f"value.astype('{type.dtype}'), or allow it with allow_input_downcast=True in function(…)"
    )
