"""Which loops over elements are emitted as vector code at once, instead of left to LLVM's vectoriser.

Such a loop has iterations that do not depend on each other, but for sums and products that may be reassociated,
and memory at distance 1 from iteration to iteration.  No buffer overlaps another, so nothing is to be tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import lowered
from .lower.cost import is_math
from .lowered import Expr, Int
from .statements import Assign, For, Statement, Store, coefficient, expressions, parts, writes

# Bytes of a vector, and of those that a short sum is spread over: each addition waits for the one before.  Where terms
# take longer to compute than that, as math functions do, the wider loop would be but more to compile.
VECTOR, SPREAD = 64, 256
FEW_OPERATIONS = 12
# A vector of integers is divided element by element.
_DIVISIONS = frozenset({"udiv", "urem", "floor_divide", "mod", "true_divide", "intpow", "power"})
# What changes nothing, and what LLVM calls the combination of all lanes.
_COMBINES = {"reassociated_add": (-0.0, "fadd"), "reassociated_mul": (1.0, "fmul")}


@dataclass(frozen=True)
class Total:
    """A register that a loop adds up (or multiplies), and that of the partial results, one per lane."""

    register: str
    partial: str
    combine: str
    dtype: str

    @property
    def neutral(self) -> Expr:
        return lowered.constant(_COMBINES[self.combine][0], self.dtype)

    @property
    def intrinsic(self) -> str:
        return _COMBINES[self.combine][1]


@dataclass(frozen=True)
class VectorLoop:
    """for index in [start, stop), `widths[0]` at once as long as there are so many: `body`; what is left: `rest`."""

    index: str
    start: Int
    stop: Int
    body: list[Statement]
    rest: list[Statement]
    widths: tuple[int, ...]
    totals: tuple[Total, ...]


def vector_loop(loop: For, known: Mapping[Expr, Expr]) -> VectorLoop | None:
    """`loop` in vectors, where that is possible; `known` replaces conditions that are decided."""
    if not all(isinstance(s, (Store, Assign)) for s in loop.body):
        return None
    name = f"l{loop.index}"
    lane = lowered.index(name)
    rest = _rebuilt(loop.body, {**known, lowered.index(loop.index): lane})
    totals = _totals(rest, name)
    if totals is None or not _independent(rest, lane, lowered.sub(loop.stop, loop.start)):
        return None
    partial = {
        lowered.register(t.register, t.dtype): lowered.register(t.partial, t.dtype) for t in totals.values()
    }
    body: list[Statement] = [
        Assign(tuple(totals[n].partial for n in s.names), tuple(Rebuild(partial)(v) for v in s.values))
        if isinstance(s, Assign)
        else s
        for s in rest
    ]
    widths = _widths(loop, rest, lane, bool(totals))
    if not widths:
        return None
    return VectorLoop(name, loop.start, loop.stop, body, rest, widths, tuple(totals.values()))


def left_to_llvm(loop: For) -> bool:
    """Whether LLVM's vectoriser may find a way where `vector_loop` found none: gathers, choices, sums of integers."""
    if not all(isinstance(s, (Store, Assign)) for s in loop.body):
        return False
    if any(e.op == "guard" for e in parts(expressions(loop.body))):
        return False
    # States of a recurrence wait for each other in any case.
    values = [(n, v) for s in loop.body if isinstance(s, Assign) for n, v in zip(s.names, s.values)]
    return all(v.dtype[0] in "iu" and lowered.register(n, v.dtype) in v.args for n, v in values)


class Rebuild:
    """Expressions with some of their parts replaced, folding again what becomes known."""

    def __init__(self, parts: Mapping[Expr, Expr]):
        self.done = dict(parts)

    def __call__(self, root: Expr) -> Expr:
        stack = [root]
        while stack:
            e = stack[-1]
            missing = [a for a in e.args if a not in self.done] if e not in self.done else []
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if e not in self.done:
                self.done[e] = self._made(e, [self.done[a] for a in e.args])
        return self.done[root]

    def _made(self, e: Expr, args: list[Expr]) -> Expr:
        if e.op in lowered.INDEX_RULES:
            return lowered.as_expr(lowered.INDEX_RULES[e.op](lowered.fold(args[0]), lowered.fold(args[1])))
        if e.op == "select":
            return lowered.select(*args)
        if e.op == "logical_not":
            return lowered.negation(args[0])
        return lowered.expr(e.op, tuple(args), e.dtype, e.value, e.minimum)


def _rebuilt(body: Sequence[Statement], parts: Mapping[Expr, Expr]) -> list[Statement]:
    new = Rebuild(parts)
    made: list[Statement] = []
    for s in body:
        if isinstance(s, Store):
            offset = lowered.fold(new(lowered.as_expr(s.offset)))
            made.append(replace(s, offset=offset, value=new(s.value)))
        elif isinstance(s, Assign):
            made.append(Assign(s.names, tuple(new(v) for v in s.values)))
    return made


def _totals(body: Sequence[Statement], lane: str) -> dict[str, Total] | None:
    """What the loop adds up; None when it sets registers in another way, or reads them on the way."""
    found: dict[str, Total] = {}
    terms: list[Expr] = []
    for s in body:
        if isinstance(s, Store):
            terms += [lowered.as_expr(s.offset), s.value]
            continue
        assert isinstance(s, Assign)
        for name, value in zip(s.names, s.values):
            own = lowered.register(name, value.dtype)
            if value.op not in _COMBINES or own not in value.args:
                return None
            if name in found and found[name].combine != value.op:
                return None
            found[name] = Total(name, f"{lane}.{name}", value.op, value.dtype)
            terms.append(value.args[1] if value.args[0] is own else value.args[0])
    registers = {f"r{name}" for name in found}
    return found if all(registers.isdisjoint(e.reads) for e in terms) else None


def _independent(body: Sequence[Statement], lane: Expr, count: Int) -> bool:
    """Whether each iteration touches its own element of what is stored, and lies beside the next in memory."""
    stored: dict[int, Expr] = {}
    for s in body:
        if isinstance(s, Store):
            offset = lowered.as_expr(s.offset)
            if coefficient(offset, lane) != 1 or not apart(
                stored.setdefault(s.buffer, offset), offset, lane, count
            ):
                return False
    varies, written = False, writes(body)
    for e in parts(expressions(body)):
        if e.op == "guard":
            return False
        if e.op == "load" and (
            not apart(stored.get(e.value, e.args[0]), e.args[0], lane, count)
            or not written.isdisjoint(e.args[0].reads)
        ):
            return False
        if lane.reads.isdisjoint(e.reads):
            continue
        varies = True
        if e.op == "select" or (e.op in _DIVISIONS and e.dtype[0] != "f"):
            return False
        if e.op == "load" and coefficient(e.args[0], lane) not in (1, -1):
            return False
    return varies


def apart(a: Expr, b: Expr, lane: Expr, count: Int) -> bool:
    """Whether two offsets are the same, or differ by whole rows of an array; a loop of `count` walks along one row."""
    if a is b:
        return True
    left, right = _terms(a), _terms(b)
    for term in list(left):
        if term in right:
            left.remove(term)
            right.remove(term)
    if len(left) != 1 or len(right) != 1 or any(t.op != "index_mul" for t in (left[0], right[0])):
        return False
    (x, size), (y, other) = left[0].args, right[0].args
    if size is not other or not lane.reads.isdisjoint(x.reads | y.reads | size.reads):
        return False
    return size.op != "const" or (isinstance(count, int) and abs(size.value) >= count)


def _terms(offset: Expr) -> list[Expr]:
    return [t for a in offset.args for t in _terms(a)] if offset.op == "index_add" else [offset]


def _widths(loop: For, body: Sequence[Statement], lane: Expr, adds_up: bool) -> tuple[int, ...]:
    """How many lanes at once: a vector of the largest type, more for short sums; what is left one by one."""
    values: list[Expr] = []
    for s in body:
        values += s.values if isinstance(s, Assign) else [s.value] if isinstance(s, Store) else []
    varying = [e for e in parts(values) if not lane.reads.isdisjoint(e.reads)]
    size = max(np.dtype(e.dtype).itemsize for e in [*values, *(e for e in varying if e.op == "load")])
    width = VECTOR // size
    short = len(varying) <= FEW_OPERATIONS and not any(map(is_math, varying))
    widths = [SPREAD // size] if adds_up and short else []
    widths += [width, 1]
    count = lowered.sub(loop.stop, loop.start)
    if isinstance(count, int):
        # What is left of a length that is known takes halves; LLVM writes out the shortest loops.
        widths = [w for w in (width >> k for k in range(width.bit_length())) if w <= count and count >= 4]
    return tuple(widths) if widths and widths[0] > 1 else ()
