"""sin, cos, tan for all finite arguments, and arcsin, arccos, arctan, arctan2.

Range reduction: up to 2**40 three-part Cody-Waite with exact products, free of branches.  Beyond, an
out-of-line Payne-Hanek reduction in integers, entered by the lanes that need it (`Body.rare`): a loop over
the scalar function still vectorises, and pays one test per lane.  No C library is needed.
"""

from __future__ import annotations

import math

from scanlib.vector_math import coefficients as c
from scanlib.vector_math.builder import Body, Type, Value
from scanlib.vector_math.exponential import magic

INF, NAN = math.inf, math.nan
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
HALF_PI_LOW = {64: 6.123233995736766e-17, 32: -4.371139000186241e-08}
HUGE = 2.0**40
TABLE = "@scanlib.two_over_pi"
TABLE_WORDS = 22


def two_over_pi_table() -> str:
    """One zero word (for bits of negative index), then the bits of 2/pi."""
    words = [(c.TWO_OVER_PI >> (64 * (TABLE_WORDS - 1 - i))) & (2**64 - 1) for i in range(TABLE_WORDS)]
    return f"{TABLE} = internal constant [{TABLE_WORDS} x i64] [{', '.join(f'i64 {w}' for w in words)}]"


def reduce_near(b: Body, x: Value) -> tuple[Value, Value, Value]:
    """x = q pi/2 + r + rest for float64 |x| <= HUGE; q's low two bits are the quadrant."""
    rounded = b.mul_add(x, 2 / math.pi, magic(x.type))
    n = rounded - magic(x.type)
    first = b.fma(-n, HALF_PI[0], x)  # exact: a multiple of 2**-52 below 2
    second = n * HALF_PI[1]
    second_low = b.fma(n, HALF_PI[1], -second)
    r = first - second
    back = r - first
    rest = (first - (r - back)) - (second + back)  # Knuth's two-sum: first may be the smaller
    return rounded.as_bits(), r, (rest - second_low) - n * HALF_PI[2]


def reduce_far(b: Body, x: Value) -> tuple[Value, Value, Value]:
    """The same for a scalar float64 beyond HUGE: mantissa times the bits of 2/pi that matter, modulo 4."""
    word, double = Type("i", 64), Type("i", 128)
    bits = x.abs().as_bits()
    exponent = (bits >> 52) & 2047
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    start = exponent - (1075 + 2) + 64  # x = mantissa 2**(exponent - 1075); bits of weight >= 4 are dropped
    index, shift = start >> 6, start & 63
    index = index.lt(TABLE_WORDS - 4).where(index, 0)  # infinity and NaN
    words = []
    for i in range(4):
        at = index + i
        pointer = b.fresh()
        b.lines.append(f"  {pointer} = getelementptr i64, ptr {TABLE}, i64 {at.ref}")
        words.append(b.emit(word, f"load i64, ptr {pointer}"))
    factors = [b.intrinsic("fshl", words[i], words[i + 1], shift) for i in range(3)]
    b.needs.add(("two_over_pi", "table"))
    wide = mantissa.convert("zext", double)
    lowest = wide * factors[2].convert("zext", double)
    total = (
        wide * factors[1].convert("zext", double)
        + (lowest >> 64)
        + (wide * (factors[0].convert("zext", double) << 64))
    )
    quadrant = (total >> 126).convert("trunc", word)
    fraction = total << 2
    negative = fraction.lt(0)  # above one half: the next quadrant, and a negative remainder
    quadrant = negative.where(quadrant + 1, quadrant)
    size = negative.where(-fraction, fraction)
    b.declares.add("declare i128 @llvm.ctlz.i128(i128, i1)")
    zeros = b.emit(double, f"call i128 @llvm.ctlz.i128(i128 {size.ref}, i1 false)")
    aligned = size << zeros
    unit = ((1023 - zeros.convert("trunc", word)) << 52).as_float()
    top = (aligned >> 75).convert("trunc", word).convert("uitofp", x.type) * 2.0**-53 * unit
    bottom = ((aligned << 53) >> 75).convert("trunc", word).convert("uitofp", x.type) * 2.0**-106 * unit
    r = top * HALF_PI[0]
    rest = b.fma(top, HALF_PI[0], -r) + b.mul_add(top, HALF_PI[1], bottom * HALF_PI[0])
    flip = negative ^ x.lt(0.0)
    finite = x.abs().lt(INF)
    quadrant = x.lt(0.0).where(-quadrant, quadrant)
    return quadrant, finite.where(flip.where(-r, r), NAN), flip.where(-rest, rest)


def sine_cosine(b: Body, r: Value, rest: Value) -> tuple[Value, Value, Value, Value]:
    """sin and cos of r + rest, |r| <= pi/4, each as leading part and small part."""
    z = r * r
    half = z * 0.5
    sine = b.mul_add(r * z, b.polynomial(z, c.SIN[64]), rest - rest * half)
    near = 1.0 - half
    lost = (1.0 - near) - half
    cosine = b.mul_add(z * z, b.polynomial(z, c.COS[64]), lost - r * rest)
    return r, sine, near, cosine


def turn(value: Value, quadrant: Value) -> Value:
    """Negate in the quadrants whose second bit is set."""
    return (value.as_bits() ^ ((quadrant & 2) << 62)).as_float()


def finish(b: Body, name: str, reduced: tuple[Value, Value, Value]) -> Value:
    quadrant, r, rest = reduced
    odd = (quadrant & 1).ne(0)
    sine, sine_low, cosine, cosine_low = sine_cosine(b, r, rest)
    if name == "sin":
        return turn(odd.where(cosine, sine) + odd.where(cosine_low, sine_low), quadrant)
    if name == "cos":
        return turn(odd.where(sine, cosine) + odd.where(sine_low, cosine_low), quadrant + 1)
    return tangent(b, odd, (sine, sine_low), (cosine, cosine_low))


def tangent(b: Body, odd: Value, sine: tuple[Value, Value], cosine: tuple[Value, Value]) -> Value:
    """sin/cos, or -cos/sin where `odd`; what the quotient and its terms lost in rounding comes last."""
    over, over_low = odd.where(-cosine[0], sine[0]), odd.where(-cosine[1], sine[1])
    under, under_low = odd.where(sine[0], cosine[0]), odd.where(sine[1], cosine[1])
    denominator = under + under_low
    under_lost = (under - denominator) + under_low
    inverse = 1.0 / denominator
    ratio = over * inverse
    lost = b.fma(-ratio, denominator, over) + b.fma(-ratio, under_lost, over_low)
    return b.mul_add(lost, inverse, ratio)


def periodic(b: Body, x: Value, name: str) -> Value:
    if x.type.bits == 32:
        wide = x.convert("fpext", x.type.wide())
        y = periodic_single(b, wide, name)
        return b.rare(wide.abs().gt(HUGE), f"{name}_far", (wide,), y).convert("fptrunc", x.type)
    y = finish(b, name, reduce_near(b, x))
    if name != "cos":
        y = x.abs().lt(2.0**-30).where(x, y)  # keeps -0
    return b.rare(x.abs().gt(HUGE), f"{name}_far", (x,), y)


def periodic_single(b: Body, x: Value, name: str) -> Value:
    """For float32 values held in float64: short polynomials, no small parts."""
    rounded = b.mul_add(x, 2 / math.pi, magic(x.type))
    n = rounded - magic(x.type)
    r = b.fma(-n, HALF_PI[1], b.fma(-n, HALF_PI[0], x))
    z = r * r
    sine = b.mul_add(r * z, b.polynomial(z, c.SIN[32]), r)
    cosine = b.mul_add(z * z, b.polynomial(z, c.COS[32]), b.mul_add(z, -0.5, b.constant(x.type, 1.0)))
    quadrant = rounded.as_bits()
    odd = (quadrant & 1).ne(0)
    if name == "cos":
        return turn(odd.where(sine, cosine), quadrant + 1)
    y = (
        turn(odd.where(cosine, sine), quadrant)
        if name == "sin"
        else odd.where(-cosine, sine) / odd.where(sine, cosine)
    )
    return x.abs().lt(2.0**-30).where(x, y)


def sin(b: Body, x: Value) -> Value:
    return periodic(b, x, "sin")


def cos(b: Body, x: Value) -> Value:
    return periodic(b, x, "cos")


def tan(b: Body, x: Value) -> Value:
    return periodic(b, x, "tan")


def sin_far(b: Body, x: Value) -> Value:
    return finish(b, "sin", reduce_far(b, x))


def cos_far(b: Body, x: Value) -> Value:
    return finish(b, "cos", reduce_far(b, x))


def tan_far(b: Body, x: Value) -> Value:
    return finish(b, "tan", reduce_far(b, x))


def arctan_unit(b: Body, t: Value) -> Value:
    """arctan(t) - t for |t| <= 1."""
    z = t * t
    return t * z * b.polynomial(z, c.ATAN[t.type.bits])


def arctan(b: Body, x: Value) -> Value:
    size = x.abs()
    far = size.gt(1.0)
    t = far.where(1.0 / size, size)
    rest = arctan_unit(b, t)
    top = HALF_PI[0] if x.type.bits == 64 else 1.5707963705062866
    outer = top - (t + (rest - HALF_PI_LOW[x.type.bits]))
    return far.where(outer, t + rest).copysign(x)


def arctan2(b: Body, y: Value, x: Value) -> Value:
    """The angle of (x, y), C's special cases: four directions each for zeros and infinities."""
    if x.type.bits == 32:
        wide = x.type.wide()
        return arctan2(b, y.convert("fpext", wide), x.convert("fpext", wide)).convert("fptrunc", x.type)
    width, height = x.abs(), y.abs()
    steep = height.gt(width)
    large, small = steep.where(height, width), steep.where(width, height)
    t = small / large
    t = large.eq(0.0).where(0.0, small.eq(INF).where(1.0, t))
    a = t + arctan_unit(b, t)
    a = steep.where(HALF_PI[0] - (a - HALF_PI[1]), a)
    left = x._lift(1.0).copysign(x).lt(0.0)
    a = left.where(2 * HALF_PI[0] - (a - 2 * HALF_PI[1]), a)
    return (x.ne(x) | y.ne(y)).where(NAN, a.copysign(y))


def arcsin_parts(b: Body, size: Value) -> tuple[Value, Value, Value]:
    """near = |x| <= 1/2; t = |x| or sqrt((1 - |x|)/2); and arcsin(t) - t."""
    near = size.le(0.5)
    z = near.where(size * size, (1.0 - size) * 0.5)
    t = near.where(size, z.unary("sqrt"))
    return near, t, t * z * b.polynomial(z, c.ASIN[size.type.bits])


def arcsin(b: Body, x: Value) -> Value:
    near, t, rest = arcsin_parts(b, x.abs())
    top = HALF_PI[0] if x.type.bits == 64 else 1.5707963705062866
    twice = t + t
    outer = top - twice
    lost = (top - outer) - twice
    far = outer + (lost - (rest + rest - HALF_PI_LOW[x.type.bits]))
    return near.where(t + rest, far).copysign(x)


def arccos(b: Body, x: Value) -> Value:
    near, t, rest = arcsin_parts(b, x.abs())
    high, lost = (HALF_PI[0] if x.type.bits == 64 else 1.5707963705062866), HALF_PI_LOW[x.type.bits]
    signed, signed_rest = t.copysign(x), rest.copysign(x)
    middle = high - (signed + (signed_rest - lost))
    outer = 2.0 * (t + rest)
    outer = x.lt(0.0).where(2 * high - (outer - 2 * lost), outer)
    return near.where(middle, outer)
