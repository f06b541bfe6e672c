"""The table of functions, and the assembly of requested definitions with everything they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from scanlib.vector_math import arithmetic, exponential, hyperbolic, special, trigonometric
from scanlib.vector_math.builder import (
    BRANCH_WEIGHTS,
    WIDE_LANES,
    Body,
    Type,
    Value,
    Writer,
    lane_by_lane,
    parse_type,
    shared_symbol,
    symbol,
    wide_variant,
)

FLOATS = frozenset("f")
INTEGERS = frozenset("iu")
NUMBERS = FLOATS | INTEGERS


@dataclass(frozen=True)
class Function:
    """One function.

    `ulps` maps "f32" and "f64" to the stated error bound, in units in the last place of the result, or of
    `relative_to` where that is larger; 0 means exact, no entry means not defined for that type.
    """

    name: str
    writer: Writer
    arity: int = 1
    kinds: frozenset[str] = FLOATS
    ulps: dict[str, float] = field(default_factory=dict)
    relative_to: str = ""
    external: bool = False  # may call a symbol of the C library
    condition: bool = False  # returns i1
    target: Type | None = None  # result type of a cast
    cold: bool = False  # out of line, reached through Body.rare only

    def result(self, type: Type) -> Type:
        if self.target is not None:
            return replace(self.target, lanes=type.lanes)
        return type.condition if self.condition else type


COLD: dict[Writer, int] = {
    trigonometric.sin_far: 1,
    trigonometric.cos_far: 1,
    trigonometric.tan_far: 1,
    special.gammaln_reflected: 2,
    special.gamma_reflected: 2,
    special.psi_reflected: 2,
    special.trigamma_reflected: 2,
}


BOUNDS: tuple[tuple[Writer, int, float, float, str], ...] = (
    (exponential.exp, 1, 1.2, 1.2, ""),
    (exponential.exp2, 1, 1.5, 1.5, ""),
    (exponential.expm1, 1, 1.5, 1.5, ""),
    (exponential.log, 1, 1.0, 1.0, ""),
    (exponential.log1p, 1, 1.0, 1.0, ""),
    (exponential.log2, 1, 1.0, 1.0, ""),
    (exponential.log10, 1, 1.0, 1.0, ""),
    (exponential.pow, 2, 1.0, 2.0, ""),
    (exponential.logaddexp, 2, 2.0, 2.0, "the larger argument"),
    (hyperbolic.sinh, 1, 2.0, 2.0, ""),
    (hyperbolic.cosh, 1, 2.0, 2.0, ""),
    (hyperbolic.tanh, 1, 3.0, 3.0, ""),
    (hyperbolic.arcsinh, 1, 1.5, 1.5, ""),
    (hyperbolic.arccosh, 1, 2.0, 2.0, ""),
    (hyperbolic.arctanh, 1, 1.0, 1.0, ""),
    (trigonometric.sin, 1, 1.0, 1.0, ""),
    (trigonometric.cos, 1, 1.0, 1.0, ""),
    (trigonometric.tan, 1, 1.0, 1.5, ""),
    (trigonometric.arcsin, 1, 1.5, 1.5, ""),
    (trigonometric.arccos, 1, 1.5, 1.5, ""),
    (trigonometric.arctan, 1, 1.5, 2.0, ""),
    (trigonometric.arctan2, 2, 1.0, 2.0, ""),
    (special.erf, 1, 1.5, 1.5, ""),
    (special.erfc, 1, 4.0, 4.0, ""),
    (special.gammaln, 1, 1.0, 4.0, "gammaln(-x) and 1, for negative x"),
    (special.gamma, 1, 1.0, 5.0, ""),
    (special.psi, 1, 1.0, 5.0, "1/x and pi / tan(pi x), for negative x"),
    (special.trigamma, 1, 1.0, 4.0, ""),
)


def _floats() -> list[Function]:
    return [
        Function(writer.__name__, writer, arity, FLOATS, {"f32": single, "f64": double}, relative_to)
        for writer, arity, single, double, relative_to in BOUNDS
    ]


def _helpers() -> list[Function]:
    exact = {"f32": 0.0, "f64": 0.0}
    rows = [
        Function("floordiv", arithmetic.floordiv, 2, NUMBERS, exact, external=True),
        Function("mod", arithmetic.mod, 2, NUMBERS, exact, external=True),
        Function("remainder_far", arithmetic.remainder_far, 2, FLOATS, exact, external=True, cold=True),
        *(Function(writer.__name__, writer, arity, FLOATS, cold=True) for writer, arity in COLD.items()),
        Function("intpow", arithmetic.intpow, 2, INTEGERS),
        Function("sign", arithmetic.sign, 1, NUMBERS, exact),
        Function("round", arithmetic.round_even, 1, NUMBERS, exact),
        Function("maximum", arithmetic.maximum, 2, NUMBERS, exact),
        Function("minimum", arithmetic.minimum, 2, NUMBERS, exact),
        Function("shift_left", arithmetic.shift_left, 2, INTEGERS),
        Function("shift_right", arithmetic.shift_right, 2, INTEGERS),
        Function("isnan", arithmetic.isnan, 1, NUMBERS, exact, condition=True),
        Function("isinf", arithmetic.isinf, 1, NUMBERS, exact, condition=True),
    ]
    for name in ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"):
        rows.append(_cast_row(parse_type(name)))
    return rows


def _cast_row(target: Type) -> Function:
    def writer(b: Body, x: Value) -> Value:
        return arithmetic.cast(b, x, replace(target, lanes=x.type.lanes))

    return Function(f"to_{target.name}", writer, 1, FLOATS, target=target)


FUNCTIONS: dict[str, Function] = {row.name: row for row in [*_floats(), *_helpers()]}
TABLE = ("two_over_pi", "table")
# Lines of functions that are not worth a call, and of vector functions that are called instead of inlined.
SHORT, LONG = 20, 120


@dataclass(frozen=True)
class Definition:
    """The text of one function and what it needs."""

    text: str
    declares: frozenset[str]
    needs: frozenset[tuple[str, str]]
    length: int


@cache
def _write(name: str, type_name: str) -> Definition:
    function, type = FUNCTIONS[name], parse_type(type_name)
    if type.kind not in function.kinds:
        raise ValueError(f"vector_math: {name} is not defined for {type_name}")
    body = Body()
    arguments = [Value(body, type, f"%{letter}") for letter in "xy"[: function.arity]]
    if function.cold and type.lanes:
        result, lines = type, lane_by_lane(name, arguments, type)
        body.needs.add((name, type.element.name))
    else:
        value = function.writer(body, *arguments)
        result, lines = value.type, ["entry:", *body.lines, f"  ret {value.type.ir} {value.ref}"]
    head = _head(result, symbol(name, type_name), arguments, _inlining(function, type, len(lines)))
    return Definition(
        "\n".join([head, *lines, "}"]), frozenset(body.declares), frozenset(body.needs), len(lines)
    )


def _head(result: Type, name: str, arguments: Sequence[Value], inlining: str) -> str:
    parameters = ", ".join(f"{a.type.ir} {a.ref}" for a in arguments)
    return f"define internal {result.ir} {name}({parameters}) {inlining} nounwind willreturn memory(none) {{"


def _inlining(function: Function, type: Type, length: int) -> str:
    if function.cold:
        return "noinline cold" + (" minsize optsize" if type.lanes else "")
    # Scalars must be inlined for LLVM's vectoriser, which stops at calls.
    return "noinline" if type.lanes and length > LONG else "alwaysinline"


def worth_sharing(name: str, type_name: str) -> bool:
    """Whether a call of a copy outside costs little beside what the function does, and saves code."""
    return _write(name, type_name).length > SHORT


@cache
def _shared(name: str, type_name: str) -> str:
    function, type = FUNCTIONS[name], parse_type(type_name)
    body = Body()
    arguments = [Value(body, type, f"%{letter}") for letter in "xy"[: function.arity]]
    result = function.result(type)
    head = _head(result, shared_symbol(name, type_name), arguments, "noinline")
    values = ", ".join(f"{a.type.ir} {a.ref}" for a in arguments)
    call = f"  %r = call {result.ir} {symbol(name, type_name)}({values})"
    return "\n".join([head, call, f"  ret {result.ir} %r", "}"])


def definitions(requests: Iterable[tuple[str, str]], shared: Iterable[tuple[str, str]] = ()) -> str:
    """The IR text of the requested (name, type) pairs, of all they depend on, and the declarations they need.

    `shared` are those that are called as `shared_symbol` too: there a call shall stay a call.

    Call it once per module.  Raises KeyError for an unknown function, ValueError for a type it does not take.
    The text may define `@llvm.compiler.used` and metadata `!9001`, which a module must not define again.
    """
    shared = sorted(set(shared))
    pending = sorted({*requests, *shared})
    tables: list[str] = []
    done: dict[tuple[str, str], Definition] = {}
    while pending:
        request = pending.pop()
        if request == TABLE:
            tables = [trigonometric.two_over_pi_table()]
        elif request not in done:
            done[request] = _write(*request)
            pending.extend(done[request].needs)
    declares = {line for item in done.values() for line in item.declares}
    parts = [*tables, *sorted(declares), *(done[key].text for key in sorted(done))]
    parts += [*(_shared(*key) for key in shared), *_wide_variants(done)]
    return "\n".join(parts) + "\n"


def _wide_variants(done: Iterable[tuple[str, str]]) -> list[str]:
    """Declarations of the never-called wide variants (builder.WIDE_LANES), kept for the vectoriser to see."""
    cold = [(FUNCTIONS[name], parse_type(type)) for name, type in sorted(done) if FUNCTIONS[name].cold]
    cold = [(function, type) for function, type in cold if not type.lanes]
    lines, names = [], []
    for function, type in cold:
        wide = replace(type, lanes=WIDE_LANES)
        name = wide_variant(function.name, type)
        names.append(f"ptr {name}")
        lines.append(
            f"declare {wide.ir} {name}({', '.join([wide.ir] * function.arity)}, <{WIDE_LANES} x i1>)"
        )
    if names:
        used = f'appending global [{len(names)} x ptr] [{", ".join(names)}], section "llvm.metadata"'
        lines.append(f"@llvm.compiler.used = {used}")
        lines.append(BRANCH_WEIGHTS + ' = !{!"branch_weights", i32 1, i32 1000000}')
    return lines
