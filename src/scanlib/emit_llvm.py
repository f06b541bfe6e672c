"""LLVM IR text for lowered kernels.

Placeholders in a row's template:
    {0} {1} {2}   operands, already values of the operand type
    {t}           LLVM type of the operands            double, i32, i1, <4 x double>
    {m}           the type as intrinsics spell it      f64, i32, i1, v4f64
    {s}           the type as vector_math spells it    f64, i32, u8, v4f64
Templates are chosen by the kind of the last operand: "f" floats, "i" signed, "u" unsigned, "b" bool.
Bools are i1 in registers and i8 in memory.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence

from .errors import InternalError
from .lowered import Assign, Check, Expr, For, If, Int, Kernel, Leave, SetDim, Statement, Store, as_expr
from .ops.base import TABLE, Pointwise

_SHORT = {"bool": "i1", "float32": "f32", "float64": "f64"}
_LLVM = {"bool": "i1", "float32": "float", "float64": "double"}

# Integer arithmetic that shape and index rules are made of; these need no row.
_INDEX = {
    "index_add": "add nsw i64 {0}, {1}",
    "index_sub": "sub nsw i64 {0}, {1}",
    "index_mul": "mul nsw i64 {0}, {1}",
    "udiv": "udiv i64 {0}, {1}",
    "urem": "urem i64 {0}, {1}",
    "maximum": "call i64 @llvm.smax.i64(i64 {0}, i64 {1})",
    "minimum": "call i64 @llvm.smin.i64(i64 {0}, i64 {1})",
    "eq": "icmp eq i64 {0}, {1}",
    "ne": "icmp ne i64 {0}, {1}",
    "lt": "icmp slt i64 {0}, {1}",
    "le": "icmp sle i64 {0}, {1}",
    "gt": "icmp sgt i64 {0}, {1}",
    "ge": "icmp sge i64 {0}, {1}",
    "floor_divide": "call i64 @scanlib.floordiv.i64(i64 {0}, i64 {1})",
    "mod": "call i64 @scanlib.mod.i64(i64 {0}, i64 {1})",
}
# A sum or product over an axis; these alone may be reassociated.
_REDUCTION = {
    "reassociated_add": "fadd reassoc contract {t} {0}, {1}",
    "reassociated_mul": "fmul reassoc contract {t} {0}, {1}",
}
_LOGIC = {"logical_and": "and i1 {0}, {1}", "logical_or": "or i1 {0}, {1}"}


def llvm_type(dtype: str) -> str:
    if dtype in _LLVM:
        return _LLVM[dtype]
    return "i" + re.sub(r"\D", "", dtype)


def memory_type(dtype: str) -> str:
    return "i8" if dtype == "bool" else llvm_type(dtype)


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


def writes(statements: Iterable[Statement]) -> set[str]:
    """The names (as in Expr.reads) that running `statements` may change."""
    names: set[str] = set()
    for s in statements:
        if isinstance(s, Store):
            names.add(f"b{s.buffer}")
        elif isinstance(s, SetDim):
            names.add(f"d{s.slot}")
        elif isinstance(s, Assign):
            names.update(f"r{n}" for n in s.names)
        elif isinstance(s, For):
            names |= writes(s.body) | {s.index}
        elif isinstance(s, If):
            names |= writes(s.then) | writes(s.otherwise)
    return names


def may_trap(e: Expr, seen: set[int]) -> bool:
    """Whether computing `e` where it is not wanted could touch memory outside an array or stop the kernel."""
    stack = [e]
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if x.op in ("load", "guard"):
            return True
        stack.extend(x.args)
    return False


class KernelEmitter:
    """Prints one kernel.

    Invariant: `scopes` holds, innermost last, the values computed so far that dominate the current
    position; a value is dropped as soon as something it reads from may have changed.
    """

    def __init__(self, kernel: Kernel, dtypes: Sequence[str], step_slots: Mapping[str, int], first_metadata: int):
        self.kernel = kernel
        self.dtypes = dtypes
        self.step_slots = step_slots
        self.lines: list[str] = []
        self.entry: list[str] = []
        self.scopes: list[dict[Expr, str]] = [{}]
        self.counter = 0
        self.block = "body"
        self.pointers: dict[int, str] = {}
        self.registers: dict[str, str] = {}
        self.entry_dims: dict[int, str] = {}
        self.written = writes(kernel.body)
        self.step_exits: list[str] = []
        self.steps: list[str] = []
        self.metadata = first_metadata
        self.scope_ids: dict[object, int] = {}

    # -- text ------------------------------------------------------------------------------------------

    def fresh(self, prefix: str = "v") -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def value(self, text: str) -> str:
        name = "%" + self.fresh()
        self.line(f"{name} = {text}")
        return name

    def start_block(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    # -- what is known ---------------------------------------------------------------------------------

    def lookup(self, e: Expr) -> str | None:
        for scope in reversed(self.scopes):
            if e in scope:
                return scope[e]
        return None

    def forget(self, names: set[str]) -> None:
        for scope in self.scopes:
            for e in [e for e in scope if not names.isdisjoint(e.reads)]:
                del scope[e]

    # -- memory ----------------------------------------------------------------------------------------

    def pointer(self, buffer: int) -> str:
        if buffer not in self.pointers:
            name = f"%b{buffer}"
            self.entry.append(f"  {name}.p = getelementptr ptr, ptr %buffers, i64 {buffer}")
            self.entry.append(f"  {name} = load ptr, ptr {name}.p, align 8, !invariant.load !0")
            self.pointers[buffer] = name
        return self.pointers[buffer]

    def alias(self, key: object) -> str:
        """Buffers never overlap, nor do they overlap the dims table; say so on every access."""
        if key not in self.scope_ids:
            self.scope_ids[key] = len(self.scope_ids)
        base = self.metadata + 1 + 3 * self.scope_ids[key]
        return f", !alias.scope !{base + 1}, !noalias !{base + 2}"

    def metadata_lines(self) -> list[str]:
        lines = [f'!{self.metadata} = distinct !{{!{self.metadata}, !"{self.kernel.name}"}}']
        bases = {key: self.metadata + 1 + 3 * i for key, i in self.scope_ids.items()}
        for key, base in bases.items():
            others = ", ".join(f"!{b}" for k, b in bases.items() if k != key)
            lines.append(f"!{base} = distinct !{{!{base}, !{self.metadata}}}")
            lines.append(f"!{base + 1} = !{{!{base}}}")
            lines.append(f"!{base + 2} = !{{{others}}}")
        return lines

    @property
    def next_metadata(self) -> int:
        return self.metadata + 1 + 3 * len(self.scope_ids)

    def address(self, buffer: int, offset: Expr) -> str:
        base = self.pointer(buffer)
        return self.value(
            f"getelementptr inbounds {memory_type(self.dtypes[buffer])}, ptr {base}, i64 {self.emit(offset)}"
        )

    def dim_address(self, slot: int) -> str:
        return self.value(f"getelementptr inbounds i64, ptr %dims, i64 {slot}")

    def read_dim(self, slot: int) -> str:
        if f"d{slot}" in self.written:
            return self.value(f"load i64, ptr {self.dim_address(slot)}, align 8{self.alias('dims')}")
        if slot not in self.entry_dims:
            name = f"%d{slot}"
            self.entry.append(f"  {name}.p = getelementptr inbounds i64, ptr %dims, i64 {slot}")
            self.entry.append(f"  {name} = load i64, ptr {name}.p, align 8{self.alias('dims')}")
            self.entry_dims[slot] = name
        return self.entry_dims[slot]

    # -- expressions -----------------------------------------------------------------------------------

    def emit(self, e: Expr) -> str:
        """The SSA value of `e`, computed here unless it is already known.  Iterative: graphs can be deep."""
        found = self.lookup(e)
        if found is not None:
            return found
        stack: list[tuple[Expr, bool]] = [(e, False)]
        while stack:
            x, ready = stack.pop()
            if self.lookup(x) is not None:
                continue
            if not ready and x.args and x.op not in ("select", "guard"):
                stack.append((x, True))
                stack.extend((a, False) for a in reversed(x.args))
                continue
            self.scopes[-1][x] = self.compute(x)
        result = self.lookup(e)
        if result is None:
            raise InternalError(f"{self.kernel.name}: value of {e.op} was lost while it was computed")
        return result

    def compute(self, e: Expr) -> str:
        if e.op == "const":
            return literal(e.value, e.dtype)
        if e.op == "dim":
            return self.read_dim(e.value)
        if e.op == "bound":
            return f"%{e.value}"
        if e.op == "index":
            # A step of an enclosing scan that this kernel does not loop over itself.
            return self.read_dim(self.step_slots[e.value])
        if e.op == "load":
            return self.load(e)
        if e.op == "reg":
            raw = self.value(f"load {memory_type(e.dtype)}, ptr {self.registers[e.value]}, align 8")
            return self.value(f"icmp ne i8 {raw}, 0") if e.dtype == "bool" else raw
        if e.op == "guard":
            self.check(e.args[1], e.value, e.args[2:])
            return self.emit(e.args[0])
        if e.op == "cast":
            return self.cast(self.emit(e.args[0]), e.args[0].dtype, e.dtype)
        if e.op == "select":
            return self.select(e)
        return self.value(self.template(e).format(*(self.emit(a) for a in e.args), **self.names(e)))

    def names(self, e: Expr) -> dict[str, str]:
        dtype = e.args[-1].dtype if e.args else e.dtype
        t = llvm_type(dtype)
        return {"t": t, "m": {"double": "f64", "float": "f32"}.get(t, t), "s": short(dtype)}

    def template(self, e: Expr) -> str:
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

    def load(self, e: Expr) -> str:
        buffer = e.value
        type = memory_type(self.dtypes[buffer])
        raw = self.value(f"load {type}, ptr {self.address(buffer, e.args[0])}{self.alias(buffer)}")
        return self.value(f"icmp ne i8 {raw}, 0") if e.dtype == "bool" else raw

    def cast(self, value: str, source: str, target: str) -> str:
        a, b = llvm_type(source), llvm_type(target)
        if target == "bool":
            if source.startswith("float"):
                return self.value(f"fcmp une {a} {value}, {literal(0.0, source)}")
            return self.value(f"icmp ne {a} {value}, 0")
        if source.startswith("float") and target.startswith("float"):
            return self.value(f"{'fpext' if target == 'float64' else 'fptrunc'} {a} {value} to {b}")
        if source.startswith("float"):
            # NumPy on x86 wraps through int64; the saturating conversion is defined everywhere.
            wide = self.value(f"call i64 @llvm.fptosi.sat.i64.{short(source)}({a} {value})")
            if target == "uint64":
                big = self.value(f"call i64 @llvm.fptoui.sat.i64.{short(source)}({a} {value})")
                negative = self.value(f"fcmp olt {a} {value}, {literal(0.0, source)}")
                return self.value(f"select i1 {negative}, i64 {wide}, i64 {big}")
            return wide if b == "i64" else self.value(f"trunc i64 {wide} to {b}")
        unsigned = source == "bool" or source.startswith("u")
        if target.startswith("float"):
            return self.value(f"{'uitofp' if unsigned else 'sitofp'} {a} {value} to {b}")
        if a == b:
            return value
        if int(a[1:]) > int(b[1:]):
            return self.value(f"trunc {a} {value} to {b}")
        return self.value(f"{'zext' if unsigned else 'sext'} {a} {value} to {b}")

    def select(self, e: Expr) -> str:
        """Lazy when an arm reads memory: an arm that is not chosen may index outside its array."""
        condition = self.emit(e.args[0])
        t = llvm_type(e.dtype)
        known = {id(x) for scope in self.scopes for x in scope}
        if not any(may_trap(arm, set(known)) for arm in e.args[1:]):
            yes, no = self.emit(e.args[1]), self.emit(e.args[2])
            return self.value(f"select i1 {condition}, {t} {yes}, {t} {no}")
        labels = [self.fresh("then"), self.fresh("else"), self.fresh("join")]
        self.line(f"br i1 {condition}, label %{labels[0]}, label %{labels[1]}")
        arms = []
        for label, arm in zip(labels, e.args[1:]):
            self.start_block(label)
            self.scopes.append({})
            value = self.emit(arm)
            self.scopes.pop()
            arms.append(f"[ {value}, %{self.block} ]")
            self.line(f"br label %{labels[2]}")
        self.start_block(labels[2])
        return self.value(f"phi {t} {arms[0]}, {arms[1]}")

    # -- statements ------------------------------------------------------------------------------------

    def check(self, condition: Expr, check: int, values: Sequence[Int]) -> None:
        held = self.emit(condition)
        if held == "true":
            return
        numbers = [self.emit(as_expr(v)) for v in values[:3]]
        ok, failed = self.fresh("ok"), self.fresh("failed")
        self.line(f'br i1 {held}, label %{ok}, label %{failed}, !prof !1')
        self.start_block(failed)
        if self.steps:
            self.line(f"store i64 %{self.steps[-1]}, ptr %dims, align 8")
        for i, number in enumerate(numbers):
            self.line(f"store i64 {number}, ptr {self.dim_address(1 + i)}, align 8")
        self.line(f"ret i64 {check}")
        self.start_block(ok)

    def store(self, s: Store) -> None:
        dtype = self.dtypes[s.buffer]
        if s.value.dtype != dtype:
            raise InternalError(f"{self.kernel.name}: {s.value.dtype} stored in a buffer of {dtype}")
        offset = as_expr(s.offset)
        value = self.emit(s.value)
        raw = self.value(f"zext i1 {value} to i8") if dtype == "bool" else value
        self.line(f"store {memory_type(dtype)} {raw}, ptr {self.address(s.buffer, offset)}{self.alias(s.buffer)}")
        self.forget({f"b{s.buffer}"})
        if f"b{s.buffer}" not in offset.reads:
            self.scopes[-1][_loaded(s.buffer, offset, dtype)] = value

    def assign(self, s: Assign) -> None:
        values = [self.emit(v) for v in s.values]
        for name, v, value in zip(s.names, s.values, values):
            type = llvm_type(v.dtype)
            if name not in self.registers:
                self.registers[name] = f"%r.{name}"
                self.entry.append(f"  %r.{name} = alloca {memory_type(v.dtype)}, align 8")
            if v.dtype == "bool":
                value, type = self.value(f"zext i1 {value} to i8"), "i8"
            self.line(f"store {type} {value}, ptr {self.registers[name]}, align 8")
        self.forget({f"r{n}" for n in s.names})

    def loop(self, s: For) -> None:
        start, stop = self.emit(as_expr(s.start)), self.emit(as_expr(s.stop))
        self.forget(writes(s.body) | {s.index})
        label = self.fresh("loop")
        i = f"{s.index}.{label}"
        before = self.block
        self.line(f"br label %{label}")
        self.start_block(label)
        position = len(self.lines)
        self.line("")
        self.line(f"%{label}.go = icmp slt i64 %{i}, {stop}")
        self.line(f"br i1 %{label}.go, label %{label}.body, label %{label}.end")
        self.start_block(f"{label}.body")
        is_step = s.index[0] == "t"
        if is_step:
            self.steps.append(i)
            self.step_exits.append(f"{label}.end")
        self.scopes.append({_index(s.index): f"%{i}"})
        self.statements(s.body)
        self.scopes.pop()
        if is_step:
            self.steps.pop()
            self.step_exits.pop()
        self.line(f"%{i}.next = add nuw nsw i64 %{i}, 1")
        self.line(f"br label %{label}")
        self.lines[position] = f"  %{i} = phi i64 [ {start}, %{before} ], [ %{i}.next, %{self.block} ]"
        self.start_block(f"{label}.end")
        self.forget({s.index})

    def branch(self, s: If) -> None:
        condition = self.emit(s.condition)
        names = writes(s.then) | writes(s.otherwise)
        then, otherwise, join = self.fresh("then"), self.fresh("else"), self.fresh("join")
        self.line(f"br i1 {condition}, label %{then}, label %{otherwise}")
        for label, body in ((then, s.then), (otherwise, s.otherwise)):
            self.start_block(label)
            self.scopes.append({})
            self.statements(body)
            self.scopes.pop()
            self.line(f"br label %{join}")
        self.start_block(join)
        self.forget(names)

    def leave(self, s: Leave) -> None:
        condition = self.emit(s.condition)
        stay = self.fresh("stay")
        self.line(f"br i1 {condition}, label %{self.step_exits[-1]}, label %{stay}")
        self.start_block(stay)

    def statements(self, body: Iterable[Statement]) -> None:
        for s in body:
            if isinstance(s, Store):
                self.store(s)
            elif isinstance(s, SetDim):
                value = self.emit(as_expr(s.value))
                self.line(f"store i64 {value}, ptr {self.dim_address(s.slot)}, align 8{self.alias('dims')}")
                self.forget({f"d{s.slot}"})
            elif isinstance(s, Assign):
                self.assign(s)
            elif isinstance(s, For):
                self.loop(s)
            elif isinstance(s, If):
                self.branch(s)
            elif isinstance(s, Check):
                self.check(s.condition, s.check, s.values)
            else:
                self.leave(s)

    def function(self) -> str:
        self.statements(self.kernel.body)
        self.line("ret i64 0")
        head = (
            f"define i64 @{self.kernel.name}(ptr noalias readonly %buffers, ptr noalias %dims, i64 %start, i64 %stop, "
            "i64 %lane_start, i64 %lane_stop) #0 {"
        )
        return "\n".join([head, "entry:", *self.entry, "  br label %body", "body:", *self.lines, "}"])


def _loaded(buffer: int, offset: Expr, dtype: str) -> Expr:
    from .lowered import load

    return load(buffer, offset, dtype)


def _index(name: str) -> Expr:
    from .lowered import index

    return index(name)


_CALL = re.compile(r"call (\S+|<[^>]+>) (@llvm\.[\w.]+)\(([^)]*)\)")
_MATH = re.compile(r"@scanlib\.(\w+)\.(\w+)\(")


def emit_module(kernels: Sequence[Kernel], dtypes: Sequence[str], step_slots: Mapping[str, int]) -> str:
    """One LLVM module with every kernel of a specialisation, and the math functions they call."""
    from .vector_math import definitions

    functions: list[str] = []
    metadata = ["!0 = !{}", '!1 = !{!"branch_weights", i32 2000, i32 1}']
    number = 2
    for kernel in kernels:
        emitter = KernelEmitter(kernel, dtypes, step_slots, number)
        functions.append(emitter.function())
        metadata += emitter.metadata_lines()
        number = emitter.next_metadata
    text = "\n\n".join(functions)
    requests = sorted(set(_MATH.findall(text)))
    math = definitions(requests) if requests else ""
    declared = set(re.findall(r"^declare [^@]*(@[\w.]+)", math, re.M))
    declarations = set()
    for result, name, arguments in _CALL.findall(text):
        if name not in declared:
            types = ", ".join(" ".join(a.split()[:-1]) for a in arguments.split(", ")) if arguments else ""
            declarations.add(f"declare {result} {name}({types})")
    attributes = "attributes #0 = { nounwind }"
    return "\n\n".join([math, "\n".join(sorted(declarations)), text, attributes, "\n".join(metadata)]) + "\n"
