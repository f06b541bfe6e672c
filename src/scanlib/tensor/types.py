"""Making variables: typed inputs (scalar, vector, …, with dtype prefixes), constants, conversions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import config
from ..errors import UserTypeError, UserValueError
from ..graph import DTYPES, Constant, Variable, check_name, describe
from ..graph import TensorType as GraphType
from ..values import as_array

# The static shape behind each of Theano's names; None is a dimension known only when running.
SHAPES: dict[str, tuple[int | None, ...]] = {
    "scalar": (),
    "vector": (None,),
    "row": (1, None),
    "col": (None, 1),
    "matrix": (None, None),
    "tensor3": (None,) * 3,
    "tensor4": (None,) * 4,
    "tensor5": (None,) * 5,
}
PREFIXES = {
    "b": "int8", "w": "int16", "i": "int32", "l": "int64",
    "ub": "uint8", "uw": "uint16", "ui": "uint32", "ul": "uint64",
    "f": "float32", "d": "float64",
}  # fmt: skip
PLURALS = {name: "matrices" if name == "matrix" else name + "s" for name in SHAPES}


def check_dtype(dtype: Any) -> str:
    """The name of a supported dtype ('floatX' is config.floatX); UserTypeError for any other."""
    if dtype is None or (isinstance(dtype, str) and dtype == "floatX"):
        return str(config.floatX)
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError) as error:
        raise UserTypeError(f"{dtype!r} is not a dtype; expected one of {', '.join(DTYPES)}") from error
    if name not in DTYPES:
        raise UserTypeError(f"dtype {name} is not supported; expected one of {', '.join(DTYPES)}")
    return name


def TensorType(dtype: Any, broadcastable: Sequence[Any] | None = None, shape: Any = None) -> GraphType:
    """A type that makes variables when called: TensorType('float64', (False, True))('x').

    `broadcastable` is Theano's pattern, or a shape: True or 1 for a dimension of 1, an int for that length,
    False or None for one known only when running.
    """
    pattern = broadcastable if shape is None else shape
    if not isinstance(pattern, (list, tuple)):
        raise UserTypeError(f"TensorType: give `broadcastable` or `shape`, a tuple; got {pattern!r}")
    return GraphType(check_dtype(dtype), tuple(_static(d) for d in pattern))


def _static(d: Any) -> int | None:
    if d is None or d is False:
        return None
    length = 1 if d is True else int(d)
    if length < 0:
        raise UserValueError(f"a static dimension must be None or at least 0, got {d!r}")
    return length


def tensor(
    dtype: Any = None,
    broadcastable: Sequence[Any] | None = None,
    name: str | None = None,
    *,
    shape: Any = None,
) -> Variable:
    """An input of any dtype and shape (see TensorType)."""
    return TensorType(dtype, broadcastable, shape)(name)


def _make(kind: str, name: str | None, dtype: Any, shape: Any) -> Variable:
    if not isinstance(name, str | None):
        raise UserTypeError(f"{kind}({name!r:.60}): the first argument is the name, a string")
    if dtype is None and isinstance(name, str) and name in DTYPES:
        raise UserTypeError(f"{kind}({name!r}): the first argument is the name; write {kind}(dtype={name!r})")
    pattern = SHAPES[kind] if shape is None else tuple(_static(d) for d in shape)
    if len(pattern) != len(SHAPES[kind]):
        raise UserTypeError(f"{kind}: `shape` must have {len(SHAPES[kind])} entries, got {shape!r}")
    return Variable(GraphType(check_dtype(dtype), pattern), name=name)


def scalar(name: str | None = None, dtype: Any = None) -> Variable:
    """A 0-d input; dtype config.floatX by default."""
    return _make("scalar", name, dtype, None)


def vector(name: str | None = None, dtype: Any = None, shape: Any = None) -> Variable:
    """A 1-d input; dtype config.floatX by default; `shape` gives static dimensions, None where unknown."""
    return _make("vector", name, dtype, shape)


def row(name: str | None = None, dtype: Any = None) -> Variable:
    """A 2-d input whose first dimension is 1."""
    return _make("row", name, dtype, None)


def col(name: str | None = None, dtype: Any = None) -> Variable:
    """A 2-d input whose second dimension is 1."""
    return _make("col", name, dtype, None)


def matrix(name: str | None = None, dtype: Any = None, shape: Any = None) -> Variable:
    """A 2-d input; dtype config.floatX by default; `shape` gives static dimensions, None where unknown."""
    return _make("matrix", name, dtype, shape)


def tensor3(name: str | None = None, dtype: Any = None, shape: Any = None) -> Variable:
    """A 3-d input; see matrix."""
    return _make("tensor3", name, dtype, shape)


def tensor4(name: str | None = None, dtype: Any = None, shape: Any = None) -> Variable:
    """A 4-d input; see matrix."""
    return _make("tensor4", name, dtype, shape)


def tensor5(name: str | None = None, dtype: Any = None, shape: Any = None) -> Variable:
    """A 5-d input; see matrix."""
    return _make("tensor5", name, dtype, shape)


class _Several:
    """A plural constructor: T.vectors('a', 'b'), T.dmatrices(2)."""

    def __init__(self, kind: str, dtype: str | None, name: str) -> None:
        self.kind, self.dtype, self.__name__ = kind, dtype, name

    def __call__(self, *names: Any, dtype: Any = None) -> Any:
        if len(names) == 1 and isinstance(names[0], int):
            names = (None,) * names[0]
        if not names:
            raise UserTypeError(f"{self.__name__}: give the names of the variables, or how many")
        made = [_make(self.kind, n, self.dtype if dtype is None else dtype, None) for n in names]
        return made[0] if len(made) == 1 else made

    def __repr__(self) -> str:
        return f"<function {self.__name__}>"


def _constructors() -> dict[str, Any]:
    """Every prefixed and plural name.  A prefixed singular is a type, which makes a variable when called."""
    made: dict[str, Any] = {}
    for kind, shape in SHAPES.items():
        made[PLURALS[kind]] = _Several(kind, None, PLURALS[kind])
        for prefix, dtype in PREFIXES.items():
            made[prefix + kind] = GraphType(dtype, shape)
            made[prefix + PLURALS[kind]] = _Several(kind, dtype, prefix + PLURALS[kind])
    return made


CONSTRUCTORS = _constructors()
globals().update(CONSTRUCTORS)


def constant(x: Any, name: str | None = None, ndim: int | None = None, dtype: Any = None) -> Variable:
    """A constant; Python floats take config.floatX, Python ints int64, unless `dtype` says otherwise."""
    check_name(name)
    array = as_array(x, "constant" if name is None else f"constant '{name}'")
    if dtype is not None:
        array = array.astype(check_dtype(dtype))
    elif array.dtype == np.float64 and not isinstance(x, (np.ndarray, np.generic)):
        array = array.astype(str(config.floatX))
    if ndim is not None and array.ndim != ndim:
        if array.ndim > ndim:
            raise UserTypeError(
                f"constant: expected {ndim} dimension(s), got an array of shape {array.shape}"
            )
        array = array.reshape((1,) * (ndim - array.ndim) + array.shape)
    # A copy: the user's array may change later, the graph must not.
    return Constant(np.array(array, dtype=array.dtype.newbyteorder("=")), name)


def weak_scalar(x: bool | int | float, dtype: str) -> Variable:
    """A Python number beside an operand of `dtype` (NEP 50): it takes that dtype, or the next kind up."""
    target = np.result_type(np.dtype(dtype), x)
    try:
        return Constant(np.asarray(x, dtype=target))
    except OverflowError as error:
        raise UserValueError(
            f"the Python integer {x} does not fit {target.name}, the dtype it is combined with; "
            "cast the other operand to a wider dtype first"
        ) from error


def is_weak(x: Any) -> bool:
    """Whether `x` is a Python number, whose dtype gives way to the other operand's."""
    # np.float64 is a subclass of float, and not weak.
    return isinstance(x, (bool, int, float)) and not isinstance(x, np.generic)


def _holds_variable(x: Any) -> bool:
    return isinstance(x, Variable) or (isinstance(x, (list, tuple)) and any(_holds_variable(i) for i in x))


def as_tensor_variable(
    x: Any, name: str | None = None, ndim: int | None = None, dtype: Any = None, like: Variable | None = None
) -> Variable:
    """`x` as a Variable: Variables pass, numbers and arrays become constants, lists of Variables a stack.

    A Python number takes its dtype from `like` when given (NEP 50).  With `ndim`, leading axes of 1 are added
    or dropped to get there.
    """
    check_name(name)
    if isinstance(x, Variable):
        made = x
    elif like is not None and dtype is None and is_weak(x):
        made = weak_scalar(x, like.dtype)
    elif isinstance(x, (list, tuple)) and _holds_variable(x):
        from .shape import stack

        made = stack([i if is_weak(i) else as_tensor_variable(i) for i in x])
    else:
        made = constant(x, name=name, dtype=dtype)
    if dtype is not None and made.dtype != check_dtype(dtype):
        made = _cast(made, check_dtype(dtype))
    if ndim is not None and made.ndim != ndim:
        made = _with_ndim(made, ndim)
    if name is not None and made.name is None:
        made.name = name
    return made


def _cast(x: Variable, dtype: str) -> Variable:
    if isinstance(x, Constant):
        # Values outside an integer dtype wrap, as in a cast.
        with np.errstate(invalid="ignore", over="ignore"):
            return Constant(x.data.astype(dtype), x.name)
    from .math import cast

    return cast(x, dtype)


def _with_ndim(x: Variable, ndim: int) -> Variable:
    from .shape import dimshuffle, shape_padleft

    if x.ndim < ndim:
        return shape_padleft(x, ndim - x.ndim)
    extra = x.ndim - ndim
    if any(d != 1 for d in x.type.shape[:extra]):
        raise UserTypeError(f"'{describe(x)}' has {x.ndim} dimensions ({x.type}), expected {ndim}")
    return dimshuffle(x, *range(extra, x.ndim))


def as_operands(*values: Any) -> list[Variable]:
    """Operands of one operation: Python numbers take the common dtype of the others."""
    strong = [v if is_weak(v) else as_tensor_variable(v) for v in values]
    dtypes = [v.dtype for v in strong if isinstance(v, Variable)]
    if not dtypes:
        return [as_tensor_variable(v) for v in values]
    common = np.result_type(*dtypes).name
    return [v if isinstance(v, Variable) else weak_scalar(v, common) for v in strong]


__all__ = [
    "TensorType", "as_operands", "as_tensor_variable", "check_dtype", "col", "constant", "is_weak", "matrix",
    "row", "scalar", "tensor", "tensor3", "tensor4", "tensor5", "vector", "weak_scalar",
]  # fmt: skip
