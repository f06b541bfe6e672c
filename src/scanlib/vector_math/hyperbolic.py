"""sinh, cosh, tanh and their inverses."""

from __future__ import annotations

import math

from scanlib.vector_math import coefficients as c
from scanlib.vector_math.builder import Body, Value
from scanlib.vector_math.exponential import LN2, expm1_small, log1p_core, low, magic, power_of_two, reduce_exp

INF, NAN = math.inf, math.nan


def odd_series(b: Body, x: Value, square: Value, coefficients: tuple[float, ...]) -> Value:
    """x + x**3 P(x**2)."""
    return b.mul_add(x * square, b.polynomial(square, coefficients), x)


def tanh(b: Body, x: Value) -> Value:
    """t / (t + 2), t = e**(2|x|) - 1: nothing cancels.

    What the one-step reduction of 2|x| loses grows with |x|, but the quotient flattens faster.
    """
    type = x.type
    size = low(b, x.abs(), 20.0 if type.bits == 64 else 10.0)
    twice = size + size
    rounded = b.mul_add(twice, 1 / LN2, magic(type))
    power = power_of_two(rounded, 0)
    r = b.mul_add(rounded - magic(type), -LN2, twice)
    t = b.mul_add(expm1_small(b, r), power, power - 1.0)
    return (t / (t + 2.0)).copysign(x)


def quarter_exp(b: Body, size: Value) -> Value:
    """e**size/4 for size up to just past the overflow of sinh and cosh; in quarters nothing overflows."""
    rounded, r = reduce_exp(b, low(b, size, 710.6 if size.type.bits == 64 else 89.5))
    power = power_of_two(rounded, -2)
    return b.mul_add(expm1_small(b, r), power, power)


def sinh(b: Body, x: Value) -> Value:
    size = x.abs()
    whole = quarter_exp(b, size)
    far = (whole - 0.0625 / whole) * 2.0
    bounded = low(b, size, 1.0)
    near = odd_series(b, bounded, bounded * bounded, c.SINH[x.type.bits])
    return size.lt(1.0).where(near, far).copysign(x)


def cosh(b: Body, x: Value) -> Value:
    whole = quarter_exp(b, x.abs())
    return (whole + 0.0625 / whole) * 2.0


def arcsinh(b: Body, x: Value) -> Value:
    """log1p(w), w = |x| + x**2/(1 + sqrt(1 + x**2)); far out log(|x|) + ln 2."""
    size = x.abs()
    far = size.gt(2.0 ** (x.type.mantissa // 2 + 3))
    near = far.where(1.0, size)
    square = near * near
    extra = square / ((square + 1.0).unary("sqrt") + 1.0)
    w = near + extra
    lost = (near - w) + extra
    w = far.where(size, w)
    lost = far.where(-1.0, lost)  # log(w), not log(1 + w)
    y = log1p_core(b, w, lost, far.where(x._lift(1.0), 0.0))
    y = size.lt(INF).where(y, size)
    return y.copysign(x)


def arccosh(b: Body, x: Value) -> Value:
    """log1p(w), w = t + sqrt(t**2 + 2t), t = x - 1."""
    far = x.gt(2.0 ** (x.type.mantissa // 2 + 3))
    t = far.where(1.0, x) - 1.0
    root = b.mul_add(t, t, t + t).unary("sqrt")
    small, large = t.lt(root).where(t, root), t.lt(root).where(root, t)
    w = t + root
    lost = (large - w) + small
    w = far.where(x, w)
    lost = far.where(-1.0, lost)  # log(w), not log(1 + w)
    y = log1p_core(b, w, lost, far.where(x._lift(1.0), 0.0))
    y = x.lt(INF).where(y, x)
    return x.ge(1.0).where(y, NAN)


def arctanh(b: Body, x: Value) -> Value:
    """log1p(2|x| / (1 - |x|)) / 2, with the rounding of the quotient carried along."""
    size = x.abs()
    inverse = 1.0 / (1.0 - size)
    below = 1.0 - size
    below_lost = (1.0 - below) - size
    twice = size + size
    w = twice * inverse
    lost = (b.fma(-w, below, twice) - w * below_lost) * inverse
    y = log1p_core(b, w, lost) * 0.5
    y = size.lt(2.0 ** -(x.type.mantissa // 2 + 2)).where(size, y)
    y = size.lt(1.0).where(y, size.eq(1.0).where(x._lift(INF), NAN))
    return y.copysign(x)
