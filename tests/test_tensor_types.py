"""Constructors of variables, conversion of values, and the operators and methods of variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserError, UserTypeError, UserValueError
from scanlib.graph import DTYPES, Constant, TensorType
from scanlib.values import convert_value

RNG = np.random.default_rng(0)


def test_constructors() -> None:
    assert T.scalar("x").type == TensorType("float64", ()) and T.scalar("x").name == "x"
    assert T.row().type.shape == (1, None) and T.col().type.shape == (None, 1)
    assert T.drow().broadcastable == (True, False)
    assert [T.vector().ndim, T.matrix().ndim, T.tensor3().ndim, T.tensor4().ndim, T.tensor5().ndim] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert T.matrix("m", dtype="int8", shape=(None, 3)).type == TensorType("int8", (None, 3))
    for prefix, dtype in T.types.PREFIXES.items():
        for kind, ndim in [
            ("scalar", 0),
            ("vector", 1),
            ("matrix", 2),
            ("row", 2),
            ("col", 2),
            ("tensor3", 3),
        ]:
            made = getattr(T, prefix + kind)("v")
            assert (made.dtype, made.ndim, made.name) == (dtype, ndim, "v")
    a, b = T.vectors("a", "b")
    assert (a.name, b.name, a.ndim) == ("a", "b", 1)
    assert [v.dtype for v in T.fmatrices(3)] == ["float32"] * 3
    assert (
        T.iscalars("n").name == "n"
        and len(T.dmatrices("a", "b", "c")) == 3
        and T.scalars("a", "b", dtype="int8")[0].dtype == "int8"
    )
    t = T.TensorType("float32", (False, True))
    assert t("x").type == TensorType("float32", (None, 1)) and T.fcol().type == t
    assert T.TensorType("int64", broadcastable=())().ndim == 0
    assert (
        T.tensor("bool", (False, 4), "y").type.shape == (None, 4) and T.tensor(shape=(2,)).dtype == "float64"
    )
    assert isinstance(T.constant(1), T.Constant) and isinstance(a, T.TensorVariable)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.vector(dtype="complex64"), "complex64 is not supported"),
        (lambda: T.vector(dtype="nonsense"), "is not a dtype"),
        (lambda: T.scalar("int64"), "write scalar"),
        (lambda: T.matrix(shape=(3,)), "2 entries"),
        (lambda: T.vectors(), "names of the variables"),
        (lambda: T.TensorType("int8"), "broadcastable"),
        (lambda: T.constant("text"), "not supported"),
        (lambda: T.constant(np.zeros(2, dtype="float16")), "float16"),
        (lambda: T.as_tensor_variable([[1], [1, 2]]), "not an array"),
        (lambda: T.as_tensor_variable(object()), "object"),
        (lambda: T.as_tensor_variable(T.dmatrix("m"), ndim=1), "'m' has 2 dimensions"),
        (lambda: T.bscalar() + 300, "does not fit int8"),
    ],
)
def test_bad_types(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_conversion_to_variables() -> None:
    x = T.fvector("x")
    assert T.as_tensor_variable(x) is x
    assert T.as_tensor_variable(2).dtype == "int64" and T.as_tensor_variable(2.0).dtype == "float64"
    assert T.as_tensor_variable(True).dtype == "bool"
    assert (
        T.as_tensor_variable(2.0, like=x).dtype == "float32"
        and T.as_tensor_variable(2, like=x).dtype == "float32"
    )
    assert T.as_tensor_variable(2.5, like=T.iscalar()).dtype == "float64"
    assert T.as_tensor_variable(np.float64(2), like=x).dtype == "float64"
    assert T.as_tensor_variable([x[0], 1.0]).type == TensorType("float32", (2,))
    assert T.as_tensor_variable([[x[0], 1.0], [2.0, x[1]]]).type.shape == (2, 2)
    assert (
        T.as_tensor_variable(3, dtype="float32").dtype == "float32"
        and T.as_tensor_variable(x, dtype="int8").dtype == "int8"
    )
    assert T.as_tensor_variable(x, ndim=3).type.shape == (1, 1, None)
    assert T.as_tensor_variable(T.drow(), ndim=1).type.shape == (None,)
    assert T.as_tensor_variable(np.arange(3).astype(">i4")).data.dtype == np.dtype("int32")
    data = np.ones(3)
    made = T.constant(data, name="ones")
    data[0] = 5
    assert isinstance(made, Constant) and made.data[0] == 1 and made.name == "ones"
    assert T.constant(1.0, ndim=2).type.shape == (1, 1)
    assert float(T.get_scalar_constant_value(T.constant(2.5))) == 2.5
    assert T.get_scalar_constant_value(T.constant(2) * 3) == 6
    with pytest.raises(ValueError, match="not a constant"):
        T.get_scalar_constant_value(x[0])


def accepted(value: Any, dtype: str, shape: tuple[int | None, ...], **options: Any) -> np.ndarray:
    return convert_value(value, TensorType(dtype, shape), "v", **options)


def test_values_accepted() -> None:
    assert accepted(1, "float64", ()).dtype == "float64" and accepted(1.5, "float32", ()).dtype == "float32"
    assert accepted(True, "int8", ()) == 1 and accepted([1, 2], "uint8", (None,)).dtype == "uint8"
    assert (
        accepted([], "int32", (None,)).dtype == "int32"
        and accepted([0.5], "float32", (1,)).dtype == "float32"
    )
    assert accepted(np.arange(3, dtype="int32"), "float64", (3,)).dtype == "float64"
    assert accepted(np.float32(2), "float64", ()).shape == ()
    assert accepted(np.array([1.5]), "int8", (None,), allow_downcast=True)[0] == 1
    assert accepted(np.arange(3).astype(">i8"), "int64", (None,)).dtype.isnative
    turned = np.arange(6.0).reshape(2, 3).T
    assert accepted(turned, "float64", (None, None), copy=False).flags.c_contiguous
    same = np.zeros((2, 3))
    assert accepted(same, "float64", (None, None), copy=False) is same
    assert not np.shares_memory(accepted(same, "float64", (None, None)), same)
    assert accepted(np.zeros((0, 3)), "float64", (None, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("value", "dtype", "shape", "message"),
    [
        (np.zeros(3), "float32", (None,), r"'v': expected float32\(\?\), got float64.*astype\('float32'\)"),
        (np.zeros(3), "int64", (None,), "expected int64"),
        (1.0, "int64", (), "a Python float"),
        (300, "int8", (), "300 does not fit int8"),
        ([1, -1], "uint8", (None,), "-1 does not fit uint8"),
        (np.arange(3), "int32", (None,), "got int64"),
        (np.zeros((2, 2)), "float64", (None,), r"expected 1 dimension\(s\) .* got 2"),
        (3.0, "float64", (None,), "got 0"),
        (np.zeros((2, 3)), "float64", (None, 4), "axis 1 must be 4 long"),
        (np.zeros(2, dtype=complex), "float64", (None,), "complex128 is not supported"),
        ("text", "float64", (), "not supported"),
        (None, "float64", (), "object is not supported"),
        (T.dscalar("other"), "float64", (), "symbolic variable 'other'"),
        ([[1], [1, 2]], "float64", (None, None), "is not an array"),
    ],
)
def test_values_refused(value: Any, dtype: str, shape: tuple[int | None, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        accepted(value, dtype, shape)


# Operators.


def test_arithmetic_with_arrays_and_numbers(mode: str) -> None:
    x, i, m = T.dvector("x"), T.lvector("i"), T.vector("m", dtype="bool")
    a, n, p = np.array([1.5, -2.0, 3.0]), np.array([5, -3, 2]), np.array([True, False, True])
    pairs = [
        (x + 1, a + 1), (1 - x, 1 - a), (x * a, a * a), (a * x, a * a), (a - x, a - a), (2 / x, 2 / a),
        (i / 2, n / 2),
        (i // 2, n // 2), (7 // i, 7 // n), (i % 3, n % 3), (7 % i, 7 % n), (x**2, a**2), (2**x, 2**a),
        (-x, -a),
        (+x, +a), (abs(i), abs(n)), (~i, ~n), (~m, ~p), (i & 6, n & 6), (3 | i, 3 | n), (i ^ n, n ^ n),
        (i << 2, n << 2),
        (i >> 1, n >> 1), (m & True, p & True), (m | ~m, p | ~p), (m ^ m, p ^ p), (x < 2, a < 2),
        (x <= 2, a <= 2),
        (x > i, a > n), (x >= 1.5, a >= 1.5), (divmod(i, 4)[1], n % 4), (np.float64(2) * x, 2 * a),
        (x @ a, a @ a),
        (a @ x, a @ a), (x.dot(a), a @ a), (round(x), np.rint(a)), (x.clip(-1, 2), a.clip(-1, 2)),
        (x.astype("int32"), a.astype("int32")), (x.fill(2), np.full(3, 2.0)), (x.ones_like(), np.ones(3)),
        (x.zeros_like("int8"), np.zeros(3, "int8")), (x.sort(), np.sort(a)), (x.argsort(), np.argsort(a)),
        (x.sum(), a.sum()), (x.mean(), a.mean()), (x.std(), a.std()), (x.var(), a.var()), (x.prod(),
        a.prod()),
        (x.max(), a.max()), (x.min(), a.min()), (x.argmax(), a.argmax()), (x.argmin(), a.argmin()),
        (m.any(), p.any()),
        (m.all(), p.all()), (x.norm(2), np.linalg.norm(a)), (x.cumsum(), a.cumsum()), (x.cumprod(),
        a.cumprod()),
    ]  # fmt: skip
    outputs, wanted = zip(*pairs, strict=True)
    for k, (got, want) in enumerate(
        zip(scanlib.function([x, i, m], list(outputs), mode=mode)(a, n, p), wanted, strict=True)
    ):
        assert got.dtype == np.asarray(want).dtype, k
        np.testing.assert_allclose(got, want, rtol=1e-14, err_msg=str(k))


def test_python_numbers_are_weak() -> None:
    for dtype in DTYPES:
        x = T.vector(dtype=dtype)
        a = np.ones(1, dtype=dtype)
        assert (x + 1).dtype == (a + 1).dtype and (x * 2.0).dtype == (a * 2.0).dtype
        assert (1 - x.astype("int16")).dtype == "int16" and T.maximum(x, 1).dtype == np.maximum(a, 1).dtype


def test_what_a_variable_refuses() -> None:
    x = T.dvector("x")
    for action, message in [
        (lambda: bool(x > 0), "T.switch"),
        (lambda: 0 < x < 1, "no truth value"),
        (lambda: list(x), "scanlib.scan"),
        (lambda: len(x), r"\.shape\[0\]"),
        (lambda: iter(T.dscalar("s")), "no axis"),
        (lambda: np.asarray(x), "symbolic"),
    ]:
        with pytest.raises(UserTypeError, match=message):
            action()
    assert (x == x) is True and (x == T.dvector("x")) is False and x in {x: 1}


def test_iteration_and_length() -> None:
    x = T.tensor("float64", shape=(3, None))
    a, b, c = x
    assert len(x) == 3 and a.ndim == 1 and [v.eval({x: np.eye(3)})[2] for v in (a, b, c)] == [0, 0, 1]


def test_eval_copy_and_tag() -> None:
    x, y = T.dscalars("x", "y")
    z = x * y
    assert z.eval({x: 3, y: 4}) == 12 and z.eval({y: 2, x: 3}) == 6 and T.constant(5).eval() == 5
    assert z.copy("c").name == "c" and z.copy() is not z
    x.tag.test_value = 3
    assert x.tag.test_value == 3


def test_extra_ops(mode: str) -> None:
    x, i, y = T.dmatrix("x"), T.lvector("i"), T.dvector("y")
    a, n, b = RNG.normal(size=(3, 4)), np.array([2, 0, 1, 2]), np.array([0.0, 1.0, 1.0, 2.5])
    choices = np.arange(12.0).reshape(3, 4)
    pairs = [
        (T.choose(i, choices), np.choose(n, choices)), (T.choose(i, [y, 1.0, -y]),
        np.choose(n, [b, 1.0, -b])),
        (T.compress([True, False, True], x, 0), np.compress([1, 0, 1], a, 0)), (T.diff(x), np.diff(a)),
        (T.diff(x, 2, 0), np.diff(a, 2, 0)), (T.searchsorted(y, x), np.searchsorted(b, a)),
        (T.searchsorted(y, 1.0, side="right"), np.searchsorted(b, 1.0, side="right")),
        (T.bincount(i), np.bincount(n)), (T.bincount(i, y, minlength=5), np.bincount(n, b, 5)),
        (T.extra_ops.to_one_hot(i, 4), np.eye(4)[n]), (T.inverse_permutation(i[:3]), np.argsort(n[:3])),
        (T.fill_diagonal(x, 7), np.where(np.eye(3, 4), 7.0, a)), (T.iround(x * 3),
        np.rint(a * 3).astype("int64")),
    ]  # fmt: skip
    outputs, wanted = zip(*pairs, strict=True)
    for k, (got, want) in enumerate(
        zip(scanlib.function([x, i, y], list(outputs), mode=mode)(a, n, b), wanted, strict=True)
    ):
        assert (got.dtype, got.shape) == (want.dtype, want.shape), k
        np.testing.assert_allclose(got, want, err_msg=str(k))


def test_shared_values() -> None:
    s = scanlib.shared(np.zeros((2, 3)), name="s")
    with pytest.raises(UserTypeError, match="'s'"):
        s.set_value(np.zeros(3))
    with pytest.raises(UserTypeError, match="'s'"):
        scanlib.shared(np.float32(0), name="s").set_value(np.float64(0.1))
    with pytest.raises(UserValueError, match="not fit"):
        scanlib.shared(np.int8(1)).set_value(1000)


NAMES = """
    abs_ neg sgn sqr sqrt exp log1p tanh arctan2 erf gammaln psi sigmoid softplus maximum clip
    switch where cast isnan isinf eq neq lt le gt ge and_ or_ xor invert iround round ceil floor
    trunc true_div int_div mod pow sum prod mean var std max min argmax argmin max_and_argmax all
    any cumsum cumprod norm dot tensordot outer batched_dot matmul inv diag alloc_diag eye zeros
    ones zeros_like ones_like fill second alloc arange reshape flatten dimshuffle transpose
    concatenate join stack split tile repeat roll set_subtensor inc_subtensor addbroadcast
    unbroadcast patternbroadcast nonzero nonzero_values grad jacobian hessian Rop Lop logsumexp
    softmax inverse_permutation compress choose diff to_one_hot swapaxes shape shape_padleft tril
    triu identity_like
"""


def test_namespace() -> None:
    """Theano's names are there."""
    import scanlib.tensor.basic
    import scanlib.tensor.extra_ops
    import scanlib.tensor.nlinalg
    import scanlib.tensor.slinalg
    from scanlib.tensor.shared_randomstreams import RandomStreams

    assert T.shared_randomstreams.RandomStreams is RandomStreams and T.basic.exp is T.exp
    assert scanlib.tensor.extra_ops.cumsum is T.cumsum
    assert scanlib.tensor.slinalg.cholesky is T.slinalg.cholesky is T.cholesky
    for name in NAMES.split():
        assert hasattr(T, name), name
    for name in ["sigmoid", "softmax", "relu", "softplus", "hard_sigmoid", "categorical_crossentropy"]:
        assert hasattr(T.nnet, name), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = T.nothing


def test_numpy_functions_of_variables() -> None:
    """NumPy's elementwise functions build the graph, as those of the same name here; others say what to do instead."""
    x = T.vector("x")
    f = scanlib.function([x], np.maximum(np.tanh(x) / np.float32(2), np.ones(3) - x))
    value = np.array([-1.0, 0.5, 2.0])
    np.testing.assert_allclose(f(value), np.maximum(np.tanh(value) / 2, 1 - value), rtol=1e-14)
    assert (np.float64(1) == x, np.float64(1) != x) == (False, True)  # identity, as of two variables
    for mistake in (lambda: np.sum(x), lambda: np.add.reduce(x), lambda: np.array([x, x]), lambda: float(x)):
        with pytest.raises(UserTypeError, match="symbolic.* use the function of scanlib.tensor"):
            mistake()
    with pytest.raises(UserTypeError, match=r"vector\(3\): the first argument is the name"):
        T.vector(3)  # type: ignore[arg-type]
    with pytest.raises(UserTypeError, match="np.heaviside"):
        np.heaviside(x, x)
