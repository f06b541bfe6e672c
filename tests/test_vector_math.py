"""vector_math: error bounds, special values and vectorisation, for scalar loops and explicit vectors."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import mpmath as mp
import numpy as np
import pytest

from scanlib.vector_math import FUNCTIONS, definitions, symbol
from scanlib.vector_math.builder import parse_type

Array = np.ndarray[Any, Any]
Inputs = tuple[Array, ...]
INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
LANES = {"f32": 8, "f64": 4, "i8": 16, "i16": 8, "i32": 4, "i64": 2, "u8": 16, "u16": 8, "u32": 4, "u64": 2}
DTYPES: dict[str, Any] = {"f32": np.float32, "f64": np.float64}
DTYPES |= {name: np.dtype(name.replace("i", "int").replace("u", "uint")) for name in INTEGERS}
COUNT = 160
INF, NAN = np.inf, np.nan


def loop_text(name: str, type_name: str) -> str:
    """A kernel `name.type(inputs…, output, n)` that calls the function once per element or vector."""
    function, type = FUNCTIONS[name], parse_type(type_name)
    result = function.result(type)
    stored = result.ir.replace("i1", "i8") if result.kind == "b" else result.ir
    letters = "xy"[: function.arity]
    lines = [f"define void @{name}.{type_name}({', '.join(f'ptr noalias %p{a}' for a in letters)}, "]
    lines[0] += "ptr noalias %po, i64 %n) {\nentry:\n  br label %head\nhead:"
    lines.append("  %i = phi i64 [ 0, %entry ], [ %next, %tail ]")
    for a in letters:
        lines.append(f"  %q{a} = getelementptr {type.element_ir}, ptr %p{a}, i64 %i")
        lines.append(f"  %{a} = load {type.ir}, ptr %q{a}, align 1")
    arguments = ", ".join(f"{type.ir} %{a}" for a in letters)
    lines.append(f"  %r = call {result.ir} {symbol(name, type_name)}({arguments})")
    if result.kind == "b":
        lines.append(f"  %s = zext {result.ir} %r to {stored}")
    element = stored.split(" x ")[-1].rstrip(">")
    lines.append(f"  %qo = getelementptr {element}, ptr %po, i64 %i")
    lines.append(f"  store {stored} {'%s' if result.kind == 'b' else '%r'}, ptr %qo, align 1")
    lines.append(f"  br label %tail\ntail:\n  %next = add i64 %i, {max(type.lanes, 1)}")
    lines.append(
        "  %more = icmp slt i64 %next, %n\n  br i1 %more, label %head, label %end\nend:\n  ret void\n}"
    )
    return "\n".join(lines) + "\n"


class Library:
    """Every function at one element type, compiled as scalar loops or as explicit vectors."""

    def __init__(self, element: str, vector: bool) -> None:
        self.element, self.prefix = element, f"v{LANES[element]}" if vector else ""
        kind = element[0]
        names = [n for n, f in FUNCTIONS.items() if kind in f.kinds and not f.cold]
        type_name = self.prefix + element
        text = definitions([(n, type_name) for n in names]) + "".join(loop_text(n, type_name) for n in names)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        module = llvm.parse_assembly(text)
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = True
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        self.optimised = str(module)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()

    def __call__(self, name: str, *inputs: Array) -> Array:
        function, count = FUNCTIONS[name], len(inputs[0])
        padding = -count % 64
        dtype = DTYPES[self.element]
        padded = [np.concatenate([x.astype(dtype), np.ones(padding, dtype)]) for x in inputs]
        result = np.bool_ if function.condition else dtype
        out = np.zeros(count + padding, DTYPES[function.target.name] if function.target else result)
        address = self.engine.get_function_address(f"{name}.{self.prefix}{self.element}")
        pointers = [ctypes.c_void_p] * (len(inputs) + 1)
        call = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)(address)
        call(*[x.ctypes.data for x in padded], out.ctypes.data, len(out))
        return out[:count]

    def body(self, name: str) -> str:
        start = self.optimised.index(f"define void @{name}.{self.element}(")
        return self.optimised[start : self.optimised.index("\n}\n", start)]


@cache
def library(element: str, vector: bool) -> Library:
    return Library(element, vector)


# --- inputs

EDGE_TEXT = """0.0 -0.0 inf -inf nan 1 -1 0.5 -0.5 2 -2 3 1.5 -1.5 5e-324 -5e-324 1e-310 1e-45 1e-40
1.7e308 -1.7e308 3e38 -3e38 0.9999999999999999 1.0000000000000002 709.78 709.79 -708.5 -745.1 -745.2
88.72 88.73 -87.4 -103.9 -104 710.47 710.48 89.41 89.42 1022.5 1023.999 1024 -1074 -1075 127.99 128
1e22 1099511627776 2199023255552 1.4616321449683622 171.6 171.7 0.75 0.7071067811865476"""
EDGES = np.array(EDGE_TEXT.split(), dtype=np.float64)
CLOSEST = 6381956970095103 * 2.0**797  # of all float64 the closest to a multiple of pi/2


def uniform(low: float, high: float) -> Array:
    return np.random.default_rng(int(abs(low) * 100 + abs(high))).uniform(low, high, COUNT)


def powers(low: float, high: float, sign: bool = True) -> Array:
    """Magnitudes 2**low … 2**high, evenly in the exponent."""
    random = np.random.default_rng(int(abs(low) + abs(high)))
    values = 2.0 ** random.uniform(low, high, COUNT)
    return values * random.choice([-1, 1], COUNT) if sign else values


def one(*parts: Array) -> Inputs:
    return (np.concatenate([*parts, EDGES]),)


def two(*parts: tuple[Array, Array]) -> Inputs:
    small = EDGES[:20]
    x, y = (grid.ravel() for grid in np.meshgrid(small, small))
    return np.concatenate([p[0] for p in parts] + [x]), np.concatenate([p[1] for p in parts] + [y])


EVERYWHERE = (powers(-1074, 1023.9), powers(-148, 127.9))
EXPONENTS = (uniform(-750, 711), uniform(-104, 89), uniform(-1, 1), powers(-60, 5))
POSITIVE = (
    np.abs(EVERYWHERE[0]),
    np.abs(EVERYWHERE[1]),
    uniform(0.5, 2),
    uniform(0, 100),
    1 + powers(-50, -2),
)
HYPERBOLIC = (uniform(-711, 711), uniform(-90, 90), uniform(-2, 2), powers(-60, 4))
ANGLES = (
    uniform(-10, 10),
    uniform(-1e6, 1e6),
    *EVERYWHERE,
    powers(0, 80),
    np.arange(-200, 200) * np.pi / 2,
    [CLOSEST],
)
UNIT = (uniform(-1, 1), uniform(0.49, 0.51), powers(-1074, 0), 1 - powers(-52, -1, False))
GAMMA = (
    uniform(0, 3),
    uniform(0, 9),
    uniform(7, 170),
    powers(-1020, 0, False),
    1 + powers(-50, -2),
    2 + powers(-50, -2),
)
BELOW = (-uniform(0, 9), -uniform(0, 170), powers(-40, -1))
RATIO = (powers(-5, 5), powers(-5, 5, False)[::-1] * np.sign(powers(0, 1)))

INPUTS: dict[str, Inputs] = {
    "exp": one(*EXPONENTS),
    "exp2": one(*EXPONENTS, uniform(-1080, 1025), np.arange(-1080, 1030.0)),
    "expm1": one(*EXPONENTS, uniform(-2, 2)),
    "log": one(*POSITIVE),
    "log2": one(*POSITIVE, 2.0 ** np.arange(-1074, 1024)),
    "log10": one(*POSITIVE, 10.0 ** np.arange(-30, 23)),
    "log1p": one(*EVERYWHERE, uniform(-1, 2), powers(-80, 0)),
    "pow": two(
        (np.abs(RATIO[0]), uniform(-200, 200)),
        (np.abs(EVERYWHERE[0]), uniform(-1, 1)),
        (1 + powers(-40, -2), powers(0, 45)),
        (powers(-3, 3), np.round(uniform(-300, 300))),
    ),
    "logaddexp": two((uniform(-50, 50), uniform(-40, 60)), RATIO, (uniform(-2, 1), uniform(-1, 1))),
    "sinh": one(*HYPERBOLIC),
    "cosh": one(*HYPERBOLIC),
    "tanh": one(*HYPERBOLIC, uniform(-20, 20), uniform(0.5, 0.7)),
    "arcsinh": one(*EVERYWHERE, uniform(-20, 20), uniform(-1, 1)),
    "arccosh": one(np.abs(EVERYWHERE[0]), uniform(1, 20), uniform(1, 2), 1 + powers(-50, 0, False)),
    "arctanh": one(*UNIT),
    "sin": one(*ANGLES),
    "cos": one(*ANGLES),
    "tan": one(*ANGLES),
    "arcsin": one(*UNIT),
    "arccos": one(*UNIT),
    "arctan": one(*EVERYWHERE, uniform(-3, 3)),
    "arctan2": two(RATIO, EVERYWHERE),
    "erf": one(uniform(-6, 6), uniform(-1.1, 1.1), powers(-1070, 2)),
    "erfc": one(uniform(-6, 28), uniform(-1, 10), powers(-1070, 2)),
    "gammaln": one(*GAMMA, *BELOW, powers(-1000, 1000, False)),
    "gamma": one(*GAMMA, *BELOW, np.arange(1, 172.0)),
    "psi": one(*GAMMA, *BELOW, 1.4616321449683622 + powers(-50, -2)),
    "trigamma": one(*(values[::6] for values in (*GAMMA, *BELOW))),  # a millisecond each in mpmath
}


# --- references


def log_gamma(x: Any) -> Any:
    return mp.loggamma(x) if x > 0 else mp.log(abs(mp.gamma(x)))


EXACT: dict[str, Callable[..., Any]] = {
    "exp2": lambda x: mp.mpf(2) ** x,
    "log2": lambda x: mp.log(x, 2),
    "pow": lambda x, y: mp.mpf(x) ** y,
    "logaddexp": lambda x, y: max(x, y) + mp.log1p(mp.exp(-abs(x - y))),
    "arctan2": mp.atan2,
    "gammaln": log_gamma,
    "psi": mp.digamma,
    "trigamma": lambda x: mp.psi(1, x),
}
for _name in ("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"):
    EXACT[_name] = getattr(mp, _name.replace("arc", "a"))


def scale_of(name: str, x: float, y: float, exact: Any) -> Any:
    """What the error is relative to besides the result (Function.relative_to)."""
    if name == "logaddexp":
        return max(abs(x), abs(y))
    if name == "gammaln" and x < 0:
        return max(1, abs(mp.loggamma(-x)))
    if name == "psi" and x < 0:
        return max(abs(1 / mp.mpf(x)), abs(mp.pi * mp.cot(mp.pi * x)))
    return 0


@cache
def reference(name: str, element: str) -> tuple[Inputs, Array, Array, Array]:
    """Inputs with a finite exact result, that result in two parts, and what its error is relative to."""
    with np.errstate(all="ignore"):
        inputs = [x.astype(DTYPES[element]).astype(np.float64) for x in INPUTS[name]]
    function = EXACT.get(name) or getattr(mp, name)
    kept: list[tuple[float, ...]] = []
    results: list[tuple[float, float, float]] = []
    for values in zip(*inputs, strict=True):
        exact = exact_value(name, function, values)
        if exact is None:
            continue
        head = float(exact)
        size = float(max(abs(exact), scale_of(name, values[0], values[-1], exact)))
        kept.append(values)
        results.append((head, float(exact - mp.mpf(head)), size))
    columns = np.array(kept).T
    table = np.array(results).T
    return tuple(columns), table[0], table[1], table[2]


def exact_value(name: str, function: Callable[..., Any], values: Sequence[float]) -> Any:
    """None where the result is not a finite number: test_special_values covers those."""
    if not all(np.isfinite(values)) or (name in ("gammaln", "gamma", "psi", "trigamma") and values[0] == 0):
        return None
    digits = 350 if abs(values[0]) > 1e15 and name in ("sin", "cos", "tan") else 40
    if name == "arctan2" and 0 in values:  # mpmath knows no -0
        return None
    if name in ("gammaln", "gamma", "psi", "trigamma") and (
        values[0] < -1e4 or (name == "gamma" and values[0] > 1e4)
    ):
        return None
    try:
        with mp.workdps(digits):
            exact = function(*[mp.mpf(float(v)) for v in values])
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if isinstance(exact, mp.mpc) or not mp.isfinite(exact) or abs(exact) > 1.7e308:
        return None
    return exact


def unit_in_last_place(size: Array, dtype: Any) -> Array:
    limit = float(np.finfo(dtype).max)
    return np.spacing(np.minimum(size, limit).astype(dtype)).astype(np.float64)


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("element", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(INPUTS))
def test_error_bound(name: str, element: str, vector: bool) -> None:
    dtype = DTYPES[element]
    inputs, head, rest, size = reference(name, element)
    got = library(element, vector)(name, *inputs).astype(np.float64)
    with np.errstate(all="ignore"):
        rounded = head.astype(dtype).astype(np.float64)
        error = np.abs((got - head) - rest) / unit_in_last_place(size, dtype)
    error = np.where(got == rounded, np.minimum(np.nan_to_num(error, posinf=0.0), 0.5), error)
    if name == "gamma":
        error = np.where((np.abs(head) < np.finfo(dtype).tiny) & (inputs[0] < 0), 0.0, error)
    worst = int(np.argmax(np.nan_to_num(error, nan=INF)))
    assert error[worst] <= FUNCTIONS[name].ulps[element], [x[worst] for x in inputs]


def test_every_inexact_function_is_tested() -> None:
    inexact = {n for n, f in FUNCTIONS.items() if any(f.ulps.values()) and not f.cold}
    assert inexact == set(INPUTS)


# --- special values

SPECIAL: dict[str, list[tuple[float, ...]]] = {
    "exp": [(INF, INF), (-INF, 0), (0, 1), (-0.0, 1), (710, INF), (-746, 0)],
    "exp2": [(INF, INF), (-INF, 0), (0, 1), (1024, INF), (-1076, 0), (3, 8)],
    "expm1": [(INF, INF), (-INF, -1), (0, 0), (-0.0, -0.0), (710, INF)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (-1, NAN), (INF, INF), (-INF, NAN)],
    "log2": [(0, -INF), (1, 0), (8, 3), (-1, NAN), (INF, INF)],
    "log10": [(0, -INF), (1, 0), (1000, 3), (-1, NAN), (INF, INF)],
    "log1p": [(-1, -INF), (0, 0), (-0.0, -0.0), (-2, NAN), (INF, INF), (-INF, NAN)],
    "sinh": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (711, INF)],
    "cosh": [(0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (-711, INF)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e30, 1)],
    "arcsinh": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "arccosh": [(1, 0), (INF, INF), (0.5, NAN), (-INF, NAN)],
    "arctanh": [(0, 0), (-0.0, -0.0), (1, INF), (-1, -INF), (2, NAN)],
    "sin": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0, 1), (INF, NAN), (-INF, NAN)],
    "tan": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "arcsin": [(0, 0), (-0.0, -0.0), (2, NAN), (-INF, NAN)],
    "arccos": [(1, 0), (2, NAN), (INF, NAN)],
    "arctan": [(0, 0), (-0.0, -0.0), (INF, np.pi / 2), (-INF, -np.pi / 2)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1)],
    "erfc": [(0, 1), (INF, 0), (-INF, 2), (30, 0)],
    "gammaln": [(0, INF), (-0.0, INF), (-1, INF), (1, 0), (2, 0), (INF, INF), (-INF, -INF)],
    "gamma": [(0, INF), (-0.0, -INF), (-1, NAN), (1, 1), (2, 1), (5, 24), (INF, INF), (-INF, NAN)],
    "psi": [(0, -INF), (-0.0, INF), (-1, NAN), (INF, INF), (-INF, NAN)],
    "trigamma": [(0, INF), (-0.0, INF), (-1, INF), (INF, 0), (-INF, INF)],
}


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("element", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_values(name: str, element: str, vector: bool) -> None:
    x, expected = np.array([*SPECIAL[name], (NAN, NAN)]).T
    assert_identical(library(element, vector)(name, x), expected.astype(DTYPES[element]))


def assert_identical(got: Array, expected: Array) -> None:
    np.testing.assert_array_equal(got, expected)
    if got.dtype.kind == "f":
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]))


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("element", ["f32", "f64"])
@pytest.mark.parametrize(
    "name, function", [("pow", np.power), ("arctan2", np.arctan2), ("logaddexp", np.logaddexp)]
)
def test_special_values_of_two_arguments(name: str, function: Any, element: str, vector: bool) -> None:
    values = np.array(
        [0.0, -0.0, INF, -INF, NAN, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 2.0**53, 1e30], DTYPES[element]
    )
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = function(x, y)
    got = library(element, vector)(name, x, y)
    plain = np.isfinite(expected) & (expected != 0)
    assert_identical(got[~plain], expected[~plain])
    np.testing.assert_allclose(got[plain], expected[plain], rtol=4 * np.finfo(DTYPES[element]).eps)


# --- exact functions, against NumPy

OPERATIONS: dict[str, Any] = {
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "intpow": np.power,
    "sign": np.sign,
    "round": np.rint,
    "isnan": np.isnan,
    "isinf": np.isinf,
}


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"round"}))
@pytest.mark.parametrize("element", INTEGERS)
def test_integers(name: str, element: str, vector: bool) -> None:
    dtype, random = DTYPES[element], np.random.default_rng(3)
    info = np.iinfo(dtype)
    edges = np.array(
        [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 5, 7, 8, 31, 32, 63, 64], dtype
    )
    edges = np.concatenate([edges, -edges[5:9]]) if info.min else edges
    x, y = (grid.ravel() for grid in np.meshgrid(edges, edges))
    x = np.concatenate([x, random.integers(info.min, info.max, 500, dtype)])
    y = np.concatenate([y, random.integers(info.min, info.max, 500, dtype)])
    if name == "intpow":
        x, y = x[y >= 0], y[y >= 0]
    inputs = (x, y)[: FUNCTIONS[name].arity]
    with np.errstate(all="ignore"):
        expected = OPERATIONS[name](*inputs)
    assert_identical(
        library(element, vector)(name, *inputs), expected.astype(bool if name[:2] == "is" else dtype)
    )


def test_negative_exponents() -> None:
    x = np.array([1, -1, -1, 2, -2, 0], np.int32)
    y = np.array([-3, -3, -4, -1, -1, -1], np.int32)
    assert_identical(library("i32", False)("intpow", x, y), np.array([1, -1, 1, 0, 0, 0], np.int32))


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"intpow", "shift_left", "shift_right"}))
@pytest.mark.parametrize("element", ["f32", "f64"])
def test_exact_floats(name: str, element: str, vector: bool) -> None:
    tenths = (np.round(uniform(-100, 100)) * 0.1, np.round(uniform(-9, 11)) * 0.1)
    quotients = (powers(-60, 60), powers(-30, 30))
    pairs = two(RATIO, EVERYWHERE, tenths, quotients, (np.round(uniform(-99, 99)), np.round(uniform(-5, 6))))
    with np.errstate(all="ignore"):
        inputs = [x.astype(DTYPES[element]) for x in pairs[: FUNCTIONS[name].arity]]
        expected = OPERATIONS[name](*inputs)
    got = library(element, vector)(name, *inputs)
    if name in ("maximum", "minimum"):  # NumPy's choice between 0 and -0 depends on its loop
        got, expected = got + 0, expected + 0
    assert_identical(got, expected)


@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("element", ["f32", "f64"])
@pytest.mark.parametrize("target", INTEGERS)
def test_casts(target: str, element: str, vector: bool) -> None:
    info = np.iinfo(DTYPES[target])
    values = np.concatenate([uniform(-300, 300), powers(0, 70), [0.0, -0.0, 0.9, -0.9, 127.5]]).astype(
        DTYPES[element]
    )
    inside = values[(values > float(info.min) - 1) & (values < float(info.max))]
    got = library(element, vector)(f"to_{target}", inside)
    assert_identical(got, np.trunc(inside).astype(DTYPES[target]))
    wild = library(element, vector)(f"to_{target}", np.array([NAN, INF, -INF, 1e30]))
    lost = {"i32": info.min, "i64": info.min, "u64": 0}.get(target, 0)
    assert wild[-1] == lost
    assert wild[0] == (2**63 if target == "u64" else lost)


# --- vectorisation and text


@pytest.mark.parametrize("element", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(INPUTS))
def test_loops_vectorise(name: str, element: str) -> None:
    body = library(element, False).body(name)
    found = re.search(r"^vector\.body:.*?^middle\.block:", body, re.M | re.S)
    assert found, "no vector loop"
    assert re.search(r"f(mul|add|sub) <\d+ x (double|float)>|@llvm\.fm\w+\.v\d+", found.group())
    calls = set(re.findall(r"call (?:fastcc )?(?:double|float) (@[\w.]+)", found.group()))
    assert all(FUNCTIONS[c.split(".")[1]].cold for c in calls if c.startswith("@scanlib")), calls
    assert not [c for c in calls if not c.startswith("@scanlib")], calls


def test_text_is_deterministic_and_minimal() -> None:
    text = definitions([("exp", "f64"), ("exp", "f64")])
    assert text == definitions({("exp", "f64")})
    assert text.count("define") == 1
    assert "two_over_pi" in definitions({("sin", "f32")})


@pytest.mark.parametrize("request_", [("exp", "i32"), ("exp", "f16"), ("intpow", "f64"), ("exp", "v0f64")])
def test_refused_types(request_: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="vector_math"):
        definitions([request_])


def test_documented_table_is_the_table() -> None:
    import scanlib.vector_math as package

    for name, function in FUNCTIONS.items():
        if any(function.ulps.values()):
            row = rf"\b{name}( \(\d\))?\s+{function.ulps['f32']}\s+{function.ulps['f64']}\b"
            assert re.search(row, str(package.__doc__)), name
