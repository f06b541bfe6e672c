"""exp, log and their relatives (expm1, exp2, log1p, log2, log10, pow, logaddexp), and their common cores."""

from __future__ import annotations

import math

from scanlib.vector_math import coefficients as c
from scanlib.vector_math.builder import Body, Type, Value

INF, NAN = math.inf, math.nan
LN2 = math.log(2)
# ln 2, log10(2), 1/ln 2 and 1/ln 10 as unevaluated sums.  The high part of the first two leaves enough zero
# bits that its product with an exponent is exact: 41 bits for float64, 15 for float32.
LN2_PARTS = {64: (0.693147180559663, 2.8235290563031577e-13), 32: (0.693145751953125, 1.4286068203094173e-06)}
LOG10_2_PARTS = {64: (0.30102999566383914, 1.42050232272661e-13), 32: (0.301025390625, 4.605038981195214e-06)}
INVERSE_LN2 = {
    64: (1.4426950408889634, 2.0355273740931033e-17),
    32: (1.4426950216293335, 1.9259629911266175e-08),
}
INVERSE_LN10 = {
    64: (0.4342944819032518, 1.098319650216765e-17),
    32: (0.4342944920063019, -1.0103050052231683e-08),
}


def magic(type: Type) -> float:
    """Adding it rounds to an integer, which then stands in the low bits; needs no rounding instruction."""
    return 1.5 * 2.0**type.mantissa


def magic_bits(type: Type) -> int:
    return ((type.bias + type.mantissa) << type.mantissa) + (1 << (type.mantissa - 1))


def low(b: Body, x: Value, limit: float) -> Value:
    """min(x, limit), NaN kept."""
    return x.gt(limit).where(limit, x)


def high(b: Body, x: Value, limit: float) -> Value:
    return x.lt(limit).where(limit, x)


def power_of_two(rounded: Value, extra: int) -> Value:
    """2**(n + extra), a normal number, from rounded = n + magic."""
    type = rounded.type
    biased = rounded.as_bits() + (type.bias + extra - magic_bits(type))
    return (biased << type.mantissa).as_float()


def scale(value: Value, rounded: Value) -> Value:
    """value * 2**n in two halves, so that overflow and gradual underflow are rounded once."""
    type = rounded.type
    total = rounded.as_bits() + (2 * type.bias - magic_bits(type))
    first = total >> 1
    second = total - first
    return value * (first << type.mantissa).as_float() * (second << type.mantissa).as_float()


def reduce_exp(b: Body, x: Value) -> tuple[Value, Value]:
    """x = n ln 2 + r; returns n + magic and r."""
    rounded, r, _ = reduce_exp_pair(b, x)
    return rounded, r


def reduce_exp_pair(b: Body, x: Value) -> tuple[Value, Value, Value]:
    """As reduce_exp, with what was lost in rounding r (dead code where unused)."""
    type = x.type
    rounded = b.mul_add(x, 1 / LN2, magic(type))
    n = rounded - magic(type)
    ln2_high, ln2_low = LN2_PARTS[type.bits]
    exact = b.mul_add(n, -ln2_high, x)
    r = b.mul_add(n, -ln2_low, exact)
    return rounded, r, b.mul_add(n, -ln2_low, exact - r)


def expm1_small(b: Body, r: Value, precision: int = 0) -> Value:
    """e**r - 1 for |r| <= ln(2)/2."""
    return b.mul_add(r * r, b.polynomial(r, c.EXP[precision or r.type.bits]), r)


def exp_limits(type: Type) -> tuple[float, float]:
    return (-746.0, 710.0) if type.bits == 64 else (-104.0, 89.0)


def exp(b: Body, x: Value) -> Value:
    lowest, highest = exp_limits(x.type)
    rounded, r = reduce_exp(b, high(b, low(b, x, highest), lowest))
    return scale(expm1_small(b, r) + 1.0, rounded)


def exp_of_sum(b: Body, x: Value, rest: Value) -> Value:
    """exp(x + rest), |rest| about an ulp of x."""
    lowest, highest = exp_limits(x.type)
    rest = x.abs().lt(1000.0).where(rest, 0.0)  # of no use beyond, where an ulp may exceed 1
    clamped = high(b, low(b, x, highest), lowest)
    rounded, r = reduce_exp(b, clamped)
    p = expm1_small(b, r)
    return scale(b.mul_add(p, rest, p + rest) + 1.0, rounded)


def exp2(b: Body, x: Value) -> Value:
    type = x.type
    lowest, highest = (-1080.0, 1024.0) if type.bits == 64 else (-152.0, 128.0)
    x = high(b, low(b, x, highest), lowest)
    rounded = x + magic(type)
    r = x - (rounded - magic(type))
    return scale(b.mul_add(r, b.polynomial(r, c.EXP2[type.bits]), b.constant(type, 1.0)), rounded)


def expm1(b: Body, x: Value) -> Value:
    """(2**n - 1) + 2**n r + 2**n (what e**r - 1 has beyond r), smallest last: about one rounding in all."""
    type = x.type
    bounded = high(b, low(b, x, exp_limits(type)[1]), -40.0 if type.bits == 64 else -20.0)
    rounded, r, lost = reduce_exp_pair(b, bounded)
    half = power_of_two(rounded, -1)  # half of 2**n: 2**1024 is not a number
    tail = b.mul_add(r * r, b.polynomial(r, c.EXP[type.bits]), lost)
    y = b.mul_add(tail, half, b.mul_add(r, half, half - 0.5)) * 2.0
    return x.abs().lt(2.0 ** -(type.mantissa + 2)).where(x, y)  # keeps -0 and every bit of subnormals


def log_parts(b: Body, x: Value) -> tuple[Value, Value]:
    """x = 2**k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), for normal positive x; returns k as a float, and f."""
    type = x.type
    root_half = 0x3FE6A09E667F3BCD if type.bits == 64 else 0x3F3504F3
    bits = x.as_bits()
    biased = (bits + ((type.bias << type.mantissa) - root_half)) >> type.mantissa
    shift = 2.0**type.mantissa
    shift_bits = (type.bias + type.mantissa) << type.mantissa
    k = (biased | shift_bits).as_float() - (shift + type.bias)
    m = (bits - (biased << type.mantissa) + (type.bias << type.mantissa)).as_float()
    return k, m - 1.0


def normal(b: Body, x: Value) -> tuple[Value, Value]:
    """Lift subnormal positive x to a normal number; returns it and the exponent to add."""
    type = x.type
    lift = type.mantissa + 2
    tiny = x.lt(2.0 ** (1 - type.bias))
    return tiny.where(x * 2.0**lift, x), tiny.where(b.constant(type, -float(lift)), 0.0)


def log_tail(b: Body, f: Value, half_square: Value) -> Value:
    """log(1 + f) - f + f*f/2; the float64 form with s = f/(2+f) is that of FreeBSD's e_log.c."""
    if f.type.bits == 32:
        return f * (f * f) * b.polynomial(f, c.LOG_F[32])
    s = f / (f + 2.0)
    z = s * s
    return s * b.mul_add(z, b.polynomial(z, c.LOG_S[64]), half_square)


def log_sum(b: Body, k: Value, f: Value, rest: Value | None = None) -> Value:
    """k ln 2 + log(1 + f) + rest, the small terms first."""
    ln2_high, ln2_low = LN2_PARTS[f.type.bits]
    half_square = f * 0.5 * f
    small = k * ln2_low if rest is None else b.mul_add(k, ln2_low, rest)
    small = log_tail(b, f, half_square) + small
    return b.mul_add(k, ln2_high, f - (half_square - small))


def log_edges(x: Value, y: Value) -> Value:
    """y, the logarithm of positive finite x, with the other cases put in."""
    y = x.gt(0.0).where(y, x.eq(0.0).where(x._lift(-INF), NAN))
    return x.eq(INF).where(INF, y)


def log(b: Body, x: Value) -> Value:
    lifted, extra = normal(b, x)
    k, f = log_parts(b, lifted)
    return log_edges(x, log_sum(b, k + extra, f))


def log1p_core(b: Body, x: Value, rest: Value | None = None, doublings: Value | None = None) -> Value:
    """log(1 + x + rest) + doublings ln 2 for finite x > -1, with |rest| below an ulp of x."""
    u = x + 1.0
    k, f = log_parts(b, u)
    lost = x.gt(1.0).where(1.0 - (u - x), x - (u - 1.0))
    near = k.eq(0.0)
    f = near.where(x, f)  # 1 + x itself, not its rounding
    lost = near.where(0.0, lost)
    if rest is not None:
        lost = lost + rest
    return log_sum(b, k if doublings is None else k + doublings, f, lost / u)


def log1p(b: Body, x: Value) -> Value:
    y = log1p_core(b, x).copysign(x)  # also keeps -0
    y = x.gt(-1.0).where(y, x.eq(-1.0).where(x._lift(-INF), NAN))
    return x.eq(INF).where(INF, y)


def log_base(b: Body, x: Value, inverse: tuple[float, float], unit: tuple[float, float]) -> Value:
    """log(x) / log(base): the product with 1/log(base) is carried in two parts."""
    lifted, extra = normal(b, x)
    k, f = log_parts(b, lifted)
    k = k + extra
    half_square = f * 0.5 * f
    top = f - half_square
    rest = ((f - top) - half_square) + log_tail(b, f, half_square)
    product = top * inverse[0]
    lost = b.fma(top, inverse[0], -product) + b.mul_add(rest, inverse[0], top * inverse[1])
    whole = k * unit[0] if unit[0] != 1.0 else k
    total = whole + product
    lost = (whole - total) + product + lost
    if unit[1]:
        lost = b.mul_add(k, unit[1], lost)
    return log_edges(x, total + lost)


def log2(b: Body, x: Value) -> Value:
    return log_base(b, x, INVERSE_LN2[x.type.bits], (1.0, 0.0))


def log10(b: Body, x: Value) -> Value:
    return log_base(b, x, INVERSE_LN10[x.type.bits], LOG10_2_PARTS[x.type.bits])


TWO_THIRDS = (2 / 3, 3.700743415417188e-17)


def log_pair(b: Body, x: Value) -> tuple[Value, Value]:
    """log(x) of positive finite float64 x as an unevaluated sum, good to 2**-65 relative.

    2 atanh(s) with s, s**2 and the cubic term carried in two parts; from s**5 on one part is enough.
    """
    lifted, extra = normal(b, x)
    k, f = log_parts(b, lifted)
    k = k + extra
    denominator = f + 2.0
    inverse = 1.0 / denominator
    s = f * inverse
    lost = f - (denominator - 2.0)
    s_low = (b.fma(-s, denominator, f) - s * lost) * inverse
    z = s * s
    z_low = b.fma(s, s, -z) + (s + s) * s_low
    cubic = z * TWO_THIRDS[0]
    cubic_low = b.fma(z, TWO_THIRDS[0], -cubic) + b.mul_add(z_low, TWO_THIRDS[0], z * TWO_THIRDS[1])
    far = z * z * b.polynomial(z, c.LOG_DD[64])
    u = cubic + far
    u_low = ((cubic - u) + far) + cubic_low
    w = s * u
    w_low = b.fma(s, u, -w) + b.mul_add(s, u_low, s_low * u)
    twice = s + s
    near = twice + w
    near_low = ((twice - near) + w) + b.mul_add(s_low, 2.0, w_low)
    ln2_high, ln2_low = LN2_PARTS[64]
    whole = k * ln2_high
    total = whole + near
    return total, ((whole - total) + near) + b.mul_add(k, ln2_low, near_low)


def pow_single(b: Body, x: Value, y: Value) -> Value:
    """|x|**y of float32 values held in float64, where one part of the logarithm is enough."""
    k, f = log_parts(b, x.abs())
    product = y * log_sum(b, k, f)
    rounded, r = reduce_exp(b, high(b, low(b, product, 90.0), -105.0))
    return b.mul_add(expm1_small(b, r, 32), power_of_two(rounded, 0), power_of_two(rounded, 0))


def pow_double(b: Body, x: Value, y: Value) -> Value:
    """|x|**y by a logarithm in two parts."""
    top, rest = log_pair(b, x.abs())
    bounded = high(
        b, low(b, y, 2.0**65), -(2.0**65)
    )  # no overflow in the product, and |x|**inf comes out right
    product = bounded * top
    lost = b.mul_add(bounded, rest, b.fma(bounded, top, -product))
    return exp_of_sum(b, product, lost)


def pow(b: Body, x: Value, y: Value) -> Value:
    """exp(y log|x|), then C's special cases; float32 works in float64."""
    if x.type.bits == 32:
        wide = x.type.wide()
        x, y = x.convert("fpext", wide), y.convert("fpext", wide)
        bounded = high(b, low(b, y, 2.0**40), -(2.0**40))
        return pow_edges(x, y, pow_single(b, x, bounded)).convert("fptrunc", wide.single())
    return pow_edges(x, y, pow_double(b, x, y))


def pow_edges(x: Value, y: Value, result: Value) -> Value:
    """`result`, |x|**y of ordinary arguments, with the sign and C's special cases put in."""
    size = x.abs()
    whole = y.unary("trunc").eq(y)
    half = y * 0.5
    odd = whole & half.unary("trunc").ne(half) & y.abs().lt(INF)
    zero, infinite = size.eq(0.0), size.eq(INF)
    limit = (zero ^ y.lt(0.0)).where(x._lift(0.0), INF)
    result = (zero | infinite).where(limit, result)
    result = odd.where(result.copysign(x), result)
    invalid = x.lt(0.0) & ~whole & ~infinite
    result = (invalid | x.ne(x) | y.ne(y)).where(NAN, result)
    return (y.eq(0.0) | x.eq(1.0)).where(1.0, result)


def logaddexp(b: Body, x: Value, y: Value) -> Value:
    top = x.gt(y).where(x, y)
    gap = -(x - y).abs()
    result = top + log1p_core(b, exp(b, gap))
    result = x.eq(y).where(x + LN2, result)  # infinities of one sign included
    return (x.ne(x) | y.ne(y)).where(x + y, result)
