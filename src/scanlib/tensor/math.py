"""Elementwise functions of the user: operands are converted, then a row of ops/elementwise.py is applied.

All of them broadcast and promote as NumPy 2 does; Python numbers take the dtype of the other operand.
The functions of a float turn integers and bools into floats first (float32 for dtypes of at most 16 bits).
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UserTypeError, UserValueError
from ..graph import Constant, Variable, describe
from ..ops import elementwise as rows
from ..ops.base import Op, is_float
from .types import as_operands, as_tensor_variable, check_dtype

Unary = Callable[[Any], Variable]
Binary = Callable[[Any, Any], Variable]

# Up to here a constant exponent becomes a chain of products.
_LARGEST_CHAIN = 8


def _unary(row: Op, meaning: str) -> Unary:
    def function(x: Any) -> Variable:
        return row(as_tensor_variable(x))

    return _named(function, row.name, f"{meaning}, elementwise.")


def _binary(row: Op, meaning: str) -> Binary:
    def function(x: Any, y: Any) -> Variable:
        return row(*as_operands(x, y))

    return _named(function, row.name, f"{meaning}, elementwise with broadcasting.")


def _many(row: Op, meaning: str) -> Callable[..., Variable]:
    def function(x: Any, y: Any, *more: Any) -> Variable:
        result = row(*as_operands(x, y))
        for other in more:
            result = row(*as_operands(result, other))
        return result

    return _named(function, row.name, f"{meaning} of two or more operands, elementwise with broadcasting.")


def _rounding(row: Op, meaning: str) -> Unary:
    def function(x: Any) -> Variable:
        x = as_tensor_variable(x)
        return row(x) if is_float(x.dtype) else x

    return _named(function, row.name, f"{meaning}, elementwise; integers stay as they are.")


def _named(function: Any, name: str, text: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


# Arithmetic.

add = _many(rows.add, "The sum")
sub = _binary(rows.sub, "x - y")
mul = _many(rows.mul, "The product")
true_div = _binary(rows.true_div, "x / y, a float")
int_div = _binary(rows.floor_divide, "⌊x / y⌋; integers divided by zero give 0")
mod = _binary(rows.mod, "The remainder of x // y, with the sign of y; integers modulo zero give 0")
neg = _unary(rows.neg, "-x")
maximum = _binary(rows.maximum, "The larger of x and y, NaN if either is; equal operands share the gradient")
minimum = _binary(rows.minimum, "The smaller of x and y, NaN if either is; equal operands share the gradient")
arctan2 = _binary(rows.arctan2, "The angle of the point (y, x) = (first, second), in radians")
sgn = _unary(rows.sign, "-1, 0 or 1 by sign")


def abs(x: Any) -> Variable:
    """|x|, elementwise."""
    x = as_tensor_variable(x)
    return x if x.dtype == "bool" or x.dtype.startswith("u") else rows.abs(x)


def sqr(x: Any) -> Variable:
    """x², elementwise."""
    x = as_tensor_variable(x)
    return rows.mul(x, x)


def reciprocal(x: Any) -> Variable:
    """1 / x, elementwise, a float."""
    return true_div(1, as_tensor_variable(x))


def pow(x: Any, y: Any) -> Variable:
    """x ** y, elementwise with broadcasting.

    A constant integer exponent up to 8 becomes products, 0.5 a square root.  Integers to a negative power
    give the truncated inverse when the exponent is not known before running, and UserValueError when it is.
    """
    x, y = as_operands(x, y)
    dtype = rows.ufunc_dtypes(np.power)((x.dtype, y.dtype))[1]
    if isinstance(y, Constant):
        if not is_float(dtype) and np.any(y.data < 0):
            raise UserValueError(
                f"pow: integer '{describe(x)}' to the negative power {describe(y)}; cast it to a float first"
            )
        if y.ndim == 0:
            made = _constant_power(rows.to_dtype(x, dtype), float(y.data))
            if made is not None:
                return made
    return rows.pow(x, y)


def _constant_power(x: Variable, exponent: float) -> Variable | None:
    if exponent == 0.5 and is_float(x.dtype):
        return rows.sqrt(x)
    count = builtins.abs(exponent)
    if not 1 <= count <= _LARGEST_CHAIN or count != int(count):
        return None
    chain = _product_chain(x, int(count))
    return true_div(1, chain) if exponent < 0 else chain


def _product_chain(x: Variable, count: int) -> Variable:
    if count == 1:
        return x
    half = _product_chain(x, count // 2)
    square = rows.mul(half, half)
    return rows.mul(square, x) if count % 2 else square


# Comparisons, logic and bits.


def _comparison(row: Op, meaning: str, negative_first: bool) -> Binary:
    def function(x: Any, y: Any) -> Variable:
        x, y = as_operands(x, y)
        signed = [v.dtype.startswith("int") for v in (x, y)]
        if "uint64" in (x.dtype, y.dtype) and builtins.any(signed):
            return _mixed_signs(row, x, y, signed[0], negative_first)
        return row(x, y)

    return _named(function, row.name, f"x {meaning} y as bool, elementwise with broadcasting.")


def _mixed_signs(row: Op, x: Variable, y: Variable, first: bool, negative_first: bool) -> Variable:
    """int64 against uint64, exactly: no common dtype holds both.  `negative_first`: row(-1, 0)."""
    same = row(rows.to_dtype(x, "uint64"), rows.to_dtype(y, "uint64"))
    negative = rows.lt(*as_operands(x if first else y, 0))
    # eq and ne do not care which side is negative, the others do.
    outcome = negative_first if first or row in (rows.eq, rows.ne) else not negative_first
    return rows.logical_or(negative, same) if outcome else rows.logical_and(rows.logical_not(negative), same)


eq = _comparison(rows.eq, "==", False)
neq = _comparison(rows.ne, "!=", True)
lt = _comparison(rows.lt, "<", True)
le = _comparison(rows.le, "<=", True)
gt = _comparison(rows.gt, ">", False)
ge = _comparison(rows.ge, ">=", False)

logical_and = _binary(rows.logical_and, "Whether both x and y are nonzero")
logical_or = _binary(rows.logical_or, "Whether x or y is nonzero")
logical_xor = _binary(rows.logical_xor, "Whether just one of x and y is nonzero")
logical_not = _unary(rows.logical_not, "Whether x is zero")
and_ = _many(rows.bitwise_and, "The bitwise and")
or_ = _many(rows.bitwise_or, "The bitwise or")
xor = _many(rows.bitwise_xor, "The bitwise exclusive or")
left_shift = _binary(rows.left_shift, "x · 2**y on integers; 0 from the width of the dtype on")
right_shift = _binary(rows.right_shift, "x // 2**y on integers")


def invert(x: Any) -> Variable:
    """The bits of an integer flipped, or the opposite of a bool, elementwise."""
    x = as_tensor_variable(x)
    if x.dtype == "bool":
        return rows.logical_not(x)
    if is_float(x.dtype):
        raise UserTypeError(f"invert: '{describe(x)}' is {x.dtype}, expected an integer or bool dtype")
    ones = np.iinfo(x.dtype).max if x.dtype.startswith("u") else -1
    return rows.bitwise_xor(x, Constant(np.asarray(ones, x.dtype)))


def isnan(x: Any) -> Variable:
    """Whether x is NaN, elementwise."""
    return rows.isnan(as_tensor_variable(x))


def isinf(x: Any) -> Variable:
    """Whether x is ±∞, elementwise."""
    return eq(abs(_as_float(x)), math.inf)


def isfinite(x: Any) -> Variable:
    """Whether x is neither ±∞ nor NaN, elementwise."""
    return lt(abs(_as_float(x)), math.inf)


def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Variable:
    """Whether |x - y| <= atol + rtol·|y|, or x == y, elementwise (numpy.isclose)."""
    x, y = as_operands(x, y)
    near = logical_and(isfinite(y), le(abs(_as_float(x) - y), atol + rtol * abs(y)))
    close = logical_or(eq(x, y), near)
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


def _as_float(x: Any) -> Variable:
    x = as_tensor_variable(x)
    return x if is_float(x.dtype) else rows.to_dtype(x, "float64")


# Functions of a float.

sqrt = _unary(rows.sqrt, "√x, NaN for x < 0")
exp = _unary(rows.exp, "e**x")
exp2 = _unary(rows.exp2, "2**x")
expm1 = _unary(rows.expm1, "e**x - 1, accurate near 0")
log = _unary(rows.log, "The natural logarithm")
log2 = _unary(rows.log2, "The logarithm of base 2")
log10 = _unary(rows.log10, "The logarithm of base 10")
log1p = _unary(rows.log1p, "log(1 + x), accurate near 0")
sin = _unary(rows.sin, "The sine of an angle in radians")
cos = _unary(rows.cos, "The cosine of an angle in radians")
tan = _unary(rows.tan, "The tangent of an angle in radians")
arcsin = _unary(rows.arcsin, "The arcsine in radians, NaN outside [-1, 1]")
arccos = _unary(rows.arccos, "The arccosine in radians, NaN outside [-1, 1]")
arctan = _unary(rows.arctan, "The arctangent in radians")
sinh = _unary(rows.sinh, "The hyperbolic sine")
cosh = _unary(rows.cosh, "The hyperbolic cosine")
tanh = _unary(rows.tanh, "The hyperbolic tangent")
arcsinh = _unary(rows.arcsinh, "The inverse hyperbolic sine")
arccosh = _unary(rows.arccosh, "The inverse hyperbolic cosine, NaN for x < 1")
arctanh = _unary(rows.arctanh, "The inverse hyperbolic tangent, NaN outside [-1, 1]")
erf = _unary(rows.erf, "The error function")
erfc = _unary(rows.erfc, "1 - erf(x), accurate for large x")
gamma = _unary(rows.gamma, "The gamma function")
gammaln = _unary(rows.gammaln, "log |Γ(x)|")
psi = _unary(rows.psi, "The digamma function Γ'(x) / Γ(x)")
tri_gamma = _unary(rows.tri_gamma, "The trigamma function, the derivative of psi")
ceil = _rounding(rows.ceil, "The smallest integer not below x, in the dtype of x")
floor = _rounding(rows.floor, "The largest integer not above x, in the dtype of x")
trunc = _rounding(rows.trunc, "x without its fraction, in the dtype of x")


def round(x: Any, mode: str = "half_to_even") -> Variable:
    """The nearest integer, in the dtype of x, elementwise; integers stay as they are.

    `mode` says where a half goes: "half_to_even" (as NumPy) or "half_away_from_zero".
    """
    x = as_tensor_variable(x)
    if mode not in ("half_to_even", "half_away_from_zero"):
        raise UserValueError(f"round: mode {mode!r}, expected 'half_to_even' or 'half_away_from_zero'")
    if not is_float(x.dtype):
        return x
    if mode == "half_to_even":
        return rows.round(x)
    whole = rows.trunc(x)
    return switch(ge(abs(x - whole), 0.5), whole + rows.sign(x), whole)


def deg2rad(x: Any) -> Variable:
    """Degrees to radians, elementwise."""
    return mul(_as_float(x), math.pi / 180)


def rad2deg(x: Any) -> Variable:
    """Radians to degrees, elementwise."""
    return mul(_as_float(x), 180 / math.pi)


def hypot(x: Any, y: Any) -> Variable:
    """√(x² + y²) without overflow, elementwise with broadcasting; its gradient at (0, 0) is 0."""
    x, y = (abs(_as_float(v)) for v in as_operands(x, y))
    high, low = maximum(x, y), minimum(x, y)
    ratio = switch(isinf(high), 0, low / switch(eq(high, 0), 1, high))
    return high * sqrt(1 + ratio * ratio)


def copysign(x: Any, y: Any) -> Variable:
    """|x| with the sign of y, that of -0.0 too, elementwise with broadcasting; nothing flows to y."""
    x, y = (_as_float(v) for v in as_operands(x, y))
    size = abs(x)
    return switch(lt(switch(eq(y, 0), 1 / y, y), 0), -size, size)


def logaddexp(x: Any, y: Any) -> Variable:
    """log(eˣ + eʸ) without overflow, elementwise with broadcasting."""
    x, y = as_operands(x, y)
    larger = gt(x, y)
    high, low = switch(larger, x, y), switch(larger, y, x)
    # Infinities of one sign have no difference.
    difference = switch(isinf(high), -math.inf, low - high)
    return high + log1p(exp(difference))


# Conversion and choice.


def cast(x: Any, dtype: Any) -> Variable:
    """`x` in another dtype ("floatX" is config.floatX); floats lose their fraction on the way to integers."""
    return rows.to_dtype(as_tensor_variable(x), check_dtype(dtype))


def switch(condition: Any, yes: Any, no: Any) -> Variable:
    """`yes` where the condition is nonzero, else `no`, elementwise with broadcasting.

    Both are computed; see ifelse for a choice of what to compute.
    """
    return rows.switch(as_tensor_variable(condition), *as_operands(yes, no))


def where(condition: Any, x: Any, y: Any) -> Variable:
    """The same as switch, under NumPy's name."""
    return switch(condition, x, y)


def clip(x: Any, min: Any, max: Any) -> Variable:
    """`x` limited to [min, max], elementwise with broadcasting; None is no limit.

    At a limit the gradient is shared between x and the limit, as in maximum and minimum.
    """
    result = as_tensor_variable(x)
    if min is not None:
        result = maximum(result, min)
    if max is not None:
        result = minimum(result, max)
    return result


# Other names of the same functions: NumPy's and Theano's.
abs_ = abs
absolute = abs
sign = sgn
square = sqr
power = pow
negative = neg
subtract = sub
multiply = mul
divide = true_div
floor_divide = floor_div = int_div
remainder = mod
not_equal = ne = neq
equal = eq
less = lt
less_equal = le
greater = gt
greater_equal = ge
bitwise_and = and_
bitwise_or = or_
bitwise_xor = xor
bitwise_not = invert
asin, acos, atan, atan2 = arcsin, arccos, arctan, arctan2
asinh, acosh, atanh = arcsinh, arccosh, arctanh
digamma = psi
lgamma = gammaln

__all__ = [
    "abs",
    "abs_",
    "absolute",
    "acos",
    "acosh",
    "add",
    "and_",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cast",
    "ceil",
    "clip",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "digamma",
    "divide",
    "eq",
    "equal",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "floor_div",
    "floor_divide",
    "gamma",
    "gammaln",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "hypot",
    "int_div",
    "invert",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "left_shift",
    "less",
    "less_equal",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mod",
    "mul",
    "multiply",
    "ne",
    "neg",
    "negative",
    "neq",
    "not_equal",
    "or_",
    "pow",
    "power",
    "psi",
    "rad2deg",
    "reciprocal",
    "remainder",
    "right_shift",
    "round",
    "sgn",
    "sign",
    "sin",
    "sinh",
    "sqr",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "switch",
    "tan",
    "tanh",
    "tri_gamma",
    "true_div",
    "trunc",
    "where",
    "xor",
]  # fmt: skip
