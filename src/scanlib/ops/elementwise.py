"""Elementwise rows: one per operation.

A flow `lambda t, *inputs, out: …` is t · ∂out/∂input as a graph.  As the Jacobian is diagonal, the one flow
serves both directions: t is the cotangent of the output for the gradient, the tangent of the input for the
forward rule.  None means that nothing flows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import lowered
from ..dims import Shape
from ..errors import UserTypeError
from ..graph import Apply, Variable
from ..lowered import Expr
from . import special
from .base import Cotangents, Inference, Op, Params, Pointwise, is_float, result_dtype
from .polygamma import tetra_gamma

Flow = Callable[..., Variable] | None
Dtypes = Callable[[Sequence[str]], "tuple[tuple[str, ...], str]"]


# Type rules: (dtype each operand is cast to, dtype of the result).


def ufunc_dtypes(ufunc: np.ufunc) -> Dtypes:
    """The dtypes NumPy's own function works in, with float32 in place of float16."""

    @functools.cache
    def resolve(dtypes: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
        found = ufunc.resolve_dtypes((*map(np.dtype, dtypes), None))
        names = ["float32" if d == np.float16 else d.name for d in found]
        return tuple(names[:-1]), names[-1]

    return lambda dtypes: resolve(tuple(dtypes))


def compared(dtypes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Comparisons: the common dtype, giving bool."""
    return (result_dtype(*dtypes),) * len(dtypes), "bool"


def logical(dtypes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Logic: every operand is taken as true or false."""
    return ("bool",) * len(dtypes), "bool"


def kind(dtype: str) -> str:
    return "b" if dtype == "bool" else dtype[0]


def infer(name: str, rule: Dtypes, kinds: str) -> Callable[[Inference], Sequence[tuple[str, Shape]]]:
    """Broadcast shapes, dtypes of `rule`; a user error when no operand kind of `kinds` fits."""

    def inferred(ctx: Inference) -> Sequence[tuple[str, Shape]]:
        count = range(len(ctx.inputs))
        dtypes = [ctx.dtype(i) for i in count]
        try:
            arguments, output = rule(dtypes)
        except TypeError as error:
            raise UserTypeError(f"{_call(name, ctx)}: not defined for these dtypes; cast first") from error
        if kind(arguments[-1]) not in kinds:
            raise UserTypeError(f"{_call(name, ctx)}: not defined for {arguments[-1]}; cast first")
        shape = (
            ctx.broadcast([ctx.shape(i) for i in count], lambda: _call(name, ctx))
            if len(dtypes) > 1
            else ctx.shape(0)
        )
        return [(output, shape)]

    return inferred


def _call(name: str, ctx: Inference) -> str:
    operands = ", ".join(f"'{ctx.name(i)}' ({v.dtype})" for i, v in enumerate(ctx.inputs))
    return f"{name} of {operands}"


# Gradients from flows.


def gradient(flows: Sequence[Flow]) -> Callable[[Apply, Cotangents], Sequence[Variable | None]]:
    def rule(node: Apply, cotangents: Cotangents) -> Sequence[Variable | None]:
        (g,) = cotangents
        results: list[Variable | None] = []
        for x, flow in zip(node.inputs, flows, strict=False):
            if g is None or flow is None or not is_float(x.dtype):
                results.append(None)
            else:
                results.append(_like_input(flow(g, *node.inputs, node.output), x))
        return results

    return rule


def forward(flows: Sequence[Flow]) -> Callable[[Apply, Cotangents], Sequence[Variable | None]]:
    def rule(node: Apply, tangents: Cotangents) -> Sequence[Variable | None]:
        total: Variable | None = None
        for t, flow in zip(tangents, flows, strict=False):
            if t is not None and flow is not None and is_float(node.output.dtype):
                part = flow(t, *node.inputs, node.output)
                total = part if total is None else add(total, part)
        return [None if total is None else _like_output(total, node.output)]

    return rule


def _like_input(g: Variable, x: Variable) -> Variable:
    from .shape import unbroadcast

    return to_dtype(unbroadcast(g, x), x.dtype)


def _like_output(t: Variable, out: Variable) -> Variable:
    """`t` broadcast to the shape of `out`: a tangent has the shape of its variable."""
    from ..tensor.creation import zeros_like

    t = to_dtype(t, out.dtype)
    same = t.type.shape == out.type.shape and None not in t.type.shape
    return t if same or len(out.owner.inputs) == 1 else add(t, zeros_like(out))  # type: ignore[union-attr]


def to_dtype(x: Variable, dtype: str) -> Variable:
    return x if x.dtype == dtype else cast(x, dtype=dtype)


def zero_flow(t: Variable, *others: Variable) -> Variable:
    """For functions that are constant almost everywhere: the gradient exists and is zero."""
    from ..tensor.creation import zeros_like

    return zeros_like(t)


# Making rows.


def elementwise(
    name: str,
    function: Callable[..., Any],
    llvm: Mapping[str, str],
    flows: Sequence[Flow] | None = None,
    dtypes: Dtypes | None = None,
) -> Op:
    """A row; `function` gives its meaning on NumPy arrays already cast to the argument dtypes.

    `flows` has one flow per input, or one for all.  None: nothing flows.
    """
    if dtypes is None:
        assert isinstance(function, np.ufunc)
        dtypes = ufunc_dtypes(function)
    rule = dtypes

    def reference(params: Params, *arrays: np.ndarray) -> Any:
        arguments, output = rule([a.dtype.name for a in arrays])
        made = function(*(a.astype(d) for a, d in zip(arrays, arguments, strict=True)))
        return np.asarray(made).astype(output)

    flows = [None] * 3 if flows is None else list(flows)
    return Op(
        name,
        infer(name, rule, "".join(llvm)),
        reference,
        Pointwise(rule, llvm),
        gradient(flows),
        forward(flows),
    )


def unary(name: str, function: np.ufunc, flow: Flow, template: str | None = None) -> Op:
    """A function of one float operand, by default the vector_math function of that name."""
    return elementwise(name, function, {"f": template or _math(name)}, [flow])


def special_function(
    name: str,
    function: Callable[..., Any],
    flow: Flow,
    template: str | None = None,
) -> Op:
    """A function of one float operand that NumPy lacks; its dtypes are those of exp."""
    llvm = {"f": template or _math(name)}
    return elementwise(name, function, llvm, [flow], ufunc_dtypes(np.exp))


def comparison(name: str, function: np.ufunc, floats: str, signed: str, unsigned: str) -> Op:
    llvm = {
        "f": f"fcmp {floats} {{t}} {{0}}, {{1}}",
        "i": f"icmp {signed} {{t}} {{0}}, {{1}}",
        "u": f"icmp {unsigned} {{t}} {{0}}, {{1}}",
        "b": f"icmp {unsigned} {{t}} {{0}}, {{1}}",
    }
    return elementwise(name, function, llvm, None, compared)


def _math(name: str) -> str:
    return f"call {{t}} @scanlib.{name}.{{s}}({{t}} {{0}})"


def _math2(name: str) -> str:
    return f"call {{t}} @scanlib.{name}.{{s}}({{t}} {{0}}, {{t}} {{1}})"


def _instruction(name: str) -> str:
    return f"{name} {{t}} {{0}}, {{1}}"


def _intrinsic(name: str) -> str:
    return f"call {{t}} @llvm.{name}.{{m}}({{t}} {{0}})"


def _intrinsic2(name: str) -> str:
    return f"call {{t}} @llvm.{name}.{{m}}({{t}} {{0}}, {{t}} {{1}})"


def _integers(template: str) -> dict[str, str]:
    return {"i": template, "u": template}


def _select(condition: Variable, yes: Any, no: Any) -> Variable:
    from ..tensor.math import switch as user_switch

    return user_switch(condition, yes, no)


def _sqrt(x: Variable) -> Variable:
    return sqrt(x)


# Arithmetic.

add = elementwise(
    "add",
    np.add,
    {"f": _instruction("fadd contract"), **_integers(_instruction("add")), "b": _instruction("or")},
    [lambda t, x, y, out: t, lambda t, x, y, out: t],
)
sub = elementwise(
    "sub",
    np.subtract,
    {"f": _instruction("fsub contract"), **_integers(_instruction("sub"))},
    [lambda t, x, y, out: t, lambda t, x, y, out: -t],
)
mul = elementwise(
    "mul",
    np.multiply,
    {"f": _instruction("fmul contract"), **_integers(_instruction("mul")), "b": _instruction("and")},
    [lambda t, x, y, out: t * y, lambda t, x, y, out: t * x],
)
true_div = elementwise(
    "true_div",
    np.true_divide,
    {"f": _instruction("fdiv contract")},
    [lambda t, x, y, out: t / y, lambda t, x, y, out: -(t / y) * out],
)
floor_divide = elementwise(
    "floor_divide",
    np.floor_divide,
    {"f": _math2("floordiv"), **_integers(_math2("floordiv"))},
    [lambda t, x, y, out: zero_flow(out), lambda t, x, y, out: zero_flow(out)],
)
mod = elementwise(
    "mod",
    np.remainder,
    {"f": _math2("mod"), **_integers(_math2("mod"))},
    [lambda t, x, y, out: t, lambda t, x, y, out: -t * (x // y)],
)


def _pow_base(t: Variable, x: Variable, y: Variable, out: Variable) -> Variable:
    # y = 0 is kept from x**-1, which is infinite where x = 0.
    return t * (y * x ** _select(equal(y, 0), 1, y - 1))


def _pow_exponent(t: Variable, x: Variable, y: Variable, out: Variable) -> Variable:
    # 0**y does not move with y > 0, while log(0) is infinite.
    return t * (out * log(_select(equal(x, 0), 1, x)))


def equal(x: Variable, number: float) -> Variable:
    from ..tensor.types import as_tensor_variable

    return eq(x, as_tensor_variable(number, like=x))


def _integer_pow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """NumPy's power; a negative exponent of an integer, which NumPy refuses, gives the truncated inverse."""
    if x.dtype.kind != "i":
        return np.asarray(np.power(x, y))
    inverse = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2 == 0, 1, -1), 0)).astype(x.dtype)
    return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0)))


pow = elementwise(
    "pow",
    _integer_pow,
    {"f": _math2("pow"), **_integers(_math2("intpow"))},
    [_pow_base, _pow_exponent],
    ufunc_dtypes(np.power),
)
neg = elementwise(
    "neg",
    np.negative,
    {"f": "fneg {t} {0}", **_integers("sub {t} zeroinitializer, {0}")},
    [lambda t, x, out: -t],
)
abs = elementwise(
    "abs",
    np.absolute,
    {"f": _intrinsic("fabs"), "i": "call {t} @llvm.abs.{m}({t} {0}, i1 false)"},
    [lambda t, x, out: t * sign(x)],
)
sign: Op = elementwise("sign", np.sign, {"f": _math("sign"), **_integers(_math("sign"))}, [zero_flow])


def _share(wins: Op) -> tuple[Flow, Flow]:
    """maximum and minimum: the operand that wins has the flow; equal operands share it."""

    def flow(t: Variable, mine: Variable, other: Variable) -> Variable:
        return _select(wins(mine, other), t, _select(eq(mine, other), t * 0.5, 0))

    return lambda t, x, y, out: flow(t, x, y), lambda t, x, y, out: flow(t, y, x)


# Comparisons and logic.

eq = comparison("eq", np.equal, "oeq", "eq", "eq")
ne = comparison("ne", np.not_equal, "une", "ne", "ne")
lt = comparison("lt", np.less, "olt", "slt", "ult")
le = comparison("le", np.less_equal, "ole", "sle", "ule")
gt = comparison("gt", np.greater, "ogt", "sgt", "ugt")
ge = comparison("ge", np.greater_equal, "oge", "sge", "uge")
logical_and = elementwise("logical_and", np.logical_and, {"b": _instruction("and")}, None, logical)
logical_or = elementwise("logical_or", np.logical_or, {"b": _instruction("or")}, None, logical)
logical_xor = elementwise("logical_xor", np.logical_xor, {"b": _instruction("xor")}, None, logical)
logical_not = elementwise(
    "logical_not", np.logical_not, {"b": "icmp eq {t} {0}, zeroinitializer"}, None, logical
)
isnan = elementwise(
    "isnan", np.isnan, {"f": "fcmp uno {t} {0}, {0}"}, None, lambda d: (ufunc_dtypes(np.exp)(d)[0], "bool")
)
maximum = elementwise(
    "maximum",
    np.maximum,
    {"f": _math2("maximum"), "i": _intrinsic2("smax"), "u": _intrinsic2("umax"), "b": _instruction("or")},
    _share(gt),
)
minimum = elementwise(
    "minimum",
    np.minimum,
    {"f": _math2("minimum"), "i": _intrinsic2("smin"), "u": _intrinsic2("umin"), "b": _instruction("and")},
    _share(lt),
)

# Bits.

_BITS = ("and", "or", "xor")
bitwise_and, bitwise_or, bitwise_xor = (
    elementwise(
        f"bitwise_{op}",
        getattr(np, f"bitwise_{op}"),
        {k: _instruction(op) for k in "iub"},
    )
    for op in _BITS
)
left_shift = elementwise("left_shift", np.left_shift, _integers(_math2("shift_left")))
right_shift = elementwise("right_shift", np.right_shift, _integers(_math2("shift_right")))

# Functions of a float.

sqrt = unary("sqrt", np.sqrt, lambda t, x, out: t * 0.5 / out, _intrinsic("sqrt"))
exp = unary("exp", np.exp, lambda t, x, out: t * out)
exp2 = unary("exp2", np.exp2, lambda t, x, out: t * out * math.log(2))
expm1 = unary("expm1", np.expm1, lambda t, x, out: t * (out + 1))
log = unary("log", np.log, lambda t, x, out: t / x)
log2 = unary("log2", np.log2, lambda t, x, out: t / (x * math.log(2)))
log10 = unary("log10", np.log10, lambda t, x, out: t / (x * math.log(10)))
log1p = unary("log1p", np.log1p, lambda t, x, out: t / (x + 1))
sin = unary("sin", np.sin, lambda t, x, out: t * cos(x))
cos: Op = unary("cos", np.cos, lambda t, x, out: -t * sin(x))
tan = unary("tan", np.tan, lambda t, x, out: t * (1 + out * out))
arcsin = unary("arcsin", np.arcsin, lambda t, x, out: t / _sqrt((1 - x) * (1 + x)))
arccos = unary("arccos", np.arccos, lambda t, x, out: -t / _sqrt((1 - x) * (1 + x)))
arctan = unary("arctan", np.arctan, lambda t, x, out: t / (1 + x * x))
sinh = unary("sinh", np.sinh, lambda t, x, out: t * cosh(x))
cosh: Op = unary("cosh", np.cosh, lambda t, x, out: t * sinh(x))
tanh = unary("tanh", np.tanh, lambda t, x, out: t * (1 - out * out))
arcsinh = unary("arcsinh", np.arcsinh, lambda t, x, out: t / _sqrt(x * x + 1))
arccosh = unary("arccosh", np.arccosh, lambda t, x, out: t / _sqrt((x - 1) * (x + 1)))
arctanh = unary("arctanh", np.arctanh, lambda t, x, out: t / ((1 - x) * (1 + x)))
ceil = unary("ceil", np.ceil, zero_flow, _intrinsic("ceil"))
floor = unary("floor", np.floor, zero_flow, _intrinsic("floor"))
round = unary("round", np.rint, zero_flow, _intrinsic("rint"))
trunc = unary("trunc", np.trunc, zero_flow, _intrinsic("trunc"))
arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    {"f": _math2("arctan2")},
    [lambda t, y, x, out: t * (x / (x * x + y * y)), lambda t, y, x, out: -t * (y / (x * x + y * y))],
)
erf = special_function("erf", special.erf, lambda t, x, out: t * (2 / math.sqrt(math.pi)) * exp(-x * x))
erfc = special_function("erfc", special.erfc, lambda t, x, out: -t * (2 / math.sqrt(math.pi)) * exp(-x * x))
gamma = special_function("gamma", special.gamma, lambda t, x, out: t * out * psi(x))
gammaln = special_function("gammaln", special.gammaln, lambda t, x, out: t * psi(x))
psi: Op = special_function("psi", special.psi, lambda t, x, out: t * tri_gamma(x))
tri_gamma: Op = special_function(
    "tri_gamma", special.tri_gamma, lambda t, x, out: t * tetra_gamma(x), _math("trigamma")
)


# Conversions and choice: forms of Expr themselves.


def _cast_reference(params: Params, x: np.ndarray) -> Any:
    return x.astype(params["dtype"])


def _cast_build(params: Params, operands: Sequence[Expr]) -> Expr:
    return lowered.cast(operands[0], params["dtype"])


_cast_flows: list[Flow] = [lambda t, x, out: to_dtype(t, out.dtype)]
cast = Op(
    "cast",
    lambda ctx: [(ctx.params["dtype"], ctx.shape(0))],
    _cast_reference,
    # The dtype given is not the result's: `build` knows it from params.
    Pointwise(lambda dtypes: (tuple(dtypes), dtypes[0]), {}, _cast_build),
    lambda node, g: gradient(_cast_flows)(node, g) if is_float(node.output.dtype) else [None],
    forward(_cast_flows),
)


def _switch_dtypes(dtypes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    dtype = result_dtype(*dtypes[1:])
    return ("bool", dtype, dtype), dtype


def _switch_reference(params: Params, condition: np.ndarray, yes: np.ndarray, no: np.ndarray) -> Any:
    return np.where(condition, yes, no)


_switch_flows: list[Flow] = [
    None,
    lambda t, c, yes, no, out: _select(c, t, 0),
    lambda t, c, yes, no, out: _select(c, 0, t),
]
switch = Op(
    "switch",
    infer("switch", _switch_dtypes, "fiub"),
    _switch_reference,
    Pointwise(_switch_dtypes, {}, lambda params, operands: lowered.where(*operands)),
    gradient(_switch_flows),
    forward(_switch_flows),
)
