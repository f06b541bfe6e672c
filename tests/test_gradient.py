"""grad and its companions: what they return, and what they say where no gradient exists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import differentiate
from scanlib.errors import DisconnectedInputError, GradientNotDefinedError, UserTypeError, UserValueError
from scanlib.gradient import (
    DISCONNECTED,
    Lop,
    Rop,
    disconnected_grad,
    grad,
    grad_clip,
    grad_scale,
    hessian,
    hessian_vector_product,
    jacobian,
    jvp,
    subgraph_grad,
    vjp,
    zero_grad,
)
from scanlib.ops.base import Op
from scanlib.verify import GradientMismatchError, verify_grad

MODE = "reference"


def run(inputs: list[Any], outputs: Any, *values: Any) -> Any:
    return scanlib.function(inputs, outputs, mode=MODE, on_unused_input="ignore")(*values)


def test_forms_of_wrt() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    cost = x * y + x
    assert run([x, y], grad(cost, x), 2.0, 3.0) == 4
    assert isinstance(grad(cost, [x]), list) and isinstance(grad(cost, (x, y)), tuple)
    assert run([x, y], grad(cost, [y, x]), 2.0, 3.0) == [2, 4]


def test_names() -> None:
    x = T.dscalar("x")
    cost = x * x
    cost.name = "cost"
    assert grad(cost, x).name == "(dcost/dx)"
    assert grad(cost, x, add_names=False).name is None


def test_variables_used_twice_and_inner_variables() -> None:
    x = T.dvector("x")
    y = x * x
    cost = (y * x).sum() + y[0]
    gy, gx = run([x], grad(cost, [y, x]), [2.0, 3.0])
    np.testing.assert_allclose(gy, [3, 3])
    np.testing.assert_allclose(gx, [16, 27])
    assert run([x], grad(cost, cost), [1.0, 2.0]) == 1


def test_shared_variables() -> None:
    w = scanlib.shared(np.asarray([1.0, 2.0]), name="w")
    np.testing.assert_allclose(run([], grad((w**3).sum(), w)), [3, 12])


def test_gradients_have_the_dtype_of_their_variable() -> None:
    x, y = T.fvector("x"), T.dvector("y")
    gx, gy = grad((x * y).sum(), [x, y])
    assert gx.dtype == "float32" and gy.dtype == "float64"


def test_consider_constant() -> None:
    x = T.dscalar("x")
    y = x * x
    assert run([x], grad(x * y, x, consider_constant=[y]), 3.0) == 9
    with pytest.raises(DisconnectedInputError, match="consider_constant"):
        grad(y * 2, x, consider_constant=[y])


def test_known_grads() -> None:
    x = T.dvector("x")
    y = T.exp(x)
    got = grad(None, x, known_grads={y: T.constant([1.0, 2.0])})
    np.testing.assert_allclose(run([x], got, [0.0, 1.0]), [1, 2 * np.e])
    # With a cost: added to what flows there.
    both = grad(y.sum(), x, known_grads={y: T.constant([1.0, 2.0])})
    np.testing.assert_allclose(run([x], both, [0.0, 1.0]), [2, 3 * np.e])
    with pytest.raises(UserValueError, match="known_grads"):
        grad(None, x)
    with pytest.raises(UserTypeError, match="known gradient"):
        grad(None, x, known_grads={y: T.constant(1.0)})


def test_subgraph_grad() -> None:
    x, w1, w2 = T.dscalar("x"), T.dscalar("w1"), T.dscalar("w2")
    hidden = T.tanh(w1 * x)
    cost = (w2 * hidden) ** 2
    (g2,), (gh,) = subgraph_grad([w2], [hidden], cost=cost)
    (g1,), _ = subgraph_grad([w1], [x], start={hidden: gh})
    got = run([x, w1, w2], [g1, g2], 0.3, 0.5, 0.7)
    np.testing.assert_allclose(got, run([x, w1, w2], grad(cost, [w1, w2]), 0.3, 0.5, 0.7))


# What does not exist.


def test_cost_must_be_a_floating_scalar() -> None:
    x, i = T.dvector("x"), T.iscalar("i")
    with pytest.raises(UserTypeError, match="scalar"):
        grad(x * 2, x)
    with pytest.raises(UserTypeError, match=r"'i'.*int32"):
        grad(i, i)
    with pytest.raises(UserTypeError, match="expected a symbolic scalar"):
        grad(3.0, x)  # type: ignore[arg-type]
    with pytest.raises(UserTypeError, match="symbolic variables"):
        grad(x.sum(), [2.0])
    with pytest.raises(UserValueError, match="disconnected_inputs"):
        grad(x.sum(), x, disconnected_inputs="maybe")


def test_integer_inputs() -> None:
    i = T.ivector("i")
    cost = (i * 1.5).sum()
    with pytest.raises(UserTypeError, match=r"'i'.*int32.*integer"):
        grad(cost, i)
    zeros = run([i], grad(cost, i, disconnected_inputs="ignore"), [1, 2])
    np.testing.assert_array_equal(zeros, [0.0, 0.0])
    assert zeros.dtype == scanlib.config.floatX


def test_disconnected_inputs() -> None:
    x, y = T.dvector("x"), T.dvector("y")
    cost = x.sum()
    with pytest.raises(DisconnectedInputError, match="does not depend on 'y'"):
        grad(cost, y)
    with pytest.warns(UserWarning, match="does not depend on 'y'"):
        grad(cost, y, disconnected_inputs="warn")
    np.testing.assert_array_equal(
        run([x, y], grad(cost, y, disconnected_inputs="ignore"), [1], [1, 2]), [0, 0]
    )
    options = dict(disconnected_inputs="ignore")
    assert grad(cost, y, return_disconnected="None", **options) is None
    assert grad(cost, y, return_disconnected="disconnected", **options) is DISCONNECTED


def test_a_path_through_integers_is_shown() -> None:
    x = T.dvector("x")
    cost = (T.cast(T.exp(x), "int64") * 0.5).sum()
    cost.name = "cost"
    with pytest.raises(
        DisconnectedInputError, match=r"'cost' <- .*cast <- exp <- 'x'; nothing flows through 'cast'"
    ):
        grad(cost, x)


def test_an_operation_without_gradient_is_named_with_its_path() -> None:
    from scanlib.ops.base import TABLE
    from scanlib.ops.elementwise import exp

    row = Op("opaque", exp.infer, exp.reference, exp.lower)
    try:
        x = T.dvector("x")
        cost = (row(x * 2) * 3).sum()
        cost.name = "cost"
        with pytest.raises(
            GradientNotDefinedError, match=r"'opaque' has no gradient.*'cost' <- .*opaque <- mul <- 'x'"
        ):
            grad(cost, x)
        with pytest.raises(GradientNotDefinedError, match="'opaque'"):
            Rop(cost, x, x)
        assert grad(cost + x.sum(), x, consider_constant=[cost]) is not None
    finally:
        del TABLE["opaque"]


# Both modes of differentiation, and what is made of them.


def test_lop_and_rop() -> None:
    W, x, v, u = T.dmatrix("W"), T.dvector("x"), T.dvector("v"), T.dvector("u")
    y = T.tanh(T.dot(W, x))
    values = (
        np.arange(6.0).reshape(2, 3) / 5,
        np.asarray([0.1, -0.4, 0.3]),
        np.ones(3),
        np.asarray([2.0, -1.0]),
    )
    J = (1 - np.tanh(values[0] @ values[1]) ** 2)[:, None] * values[0]
    right, left = run([W, x, v, u], [Rop(y, x, v), Lop(y, x, u)], *values)
    np.testing.assert_allclose(right, J @ values[2])
    np.testing.assert_allclose(left, values[3] @ J)
    both = Rop([y, y.sum()], [W, x], [T.ones_like(W), v])
    assert isinstance(both, list) and both[1].ndim == 0
    assert run([x, v], Rop(x * 2, v, v), [1.0], [1.0]) == [0]
    with pytest.raises(UserTypeError, match="eval_points"):
        Rop(y, x, W)
    with pytest.raises(UserValueError, match="1 were given for 2"):
        Rop(y, [x, W], [v])


def test_rop_without_a_forward_rule() -> None:
    from scanlib.ops.base import TABLE
    from scanlib.ops.elementwise import exp

    row = Op("reverse_only", exp.infer, exp.reference, exp.lower, lambda node, g: [g[0] * node.output])
    try:
        x, v = T.dvector("x"), T.dvector("v")
        got = run([x, v], Rop(row(x * x), x, v), [0.5, 1.0], [1.0, 2.0])
        np.testing.assert_allclose(got, np.exp([0.25, 1.0]) * 2 * np.asarray([0.5, 1.0]) * [1.0, 2.0])
    finally:
        del TABLE["reverse_only"]


def test_jacobian() -> None:
    x, A = T.dvector("x"), T.dmatrix("A")
    y = T.tanh(T.dot(x, A))
    v, M = np.eye(5)[0], np.eye(5, 3)
    M[2] = 1
    expected = (1 - np.tanh(v @ M) ** 2)[:, None] * M.T
    np.testing.assert_allclose(run([x, A], jacobian(y, x), v, M), expected)
    by_matrix = run([x, A], jacobian(y, A), v, M)
    assert by_matrix.shape == (3, 5, 3)
    np.testing.assert_allclose(by_matrix[1, :, 1], (1 - np.tanh(v @ M)[1] ** 2) * v)
    assert run([x, A], jacobian(T.outer(y, y), x), v, M).shape == (3, 3, 5)
    with pytest.raises(DisconnectedInputError):
        jacobian(y, T.dvector("z"))
    scalar = T.dscalar("s")
    np.testing.assert_allclose(run([scalar], jacobian(T.stack([scalar, scalar**2]), scalar), 3.0), [1, 6])


def test_jacobian_of_a_scan() -> None:
    x, u = T.dscalar("x"), T.dvector("u")
    r = scanlib.scan(lambda u, x: T.tanh(x * u), u, x)[0]
    got = run([x, u], jacobian(r, u), 0.8, [0.5, 1.5, -0.7])
    rows = [run([x, u], grad(r[i], u), 0.8, [0.5, 1.5, -0.7]) for i in range(3)]
    np.testing.assert_allclose(got, rows)


def test_hessian() -> None:
    x, v = T.dvector("x"), T.dvector("v")
    cost = (x[0] ** 2 * x[1]) + T.sin(x[2])
    point = np.asarray([0.5, 2.0, 0.3])
    expected = np.asarray([[4.0, 1.0, 0], [1.0, 0, 0], [0, 0, -np.sin(0.3)]])
    np.testing.assert_allclose(run([x], hessian(cost, x), point), expected, atol=1e-15)
    got = run([x, v], hessian_vector_product(cost, x, v), point, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(got, expected @ [1, 2, 3])
    # A linear cost.
    np.testing.assert_array_equal(run([x], hessian((x * 2).sum(), x), point), np.zeros((3, 3)))


def test_jvp_and_vjp() -> None:
    x = T.dvector("x")

    def f(a: Any, b: Any) -> Any:
        return a * b, (a * a).sum()

    (product, square), (dp, ds) = jvp(f, [x, x], [T.ones_like(x), T.zeros_like(x)])
    got = run([x], [product, square, dp, ds], [2.0, 3.0])
    for a, b in zip(got, ([4, 9], 13, [2, 3], 10)):
        np.testing.assert_allclose(a, b)
    _, pull = vjp(f, x, x)
    ga, gb = pull(T.ones_like(x), 1.0)
    np.testing.assert_allclose(run([x], ga, [2.0, 3.0]), [6, 9])
    np.testing.assert_allclose(run([x], gb, [2.0, 3.0]), [2, 3])


# Rows that change gradients.


def test_rows_that_change_gradients() -> None:
    x = T.dvector("x")
    point = np.asarray([1.0, -2.0, 3.0])

    def slope(y: Any) -> Any:
        return run([x], grad((y**2).sum() / 2, x, disconnected_inputs="ignore"), point)

    np.testing.assert_array_equal(slope(grad_clip(x, -1, 2)), [1, -1, 2])
    np.testing.assert_array_equal(slope(grad_scale(x, -0.5)), [-0.5, 1, -1.5])
    np.testing.assert_array_equal(slope(zero_grad(x)), [0, 0, 0])
    np.testing.assert_array_equal(slope(disconnected_grad(x)), [0, 0, 0])
    np.testing.assert_array_equal(run([x], grad_clip(x, -1, 1), point), point)
    assert grad(zero_grad(x).sum(), x) is not None
    with pytest.raises(DisconnectedInputError, match="disconnected_grad"):
        grad(disconnected_grad(x).sum(), x)
    with pytest.raises(UserValueError, match="above"):
        grad_clip(x, 1, -1)
    mixed = (disconnected_grad(x) * x).sum()
    np.testing.assert_array_equal(run([x], grad(mixed, x), point), point)


# The checker itself.


def test_verify_grad_finds_a_wrong_gradient() -> None:
    with pytest.raises(GradientMismatchError, match="input 0"):
        verify_grad(lambda x: grad_scale(x, 1.001) ** 2, [np.asarray([1.0, 2.0])], mode=MODE)
    with pytest.raises(GradientMismatchError):
        verify_grad(lambda x: grad_scale(T.tanh(x), 1.01).sum() ** 2, [np.float32([1.0, 2.0])], mode=MODE)


def test_verify_grad_finds_a_wrong_second_derivative() -> None:
    # Right in value and slope, wrong in the slope of the slope.
    def fun(x: Any) -> Any:
        return x * disconnected_grad(x) * 2 - disconnected_grad(x * x) + x * x * 0

    with pytest.raises(GradientMismatchError):
        verify_grad(fun, [np.asarray([1.0, 2.0])], mode=MODE, order=2)


def test_pullback_leaves_what_is_not_reached() -> None:
    x, y = T.dscalar("x"), T.dscalar("y")
    assert differentiate.pullback([x * 2], [T.constant(1.0)], [y]) == [None]
    assert differentiate.path([x * 2], y) is None
