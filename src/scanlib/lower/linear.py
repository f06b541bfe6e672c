"""Linear recurrences: x[t] = a·x[t-1] + b, a few scalars in registers, in groups of steps.

A multiply-add that waits for the one before it is all such a loop does.  So within a group the steps are composed
first, starting from nothing: x[t+i] = A[i]·x[t] + B[i] with A[i] = a·A[i-1] and B[i] = a·B[i-1] + b, which no
group needs another one for; then a single multiply-add leads from group to group.  `a` and `b` may depend on
the step and on other such states.

The sums are the same in another order.  Where a product of `a`s could leave the range of the numbers (or is 0,
infinite or nan) a group is run step by step, so that what overflows or vanishes is what does in the plain loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import lowered
from ..lowered import Expr, Int
from ..statements import Assign, For, If, Statement, Store

GROUP = 8
# With more chains side by side a processor is busy anyway; so it is with more work beside them.
MOST_STATES = 2
MOST_WORK = 16
# |a| within these bounds keeps the product of a group among the normal numbers.
BOUNDS = {"float64": (2.0**-60, 2.0**60), "float32": (2.0**-14, 2.0**14)}


@dataclass(frozen=True)
class _Affine:
    """a·x + b; None stands for 1 (factor) and 0 (rest).

    `joined`: x stood in several terms, which one infinite x makes differ from a·x + b.
    """

    factor: Expr | None
    rest: Expr | None
    joined: bool = False


def _binary(op: str, a: Expr, b: Expr) -> Expr:
    return lowered.expr(op, (a, b), a.dtype)


def _negative(e: Expr) -> Expr:
    return lowered.expr("neg", (e,), e.dtype)


def _times(a: Expr | None, b: Expr | None) -> Expr | None:
    if a is None or b is None:
        return b if a is None else a
    return _binary("mul", a, b)


def _plus(a: Expr | None, b: Expr | None) -> Expr | None:
    if a is None or b is None:
        return b if a is None else a
    return _binary("add", a, b)


def _negated(part: _Affine, dtype: str) -> _Affine:
    factor = lowered.constant(-1, dtype) if part.factor is None else _negative(part.factor)
    return _Affine(factor, None if part.rest is None else _negative(part.rest), part.joined)


def _affine(e: Expr, x: Expr) -> _Affine | None:
    """`e` as a function of the register `x`; None when it is not affine, or does not read it."""
    if e is x:
        return _Affine(None, None)
    inside = [x.reads <= a.reads for a in e.args]
    parts = [_affine(a, x) if i else None for a, i in zip(e.args, inside)]
    if e.dtype != x.dtype or not any(inside) or any(i and p is None for i, p in zip(inside, parts)):
        return None
    if e.op == "neg" and parts[0] is not None:
        return _negated(parts[0], e.dtype)
    if e.op in ("add", "reassociated_add", "sub"):
        return _sum(e, parts)
    if e.op != "mul" or all(inside):
        return None
    k = inside.index(True)
    part, other = parts[k], e.args[1 - k]
    assert part is not None
    rest = None if part.rest is None else _times(part.rest, other)
    return _Affine(_times(part.factor, other), rest, part.joined)


def _sum(e: Expr, parts: Sequence[_Affine | None]) -> _Affine:
    first, second = parts
    if e.op == "sub" and second is not None:
        second = _negated(second, e.dtype)
    if first is not None and second is not None:
        one = lowered.constant(1, e.dtype)
        factor = _binary("add", first.factor or one, second.factor or one)
        return _Affine(factor, _plus(first.rest, second.rest), True)
    if first is not None:
        other = _negative(e.args[1]) if e.op == "sub" else e.args[1]
        return _Affine(first.factor, _plus(first.rest, other), first.joined)
    assert second is not None
    return _Affine(second.factor, _plus(second.rest, e.args[0]), second.joined)


def _work(expressions: Sequence[Expr]) -> int:
    """Operations on floats; more than the bound when something reads a register we do not know, or may trap."""
    seen: set[Expr] = set()
    stack = list(expressions)
    count = 0
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        stack.extend(e.args)
        if e.op in ("guard", "select"):
            return MOST_WORK + 1
        count += e.dtype.startswith("float") and e.op not in ("const", "load", "reg")
    return count


@dataclass(frozen=True)
class Step:
    """One step of a native loop: stores, then new values of all registers at once; `index` is the step."""

    index: Expr
    stores: Sequence[Statement]
    names: tuple[str, ...]
    values: tuple[Expr, ...]

    def registers(self) -> list[Expr]:
        return [lowered.register(n, v.dtype) for n, v in zip(self.names, self.values)]

    def statements(self) -> list[Statement]:
        return [*self.stores, Assign(self.names, self.values)]


def _chains(step: Step) -> list[tuple[int, _Affine]] | None:
    """The states in an order in which each depends on itself and on earlier ones only, with what they are."""
    registers = step.registers()
    if not 1 <= len(registers) <= MOST_STATES or any(x.dtype not in BOUNDS for x in registers):
        return None
    written = {f"b{s.buffer}" for s in step.stores if isinstance(s, Store)}
    expressions = [*step.values, *(s.value for s in step.stores if isinstance(s, Store))]
    if not all(isinstance(s, Store) for s in step.stores) or _work(expressions) > MOST_WORK:
        return None
    if any(written & e.reads for e in expressions):
        return None
    known = frozenset().union(*(x.reads for x in registers))
    if any({n for n in e.reads if n[0] == "r"} - known for e in expressions):
        return None
    order: list[tuple[int, _Affine]] = []
    earlier: frozenset[str] = frozenset()
    while len(order) < len(registers):
        ready = [
            (k, part)
            for k, (x, value) in enumerate(zip(registers, step.values))
            if not any(k == done for done, _ in order)
            and (value.reads & known) <= (earlier | x.reads)
            and (part := _affine(value, x)) is not None
        ]
        if not ready:
            return None
        order += ready
        earlier = earlier.union(*(registers[k].reads for k, _ in ready))
    return order


class _Group:
    """The steps first, first + 1, … of a group as expressions of the registers at its start."""

    def __init__(self, step: Step, chains: list[tuple[int, _Affine]], first: Int) -> None:
        self.stores: list[Statement] = []
        self.safe: list[Expr] = []
        registers = step.registers()
        now: list[Expr] = list(registers)
        sums = {k: _Affine(None, None) for k, _ in chains}
        for i in range(GROUP):
            at = lowered.Substitution({step.index: lowered.add(first, i), **dict(zip(registers, now))})
            following = list(now)
            for k, part in chains:
                x = registers[k]
                a = None if part.factor is None else lowered.as_expr(at(part.factor))
                b = None if part.rest is None else lowered.as_expr(at(part.rest))
                sums[k] = self._after(sums[k], a, b)
                following[k] = _applied(sums[k], x)
                self._bound(a)
            # The stores of a step may read its new values: they are the same expressions.
            new = dict(zip(step.values, following))
            late = lowered.Substitution(
                {step.index: lowered.add(first, i), **dict(zip(registers, now)), **new}
            )
            for s in step.stores:
                assert isinstance(s, Store)
                self.stores.append(Store(s.buffer, at(s.offset), lowered.as_expr(late(s.value))))
            now = following
        self.end = tuple(now)
        for k, part in chains:
            if part.joined:
                self.safe.append(_finite(now[k]))

    @staticmethod
    def _after(total: _Affine, a: Expr | None, b: Expr | None) -> _Affine:
        rest = total.rest if a is None or total.rest is None else _binary("mul", a, total.rest)
        if b is not None:
            rest = b if rest is None else _binary("add", rest, b)
        return _Affine(_times(a, total.factor), rest)

    def _bound(self, a: Expr | None) -> None:
        if a is None:
            return
        low, high = BOUNDS[a.dtype]
        if a.op == "const" and low <= abs(a.value) <= high:
            return
        size = lowered.expr("abs", (a,), a.dtype)
        for op, bound in (("ge", low), ("le", high)):
            holds = lowered.expr(op, (size, lowered.constant(bound, a.dtype)), "bool")
            if holds not in self.safe:
                self.safe.append(holds)


def _finite(e: Expr) -> Expr:
    difference = _binary("sub", e, e)
    return lowered.expr("eq", (difference, lowered.constant(0, e.dtype)), "bool")


def _applied(total: _Affine, x: Expr) -> Expr:
    value = x if total.factor is None else _binary("mul", total.factor, x)
    return value if total.rest is None else _binary("add", value, total.rest)


def in_groups(step: Step, name: str) -> list[Statement] | None:
    """The loop over the steps start … stop in groups; None when the step is not a linear recurrence."""
    chains = _chains(step)
    if chains is None:
        return None
    start, stop = lowered.bound("start"), lowered.bound("stop")
    groups = lowered.floordiv(lowered.maximum(lowered.sub(stop, start), 0), GROUP)
    first = lowered.add(start, lowered.mul(lowered.index(name), GROUP))
    group = _Group(step, chains, first)
    fast: list[Statement] = [*group.stores, Assign(step.names, group.end)]
    if group.safe:
        slow = For(step.index.value, first, lowered.add(first, GROUP), step.statements())
        holds = group.safe[0]
        for condition in group.safe[1:]:
            holds = lowered.logical("logical_and", holds, condition)
        fast = [If(holds, fast, [slow])]
    rest = lowered.add(start, lowered.mul(groups, GROUP))
    return [For(name, 0, groups, fast), For(step.index.value, rest, stop, step.statements())]
