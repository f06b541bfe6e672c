"""How dtypes, literals and operations are spelled in LLVM IR.

Placeholders in a row's template:
    {0} {1} {2}   operands, already values of the operand type
    {t}           LLVM type of the operands            double, i32, i1, <4 x double>
    {m}           the type as intrinsics spell it      f64, i32, i1, v4f64
    {s}           the type as vector_math spells it    f64, i32, u8, v4f64
Templates are chosen by the kind of the last operand: "f" floats, "i" signed, "u" unsigned, "b" bool.
Bools are i1 in registers and i8 in memory.  A type of `lanes` > 1 is a vector of that many lanes.
"""

from __future__ import annotations

import re
import struct

from .errors import InternalError
from .lowered import Expr
from .ops.base import TABLE, Pointwise

_SHORT = {"bool": "i1", "float32": "f32", "float64": "f64"}
_LLVM = {"bool": "i1", "float32": "float", "float64": "double"}

# Integer arithmetic that shape and index rules are made of; these need no row.
_INDEX = {
    "index_add": "add nsw {t} {0}, {1}",
    "index_sub": "sub nsw {t} {0}, {1}",
    "index_mul": "mul nsw {t} {0}, {1}",
    "size_mul": "call {t} @llvm.smul.fix.sat.{m}({t} {0}, {t} {1}, i32 0)",
    "udiv": "udiv {t} {0}, {1}",
    "urem": "urem {t} {0}, {1}",
    "maximum": "call {t} @llvm.smax.{m}({t} {0}, {t} {1})",
    "minimum": "call {t} @llvm.smin.{m}({t} {0}, {t} {1})",
    "eq": "icmp eq {t} {0}, {1}",
    "ne": "icmp ne {t} {0}, {1}",
    "lt": "icmp slt {t} {0}, {1}",
    "le": "icmp sle {t} {0}, {1}",
    "gt": "icmp sgt {t} {0}, {1}",
    "ge": "icmp sge {t} {0}, {1}",
    "floor_divide": "call {t} @scanlib.floordiv.{s}({t} {0}, {t} {1})",
    "mod": "call {t} @scanlib.mod.{s}({t} {0}, {t} {1})",
}
# A sum or product over an axis; these alone may be reassociated.
_REDUCTION = {
    "reassociated_add": "fadd reassoc contract {t} {0}, {1}",
    "reassociated_mul": "fmul reassoc contract {t} {0}, {1}",
}
_LOGIC = {"logical_and": "and {t} {0}, {1}", "logical_or": "or {t} {0}, {1}"}


def llvm_type(dtype: str, lanes: int = 1) -> str:
    one = _LLVM.get(dtype) or "i" + re.sub(r"\D", "", dtype)
    return one if lanes == 1 else f"<{lanes} x {one}>"


def memory_type(dtype: str, lanes: int = 1) -> str:
    one = "i8" if dtype == "bool" else llvm_type(dtype)
    return one if lanes == 1 else f"<{lanes} x {one}>"


def short(dtype: str) -> str:
    """The name vector_math gives a dtype."""
    if dtype in _SHORT:
        return _SHORT[dtype]
    return ("u" if dtype.startswith("u") else "i") + re.sub(r"\D", "", dtype)


def kind(dtype: str) -> str:
    return "b" if dtype == "bool" else dtype[0]


def literal(value: object, dtype: str) -> str:
    if dtype == "bool":
        return "true" if value else "false"
    if dtype.startswith("float"):
        number = float(value)  # type: ignore[arg-type]
        if dtype == "float32":
            try:
                number = struct.unpack("<f", struct.pack("<f", number))[0]
            except OverflowError:
                number = float("inf") if number > 0 else float("-inf")
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    bits = int(dtype.lstrip("uint"))
    number = int(value) & ((1 << bits) - 1)  # type: ignore[call-overload]
    return str(number - (1 << bits) if number >> (bits - 1) else number)


def template(e: Expr) -> str:
    """The template of an expression: index arithmetic, reductions and logic here, the rest by its row."""
    operand = e.args[-1].dtype
    if operand == "int64" and e.op in _INDEX:
        return _INDEX[e.op]
    if e.op in _REDUCTION:
        return _REDUCTION[e.op]
    if operand == "bool" and e.op in _LOGIC:
        return _LOGIC[e.op]
    row = TABLE.get(e.op)
    if row is None or not isinstance(row.lower, Pointwise) or kind(operand) not in row.lower.llvm:
        raise InternalError(f"no LLVM template for {e.op} on {operand}")
    return row.lower.llvm[kind(operand)]


def placeholders(dtype: str, lanes: int) -> dict[str, str]:
    """What {t}, {m} and {s} stand for."""
    t, name = llvm_type(dtype, lanes), short(dtype)
    m = {"float64": "f64", "float32": "f32"}.get(dtype, llvm_type(dtype))
    prefix = f"v{lanes}" if lanes > 1 else ""
    return {"t": t, "m": prefix + m, "s": prefix + name}
