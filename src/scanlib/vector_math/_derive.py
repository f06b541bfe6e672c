"""Derives the polynomial coefficients of `coefficients.py`; a development tool, needs mpmath.

Run `python -m scanlib.vector_math._derive > coefficients.py`.  Each polynomial interpolates its function at
the Chebyshev nodes of its interval (error within a few times the minimax one); the degree is the smallest
that reaches the asked relative accuracy before the coefficients are rounded to the working precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp

mp.mp.dps = 70
Function = Callable[[Any], Any]
HALF_LN2 = mp.log(2) / 2
SQRT2 = mp.sqrt(2)
PSI_ROOT = mp.findroot(mp.digamma, 1.4616)


@dataclass(frozen=True)
class Fit:
    """One polynomial: `function` on [low, high] to 2**-bits for each working precision."""

    name: str
    function: Function
    low: Any
    high: Any
    bits64: int
    bits32: int
    comment: str


def interpolate(function: Function, low: Any, high: Any, degree: int) -> tuple[list[Any], Any]:
    """Return the coefficients (constant first) and the largest relative error seen on a grid."""
    count = degree + 1
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    matrix = mp.matrix(count, count)
    for i, node in enumerate(nodes):
        for j in range(count):
            matrix[i, j] = node**j
    solution = list(mp.lu_solve(matrix, mp.matrix([function(node) for node in nodes])))
    grid = [middle + half * mp.cos(mp.pi * i / (3 * count)) for i in range(3 * count + 1)]
    error = max(abs(mp.polyval(solution[::-1], g) / function(g) - 1) for g in grid)
    return solution, error


def smallest(fit: Fit, bits: int) -> list[Any]:
    for degree in range(1, 40):
        solution, error = interpolate(fit.function, fit.low, fit.high, degree)
        if error < mp.mpf(2) ** -bits:
            return solution
    raise ValueError(fit.name)


def off_zero(function: Function, limit: Any) -> Function:
    """`function` with its removable singularity at 0 replaced by the limit."""
    return lambda x: mp.mpf(limit) if abs(x) < mp.mpf(10) ** -25 else function(x)


def in_square(function: Function, limit: Any) -> Function:
    """`function` of s as a function of z = s * s."""
    return off_zero(lambda z: function(mp.sqrt(z)), limit)


def stirling_rest(z: Any) -> Any:
    x = 1 / mp.sqrt(z)
    return (mp.loggamma(x) - (x - 0.5) * mp.log(x) + x - mp.log(2 * mp.pi) / 2) * x


def lgamma_rest(y: Any) -> Any:
    return (mp.loggamma(2 + y) - (1 - mp.euler) * y) / y**2


def psi_rest(z: Any) -> Any:
    x = 1 / mp.sqrt(z)
    return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) * x * x


def trigamma_rest(z: Any) -> Any:
    x = 1 / mp.sqrt(z)
    return (mp.psi(1, x) - 1 / x - 1 / (2 * x * x)) * x**3


def erfc_scaled(t: Any) -> Any:
    x = 4 * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def log_tail(f: Any) -> Any:
    return (mp.log1p(f) - f + f * f / 2) / f**3


TRIG = (mp.pi / 4 * mp.mpf("1.001")) ** 2
EIGHTH = (SQRT2 - 1) / (SQRT2 + 1)
FITS = (
    Fit(
        "EXP",
        off_zero(lambda r: (mp.expm1(r) - r) / r**2, 0.5),
        -HALF_LN2,
        HALF_LN2,
        50,
        21,
        "(e**r - 1 - r) / r**2",
    ),
    Fit(
        "EXP2",
        off_zero(lambda r: (mp.mpf(2) ** r - 1) / r, mp.log(2)),
        mp.mpf(-0.5),
        mp.mpf(0.5),
        55,
        26,
        "(2**r - 1) / r",
    ),
    Fit(
        "LOG_S",
        in_square(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3, mp.mpf(2) / 3),
        mp.mpf(0),
        EIGHTH**2,
        49,
        20,
        "(2 atanh(s) - 2 s) / s**3 in s**2",
    ),
    Fit(
        "LOG_F",
        off_zero(log_tail, mp.mpf(1) / 3),
        1 / SQRT2 - 1,
        SQRT2 - 1,
        22,
        22,
        "(log(1+f) - f + f**2/2) / f**3",
    ),
    Fit(
        "LOG_DD",
        in_square(lambda s: (2 * mp.atanh(s) - 2 * s - 2 * s**3 / 3) / s**5, mp.mpf(2) / 5),
        mp.mpf(0),
        EIGHTH**2,
        51,
        22,
        "(2 atanh(s) - 2 s - 2/3 s**3) / s**5 in s**2",
    ),
    Fit(
        "ATAN",
        in_square(lambda t: (mp.atan(t) / t - 1) / t**2, -mp.mpf(1) / 3),
        mp.mpf(0),
        mp.mpf(1),
        54,
        25,
        "(atan(t)/t - 1) / t**2 in t**2",
    ),
    Fit(
        "ASIN",
        in_square(lambda t: (mp.asin(t) / t - 1) / t**2, mp.mpf(1) / 6),
        mp.mpf(0),
        mp.mpf(0.25),
        51,
        22,
        "(asin(t)/t - 1) / t**2 in t**2",
    ),
    Fit(
        "SIN",
        in_square(lambda t: (mp.sin(t) / t - 1) / t**2, -mp.mpf(1) / 6),
        mp.mpf(0),
        TRIG,
        51,
        26,
        "(sin(t)/t - 1) / t**2 in t**2",
    ),
    Fit(
        "COS",
        in_square(lambda t: (mp.cos(t) - 1 + t * t / 2) / t**4, mp.mpf(1) / 24),
        mp.mpf(0),
        TRIG,
        49,
        24,
        "(cos(t) - 1 + t**2/2) / t**4 in t**2",
    ),
    Fit(
        "SINH",
        in_square(lambda t: (mp.sinh(t) / t - 1) / t**2, mp.mpf(1) / 6),
        mp.mpf(0),
        mp.mpf(1),
        52,
        23,
        "(sinh(t)/t - 1) / t**2 in t**2",
    ),
    Fit(
        "ERF",
        in_square(lambda x: mp.erf(x) / x - 1, 2 / mp.sqrt(mp.pi) - 1),
        mp.mpf(0),
        mp.mpf(1),
        52,
        24,
        "erf(x)/x - 1 in x**2, |x| <= 1",
    ),
    Fit("ERFC", erfc_scaled, mp.mpf(-1), mp.mpf("0.75"), 56, 27, "(1+2x) exp(x**2) erfc(x) in (x-4)/(x+4)"),
    Fit(
        "LGAMMA2",
        off_zero(lgamma_rest, (mp.zeta(2) - 1) / 2),
        mp.mpf(-0.5),
        mp.mpf(0.5),
        53,
        25,
        "(log(gamma(2+y)) - (1-euler) y) / y**2",
    ),
    Fit(
        "GAMMA2",
        off_zero(lambda y: (mp.gamma(2 + y) - 1) / y, 1 - mp.euler),
        mp.mpf(-0.5),
        mp.mpf(0.5),
        55,
        27,
        "(gamma(2+y) - 1) / y",
    ),
    Fit(
        "STIRLING",
        off_zero(stirling_rest, mp.mpf(1) / 12),
        mp.mpf(0),
        mp.mpf(1) / 64,
        49,
        24,
        "(log(gamma(x)) - Stirling's formula) * x in 1/x**2, x >= 8",
    ),
    Fit(
        "PSI",
        lambda y: mp.digamma(1.5 + y) / (1.5 + y - PSI_ROOT),
        mp.mpf(-0.5),
        mp.mpf(0.5),
        54,
        27,
        "psi(1.5+y) / (1.5+y - root)",
    ),
    Fit(
        "PSI_FAR",
        off_zero(psi_rest, mp.mpf(1) / 12),
        mp.mpf(0),
        mp.mpf(1) / 64,
        48,
        24,
        "(log(x) - 1/(2x) - psi(x)) * x**2 in 1/x**2, x >= 8",
    ),
    Fit(
        "TRIGAMMA_FAR",
        off_zero(trigamma_rest, mp.mpf(1) / 6),
        mp.mpf(0),
        mp.mpf(1) / 64,
        48,
        24,
        "(psi'(x) - 1/x - 1/(2x**2)) * x**3 in 1/x**2, x >= 8",
    ),
)


def table(name: str, values: list[Any]) -> list[str]:
    lines = [f"    {name}: ("]
    row = "       "
    for value in values:
        text = f" {float(value)!r},"
        if len(row) + len(text) > 108:
            lines.append(row)
            row = "       "
        row += text
    return [*lines, row, "    ),"]


def main() -> None:
    print('"""Polynomial coefficients, constant term first, by working precision; made by `_derive.py`."""\n')
    print("# fmt: off")
    print("Table = dict[int, tuple[float, ...]]\n")
    for fit in FITS:
        print(f"# {fit.comment}")
        print(f"{fit.name}: Table = {{")
        for precision, bits in ((64, fit.bits64), (32, fit.bits32)):
            print("\n".join(table(str(precision), smallest(fit, bits))))
        print("}\n")
    print("# 2/pi in 64-bit words after one zero word; the last double needs 1030 bits of it and 192 more")
    mp.mp.dps = 500
    digits = f"{int(mp.floor(2 / mp.pi * mp.mpf(2) ** (64 * 21))):X}"
    print("TWO_OVER_PI = int(")
    print("\n".join(f'    "{digits[i : i + 96]}"' for i in range(0, len(digits), 96)))
    print("    , 16,\n)\n")
    for comment, name, value in (
        ("1 - Euler's constant", "ONE_LESS_EULER", 1 - mp.euler),
        ("the positive root of psi", "PSI_ROOT", PSI_ROOT),
    ):
        print(f"# {comment}, as an unevaluated sum of two doubles")
        print(f"{name} = ({float(value)!r}, {float(value - mp.mpf(float(value)))!r})")


if __name__ == "__main__":
    main()
