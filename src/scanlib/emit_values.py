"""LLVM IR text for expressions: SSA values, each computed once where it is first needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TypeAlias

from . import lowered
from .errors import InternalError
from .llvm_metadata import Metadata
from .llvm_types import literal, llvm_type, memory_type, placeholders, short, template
from .lowered import Expr, Int, as_expr
from .statements import Kernel, below, coefficient, expressions, may_trap, writes
from .vector_math import shared_symbol, worth_sharing

MATH = re.compile(r"@scanlib\.(\w+)\.(\w+)\(")
# What may be computed earlier than it is needed: arithmetic on lengths and positions, which cannot fail.
_EARLY = frozenset({"index_add", "index_sub", "index_mul", "minimum", "maximum", "row"})
# What must not be computed again and again in a loop (a division of floats hardly matters).
_DEAR = re.compile("call |[us]div |[us]rem ")
# More values than this that stay the same are left in their loop: of the 32 registers none would be free, and what does
# not fit in them would be loaded again at each step, as it is where it is left.
MOST_STAYING = 48
# Loops of known length up to this are expected to be unrolled, so that what is read in them can stay in registers.
UNROLLED = 16
# Lines of text, and places where lines come in later.
Lines: TypeAlias = list["str | Lines"]


def flat(lines: Lines) -> Iterable[str]:
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            yield from flat(line)


def _outside(called: re.Match[str]) -> str:
    """What is called where time does not matter: one copy for all places, unless it is short."""
    name = called.groups()
    return f"{shared_symbol(*name)}(" if worth_sharing(*name) else called[0]


class ValueEmitter:
    """Prints the values of one kernel.

    Invariant: `scopes` holds, innermost last, the values computed so far that dominate the current
    position; a value is dropped as soon as something it reads from may have changed.  `heads` has the place before
    each scope, where arithmetic goes that does not depend on what is in it: once per kernel or loop, not once per
    iteration and loop, for LLVM to find that out takes it long.

    Inside Lanes, what depends on the lane is a vector of `width` lanes, the first of which is `base`.
    """

    def __init__(
        self,
        kernel: Kernel,
        dtypes: Sequence[str],
        step_slots: Mapping[str, int],
        scalars: frozenset[int],
        first_metadata: int,
    ):
        self.kernel = kernel
        self.dtypes = dtypes
        self.step_slots = step_slots
        self.lines: Lines = []
        self.entry: list[str] = []
        self.scopes: list[dict[Expr, str]] = [{}]
        self.heads: list[Lines] = [[]]
        self.counter = 0
        self.block = "body"
        self.pointers: dict[int, str] = {}
        self.registers: dict[str, str] = {}
        self.allocated: set[str] = set()
        self.entry_dims: dict[int, str] = {}
        self.written = writes(kernel.body)
        # Buffers of one number that is there when the kernel begins, as names of what is read.
        self.scalars = frozenset(f"b{b}" for b in scalars) - self.written
        self.step_exits: list[str] = []
        self.steps: list[str] = []
        self.metadata = Metadata(kernel.name, first_metadata)
        self.alias = self.metadata.alias
        self.lane: Expr | None = None
        self.base: Expr | None = None
        self.width = 1
        self.versioned = False
        self.known: Mapping[Expr, Expr] = {}
        self.rare = False
        self.streams = False
        # What changes in each of the loops around the current position, and whether LLVM has to move work out of one:
        # of a loop over steps whatever stays the same in it, of one over elements what is dear.
        self.changing: list[set[str]] = []
        self.step_changes: list[set[str]] = []
        # Of each loop over steps: what states are kept in, and `delay` of what depends on them.
        self.step_states: list[set[str]] = []
        self.delays: list[dict[Expr, int]] = []
        self.staying, self.dear = 0, False
        # Loops over elements around the current position that are not unrolled, by what they change.
        self.long: list[set[str]] = []

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

    def head(self) -> Lines:
        """A place for lines that come here later; the current block must go on to the scope that has it."""
        made: Lines = []
        self.lines.append(made)
        return made

    @contextmanager
    def scope(self, head: Lines, known: Mapping[Expr, str] | None = None) -> Iterator[None]:
        """Values computed inside are known there only, and so are those given."""
        self.scopes.append(dict(known or {}))
        self.heads.append(head)
        yield
        self.scopes.pop()
        self.heads.pop()

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

    def address(self, buffer: int, offset: Expr) -> str:
        type = memory_type(self.dtypes[buffer])
        if offset.op == "index_add":
            row, place = offset.args
            first, second = self.emit(row), self.emit(place)
            if first[0] == "%" and self.level(row) < self.level(place):
                base = self.emit(lowered.expr("row", (row,), "int64", buffer))
                # The row alone may begin outside of the buffer, as in x[i - 5].
                return self.value(f"getelementptr {type}, ptr {base}, i64 {second}")
        base = self.pointer(buffer)
        return self.value(f"getelementptr inbounds {type}, ptr {base}, i64 {self.emit(offset)}")

    def row(self, e: Expr) -> str:
        """The address of a row that a loop walks along: opaque, for LLVM takes it long to weigh what it is made of."""
        type = memory_type(self.dtypes[e.value])
        address = f"getelementptr {type}, ptr {self.pointer(e.value)}, i64 {self.emit(e.args[0])}"
        return self.value(f"call ptr @llvm.strip.invariant.group.p0(ptr {self.value(address)})")

    def lanes_address(self, buffer: int, offset: Expr) -> str:
        """The address of what lies lane by lane: of the first lane, or of the last where they lie backwards."""
        assert self.lane is not None and self.base is not None
        distance = coefficient(offset, self.lane)
        if distance not in (1, -1):
            raise InternalError(f"{self.kernel.name}: lanes of buffer {buffer} do not lie next to each other")
        lowest = self.base if distance == 1 else lowered.add(self.base, self.width - 1)
        return self.address(buffer, as_expr(lowered.Substitution({self.lane: lowest})(offset)))

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
            # Lanes of memory have one address, that of the first.
            lazy = x.op in ("select", "guard") or (x.op == "load" and self.lanes_of(x) > 1)
            if not ready and x.args and not lazy:
                stack.append((x, True))
                stack.extend((a, False) for a in reversed(x.args))
                continue
            self.place(x)
        result = self.lookup(e)
        if result is None:
            raise InternalError(f"{self.kernel.name}: value of {e.op} was lost while it was computed")
        return result

    def place(self, e: Expr) -> None:
        """Computes `e`, in the outermost scope where it can be: its operands are known, or it is no `_EARLY` one."""
        here = level = len(self.scopes) - 1
        if self.is_given(e):
            level = 0
        elif self.is_early(e):
            level = max(self.level(a) for a in e.args)
        if level == here:
            self.staying += not self.rare and self.stays(e)
            self.scopes[level][e] = self.compute(e)
            if self.delays and not self.step_states[-1].isdisjoint(e.reads):
                self.delays[-1][e] = 1 + max((self.delay(a) for a in e.args), default=0)
            return
        lines, self.lines = self.lines, self.heads[level + 1]
        self.scopes[level][e] = self.compute(e)
        self.lines = lines

    def stays(self, e: Expr) -> bool:
        """Whether `e` may be the same in each round of the innermost loop, or at every step, in a loop over steps.

        What reads nothing is made of constants, which LLVM folds where they are, or of positions in inner loops.
        Positions cost nothing worth moving: most are parts of addresses. Registers are no memory that is read.
        """
        if not self.step_changes or not e.reads or e.op == "reg" or e.dtype in ("int64", "bool"):
            return False
        # A loop inside of a step reads the same at each of its positions, or lanes: others than in the round before.
        names = [name for name in e.reads if name[0] != "l"]
        unrolled = all(map(e.reads.isdisjoint, self.long))
        at_each_step = unrolled and bool(names) and self.step_changes[-1].isdisjoint(names)
        return at_each_step or self.changing[-1].isdisjoint(e.reads)

    @property
    def thorough(self) -> bool:
        """Whether LLVM has to move work out of loops: something dear, or as much as registers can hold meanwhile."""
        return self.dear or 0 < self.staying <= MOST_STAYING

    def is_given(self, e: Expr) -> bool:
        """Whether the value of `e` is there when the kernel begins, and does not change."""
        if e.op == "index":
            return e is not self.lane and f"d{self.step_slots[e.value]}" not in self.written
        if e.op == "load":
            return f"b{e.value}" in self.scalars and e.args[0].op == "const"
        return e.op in ("const", "bound") or (e.op == "dim" and f"d{e.value}" not in self.written)

    def is_early(self, e: Expr) -> bool:
        if self.lanes_of(e) != 1:
            return False
        if e.dtype != "int64":
            # What is made of such numbers alone, by operations on floats, which cannot fail.
            of_scalars = bool(e.reads) and e.reads <= self.scalars and e.op not in ("guard", "select")
            return of_scalars and all(a.dtype[0] in "fb" for a in e.args)
        positive = e.op in ("udiv", "urem") and e.args[1].minimum is not None and e.args[1].minimum > 0
        return positive or e.op in _EARLY

    def level(self, e: Expr) -> int:
        """The scope in which `e` is known."""
        return next(i for i in reversed(range(len(self.scopes))) if e in self.scopes[i])

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
        if e.op == "row":
            return self.row(e)
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
        if self.adds_late_product(e):
            return self.fused(e, values[0], lanes)
        if e.op in ("where", "select"):
            t = llvm_type(e.dtype, lanes)
            return self.value(
                f"select {llvm_type('bool', lanes)} {values[0]}, {t} {values[1]}, {t} {values[2]}"
            )
        text = template(e).format(*values, **placeholders(e.args[-1].dtype, lanes))
        if _DEAR.match(text) and not self.rare and not self.is_early(e):
            self.dear |= bool(self.changing) and self.changing[-1].isdisjoint(e.reads)
        return self.value(MATH.sub(_outside, text) if self.rare else text)

    def adds_late_product(self, e: Expr) -> bool:
        """Whether `e` is x·y ± z·w in a loop over steps, where z·w is there later than x·y, and neither used elsewhere.

        Left to itself LLVM fuses the sum with x·y, and the next step waits for a product and a sum.
        """
        if e.op not in ("add", "sub") or e.dtype[0] != "f" or not self.delays:
            return False
        early, late = e.args
        if not early.op == late.op == "mul" or self.delay(early) >= self.delay(late):
            return False
        return self.uses[early] == self.uses[late] == 1

    @cached_property
    def uses(self) -> Counter[Expr]:
        """In how many places of the kernel each expression is used."""
        roots = [as_expr(e) for e in expressions(self.kernel.body)]
        return Counter([*roots, *(a for e in below(roots) for a in e.args)])

    def fused(self, e: Expr, early: str, lanes: int) -> str:
        z, w = (self.operand(a, lanes) for a in e.args[1].args)
        names = placeholders(e.dtype, lanes)
        if e.op == "sub":
            z = self.value(f"fneg {names['t']} {z}")
        return self.value(
            "call {t} @llvm.fmuladd.{m}({t} {0}, {t} {1}, {t} {2})".format(z, w, early, **names)
        )

    def delay(self, e: Expr) -> int:
        """How many operations after the states of the innermost loop over steps `e` is there; 0 if without them."""
        return self.delays[-1].get(e, 0)

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
        if lanes == 1:
            address, align = self.address(buffer, e.args[0]), ""
        else:
            address, align = self.lanes_address(buffer, e.args[0]), f", align {self.alignment(buffer)}"
        type = memory_type(self.dtypes[buffer], lanes)
        raw = self.value(f"load {type}, ptr {address}{align}{self.alias(buffer)}")
        if self.lane is not None and lanes > 1 and coefficient(e.args[0], self.lane) == -1:
            order = ", ".join(f"i32 {i}" for i in reversed(range(lanes)))
            raw = self.value(f"shufflevector {type} {raw}, {type} poison, <{lanes} x i32> <{order}>")
        return self.as_bool(e, raw)

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
        head = self.head()
        self.line(f"br i1 {condition}, label %{labels[0]}, label %{labels[1]}")
        arms = []
        for label, arm in zip(labels, e.args[1:]):
            self.start_block(label)
            with self.scope(head):
                value = self.emit(arm)
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
