"""Every elementwise row × dtype × shape class against NumPy; and the user functions composed of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as sp

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserTypeError, UserValueError
from scanlib.graph import DTYPES, TensorType, Variable
from scanlib.ops.base import TABLE, Inference, Op, Pointwise

ROWS = sorted(name for name, row in TABLE.items() if isinstance(row.lower, Pointwise))

# What rows mean, where NumPy's name differs; a row found nowhere is compared with its own reference.
MEANING = {
    "sub": np.subtract, "mul": np.multiply, "true_div": np.true_divide, "neg": np.negative,
    "abs": np.absolute,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "round": np.rint, "erf": sp.erf, "erfc": sp.erfc, "gammaln": sp.gammaln,
    "psi": sp.psi,
    "switch": np.where,
}  # fmt: skip
OWN_MEANING = ("pow", "cast", "gamma", "tri_gamma")
# Shapes of the operands, by name of the class.
SHAPES = {
    "0-d": [(), (), ()],
    "length 1": [(1,), (1,), (1,)],
    "empty": [(0,), (0,), (0,)],
    "short": [(7,), (7,), (7,)],
    "long": [(37,), (37,), (37,)],
    "matrix": [(3, 5), (3, 5), (3, 5)],
    "wide": [(2, 21), (2, 21), (2, 21)],
    "row": [(1, 5), (3, 5), (3, 1)],
    "column": [(3, 1), (1, 20), (20,)],
    "scalar with matrix": [(), (2, 3), (3,)],
    "three axes": [(2, 1, 3), (4, 1), (1, 1, 1)],
    "empty rows": [(0, 3), (3,), (1, 3)],
}


def arity(row: Op) -> int:
    if row.name == "switch":
        return 3
    assert isinstance(row.lower, Pointwise)
    return 2 if any("{1}" in t for t in row.lower.llvm.values()) else 1


def accepts(row: Op, dtypes: list[str]) -> bool:
    try:
        row.infer(Inference(inputs_of(dtypes), {"dtype": "int64"}))
    except UserTypeError:
        return False
    return True


def inputs_of(dtypes: list[str], shapes: list[tuple[int, ...]] | None = None) -> list[Variable]:
    shapes = shapes or [()] * len(dtypes)
    # Static where 1 long, so that broadcasting is known both before and when running.
    return [
        Variable(TensorType(d, tuple(1 if n == 1 else None for n in s)), name=f"x{i}")
        for i, (d, s) in enumerate(zip(dtypes, shapes, strict=True))
    ]


def sample(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], special: bool) -> np.ndarray:
    """Random elements; if `special`, half of them among the values that break things."""
    size = int(np.prod(shape))
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype.startswith("float"):
        plain = rng.normal(0, 2, size)
        odd = np.array(
            [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 30.0, -40.0, np.inf, -np.inf, np.nan, 1e-30, 1e30]
        )
    else:
        limits = np.iinfo(dtype)
        plain = rng.integers(max(limits.min, -6), 7, size)
        odd = np.array([0, 1, 2, limits.max, limits.min, limits.max // 3], dtype)
    chosen = np.where(
        rng.random(size) < (0.5 if special else 0), rng.choice(odd, size), plain.astype(odd.dtype)
    )
    return chosen.astype(dtype).reshape(shape)


def expected(row: Op, params: dict, arrays: list[np.ndarray]) -> np.ndarray:
    with np.errstate(all="ignore"):
        own = np.asarray(row.reference(params, *arrays))
        meaning = MEANING.get(row.name, getattr(np, row.name, None))
        if meaning is None or row.name in OWN_MEANING:
            return own
        # float32 stands for NumPy's float16.
        small = own.dtype == np.float32 and all(a.dtype.itemsize < 4 for a in arrays)
        return np.asarray(meaning(*[a.astype(np.float32) for a in arrays] if small else arrays))


def tolerance(dtype: np.dtype) -> dict[str, float]:
    if dtype == np.float32:
        return {"rtol": 2e-6, "atol": 1e-6}
    return {"rtol": 2e-13, "atol": 1e-13}


def check(got: np.ndarray, wanted: np.ndarray, what: str) -> None:
    assert got.dtype == wanted.dtype, f"{what}: {got.dtype}, expected {wanted.dtype}"
    assert got.shape == wanted.shape, what
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(got, wanted, err_msg=what, **tolerance(wanted.dtype))
    else:
        np.testing.assert_array_equal(got, wanted, err_msg=what)


def run(mode: str, row: Op, cases: list[tuple[list[np.ndarray], dict]]) -> None:
    """One function with an output per case."""
    inputs, outputs, values = [], [], []
    for arrays, params in cases:
        operands = inputs_of([a.dtype.name for a in arrays], [a.shape for a in arrays])
        inputs += operands
        values += arrays
        outputs.append(row(*operands, **params))
    for x in inputs:
        x.name = None
    results = scanlib.function(inputs, outputs, mode=mode)(*values)
    for (arrays, params), got in zip(cases, results, strict=True):
        what = f"{row.name} of {[(a.dtype.name, a.shape) for a in arrays]} {params or ''}"
        check(got, expected(row, params, arrays), what)


def parameters(name: str, dtype: str) -> list[dict]:
    if name != "cast":
        return [{}]
    # What a float out of range becomes as an integer differs between machines.
    return [{"dtype": d} for d in (("float32", "float64") if dtype.startswith("float") else DTYPES)]


@pytest.mark.parametrize("name", ROWS)
def test_row_on_every_dtype(name: str, mode: str) -> None:
    row, rng = TABLE[name], np.random.default_rng(5)
    cases = []
    for dtype in DTYPES:
        dtypes = ["bool", dtype, dtype] if name == "switch" else [dtype] * arity(row)
        if accepts(row, dtypes):
            arrays = [sample(rng, d, (45,), special=True) for d in dtypes]
            cases += [(arrays, params) for params in parameters(name, dtype)]
    assert cases
    run(mode, row, cases)


@pytest.mark.parametrize("name", ROWS)
def test_row_on_every_shape(name: str, mode: str) -> None:
    row, rng = TABLE[name], np.random.default_rng(6)
    dtype = "float64" if accepts(row, ["bool", *["float64"] * 2][-arity(row) :]) else "int64"
    dtypes = ["bool", dtype, dtype][-arity(row) :]
    params = {"dtype": "float32"} if name == "cast" else {}
    cases = []
    # One operand cannot broadcast: each class of shape once.
    classes = SHAPES if arity(row) > 1 else ("0-d", "length 1", "empty", "long", "wide")
    for shapes in [SHAPES[c][: arity(row)] for c in classes]:
        cases.append(
            ([sample(rng, d, s, special=False) for d, s in zip(dtypes, shapes, strict=True)], params)
        )
    run(mode, row, cases)


@pytest.mark.parametrize("name", ["add", "true_div", "pow", "maximum", "floor_divide", "mod", "lt", "switch"])
def test_mixed_dtypes(name: str, mode: str) -> None:
    row, rng = TABLE[name], np.random.default_rng(7)
    pairs = [
        ("float32", "float64"), ("int8", "float32"), ("int32", "float32"), ("int64", "float32"),
        ("bool", "int16"),
        ("uint8", "int8"), ("uint32", "int64"), ("uint64", "int64"), ("bool", "float32"),
    ]  # fmt: skip
    cases = []
    for a, b in pairs:
        dtypes = ["bool", a, b] if name == "switch" else [a, b]
        cases.append(([sample(rng, d, (9,), special=False) for d in dtypes], {}))
    run(mode, row, cases)


def test_float_to_integer_casts(mode: str) -> None:
    x = np.array([0.0, -0.0, 1.9, -1.9, 100.5, -100.5])
    v = T.dvector()
    f = scanlib.function([v], [T.cast(v, d) for d in DTYPES], mode=mode)
    for dtype, got in zip(DTYPES, f(x), strict=True):
        if not dtype.startswith("u"):
            check(got, x.astype(dtype), dtype)


def evaluate(mode: str, result: Variable, *pairs: tuple[Variable, object]) -> np.ndarray:
    return scanlib.function([v for v, _ in pairs], result, mode=mode)(*[a for _, a in pairs])


# User functions.


@pytest.mark.parametrize("exponent", [1, 2, 3, 5, 8, 9, 0.5, -1, -2, 0, 1.5])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_constant_powers(exponent: float, dtype: str, mode: str) -> None:
    x = T.vector(dtype=dtype)
    values = np.array([0.5, 1.0, 2.0, 3.7], dtype)
    check(evaluate(mode, x**exponent, (x, values)), values**exponent, f"x ** {exponent}")


def test_constant_powers_are_products() -> None:
    x = T.vector()
    assert {node.op.name for node in scanlib.graph.toposort([x**5])} == {"mul"}
    assert {node.op.name for node in scanlib.graph.toposort([x**0.5])} == {"sqrt"}


def test_integer_to_a_known_negative_power_is_refused() -> None:
    with pytest.raises(UserValueError, match=r"'n'"):
        T.ivector("n") ** -1


def test_python_numbers_are_weak(mode: str) -> None:
    x = T.fvector()
    result = 2.0 * x + 1 - True
    assert result.dtype == "float32"
    np.testing.assert_allclose(evaluate(mode, result, (x, np.ones(3, "float32"))), 2)
    assert (T.bvector() + 1).dtype == "int8"
    assert (T.ivector() * 0.5).dtype == "float64"


def test_comparison_of_uint64_with_signed_is_exact(mode: str) -> None:
    a = np.array([-1, 0, 5, 2**62, 2**62 + 1], "int64")
    b = np.array([2**64 - 1, 0, 4, 2**62 + 1, 2**62], "uint64")
    x, y = T.lvector(), T.vector(dtype="uint64")
    names = {"eq": "equal", "neq": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater"}
    names["ge"] = "greater_equal"
    for name, ufunc in names.items():
        compare = getattr(T, name)
        f = scanlib.function([x, y], [compare(x, y), compare(y, x)], mode=mode)
        first, second = f(a, b)
        np.testing.assert_array_equal(first, getattr(np, ufunc)(a, b), name)
        np.testing.assert_array_equal(second, getattr(np, ufunc)(b, a), name)


@pytest.mark.parametrize(
    ("function", "meaning"),
    [
        (T.isinf, np.isinf), (T.isfinite, np.isfinite), (T.isnan, np.isnan), (T.sqr, np.square),
        (T.deg2rad, np.deg2rad), (T.rad2deg, np.rad2deg),
        (lambda x: T.clip(x, -1, 2), lambda x: np.clip(x, -1, 2)),
        (T.reciprocal, lambda x: 1 / x), (T.round, np.round), (T.ceil, np.ceil), (T.abs, np.abs),
        (lambda x: T.isclose(x, 1.0), lambda x: np.isclose(x, 1.0)),
        (lambda x: T.round(x, "half_away_from_zero"), lambda x: np.trunc(x + np.copysign(0.5, x))),
    ],
)  # fmt: skip
def test_compositions(function, meaning, mode: str) -> None:
    x = T.dvector()
    values = np.array([0.0, 1.0, -1.0, 2.5, -2.5, 0.49, 1 + 1e-9, np.inf, -np.inf, np.nan])
    with np.errstate(all="ignore"):
        check(evaluate(mode, function(x), (x, values)), np.asarray(meaning(values)), "composition")


def test_functions_of_integers(mode: str) -> None:
    x, u = T.ivector(), T.vector(dtype="uint8")
    values = np.array([-3, 0, 4], "int32")
    for name in ("ceil", "floor", "trunc", "round"):
        assert evaluate(mode, getattr(T, name)(x), (x, values)).tolist() == [-3, 0, 4]
    assert evaluate(mode, T.invert(x), (x, values)).tolist() == (~values).tolist()
    assert evaluate(mode, T.invert(u), (u, np.array([0, 7], "uint8"))).tolist() == [255, 248]
    assert evaluate(mode, T.abs(u), (u, np.array([0, 7], "uint8"))).tolist() == [0, 7]


def test_sigmoid_and_softplus_are_accurate_at_both_ends(mode: str) -> None:
    values = np.array([-700.0, -400.0, -40.0, -1.0, 0.0, 1.0, 40.0, 400.0, 1000.0, np.inf, -np.inf])
    x = T.dvector()
    nnet = T.nnet
    wanted = {
        nnet.sigmoid: sp.expit(values),
        nnet.softplus: np.logaddexp(0, values),
        nnet.log_sigmoid: sp.log_expit(values),
    }
    for function, value in wanted.items():
        np.testing.assert_allclose(evaluate(mode, function(x), (x, values)), value, rtol=1e-13)
    y = np.array([np.inf, -np.inf, 1.0, -np.inf, 700.0])
    a, b = np.meshgrid(y, y)
    u, v = T.dmatrices(2)
    np.testing.assert_allclose(
        evaluate(mode, T.logaddexp(u, v), (u, a), (v, b)), np.logaddexp(a, b), rtol=1e-14
    )


def test_functions_of_networks(mode: str) -> None:
    nnet, x = T.nnet, T.dmatrix()
    values = np.array([[-2.0, 0.0, 3.0], [0.5, -0.1, np.nan]])
    positive = values > 0
    cases = {
        "relu": (nnet.relu(x), np.maximum(values, 0)),
        "leaky relu": (nnet.relu(x, 0.1), np.where(positive | np.isnan(values), values, 0.1 * values)),
        "elu": (nnet.elu(x), np.where(positive, values, np.expm1(np.minimum(values, 0)))),
        "softsign": (nnet.softsign(x), values / (1 + np.abs(values))),
        "hard_sigmoid": (nnet.hard_sigmoid(x), np.clip(0.2 * values + 0.5, 0, 1)),
    }
    for name, (result, wanted) in cases.items():
        check(evaluate(mode, result, (x, values)), wanted, name)


def test_crossentropies(mode: str) -> None:
    nnet, rng = T.nnet, np.random.default_rng(1)
    z, t = rng.normal(size=5), rng.random(5)
    x, y = T.dvectors(2)
    p = sp.expit(z)
    wanted = -(t * np.log(p) + (1 - t) * np.log1p(-p))
    np.testing.assert_allclose(evaluate(mode, nnet.binary_crossentropy(x, y), (x, p), (y, t)), wanted)
    np.testing.assert_allclose(evaluate(mode, nnet.sigmoid_binary_crossentropy(x, y), (x, z), (y, t)), wanted)
    rows = sp.softmax(rng.normal(size=(4, 3)), axis=1)
    m, classes = T.dmatrix(), T.lvector()
    numbers = np.array([0, 2, 1, 1])
    got = evaluate(mode, nnet.categorical_crossentropy(m, classes), (m, rows), (classes, numbers))
    np.testing.assert_allclose(got, -np.log(rows[np.arange(4), numbers]))
    onehot = np.eye(3)[numbers]
    w = T.dmatrix()
    got = evaluate(mode, nnet.categorical_crossentropy(m, w), (m, rows), (w, onehot))
    np.testing.assert_allclose(got, -np.log(rows[np.arange(4), numbers]))


# Bad input.


def test_errors_name_the_variables() -> None:
    with pytest.raises(UserTypeError, match=r"'flag'"):
        -T.vector("flag", dtype="bool")
    with pytest.raises(UserTypeError, match=r"'weight'"):
        T.vector("weight") & 1
    with pytest.raises(UserTypeError, match=r"'weight'"):
        T.invert(T.vector("weight"))
    with pytest.raises(UserValueError, match=r"'a'.*'b'"):
        T.matrix("a", shape=(2, 3)) + T.matrix("b", shape=(2, 4))


def test_shapes_that_do_not_broadcast_are_a_user_error_when_running(mode: str) -> None:
    a, b = T.dvector("a"), T.dvector("b")
    f = scanlib.function([a, b], a * b, mode=mode)
    with pytest.raises(UserValueError, match=r"'a'.*'b'"):
        f(np.ones(20), np.ones(30))
    with pytest.raises(UserValueError, match=r"'a'.*'b'"):
        f(np.ones(2), np.ones(3))
