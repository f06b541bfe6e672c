"""Arrays made from numbers and shapes, and masks of the diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UserTypeError
from ..graph import Constant, Variable, describe
from ..ops import creation as rows
from ..ops import shape as shape_rows
from ..ops.base import is_float, result_dtype
from ..ops.shape import dim, dims_of, int_constant
from .dimensions import as_int, as_ints, axes_of, fold_int, static_value
from .shape import concatenate, dimshuffle
from .types import as_operands, as_tensor_variable, check_dtype, constant, is_weak


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Variable:
    """start, start + step, … up to but not including stop; ints or floats, symbolic or not.

    dtype: int64 for integers, the common dtype for floats.  Raises UserValueError for a step of 0.
    """
    if stop is None:
        start, stop = 0, start
    bounds = as_operands(start, stop, step)
    if any(b.ndim for b in bounds):
        raise UserTypeError("arange: expected scalars, got " + ", ".join(str(b.type) for b in bounds))
    common = result_dtype(*(b.dtype for b in bounds))
    if is_float(common):
        return _float_range([as_tensor_variable(b, dtype=common) for b in bounds], dtype)
    first, last, by = (as_int(b, "arange") for b in bounds)
    return rows.arange(first, last, by, dtype="int64" if dtype is None else check_dtype(dtype))


def _float_range(bounds: Sequence[Variable], dtype: Any) -> Variable:
    """NumPy's rule: the length is ⌈(stop - start) / step⌉, element i is start + i · (second - first)."""
    from .math import ceil, maximum

    start, stop, step = bounds
    if all(isinstance(b, Constant) for b in bounds):
        # The length is then static.
        values = [float(b.data) for b in bounds if isinstance(b, Constant)]
        length: Any = max(0, -int((values[0] - values[1]) / values[2] // 1))
    else:
        length = as_tensor_variable(maximum(ceil((stop - start) / step), 0), dtype="int64")
    steps = as_tensor_variable(arange(length), dtype=start.dtype)
    made = start + steps * ((start + step) - start)
    return made if dtype is None else as_tensor_variable(made, dtype=check_dtype(dtype))


def linspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None) -> Variable:
    """`num` numbers at equal distances from start to stop, stop included if `endpoint`."""
    from .math import eq, maximum, switch

    a, b = as_operands(start, stop)
    common = result_dtype(a.dtype, b.dtype)
    if not is_float(common):
        common = "float64"
    a, b = as_tensor_variable(a, dtype=common), as_tensor_variable(b, dtype=common)
    n = as_int(num, "linspace: num")
    gaps = maximum(n - 1, 1) if endpoint else n
    i = arange(n)
    made = as_tensor_variable(i, dtype=common) * ((b - a) / as_tensor_variable(gaps, dtype=common)) + a
    if endpoint:
        # The last one is `stop` itself, whatever the rounding.
        made = switch(eq(i, maximum(n - 1, 1)), b, made)
    return made if dtype is None else as_tensor_variable(made, dtype=check_dtype(dtype))


def eye(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Variable:
    """An n × m matrix (n × n by default) with ones where column - row = k."""
    rows_, columns = as_int(n, "eye: n"), as_int(n if m is None else m, "eye: m")
    return rows.eye(rows_, columns, as_int(k, "eye: k"), dtype=check_dtype(dtype))


def identity_like(x: Any, dtype: Any = None) -> Variable:
    """The identity-like matrix of the shape (and dtype) of the matrix x."""
    x = as_tensor_variable(x, ndim=2)
    return eye(dim(x, 0), dim(x, 1), 0, x.dtype if dtype is None else dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Variable:
    """An array of that shape, every element `fill_value`; a view of one number."""
    value = as_tensor_variable(fill_value, dtype=dtype)
    return shape_rows.broadcast_to(value, *as_ints(shape, "full: the shape"))


def alloc(value: Any, *shape: Any) -> Variable:
    """`value` stretched to `shape`, which follows as scalars."""
    value = as_tensor_variable(value)
    dims = as_ints(shape[0] if len(shape) == 1 else shape, "alloc: the shape")
    if len(dims) < value.ndim:
        raise UserTypeError(f"alloc: '{describe(value)}' has {value.ndim} dimensions, the shape {len(dims)}")
    return shape_rows.broadcast_to(value, *dims)


def zeros(shape: Any, dtype: Any = None) -> Variable:
    """An array of zeros; dtype config.floatX by default."""
    return full(shape, constant(0, dtype=check_dtype(dtype)))


def ones(shape: Any, dtype: Any = None) -> Variable:
    """An array of ones; dtype config.floatX by default."""
    return full(shape, constant(1, dtype=check_dtype(dtype)))


def empty(shape: Any, dtype: Any = None) -> Variable:
    """An array of zeros: nothing is gained here by leaving memory as it is."""
    return zeros(shape, dtype)


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Variable:
    """An array of the shape (and dtype) of x, every element `fill_value`."""
    x = as_tensor_variable(x)
    value = as_tensor_variable(fill_value, dtype=x.dtype if dtype is None else dtype)
    return shape_rows.broadcast_to(value, *dims_of(x))


def zeros_like(x: Any, dtype: Any = None, opt: bool = False) -> Variable:
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: Any = None, opt: bool = False) -> Variable:
    return full_like(x, 1, dtype)


def fill(x: Any, value: Any) -> Variable:
    """`value` stretched to the shape of x, with the dtype of `value` (Python numbers take that of x)."""
    x = as_tensor_variable(x)
    made = as_tensor_variable(value, like=x) if is_weak(value) else as_tensor_variable(value)
    return shape_rows.broadcast_to(made, *dims_of(x))


second = fill


# Diagonals and triangles.


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Variable:
    """The elements whose index along axis2 minus that along axis1 is `offset`, as the last axis; a view."""
    x = as_tensor_variable(x)
    if x.ndim < 2:
        raise UserTypeError(f"diagonal: '{describe(x)}' has {x.ndim} dimension(s), expected 2 or more")
    a, b = axes_of((axis1, axis2), x.ndim, "diagonal")
    rest = [axis for axis in range(x.ndim) if axis not in (a, b)]
    x = x if (*rest, a, b) == tuple(range(x.ndim)) else dimshuffle(x, *rest, a, b)
    return rows.diagonal(x, offset=_literal(offset, "diagonal: the offset"))


def _literal(value: Any, what: str) -> int:
    found = static_value(as_int(value, what))
    if found is None:
        raise UserTypeError(f"{what} must be known while the graph is built")
    return found


def diag(v: Any, k: int = 0) -> Variable:
    """Of a vector, the square matrix with it on diagonal k; of a matrix, its diagonal k."""
    from .math import switch

    v = as_tensor_variable(v)
    k = _literal(k, "diag: k")
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise UserTypeError(f"diag: expected a vector or a matrix, got '{describe(v)}' of type {v.type}")
    if k:
        padding = zeros((abs(k),), v.dtype)
        v = concatenate([padding, v] if k > 0 else [v, padding])
    n = fold_int(dim(v, 0))
    return switch(eye(n, n, k, dtype="bool"), dimshuffle(v, "x", 0), constant(0, dtype=v.dtype))


def trace(x: Any) -> Variable:
    """The sum of the diagonal of a matrix."""
    return diagonal(as_tensor_variable(x, ndim=2)).sum()


def _lower(n: Variable, m: Variable, k: Any) -> Variable:
    """A bool mask of the elements on and below diagonal k."""
    from .math import le

    return le(dimshuffle(arange(m), "x", 0), dimshuffle(arange(n), 0, "x") + as_int(k, "tri: k"))


def tri(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Variable:
    """An n × m matrix with ones on and below diagonal k."""
    columns = as_int(n if m is None else m, "tri: m")
    return as_tensor_variable(_lower(as_int(n, "tri: n"), columns, k), dtype=check_dtype(dtype))


def tril(x: Any, k: Any = 0) -> Variable:
    """x (2-d or more) with zeros above diagonal k of its last two axes."""
    return _triangle(x, k, "tril")


def triu(x: Any, k: Any = 0) -> Variable:
    """x (2-d or more) with zeros below diagonal k of its last two axes."""
    return _triangle(x, k, "triu")


def _triangle(x: Any, k: Any, what: str) -> Variable:
    from .math import switch

    x = as_tensor_variable(x)
    if x.ndim < 2:
        raise UserTypeError(f"{what}: '{describe(x)}' has {x.ndim} dimension(s), expected 2 or more")
    n, m = dim(x, x.ndim - 2), dim(x, x.ndim - 1)
    zero = constant(0, dtype=x.dtype)
    if what == "tril":
        return switch(_lower(n, m, k), x, zero)
    return switch(_lower(n, m, fold_int(as_int(k, "triu: k") - int_constant(1))), zero, x)


__all__ = [
    "alloc", "arange", "diag", "diagonal", "empty", "eye", "fill", "full", "full_like", "identity_like",
    "linspace",
    "ones", "ones_like", "second", "trace", "tri", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip
