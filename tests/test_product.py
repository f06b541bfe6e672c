"""dot, matmul and their relatives against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserTypeError, UserValueError
from scanlib.graph import DTYPES, TensorType, Variable


def variable(a: np.ndarray, name: str, static: bool = False) -> Variable:
    return Variable(TensorType(a.dtype.name, a.shape if static else (None,) * a.ndim), name=name)


def values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype.startswith("float"):
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 4, shape).astype(dtype)


def run(mode: str, function, meaning, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Every pair twice, with static shapes and without, all in one function."""
    inputs, outputs, arrays, expected = [], [], [], []
    for (a, b), static in itertools.product(pairs, [False, True]):
        x, y = variable(a, "a", static), variable(b, "b", static)
        inputs += [x, y]
        arrays += [a, b]
        outputs.append(function(x, y))
        expected.append(np.asarray(meaning(a, b)))
    for x in inputs:
        x.name = None
    results = scanlib.function(inputs, outputs, mode=mode)(*arrays)
    for got, wanted, a, b in zip(results, expected, arrays[::2], arrays[1::2], strict=True):
        what = f"{a.dtype}{a.shape}, {b.dtype}{b.shape}"
        assert got.dtype == wanted.dtype and got.shape == wanted.shape, what
        rtol = {"float32": 1e-4, "float64": 1e-12}.get(wanted.dtype.name, 0)
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol, err_msg=what)


def pairs_of(*shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [(values(rng, "float64", a), values(rng, "float64", b)) for a, b in shapes]


PLAIN = [
    ((3,), (3,)), ((0,), (0,)), ((40,), (40,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)),
    ((1, 3), (3, 1)),
    ((20, 30), (30, 25)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((1, 64), (64, 50)), ((64, 1), (1, 3)),
]  # fmt: skip


def test_dot(mode: str) -> None:
    more = [
        ((), (2, 3)),
        ((3,), ()),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (4,)),
        ((2, 3), (4, 3, 5)),
        ((3,), (2, 3, 4)),
    ]
    run(mode, T.dot, np.dot, pairs_of(*PLAIN, *more))


def test_matmul(mode: str) -> None:
    more = [
        ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 3)),
        ((2, 3, 4), (4,)), ((2, 3, 4), (2, 4, 30)), ((1, 3, 4), (2, 4, 3)),
    ]  # fmt: skip
    run(mode, T.matmul, np.matmul, pairs_of(*PLAIN, *more))


@pytest.mark.parametrize("shapes", [((2, 3), (3, 4)), ((3,), (3,)), ((20, 30), (30, 20))])
def test_dtypes(shapes: tuple[tuple[int, ...], tuple[int, ...]], mode: str) -> None:
    rng = np.random.default_rng(2)
    dtypes = [(d, d) for d in DTYPES] + [("float32", "float64"), ("int32", "float32"), ("int8", "int64")]
    run(mode, T.dot, np.dot, [(values(rng, a, shapes[0]), values(rng, b, shapes[1])) for a, b in dtypes])


@pytest.mark.parametrize(
    ("axes", "shapes"),
    [
        (0, ((2,), (3, 2))),
        (1, ((2, 3), (3, 4))),
        (2, ((2, 3, 4), (3, 4, 5))),
        (2, ((3, 4), (3, 4))),
        ([[1], [0]], ((2, 3, 4), (3, 5))),
        ([[0, 2], [2, 0]], ((2, 3, 4), (4, 5, 2))),
        ((-1, -1), ((2, 3), (4, 3))),
    ],
)
def test_tensordot(axes, shapes, mode: str) -> None:
    run(mode, lambda x, y: T.tensordot(x, y, axes), lambda x, y: np.tensordot(x, y, axes), pairs_of(shapes))


def test_outer_and_inner(mode: str) -> None:
    pairs = pairs_of(((3,), (4,)), ((2, 3), (4,)), ((0,), (3,)), ((30,), (20,)))
    run(mode, T.outer, np.outer, pairs)
    run(mode, T.inner, np.inner, pairs_of(((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,)), ((), (3,))))


def test_batched_dot(mode: str) -> None:
    def meaning(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.stack([np.dot(x, y) for x, y in zip(a, b, strict=True)])

    shapes = [
        ((3,), (3,)),
        ((3, 4), (3, 4)),
        ((3, 2, 4), (3, 4)),
        ((3, 4), (3, 4, 2)),
        ((3, 2, 4), (3, 4, 5)),
    ]
    run(mode, T.batched_dot, meaning, pairs_of(*shapes))


def test_operands_may_be_views(mode: str) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(20, 30)), rng.normal(size=(40, 30))
    x, y = T.dmatrices(2)
    f = scanlib.function(
        [x, y], [T.dot(x, y.T), T.dot(x[::2], y.T[:, ::-3]), T.dot(x[3], y[::-1].T)], mode=mode
    )
    wanted = [a @ b.T, a[::2] @ b.T[:, ::-3], a[3] @ b[::-1].T]
    for got, w in zip(f(a, b), wanted, strict=True):
        np.testing.assert_allclose(got, w, rtol=1e-12)


def test_mismatch_known_now_names_both_variables() -> None:
    with pytest.raises(UserValueError, match=r"'a'.*'b'.*3.*4"):
        T.dot(T.matrix("a", shape=(2, 3)), T.matrix("b", shape=(4, 5)))
    with pytest.raises(UserValueError, match=r"'a'.*'b'"):
        T.dot(T.vector("a", shape=(3,)), T.vector("b", shape=(4,)))
    with pytest.raises(UserValueError, match=r"'a'.*'b'"):
        T.dot(T.vector("a", shape=(3,)), T.matrix("b", shape=(4, 2), dtype="float32"))
    with pytest.raises(UserTypeError, match=r"'s'"):
        T.matmul(T.scalar("s"), T.matrix())
    with pytest.raises(UserValueError, match=r"tensordot"):
        T.tensordot(T.matrix("a"), T.matrix("b"), 3)
    with pytest.raises(UserTypeError, match=r"'v'"):
        T.batched_dot(T.tensor4("v"), T.matrix())


@pytest.mark.parametrize(
    "shapes", [((2, 3), (4, 5)), ((20, 30), (40, 50)), ((3,), (4,)), ((1,), (4,)), ((3,), (40, 5))]
)
def test_mismatch_when_running_names_both_variables(shapes, mode: str) -> None:
    a, b = np.ones(shapes[0]), np.ones(shapes[1])
    x, y = variable(a, "a"), variable(b, "b")
    f = scanlib.function([x, y], T.dot(x, y), mode=mode)
    with pytest.raises(UserValueError, match=r"'a'.*'b'"):
        f(a, b)


def test_messages_write_products_as_they_are_written(mode: str) -> None:
    a, b, v = T.matrix("a"), T.matrix("b"), T.vector("v")
    for made, message in [
        ((a @ b)[9], "index 9 .* of 'a @ b', which is 2 long"),
        (T.dot(a, b) + v, r"add of 'a @ b' .*, 'v' .*: 3 against 2"),
        (T.dot(T.dot(a, a), b) @ v, r"product of '… @ b' and 'v'"),
    ]:
        f = scanlib.function([a, b, v], made, mode=mode, on_unused_input="ignore")
        with pytest.raises((UserValueError, IndexError), match=message):
            f(np.ones((2, 2)), np.ones((2, 3)), np.ones(2))
