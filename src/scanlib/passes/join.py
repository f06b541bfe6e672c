"""Joining: scans over the same steps with a state in common run as one loop, which gives the outputs of both.

States are equal when they start alike and their next values are the same expression of equal inputs.  That is
found as automata are minimised: states that start alike are taken for equal until their next values differ.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ..graph import Apply, Constant, FunctionGraph, Variable, ancestors, toposort
from ..ops.index_rules import Span
from ..ops.indexing import subtensor
from ..ops.scan_op import spec_of
from .hoist import is_free
from .loop import Fed, Feed, Loop, Mapped
from .merge import Numbering, constant_key
from .reads import difference
from .reductions import with_variables
from .rewrite import everywhere, is_scan


def _operand_key(v: Variable) -> Hashable:
    return constant_key(v) if isinstance(v, Constant) else id(v)


class _Classes:
    """The states of some loops by class: those of one class have equal values at every step."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self.loops = loops
        self.numbers: dict[Hashable, int] = {}
        self.states = self._numbered(
            [[(s.taps, _operand_key(s.initial), s.next.type) for s in loop.states] for loop in loops]
        )
        while True:
            before = self._count()
            self.numberings = [self._numbering(*pair) for pair in zip(loops, self.states)]
            self.states = self._numbered(
                [
                    [(c, numbering.name(s.next)) for c, s in zip(classes, loop.states)]
                    for loop, classes, numbering in zip(loops, self.states, self.numberings)
                ]
            )
            if self._count() == before:
                break

    def _count(self) -> int:
        return len({c for classes in self.states for c in classes})

    def _numbered(self, keys: Sequence[Sequence[Hashable]]) -> list[list[int]]:
        numbers: dict[Hashable, int] = {}
        return [[numbers.setdefault(key, len(numbers)) for key in own] for own in keys]

    def _numbering(self, loop: Loop, classes: Sequence[int]) -> Numbering:
        names: dict[int, Hashable] = {}
        for role, feeds in (("sequence", loop.sequences), ("non-sequence", loop.non_sequences)):
            names.update({id(f.step): (role, _operand_key(f.operand), f.step.type) for f in feeds})
        for s, c in zip(loop.states, classes):
            names.update({id(v): ("state", c, tap, v.type) for v, tap in zip(s.steps, s.taps)})
        numbering = Numbering(names, self.numbers)
        numbering.visit(loop.results(), loop.to_spec().inputs)
        return numbering

    def same_condition(self) -> bool:
        conditions = [
            None if loop.condition is None else numbering.name(loop.condition)
            for loop, numbering in zip(self.loops, self.numberings)
        ]
        return len(set(conditions)) == 1

    def common_work(self) -> bool:
        """Whether two loops have a state in common or, having no states, anything that is computed."""
        a, b = self.loops
        if a.states or b.states:
            return bool(set(self.states[0]) & set(self.states[1]))
        first, second = (_computed(*pair) for pair in zip(self.loops, self.numberings))
        return bool(first & second)


def _computed(loop: Loop, numbering: Numbering) -> set[Hashable]:
    nodes = toposort(loop.results(), loop.to_spec().inputs)
    return {numbering.name(node.outputs[0]) for node in nodes if not is_free(node)}


def _wider(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)


@dataclass
class _Joined:
    """A loop that gives the outputs of another too; `places` says where, by the other's output numbers."""

    loop: Loop
    places: list[Fed | Mapped]

    @classmethod
    def make(cls, loop: Loop, other: Loop, classes: _Classes) -> _Joined:
        # Fresh inputs: two loops may have been made from the very same variables, bound to other operands.
        inside: dict[int, Variable] = {}
        for mine, its in ((loop.sequences, other.sequences), (loop.non_sequences, other.non_sequences)):
            known = {(_operand_key(f.operand), f.step.type): f for f in mine}
            for f in its:
                same = known.get((_operand_key(f.operand), f.step.type))
                if same is None:
                    same = Feed(f.step.clone(), f.operand)
                    mine.append(same)
                inside[id(f.step)] = same.step
        own = dict(zip(reversed(classes.states[0]), reversed(loop.states)))
        places: list[Fed | Mapped] = []
        new: list[tuple[Fed, Fed]] = []
        for s, c in zip(other.states, classes.states[1]):
            state = own.get(c)
            if state is None:
                steps = tuple(v.clone() for v in s.steps)
                state = own[c] = Fed(s.taps, steps, s.initial, s.next, s.keep, s.label, None)
                new.append((state, s))
            state.keep = _wider(state.keep, s.keep)
            inside.update({id(v): u for v, u in zip(s.steps, state.steps)})
            places.append(state)
        other.replace_in_step(inside)
        for state, s in new:
            state.next = s.next
            loop.states.append(state)
        for m in other.mapped:
            loop.mapped.append(Mapped(m.value, m.keep, m.label, None))
            places.append(loop.mapped[-1])
        return cls(loop, places)

    def variables(self, first: Apply, second: Apply) -> dict[int, Variable]:
        """What replaces the outputs of the two scans, by id."""
        mine: list[Fed | Mapped] = [*self.loop.states, *self.loop.mapped]
        own = {m.source: m for m in mine if m.source is not None}
        places = {id(m): k for k, m in enumerate(mine)}
        node = self.loop.close()[-1].owner
        assert node is not None
        made: dict[int, Variable] = {}
        for old, outputs in ((first, [own[k] for k in range(len(own))]), (second, self.places)):
            made[id(old.outputs[-1])] = node.outputs[-1]
            for v, keep, place in zip(old.outputs, spec_of(old).keep, outputs):
                new = _last(node.outputs[places[id(place)]], keep, place.keep)
                if new is not None:
                    made[id(v)] = new
        return made


def _last(trace: Variable, keep: int | None, kept: int | None) -> Variable | None:
    """The last `keep` steps of a trace of which `kept` are there; None when nothing is asked for."""
    if keep == kept:
        return trace
    if keep == 0:
        return None
    assert keep is not None
    return subtensor(trace, index=(Span(-keep), *(Span(),) * (trace.ndim - 1)))


def _equal_states(node: Apply) -> dict[int, Variable]:
    """One state for those of a loop that are equal at every step; new variables by the id of the old ones."""
    loop = Loop.open(node)
    if len({_operand_key(s.initial) for s in loop.states}) == len(loop.states):
        return {}
    (classes,) = _Classes([loop]).states
    first: dict[tuple[int, int | None], Fed] = {}
    inside: dict[int, Variable] = {}
    for s, c in zip(list(loop.states), classes):
        same = first.setdefault((c, s.keep), s)
        if same is not s:
            assert s.source is not None and same.source is not None
            loop.states.remove(s)
            loop.aliases[s.source] = same.source
            inside.update({id(v): u for v, u in zip(s.steps, same.steps)})
    if not inside:
        return {}
    loop.replace_in_step(inside)
    return {id(v): new for v, new in zip(node.outputs, loop.close())}


def _pair(first: Apply, second: Apply) -> dict[int, Variable]:
    """New variables for the outputs of two scans that become one, `first` being made before `second`."""
    loop, other = Loop.open(first), Loop.open(second)
    if (loop.condition is None) != (other.condition is None) or difference(loop.steps, other.steps) != 0:
        return {}
    classes = _Classes([loop, other])
    if not classes.common_work() or not classes.same_condition():
        return {}
    if any(v.owner is first for v in ancestors(second.inputs)):
        return {}
    return _Joined.make(loop, other, classes).variables(first, second)


def _join(graph: FunctionGraph) -> FunctionGraph:
    scans = list(filter(is_scan, graph.order))
    for k, node in enumerate(scans):
        made = _equal_states(node)
        for later in scans[k + 1 :]:
            made = made or _pair(node, later)
        if made:
            # One at a time: the operands of the others may have changed.
            return _join(with_variables(graph, made))
    return graph


join = everywhere(_join)
