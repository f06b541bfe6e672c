"""The derivatives of every row of the operation table, by differences, over dtypes and broadcasting."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import scanlib.ops
import scanlib.tensor as T
from scanlib.gradient import grad_clip, grad_scale, zero_grad
from scanlib.ops.base import TABLE
from scanlib.verify import verify_grad

for _module in pkgutil.iter_modules(scanlib.ops.__path__):
    importlib.import_module(f"scanlib.ops.{_module.name}")

MODE = "reference"
rng = np.random.default_rng(11)
Shape = tuple[int, ...]


def between(low: float, high: float) -> Callable[[Shape], np.ndarray]:
    return lambda shape: np.asarray(rng.uniform(low, high, shape))


def off_zero(shape: Shape) -> np.ndarray:
    """Between 0.4 and 1.6 in size, of either sign: away from the corners at zero."""
    return np.asarray(rng.uniform(0.4, 1.6, shape) * rng.choice([-1, 1], shape))


def spread_out(shape: Shape) -> np.ndarray:
    """No two elements are closer than a half."""
    size = int(np.prod(shape))
    return np.asarray((rng.permutation(size) + rng.uniform(0, 0.5, size) + 0.25 - size / 2).reshape(shape))


any_ = between(-1.5, 1.5)
positive = between(0.5, 2.0)

# Elementwise rows: what each operand is drawn from.
ELEMENTWISE: dict[str, tuple[Callable[[Shape], np.ndarray], ...]] = {
    "add": (any_, any_), "sub": (any_, any_), "mul": (any_, any_), "true_div": (any_, off_zero),
    "mod": (between(0.1, 0.9), between(1.2, 2.0)), "pow": (positive, any_), "neg": (any_,),
    "abs": (off_zero,),
    "maximum": (between(-1, 0), between(0.2, 1)), "minimum": (between(-1, 0), between(0.2, 1)),
    "sqrt": (positive,), "exp": (any_,), "exp2": (any_,), "expm1": (any_,), "log": (positive,),
    "log2": (positive,), "log10": (positive,), "log1p": (positive,), "sin": (any_,), "cos": (any_,),
    "tan": (between(-1, 1),), "arcsin": (between(-0.8, 0.8),), "arccos": (between(-0.8, 0.8),),
    "arctan": (any_,), "sinh": (any_,), "cosh": (any_,), "tanh": (any_,), "arcsinh": (any_,),
    "arccosh": (between(1.5, 3),), "arctanh": (between(-0.8, 0.8),), "arctan2": (off_zero, off_zero),
    "erf": (any_,), "erfc": (any_,), "gamma": (between(1.0, 2.5),), "gammaln": (positive,),
    "psi": (positive,),
    "tri_gamma": (between(-0.8, -0.2),),
}  # fmt: skip
# Rows that are constant wherever they have a derivative.
FLAT = ("sign", "ceil", "floor", "round", "trunc", "floor_divide")
# Rows through which nothing flows: integers, booleans, shapes, random draws.
NO_FLOW = {
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "logical_not", "isnan",
    "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "shape", "shape_i", "all", "any",
    "argmax", "argmin", "argsort", "arange", "eye", "nonzero", "repeat_index", "disconnected_grad",
    "revolve_split", "revolve_plan",
}  # fmt: skip
# Rows with a test of their own elsewhere.
ELSEWHERE = {"scan"}

PATTERNS: dict[int, list[tuple[Shape, ...]]] = {
    1: [((),), ((3,),), ((2, 3),)],
    2: [
        ((), ()),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((2, 1), (1, 3)),
        ((), (3,)),
        ((1,), (3,)),
        ((2, 1, 2), (3, 1)),
    ],
}


def check(fun: Any, *points: Any, **options: Any) -> None:
    verify_grad(fun, [np.asarray(p) for p in points], mode=MODE, **{"n_tests": 1, **options})


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str) -> None:
    makers = ELEMENTWISE[name]
    for i, shapes in enumerate(PATTERNS[len(makers)]):
        points = [make(shape) for make, shape in zip(makers, shapes)]
        check(TABLE[name], *points, order=2 if i < 4 else 1)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_float32(name: str) -> None:
    makers = ELEMENTWISE[name]
    shapes = PATTERNS[len(makers)][2]
    points = [np.asarray(make(shape), "float32") for make, shape in zip(makers, shapes)]
    check(TABLE[name], *points)


# Whole numbers inside the domain of each operand; and, for `mod`, far from multiples of the other operand.
WHOLE = {"pow": (2, 2), "mod": (5, 2)}


@pytest.mark.parametrize("name", [n for n, makers in ELEMENTWISE.items() if len(makers) == 2])
@pytest.mark.parametrize(
    "dtypes", [("float64", "float32"), ("float32", "float64"), ("float64", "int32"), ("int32", "float64")]
)
def test_mixed_dtypes(name: str, dtypes: tuple[str, str]) -> None:
    points = []
    for make, dtype, whole in zip(ELEMENTWISE[name], dtypes, WHOLE.get(name, (-3, 2))):
        value = np.full((2, 3), whole) if dtype == "int32" else make((2, 3))
        points.append(value.astype(dtype))
    if name == "mod" and dtypes[0] == "int32":
        points[1] = np.full((2, 3), 1.45)
    check(TABLE[name], *points)


@pytest.mark.parametrize("name", FLAT)
def test_flat(name: str) -> None:
    count = 2 if name == "floor_divide" else 1
    points = [np.asarray([0.3, 1.7, -0.6]), np.full(3, 1.3)][:count]
    check(TABLE[name], *points)


@dataclass(frozen=True)
class Case:
    """One use of a row, or of a user function made of it."""

    row: str
    fun: Callable[..., Any]
    points: tuple[Any, ...]
    order: int = 2


def well(*shape: int) -> np.ndarray:
    """Well-conditioned matrices with distinct, positive eigenvalues."""
    n = shape[-1]
    return np.asarray(rng.normal(size=shape) * 0.2 + np.diag(np.arange(1.0, n + 1)))


def definite(n: int) -> np.ndarray:
    a = rng.normal(size=(n, n)) * 0.3
    return np.asarray(a @ a.T + np.diag(np.arange(1.0, n + 1)))


I2 = np.asarray([1, 0, 1])
CASES = [
    Case("cast", lambda x: T.cast(x, "float32"), (any_((3,)).astype("float32"),), 1),
    Case("cast", lambda x: T.cast(x, "float64") ** 2, (any_((3,)),)),
    Case(
        "switch", lambda c, x, y: T.switch(c, x * x, y), (np.asarray([True, False]), any_((3, 1)), any_((2,)))
    ),
    Case("reshape", lambda x: T.reshape(x, (3, -1)) ** 2, (any_((2, 6)),)),
    Case("dimshuffle", lambda x: x.dimshuffle(1, "x", 0) ** 2, (any_((2, 3)),)),
    Case("dimshuffle", lambda x: T.squeeze(x, 1) ** 2, (any_((2, 1, 3)),)),
    Case("broadcast_to", lambda x: T.broadcast_to(x, (4, 2, 3)) ** 2, (any_((2, 1)),)),
    Case("unbroadcast", lambda g, x: TABLE["unbroadcast"](g * g, x), (any_((4, 2, 3)), any_((2, 1)))),
    Case("specify_shape", lambda x: T.specify_shape(x, (2, 3)) ** 2, (any_((2, 3)),)),
    Case("concatenate", lambda x, y: T.concatenate([x, y * y, x], axis=1), (any_((2, 3)), any_((2, 1)))),
    Case("stack", lambda x, y: T.stack([x, y * y, x]), (any_((3,)), any_((3,)))),
    Case("spread", lambda x: T.sum(x * x, axis=1), (any_((2, 3)),)),
    Case("sum", lambda x: T.sum(x * x, axis=(0, 2), keepdims=True), (any_((2, 3, 2)),)),
    Case("sum", lambda x: T.mean(T.exp(x)) + T.var(x, axis=0), (any_((2, 3)),)),
    Case("prod", lambda x: T.prod(x, axis=1), (off_zero((2, 3)),)),
    Case("prod", lambda x: T.prod(x), (np.asarray([1.2, 0.0, -0.7]),)),
    Case("prod", lambda x: T.prod(x), (np.asarray([1.2, 0.0, 0.0]),), 1),
    Case("max", lambda x: T.max(x * 2, axis=1, keepdims=True), (spread_out((3, 4)),)),
    Case("min", lambda x: T.min(x * x * x), (spread_out((3, 4)),)),
    Case("contract", lambda x, y: T.dot(x, y), (any_((2, 3)), any_((3, 2)))),
    Case("contract", lambda x, y: T.dot(x, y), (any_((3,)), any_((3,)))),
    Case("contract", lambda x, y: T.matmul(x, y), (any_((2, 2, 3)), any_((3, 2)))),
    Case("contract", lambda x, y: T.batched_dot(x, y), (any_((2, 2, 3)), any_((2, 3, 1)))),
    Case("solve", lambda a, b: T.linalg.solve(a, b), (well(3, 3), any_((3, 2)))),
    Case("solve", lambda a, b: T.linalg.solve(a, b), (well(3, 3), any_((3,)))),
    Case(
        "solve_triangular",
        lambda a, b: T.linalg.solve_triangular(a, b, lower=True),
        (well(3, 3), any_((3, 2))),
    ),
    Case("cholesky", lambda a: T.linalg.cholesky(T.dot(a, a.T)), (well(3, 3),)),
    Case("inv", lambda a: T.linalg.inv(a), (well(3, 3),)),
    Case("det", lambda a: T.linalg.det(a), (well(3, 3),)),
    Case("slogdet", lambda a: T.linalg.slogdet(a)[1], (well(3, 3),)),
    Case("eigh", lambda a: T.linalg.eigh(a)[0], (definite(3),)),
    Case("eigh", lambda a: abs(T.linalg.eigh(a)[1]), (definite(3),), 1),
    Case("qr", lambda a: T.linalg.qr(a), (well(3, 3),)),
    Case("qr", lambda a: T.linalg.qr(a), (any_((4, 2)),), 1),
    Case("svd", lambda a: T.svd(a, full_matrices=False)[0] ** 2, (well(3, 3),)),
    Case("svd", lambda a: T.svd(a, full_matrices=False)[0] ** 2, (any_((4, 2)),)),
    Case("svd", lambda a: T.svd(a, full_matrices=False)[2] ** 2, (any_((2, 2, 4)),), 1),
    Case("svd", lambda a: T.svdvals(a), (any_((2, 3)),)),
    Case("pinv", lambda a: T.pinv(a), (any_((3, 2)),)),
    Case("pinv", lambda a: T.pinv(a), (any_((2, 2, 3)),), 1),
    Case("pinv", lambda a: T.pinv(a), (np.eye(3),)),
    Case("permute_last", lambda x: TABLE["permute_last"](x * x, T.constant([2, 0, 1])), (any_((3,)),)),
    Case("sort", lambda x: T.sort(x, axis=0) ** 2 * T.constant([[1.0], [2.0], [3.0]]), (spread_out((3, 2)),)),
    Case("cumsum", lambda x: T.cumsum(x * x, axis=1), (any_((2, 3)),)),
    Case("cumprod", lambda x: T.cumprod(x, axis=0), (off_zero((3, 2)),)),
    Case("cumprod", lambda x: T.cumprod(x, axis=0), (np.asarray([1.5, 0.0, 2.0, 0.0]),), 1),
    Case("diagonal", lambda x: T.diagonal(x, 1) ** 2, (any_((3, 4)),)),
    Case("diagonal", lambda x: T.trace(x @ x), (any_((3, 3)),)),
    Case("subtensor", lambda x: x[::-2, 1] ** 2, (any_((4, 3)),)),
    Case("subtensor", lambda x, i: x[i] * x[i:].sum(0), (any_((4, 3)), np.int64(1))),
    Case("set_subtensor", lambda x, v: T.set_subtensor(x[1:, 0], v) ** 2, (any_((3, 2)), any_((2,)))),
    Case("set_subtensor", lambda x, v: T.inc_subtensor((x * x)[::2], v), (any_((3, 2)), any_((2,)))),
    Case("gather", lambda x, i: x[i] ** 2, (any_((2, 3)), I2)),
    Case("gather", lambda x, i: x[:, i] ** 2, (any_((3, 2)), I2)),
    Case("scatter", lambda x, v, i: T.inc_subtensor(x[i], v) ** 2, (any_((2, 2)), any_((3, 2)), I2)),
    Case(
        "scatter",
        lambda x, v, i: T.set_subtensor(x[i], v) ** 2,
        (any_((3, 2)), any_((2, 2)), np.asarray([2, 0])),
    ),
    Case("gather", lambda x, m: x[m] ** 2, (any_((3,)), np.asarray([True, False, True]))),
    Case("gather", lambda x, n: T.repeat(x * x, n), (any_((3,)), np.asarray([2, 0, 1]))),
    Case(
        "ifelse",
        lambda c, x, y: scanlib.ifelse.ifelse(c, x * y, x + y),
        (np.asarray(True), any_((3,)), any_((3,))),
    ),
    Case(
        "ifelse",
        lambda c, x, y: scanlib.ifelse.ifelse(c, x * y, x + y),
        (np.asarray(False), any_(()), any_(())),
    ),
    Case("history", lambda x, y: TABLE["history"](x * x, y), (any_((2, 3)), any_((1, 3)))),
    Case("history", lambda x, y: TABLE["history"](x * x, y * y)[-3:], (any_((4,)), any_((2,)))),
    Case("pad_start", lambda x: TABLE["pad_start"](x * x, T.constant(5)), (any_((3, 2)),)),
    Case("pad_start", lambda x: TABLE["pad_start"](x * x, T.constant(2)), (any_((3,)),)),
    Case("pad_end", lambda x: TABLE["pad_end"](x * x, T.constant(5)), (any_((3, 2)),)),
    Case("pad_end", lambda x: TABLE["pad_end"](x * x, T.constant(2)), (any_((3,)),)),
    Case("grad_scale", lambda x: grad_scale(x, 1.0) ** 2, (any_((3,)),)),
    Case("grad_clip", lambda x: grad_clip(x, -99, 99) ** 2, (any_((3,)),)),
    Case("zero_grad", lambda x: zero_grad(x) * 0 + x * x, (any_((3,)),)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.row)
def test_rows(case: Case) -> None:
    check(case.fun, *case.points, order=case.order)


FLAGS = [dict(reverse=r, exclusive=e) for r in (False, True) for e in (False, True)]


@pytest.mark.parametrize("flags", FLAGS)
def test_linear_recurrence(flags: dict[str, bool]) -> None:
    check(
        lambda a, b: TABLE["linear_recurrence"](a, b, axis=0, **flags),
        off_zero((3, 2)),
        any_((3, 2)),
        order=2,
    )


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_accumulations(name: str, flags: dict[str, bool]) -> None:
    check(lambda x: TABLE[name](x, axis=0, **flags), off_zero((3, 2)), order=2)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "softmax", "log_softmax", "logsumexp"])
def test_compositions(name: str) -> None:
    check(getattr(T.nnet, name, None) or getattr(T, name), any_((2, 3)), order=2)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "contract", "cumsum", "solve", "cholesky"])
def test_float32(name: str) -> None:
    case = next(c for c in CASES if c.row == name)
    points = [np.asarray(p, "float32") for p in case.points]
    check(case.fun, *points)


def test_every_row_is_covered() -> None:
    covered = {*ELEMENTWISE, *FLAT, *NO_FLOW, *ELSEWHERE, *(c.row for c in CASES), "linear_recurrence"}
    covered |= {name for name in TABLE if name.startswith(("mt_", "philox_"))}
    assert sorted(set(TABLE) - covered) == []
    without = {name for name, op in TABLE.items() if op.gradient is None or op.forward is None}
    assert without == set()
