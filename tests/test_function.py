"""function, In, shared: forms of inputs and outputs, updates, givens, copies, pickling, and mistakes."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError

x, y, z = T.scalar("x"), T.scalar("y"), T.vector("z")


def make(mode: str, *args: Any, **kwargs: Any) -> scanlib.Function:
    return scanlib.function(*args, mode=mode, **kwargs)


# Calls.


def test_forms_of_outputs(mode: str) -> None:
    assert make(mode, [x], x + 1)(2.0) == 3
    one = make(mode, [x], [x + 1])(2.0)
    assert isinstance(one, list) and one == [3]
    assert make(mode, [x], [x + 1, x * 5])(2.0) == [3, 10]
    assert make(mode, [x], {"a": x + 1, "b": -x})(2.0) == {"a": 3, "b": -2}
    assert make(mode, [x], [], on_unused_input="ignore")(2.0) == []
    assert make(mode, [x], None, on_unused_input="ignore")(2.0) is None
    assert make(mode, [x], scanlib.Out(x + 1, borrow=True))(2.0) == 3
    assert make(mode, [], T.constant(4.0))() == 4
    assert make(mode, [], 5)() == 5


def test_results_are_arrays_of_the_declared_dtype(mode: str) -> None:
    made = make(mode, [x], [x > 0, T.cast(x, "int8"), x])(2.0)
    assert [m.dtype.name for m in made] == ["bool", "int8", "float64"]
    assert all(type(m) is np.ndarray and m.shape == () for m in made)


def test_positions_names_and_defaults(mode: str) -> None:
    f = make(mode, [x, scanlib.In(y, value=10.0), scanlib.Param(z, name="w", value=[1.0])], x + y * z)
    assert f(1.0).tolist() == [11]
    assert f(1.0, 2.0).tolist() == [3]
    assert f(1.0, w=[1.0, 2.0]).tolist() == [11, 21]
    assert f(w=[2.0], y=3.0, x=1.0).tolist() == [7]
    assert f(y=0.0, x=1.0).tolist() == [1]


def test_calls_with_other_shapes(mode: str) -> None:
    m = T.matrix("m")
    f = make(mode, [m], m.sum(axis=0))
    for shape in ((2, 3), (3, 2), (0, 4), (40, 30), (2, 3)):
        np.testing.assert_array_equal(f(np.ones(shape)), np.full(shape[1], shape[0]))


def test_results_are_fresh(mode: str) -> None:
    f = make(mode, [z], [z, z + 1, z[::-1], T.constant(np.ones(2))])
    given = np.array([1.0, 2.0])
    first = f(given)
    second = f(given)
    for a in first:
        a[...] = 99
    np.testing.assert_array_equal(given, [1, 2])
    for a, b in zip(f(given), second):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "value",
    [[1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3], np.int32), np.array([1, 2, 3], np.float32),
     np.arange(6.0)[1::2] * 0 + [1, 2, 3], np.array([3.0, 2, 1])[::-1], np.array([1.0, 2, 3], ">f8"),
     np.array([True, True, True]) * [1, 2, 3]],
)  # fmt: skip
def test_values_that_lose_nothing_are_converted(value: Any, mode: str) -> None:
    np.testing.assert_array_equal(make(mode, [z], 2 * z)(value), [2, 4, 6])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "int32", "uint32", "uint64", "float32"])
def test_inputs_of_every_dtype(dtype: str, mode: str) -> None:
    v = T.vector("v", dtype=dtype)
    given = np.array([0, 1, 1], dtype)
    made = make(mode, [v], v)(given)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, given)


def test_downcast(mode: str) -> None:
    v, s = T.fvector("v"), T.fscalar("s")
    assert make(mode, [s], s)(0.1).dtype == np.float32, "a Python float is weak"
    with pytest.raises(UserError, match="'v'.*float32"):
        make(mode, [v], v)(np.zeros(2))
    assert make(mode, [v], v, allow_input_downcast=True)(np.ones(2)).dtype == np.float32
    loose = make(mode, [scanlib.In(v, allow_downcast=True)], v)
    assert loose(np.ones(2)).dtype == np.float32
    strict = make(mode, [scanlib.In(z, strict=True)], z)
    assert strict(np.ones(2)).tolist() == [1, 1]
    with pytest.raises(UserError, match="strict input 'z'"):
        strict([1.0, 2.0])


def test_static_dimensions_are_checked(mode: str) -> None:
    r, v = T.row("r"), T.vector("v", shape=(3,))
    f = make(mode, [r, v], r.sum() + v.sum())
    assert f(np.ones((1, 4)), np.ones(3)) == 7
    with pytest.raises(UserError, match="'r'.*axis 0"):
        f(np.ones((2, 4)), np.ones(3))
    with pytest.raises(UserError, match="'v'.*axis 0"):
        f(np.ones((1, 4)), np.ones(4))


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "missing": ((1.0,), {}, "input 'z' is missing"),
    "too many": ((1.0, [1.0], 3.0), {}, "takes 2 input"),
    "twice": ((1.0, [1.0]), {"x": 2.0}, "'x' was given twice"),
    "unknown name": ((1.0,), {"q": 2.0}, "no input is named 'q'; the inputs are x: "),
    "ndim": ((1.0, 2.0), {}, r"'z'.*expected 1 dimension"),
    "ndim of a scalar": (([1.0], [2.0]), {}, r"'x'.*expected 0 dimension"),
    "text": (("a", [2.0]), {}, "'x'"),
    "complex": ((1j, [2.0]), {}, "'x'.*complex"),
    "a variable": ((x, [2.0]), {}, "symbolic variable"),
    "ragged": ((1.0, [[1.0], [1.0, 2.0]]), {}, "'z'"),
}


@pytest.mark.parametrize("mistake", CALLS)
def test_wrong_calls_change_nothing(mistake: str, mode: str) -> None:
    args, kwargs, message = CALLS[mistake]
    count = scanlib.shared(0)
    f = make(mode, [x, z], x + z, updates={count: count + 1})
    with pytest.raises(UserError, match=message):
        f(*args, **kwargs)
    assert count.get_value() == 0


# Building.

BUILDS: dict[str, tuple[Any, str]] = {
    "duplicate": (lambda: scanlib.function([x, x], x), "'x' stands twice"),
    "unused": (lambda: scanlib.function([x, y], x), "'y' is not used"),
    "missing": (lambda: scanlib.function([x], x + y), "'y'.*not among the inputs"),
    "no list": (lambda: scanlib.function(x, x), "must be a list"),
    "number as input": (lambda: scanlib.function([1.0], x), "input 0 is a float"),
    "shared as input": (lambda: scanlib.function([scanlib.shared(1.0, "s")], x), "'s' is a shared variable"),
    "constant as input": (lambda: scanlib.function([T.constant(1.0)], x), "is a constant"),
    "output no variable": (lambda: scanlib.function([x], [x, object()]), "output 1 is no variable"),
    "update of an input": (
        lambda: scanlib.function([x], x, updates={x: x + 1}),
        "expected a shared variable",
    ),
    "updated twice": (
        lambda: [s := scanlib.shared(1.0, "s"), scanlib.function([], [], updates=[(s, s + 1), (s, s + 2)])],
        "'s' is updated twice",
    ),
    "update of another dtype": (
        lambda: scanlib.function([x], [], updates={scanlib.shared(1, "i"): x}),
        "'i' is float64.*expected int64.*cast",
    ),
    "update of another ndim": (
        lambda: scanlib.function([z], [], updates={scanlib.shared(1.0, "s"): z}),
        "'s' is float64.*0-d",
    ),
    "update with a number too large": (
        lambda: scanlib.function([], [], updates={scanlib.shared(np.int8(1), "s"): 300}),
        "300",
    ),
    "givens of another dtype": (
        lambda: scanlib.function([], x, givens={x: T.constant(1)}),
        "'x' is float64.*int64",
    ),
    "givens twice": (lambda: scanlib.function([], x, givens=[(x, 1.0), (x, 2.0)]), "replaced twice"),
    "givens key": (lambda: scanlib.function([], x, givens={"x": 1.0}), "expected a variable"),
    "pairs": (lambda: scanlib.function([x], x, updates=[x]), "list of pairs"),
    "mode": (lambda: scanlib.function([x], x, mode="fast"), "mode: expected"),
    "on_unused_input": (lambda: scanlib.function([x], x, on_unused_input="no"), "on_unused_input: expected"),
    "shared of a variable": (lambda: scanlib.shared(x), "symbolic variable"),
    "shared of text": (lambda: scanlib.shared("a"), "dtype"),
}


@pytest.mark.parametrize("mistake", BUILDS)
def test_wrong_builds(mistake: str) -> None:
    build, message = BUILDS[mistake]
    with pytest.raises(UserError, match=message):
        build()


def test_unused_inputs(mode: str) -> None:
    assert make(mode, [x, y], x, on_unused_input="ignore")(1.0, 2.0) == 1
    with pytest.warns(UserWarning, match="'y' is not used"):
        assert make(mode, [x, y], x, on_unused_input="warn")(1.0, 2.0) == 1


def test_givens(mode: str) -> None:
    s = scanlib.shared(np.arange(4.0), name="s")
    total = (z * x).sum()
    assert make(mode, [x], total, givens={z: s[1:3]})(2.0) == 6
    assert make(mode, [y], total, givens=[(z, s), (x, y + 1)])(1.0) == 12
    assert make(mode, [], total, givens={z: [1.0, 2.0], x: 3})() == 9
    # All replacements happen at once.
    assert make(mode, [x, y], x - y, givens={x: y, y: x})(1.0, 5.0) == 4


def test_an_expression_may_be_an_input(mode: str) -> None:
    inner = x * 2
    assert make(mode, [inner], inner + 1)(5.0) == 6


# Shared variables.


def test_shared_values() -> None:
    assert scanlib.shared(1).dtype == "int64"
    assert scanlib.shared(1.0).dtype == "float64"
    assert scanlib.shared(np.float32(1)).dtype == "float32"
    assert scanlib.shared(True).dtype == "bool"
    assert scanlib.shared([[1.0, 2.0]]).type.shape == (None, None)
    value = np.ones(2)
    own, lent = scanlib.shared(value), scanlib.shared(value, borrow=True)
    value[0] = 5
    assert own.get_value()[0] == 1 and lent.get_value()[0] == 5
    lent.get_value()[1] = 7
    assert lent.get_value()[1] == 1
    own.set_value(np.zeros(3))
    assert own.get_value().shape == (3,)
    for wrong in (np.zeros((2, 2)), "a"):
        with pytest.raises(UserError):
            own.set_value(wrong)


def test_updates(mode: str) -> None:
    a, b = scanlib.shared(1.0, name="a"), scanlib.shared(2.0, name="b")
    swap = make(mode, [x], a * 10, updates=[(a, b), (b, a + x)])
    assert swap(1.0) == 10
    assert (a.get_value(), b.get_value()) == (2, 2)
    assert swap(5.0) == 20
    assert (a.get_value(), b.get_value()) == (2, 7)
    reset = make(mode, [], [], updates={a: 0})
    reset()
    assert a.get_value() == 0 and a.get_value().dtype == np.float64


def test_updates_are_applied_only_on_success(mode: str) -> None:
    a = scanlib.shared(1.0)
    i = T.lscalar("i")
    f = make(mode, [z, i], z[i], updates={a: a + 1})
    assert f([5.0], 0) == 5
    with pytest.raises(IndexError):
        f([5.0], 3)
    assert a.get_value() == 2


def test_updated_values_are_fresh(mode: str) -> None:
    a = scanlib.shared(np.zeros(2))
    f = make(mode, [z], a, updates={a: z})
    value = np.ones(2)
    f(value)
    value[:] = 5
    np.testing.assert_array_equal(a.get_value(), [1, 1])
    seen = f(value)
    seen[:] = 9
    np.testing.assert_array_equal(a.get_value(), [5, 5])


def test_default_updates(mode: str) -> None:
    a = scanlib.shared(1.0)
    a.default_update = a + 1  # type: ignore[assignment]
    f = make(mode, [], a * 1)
    assert [float(f()), float(f())] == [1, 2]
    still = make(mode, [], a * 1, no_default_updates=True)
    assert [float(still()), float(still())] == [3, 3]
    still = make(mode, [], a * 1, no_default_updates=[a])
    assert [float(still()), float(still())] == [3, 3]
    other = make(mode, [], a * 1, updates={a: a * 10})
    assert [float(other()), float(other())] == [3, 30]


def test_in_with_update(mode: str) -> None:
    f = make(mode, [x, scanlib.In(y, value=10.0, update=y + x)], y)
    assert [float(f(1.0)), float(f(2.0)), float(f(0.0))] == [10, 11, 13]


# Copies, pickles, threads.


def test_copy(mode: str) -> None:
    a, b = scanlib.shared(1.0, name="a"), scanlib.shared(100.0, name="b")
    f = make(mode, [x], a + x, updates={a: a + x}, name="adder")
    g = f.copy(swap={a: b}, name="other")
    assert g(1.0) == 101 and b.get_value() == 101 and a.get_value() == 1
    assert f(1.0) == 2 and a.get_value() == 2
    h = f.copy(delete_updates=True)
    assert h(1.0) == 3 and a.get_value() == 2
    assert g.name == "other"
    with pytest.raises(UserError):
        f.copy(swap={b: a})


def test_pickle(mode: str) -> None:
    count, table = scanlib.shared(0, name="count"), scanlib.shared(np.arange(3.0), name="table")
    trng = T.shared_randomstreams.RandomStreams(3)
    sums, updates = scanlib.scan(
        lambda a, s: (scanlib.ifelse(T.gt(a, 0), s + a, s) + table.sum(), {count: count + 1}),
        sequences=z,
        outputs_info=np.float64(0),
    )
    noise = trng.uniform(size=(2,))
    f = make(mode, [z, scanlib.In(x, value=2.0)], {"s": sums * x, "n": noise}, updates=updates)
    g = pickle.loads(pickle.dumps(f))
    for h in (copy.deepcopy(f), g):
        made, expected = h([1.0, -1.0]), f([1.0, -1.0])
        assert made.keys() == expected.keys()
        np.testing.assert_array_equal(made["s"], [8, 14])
        assert made["n"].shape == (2,)
    assert int(count.get_value()) == 4, "a copy has shared variables of its own"


def test_pickled_functions_of_one_pickle_share(mode: str) -> None:
    a = scanlib.shared(0.0)
    up, read = pickle.loads(pickle.dumps((make(mode, [], [], updates={a: a + 1}), make(mode, [], a * 1))))
    up()
    assert read() == 1 and a.get_value() == 0


def test_a_deep_graph(mode: str) -> None:
    total = x
    for _ in range(3000 if mode == "reference" else 1500):
        total = T.sin(total) + 1
    f = make(mode, [x], total)
    assert np.isfinite(f(1.0))
    assert pickle.loads(pickle.dumps(f))(1.0) == f(1.0)


def test_threads(mode: str) -> None:
    sums, _ = scanlib.scan(lambda a, s: s + a, sequences=z, outputs_info=np.float64(0))
    f = make(mode, [z], sums)
    failures: list[int] = []

    def work(n: int) -> None:
        for _ in range(20):
            if not np.array_equal(f(np.full(n, 2.0)), 2.0 * np.arange(1, n + 1)):
                failures.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 50, 17, 40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_eval() -> None:
    assert (x + y).eval({x: 1.0, y: 2.0}) == 3
    total = (z * 2).sum()
    assert total.eval({z: [1.0, 2.0]}) == 6
    assert total.eval({z: [1.0, 2.0, 3.0]}) == 12
    assert T.constant(2.0).eval() == 2


def test_names_and_text(mode: str) -> None:
    f = make(mode, [x, z], x + z, name="sum")
    assert f.name == "sum" and "sum(x: float64(), z: float64(?))" in repr(f)
    assert f.inputs == (x, z)


# ifelse.


def test_ifelse_is_lazy(mode: str) -> None:
    i = T.lscalar("i")
    f = make(mode, [z, i], scanlib.ifelse(T.lt(i, z.shape[0]), z[i], -1.0))
    assert f([5.0, 6.0], 1) == 6
    assert f([5.0, 6.0], 7) == -1


def test_ifelse_forms(mode: str) -> None:
    c = T.iscalar("c")
    a, b = scanlib.ifelse.ifelse(c, [z, x], [z[:1], y], name="pick")
    f = make(mode, [c, x, y, z], [a, b])
    assert [v.tolist() for v in f(2, 1.0, 2.0, [1.0, 2.0])] == [[1, 2], 1]
    assert [v.tolist() for v in f(0, 1.0, 2.0, [1.0, 2.0])] == [[1], 2]
    for wrong in (
        lambda: scanlib.ifelse(z, x, y),
        lambda: scanlib.ifelse(c, x, z),
        lambda: scanlib.ifelse(c, [x], []),
    ):
        with pytest.raises(UserError, match="ifelse"):
            wrong()


def test_ifelse_gradient(mode: str) -> None:
    c = T.iscalar("c")
    out = scanlib.ifelse(c, x**2 * y, T.exp(x))
    f = make(mode, [c, x, y], scanlib.grad(out, [x, y]))
    assert [float(v) for v in f(1, 3.0, 2.0)] == [12, 9]
    np.testing.assert_allclose([float(v) for v in f(0, 3.0, 2.0)], [np.exp(3.0), 0])
