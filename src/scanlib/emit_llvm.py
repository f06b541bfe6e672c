"""LLVM IR text for lowered kernels; see llvm_types.py for templates and their placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from . import lowered
from .emit_values import MATH, UNROLLED, Lines, ValueEmitter, flat
from .errors import InternalError
from .llvm_metadata import COMMON, ONE, THOROUGH, VECTORISE
from .llvm_types import literal, llvm_type, memory_type, placeholders, short, template
from .lowered import CACHE_LINE, Expr, as_expr
from .plan import SEAT_SLOT
from .statements import (
    Assign,
    Check,
    For,
    If,
    Kernel,
    Lanes,
    Leave,
    Matrix,
    Product,
    SetDim,
    Statement,
    Store,
    length_choices,
    writes,
)
from .vector_loops import Total, VectorLoop, left_to_llvm, vector_loop
from .vector_math import definitions


class KernelEmitter(ValueEmitter):
    """Prints one kernel."""

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
            align = f", align {CACHE_LINE}, !nontemporal {ONE}"
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
                self.registers[name] = self.memory_of(name, type, n)
            if v.dtype == "bool":
                value = self.value(f"zext {llvm_type(v.dtype, n)} {value} to {type}")
            self.line(f"store {type} {value}, ptr {self.registers[name]}, align 8")
        self.forget({f"r{n}" for n in s.names})

    def memory_of(self, register: str, type: str, lanes: int) -> str:
        name = f"%r.{register}" + (f".{lanes}" if lanes > 1 else "")
        # Two loops over lanes may have one width in common.
        if name not in self.allocated:
            self.allocated.add(name)
            self.entry.append(f"  {name} = alloca {type}, align 8")
        return name

    @contextmanager
    def in_lanes(self, index: str, width: int) -> Iterator[Expr]:
        """Inside, what depends on the lane has `width` of them, as have its registers.  Gives the loop's variable."""
        lane = lowered.index(index)
        base = lowered.index(f"i.{index}") if width > 1 else lane
        self.lane, self.base, self.width = (lane, base, width) if width > 1 else (None, None, 1)
        for name in [n for n in self.registers if n.split(".")[0] == index]:
            del self.registers[name]
        self.forget({index})
        yield base
        self.lane, self.base, self.width = None, None, 1
        self.forget({index})

    def lanes(self, s: Lanes) -> None:
        """One loop per width, each going on where the wider one had too few lanes left."""
        position, stop = self.emit(as_expr(s.start)), self.emit(as_expr(s.stop))
        for width in s.widths:
            end = self.last_group(position, stop, width)
            if end == position:
                continue
            with self.in_lanes(s.index, width) as base, self.seldom(width == 1 < len(s.widths)):
                self.forget(writes(s.body))
                self.counted(base, position, end, width, s.body)
            position = end

    def vectors(self, v: VectorLoop) -> None:
        """A loop of vectors, one part per width, each going on where the wider one had too few lanes left."""
        position, stop = self.emit(as_expr(v.start)), self.emit(as_expr(v.stop))
        for width in v.widths:
            end = self.last_group(position, stop, width)
            if end == position:
                continue
            if width > 1 and v.totals:
                self.adding_up(v, position, end, width)
            else:
                body = v.body if width > 1 else v.rest
                with self.in_lanes(v.index, width) as base, self.seldom(width == 1):
                    self.forget(writes(body))
                    self.counted(base, position, end, width, body)
            position = end

    def adding_up(self, v: VectorLoop, position: str, end: str, width: int) -> None:
        """A part that adds up in registers of its own, whose lanes are then added to the loop's, if there are any."""
        some, none = self.fresh("some"), self.fresh("none")
        go = self.value(f"icmp slt i64 {position}, {end}")
        head = self.head()
        self.line(f"br i1 {go}, label %{some}, label %{none}")
        self.start_block(some)
        with self.scope(head), self.in_lanes(v.index, width) as base:
            self.assign(Assign(tuple(t.partial for t in v.totals), tuple(t.neutral for t in v.totals)))
            self.forget(writes(v.body))
            self.counted(base, position, end, width, v.body)
            sums = [self.across(t) for t in v.totals]
        for t, lanes in zip(v.totals, sums):
            own = lowered.register(t.register, t.dtype)
            text = template(lowered.expr(t.combine, (own, own), t.dtype))
            with self.scope(self.head()):
                total = self.value(text.format(self.emit(own), lanes, **placeholders(t.dtype, 1)))
            self.line(f"store {llvm_type(t.dtype)} {total}, ptr {self.registers[t.register]}, align 8")
            self.forget({f"r{t.register}"})
        self.line(f"br label %{none}")
        self.start_block(none)

    def across(self, t: Total) -> str:
        """All lanes of a partial result combined."""
        names = placeholders(t.dtype, self.width)
        values = self.emit(lowered.register(t.partial, t.dtype))
        first = literal(t.neutral.value, t.dtype)
        one = llvm_type(t.dtype)
        intrinsic = f"@llvm.vector.reduce.{t.intrinsic}.{names['m']}"
        return self.value(f"call reassoc {one} {intrinsic}({one} {first}, {names['t']} {values})")

    def last_group(self, start: str, stop: str, width: int) -> str:
        """Where the last whole group of `width` ends."""
        if width == 1:
            return stop
        if start.isdigit() and stop.isdigit():
            return str(int(stop) - (int(stop) - int(start)) % width)
        left = self.value(f"sub nsw i64 {stop}, {start}") if start != "0" else stop
        rest = self.value(f"srem i64 {left}, {width}")
        return self.value(f"sub nsw i64 {stop}, {rest}")

    @contextmanager
    def seldom(self, condition: bool) -> Iterator[None]:
        """Loops inside hardly ever run, or not for long, if the condition holds: LLVM shall not spend time on them."""
        before, self.rare = self.rare, self.rare or condition
        yield
        self.rare = before

    def loop(self, s: For) -> None:
        conditions = {} if self.versioned or s.index[0] == "t" else length_choices(s)
        if conditions:
            self.versions(s, conditions)
            return
        if s.index[0] == "i" and s.start == 0 and s.stop == 1:
            with self.knowing({lowered.index(s.index): lowered.constant(0, "int64")}, self.head()):
                self.statements(s.body)
            return
        vectors = vector_loop(s, self.known) if self.lane is None else None
        if vectors is not None:
            self.vectors(vectors)
            return
        wanted = not self.rare and left_to_llvm(s)
        start, stop = self.emit(as_expr(s.start)), self.emit(as_expr(s.stop))
        self.forget(writes(s.body) | {s.index})
        self.counted(lowered.index(s.index), start, stop, 1, s.body, wanted)
        self.forget({s.index})

    @contextmanager
    def knowing(self, known: Mapping[Expr, Expr], head: Lines) -> Iterator[None]:
        """Inside, these expressions are constants."""
        before, self.known = self.known, {**self.known, **known}
        with self.scope(head, {e: literal(c.value, c.dtype) for e, c in known.items()}):
            yield
        self.known = before

    def versions(self, s: For, conditions: Mapping[Expr, bool]) -> None:
        """The loop for any lengths and, where all of them are as usual, with addresses that LLVM sees through.

        `conditions` tells how each of them is unusually.  A length that is not known before the call is hardly ever
        1 or 0, but a load whose index depends on that is no load of a vector.
        """
        decided = {c: lowered.constant(not unusual, "bool") for c, unusual in conditions.items()}
        signs = [c if unusual else lowered.negation(c) for c, unusual in conditions.items()]
        any_unusual = reduce(lambda a, b: lowered.logical("logical_or", a, b), signs)
        labels = [self.fresh(name) for name in ("broadcast", "plain", "join")]
        unusual, head = self.emit(any_unusual), self.head()
        self.line(f"br i1 {unusual}, label %{labels[0]}, label %{labels[1]}")
        self.versioned = True
        for label, known in zip(labels, ({}, decided)):
            self.start_block(label)
            with self.knowing(known, head), self.seldom(not known):
                self.loop(s)
            self.line(f"br label %{labels[2]}")
        self.versioned = False
        self.start_block(labels[2])

    def counted(
        self,
        variable: Expr,
        start: str,
        stop: str,
        step: int,
        body: Iterable[Statement],
        vectorise: bool = False,
    ) -> None:
        """for variable = start; variable < stop; variable += step; LLVM is asked for vectors if `vectorise` says so."""
        label = self.fresh("loop")
        i = f"{variable.value}.{label}"
        before, head = self.block, self.head()
        self.line(f"br label %{label}")
        self.start_block(label)
        position = len(self.lines)
        self.line("")
        self.line(f"%{label}.go = icmp slt i64 %{i}, {stop}")
        self.line(f"br i1 %{label}.go, label %{label}.body, label %{label}.end")
        self.start_block(f"{label}.body")
        self.changing.append({variable.value, variable.value.removeprefix("i."), *writes(body)})
        is_step = variable.value[0] == "t"
        unrolled = start.isdigit() and stop.isdigit() and int(stop) - int(start) <= UNROLLED * step
        long = self.long
        if not is_step and not unrolled:
            self.long = [*long, self.changing[-1]]
        if is_step:
            self.steps.append(i)
            self.step_exits.append(f"{label}.end")
            self.step_changes.append(self.changing[-1])
            self.step_states.append({name for name in self.changing[-1] if name[0] in "rb"})
            self.delays.append({})
        with self.scope(head, {variable: f"%{i}"}):
            self.statements(body)
        self.changing.pop()
        self.long = long
        if is_step:
            self.steps.pop()
            self.step_exits.pop()
            self.step_changes.pop()
            self.step_states.pop()
            self.delays.pop()
        self.line(f"%{i}.next = add nuw nsw i64 %{i}, {step}")
        self.line(f"br label %{label}{self.metadata.loop(vectorise)}")
        self.lines[position] = f"  %{i} = phi i64 [ {start}, %{before} ], [ %{i}.next, %{self.block} ]"
        self.start_block(f"{label}.end")

    def product(self, s: Product) -> None:
        """A call of the core, which reads and writes nothing but what it is given."""
        dtype = self.dtypes[s.result.buffer]
        left, right, result = (
            self.address(m.buffer, as_expr(m.offset)) if isinstance(m, Matrix) else self.pointer(m)
            for m in (s.left, s.packed, s.result)
        )
        numbers = [
            [f"i64 {self.emit(as_expr(n))}" for n in m] for m in (s.left.strides, s.result.strides, s.sizes)
        ]
        arguments = [f"ptr {left}", *numbers[0], f"ptr {right}", f"ptr {result}", *numbers[1], *numbers[2]]
        seat = 0 if s.period is None else lowered.dim(SEAT_SLOT)
        arguments += [f"i64 {self.emit(as_expr(n))}" for n in (seat, s.period or 0)]
        self.line(f"call void @scanlib_product_{short(dtype)}({', '.join(arguments)})")
        self.forget({f"b{s.result.buffer}"})

    def branch(self, s: If) -> None:
        condition = self.emit(s.condition)
        names = writes(s.then) | writes(s.otherwise)
        then, otherwise, join = self.fresh("then"), self.fresh("else"), self.fresh("join")
        head = self.head()
        self.line(f"br i1 {condition}, label %{then}, label %{otherwise}")
        for label, body in ((then, s.then), (otherwise, s.otherwise)):
            self.start_block(label)
            with self.scope(head):
                self.statements(body)
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
            f"i64 %lane_start, i64 %lane_stop) #{int(self.thorough)} {{"
        )
        return "\n".join([head, "entry:", *self.entry, "  br label %body", "body:", *flat(self.lines), "}"])


PRODUCT = """
declare void @scanlib_product_{}(ptr, i64, i64, ptr, ptr, i64, i64, i64, i64, i64, i64, i64) nounwind
"""
_SHARED = re.compile(r"@scanlib\.(\w+)\.(\w+)\.shared\(")


# Kernels are put together into modules up to a length (in characters): LLVM works on several modules at once, and each
# of them has a price of its own.  No less than the first, and no less than this part of all of them.
SHORTEST, PARTS = 4000, 8


@dataclass(frozen=True)
class _Printed:
    """A kernel's text, the metadata it refers to, and whether it has loops for LLVM's vectoriser."""

    text: str
    metadata: list[str]
    vectorise: bool


def emit_modules(
    kernels: Sequence[Kernel],
    dtypes: Sequence[str],
    step_slots: Mapping[str, int],
    scalars: frozenset[int] = frozenset(),
) -> list[str]:
    """LLVM modules that hold every kernel of a specialisation, and the math functions they call.

    `scalars` are buffers that hold one number.
    """
    printed: list[_Printed] = []
    number = len(COMMON)
    for kernel in kernels:
        emitter = KernelEmitter(kernel, dtypes, step_slots, scalars, number)
        text = emitter.function()
        printed.append(_Printed(text, emitter.metadata.lines(), emitter.metadata.vectorise))
        number = emitter.metadata.free
    return [_module(part) for part in _parts(printed)]


def _parts(printed: Sequence[_Printed]) -> list[list[_Printed]]:
    most = max(SHORTEST, sum(len(p.text) for p in printed) // PARTS)
    parts: list[list[_Printed]] = []
    room = 0
    for p in printed:
        if len(p.text) > room:
            parts.append([])
            room = most
        parts[-1].append(p)
        room -= len(p.text)
    return parts


def _module(kernels: Sequence[_Printed]) -> str:
    text = "\n\n".join(k.text for k in kernels)
    requests, shared = MATH.findall(text), _SHARED.findall(text)
    math = definitions(requests, shared) if requests or shared else ""
    math += "".join(PRODUCT.format(s) for s in ("f32", "f64") if f"@scanlib_product_{s}(" in text)
    attributes = f'attributes #0 = {{ nounwind }}\nattributes #1 = {{ nounwind "{THOROUGH.decode()}" }}'
    first = [VECTORISE] if any(k.vectorise for k in kernels) else []
    metadata = [*COMMON, *(line for k in kernels for line in k.metadata)]
    return "\n\n".join([*first, math, text, attributes, "\n".join(metadata)]) + "\n"
