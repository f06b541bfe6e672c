"""Helpers with NumPy's semantics: floordiv, mod, intpow, sign, maximum, minimum, shifts, casts."""

from __future__ import annotations

import math
from dataclasses import replace

from scanlib.vector_math.builder import Body, Type, Value

INF, NAN = math.inf, math.nan


def safe_divisor(x: Value, y: Value) -> tuple[Value, Value]:
    """A divisor the hardware accepts (1 for 0 and for -1, whose quotient may overflow), and where y is -1."""
    zero = y.eq(0)
    if x.type.kind == "u":
        return zero.where(1, y), zero & zero._lift(0)
    minus = y.eq(-1)
    return (zero | minus).where(1, y), minus


def floordiv(b: Body, x: Value, y: Value) -> Value:
    """Rounds towards minus infinity; x // 0 is 0 and INT_MIN // -1 is INT_MIN for integers."""
    if x.type.kind == "f":
        return float_floordiv(b, x, y)
    divisor, minus = safe_divisor(x, y)
    quotient = x.divide(divisor)
    if x.type.kind == "i":
        rest = x - quotient * divisor
        down = rest.ne(0) & (rest ^ divisor).lt(0)
        quotient = down.where(quotient - 1, quotient)
        quotient = minus.where(-x, quotient)
    return y.eq(0).where(0, quotient)


def mod(b: Body, x: Value, y: Value) -> Value:
    """The result has the divisor's sign; x % 0 is 0 for integers and NaN for floats."""
    if x.type.kind == "f":
        return float_mod(b, x, y)
    divisor, _ = safe_divisor(x, y)
    rest = x.modulo(divisor)
    if x.type.kind == "i":
        wrong = rest.ne(0) & (rest ^ divisor).lt(0)
        rest = wrong.where(rest + divisor, rest)
    return y.eq(0).where(0, rest)


def float_remainder(b: Body, x: Value, y: Value) -> Value:
    """C's fmod.  x - trunc(x/y) y is exact in one fma while the quotient fits the mantissa; else frem."""
    q = (x / y).unary("trunc")
    rest = b.fma(-q, y, x)
    # The rounded quotient may be one too large, never too small.  q = 0 stands apart because 0 * inf is NaN.
    over = (rest.lt(0.0) & x.gt(0.0)) | (rest.gt(0.0) & x.lt(0.0))
    rest = over.where(rest + y.abs().copysign(x), rest)
    rest = (q.eq(0.0) & y.ne(0.0)).where(x, rest)
    far = q.abs().ge(2.0 ** (x.type.mantissa - 1)) & x.abs().lt(INF) & y.abs().gt(0.0)
    return b.rare(far, "remainder_far", (x, y), rest).copysign(x)


def remainder_far(b: Body, x: Value, y: Value) -> Value:
    """Out of line: LLVM turns frem into a call of the C library."""
    return b.emit(x.type, f"frem {x.type.ir} {x.ref}, {y.ref}")


def float_mod(b: Body, x: Value, y: Value) -> Value:
    rest = float_remainder(b, x, y)
    wrong = rest.ne(0.0) & (rest.lt(0.0) ^ y.lt(0.0))
    moved = wrong.where(rest + y, rest)
    return rest.eq(0.0).where(rest.copysign(y), moved)


def float_floordiv(b: Body, x: Value, y: Value) -> Value:
    """NumPy's order of steps (its divmod): floor(x / y) would differ in the last place and at infinities."""
    ratio = x / y
    rest = float_remainder(b, x, y)
    quotient = (x - rest) / y
    wrong = rest.ne(0.0) & (rest.lt(0.0) ^ y.lt(0.0))
    quotient = wrong.where(quotient - 1.0, quotient)
    whole = quotient.unary("floor")
    whole = (quotient - whole).gt(0.5).where(whole + 1.0, whole)
    whole = quotient.eq(0.0).where(quotient._lift(0.0).copysign(ratio), whole)
    return y.eq(0.0).where(ratio, whole)


def intpow(b: Body, x: Value, y: Value) -> Value:
    """x**y modulo 2**bits by squaring; for y < 0: 1 for x = 1, ±1 for x = -1, else 0.

    (NumPy raises for negative integer exponents; a compiled loop cannot.)  The one function with a loop:
    free of branches it would take `bits` steps where the usual exponents, 2 and 3, take two.
    """
    result = power_loop(b, x, y)
    if x.type.kind == "u":
        return result
    odd = (y & 1).ne(0)
    unit = x.eq(1).where(x._lift(1), x.eq(-1).where(odd.where(x._lift(-1), 1), 0))
    return y.lt(0).where(unit, result)


def power_loop(b: Body, x: Value, y: Value) -> Value:
    """while exponent: result *= square if exponent & 1; square *= square; exponent >>= 1"""
    before, type = b.block, x.type
    result, square, exponent = (Value(b, type, b.fresh()) for _ in range(3))
    b.lines.append("  br label %power.head")
    b.label("power.head")
    at = len(b.lines)
    left = exponent if not type.lanes else b.intrinsic("vector.reduce.or", exponent, result=type.element)
    more = left.ne(0)
    b.lines.append(f"  br i1 {more.ref}, label %power.body, label %power.end")
    b.label("power.body")
    step = ((exponent & 1).ne(0).where(result * square, result), square * square, exponent >> 1)
    starts = (x._lift(1), x, y)
    phis = [
        f"  {value.ref} = phi {type.ir} [ {start.ref}, %{before} ], [ {next_value.ref}, %power.body ]"
        for value, start, next_value in zip((result, square, exponent), starts, step, strict=True)
    ]
    b.lines[at:at] = phis
    b.lines.append("  br label %power.head")
    b.label("power.end")
    return result


def sign(b: Body, x: Value) -> Value:
    """-1, 0 or 1; NaN stays NaN, and -0 gives 0."""
    one = x._lift(1)
    if x.type.kind == "u":
        return x.eq(0).where(0, one)
    y = x.gt(0).where(one, x.lt(0).where(x._lift(-1), 0))
    return x.ne(x).where(x, y) if x.type.kind == "f" else y


def maximum(b: Body, x: Value, y: Value) -> Value:
    """The larger; NaN if either is NaN."""
    larger = x.ge(y).where(x, y)
    return x.ne(x).where(x, larger) if x.type.kind == "f" else larger


def minimum(b: Body, x: Value, y: Value) -> Value:
    smaller = x.le(y).where(x, y)
    return x.ne(x).where(x, smaller) if x.type.kind == "f" else smaller


def round_even(b: Body, x: Value) -> Value:
    """To the nearest integer, halves to even."""
    return x if x.type.kind != "f" else x.unary("rint")


def isnan(b: Body, x: Value) -> Value:
    """False for every integer."""
    return x.ne(x)


def isinf(b: Body, x: Value) -> Value:
    return x.abs().eq(INF) if x.type.kind == "f" else x.ne(x)


def shift_left(b: Body, x: Value, y: Value) -> Value:
    """A shift by the width or more, or by a negative count, gives 0."""
    inside = unsigned(y).lt(x.type.bits)
    return inside.where(x << inside.where(y, 0), 0)


def shift_right(b: Body, x: Value, y: Value) -> Value:
    """A shift by the width or more, or by a negative count, gives 0, or -1 for negative x."""
    inside = unsigned(y).lt(x.type.bits)
    count = inside.where(y, x.type.bits - 1)
    if x.type.kind == "i":
        return x.arithmetic_shift(count)
    return inside.where(x >> inside.where(y, 0), 0)


def unsigned(x: Value) -> Value:
    return Value(x.body, replace(x.type, kind="u"), x.ref)


def cast(b: Body, x: Value, target: Type) -> Value:
    """Float to integer: truncated; what does not fit int32 or int64 (NaN too) gives their smallest value.

    Narrower targets take the low bits of int32, uint32 those of int64.  uint64 is exact from 2**63 on, and 0
    from 2**64 on.  This is what x86 does and NumPy with it, except for uint32 out of range, where NumPy's
    own answer depends on the loop it takes.
    """
    width = 64 if target.bits == 64 or (target.kind == "u" and target.bits == 32) else 32
    middle = Type("i", width, x.type.lanes)
    limit = 2.0 ** (width - 1)
    inside = x.ge(-limit) & x.lt(limit)
    smallest = -(1 << (width - 1))
    signed = inside.where(inside.where(x, 0.0).convert("fptosi", middle), smallest)
    if target.kind == "u" and target.bits == 64:
        above, fits = x.ge(limit), x.lt(2 * limit)
        shifted = fits.where((above & fits).where(x - limit, 0.0).convert("fptosi", middle), smallest)
        signed = above.where(shifted ^ smallest, signed)
    return signed if target.bits == width else signed.convert("trunc", target)
