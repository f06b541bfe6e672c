"""Hoisting: work of a step that is the same at every step moves out of the loop.

The frontier is hoisted: what the varying part of the step reads of the unvarying part.  Views and values
that are made where they are read (broadcasts, `eye`, lengths, …) stay inside: computing them once saves
nothing and would cost memory.  Branches of an `ifelse` stay inside too, for they may never be taken.  An
error in work that was hoisted is raised even when no step is run.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, Constant, FunctionGraph, Variable, toposort
from ..ops.base import Affine, Element, Pointwise, Region, Reshape, is_float
from ..ops.product import source_name
from ..ops.shape import shape_i
from .loop import Feed, Loop
from .rewrite import is_scan, map_steps, rebuild, rewrite

IFELSE = Region("ifelse")


def is_free(node: Apply) -> bool:
    """Whether the result costs nothing where it is read."""
    rule = node.op.lower
    if isinstance(rule, (Affine, Reshape)) or node.op is shape_i:
        return True
    if any(v.ndim for v in node.inputs):
        return False
    if isinstance(rule, Pointwise):  # of integers: mostly lengths, which are better known where they are used
        return not any(is_float(v.dtype) for v in (*node.inputs, *node.outputs))
    return isinstance(rule, Element) and rule.cheap


def eager(results: Sequence[Variable]) -> list[Apply]:
    """The nodes computed at every step, inputs first: not those needed by branches only."""
    needed: set[int] = set()
    stack = [v.owner for v in results if v.owner is not None]
    while stack:
        node = stack.pop()
        if id(node) in needed:
            continue
        needed.add(id(node))
        inputs = node.inputs[:1] if node.op.lower == IFELSE else node.inputs
        stack.extend(v.owner for v in inputs if v.owner is not None)
    return [node for node in toposort(results) if id(node) in needed]


class _Frontier:
    """The variables of one step graph that are to be hoisted."""

    def __init__(self, loop: Loop) -> None:
        self.found: dict[int, Variable] = {}
        self.seen: set[int] = set()
        results = loop.results()
        varying = {id(f.step) for f in loop.sequences} | {id(v) for s in loop.states for v in s.steps}
        fixed: set[int] = set()
        order = eager(results)
        for node in order:
            if node.op.lower != IFELSE and not any(id(v) in varying for v in node.inputs):
                fixed.add(id(node))
            else:
                varying.update(id(v) for v in node.outputs)
        self.fixed = fixed
        for node in order:
            if id(node) not in fixed:
                inputs = node.inputs[:1] if node.op.lower == IFELSE else node.inputs
                for v in inputs:
                    self.visit(v)
        for v in results:
            self.visit(v)

    def visit(self, v: Variable) -> None:
        """Hoist `v`, or what a free `v` is made of."""
        node = v.owner
        if node is None or id(node) not in self.fixed or id(v) in self.seen:
            return
        self.seen.add(id(v))
        if is_free(node):
            for u in node.inputs:
                self.visit(u)
        else:
            self.found[id(v)] = v


def hoist_from(loop: Loop) -> bool:
    """Move the unvarying work of one scan into new non-sequences; whether there was any."""
    frontier = list(_Frontier(loop).found.values())
    if not frontier:
        return False
    outside = {id(f.step): f.operand for f in loop.non_sequences}
    hoisted = rebuild(frontier, outside)
    inside: dict[int, Variable] = {}
    for v, operand in zip(frontier, hoisted):
        if isinstance(operand, Constant):
            inside[id(v)] = operand
            continue
        step = Variable(v.type, name=source_name(v))
        loop.non_sequences.append(Feed(step, operand))
        inside[id(v)] = step
    loop.replace_in_step(inside)
    return True


def _hoist(graph: FunctionGraph) -> FunctionGraph:
    def rule(node: Apply) -> Sequence[Variable] | None:
        if not is_scan(node):
            return None
        loop = Loop.open(node)
        return loop.close() if hoist_from(loop) else None

    return rewrite(graph, rule)


def hoist(graph: FunctionGraph) -> FunctionGraph:
    """Innermost scans first, so that work leaves as many loops as it can."""
    return _hoist(map_steps(hoist, graph))
