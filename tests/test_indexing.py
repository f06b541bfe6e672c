"""Indexing and assignment to parts against NumPy: every form of index, literal and symbolic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserIndexError, UserTypeError, UserValueError
from scanlib.graph import DTYPES, TensorType, Variable
from scanlib.verify import verify_grad

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5, 6))
I, J = np.array([0, 2, -1]), np.array([[1], [2]])  # noqa: E741
MASK = X > 0
ROWS = np.array([True, False, True, True])
s = slice
BASIC: list[Any] = [
    0, -1, (1, 2), (1, 2, 3), (), Ellipsis, s(None), s(1, None), s(None, -1), s(None, None, -1),
    s(None, None, -2),
    (s(3, 0, -1), s(1, 100, 2)), s(-100, 2), s(5, 2), s(100, None), (s(-1, -100, -2), s(None),
    s(100, None, -3)),
    (Ellipsis, 0), (0, Ellipsis, s(1, 3)), None, (s(None), None, 2, None), (None, Ellipsis, None),
]  # fmt: skip
ARRAYS: list[Any] = [
    I, (I, I), (I, s(None), I), (s(None), I, I), (s(None), I, s(1, 3)), (s(1, None), I, 1), (1, s(None), I),
    (s(None), 1, I), (I, None, I), (I, J), (s(None), J, None, I), [0, 1], (Ellipsis, I), (I, Ellipsis, I),
    (J, None, s(2)), np.array([], dtype=int), (I, I, I), (np.array([], dtype=int), s(None), 0), (s(3, 1), I),
    np.array(2), np.array([3], dtype="uint8"),
]  # fmt: skip
MASKS: list[Any] = [
    MASK, ROWS, MASK[:, :, 0], (s(None), MASK[0]), (ROWS, 0), (ROWS, s(None), np.array([1, 2, 3])),
    (0, MASK[0]),
    (ROWS, None), (s(2), s(None), X[0, 0] > 100), X > 100, [True, False, False, True],
]  # fmt: skip


def like(a: np.ndarray, name: str | None = None) -> Variable:
    return Variable(TensorType(a.dtype.name, (None,) * a.ndim), name=name)


def run(mode: str, inputs: list[Variable], outputs: Any, *values: Any) -> Any:
    return scanlib.function(inputs, outputs, mode=mode, on_unused_input="ignore")(*values)


def written(x: np.ndarray, index: Any, v: Any, inc: bool) -> np.ndarray:
    made = x.copy()
    if inc:
        np.add.at(made, index, v)
    else:
        made[index] = v
    return made


@pytest.mark.parametrize("forms", ["BASIC", "ARRAYS", "MASKS"])
def test_reads_and_writes_as_numpy(forms: str, mode: str) -> None:
    x = T.dtensor3("x")
    outputs, wanted = [], []
    for index in globals()[forms]:
        part = X[index]
        outputs.append(x[index])
        wanted.append(part)
        values: list[Any] = [2.5, np.arange(part.size, dtype=float).reshape(part.shape)]
        if part.ndim > 1 and len(part):
            values.append(RNG.normal(size=part.shape[1:]))
        for inc in (False, True):
            write = T.inc_subtensor if inc else T.set_subtensor
            # Compiling takes its time: one value for each way to write.
            for v in values if mode == "reference" else values[inc : inc + 1]:
                outputs.append(write(x[index], v))
                wanted.append(written(X, index, v, inc))
    # Many small programs rather than one of many hundred outputs.
    for k in range(0, len(outputs), 25):
        for got, expected in zip(run(mode, [x], outputs[k : k + 25], X), wanted[k : k + 25], strict=True):
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_symbolic_indices(mode: str) -> None:
    """Ints, bounds, index arrays and masks as inputs: one program for all values, empty slices included."""
    x, m = T.dmatrix("x"), T.matrix("m", dtype="bool")
    a, b, c, k = T.lscalars("a", "b", "c", "k")
    i, w = T.ivector("i"), T.bscalar("w")
    f = scanlib.function(
        [x, m, a, b, c, k, i, w],
        [x[a:b:c], x[::c, k], x[w, a:], x[i], x[i, k], x[:, i], x[m], x[-k:, b:],
         T.set_subtensor(x[a:b:c], 7.0), T.inc_subtensor(x[k, ::c], 1), T.inc_subtensor(x[i], 1.0),
         T.set_subtensor(x[m], 0.0), T.inc_subtensor(x[:, i], x[:, i] * 2)],
        mode=mode,
    )  # fmt: skip
    data = RNG.normal(size=(5, 4))
    rng = np.random.default_rng(3)
    for _ in range(60):
        A, B = (int(n) for n in rng.integers(-8, 9, 2))
        C = int(rng.choice([-3, -2, -1, 1, 2, 5]))
        K, W = int(rng.integers(-4, 4)), int(rng.integers(-5, 5))
        ix = rng.integers(-4, 4, int(rng.integers(0, 5))).astype("int32")
        mask = rng.random((5, 4)) < rng.random()
        expected = [
            data[A:B:C], data[::C, K], data[W, A:], data[ix], data[ix, K], data[:, ix], data[mask],
            data[-K:, B:],
            written(data, s(A, B, C), 7.0, False), written(data, (K, s(None, None, C)), 1, True),
            written(data, ix, 1.0, True), written(data, mask, 0.0, False),
            written(data, (s(None), ix), data[:, ix] * 2, True),
        ]  # fmt: skip
        for got, want in zip(f(data, mask, A, B, C, K, ix, W), expected, strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want)


bounds = st.none() | st.integers(-9, 9)
slices = st.builds(slice, bounds, bounds, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 7]))


@st.composite
def indices(draw: Any, ndim: int = 3) -> tuple[Any, ...]:
    """Indices of an array of shape (4, 4, 4), of all kinds mixed."""
    entries: list[Any] = []
    length = draw(st.integers(0, 3))
    for _ in range(draw(st.integers(0, ndim))):
        kind = draw(st.sampled_from(["int", "slice", "slice", "array", "new"]))
        if kind == "int":
            entries.append(draw(st.integers(-4, 3)))
        elif kind == "slice":
            entries.append(draw(slices))
        elif kind == "new":
            entries.append(None)
        else:
            array = np.array(draw(st.lists(st.integers(-4, 3), min_size=length, max_size=length)), dtype=int)
            entries.append(array[:, None] if draw(st.booleans()) else array)
    if draw(st.booleans()):
        entries.insert(draw(st.integers(0, len(entries))), Ellipsis)
    return tuple(entries)


def _one_index(mode: str, index: tuple[Any, ...], static: bool) -> None:
    data = np.arange(64.0).reshape(4, 4, 4)
    x = T.tensor("float64", shape=(4, 4, 4) if static else (None,) * 3)
    part = data[index]
    v = like(part)
    value = np.linspace(1, 2, part.size).reshape(part.shape)
    outputs = [x[index], T.set_subtensor(x[index], v), T.inc_subtensor(x[index], v)]
    got = run(mode, [x, v], outputs, data, value)
    expected = [part, written(data, index, value, False), written(data, index, value, True)]
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b)
    static_shape = outputs[0].type.shape
    assert all(d is None or d == n for d, n in zip(static_shape, part.shape, strict=True))
    assert not static or None not in static_shape


@settings(max_examples=150, deadline=None, derandomize=True)
@given(index=indices(), static=st.booleans())
def test_generated_indices_reference(index: tuple[Any, ...], static: bool) -> None:
    _one_index("reference", index, static)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(index=indices(), static=st.booleans())
def test_generated_indices_native(index: tuple[Any, ...], static: bool) -> None:
    pytest.importorskip("scanlib._core")
    _one_index("native", index, static)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: str, mode: str) -> None:
    data = np.array([[1, 0, 1], [0, 1, 1]], dtype=dtype)
    x = T.matrix("x", dtype=dtype)
    i = T.lvector("i")
    ix = np.array([1, 1, 0])
    outputs = [x[1, ::-1], x[i], T.set_subtensor(x[0, 1:], x[1, :2]), T.set_subtensor(x[i], x[0])]
    wanted = [data[1, ::-1], data[ix], written(data, (0, s(1, None)), data[1, :2], False)]
    wanted.append(written(data, ix, data[0], False))
    if dtype != "bool":
        outputs.append(T.inc_subtensor(x[i], 1))
        wanted.append(written(data, ix, 1, True))
    for got, want in zip(run(mode, [x, i], outputs, data, ix), wanted, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_empty_arrays(mode: str) -> None:
    x, v = T.dmatrix("x"), T.dvector("v")
    i = T.lvector("i")
    f = scanlib.function(
        [x, v, i],
        [x[1:], x[::-1], x[x > 0], x[i], T.set_subtensor(x[2:, 0], v), T.inc_subtensor(x[i, 0], v[:0])],
        mode=mode,
    )
    for shape in [(0, 3), (2, 3)]:
        data, none = np.ones(shape), np.zeros(0)
        got = f(data, none, np.zeros(0, dtype=int))
        assert [a.shape for a in got] == [
            (max(shape[0] - 1, 0), 3), shape, (data.size,), (0, 3), shape, shape,
        ]  # fmt: skip
        np.testing.assert_array_equal(got[4], data)


def test_index_errors_while_building() -> None:
    x, y = T.tensor("float64", shape=(3, 4), name="x"), T.dvector("y")
    with pytest.raises(UserIndexError, match=r"index 4 is out of bounds for axis 1 of 'x', which is 4 long"):
        x[0, 4]
    with pytest.raises(IndexError, match="index -4"):
        x[-4]
    with pytest.raises(UserIndexError, match=r"too many indices for 'y': 2 given"):
        y[0, 0]
    with pytest.raises(UserIndexError, match="one ellipsis"):
        x[..., ...]
    with pytest.raises(UserTypeError, match=r"float64.*astype"):
        x[y]
    with pytest.raises(UserTypeError, match="True and False"):
        x[True]
    with pytest.raises(UserTypeError, match="expected an integer"):
        x[1.5]
    with pytest.raises(UserTypeError, match="expected an integer scalar"):
        x[: T.dscalar("d")]
    with pytest.raises(UserValueError, match="step"):
        x[::0]
    with pytest.raises(UserTypeError, match="set_subtensor"):
        x[0] = 1.0
    with pytest.raises(UserTypeError, match="first argument must be"):
        T.set_subtensor(x, 1.0)
    with pytest.raises(UserTypeError, match=r"'y' is float64, 'i' is int64"):
        T.set_subtensor(T.lvector("i")[:2], y)
    with pytest.raises(UserTypeError, match="2 dimensions"):
        T.set_subtensor(y[1:], x)
    with pytest.raises(UserValueError, match="does not fit"):
        T.set_subtensor(x[:, 1:], np.zeros(2))
    with pytest.raises(UserValueError, match="2"):
        x[np.array([True, False])]


@pytest.mark.parametrize("bad", [3, -4])
def test_index_errors_while_running(bad: int, mode: str) -> None:
    x, k, i = T.dmatrix("x"), T.lscalar("k"), T.lvector("i")
    message = rf"index {bad} is out of bounds for axis 1 of 'x', which is 3 long"
    data = np.ones((2, 3))
    for output, value in [
        (x[:, k], bad),
        (x[:, i], [0, bad]),
        (T.set_subtensor(x[0, k], 1.0), bad),
        (T.inc_subtensor(x[:, i], 1.0), [0, bad]),
    ]:
        with pytest.raises(IndexError, match=message):
            run(mode, [x, k, i], output, data, bad if value is bad else 0, [0] if value is bad else value)
    with pytest.raises(IndexError, match="out of bounds for axis 0 of 'x', which is 2 long"):
        run(mode, [x], x[5], data)


def test_other_errors_while_running(mode: str) -> None:
    x, v, m, c = T.dvector("x"), T.dvector("v"), T.vector("m", dtype="bool"), T.lscalar("c")
    data = np.arange(4.0)
    with pytest.raises(ValueError, match="'v' does not fit the part of 'x'"):
        run(mode, [x, v], T.set_subtensor(x[1:], v), data, np.ones(2))
    with pytest.raises(ValueError, match="'v' does not fit the part of 'x'"):
        run(mode, [x, v], T.set_subtensor(x[np.array([0, 1])], v), data, np.ones(3))
    with pytest.raises(ValueError, match="axis 0 of 'm' must be 4 long, but it is 3 long"):
        run(mode, [x, m], x[m], data, np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="step"):
        run(mode, [x, c], x[::c], data, 0)


def test_parts_keep_what_they_were_made_of(mode: str) -> None:
    """set_subtensor gives a new x whatever the index is made of; the source of x stays apart."""
    z = T.dmatrix("z")
    x = z.T[1:]
    data = RNG.normal(size=(3, 4))
    got = run(mode, [z], T.set_subtensor(x[0], 0.0, inplace=True, tolerate_inplace_aliasing=True), data)
    want = data.T[1:].copy()
    want[0] = 0
    np.testing.assert_array_equal(got, want)
    # A clone of the graph has lost the note of what was indexed, not the row.
    clone = scanlib.graph.substitute([x[1:, 0]], {z: T.dmatrix()})[0]
    assert T.inc_subtensor(clone, 1.0).ndim == 2
    assert T.inc_subtensor(x[0], 1.0, set_instead_of_inc=True).owner.params["inc"] is False


def test_triangle_scan(mode: str) -> None:
    """A step returning set_subtensor(zeros_like(M)[i, j], v), from the scan guide."""
    location, values = T.imatrix("location"), T.dvector("values")
    model = T.dmatrix("model")
    result, _ = scanlib.scan(
        lambda at, v, m: T.set_subtensor(T.zeros_like(m)[at[0], at[1]], v),
        sequences=[location, values],
        non_sequences=model,
    )
    places = np.array([[1, 1], [2, 3]], dtype="int32")
    got = run(mode, [location, values, model], result, places, [42.0, 50.0], np.zeros((5, 5)))
    want = np.zeros((2, 5, 5))
    want[0, 1, 1], want[1, 2, 3] = 42, 50
    np.testing.assert_array_equal(got, want)


def test_take_and_friends(mode: str) -> None:
    x, i = T.dmatrix("x"), T.lmatrix("i")
    data, ix = RNG.normal(size=(4, 3)), np.array([[0, 2], [1, -1]])
    order = np.argsort(data, axis=0)
    o = T.lmatrix("o")
    outputs = [
        x.take(i), x.take(i, 1), T.take(x, 5, mode="clip"), T.take(x, i + 7, axis=1, mode="wrap"),
        T.take(x, i - 5, axis=0, mode="clip"), T.take_along_axis(x, o, 0), T.flip(x), T.flip(x, 1),
        T.flip(x, (0, 1)),
        T.nonzero_values(x), T.flatnonzero(x), x.nonzero()[1], T.nonzero(x > 0, return_matrix=True),
        x[T.nonzero(x > 0)], T.take(x, []),
    ]  # fmt: skip
    wanted = [
        data.take(ix), data.take(ix, 1), np.take(data, 5, mode="clip"), np.take(data, ix + 7, 1, mode="wrap"),
        np.take(data, ix - 5, axis=0, mode="clip"), np.take_along_axis(data, order, 0), np.flip(data),
        np.flip(data, 1),
        np.flip(data, (0, 1)), data.ravel(), np.arange(12),
        np.nonzero(data)[1], np.array(np.nonzero(data > 0)),
        data[data > 0], np.zeros(0),
    ]  # fmt: skip
    got = run(mode, [x, i, o], outputs, data, ix, order)
    for k, (a, b) in enumerate(zip(got, wanted, strict=True)):
        assert a.shape == b.shape, k
        np.testing.assert_array_equal(a, b, str(k))
    with pytest.raises(UserTypeError, match="mode must be"):
        T.take(x, 0, mode="jump")
    with pytest.raises(UserTypeError, match="must be integers"):
        T.take(x, [0.5])


GRADIENTS: list[Any] = [
    lambda x, i: x[1],
    lambda x, i: x[::-2, 1:],
    lambda x, i: x[i],
    lambda x, i: x[i, i] ** 2,
    lambda x, i: x[None, :, i] ** 2,
    lambda x, i: x[x > 0] ** 3,
    lambda x, i: T.set_subtensor(x[1:, 0], x[0, 0] ** 2) ** 2,
    lambda x, i: T.inc_subtensor(x[:, ::2], x[0, 1] ** 2) ** 2,
    lambda x, i: T.inc_subtensor(x[i], x[1] ** 2) ** 2,
    lambda x, i: T.set_subtensor(x[:, i], x[:, :1] ** 2)[:, :2] ** 2,
    lambda x, i: T.inc_subtensor(x[x > 0], 2.0) ** 2,
]


@pytest.mark.parametrize("k", range(len(GRADIENTS)))
def test_gradients(k: int) -> None:
    verify_grad(
        GRADIENTS[k], [RNG.normal(size=(3, 4)), np.array([0, 2, 2])], mode="reference", order=2, n_tests=1
    )


def test_gradients_compiled(mode: str) -> None:
    x, i = T.dmatrix("x"), T.lvector("i")
    data, ix = RNG.normal(size=(3, 4)), np.array([0, 2, 2])
    costs = [f(x, i).sum() for f in GRADIENTS]
    got = run(mode, [x, i], [T.grad(c, x) for c in costs], data, ix)
    expected = run("reference", [x, i], [T.grad(c, x) for c in costs], data, ix)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("write", [None, T.set_subtensor, T.inc_subtensor])
def test_positions_are_tested_where_there_is_no_element(write: Any, mode: str) -> None:
    """Bounds are conditions on lengths: a result without elements does not hide that they fail."""
    x0, n, k = T.vector("x0"), T.lscalar("n"), T.lscalar("k")
    trace, _ = scanlib.scan(lambda x: 2 * x, outputs_info=x0, n_steps=n)
    x, i = T.matrix("x"), T.lvector("i")
    parts = (trace[-1], trace[-2:], x[7], x[k], x[i], x[:, i], x[[0, -6]])
    made = [p if write is None else write(p, 1.0) for p in parts]
    last, end, seventh, kth, rows, columns, listed = (
        scanlib.function([x0, n, x, k, i], m, mode=mode, on_unused_input="ignore") for m in made
    )
    none = np.zeros(0, dtype=int)
    assert last(np.ones(2), 1, np.ones((0, 0)), 0, none).size == 2
    assert end(np.ones(2), 0, np.ones((0, 0)), 0, none).shape == (0, 2)
    assert rows(np.ones(2), 0, np.ones((0, 3)), 0, none).shape == (0, 3)
    for f, message, shape, at in [
        (last, "index -1 is out of bounds for axis 0", (0, 0), none),
        (seventh, "index 7 is out of bounds for axis 0 of 'x', which is 5 long", (5, 0), none),
        (kth, "index 6 is out of bounds for axis 0 of 'x', which is 5 long", (5, 0), none),
        (rows, "the index array of axis 0 of 'x' has entries, the axis is 0 long", (0, 0), [0]),
        (columns, "the index array of axis 1 of 'x' has entries, the axis is 0 long", (0, 0), [0]),
        (listed, "index -6 is out of bounds for axis 0 of 'x', which is 5 long", (5, 0), none),
    ]:
        with pytest.raises(UserIndexError, match=message):
            f(np.ones(2), 0, np.ones(shape), 6, at)


def test_positions_in_an_arm_are_tested_when_it_is_chosen(mode: str) -> None:
    from scanlib.ifelse import ifelse

    x = T.matrix("x")
    f = scanlib.function([x], ifelse(x.shape[0] > 4, x[4], x.sum(0)), mode=mode)
    assert f(np.ones((2, 0))).shape == (0,) and f(np.ones((5, 0))).shape == (0,)
    assert f(np.ones((2, 3))).tolist() == [2, 2, 2]


def test_items_of_stacks_may_be_written(mode: str) -> None:
    a = T.scalar("a")
    x = T.stack([a, 2 * a])
    f = scanlib.function([a], [T.set_subtensor(x[1], 7.0), T.inc_subtensor(x[0], a), x[1]], mode=mode)
    assert [v.tolist() for v in f(3.0)] == [[3, 7], [6, 6], 6]
