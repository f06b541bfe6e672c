"""A small writer of LLVM IR text: typed values with Python operators, for any width and vector length."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

Number = int | float
PREFIX = "scanlib"
# A call stops LLVM's loop vectoriser unless a vector variant of the callee is known.  One of this width is
# declared only to make the call legal: at any other width it is split into calls under each lane's condition.
WIDE_LANES = 64
BRANCH_WEIGHTS = "!9001"  # a metadata number unlikely to be another writer's


@dataclass(frozen=True)
class Type:
    """`kind` is f (float), i (signed), u (unsigned) or b (condition); `lanes` is 0 for a scalar."""

    kind: str
    bits: int
    lanes: int = 0

    @property
    def name(self) -> str:
        """Our name (signedness kept): f64, v4f64, u8."""
        return f"{self.shape}{self.kind}{self.bits}"

    @property
    def shape(self) -> str:
        return f"v{self.lanes}" if self.lanes else ""

    @property
    def element(self) -> Type:
        return replace(self, lanes=0)

    @property
    def element_ir(self) -> str:
        if self.kind == "f":
            return "double" if self.bits == 64 else "float"
        return "i1" if self.kind == "b" else f"i{self.bits}"

    @property
    def ir(self) -> str:
        return f"<{self.lanes} x {self.element_ir}>" if self.lanes else self.element_ir

    @property
    def suffix(self) -> str:
        """LLVM's spelling in the name of an overloaded intrinsic."""
        return f"{self.shape}{'f' if self.kind == 'f' else 'i'}{self.bits}"

    @property
    def integer(self) -> Type:
        return replace(self, kind="i")

    @property
    def condition(self) -> Type:
        return replace(self, kind="b", bits=1)

    @property
    def mantissa(self) -> int:
        return 52 if self.bits == 64 else 23

    @property
    def bias(self) -> int:
        return 1023 if self.bits == 64 else 127

    def wide(self) -> Type:
        return replace(self, bits=64)

    def single(self) -> Type:
        return replace(self, bits=32)

    def literal(self, value: Number) -> str:
        text = self._element_literal(value)
        return f"splat ({self.element_ir} {text})" if self.lanes else text

    def _element_literal(self, value: Number) -> str:
        if self.kind != "f":
            return str(int(value)) if self.kind != "b" else ("true" if value else "false")
        if self.bits == 32:
            value = _to_single(float(value))
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _to_single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


@cache
def parse_type(name: str) -> Type:
    """`v4f64` → Type("f", 64, 4)."""
    text, lanes = name, 0
    if text.startswith("v"):
        digits = text[1:].split("f")[0].split("i")[0].split("u")[0]
        lanes, text = int(digits), text[1 + len(digits) :]
    kind, bits = text[0], int(text[1:])
    if (
        kind not in "fiu"
        or bits not in ((32, 64) if kind == "f" else (8, 16, 32, 64))
        or (name[0] == "v" and not lanes)
    ):
        raise ValueError(f"vector_math: unknown type {name!r}")
    return Type(kind, bits, lanes)


def symbol(name: str, type_name: str) -> str:
    """The IR symbol of function `name` at a type: `@scanlib.exp.f64`."""
    return f"@{PREFIX}.{name}.{type_name}"


def shared_symbol(name: str, type_name: str) -> str:
    """The symbol of the copy of a function that is called, not inlined."""
    return f"{symbol(name, type_name)}.shared"


@dataclass(frozen=True, eq=False)
class Value:
    """An SSA value; arithmetic writes instructions into its body.  Comparisons are methods: lt, eq, …"""

    body: Body
    type: Type
    ref: str

    def _lift(self, other: Value | Number) -> Value:
        return other if isinstance(other, Value) else self.body.constant(self.type, other)

    def _binary(self, op: str, other: Value | Number) -> Value:
        return self.body.emit(self.type, f"{op} {self.type.ir} {self.ref}, {self._lift(other).ref}")

    def _arithmetic(self, op: str, other: Value | Number) -> Value:
        return self._binary(("f" if self.type.kind == "f" else "") + op, other)

    def __add__(self, other: Value | Number) -> Value:
        return self._arithmetic("add", other)

    def __sub__(self, other: Value | Number) -> Value:
        return self._arithmetic("sub", other)

    def __mul__(self, other: Value | Number) -> Value:
        return self._arithmetic("mul", other)

    def __radd__(self, other: Number) -> Value:
        return self._lift(other) + self

    def __rsub__(self, other: Number) -> Value:
        return self._lift(other) - self

    def __rmul__(self, other: Number) -> Value:
        return self._lift(other) * self

    def __truediv__(self, other: Value | Number) -> Value:
        return self._binary("fdiv", other)

    def __rtruediv__(self, other: Number) -> Value:
        return self._lift(other) / self

    def __neg__(self) -> Value:
        if self.type.kind == "f":
            return self.body.emit(self.type, f"fneg {self.type.ir} {self.ref}")
        return self._lift(0) - self

    def __and__(self, other: Value | Number) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | Number) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Value | Number) -> Value:
        return self._binary("xor", other)

    def __invert__(self) -> Value:
        return self ^ (1 if self.type.kind == "b" else -1)

    def __lshift__(self, other: Value | Number) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Value | Number) -> Value:
        """Logical for every type: the float tricks only shift non-negative patterns."""
        return self._binary("lshr", other)

    def arithmetic_shift(self, other: Value | Number) -> Value:
        return self._binary("ashr", other)

    def divide(self, other: Value | Number) -> Value:
        return self._binary("udiv" if self.type.kind == "u" else "sdiv", other)

    def modulo(self, other: Value | Number) -> Value:
        return self._binary("urem" if self.type.kind == "u" else "srem", other)

    def _compare(self, name: str, other: Value | Number) -> Value:
        if self.type.kind == "f":
            op = f"fcmp {'une' if name == 'ne' else 'o' + name}"
        else:
            sign = "" if name in ("eq", "ne") else ("u" if self.type.kind == "u" else "s")
            op = f"icmp {sign}{name}"
        return self.body.emit(self.type.condition, f"{op} {self.type.ir} {self.ref}, {self._lift(other).ref}")

    def lt(self, other: Value | Number) -> Value:
        return self._compare("lt", other)

    def le(self, other: Value | Number) -> Value:
        return self._compare("le", other)

    def gt(self, other: Value | Number) -> Value:
        return self._compare("gt", other)

    def ge(self, other: Value | Number) -> Value:
        return self._compare("ge", other)

    def eq(self, other: Value | Number) -> Value:
        return self._compare("eq", other)

    def ne(self, other: Value | Number) -> Value:
        """For floats also true when either is NaN, so that `x.ne(x)` tests for NaN."""
        return self._compare("ne", other)

    def where(self, yes: Value | Number, no: Value | Number) -> Value:
        """`self` is a condition; at least one branch is a Value."""
        if not isinstance(yes, Value):
            assert isinstance(no, Value)
            yes = no._lift(yes)
        no = yes._lift(no)
        text = f"select {self.type.ir} {self.ref}, {yes.type.ir} {yes.ref}, {no.type.ir} {no.ref}"
        return self.body.emit(yes.type, text)

    def convert(self, op: str, type: Type) -> Value:
        return self.body.emit(type, f"{op} {self.type.ir} {self.ref} to {type.ir}")

    def as_bits(self) -> Value:
        return self.convert("bitcast", self.type.integer)

    def as_float(self) -> Value:
        return self.convert("bitcast", replace(self.type, kind="f"))

    def abs(self) -> Value:
        return self.body.intrinsic("fabs", self)

    def copysign(self, sign: Value) -> Value:
        return self.body.intrinsic("copysign", self, sign)

    def unary(self, name: str) -> Value:
        """An intrinsic of one argument: sqrt, floor, trunc, rint, …"""
        return self.body.intrinsic(name, self)


@dataclass
class Body:
    """The text of one function being written, and what it needs from elsewhere."""

    lines: list[str] = field(default_factory=list)
    declares: set[str] = field(default_factory=set)
    needs: set[tuple[str, str]] = field(default_factory=set)
    count: int = 0
    block: str = "entry"

    def constant(self, type: Type, value: Number) -> Value:
        return Value(self, type, type.literal(value))

    def fresh(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def emit(self, type: Type, text: str) -> Value:
        ref = self.fresh()
        self.lines.append(f"  {ref} = {text}")
        return Value(self, type, ref)

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def intrinsic(self, name: str, *args: Value, result: Type | None = None) -> Value:
        """Call `llvm.<name>` overloaded on the first argument's type."""
        type = result or args[0].type
        callee = f"@llvm.{name}.{args[0].type.suffix}"
        self.declares.add(f"declare {type.ir} {callee}({', '.join(a.type.ir for a in args)})")
        return self.emit(type, f"call {type.ir} {callee}({_arguments(args)})")

    def fma(self, a: Value, b: Value | Number, c: Value | Number) -> Value:
        """Fused with one rounding: for error-free transformations."""
        return self.intrinsic("fma", a, a._lift(b), a._lift(c))

    def mul_add(self, a: Value, b: Value | Number, c: Value | Number) -> Value:
        """a * b + c, fused where the target does that fast."""
        return self.intrinsic("fmuladd", a, a._lift(b), a._lift(c))

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Estrin's scheme: its short dependency chains are what a recurrence in one scalar waits for."""
        terms: list[Value] = [self.constant(x.type, c) for c in coefficients]
        power = x
        while len(terms) > 1:
            pairs = [self.mul_add(power, terms[i + 1], terms[i]) for i in range(0, len(terms) - 1, 2)]
            terms = pairs + terms[len(terms) - len(terms) % 2 :]
            if len(terms) > 1:
                power = power * power
        return terms[0]

    def call(self, name: str, *args: Value) -> Value:
        """Call another function of this library at the first argument's type."""
        type = args[0].type
        self.needs.add((name, type.name))
        return self.emit(type, f"call {type.ir} {symbol(name, type.name)}({_arguments(args)})")

    def rare(self, condition: Value, name: str, args: Sequence[Value], usual: Value) -> Value:
        """`usual`, but where `condition` holds the out-of-line scalar function `name` of `args`."""
        type = usual.type
        scalar = type.element
        self.needs.add((name, scalar.name))
        site = self.fresh()[1:]
        slow, done = f"slow.{site}", f"done.{site}"
        test = condition.ref
        if type.lanes:
            mask = self.emit(
                Type("i", type.lanes), f"bitcast {condition.type.ir} {condition.ref} to i{type.lanes}"
            )
            test = self.emit(scalar.condition, f"icmp ne i{type.lanes} {mask.ref}, 0").ref
        before = self.block
        self.lines.append(f"  br i1 {test}, label %{slow}, label %{done}, !prof {BRANCH_WEIGHTS}")
        self.label(slow)
        result = self._cold_vector(name, args, type) if type.lanes else self._cold_call(name, args, scalar)
        if type.lanes:
            result = condition.where(result, usual)
        self.lines.append(f"  br label %{done}")
        self.label(done)
        return self.emit(type, f"phi {type.ir} [ {usual.ref}, %{before} ], [ {result.ref}, %{slow} ]")

    def _cold_call(self, name: str, args: Sequence[Value], scalar: Type) -> Value:
        callee, wide = symbol(name, scalar.name), wide_variant(name, scalar)
        variant = f"_ZGV_LLVM_M{WIDE_LANES}{'v' * len(args)}_{callee[1:]}({wide[1:]})"
        return self.emit(
            scalar,
            f"call {scalar.ir} {callee}({_arguments(args)}) nounwind willreturn memory(none) "
            f'"vector-function-abi-variant"="{variant}"',
        )

    def _cold_vector(self, name: str, args: Sequence[Value], type: Type) -> Value:
        """`name` of all lanes, one after the other in a function of its own: those that did not ask lose time only."""
        self.needs.add((name, type.name))
        return self.emit(type, f"call {type.ir} {symbol(name, type.name)}({_arguments(args)})")


def lane_by_lane(name: str, args: Sequence[Value], type: Type) -> list[str]:
    """The body of a function of vectors that calls the scalar function `name` for each lane."""
    scalar, body = type.element, Body()
    picked = [Value(body, scalar, f"%{a.ref[1:]}.i") for a in args]
    return [
        "entry:",
        "  br label %loop",
        "loop:",
        "  %i = phi i32 [ 0, %entry ], [ %next, %loop ]",
        f"  %done = phi {type.ir} [ poison, %entry ], [ %more, %loop ]",
        *(f"  {p.ref} = extractelement {a.type.ir} {a.ref}, i32 %i" for p, a in zip(picked, args)),
        f"  %one = call {scalar.ir} {symbol(name, scalar.name)}({_arguments(picked)})",
        f"  %more = insertelement {type.ir} %done, {scalar.ir} %one, i32 %i",
        "  %next = add nuw nsw i32 %i, 1",
        f"  %go = icmp ult i32 %next, {type.lanes}",
        "  br i1 %go, label %loop, label %end",
        "end:",
        f"  ret {type.ir} %more",
    ]


def wide_variant(name: str, scalar: Type) -> str:
    return f"{symbol(name, scalar.name)}.wide"


def _arguments(args: Sequence[Value]) -> str:
    return ", ".join(f"{a.type.ir} {a.ref}" for a in args)


Writer = Callable[..., Value]
