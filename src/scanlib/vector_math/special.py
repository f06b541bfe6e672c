"""erf, erfc, gamma, gammaln, psi and trigamma; float32 of the gamma family works in float64.

The gamma family is free of branches for positive arguments; negative ones go through a reflection out of
line (`Body.rare`), so that a loop over positive data vectorises and never computes sin(pi x).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scanlib.vector_math import coefficients as c
from scanlib.vector_math.builder import Body, Value
from scanlib.vector_math.exponential import exp_of_sum, log_pair, log_parts, log_sum, low
from scanlib.vector_math.trigonometric import finish

INF, NAN = math.inf, math.nan
HALF_LOG_2PI = (0.9189385332046728, -3.8782941580672414e-17)
PI = (3.141592653589793, 1.2246467991473532e-16)
FAR = 8.0  # from here on the asymptotic series
TINY = -(2.0**-60)  # from here to 0 the pole alone counts, and products with x could underflow
STEPS = 6  # recurrence steps from FAR down to the interval of the polynomial


def erfc_positive(b: Body, size: Value) -> Value:
    """exp(-x**2) P((x-4)/(x+4)) / (1 + 2x): one polynomial for the whole half line.

    The form is that of M. Shepherd and J. Laframboise, Math. Comp. 36 (1981) 249-253; coefficients are ours.
    """
    precision = size.type.bits
    size = low(b, size, 28.0 if precision == 64 else 11.0)
    t = (size - 4.0) / (size + 4.0)
    scaled = sharp(b, t, c.ERFC[precision]) / b.mul_add(size, 2.0, 1.0)
    square = size * size
    lost = b.fma(size, size, -square)
    return exp_of_sum(b, -square, -lost) * scaled


def erfc(b: Body, x: Value) -> Value:
    size = x.abs()
    far = erfc_positive(b, size)
    far = x.lt(0.0).where(2.0 - far, far)
    inner = low(b, size, 0.5).copysign(x)
    near = (1.0 - inner) - inner * b.polynomial(inner * inner, c.ERF[x.type.bits])
    return size.lt(0.5).where(near, far)


def erf(b: Body, x: Value) -> Value:
    size = x.abs()
    bounded = low(b, size, 1.0)
    near = b.mul_add(bounded, b.polynomial(bounded * bounded, c.ERF[x.type.bits]), bounded)
    return size.lt(1.0).where(near, 1.0 - erfc_positive(b, size)).copysign(x)


def in_double(b: Body, x: Value, function: Callable[[Body, Value], Value]) -> Value:
    return function(b, x.convert("fpext", x.type.wide())).convert("fptrunc", x.type)


def half_turns(b: Body, x: Value) -> tuple[Value, Value, Value]:
    """pi x as a trigonometric reduction: quadrant, r and rest; multiples of 1/2 are taken off x exactly."""
    x = x - (x * 0.5).unary("rint") * 2.0
    count = (x + x).unary("rint")
    r = x - count * 0.5
    top = r * PI[0]
    quadrant = (count + 1.5 * 2.0**52).as_bits()
    return quadrant, top, b.mul_add(r, PI[1], b.fma(r, PI[0], -top))


def descend(b: Body, x: Value) -> tuple[Value, Value, Value, Value]:
    """For 0 < x < FAR: |y| <= 1/2 with gamma(x) = gamma(2 + y) * product, or / product where `below`."""
    whole = x.unary("rint")
    below = whole.lt(1.5)
    product = whole.lt(0.5).where(x * (x + 1.0), below.where(x, 1.0))
    for step in range(1, STEPS + 1):
        product = whole.gt(step + 1.5).where(product * (x - float(step)), product)
    return x - whole, product, below, whole


def sharp(b: Body, x: Value, coefficients: tuple[float, ...]) -> Value:
    """A polynomial whose last step is Horner's: one rounding fewer than Estrin's scheme."""
    return b.mul_add(x, b.polynomial(x, coefficients[1:]), coefficients[0])


def stirling(b: Body, x: Value, inverse: Value) -> Value:
    z = inverse * inverse
    return b.polynomial(z, c.STIRLING[64]) * inverse


def gammaln_positive(b: Body, x: Value) -> Value:
    far = x.ge(FAR)
    y, product, below, _ = descend(b, far.where(1.0, x))
    top, rest = log_pair(b, far.where(x, product))
    linear = y * c.ONE_LESS_EULER[0]
    linear_low = b.mul_add(y, c.ONE_LESS_EULER[1], b.fma(y, c.ONE_LESS_EULER[0], -linear))
    series_low = b.mul_add(y * y, b.polynomial(y, c.LGAMMA2[64]), linear_low)
    top_near, rest_near = below.where(-top, top), below.where(-rest, rest)
    near = add_small(top_near, linear, rest_near + series_low)
    # (x - 1/2)(log x - 1) + (log(2 pi) - 1)/2 + S(1/x): less cancels than in the usual arrangement
    less, factor = top - 1.0, x - 0.5
    head = factor * less
    lost = b.mul_add(factor, rest + ((top - less) - 1.0), b.fma(factor, less, -head))
    outer = head + (lost + (stirling(b, x, 1.0 / x) + (HALF_LOG_2PI[0] - 0.5)))
    outer = x.lt(1e306).where(outer, x.lt(2.6e305).where(outer, head))  # `lost` is NaN once `head` overflows
    return far.where(outer, near)


def add_small(x: Value, y: Value, rest: Value) -> Value:
    """x + y + rest with the rounding of x + y kept, whichever is larger."""
    total = x + y
    back = total - x
    return total + (((x - (total - back)) + (y - back)) + rest)


def gammaln(b: Body, x: Value) -> Value:
    """log |gamma(x)|; inf at the poles, and -inf at -inf as SciPy."""
    if x.type.bits == 32:
        return in_double(b, x, gammaln)
    size = x.abs()
    y = gammaln_positive(b, size)
    y = x.eq(0.0).where(INF, size.eq(INF).where(x, y))
    return b.rare(x.lt(0.0), "gammaln_reflected", (x, y), y)


def gammaln_reflected(b: Body, x: Value, at_size: Value) -> Value:
    """-log(|x sin(pi x)| / pi) - gammaln(-x) for x < 0, given gammaln(-x)."""
    sine = finish(b, "sin", half_turns(b, x)).abs() * (1 / PI[0])
    top, rest = log_pair(b, sine * -x)
    y = -add_small(top, at_size, rest)
    y = x.gt(TINY).where(at_size, y)
    y = x.unary("floor").eq(x).where(INF, y)
    return x.eq(-INF).where(x, y)


def gamma_exponent(b: Body, x: Value) -> tuple[Value, Value]:
    """log(gamma(x)) for FAR <= x < 200 in two parts."""
    top, rest = log_pair(b, x)
    factor = x - 0.5
    head = factor * top
    head_low = b.mul_add(factor, rest, b.fma(factor, top, -head))
    total = head - x
    lost = (head - total) - x  # head > x
    small = HALF_LOG_2PI[0] + stirling(b, x, 1.0 / x)
    result = total + small
    return result, ((total - result) + small) + (lost + head_low)


def gamma_positive(b: Body, x: Value, far: Value) -> Value:
    y, product, below, _ = descend(b, far.where(1.0, x))
    value = 1.0 + y * sharp(b, y, c.GAMMA2[64])
    return below.where(value / product, value * product)


def gamma(b: Body, x: Value) -> Value:
    """NaN at the negative integers and -inf, ±inf at ±0."""
    if x.type.bits == 32:
        return in_double(b, x, gamma)
    size = x.abs()
    far = size.ge(FAR)
    exponent, rest = gamma_exponent(b, low(b, far.where(size, FAR), 180.0))
    y = far.where(exp_of_sum(b, exponent, rest), gamma_positive(b, size, far))
    y = x.eq(0.0).where(1.0 / x, y)
    y = x.ne(x).where(x, y)
    return b.rare(x.lt(0.0), "gamma_reflected", (x, y), y)


def gamma_reflected(b: Body, x: Value, at_size: Value) -> Value:
    """-pi / (x sin(pi x) gamma(-x)) for x < 0, given gamma(-x); as in SciPy 0 once that overflows."""
    sine = finish(b, "sin", half_turns(b, x))
    y = PI[0] / (sine * -x) / at_size
    y = x.gt(TINY).where(1.0 / x, y)
    return x.unary("floor").eq(x).where(NAN, y)


def psi_positive(b: Body, x: Value) -> Value:
    """Recurrence into [1, 2], where (x - root) P(x) keeps relative accuracy; asymptotic from FAR on."""
    far = x.ge(FAR)
    bounded = far.where(1.0, x)
    whole = bounded.unary("floor")
    below = whole.lt(0.5)
    numerator, denominator = below.where(x._lift(-1.0), 0.0), below.where(bounded, 1.0)
    for step in range(1, STEPS + 1):
        factor = bounded - float(step)
        taken = whole.gt(step + 0.5)
        numerator = taken.where(b.mul_add(numerator, factor, denominator), numerator)
        denominator = taken.where(denominator * factor, denominator)
    u = bounded - (whole - 1.0)
    series = sharp(b, u - 1.5, c.PSI[64])
    inverse = 1.0 / far.where(x, denominator)
    near = b.mul_add((u - c.PSI_ROOT[0]) - c.PSI_ROOT[1], series, numerator * inverse)
    k, f = log_parts(b, far.where(x, FAR))
    outer = log_sum(b, k, f) - inverse * b.mul_add(
        inverse, b.polynomial(inverse * inverse, c.PSI_FAR[64]), 0.5
    )
    return far.where(outer, near)


def psi(b: Body, x: Value) -> Value:
    """The digamma function; NaN at the negative integers and -inf, ∓inf at ±0."""
    if x.type.bits == 32:
        return in_double(b, x, psi)
    y = psi_positive(b, x.abs())
    y = x.eq(0.0).where((-x._lift(INF)).copysign(-x), x.eq(INF).where(INF, x.ne(x).where(x, y)))
    return b.rare(x.lt(0.0), "psi_reflected", (x, y), y)


def psi_reflected(b: Body, x: Value, at_size: Value) -> Value:
    """psi(-x) - 1/x - pi / tan(pi x) for x < 0; the cotangent is the tangent a quarter turn on, negated."""
    quadrant, r, rest = half_turns(b, x)
    minus_cotangent = finish(b, "tan", (quadrant + 1, r, rest))
    y = b.mul_add(minus_cotangent, PI[0], at_size - 1.0 / x)
    y = x.gt(TINY).where(-1.0 / x, y)
    return x.unary("floor").eq(x).where(NAN, y)


def trigamma_positive(b: Body, x: Value) -> Value:
    """Shifted by 8 below FAR: all terms are positive, nothing cancels."""
    far = x.ge(FAR)
    bounded = far.where(1.0, x)
    total = x._lift(0.0)
    for step in (6, 4, 2):
        first, second = bounded + float(step), bounded + float(step + 1)
        first, second = first * first, second * second
        total = total + (first + second) / (first * second)
    next_one = bounded + 1.0
    total = total + 1.0 / (next_one * next_one)
    moved = far.where(x, bounded + FAR)
    inverse = 1.0 / moved
    z = inverse * inverse
    outer = inverse + z * b.mul_add(inverse, b.polynomial(z, c.TRIGAMMA_FAR[64]), 0.5)
    own = 1.0 / bounded
    return far.where(outer, b.mul_add(own, own, total + outer))


def trigamma(b: Body, x: Value) -> Value:
    """The derivative of psi; inf at the poles."""
    if x.type.bits == 32:
        return in_double(b, x, trigamma)
    y = x.ne(x).where(x, trigamma_positive(b, x.abs()))
    return b.rare(x.lt(0.0), "trigamma_reflected", (x, y), y)


def trigamma_reflected(b: Body, x: Value, at_size: Value) -> Value:
    """(pi / sin(pi x))**2 + 1/x**2 - trigamma(-x) for x < 0, given trigamma(-x); inf at -inf as SciPy."""
    ratio = PI[0] / finish(b, "sin", half_turns(b, x))
    inverse = 1.0 / x
    y = b.mul_add(ratio, ratio, b.mul_add(inverse, inverse, -at_size))
    y = x.gt(TINY).where(at_size, y)
    y = x.unary("floor").eq(x).where(INF, y)
    return x.eq(-INF).where(INF, y)
