"""Gradients for users: grad, jacobian, hessian, Lop, Rop, jvp, vjp, and rows that change gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from . import differentiate
from .errors import DisconnectedInputError, UserTypeError, UserValueError
from .graph import Variable, describe, substitute
from .ops.base import is_float

One = TypeVar("One")


class Disconnected:
    """Stands for a gradient that does not exist, with `return_disconnected="disconnected"`."""

    def __repr__(self) -> str:
        return "disconnected"


DISCONNECTED = Disconnected()


def grad(
    cost: Variable | None,
    wrt: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
    known_grads: Mapping[Variable, Any] | None = None,
    return_disconnected: str = "zero",
    add_names: bool = True,
) -> Any:
    """The gradient of the 0-d floating `cost` with respect to `wrt`, of the same shapes as `wrt`.

    wrt                  a variable, or a list or tuple of them (the result is then one, too)
    consider_constant    variables through whose making no gradient flows
    disconnected_inputs  what to do where `cost` does not depend on `wrt`: "raise" DisconnectedInputError,
                         "warn" or "ignore"
    known_grads          gradients of some cost with respect to inner variables, given instead of `cost`
                         (None) or added to what flows there
    return_disconnected  what stands for such a gradient: "zero", "None" or "disconnected"
    add_names            name each gradient (dcost/dwrt)

    Raises UserTypeError for a cost that is not a floating scalar or a `wrt` that is not floating,
    GradientNotDefinedError where an operation without gradient lies between them.
    """
    _check_choice("disconnected_inputs", disconnected_inputs, ("raise", "warn", "ignore"))
    _check_choice("return_disconnected", return_disconnected, ("zero", "None", "disconnected"))
    targets = _variables(wrt, "wrt")
    outputs, cotangents = _starts(cost, known_grads)
    found = differentiate.pullback(outputs, cotangents, targets, consider_constant or ())
    made: list[Any] = []
    for v, g in zip(targets, found):
        if g is None:
            _report(_explain(outputs, v, consider_constant or ()), disconnected_inputs, v)
            made.append(_stand_in(v, return_disconnected))
            continue
        if add_names and g.name is None and g.owner is not None and v.name and cost is not None and cost.name:
            g.name = f"(d{cost.name}/d{v.name})"
        made.append(g)
    return _like(wrt, made)


def _starts(
    cost: Variable | None, known: Mapping[Variable, Any] | None
) -> tuple[list[Variable], list[Variable | None]]:
    """Where gradients start: variables and their cotangents."""
    from .tensor import as_tensor_variable, ones_like

    outputs: list[Variable] = []
    cotangents: list[Variable | None] = []
    if cost is None and not known:
        raise UserValueError("grad: cost is None and known_grads is empty; give at least one of them")
    if cost is not None:
        if not isinstance(cost, Variable):
            raise UserTypeError(f"grad: cost is a {type(cost).__name__}, expected a symbolic scalar")
        if not is_float(cost.dtype):
            raise UserTypeError(
                f"grad: cost '{describe(cost)}' is {cost.type}, expected float32 or float64; cast it first"
            )
        if cost.ndim != 0:
            raise UserTypeError(
                f"grad: cost '{describe(cost)}' is {cost.type}, expected a scalar; "
                "use cost.sum(), or jacobian for the derivative of each element"
            )
        outputs.append(cost)
        cotangents.append(ones_like(cost))
    for v, g in (known or {}).items():
        given = as_tensor_variable(g)
        if given.ndim != v.ndim:
            raise UserTypeError(f"grad: known gradient of '{describe(v)}' is {given.type}, expected {v.type}")
        outputs.append(v)
        cotangents.append(given)
    return outputs, cotangents


def _explain(outputs: Sequence[Variable], v: Variable, constants: Sequence[Variable]) -> str:
    """Why no gradient flows from `outputs` to `v`."""
    cost = " or ".join(f"'{describe(o)}'" for o in outputs)
    name = describe(v)
    if not is_float(v.dtype):
        return f"'{name}' is {v.type}: an integer or boolean has no gradient; cast it to a float to get one"
    found = differentiate.path(outputs, v)
    if found is None:
        return f"there is no gradient of {cost} with respect to '{name}': {cost} does not depend on '{name}'"
    text = (
        f"the gradient of {cost} with respect to '{name}' does not exist, though there is a path from one to "
        f"the other: {differentiate.show_path(found)}"
    )
    if any(u is c for u in found for c in constants):
        return text + "; it passes through a variable of consider_constant"
    block = differentiate.blocker(found)
    if block is not None:
        return text + f"; nothing flows through '{describe(block)}', which is {block.type}"
    return text + "; no operation on it passes a gradient on"


def _report(message: str, action: str, v: Variable) -> None:
    if action == "raise":
        kind = DisconnectedInputError if is_float(v.dtype) else IntegerInputError
        raise kind(f"grad: {message}. To get zeros instead, use disconnected_inputs='ignore'")
    if action == "warn":
        warnings.warn(message, stacklevel=4)


class IntegerInputError(DisconnectedInputError, UserTypeError):
    """A gradient was asked for with respect to an integer or boolean."""


def _stand_in(v: Variable, choice: str) -> Any:
    if choice == "None":
        return None
    return DISCONNECTED if choice == "disconnected" else _zeros(v)


def _zeros(v: Variable) -> Variable:
    """A gradient or tangent of zeros for `v`: floating, whatever `v` is."""
    from . import config
    from .tensor import zeros_like

    return zeros_like(v) if is_float(v.dtype) else zeros_like(v, dtype=config.floatX)


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}")


def _variables(given: Any, what: str) -> list[Variable]:
    many = list(given) if isinstance(given, (list, tuple)) else [given]
    for v in many:
        if not isinstance(v, Variable):
            raise UserTypeError(f"{what} holds a {type(v).__name__}, expected symbolic variables")
    return many


def _like(given: Any, made: list[Any]) -> Any:
    """`made` as the caller gave its counterpart: one, a list or a tuple."""
    if isinstance(given, (list, tuple)):
        return tuple(made) if isinstance(given, tuple) else made
    return made[0]


def subgraph_grad(
    wrt: Sequence[Variable],
    end: Sequence[Variable],
    start: Mapping[Variable, Any] | None = None,
    cost: Variable | None = None,
) -> tuple[list[Any], list[Any]]:
    """Gradients from `cost` and the known gradients `start` down to `wrt` and no further than `end`.

    Returns the gradients of `wrt` and those of `end`, from which a later call can go on.
    """
    targets = [*wrt, *end]
    grads = grad(cost, targets, list(end), "ignore", start, "zero", False)
    return grads[: len(wrt)], grads[len(wrt) :]


def _tangents(given: Any, targets: Sequence[Variable], what: str) -> list[Variable | None]:
    from .tensor import as_tensor_variable

    many = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(many) != len(targets):
        raise UserValueError(f"{what}: {len(many)} were given for {len(targets)} variables")
    made = [None if t is None else as_tensor_variable(t) for t in many]
    for v, t in zip(targets, made):
        if t is not None and t.ndim != v.ndim:
            raise UserTypeError(
                f"{what}: '{describe(t)}' is {t.type}, expected the type of its variable, {v.type}"
            )
    return made


def Lop(
    f: Any,
    wrt: Any,
    eval_points: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """Row vector times Jacobian: Σ eval_points · ∂f/∂wrt, of the shapes of `wrt`."""
    _check_choice("disconnected_inputs", disconnected_inputs, ("raise", "warn", "ignore"))
    outputs, targets = _variables(f, "f"), _variables(wrt, "wrt")
    points = _tangents(eval_points, outputs, "Lop: eval_points")
    found = differentiate.pullback(outputs, points, targets, consider_constant or ())
    for v, g in zip(targets, found):
        if g is None:
            _report(_explain(outputs, v, consider_constant or ()), disconnected_inputs, v)
    return _like(wrt, [_zeros(v) if g is None else g for v, g in zip(targets, found)])


def Rop(f: Any, wrt: Any, eval_points: Any, disconnected_outputs: str = "ignore") -> Any:
    """Jacobian times column vector: ∂f/∂wrt · eval_points, of the shapes of `f`, in forward mode."""
    _check_choice("disconnected_outputs", disconnected_outputs, ("raise", "warn", "ignore"))
    outputs, inputs = _variables(f, "f"), _variables(wrt, "wrt")
    points = _tangents(eval_points, inputs, "Rop: eval_points")
    for v in inputs:
        if not is_float(v.dtype):
            _report(_explain(outputs, v, ()), "raise", v)
    found = differentiate.pushforward(outputs, inputs, points)
    for v, t in zip(outputs, found):
        if t is None:
            names = ", ".join(f"'{describe(u)}'" for u in inputs)
            _report(f"'{describe(v)}' does not depend on {names}", disconnected_outputs, inputs[0])
    return _like(f, [_zeros(v) if t is None else t for v, t in zip(outputs, found)])


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals) and its derivative along `tangents`."""
    inputs, actual = _stand_ins(primals)
    outputs = f(*inputs)
    made = [*_variables(outputs, "f"), *_variables(Rop(outputs, inputs, list(tangents)), "f")]
    bound = substitute(made, actual)
    count = len(bound) // 2
    return _like(outputs, bound[:count]), _like(outputs, bound[count:])


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., list[Any]]]:
    """f(*primals), and the function that takes cotangents of it to cotangents of the primals."""
    inputs, actual = _stand_ins(primals)
    outputs = f(*inputs)

    def pull(*cotangents: Any) -> list[Any]:
        points = list(cotangents) if isinstance(outputs, (list, tuple)) else cotangents[0]
        made = Lop(outputs, inputs, points, disconnected_inputs="ignore")
        return substitute(made, actual)

    return _like(outputs, substitute(_variables(outputs, "f"), actual)), pull


def _stand_ins(primals: Sequence[Any]) -> tuple[list[Variable], dict[Variable, Variable]]:
    """A fresh input for each primal, even where one is given twice; and what stands behind each."""
    from .tensor import as_tensor_variable

    actual = [as_tensor_variable(p) for p in primals]
    inputs = [v.clone() for v in actual]
    return inputs, dict(zip(inputs, actual))


def jacobian(
    expression: Variable,
    wrt: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """∂expression/∂wrt, of shape expression.shape + wrt.shape: a scan over the elements of `expression`."""
    targets = _variables(wrt, "wrt")
    if expression.ndim == 0:
        return grad(expression, wrt, consider_constant, disconnected_inputs)
    if not is_float(expression.dtype):
        raise UserTypeError(
            f"jacobian: '{describe(expression)}' is {expression.type}, expected float32 or float64"
        )
    rows = _jacobian_rows(expression, targets, list(consider_constant or ()))
    made: list[Variable] = []
    for v, row in zip(targets, rows):
        if row is None:
            _report(_explain([expression], v, consider_constant or ()), disconnected_inputs, v)
        made.append(_jacobian_shape(row, expression, v))
    return _like(wrt, made)


def _jacobian_rows(
    expression: Variable, targets: Sequence[Variable], constants: Sequence[Variable]
) -> list[Variable | None]:
    """For each target the gradients of the elements of `expression` in C order, stacked, or None."""
    from .scan_gradient.builder import ScanBuilder
    from .tensor import arange, cast, eq, reshape

    loop = ScanBuilder("jacobian")
    size = expression.size
    positions = reshape(arange(size), expression.shape, ndim=expression.ndim)
    i = loop.sequence(arange(size), "i")
    pick = cast(eq(positions, i), expression.dtype)
    pulled = differentiate.pullback([expression], [pick], targets, constants)
    for v, g in zip(targets, pulled):
        if g is not None:
            loop.output(g, f"gradient with respect to {describe(v)}")
    if not loop.mapped:
        return pulled
    stacked = iter(loop.build(size).mapped)
    return [None if g is None else next(stacked) for g in pulled]


def _jacobian_shape(row: Variable | None, expression: Variable, v: Variable) -> Variable:
    from .tensor import concatenate, reshape, zeros

    ndim = expression.ndim + v.ndim
    shape = concatenate([expression.shape, v.shape]) if v.ndim else expression.shape
    if row is None:
        return zeros(shape, dtype=_zeros(v).dtype)
    return row if expression.ndim == 1 else reshape(row, shape, ndim=ndim)


def hessian(
    cost: Variable,
    wrt: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """∂²cost/∂wrt², of shape wrt.shape + wrt.shape for each variable of `wrt`: a scan over its elements."""
    made: list[Variable] = []
    for v in _variables(wrt, "wrt"):
        g = grad(cost, v, consider_constant, disconnected_inputs)
        made.append(jacobian(g, v, consider_constant, "ignore"))
    return _like(wrt, made)


def _pass(name: str, x: Any, **params: Any) -> Variable:
    from .ops import gradient as rows
    from .tensor import as_tensor_variable

    row = getattr(rows, name)
    made = row(as_tensor_variable(x), **params)
    assert isinstance(made, Variable)
    return made


def disconnected_grad(x: Any) -> Variable:
    """x, through which no gradient flows, as if it were not connected."""
    return _pass("disconnected_grad", x)


def zero_grad(x: Any) -> Variable:
    """x, whose gradient is zeros (and is connected)."""
    return _pass("zero_grad", x)


def grad_clip(x: Any, lower_bound: float, upper_bound: float) -> Variable:
    """x, whose gradient is clipped elementwise to [lower_bound, upper_bound]."""
    if not lower_bound <= upper_bound:
        raise UserValueError(f"grad_clip: lower_bound {lower_bound} is above upper_bound {upper_bound}")
    return _pass("grad_clip", x, lower=float(lower_bound), upper=float(upper_bound))


def grad_scale(x: Any, multiplier: float) -> Variable:
    """x, whose gradient is multiplied by `multiplier`."""
    return _pass("grad_scale", x, multiplier=float(multiplier))


consider_constant = disconnected_grad


def hessian_vector_product(cost: Variable, wrt: Any, vector: Any) -> Any:
    """∂²cost/∂wrt² · vector, of the shapes of `wrt`: forward mode over reverse mode."""
    return Rop(grad(cost, wrt, add_names=False), wrt, vector)


def __getattr__(name: str) -> Any:
    if name in ("verify_grad", "GradientMismatchError"):
        from . import verify

        return getattr(verify, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
