"""Rows that decide where the gradient of a checkpointed scan keeps its states: the binomial schedule.

Source: A. Griewank and A. Walther, "Algorithm 799: Revolve", ACM TOMS 26:19 (2000).  With s states held at a time,
the first of which is that before the first step, and no step run forward more than r times, at most

    β(s, r) = (s + r)! / (s! r!)

steps can be reversed.  The fewest steps to run forward in all for l steps are r·l − β(s + 1, r − 1), r being the
least number with β(s, r) ≥ l; they are reached by holding next any state m steps on for which

    β(s, r − 2) ≤ m ≤ β(s, r − 1)   and   β(s − 1, r − 1) ≤ l − m ≤ β(s − 1, r).

A "step" of the schedule is a leaf: a run of steps of the scan which is reversed as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dims, lowered
from ..dims import Dim, Shape
from ..lowered import Expr, Int
from ..statements import If, Statement
from .base import Inference, Lowering, Op, Params, Stages
from .shape import no_flow, no_tangent

MOST_REPEATS = 64  # the plan looks no further; so many repeats serve any length with a handful of states


# revolve_split(length, slots): after how many of `length` leaves the next state is to be held, when the state
# before the first of them is, and `slots` are free or hold it; 0 for a single leaf.  With one slot the state before
# the last leaf is not held but used.


def split(length: int, slots: int) -> int:
    if length <= 1:
        return 0
    if slots == 1:
        return length - 1
    before, reach, repeats = 0, 1, 0
    while reach < length:
        repeats += 1
        before, reach = reach, reach * (slots + repeats) // repeats
    return min(before, length - before * slots // (slots + repeats - 1))


def _split_statements(ctx: Lowering) -> list[Statement]:
    length, slots = (lowered.as_expr(ctx.value(i)) for i in range(2))
    before, set_before, clear_before = ctx.accumulator("int64", lowered.constant(0, "int64"))
    reach, set_reach, clear_reach = ctx.accumulator("int64", lowered.constant(1, "int64"))
    repeats, set_repeats, clear_repeats = ctx.accumulator("int64", lowered.constant(0, "int64"))
    # From two slots on β(s, r) ≥ (r + 1)(r + 2) / 2, so that no more repeats than this are needed.
    root = lowered.expr(
        "sqrt", (lowered.cast(lowered.as_expr(lowered.mul(length, 2)), "float64"),), "float64"
    )
    most = lowered.choose(lowered.compare("gt", slots, 1), lowered.add(lowered.cast(root, "int64"), 1), 0)

    def repeat(index: tuple[Int, ...]) -> list[Statement]:
        r = lowered.add(index[0], 1)
        wider = lowered.floordiv(lowered.mul(reach, lowered.add(slots, r)), r)
        steps = [set_before(reach), set_reach(lowered.as_expr(wider)), set_repeats(lowered.as_expr(r))]
        return [If(lowered.compare("lt", reach, length), steps)]

    below = lowered.floordiv(
        lowered.mul(before, slots), lowered.maximum(_less(lowered.add(slots, repeats)), 1)
    )
    binomial = lowered.minimum(before, lowered.sub(length, below))
    result = lowered.choose(lowered.compare("eq", slots, 1), _less(length), binomial)
    result = lowered.choose(lowered.compare("le", length, 1), 0, result)
    return [
        clear_before, clear_reach, clear_repeats, *ctx.loop((most,), repeat), ctx.store(0, (), lowered.as_expr(result)),
    ]  # fmt: skip


def _less(value: Int) -> Int:
    return lowered.sub(value, 1)


revolve_split: Op = Op(
    "revolve_split",
    lambda ctx: [("int64", ())],
    lambda params, length, slots: split(int(length), int(slots)),
    Stages(_split_statements),
    no_flow,
    no_tangent,
)


# revolve_plan(steps, budget, state_bytes, step_bytes; label): the steps of a leaf and the number of slots, within
# `budget` bytes, if a slot takes state_bytes and a step of the leaf being reversed step_bytes.  The fewest repeats
# are chosen that reach; with r of them the reach is largest with one part in r + 1 given to the leaf, and the
# number of steps run again least with one part in r.


def plan(steps: int, budget: int, state_bytes: int, step_bytes: int) -> tuple[int, int]:
    room = budget - state_bytes
    if steps * step_bytes <= room:
        return max(steps, 1), 1
    leaf = slots = 1
    for repeats in range(1, MOST_REPEATS + 1):
        for parts in (max(repeats, 2), repeats + 1):
            leaf = max(min(budget // (step_bytes * parts), room // step_bytes), 1)
            slots = min((budget - leaf * step_bytes) // state_bytes, steps)
            if leaf * _reach(slots, repeats) >= steps:
                return leaf, min(slots, -(-steps // leaf))
    return leaf, min(slots, -(-steps // leaf))


def _reach(slots: int, repeats: int) -> float:
    """β in floating point, which is exact enough here and does not overflow."""
    reach = 1.0
    for r in range(1, repeats + 1):
        reach = reach * (slots + r) / r
    return reach


def _plan_infer(ctx: Inference) -> Sequence[tuple[str, Shape]]:
    steps, budget, state_bytes, step_bytes = (ctx.value(i) for i in range(4))
    least: Dim = dims.add(state_bytes, dims.choose("eq", steps, 0, 0, step_bytes))
    message = (
        f"scan '{ctx.params['label']}': memory_budget is {{0}} bytes, but one state and what one step needs to be "
        "reversed take {1}; give at least that many"
    )
    ctx.require("ge", budget, least, message)
    return [("int64", ()), ("int64", ())]


def _plan_statements(ctx: Lowering) -> list[Statement]:
    steps, budget, state_bytes, step_bytes = (ctx.value(i) for i in range(4))
    one = lowered.constant(1, "int64")
    leaf, set_leaf, clear_leaf = ctx.accumulator("int64", one)
    slots, set_slots, clear_slots = ctx.accumulator("int64", one)
    found, set_found, clear_found = ctx.accumulator("bool", lowered.constant(False, "bool"))
    reach, set_reach, clear_reach = ctx.accumulator("float64", lowered.constant(1.0, "float64"))
    room = lowered.sub(budget, state_bytes)
    single = lowered.compare("le", lowered.mul(steps, step_bytes), room)
    missing = lowered.negation(found)

    def attempt(repeats: Int, parts: Int) -> list[Statement]:
        share = lowered.floordiv(budget, lowered.mul(step_bytes, parts))
        most = lowered.maximum(lowered.minimum(share, lowered.floordiv(room, step_bytes)), 1)
        rest = lowered.floordiv(lowered.sub(budget, lowered.mul(leaf, step_bytes)), state_bytes)
        choose = [set_leaf(lowered.as_expr(most)), set_slots(lowered.as_expr(lowered.minimum(rest, steps)))]

        def widen(index: tuple[Int, ...]) -> list[Statement]:
            r = lowered.add(index[0], 1)
            top, bottom = (_float(v) for v in (lowered.add(slots, r), r))
            product = lowered.expr("mul", (reach, top), "float64")
            return [set_reach(lowered.expr("true_div", (product, bottom), "float64"))]

        covered = lowered.expr("mul", (_float(leaf), reach), "float64")
        enough = set_found(lowered.expr("ge", (covered, _float(steps)), "bool"))
        return [If(missing, [*choose, clear_reach, *ctx.loop((repeats,), widen), enough])]

    def repeat(index: tuple[Int, ...]) -> list[Statement]:
        repeats = lowered.add(index[0], 1)
        first = attempt(repeats, lowered.maximum(repeats, 2))
        return [*first, *attempt(repeats, lowered.add(repeats, 1))]

    leaves = lowered.floordiv(lowered.add(steps, _less(leaf)), leaf)
    return [
        clear_leaf,
        clear_slots,
        clear_found,
        If(
            single,
            [set_leaf(lowered.as_expr(lowered.maximum(steps, 1))), set_found(lowered.constant(True, "bool"))],
        ),
        *ctx.loop((MOST_REPEATS,), repeat),
        ctx.store(0, (), leaf),
        ctx.store(1, (), lowered.as_expr(lowered.maximum(lowered.minimum(slots, leaves), 1))),
    ]


def _float(value: Int) -> Expr:
    return lowered.cast(lowered.as_expr(value), "float64")


def _plan_reference(params: Params, *arrays: np.ndarray) -> tuple[Any, ...]:
    return tuple(np.asarray(v) for v in plan(*(int(a) for a in arrays)))


revolve_plan: Op = Op(
    "revolve_plan",
    _plan_infer,
    _plan_reference,
    Stages(_plan_statements),
    no_flow,
    no_tangent,
)
