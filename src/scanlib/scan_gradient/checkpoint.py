"""The reverse of a checkpointed scan: a few states are held, and the steps between them run again.

The steps are cut into leaves, runs of consecutive steps of which the first may be shorter.  The reverse is one scan
that walks the binomial schedule (ops/revolve.py).  It holds states in slots, a stack: slot k has the state before a
run of leaves that have not been reversed, of which there are lengths[k], and which end where those of slot k + 1
begin.  Each of its steps

    loads the state of the topmost slot, and runs forward over as many leaves as `revolve_split` says;
    if one leaf is left from there on, reverses it: the plain gradient of a scan over its steps;
    otherwise stores the state it has reached in the next slot.

The leaves are reversed from the last to the first, so that the cotangents of the states are states of that scan;
those of non-sequences are summed, and those of sequences written where they belong.  All of these and the slots are
updated in place (lower/in_place.py).  `checkpoint=N` is the schedule for leaves of N steps and a slot for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..differentiate import pullback, total
from ..graph import Apply, Constant, TensorType, Variable, toposort
from ..ops.base import is_float
from ..ops.history import history, pad_end, pad_start
from ..ops.revolve import revolve_plan, revolve_split
from ..ops.scan_op import ScanSpec, operands_of, scan_op, spec_of
from ..ops.shape import dim, dims_of, int_constant
from .builder import ScanBuilder, State
from .reverse import Reverse, same_length, substitute_all
from .tails import added, split_tail

# What checkpoint="auto" may hold without a memory_budget: so many bytes or, if that is more, this many times the
# geometric mean of what a state and a step take, times the root of the number of steps.  With 2, no step would run
# forward more than once before its leaf; with 1.3, about half of them do so twice, for two thirds of the memory.
DEFAULT_BYTES = 1 << 18
DEFAULT_SHARE = 1.3
INDEX = TensorType("int64", ())


def reverse_by_leaves(
    node: Apply, cotangents: Sequence[Variable | None], wanted: Sequence[bool]
) -> list[Variable | None]:
    """`reverse` for a scan with `checkpoint`."""
    spec = replace(spec_of(node), checkpoint=None, memory_budget=None)
    plain = Reverse(scan_op.apply(node.inputs, {**node.params, "spec": spec}), cotangents, wanted)
    gradient = plain.run()
    if not plain.carried:
        return gradient
    return _Leaves(node, cotangents, plain, gradient).run()


@dataclass(frozen=True)
class Cut:
    """How the steps are cut: into leaves of `length` steps, the first being shorter; so many slots."""

    steps: Variable
    length: Variable
    slots: Variable

    @cached_property
    def leaves(self) -> Variable:
        return (self.steps + self.length - 1) // self.length

    @cached_property
    def missing(self) -> Variable:
        """Steps that the first leaf is short of."""
        return self.leaves * self.length - self.steps

    def start(self, leaf: Variable) -> Variable:
        """The first step of a leaf."""
        from ..tensor import maximum, minimum

        made: Variable = minimum(maximum(leaf * self.length - self.missing, 0), self.steps)
        return made


class _Leaves:
    """One run of `reverse_by_leaves`; `gradient` is the plain one, which is not computed but looked at."""

    def __init__(
        self,
        node: Apply,
        cotangents: Sequence[Variable | None],
        plain: Reverse,
        gradient: Sequence[Variable | None],
    ) -> None:
        from ..tensor import minimum

        self.node, self.plain, self.gradient = node, plain, gradient
        self.spec, self.operands = spec_of(node), operands_of(node)
        self.total = node.outputs[-1] if self.spec.until else self.operands.steps
        limit = self.spec.truncate_gradient
        self.truncated = limit >= 0
        # Steps before these are not reversed.
        self.steps = minimum(self.total, limit) if self.truncated else self.total
        self.first: Variable | int = self.total - self.steps if self.truncated else 0
        first, second = 1 + self.spec.sequences, 1 + self.spec.sequences + len(self.spec.states)
        self.to_sequences = [i for i, g in enumerate(gradient[1:first]) if g is not None]
        self.to_constants = [i for i, g in enumerate(gradient[second:]) if g is not None]
        self.dense, self.last = self._received(cotangents)
        carried = {k for k in self.last if k in plain.carried}
        self.fed = sorted(carried.union(plain.fed))
        self.cut = cut(node, self.steps, bytes_of_states(node), self._bytes_of_step())
        self.builder = ScanBuilder(f"gradient of {self.spec.name} by leaves")

    def run(self) -> list[Variable | None]:
        from ..tensor import maximum

        self._declare()
        self._step()
        # The last leaf is never stored, so that each but the first is reached once from its left, and there is a
        # step at all where there are no leaves.
        built = self.builder.build(maximum(self.cut.leaves * 2, 1))
        return self._collect([trace[-1] for trace in built.states])

    def _received(
        self, cotangents: Sequence[Variable | None]
    ) -> tuple[dict[int, Variable], dict[int, Variable]]:
        """By output: cotangents of whole traces, and cotangents of the last values of states (depth many)."""
        dense: dict[int, Variable] = {}
        last: dict[int, Variable] = {}
        for k, g in enumerate(cotangents[:-1]):
            if g is None or not is_float(self.node.outputs[k].dtype):
                continue
            whole, tail = split_tail(g)
            if tail is not None and k < len(self.spec.states):
                depth = self.spec.depths[k]
                if (tail.type.shape[0] or 0) <= depth:
                    last[k] = pad_start(tail, int_constant(depth))
                    tail = None
            both = total(
                [v for v in (whole, None if tail is None else pad_start(tail, self.total)) if v is not None]
            )
            if both is not None and k in self.plain.carried:
                dense[k] = both
        return dense, last

    def _bytes_of_step(self) -> Variable:
        """What a step of a leaf takes until it is reversed: the traces read, and the cotangents of sequences."""
        from ..passes.shapes import Shapes

        forward = self.plain.node
        made = [g for g in self.gradient if g is not None]
        read = {v.index: v for n in toposort(made) for v in n.inputs if v.owner is forward}
        rows = [v for v in read.values() if v.ndim]
        rows += [self.operands.sequences[i] for i in self.to_sequences]
        shapes = Shapes()
        return _bytes([(v.dtype, [shapes.dim(v, axis) for axis in range(1, v.ndim)]) for v in rows])

    # The states of the scan over the schedule.

    def _declare(self) -> None:
        from ..tensor import set_subtensor, zeros, zeros_like

        self.top = self._state(int_constant(0), "top slot")
        self.left = self._state(self.cut.leaves, "leaves left")
        lengths = zeros((self.cut.slots,), dtype="int64")
        self.lengths = self._state(set_subtensor(lengths[0], self.cut.leaves), "leaves of a slot")
        self.slots: list[State] = []
        for label, depth, start in zip(self.spec.labels, self.spec.depths, self._starts()):
            held = zeros((self.cut.slots, depth, *_lengths(start)[1:]), dtype=start.dtype)
            self.slots.append(self._state(set_subtensor(held[0], start), f"slots of {label}"))
        self.lambdas: dict[int, State] = {}
        for k in self.fed:
            initial = self.operands.initials[k]
            start = self.last.get(
                k, zeros((self.spec.depths[k], *_lengths(initial)[1:]), dtype=initial.dtype)
            )
            self.lambdas[k] = self._state(start, f"cotangent of {self.spec.labels[k]}")
        self.sums = {
            i: self._state(zeros_like(self.operands.non_sequences[i]), f"cotangent of non-sequence {i}")
            for i in self.to_constants
        }
        self.rows: dict[int, State] = {}
        for i in self.to_sequences:
            s = self.operands.sequences[i]
            self.rows[i] = self._state(
                zeros((self.steps, *_lengths(s)[1:]), dtype=s.dtype), f"cotangent of sequence {i}"
            )

    def _state(self, value: Variable, label: str) -> State:
        from ..tensor import shape_padleft

        return self.builder.state(shape_padleft(value), label)

    def _starts(self) -> list[Variable]:
        """The states before the first step that is reversed."""
        initials = [v[:depth] for v, depth in zip(self.operands.initials, self.spec.depths)]
        return (
            self._advance(initials, int_constant(0), self.total - self.steps) if self.truncated else initials
        )

    # Its step.

    def _step(self) -> None:
        from ..tensor import cast, eq, le, set_subtensor, switch

        cut, k, length = self.cut, self.top.value, self.lengths.value[self.top.value]
        ahead = revolve_split(length, cut.slots - k)
        leaf = self.left.value - length + ahead
        base, start = cut.start(self.left.value - length), cut.start(leaf)
        reversing = le(length - ahead, 1)
        count = switch(reversing, cut.start(leaf + 1) - start, 0)
        held = [s.value[k] for s in self.slots]
        reached = self._advance(held, self.first + base, start - base)
        self._reverse_leaf(reached, start, count)
        stored = 1 - cast(reversing, "int64")
        free = slice(k + 1, k + 1 + stored)
        for state, value in zip(self.slots, reached):
            state.next = set_subtensor(state.value[free], value)
        lengths = set_subtensor(self.lengths.value[k], ahead)
        self.lengths.next = set_subtensor(lengths[free], length - ahead)
        # A slot whose only leaf has been reversed is given up.
        self.top.next = k + stored - cast(eq(ahead, 0), "int64")
        self.left.next = self.left.value - 1 + stored
        self.builder.condition = le(self.left.next, 0)

    def _advance(self, states: Sequence[Variable], start: Variable, count: Variable) -> list[Variable]:
        """The states `count` steps on."""
        node = scan_op.apply(self._inputs(states, start, count), {"spec": self._run_of(())})
        return last_rows(states, node)

    def _inputs(self, states: Sequence[Variable], start: Variable, count: Variable) -> list[Variable]:
        rows = [s[start : start + count] for s in self.operands.sequences]
        return [count, *rows, *states, *self.operands.non_sequences]

    def _run_of(self, mapped: Sequence[int]) -> ScanSpec:
        """The plain scan over some steps: the states, and these of the mapped outputs."""
        spec = self.spec
        chosen = [*range(len(spec.states)), *mapped]
        return replace(
            spec,
            outputs=tuple(spec.outputs[k] for k in chosen),
            mapped=len(mapped),
            until=False,
            keep=(None,) * len(chosen),
            labels=tuple(spec.labels[k] for k in chosen),
            truncate_gradient=-1,
            checkpoint=None,
            memory_budget=None,
        )

    def _reverse_leaf(self, states: Sequence[Variable], start: Variable, count: Variable) -> None:
        """Take the cotangents through a leaf; with no steps in it they stay what they are."""
        from ..tensor import set_subtensor, zeros_like

        mapped = [k for k in self.dense if k >= len(self.spec.states)]
        inputs = self._inputs(states, self.first + start, count)
        stand_ins = [v.clone() for v in inputs]
        leaf = scan_op.apply(stand_ins, {"spec": self._run_of(mapped)})
        first, second = 1 + self.spec.sequences, 1 + self.spec.sequences + len(self.spec.states)
        last = last_rows(stand_ins[first:second], leaf)
        places = {k: k if k < len(last) else len(last) + mapped.index(k) for k in self.dense}
        from_, to = self.first + start, self.first + start + count
        outputs = [*(leaf.outputs[places[k]] for k in self.dense), *(last[k] for k in self.fed)]
        received = [*(g[from_:to] for g in self.dense.values()), *(s.value for s in self.lambdas.values())]
        wrt = [*(stand_ins[1 + i] for i in self.rows), *(stand_ins[first + k] for k in self.fed)]
        wrt += [stand_ins[second + i] for i in self.sums]
        made = iter(substitute_all(pullback(outputs, received, wrt), dict(zip(stand_ins, inputs))))
        for state in self.rows.values():
            g = next(made)
            state.next = state.value if g is None else set_subtensor(state.value[start : start + count], g)
        for state in self.lambdas.values():
            g = next(made)
            state.next = zeros_like(state.value) if g is None else g
        for state in self.sums.values():
            g = next(made)
            state.next = state.value if g is None else added(state.value, g)

    # What comes out of it.

    def _collect(self, values: Sequence[Variable]) -> list[Variable | None]:
        from ..tensor import le, switch, zeros_like

        final = dict(zip(map(id, self.builder.states), values))
        results: list[Variable | None] = [None] * len(self.gradient)
        for i, state in self.rows.items():
            g, s = final[id(state)], self.operands.sequences[i]
            g = pad_start(g, self.total) if self.truncated else g
            results[1 + i] = g if same_length(self.total, s) else pad_end(g, dim(s, 0))
        first, second = 1 + self.spec.sequences, 1 + self.spec.sequences + len(self.spec.states)
        for k, state in self.lambdas.items():
            if self.gradient[first + k] is not None:
                g = final[id(state)]
                kept = le(self.total, self.spec.truncate_gradient)
                results[first + k] = switch(kept, g, zeros_like(g)) if self.truncated else g
        for i, state in self.sums.items():
            results[second + i] = final[id(state)]
        return results


def last_rows(initials: Sequence[Variable], node: Apply) -> list[Variable]:
    """The last values of each state, as many as its depth."""
    from ..tensor import specify_shape

    last = []
    for v, trace, depth in zip(initials, node.outputs, spec_of(node).depths):
        rows = history(v, trace)[-depth:]
        # Known to be so many, they are part of the history of the run that begins with them.
        last.append(specify_shape(rows, (depth, *(None,) * (rows.ndim - 1))))
    return last


def _lengths(v: Variable) -> list[Variable | int]:
    """The dims of `v`, as numbers where they are known."""
    return [dim(v, axis) if d is None else d for axis, d in enumerate(v.type.shape)]


# How long the leaves are, and how many slots there are.


def cut(node: Apply, steps: Variable, state_bytes: Variable, step_bytes: Variable) -> Cut:
    from ..tensor import cast, maximum, sqrt

    spec = spec_of(node)
    if isinstance(spec.checkpoint, int):
        length = int_constant(spec.checkpoint)
        return Cut(steps, length, maximum((steps + length - 1) // length, 1))
    if spec.memory_budget is None:
        together = sqrt(cast(steps, "float64") * state_bytes * step_bytes)
        budget = maximum(cast(together * DEFAULT_SHARE, "int64"), DEFAULT_BYTES) + state_bytes + step_bytes
    else:
        budget = int_constant(spec.memory_budget)
    made = revolve_plan.apply([steps, budget, state_bytes, step_bytes], {"label": spec.name})
    return Cut(steps, *made.outputs)


def bytes_of_states(node: Apply) -> Variable:
    """The bytes of the states that one slot holds, at least 1."""
    states = zip(operands_of(node).initials, spec_of(node).depths)
    return _bytes([(v.dtype, [int_constant(depth), *dims_of(v)[1:]]) for v, depth in states])


def _bytes(arrays: Sequence[tuple[str, Sequence[Variable]]]) -> Variable:
    """The bytes of arrays of these dtypes and dims together, at least 1; a constant if all dims are."""
    from ..tensor import maximum

    known = 0
    terms: list[Variable] = []
    for dtype, dims in arrays:
        size = np.dtype(dtype).itemsize
        unknown: Variable | None = None
        for d in dims:
            if isinstance(d, Constant):
                size *= int(d.data)
            else:
                unknown = d if unknown is None else unknown * d
        if unknown is None:
            known += size
        else:
            terms.append(unknown * size)
    if not terms:
        return int_constant(max(known, 1))
    total_size: Variable = maximum(sum(terms[1:], terms[0]) + known, 1)
    return total_size
