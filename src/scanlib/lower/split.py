"""Loops over an axis that is made of parts: one loop per part, in which nothing asks where an index lies.

Gradients of slices that lie side by side are added up as arrays with zeros around them; an element of the sum asks
for every slice whether its index is inside.  Where the order of all ends can be told, each part has one answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .. import lowered
from ..lowered import Expr, Int
from ..statements import Assign, Check, For, If, Lanes, Statement, Store, below, expressions

MOST_PARTS = 8
# A comparison of index + rest with 0: whether it holds from its cut on (or else below it), and what the cut is.
_RULES = {"ge": (True, 0), "lt": (False, 0), "gt": (True, 1), "le": (False, 1)}
_MIRRORED = {"ge": "le", "lt": "gt", "gt": "lt", "le": "ge"}


@dataclass(frozen=True)
class _Cut:
    """A condition on the index that changes at `place`."""

    place: Int
    rising: bool


def split_loop(loop: For) -> list[For]:
    """`loop` in parts, if conditions on its index can be told for each of them."""
    cuts = _cuts(loop)
    places = _ordered([c.place for c in cuts.values()], loop)
    cuts = {e: c for e, c in cuts.items() if _is_told(c, places)}
    if not cuts or len(places) > MOST_PARTS + 1:
        return [loop]
    made = []
    for start, stop in pairwise(places):
        told = {
            e: lowered.constant(lowered.at_least(start, c.place) == c.rising, "bool") for e, c in cuts.items()
        }
        made.append(For(loop.index, start, stop, _Resolver(told).statements(loop.body)))
    return made


def _cuts(loop: For) -> dict[Expr, _Cut]:
    index = lowered.index(loop.index)
    found: dict[Expr, _Cut] = {}
    for e in below(expressions(loop.body)):
        if e.op not in _RULES or e.args[0].dtype != "int64":
            continue
        rest = dict(lowered.linear(lowered.sub(*e.args)))
        factor = rest.pop(index, 0)
        if abs(factor) != 1 or not all(part is None or part.op == "dim" for part in rest):
            continue
        rising, after = _RULES[e.op if factor == 1 else _MIRRORED[e.op]]
        place = lowered.from_linear({part: -factor * f for part, f in rest.items()})
        found[e] = _Cut(lowered.add(place, after), rising)
    return found


def _ordered(places: Sequence[Int], loop: For) -> list[Int]:
    """The ends of the parts, ascending: of `places` those whose order can be told."""
    made = [loop.start, loop.stop]
    if not lowered.at_least(loop.stop, loop.start):
        return made
    for place in places:
        at = next((k for k, other in enumerate(made) if lowered.at_least(other, place)), len(made))
        inside = 0 < at < len(made) and lowered.at_least(place, made[at - 1])
        if inside and not any(lowered.at_least(place, p) and lowered.at_least(p, place) for p in made):
            made.insert(at, place)
    return made


def _is_told(cut: _Cut, places: Sequence[Int]) -> bool:
    """Whether every part lies on one side of the cut."""
    return all(
        lowered.at_least(start, cut.place) or lowered.at_least(cut.place, stop)
        for start, stop in pairwise(places)
    )


class _Resolver:
    """Rewrites statements with conditions whose answer is known."""

    def __init__(self, told: Mapping[Expr, Expr]) -> None:
        self.made: dict[Expr, Expr] = dict(told)

    def statements(self, statements: Sequence[Statement]) -> list[Statement]:
        return [self.statement(s) for s in statements]

    def statement(self, s: Statement) -> Statement:
        if isinstance(s, Store):
            return Store(s.buffer, self.number(s.offset), self.expression(s.value))
        if isinstance(s, Assign):
            return Assign(s.names, tuple(map(self.expression, s.values)))
        if isinstance(s, (For, Lanes)):
            return replace(
                s, start=self.number(s.start), stop=self.number(s.stop), body=self.statements(s.body)
            )
        if isinstance(s, If):
            condition = self.expression(s.condition)
            return If(condition, self.statements(s.then), self.statements(s.otherwise))
        if isinstance(s, Check):
            return Check(self.expression(s.condition), s.check, tuple(map(self.number, s.values)))
        return s

    def number(self, value: Int) -> Int:
        return value if isinstance(value, int) else lowered.fold(self.expression(value))

    def expression(self, e: Expr) -> Expr:
        found = self.made.get(e)
        if found is None:
            args = tuple(map(self.expression, e.args))
            same = all(a is b for a, b in zip(args, e.args))
            found = self.made[e] = e if same else _rebuilt(e, args)
        return found


def _rebuilt(e: Expr, args: tuple[Expr, ...]) -> Expr:
    if e.op == "select":
        return lowered.select(*args)
    if e.op == "where":
        return lowered.where(*args)
    if e.op in ("logical_and", "logical_or"):
        return lowered.logical(e.op, *args)
    if e.op == "guard" and args[1].op == "const" and args[1].value:
        return args[0]
    rule = lowered.INDEX_RULES.get(e.op)
    if rule is not None:
        return lowered.as_expr(rule(*map(lowered.fold, args)))
    return lowered.expr(e.op, args, e.dtype, e.value, e.minimum)
