"""Loops over the same elements become one loop: less is compiled, and what one stores the next has in registers.

Such loops are nests of the same lengths around nothing but stores.  Whatever both of them touch, one of them writing
it, they touch at the same place in each iteration, and each iteration at a place of its own; so it does not matter
that the second loop no longer waits for the end of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import lowered
from ..lowered import Expr, Int
from ..statements import Assign, For, If, SetDim, Statement, Store, below, coefficient, expressions, writes
from .region import itemsize

# Bodies longer than this keep registers too busy.
MOST_STORES = 16


@dataclass(frozen=True)
class _Nest:
    """Loops around stores alone: index, start and stop of each, outermost first; where each buffer is touched."""

    bounds: tuple[tuple[str, Int, Int], ...]
    stores: tuple[Store, ...]
    places: dict[int, set[Expr]]
    size: int


class _Entry:
    """A statement of the result, and what it touches."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.nest = _nest(statement)
        self.writes = writes([statement])
        self.reads: set[str] = set()
        for e in expressions([statement]):
            if isinstance(e, Expr):
                self.reads |= e.reads

    @property
    def moves(self) -> bool:
        """Whether the loops after it may move before it; what fails may have to be done first."""
        return isinstance(self.statement, (For, Store, SetDim, Assign))

    def commutes(self, other: _Entry) -> bool:
        return self.writes.isdisjoint(other.reads | other.writes) and self.reads.isdisjoint(other.writes)


def fused(statements: Sequence[Statement]) -> list[Statement]:
    """The statements with loops joined where that changes no result."""
    made: list[_Entry] = []
    for s in statements:
        if isinstance(s, For) and s.index[0] == "t":
            s = replace(s, body=fused(s.body))
        elif isinstance(s, If):
            s = If(s.condition, fused(s.then), fused(s.otherwise))
        entry = _Entry(s)
        place = _partner(made, entry) if entry.nest is not None else None
        if place is None:
            made.append(entry)
        else:
            made[place] = _Entry(_joined(made[place].statement, s))
    return [e.statement for e in made]


def _partner(made: Sequence[_Entry], entry: _Entry) -> int | None:
    """The last of the loops in `made` that `entry` can become a part of."""
    for place in reversed(range(len(made))):
        other = made[place]
        if other.nest is not None and entry.nest is not None and _alike(other.nest, entry.nest):
            return place
        if not other.moves or not other.commutes(entry):
            return None
    return None


def _joined(first: Statement, second: Statement) -> Statement:
    if isinstance(first, For) and isinstance(second, For) and isinstance(first.body[0], For):
        return replace(first, body=[_joined(first.body[0], second.body[0])])
    assert isinstance(first, For) and isinstance(second, For)
    return replace(first, body=[*first.body, *second.body])


def _nest(s: Statement) -> _Nest | None:
    bounds: list[tuple[str, Int, Int]] = []
    while isinstance(s, For) and s.index[0] == "i":
        bounds.append((s.index, s.start, s.stop))
        if len(s.body) != 1 or not isinstance(s.body[0], For):
            break
        s = s.body[0]
    if not bounds or not isinstance(s, For) or not all(isinstance(b, Store) for b in s.body):
        return None
    stores = tuple(b for b in s.body if isinstance(b, Store))
    inner = lowered.index(bounds[-1][0])
    places: dict[int, set[Expr]] = {}
    for e in below(x for store in stores for x in (store.offset, store.value)):
        # What may fail stays where it is; what reads here and there is no vector.
        if e.op in ("guard", "select", "reg"):
            return None
        if e.op == "load":
            if coefficient(e.args[0], inner) not in (0, 1, -1):
                return None
            places.setdefault(e.value, set()).add(e.args[0])
    for store in stores:
        places.setdefault(store.buffer, set()).add(lowered.as_expr(store.offset))
    sizes = {itemsize(store.value.dtype) for store in stores}
    return _Nest(tuple(bounds), stores, places, sizes.pop()) if len(sizes) == 1 else None


def _alike(a: _Nest, b: _Nest) -> bool:
    """Whether `b` may run in the loops of `a`."""
    if a.bounds != b.bounds or a.size != b.size or len(a.stores) + len(b.stores) > MOST_STORES:
        return False
    written = {s.buffer for s in (*a.stores, *b.stores)}
    for buffer in written & a.places.keys() & b.places.keys():
        places = a.places[buffer] | b.places[buffer]
        if len(places) > 1 or not _apart(next(iter(places)), a.bounds):
            return False
    return True


def _apart(offset: Expr, bounds: Sequence[tuple[str, Int, Int]]) -> bool:
    """Whether each iteration has a place of its own: rows are at least as far from each other as they are long."""
    extent: Int = 1
    for name, start, stop in reversed(bounds):
        step = coefficient(offset, lowered.index(name))
        if step is None or not lowered.at_least(step, extent):
            return False
        extent = lowered.mul(step, lowered.sub(stop, start))
    return True
