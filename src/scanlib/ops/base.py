"""What a row of the operation table holds, and what its rules are given.

A row says everything about one operation: how many inputs, what type comes out, its meaning in NumPy, its
gradient and forward-mode rule, and how it is lowered.  Nothing else in scanlib names an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np

from .. import dims
from ..dims import Dim, Shape
from ..errors import UserIndexError, UserTypeError, UserValueError
from ..graph import Apply, Constant, TensorType, Variable, describe
from ..lowered import Expr, Int
from ..statements import Statement

Params = Mapping[str, Any]
Cotangents = Sequence[Variable | None]


class Inference:
    """What a type rule sees.  While the graph is built, unknown dims are None; while lowering, none is."""

    def __init__(self, inputs: Sequence[Variable], params: Params) -> None:
        self.inputs = tuple(inputs)
        self.params = params

    def dtype(self, i: int) -> str:
        return self.inputs[i].dtype

    def ndim(self, i: int) -> int:
        return self.inputs[i].ndim

    def shape(self, i: int) -> Shape:
        return self.inputs[i].type.shape

    def value(self, i: int) -> Dim:
        """The value of a 0-d integer input, as far as it is known."""
        v = self.inputs[i]
        return int(v.data) if isinstance(v, Constant) else None

    def name(self, i: int) -> str:
        return describe(self.inputs[i])

    def require(self, op: str, a: Dim, b: Dim, message: str) -> None:
        """User error `message` unless `a op b` (eq, le, …); checked when running if not known now.

        `message` may hold {0} and {1} for the values of `a` and `b`.
        """
        if isinstance(a, int) and isinstance(b, int):
            holds = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[op]
            if not holds:
                raise UserValueError(message.format(a, b))

    def require_inside(self, i: Dim, n: Dim, message: str) -> None:
        """UserIndexError `message` unless `i` is a position, maybe from the end, of an axis `n` long."""
        if isinstance(i, int) and isinstance(n, int) and not -n <= i < n:
            raise UserIndexError(message.format(i, n))

    def require_broadcast(self, a: Dim, b: Dim, message: Callable[[], str]) -> None:
        """A user error with what `message` tells unless the two dims broadcast."""
        if isinstance(a, int) and isinstance(b, int) and a != b and a != 1 and b != 1:
            raise UserValueError(message().format(a, b))

    def broadcast(self, shapes: Sequence[Shape], what: Callable[[], str]) -> Shape:
        """The NumPy broadcast of `shapes`; a user error naming what `what` tells when they do not."""
        ndim = max((len(s) for s in shapes), default=0)
        result: list[Dim] = []
        for axis in range(ndim):
            dim: Dim = 1
            for s in shapes:
                position = axis - (ndim - len(s))
                if position >= 0:
                    dim = self._broadcast_dim(dim, s[position], what, axis)
            result.append(dim)
        return tuple(result)

    def same(self, a: Dim, b: Dim) -> bool:
        """Whether two dims are known to be equal."""
        return a is not None and a is b

    def _broadcast_dim(self, a: Dim, b: Dim, what: Callable[[], str], axis: int) -> Dim:
        if isinstance(a, int) and a == 1:
            return b
        if (isinstance(b, int) and b == 1) or self.same(a, b):
            return a
        if a is None or b is None:
            other = b if a is None else a
            return other if isinstance(other, int) else None
        rule = f"axis {axis}: {{0}} against {{1}}; dimensions must be equal or 1"
        self.require_broadcast(a, b, lambda: f"{what()}: {rule}")
        if isinstance(a, int):
            return a
        if isinstance(b, int):
            return b
        if a.minimum is not None and a.minimum > 1:
            return a
        return dims.choose("eq", a, 1, b, a)


class Lowering(Protocol):
    """What a lowering rule sees of its Apply: shapes with no None, and elements of inputs on demand."""

    params: Params

    def shape(self, i: int) -> tuple[Int, ...]: ...
    def output_shape(self, k: int = 0) -> tuple[Int, ...]: ...
    def dtype(self, i: int) -> str: ...
    def output_dtype(self, k: int = 0) -> str: ...
    def name(self, i: int) -> str:
        """What messages call input i."""

    def value(self, i: int) -> Int:
        """A 0-d integer input as an Int."""

    def element(self, i: int, index: Sequence[Int]) -> Expr:
        """Input i at a full index (one Int per axis, already inside the axis; no broadcasting)."""

    def check(self, value: Int, condition: Expr, message: str, *values: Int) -> Int:
        """`value`, guarded: IndexError with `message` (may hold {0}, {1}, {2}) unless the condition holds."""

    def store(self, k: int, index: Sequence[Int], value: Expr) -> Statement:
        """Statement that writes an element of output k (for `stages` rules)."""

    def output_element(self, k: int, index: Sequence[Int]) -> Expr:
        """An element of output k already written (for `stages` rules)."""

    def loop(
        self, extents: Sequence[Int], body: Callable[[tuple[Int, ...]], list[Statement]]
    ) -> list[Statement]:
        """Nested loops over `extents`; `body` gets the index and returns statements."""

    def accumulator(self, dtype: str, start: Expr) -> tuple[Expr, Callable[[Expr], Statement], Statement]:
        """A register: (its value, assign-statement maker, the statement that sets it to `start`)."""


@dataclass(frozen=True)
class Pointwise:
    """out[i] = f(inputs[i]) with broadcasting; `llvm` maps a kind to a template (see emit_llvm).

    `build(params, operands)` makes the expression instead, for rows that are forms of Expr themselves.
    """

    argument_dtypes: Callable[[Sequence[str]], tuple[tuple[str, ...], str]]
    llvm: Mapping[str, str]
    build: Callable[[Params, Sequence[Expr]], Expr] | None = None

    @cached_property
    def is_math(self) -> bool:
        """Whether it takes a function of vector_math, not just instructions."""
        return any("@scanlib." in template for template in self.llvm.values())


@dataclass(frozen=True)
class AxisMap:
    """How one input axis is indexed: start + step * output_index[axis]; axis None means just `start`."""

    start: Int
    step: Int = 1
    axis: int | None = None


@dataclass(frozen=True)
class Affine:
    """A view of input 0: `axes(ctx)` gives one AxisMap for each input axis.  Never copies."""

    axes: Callable[[Lowering], Sequence[AxisMap]]


@dataclass(frozen=True)
class Element:
    """out[index] = element(ctx, index), pulled from the inputs' elements; computed where it is read.

    `cheap` is False when an element costs so much that it should be computed once and stored.
    """

    element: Callable[[Lowering, tuple[Int, ...]], Expr]
    cheap: bool = True


@dataclass(frozen=True)
class Reshape:
    """The same elements in C order under the output's shape (input 0)."""


@dataclass(frozen=True)
class Reduce:
    """A reduction of input 0 over params['axes'] (sorted tuple), with params['keepdims'].

    Accumulates in `accumulate(dtype of input)`; `combine` names an elementwise row of two operands.
    """

    start: Callable[[str], Any]  # dtype -> initial number
    combine: str
    accumulate: Callable[[str], str]


@dataclass(frozen=True)
class Unbroadcast:
    """Sum input 0 over the axes along which it was broadcast from the shape of input 1 (shape only)."""


@dataclass(frozen=True)
class Contract:
    """A product with a sum: out[..., i, j] = Σ_k a[..., i, k] b[..., k, j], in registers when small and
    static, else by the library kernel `matmul`.  Inputs are 2-d or more with equal batch dims (or 1)."""


@dataclass(frozen=True)
class Stages:
    """Statements that fill the outputs' memory."""

    statements: Callable[[Lowering], list[Statement]]


@dataclass(frozen=True)
class Library:
    """A kernel of the core, operands = inputs (C order views, any strides), then outputs."""

    kernel: str
    parameters: Callable[[Params], tuple[int, ...]] = lambda params: ()
    # Which inputs are operands (others only carry shapes), and broadcast of each to a shape, if any.
    operands: Callable[[Lowering], Sequence[tuple[int, tuple[Int, ...] | None]]] | None = None
    # Whether a leading batch dim may be added to every operand.
    batches: bool = True


@dataclass(frozen=True)
class Region:
    """Control flow; the lowering itself knows how ("scan" or "ifelse")."""

    kind: str


LoweringRule = (
    Pointwise | Affine | Element | Reshape | Reduce | Unbroadcast | Contract | Stages | Library | Region
)
Infer = Callable[[Inference], Sequence[tuple[str, Shape]]]
Gradient = Callable[[Apply, Cotangents], Sequence[Variable | None]]

TABLE: dict[str, Op] = {}


@dataclass(frozen=True, eq=False)
class Op:
    """A row of the table.

    infer      types of the outputs: [(dtype, shape), …]
    reference  meaning in NumPy: reference(params, *arrays) -> array, or tuple for several outputs
    gradient   (apply, cotangents of outputs, None where nothing flows) -> cotangent per input, None = no flow;
               None for the whole rule = no gradient exists (a user error when one is needed)
    forward    (apply, tangents of inputs) -> tangent per output, None where nothing flows
    lower      how kernels are generated
    connected  which inputs a gradient may flow to (floating inputs by default)
    named      (apply, number of the output) -> what messages call it, instead of the name of the row
    update     statements that make output 0 of input 0 where it lies, for rows that replace parts of it
    """

    name: str
    infer: Infer
    reference: Callable[..., Any]
    lower: LoweringRule
    gradient: Gradient | None = None
    forward: Gradient | None = None
    update: Callable[[Lowering], list[Statement]] | None = None
    named: Callable[[Apply, int], str] | None = None

    def __post_init__(self) -> None:
        TABLE[self.name] = self

    def output_types(self, inputs: Sequence[Variable], params: Params) -> list[TensorType]:
        return [TensorType(d, dims.known(s)) for d, s in self.infer(Inference(inputs, params))]

    def apply(self, inputs: Sequence[Variable], params: Params) -> Apply:
        node = Apply(self, tuple(inputs), dict(params))
        node.outputs = tuple(
            Variable(t, node, i) for i, t in enumerate(self.output_types(node.inputs, node.params))
        )
        return node

    def __call__(self, *inputs: Variable, **params: Any) -> Variable:
        """The single output of applying this operation; inputs must already be Variables."""
        return self.apply(inputs, params).output

    def __repr__(self) -> str:
        return f"Op({self.name})"


def float_dtype(dtype: str) -> str:
    """The dtype of a transcendental function of `dtype`: NumPy's, with float32 in place of float16."""
    # NumPy goes to float16 for the 8-bit types; the narrowest float here is float32.
    return "float32" if dtype in ("float32", "bool", "int8", "uint8", "int16", "uint16") else "float64"


def is_float(dtype: str) -> bool:
    return dtype in ("float32", "float64")


def require_float(v: Variable, what: str) -> None:
    if not is_float(v.dtype):
        raise UserTypeError(
            f"{what}: '{describe(v)}' is {v.dtype}, expected float32 or float64; cast it first"
        )


@cache
def result_dtype(*dtypes: str) -> str:
    """NumPy's promotion (NEP 50; Python scalars have adopted a dtype before they reach here)."""
    return np.result_type(*dtypes).name
