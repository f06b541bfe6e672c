"""The statements of kernels, which both emitters print, and what statements and expressions write and read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from . import lowered
from .lowered import Expr, Int


@dataclass(frozen=True)
class Store:
    """buffer[offset] = value; the value has the buffer's dtype.

    Where `streaming`, the buffer is too large to stay in the caches and each cache line of it is written as a whole,
    by lanes of which the first of a group lies at the start of one.
    """

    buffer: int
    offset: Int
    value: Expr
    streaming: bool = False


@dataclass(frozen=True)
class SetDim:
    """dims[slot] = value."""

    slot: int
    value: Int


@dataclass(frozen=True)
class Assign:
    """Set loop-carried registers, all at once: every value is computed before any register changes."""

    names: tuple[str, ...]
    values: tuple[Expr, ...]


@dataclass(frozen=True)
class For:
    """for index in [start, stop): body.  `index` is the name of the loop variable."""

    index: str
    start: Int
    stop: Int
    body: list[Statement]


@dataclass(frozen=True)
class Lanes:
    """for index in [start, stop): body, `widths[0]` lanes at once as long as there are so many, then fewer.

    The lanes are independent; memory that depends on the lane lies at distance 1 from lane to lane.
    """

    index: str
    start: Int
    stop: Int
    body: list[Statement]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Matrix:
    """Elements of a buffer: that at (row, column) is at offset + row·strides[0] + column·strides[1]."""

    buffer: int
    offset: Int
    strides: tuple[Int, Int]


@dataclass(frozen=True)
class Product:
    """result = left @ packed, run by the core; `packed` is a buffer laid out in panels.

    `sizes` are (rows, inner, columns).  With a `period`, threads may share the columns: each computes those whose place
    modulo `period` is in its lanes, and waits for the others before it reads their part of the left operand.
    """

    left: Matrix
    packed: int
    result: Matrix
    sizes: tuple[Int, Int, Int]
    period: Int | None = None


@dataclass(frozen=True)
class If:
    condition: Expr
    then: list[Statement]
    otherwise: list[Statement] = field(default_factory=list)


@dataclass(frozen=True)
class Check:
    """The kernel stops with `check` and `values` unless the condition holds."""

    condition: Expr
    check: int
    values: tuple[Int, ...] = ()


@dataclass(frozen=True)
class Leave:
    """Leave the innermost enclosing step loop here (`until`)."""

    condition: Expr


Statement: TypeAlias = Store | SetDim | Assign | For | Lanes | Product | If | Check | Leave


@dataclass
class Kernel:
    """A native function: statements, the buffers' dtypes, and constant arrays it may inline."""

    name: str
    body: list[Statement]


def writes(statements: Iterable[Statement]) -> set[str]:
    """The names (as in Expr.reads) that running `statements` may change."""
    names: set[str] = set()
    for s in statements:
        if isinstance(s, Store):
            names.add(f"b{s.buffer}")
        elif isinstance(s, SetDim):
            names.add(f"d{s.slot}")
        elif isinstance(s, Product):
            names.add(f"b{s.result.buffer}")
        elif isinstance(s, Assign):
            names.update(f"r{n}" for n in s.names)
        elif isinstance(s, (For, Lanes)):
            names |= writes(s.body) | {s.index}
        elif isinstance(s, If):
            names |= writes(s.then) | writes(s.otherwise)
    return names


def stores(statements: Iterable[Statement]) -> list[Store]:
    """Every store of the statements, nested ones too."""
    return [s for s in nested(statements) if isinstance(s, Store)]


def products(statements: Iterable[Statement]) -> list[Product]:
    """Every product of matrices among the statements, nested ones too."""
    return [s for s in nested(statements) if isinstance(s, Product)]


def nested(statements: Iterable[Statement]) -> Iterable[Statement]:
    """The statements and those inside of them."""
    for s in statements:
        yield s
        if isinstance(s, (For, Lanes)):
            yield from nested(s.body)
        elif isinstance(s, If):
            yield from nested([*s.then, *s.otherwise])


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


def expressions(statements: Iterable[Statement]) -> Iterable[Int]:
    """Every expression of the statements, nested ones too."""
    for s in statements:
        if isinstance(s, Store):
            yield from (s.offset, s.value)
        elif isinstance(s, SetDim):
            yield s.value
        elif isinstance(s, Assign):
            yield from s.values
        elif isinstance(s, (For, Lanes)):
            yield from (s.start, s.stop)
            yield from expressions(s.body)
        elif isinstance(s, If):
            yield s.condition
            yield from expressions(s.then)
            yield from expressions(s.otherwise)
        elif isinstance(s, Check):
            yield from (s.condition, *s.values)
        elif isinstance(s, Product):
            for matrix in (s.left, s.result):
                yield from (matrix.offset, *matrix.strides)
            yield from s.sizes
        elif isinstance(s, Leave):
            yield s.condition


def length_choices(loop: For) -> dict[Expr, bool]:
    """Conditions on lengths that choose what is read along the innermost axis of `loop`, and how they hardly ever are.

    That is "this length is 1", where the index depends on it, and the one under which a constant stands for an element.
    """
    changed, one = writes(loop.body), lowered.constant(1, "int64")
    inner = {lowered.index(name) for name in _innermost(loop)}
    found: dict[Expr, bool] = {}
    varies: dict[Expr, bool] = {}
    # Made of sizes alone, so that it may be computed before the loop.
    sizes: dict[Expr, bool] = {}
    for e in below(expressions(loop.body)):
        varies[e] = e in inner or any(varies[a] for a in e.args)
        sizes[e] = e.op not in ("index", "load", "reg", "guard") and all(sizes[a] for a in e.args)
        if e.op != "select" or not sizes[e.args[0]] or not changed.isdisjoint(e.args[0].reads):
            continue
        condition, yes, no = e.args
        if e.dtype == "int64":
            if varies[no] and condition.op == "eq" and condition.args[1] is one:
                found[condition] = True
        elif "const" in (yes.op, no.op) and (varies[yes] or varies[no]):
            found[condition] = yes.op == "const"
    return found


def _innermost(loop: For) -> list[str]:
    below = [name for s in loop.body if isinstance(s, For) for name in _innermost(s)]
    return below or [loop.index]


def parts(roots: Iterable[Int]) -> list[Expr]:
    """Every expression that the roots are made of, once; addresses are not looked into."""
    seen: dict[Expr, None] = {}
    stack = [e for e in roots if isinstance(e, Expr)]
    while stack:
        e = stack.pop()
        if e not in seen:
            seen[e] = None
            stack.extend(() if e.op == "load" else e.args)
    return list(seen)


def below(roots: Iterable[Int]) -> Iterable[Expr]:
    """Every expression the roots are made of, once, operands first."""
    seen: set[Expr] = set()
    # What waits for its operands, which are on the stack above it, is followed by None.
    stack: list[Expr | None] = [e for e in roots if isinstance(e, Expr)]
    while stack:
        e = stack.pop()
        if e is None:
            ready = stack.pop()
            assert ready is not None
            yield ready
        elif e not in seen:
            seen.add(e)
            stack += (e, None, *e.args)


def coefficient(e: Int, index: Expr) -> Int | None:
    """c where `e` is c·index + something else; None when it is not of that form."""
    if e is index:
        return 1
    if isinstance(e, int) or not index.reads <= e.reads:
        return 0
    parts = [coefficient(a, index) for a in e.args]
    if all(part == 0 for part in parts):
        return 0
    if e.op == "index_add" and None not in parts:
        return lowered.add(parts[0] or 0, parts[1] or 0)
    if e.op == "index_sub" and None not in parts:
        return lowered.sub(parts[0] or 0, parts[1] or 0)
    if e.op == "index_mul":
        for a, other in ((0, 1), (1, 0)):
            if parts[other] == 0 and parts[a] is not None:
                return lowered.mul(parts[a] or 0, lowered.fold(e.args[other]))
    return None
