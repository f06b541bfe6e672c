"""LLVM IR text for lowered kernels; see llvm_types.py for templates and their placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from . import lowered
from .errors import InternalError
from .llvm_types import literal, llvm_type, memory_type, placeholders, short, template
from .lowered import (
    CACHE_LINE,
    Assign,
    Check,
    Expr,
    For,
    If,
    Int,
    Kernel,
    Lanes,
    Leave,
    Product,
    SetDim,
    Statement,
    Store,
    as_expr,
)
from .statements import coefficient, length_choices, may_trap, writes
from .vector_math import definitions


class KernelEmitter:
    """Prints one kernel.

    Invariant: `scopes` holds, innermost last, the values computed so far that dominate the current
    position; a value is dropped as soon as something it reads from may have changed.

    Inside Lanes, what depends on the lane is a vector of `width` lanes, the first of which is `base`.
    """

    def __init__(
        self, kernel: Kernel, dtypes: Sequence[str], step_slots: Mapping[str, int], first_metadata: int
    ):
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
        self.allocated: set[str] = set()
        self.entry_dims: dict[int, str] = {}
        self.written = writes(kernel.body)
        self.step_exits: list[str] = []
        self.steps: list[str] = []
        self.metadata = first_metadata
        self.scope_ids: dict[object, int] = {}
        self.lane: Expr | None = None
        self.base: Expr | None = None
        self.width = 1
        self.versioned = False
        self.streams = False

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

    def lanes_address(self, buffer: int, offset: Expr) -> str:
        """The address of the first lane of something that lies lane by lane."""
        assert self.lane is not None and self.base is not None
        if coefficient(offset, self.lane) != 1:
            raise InternalError(f"{self.kernel.name}: lanes of buffer {buffer} do not lie next to each other")
        return self.address(buffer, as_expr(lowered.replace(offset, self.lane, self.base)))

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

    def lanes_of(self, e: Expr) -> int:
        """How many lanes the value of `e` has here."""
        return self.width if self.lane is not None and not self.lane.reads.isdisjoint(e.reads) else 1

    def operand(self, e: Expr, lanes: int) -> str:
        """`e` with that many lanes: a value that is the same in all of them is repeated."""
        value = self.emit(e)
        if lanes == 1 or self.lanes_of(e) == lanes:
            return value
        t = llvm_type(e.dtype)
        if value[0] != "%":
            return f"splat ({t} {value})"
        first = self.value(f"insertelement <{lanes} x {t}> poison, {t} {value}, i64 0")
        return self.value(
            f"shufflevector <{lanes} x {t}> {first}, <{lanes} x {t}> poison, <{lanes} x i32> zeroinitializer"
        )

    def compute(self, e: Expr) -> str:
        if e.op == "const":
            return literal(e.value, e.dtype)
        if e.op == "dim":
            return self.read_dim(e.value)
        if e.op == "bound":
            return f"%{e.value}"
        if e.op == "index":
            return self.index(e)
        if e.op == "load":
            return self.load(e)
        if e.op == "reg":
            lanes = self.lanes_of(e)
            name = self.registers[e.value]
            return self.as_bool(e, self.value(f"load {memory_type(e.dtype, lanes)}, ptr {name}, align 8"))
        if e.op == "guard":
            self.check(e.args[1], e.value, e.args[2:])
            return self.emit(e.args[0])
        lanes = self.lanes_of(e)
        if e.op == "cast":
            return self.cast(self.operand(e.args[0], lanes), e.args[0].dtype, e.dtype, lanes)
        if e.op == "select" and lanes == 1:
            return self.select(e)
        values = [self.operand(a, lanes) for a in e.args]
        if e.op in ("where", "select"):
            t = llvm_type(e.dtype, lanes)
            return self.value(
                f"select {llvm_type('bool', lanes)} {values[0]}, {t} {values[1]}, {t} {values[2]}"
            )
        return self.value(template(e).format(*values, **placeholders(e.args[-1].dtype, lanes)))

    def index(self, e: Expr) -> str:
        if e is self.lane and self.width > 1:
            assert self.base is not None
            numbers = ", ".join(f"i64 {i}" for i in range(self.width))
            first = self.operand(self.base, self.width)
            return self.value(f"add <{self.width} x i64> {first}, <{numbers}>")
        # A step of an enclosing scan that this kernel does not loop over itself.
        return self.read_dim(self.step_slots[e.value])

    def as_bool(self, e: Expr, raw: str) -> str:
        """Memory holds bools as bytes."""
        if e.dtype != "bool":
            return raw
        lanes = self.lanes_of(e)
        zero = "0" if lanes == 1 else "zeroinitializer"
        return self.value(f"icmp ne {memory_type('bool', lanes)} {raw}, {zero}")

    def load(self, e: Expr) -> str:
        buffer, lanes = e.value, self.lanes_of(e)
        address = self.address(buffer, e.args[0]) if lanes == 1 else self.lanes_address(buffer, e.args[0])
        type = memory_type(self.dtypes[buffer], lanes)
        align = "" if lanes == 1 else f", align {self.alignment(buffer)}"
        return self.as_bool(e, self.value(f"load {type}, ptr {address}{align}{self.alias(buffer)}"))

    def alignment(self, buffer: int) -> int:
        bits = int("".join(c for c in short(self.dtypes[buffer]) if c.isdigit()))
        return max(1, bits // 8)

    def cast(self, value: str, source: str, target: str, lanes: int) -> str:
        a, b = llvm_type(source, lanes), llvm_type(target, lanes)
        zero = "zeroinitializer" if lanes > 1 else literal(0, source)
        if source == target:
            return value
        if target == "bool":
            return self.value(f"{'fcmp une' if source[0] == 'f' else 'icmp ne'} {a} {value}, {zero}")
        if source[0] == "f" and target[0] == "f":
            return self.value(f"{'fpext' if target == 'float64' else 'fptrunc'} {a} {value} to {b}")
        if source[0] == "f":
            s, name = placeholders(source, lanes)["s"], short(target)
            return self.value(f"call {b} @scanlib.to_{name}.{s}({a} {value})")
        unsigned = source == "bool" or source[0] == "u"
        if target[0] == "f":
            return self.value(f"{'uitofp' if unsigned else 'sitofp'} {a} {value} to {b}")
        narrow, wide = (int(llvm_type(d)[1:]) for d in (source, target))
        if narrow == wide:
            return value
        if narrow > wide:
            return self.value(f"trunc {a} {value} to {b}")
        return self.value(f"{'zext' if unsigned else 'sext'} {a} {value} to {b}")

    def select(self, e: Expr) -> str:
        """Lazy when an arm reads memory: an arm that is not chosen may index outside its array."""
        condition = self.emit(e.args[0])
        if condition == "false":
            return self.emit(e.args[2])
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
        self.line(f"br i1 {held}, label %{ok}, label %{failed}, !prof !1")
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
        lanes = self.lanes_of(offset)
        value = self.operand(s.value, lanes)
        type = memory_type(dtype, lanes)
        raw = self.value(f"zext {llvm_type(dtype, lanes)} {value} to {type}") if dtype == "bool" else value
        address = self.address(s.buffer, offset) if lanes == 1 else self.lanes_address(s.buffer, offset)
        align = "" if lanes == 1 else f", align {self.alignment(s.buffer)}"
        if s.streaming:
            self.streams = True
            align = f", align {CACHE_LINE}, !nontemporal !2"
        self.line(f"store {type} {raw}, ptr {address}{align}{self.alias(s.buffer)}")
        self.forget({f"b{s.buffer}"})
        if f"b{s.buffer}" not in offset.reads and value[0] == "%":
            self.scopes[-1][lowered.load(s.buffer, offset, dtype)] = value

    def assign(self, s: Assign) -> None:
        lanes = [self.width if name[0] == "l" else 1 for name in s.names]
        values = [self.operand(v, n) for v, n in zip(s.values, lanes)]
        for name, v, value, n in zip(s.names, s.values, values, lanes):
            type = memory_type(v.dtype, n)
            if name not in self.registers:
                self.registers[name] = f"%r.{name}" + (f".{n}" if n > 1 else "")
                # Two loops over lanes may have one width in common.
                if self.registers[name] not in self.allocated:
                    self.allocated.add(self.registers[name])
                    self.entry.append(f"  {self.registers[name]} = alloca {type}, align 8")
            if v.dtype == "bool":
                value = self.value(f"zext {llvm_type(v.dtype, n)} {value} to {type}")
            self.line(f"store {type} {value}, ptr {self.registers[name]}, align 8")
        self.forget({f"r{n}" for n in s.names})

    def lanes(self, s: Lanes) -> None:
        """One loop per width, each going on where the wider one had too few lanes left."""
        position, stop = self.emit(as_expr(s.start)), self.emit(as_expr(s.stop))
        lane = lowered.index(s.index)
        for width in s.widths:
            if width > 1:
                left = self.value(f"sub nsw i64 {stop}, {position}")
                rest = self.value(f"srem i64 {left}, {width}")
                end = self.value(f"sub nsw i64 {stop}, {rest}")
            else:
                end = stop
            base = lowered.index(f"i.{s.index}") if width > 1 else lane
            self.lane, self.base, self.width = (lane, base, width) if width > 1 else (None, None, 1)
            for name in [n for n in self.registers if n.split(".")[0] == s.index]:
                del self.registers[name]
            self.forget(writes(s.body) | {s.index})
            self.counted(base, position, end, width, s.body)
            self.lane, self.base, self.width = None, None, 1
            position = end
        self.forget({s.index})

    def loop(self, s: For) -> None:
        conditions = [] if self.versioned or s.index[0] == "t" else length_choices(s)
        if conditions:
            self.versions(s, conditions)
            return
        start, stop = self.emit(as_expr(s.start)), self.emit(as_expr(s.stop))
        self.forget(writes(s.body) | {s.index})
        self.counted(lowered.index(s.index), start, stop, 1, s.body)
        self.forget({s.index})

    def versions(self, s: For, conditions: Sequence[Expr]) -> None:
        """The loop for lengths that may broadcast and, where none of them is 1, with addresses that LLVM sees through.

        A length that is not known before the call is hardly ever 1, but a load whose index depends on that is
        no load of a vector.
        """
        any_is_one = reduce(lambda a, b: lowered.logical("logical_or", a, b), conditions)
        labels = [self.fresh(name) for name in ("broadcast", "plain", "join")]
        self.line(f"br i1 {self.emit(any_is_one)}, label %{labels[0]}, label %{labels[1]}")
        self.versioned = True
        for label, known in zip(labels, ({}, dict.fromkeys(conditions, "false"))):
            self.start_block(label)
            self.scopes.append(known)
            self.loop(s)
            self.scopes.pop()
            self.line(f"br label %{labels[2]}")
        self.versioned = False
        self.start_block(labels[2])

    def counted(self, variable: Expr, start: str, stop: str, step: int, body: Iterable[Statement]) -> None:
        """for variable = start; variable < stop; variable += step."""
        label = self.fresh("loop")
        i = f"{variable.value}.{label}"
        before = self.block
        self.line(f"br label %{label}")
        self.start_block(label)
        position = len(self.lines)
        self.line("")
        self.line(f"%{label}.go = icmp slt i64 %{i}, {stop}")
        self.line(f"br i1 %{label}.go, label %{label}.body, label %{label}.end")
        self.start_block(f"{label}.body")
        is_step = variable.value[0] == "t"
        if is_step:
            self.steps.append(i)
            self.step_exits.append(f"{label}.end")
        self.scopes.append({variable: f"%{i}"})
        self.statements(body)
        self.scopes.pop()
        if is_step:
            self.steps.pop()
            self.step_exits.pop()
        self.line(f"%{i}.next = add nuw nsw i64 %{i}, {step}")
        self.line(f"br label %{label}")
        self.lines[position] = f"  %{i} = phi i64 [ {start}, %{before} ], [ %{i}.next, %{self.block} ]"
        self.start_block(f"{label}.end")

    def product(self, s: Product) -> None:
        """A call of the core, which reads and writes nothing but what it is given."""
        dtype = self.dtypes[s.result.buffer]
        left, right, result = (
            self.address(m.buffer, as_expr(m.offset)) if isinstance(m, lowered.Matrix) else self.pointer(m)
            for m in (s.left, s.packed, s.result)
        )
        numbers = [
            [f"i64 {self.emit(as_expr(n))}" for n in m] for m in (s.left.strides, s.result.strides, s.sizes)
        ]
        arguments = [f"ptr {left}", *numbers[0], f"ptr {right}", f"ptr {result}", *numbers[1], *numbers[2]]
        self.line(f"call void @scanlib_product_{short(dtype)}({', '.join(arguments)})")
        self.forget({f"b{s.result.buffer}"})

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
            elif isinstance(s, Lanes):
                self.lanes(s)
            elif isinstance(s, Product):
                self.product(s)
            elif isinstance(s, If):
                self.branch(s)
            elif isinstance(s, Check):
                self.check(s.condition, s.check, s.values)
            else:
                self.leave(s)

    def function(self) -> str:
        self.statements(self.kernel.body)
        if self.streams:
            # What went past the caches is ordered by a fence only, not by the locks through which threads meet.
            self.line("fence seq_cst")
        self.line("ret i64 0")
        head = (
            f"define i64 @{self.kernel.name}(ptr noalias readonly %buffers, ptr noalias %dims, i64 %start, i64 %stop, "
            "i64 %lane_start, i64 %lane_stop) #0 {"
        )
        return "\n".join([head, "entry:", *self.entry, "  br label %body", "body:", *self.lines, "}"])


PRODUCT = """
declare void @scanlib_product_{}(ptr, i64, i64, ptr, ptr, i64, i64, i64, i64, i64) nounwind memory(argmem: readwrite)
"""
_MATH = re.compile(r"@scanlib\.(\w+)\.(\w+)\(")


def emit_module(kernels: Sequence[Kernel], dtypes: Sequence[str], step_slots: Mapping[str, int]) -> str:
    """One LLVM module with every kernel of a specialisation, and the math functions they call."""
    functions: list[str] = []
    metadata = ["!0 = !{}", '!1 = !{!"branch_weights", i32 2000, i32 1}', "!2 = !{i32 1}"]
    number = 3
    for kernel in kernels:
        emitter = KernelEmitter(kernel, dtypes, step_slots, number)
        functions.append(emitter.function())
        metadata += emitter.metadata_lines()
        number = emitter.next_metadata
    text = "\n\n".join(functions)
    requests = sorted(set(_MATH.findall(text)))
    math = definitions(requests) if requests else ""
    math += "".join(PRODUCT.format(s) for s in ("f32", "f64") if f"@scanlib_product_{s}(" in text)
    attributes = "attributes #0 = { nounwind }"
    return "\n\n".join([math, text, attributes, "\n".join(metadata)]) + "\n"
