"""Elementary and special functions as LLVM IR text, one definition per function and type.

    definitions({("exp", "f64"), ("tanh", "v8f32"), ("mod", "u8")})   -> IR text, once per module
    symbol("exp", "f64")                                              -> "@scanlib.exp.f64"
    FUNCTIONS["exp"]                                                  -> arity, kinds, ulps, external, …

Types are f32, f64, i8 … i64, u8 … u64 and vectors of them, v{N}{type}.  Definitions are `alwaysinline` and,
but for rare arguments, free of branches: a loop calling the scalar version vectorises after inlining.  isnan
and isinf return i1; to_i8 … to_u64 return that integer type.  Signed and unsigned share LLVM's iN.

Stated error bounds in units in the last place (the tests check them):

    function             f32   f64      function             f32   f64      function             f32   f64
    exp                  1.2   1.2      pow                  1.0   2.0      arcsin               1.5   1.5
    exp2                 1.5   1.5      logaddexp (1)        2.0   2.0      arccos               1.5   1.5
    expm1                1.5   1.5      sinh                 2.0   2.0      arctan               1.5   2.0
    log                  1.0   1.0      cosh                 2.0   2.0      arctan2              1.0   2.0
    log1p                1.0   1.0      tanh                 3.0   3.0      erf                  1.5   1.5
    log2                 1.0   1.0      arcsinh              1.5   1.5      erfc                 4.0   4.0
    log10                1.0   1.0      arccosh              2.0   2.0      gammaln (2)          1.0   4.0
    sin                  1.0   1.0      arctanh              1.0   1.0      gamma (3)            1.0   5.0
    cos                  1.0   1.0      tan                  1.0   1.5      psi (4)              1.0   5.0
                                                                            trigamma             1.0   4.0

(1) of the largest of the result and the arguments: log(1 + ...) may cancel the larger argument.
(2) for x < 0 of the largest of the result, gammaln(-x) and 1; near the zeros at 1 and 2 of the result itself.
(3) results below the smallest normal number, for x < -170.6, may be 0, as in SciPy.
(4) for x < 0 of the largest of the result, 1/x and pi / tan(pi x); near the positive zero of the result.

floordiv, mod, intpow, sign, round, maximum, minimum, shift_left, shift_right, isnan, isinf and the casts are
exact.  Only floordiv and mod of floats may call the C library (fmod, for quotients beyond the mantissa).
"""

from scanlib.vector_math.builder import shared_symbol, symbol
from scanlib.vector_math.registry import FUNCTIONS, Function, definitions, worth_sharing

__all__ = ["FUNCTIONS", "Function", "definitions", "shared_symbol", "symbol", "worth_sharing"]
