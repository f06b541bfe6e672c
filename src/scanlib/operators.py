"""Python operators and array methods of Variable; each one calls the function of that name in `tensor`.

`tensor` is looked up when an operator runs: the graph module imports this one, so nothing is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from .errors import UserTypeError

if TYPE_CHECKING:
    from .graph import TensorType, Variable


def _tensor() -> ModuleType:
    from . import tensor

    return tensor


def _no_value(v: Any, wanted: str) -> UserTypeError:
    return UserTypeError(
        f"{v!r} is symbolic and has no value yet, as {wanted} needs: use the function of scanlib.tensor "
        "instead of NumPy's, or .eval() to compute a value"
    )


class _Arithmetic:
    """Operators on elements.  `==` and `!=` compare identity, as in Theano: use T.eq and T.neq."""

    # NumPy leaves `array * variable` to the variable.
    __array_priority__ = 1000

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """np.tanh(x) is T.tanh(x): NumPy's elementwise functions are those of the same name here."""
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if name in ("equal", "not_equal"):
            return (inputs[0] is inputs[1]) == (name == "equal")
        made = getattr(_tensor(), name, None)
        if made is None or options:
            raise _no_value(self, f"np.{name}")
        return made(*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        raise _no_value(self, f"np.{function.__name__}")

    def __add__(self, other: Any) -> Variable:
        return _tensor().add(self, other)

    def __radd__(self, other: Any) -> Variable:
        return _tensor().add(other, self)

    def __sub__(self, other: Any) -> Variable:
        return _tensor().sub(self, other)

    def __rsub__(self, other: Any) -> Variable:
        return _tensor().sub(other, self)

    def __mul__(self, other: Any) -> Variable:
        return _tensor().mul(self, other)

    def __rmul__(self, other: Any) -> Variable:
        return _tensor().mul(other, self)

    def __truediv__(self, other: Any) -> Variable:
        return _tensor().true_div(self, other)

    def __rtruediv__(self, other: Any) -> Variable:
        return _tensor().true_div(other, self)

    def __floordiv__(self, other: Any) -> Variable:
        return _tensor().int_div(self, other)

    def __rfloordiv__(self, other: Any) -> Variable:
        return _tensor().int_div(other, self)

    def __mod__(self, other: Any) -> Variable:
        return _tensor().mod(self, other)

    def __rmod__(self, other: Any) -> Variable:
        return _tensor().mod(other, self)

    def __divmod__(self, other: Any) -> tuple[Variable, Variable]:
        return _tensor().int_div(self, other), _tensor().mod(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Variable, Variable]:
        return _tensor().int_div(other, self), _tensor().mod(other, self)

    def __pow__(self, other: Any) -> Variable:
        return _tensor().pow(self, other)

    def __rpow__(self, other: Any) -> Variable:
        return _tensor().pow(other, self)

    def __matmul__(self, other: Any) -> Variable:
        return _tensor().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Variable:
        return _tensor().matmul(other, self)

    def __neg__(self) -> Variable:
        return _tensor().neg(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Variable:
        return _tensor().abs(self)

    def __invert__(self) -> Variable:
        return _tensor().invert(self)

    def __and__(self, other: Any) -> Variable:
        return _tensor().and_(self, other)

    def __rand__(self, other: Any) -> Variable:
        return _tensor().and_(other, self)

    def __or__(self, other: Any) -> Variable:
        return _tensor().or_(self, other)

    def __ror__(self, other: Any) -> Variable:
        return _tensor().or_(other, self)

    def __xor__(self, other: Any) -> Variable:
        return _tensor().xor(self, other)

    def __rxor__(self, other: Any) -> Variable:
        return _tensor().xor(other, self)

    def __lshift__(self, other: Any) -> Variable:
        return _tensor().left_shift(self, other)

    def __rlshift__(self, other: Any) -> Variable:
        return _tensor().left_shift(other, self)

    def __rshift__(self, other: Any) -> Variable:
        return _tensor().right_shift(self, other)

    def __rrshift__(self, other: Any) -> Variable:
        return _tensor().right_shift(other, self)

    def __lt__(self, other: Any) -> Variable:
        return _tensor().lt(self, other)

    def __le__(self, other: Any) -> Variable:
        return _tensor().le(self, other)

    def __gt__(self, other: Any) -> Variable:
        return _tensor().gt(self, other)

    def __ge__(self, other: Any) -> Variable:
        return _tensor().ge(self, other)

    def __ceil__(self) -> Variable:
        return _tensor().ceil(self)

    def __floor__(self) -> Variable:
        return _tensor().floor(self)

    def __trunc__(self) -> Variable:
        return _tensor().trunc(self)

    def __round__(self, ndigits: int | None = None) -> Variable:
        return self.round()

    def round(self, mode: str | None = None) -> Variable:
        return _tensor().round(self, *(() if mode is None else (mode,)))

    def clip(self, a_min: Any, a_max: Any) -> Variable:
        return _tensor().clip(self, a_min, a_max)

    def astype(self, dtype: Any) -> Variable:
        return _tensor().cast(self, dtype)


class _Reductions:
    """Reductions and products as methods."""

    def sum(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().sum(self, axis=axis, keepdims=keepdims, **_given(dtype=dtype))

    def prod(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().prod(self, axis=axis, keepdims=keepdims, **_given(dtype=dtype))

    def mean(self, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().mean(self, axis=axis, keepdims=keepdims, **_given(dtype=dtype))

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Variable:
        return _tensor().var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Variable:
        return _tensor().std(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().argmin(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().all(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().any(self, axis=axis, keepdims=keepdims)

    def norm(self, L: Any = 2, axis: Any = None, keepdims: bool = False) -> Variable:
        return _tensor().norm(self, L, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Variable:
        return _tensor().cumsum(self, axis=axis)

    def cumprod(self, axis: int | None = None) -> Variable:
        return _tensor().cumprod(self, axis=axis)

    def sort(self, axis: int | None = -1) -> Variable:
        return _tensor().sort(self, axis=axis)

    def argsort(self, axis: int | None = -1) -> Variable:
        return _tensor().argsort(self, axis=axis)

    def dot(self, other: Any) -> Variable:
        return _tensor().dot(self, other)


class _Shape:
    """Shape and indexing as attributes and methods."""

    if TYPE_CHECKING:
        type: TensorType

    @property
    def shape(self) -> Variable:
        return _tensor().shape(self)

    @property
    def size(self) -> Variable:
        return _tensor().size(self)

    @property
    def T(self) -> Variable:
        return _tensor().transpose(self)

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """Theano's pattern: which axes are known to be 1 long."""
        return self.type.broadcastable

    def reshape(self, *shape: Any, ndim: int | None = None) -> Variable:
        target = shape[0] if len(shape) == 1 else shape
        return _tensor().reshape(self, target, ndim=ndim)

    def flatten(self, ndim: int = 1) -> Variable:
        return _tensor().flatten(self, ndim)

    def ravel(self) -> Variable:
        return _tensor().flatten(self, 1)

    def dimshuffle(self, *order: Any) -> Variable:
        return _tensor().dimshuffle(self, *order)

    def transpose(self, *axes: Any) -> Variable:
        return _tensor().transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def swapaxes(self, axis1: int, axis2: int) -> Variable:
        return _tensor().swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Variable:
        return _tensor().squeeze(self, axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Variable:
        return _tensor().repeat(self, repeats, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Variable:
        return _tensor().diagonal(self, offset, axis1, axis2)

    def trace(self) -> Variable:
        return _tensor().trace(self)

    def take(self, indices: Any, axis: int | None = None, mode: str = "raise") -> Variable:
        return _tensor().take(self, indices, axis, mode)

    def nonzero(self, return_matrix: bool = False) -> Any:
        return _tensor().nonzero(self, return_matrix)

    def fill(self, value: Any) -> Variable:
        return _tensor().fill(self, value)

    def zeros_like(self, dtype: Any = None) -> Variable:
        return _tensor().zeros_like(self, dtype)

    def ones_like(self, dtype: Any = None) -> Variable:
        return _tensor().ones_like(self, dtype)

    def __getitem__(self, index: Any) -> Variable:
        return _tensor().getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise UserTypeError(
            f"'{self!r}' is a symbolic variable and cannot be assigned to: write "
            "`x = T.set_subtensor(x[index], value)`"
        )

    def __len__(self) -> int:
        length = self.type.shape[0] if self.type.shape else None
        if length is None:
            raise UserTypeError(f"the length of '{self!r}' is not known before it runs: use its .shape[0]")
        return length

    def __iter__(self) -> Iterator[Variable]:
        if not self.type.shape:
            raise UserTypeError(f"'{self!r}' has no axis to iterate over")
        if self.type.shape[0] is None:
            raise UserTypeError(
                f"the length of '{self!r}' is not known before it runs, so Python cannot iterate over it: "
                "use scanlib.scan or scanlib.map"
            )
        return (self[i] for i in range(self.type.shape[0]))


class Operators(_Arithmetic, _Reductions, _Shape):
    """What a Variable can do besides being a node of the graph."""

    # A Variable is a dictionary key by identity.
    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise UserTypeError(
            f"'{self!r}' is symbolic and has no truth value while the graph is built: choose with "
            "T.switch(condition, a, b) or scanlib.ifelse.ifelse, combine with & and |, "
            "and chain comparisons as (a < b) & (b < c)"
        )

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise _no_value(self, "an array")

    def __float__(self) -> float:
        raise _no_value(self, "a Python number")

    def __index__(self) -> int:
        raise _no_value(self, "a Python integer (range, a place in a list)")

    @property
    def tag(self) -> SimpleNamespace:
        """A place for a user's own notes on the variable."""
        notes: SimpleNamespace = self.__dict__.setdefault("_tag", SimpleNamespace())
        return notes

    def copy(self, name: str | None = None) -> Variable:
        made: Variable = _tensor().tensor_copy(self)
        made.name = name
        return made

    def eval(self, inputs_to_values: Mapping[Any, Any] | None = None) -> Any:
        """The value of this variable, given values for the inputs it is built from."""
        from .function import function

        given = dict(inputs_to_values or {})
        compiled = self.__dict__.setdefault("_compiled", {})
        key = tuple(id(v) for v in given)
        if key not in compiled:
            # The variables are kept too, so that an id in the key stays theirs.
            compiled[key] = (function(list(given), self, on_unused_input="ignore"), list(given))
        return compiled[key][0](*given.values())

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_compiled"}


def _given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {k: v for k, v in options.items() if v is not None}
