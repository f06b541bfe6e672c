"""Shape functions against NumPy, for shapes known and not known while the graph is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError, UserTypeError, UserValueError
from scanlib.graph import Constant, Variable
from scanlib.ops.shape import unbroadcast
from scanlib.verify import verify_grad

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4))
A, B = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3))

# (name, function of x, what NumPy does)
REARRANGED: list[tuple[str, Any, Any]] = [
    ("reshape", lambda x: x.reshape((4, 6)), lambda a: a.reshape(4, 6)),
    ("reshape -1", lambda x: x.reshape(4, -1), lambda a: a.reshape(4, -1)),
    ("reshape ()", lambda x: x[:1, 0, 0].reshape(()), lambda a: a[:1, 0, 0].reshape(())),
    (
        "reshape shape",
        lambda x: T.reshape(x, (x.shape[1], x.shape[0] * x.shape[2])),
        lambda a: a.reshape(3, 8),
    ),
    ("reshape slice", lambda x: x[0].reshape(x.shape[1:][::-1]), lambda a: a[0].reshape(4, 3)),
    ("reshape stack", lambda x: x.reshape(T.stack([x.shape[2], -1])), lambda a: a.reshape(4, -1)),
    ("reshape view", lambda x: x.T.reshape((2, 12)), lambda a: a.T.reshape(2, 12)),
    ("flatten", lambda x: x.flatten(), lambda a: a.ravel()),
    ("flatten 2", lambda x: T.flatten(x, 2), lambda a: a.reshape(2, 12)),
    ("ravel", lambda x: x.T.ravel(), lambda a: a.T.ravel()),
    ("dimshuffle", lambda x: x.dimshuffle(2, "x", 0, 1), lambda a: a.transpose(2, 0, 1)[:, None]),
    ("dimshuffle list", lambda x: x.dimshuffle((-1, 0, 1)), lambda a: a.transpose(2, 0, 1)),
    ("dimshuffle drop", lambda x: x[:, :1].dimshuffle(2, 0), lambda a: a[:, 0].T),
    ("T", lambda x: x.T, lambda a: a.T),
    ("transpose", lambda x: x.transpose(1, 0, 2), lambda a: a.transpose(1, 0, 2)),
    ("transpose tuple", lambda x: T.transpose(x, (2, 0, -2)), lambda a: a.transpose(2, 0, 1)),
    ("swapaxes", lambda x: x.swapaxes(0, -1), lambda a: a.swapaxes(0, -1)),
    ("moveaxis", lambda x: T.moveaxis(x, 0, -1), lambda a: np.moveaxis(a, 0, -1)),
    ("moveaxis 2", lambda x: T.moveaxis(x, (2, 0), (0, 1)), lambda a: np.moveaxis(a, (2, 0), (0, 1))),
    ("squeeze", lambda x: x[:, None].squeeze(), lambda a: a),
    ("squeeze axis", lambda x: T.squeeze(x[:1, :, :1], (0, -1)), lambda a: a[0, :, 0]),
    ("expand_dims", lambda x: T.expand_dims(x, 1), lambda a: a[:, None]),
    ("expand_dims 2", lambda x: T.expand_dims(x, (0, -1)), lambda a: a[None, ..., None]),
    ("padleft", lambda x: T.shape_padleft(x, 2), lambda a: a[None, None]),
    ("padright", lambda x: T.shape_padright(x), lambda a: a[..., None]),
    ("padaxis", lambda x: T.shape_padaxis(x, 1), lambda a: a[:, None]),
    ("broadcast_to", lambda x: T.broadcast_to(x, (5, 2, 3, 4)), lambda a: np.broadcast_to(a, (5, 2, 3, 4))),
    ("broadcast 1", lambda x: T.broadcast_to(x[:, :1], x.shape) + x, lambda a: a[:, :1] + a),
    (
        "concatenate",
        lambda x: T.concatenate([x, x[:, :1], x[:, 3:]], 1),
        lambda a: np.concatenate([a, a[:, :1]], 1),
    ),
    ("join", lambda x: T.join(-1, x, x), lambda a: np.concatenate([a, a], -1)),
    ("stack", lambda x: T.stack([x, x * 2, x], axis=-1), lambda a: np.stack([a, a * 2, a], -1)),
    ("old stack", lambda x: T.stack(x[0], x[1] + 1), lambda a: np.stack([a[0], a[1] + 1])),
    ("vertical", lambda x: T.vertical_stack(x[0], x[1]), lambda a: np.vstack([a[0], a[1]])),
    ("horizontal", lambda x: T.horizontal_stack(x[0], x[1]), lambda a: np.hstack([a[0], a[1]])),
    ("split", lambda x: T.split(x, [1, 0, 2], 3, axis=1)[2], lambda a: a[:, 1:]),
    ("tile", lambda x: T.tile(x, (2, 1, 3)), lambda a: np.tile(a, (2, 1, 3))),
    ("tile more", lambda x: T.tile(x[0], (2, 1, 3)), lambda a: np.tile(a[0], (2, 1, 3))),
    ("tile less", lambda x: T.tile(x, 2), lambda a: np.tile(a, 2)),
    ("tile 0", lambda x: T.tile(x, (0, 1, 1)), lambda a: np.tile(a, (0, 1, 1))),
    ("repeat", lambda x: T.repeat(x, 3), lambda a: np.repeat(a, 3)),
    ("repeat axis", lambda x: x.repeat(2, 1), lambda a: a.repeat(2, 1)),
    ("repeat each", lambda x: T.repeat(x, [2, 0, 3], 1), lambda a: a.repeat([2, 0, 3], 1)),
    ("roll", lambda x: T.roll(x, 5), lambda a: np.roll(a, 5)),
    ("roll axis", lambda x: T.roll(x, -1, 2), lambda a: np.roll(a, -1, 2)),
    ("specify", lambda x: T.specify_shape(x, (2, None, 4)), lambda a: a),
    ("pattern", lambda x: T.patternbroadcast(x[:1], (True, False, False)), lambda a: a[:1]),
    ("rebroadcast", lambda x: T.Rebroadcast((1, True))(x[:, :1]), lambda a: a[:, :1]),
    ("copy", lambda x: x.copy(), lambda a: a),
    ("shape", lambda x: x.shape, lambda a: np.array(a.shape)),
    ("shape[i]", lambda x: x.shape[-1] + x.shape[0], lambda a: np.array(6)),
    ("shape[sym]", lambda x: x.shape[T.eq(x[0, 0, 0], x[0, 0, 0]).astype("int64")], lambda a: np.array(3)),
    ("size", lambda x: x.size, lambda a: np.array(24)),
]


def run(mode: str, inputs: list[Variable], outputs: Any, *values: Any) -> Any:
    return scanlib.function(inputs, outputs, mode=mode, on_unused_input="ignore")(*values)


@pytest.mark.parametrize("static", [False, True])
def test_as_numpy(static: bool, mode: str) -> None:
    x = T.tensor("float64", shape=X.shape if static else (None,) * 3, name="x")
    outputs = [f(x) for _, f, _ in REARRANGED]
    got = run(mode, [x], outputs, X)
    for (name, _, meaning), output, a in zip(REARRANGED, outputs, got, strict=True):
        want = meaning(X)
        assert a.shape == want.shape, name
        np.testing.assert_allclose(a, want, err_msg=name)
        assert all(d is None or d == n for d, n in zip(output.type.shape, want.shape, strict=True)), name
        # What does not hang on data has a static shape.
        assert not static or None not in output.type.shape or name == "repeat each", (name, output.type)


def test_sizes_above_the_small_ones(mode: str) -> None:
    """Dimensions that are not compile-time constants."""
    big = RNG.normal(size=(20, 3, 30))
    x = T.dtensor3("x")
    chosen = [r for r in REARRANGED if r[0] in (
        "reshape shape", "flatten", "ravel", "dimshuffle", "broadcast 1", "concatenate", "join", "stack",
        "repeat",
        "repeat axis", "repeat each", "tile", "roll", "roll axis", "split", "size",
    )]  # fmt: skip
    meanings = {"reshape shape": lambda a: a.reshape(3, 600), "size": lambda a: np.array(a.size)}
    for (name, _, meaning), a in zip(chosen, run(mode, [x], [f(x) for _, f, _ in chosen], big), strict=True):
        np.testing.assert_allclose(a, meanings.get(name, meaning)(big), err_msg=name)


def test_symbolic_arguments(mode: str) -> None:
    x, n, sizes, target = T.dmatrix("x"), T.iscalar("n"), T.lvector("sizes"), T.lvector("target")
    f = scanlib.function(
        [x, n, sizes, target],
        [T.roll(x, n, 0), T.roll(x, n), T.repeat(x, abs(n), 1), T.tile(x, (abs(n), 1)),
         *T.split(x, sizes, 3, axis=1), x.reshape(target, ndim=2), T.repeat(x, sizes, 1)],
        mode=mode,
    )  # fmt: skip
    for shift, cut, shape in [(2, [1, 0, 2], [3, 4]), (-5, [0, 3, 0], [-1, 2]), (0, [2, 1, 0], [1, 12])]:
        a = RNG.normal(size=(4, 3))
        one, two = np.cumsum(cut)[:2]
        wanted = [
            np.roll(a, shift, 0), np.roll(a, shift), np.repeat(a, abs(shift), 1), np.tile(a, (abs(shift), 1)),
            *np.split(a, [one, two], axis=1), a.reshape(shape), np.repeat(a, cut, 1),
        ]  # fmt: skip
        for got, want in zip(f(a, shift, cut, shape), wanted, strict=True):
            assert got.shape == want.shape
            np.testing.assert_array_equal(got, want)


def test_empty(mode: str) -> None:
    x = T.dmatrix("x")
    outputs = [
        x.flatten(), x.T, T.concatenate([x, x, T.ones((1, 3))]), T.roll(x, 1, 0), T.repeat(x, 2, 0),
        T.tile(x, (2, 2)),
        T.stack([x, x]), x.reshape((3, 0)), T.broadcast_to(x[:, :1], (0, 7)), x.reshape((-1, 3)),
    ]  # fmt: skip
    shapes = [(0,), (3, 0), (1, 3), (0, 3), (0, 3), (0, 6), (2, 0, 3), (3, 0), (0, 7), (0, 3)]
    assert [a.shape for a in run(mode, [x], outputs, np.zeros((0, 3)))] == shapes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.permutations(range(3)), st.lists(st.integers(0, 3), max_size=2), st.booleans())
def test_generated_dimshuffles(order: list[int], places: list[int], static: bool) -> None:
    chosen: list[Any] = list(order)
    for p in places:
        chosen.insert(p, "x")
    x = T.tensor("float64", shape=X.shape if static else (None,) * 3)
    want = np.expand_dims(X.transpose(order), tuple(i for i, o in enumerate(chosen) if o == "x"))
    got, back = run(
        "reference", [x], [x.dimshuffle(*chosen), T.grad((x.dimshuffle(*chosen) * want).sum(), x)], X
    )
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(back, X)


def test_joined_dtypes(mode: str) -> None:
    i, f = T.ivector("i"), T.fvector("f")
    outputs = [
        T.concatenate([i, f]),
        T.stack([i, f, f]),
        T.stack([f[0], 1.5]),
        T.as_tensor_variable([1, f[0]]),
    ]
    got = run(mode, [i, f], outputs, [1, 2], [0.5, 2.0])
    assert [a.dtype.name for a in got] == ["float64", "float64", "float32", "float32"]
    np.testing.assert_array_equal(got[0], [1, 2, 0.5, 2])


def test_shape_folds() -> None:
    x = T.tensor("float64", shape=(2, None, 4), name="x")
    assert isinstance(x.shape[0], Constant) and x.shape[0].data == 2
    assert x.shape[1].owner.op.name == "shape_i" and len(x.shape) == 3
    a, b, c = x.shape
    assert isinstance(c, Constant) and b.owner.op.name == "shape_i" and isinstance(a, Constant)
    assert x.shape[1:][1].data == 4
    assert T.zeros((x.shape[0] * 3, x.shape[2] // 2)).type.shape == (6, 2)
    assert x.reshape((x.shape[0], -1)).type.shape == (2, None)
    assert T.concatenate([x, x], 2).type.shape == (2, None, 8)
    assert x.flatten(2).type.shape == (2, None)
    assert (x + T.zeros((1, 5, 1))).type.shape == (2, 5, 4)


@pytest.mark.parametrize("length", [3, 40])
def test_unbroadcast(mode: str, length: int) -> None:
    shapes = [(), (length,), (1, length), (2, 1), (1, 1), (2, length), (4, 2, length)]
    g = T.dtensor3("g")
    xs = [T.TensorType("float64", (None,) * len(s))() for s in shapes]
    big = RNG.normal(size=(4, 2, length))
    got = run(mode, [g, *xs], [unbroadcast(g, x) for x in xs], big, *(np.zeros(s) for s in shapes))
    for a, s in zip(got, shapes, strict=True):
        padded = (1,) * (3 - len(s)) + s
        axes = tuple(k for k, d in enumerate(padded) if d == 1)
        np.testing.assert_allclose(a, big.sum(axes, keepdims=True).reshape(s))
    assert unbroadcast(T.constant(np.zeros((2, 3))), T.constant(np.ones((2, 3)))).owner is None


def test_broadcast_arrays(mode: str) -> None:
    x, y = T.dmatrix("x"), T.dtensor3("y")
    a, b = RNG.normal(size=(2, 1)), RNG.normal(size=(5, 1, 3))
    got = run(mode, [x, y], T.broadcast_arrays(x, y, 1.0), a, b)
    for p, q in zip(got, np.broadcast_arrays(a, b, 1.0), strict=True):
        np.testing.assert_array_equal(p, q)


def test_errors_while_building() -> None:
    x, m = T.tensor("float64", shape=(2, 3), name="x"), T.dmatrix("m")
    cases: list[tuple[type[UserError], str, Any]] = [
        (UserValueError, "4 elements, 'x' has 6", lambda: x.reshape((2, 2))),
        (UserValueError, "only one dimension may be -1", lambda: x.reshape((-1, -1))),
        (UserTypeError, "expected an integer", lambda: x.reshape((2, 1.5))),
        (UserTypeError, "pass a tuple of scalars, or ndim=", lambda: x.reshape(T.lvector("v"))),
        (UserTypeError, "there is no axis 2", lambda: x.dimshuffle(2, 0)),
        (UserTypeError, "named twice", lambda: x.dimshuffle(0, 0)),
        (UserValueError, "axis 1 of 'x' is dropped and must be 1 long, but it is 3", lambda: x.dimshuffle(0)),
        (UserTypeError, "expected 2 axes", lambda: T.transpose(x, (0,))),
        (UserValueError, "must be 1 long", lambda: T.squeeze(x, 0)),
        (UserValueError, "a dimension of 3 where 4", lambda: T.broadcast_to(x, (2, 4))),
        (UserTypeError, "equal numbers of dimensions", lambda: T.concatenate([x, x[0]])),
        (UserValueError, "axis 1 of 'x' is 3 long, that of", lambda: T.concatenate([x, x[:, 1:]])),
        (UserTypeError, "expected a list", lambda: T.concatenate([])),
        (UserTypeError, "equal numbers of dimensions", lambda: T.stack([x, x[0]])),
        (UserValueError, "must be 5 long", lambda: T.split(x, [2, 3], 2, axis=1)),
        (UserTypeError, "ndim must be 1 to 2", lambda: x.flatten(3)),
        (UserTypeError, "expected integer counts", lambda: T.repeat(x, 1.5)),
        (UserTypeError, "has 2 dimensions", lambda: T.specify_shape(m, (1,))),
    ]
    for kind, message, make in cases:
        with pytest.raises(kind, match=message):
            make()


def test_errors_while_running(mode: str) -> None:
    x, y, n = T.dmatrix("x"), T.dmatrix("y"), T.lscalar("n")
    a, b = np.ones((2, 3)), np.ones((2, 4))
    cases: list[tuple[str, Any, Any]] = [
        ("has 6", x.reshape((n, 2)), 2),
        ("must be 1 long, but it is 2 long", x.dimshuffle(1), 0),
        ("axis 1 of 'x' is 3 long, that of 'y' 4", T.concatenate([x, y]), 0),
        ("axis 1 of 'x' is 3 long, that of 'y' 4", T.stack([x, y]), 0),
        ("a dimension of 3 where 2 is needed", T.broadcast_to(x, (2, n)), 2),
        ("axis 0 of 'x' must be 5 long, but it is 2 long", T.specify_shape(x, (n, None)), 5),
        ("negative", T.repeat(x, T.stack([n, n + 3]), 0), -1),
    ]
    for message, output, value in cases:
        with pytest.raises(UserError, match=message):
            run(mode, [x, y, n], output, a, b, value)


GRADIENTS: list[Any] = [
    lambda x, y: x.reshape((3, -1)) ** 2,
    lambda x, y: x.dimshuffle(1, "x", 0) ** 2,
    lambda x, y: T.broadcast_to(x[:, :1], (4, 2, 3)) * x,
    lambda x, y: T.concatenate([x**2, y], 0) ** 2,
    lambda x, y: T.stack([x, y[:2]], 1) ** 2 * x[:, None],
    lambda x, y: T.tile(x, (2, 2)) ** 2,
    lambda x, y: T.repeat(x, 2, 1) ** 2,
    lambda x, y: T.repeat(x, [2, 0, 1], 1) ** 2,
    lambda x, y: T.roll(x, 1, 1) * x,
    lambda x, y: T.specify_shape(x, (None, 3)) ** 2 + T.split(y, [2, 2], 2)[1],
    lambda x, y: unbroadcast(x**2, x[0]) * x[1],
    lambda x, y: x.shape[0] * x**2,
]


@pytest.mark.parametrize("k", range(len(GRADIENTS)))
def test_gradients(k: int) -> None:
    verify_grad(GRADIENTS[k], [A, B], mode="reference", order=2, n_tests=1)


def test_gradients_compiled(mode: str) -> None:
    x, y = T.dmatrix("x"), T.dmatrix("y")
    costs = [f(x, y).sum() for f in GRADIENTS]
    outputs = [T.grad(c, v, disconnected_inputs="ignore") for c in costs for v in (x, y)]
    got, want = run(mode, [x, y], outputs, A, B), run("reference", [x, y], outputs, A, B)
    for p, q in zip(got, want, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12)
