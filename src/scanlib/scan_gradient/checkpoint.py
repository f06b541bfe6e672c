"""The reverse of a checkpointed scan: only the states between segments are kept, and each segment runs again.

The forward scan is written once more as scans of scans: the T steps are cut into segments of N1 steps,
these into segments of N2, and so on down to plain scans of Nl steps, where each length is a multiple of the
next.  The steps left over come first, shortest lengths first, so that every length T works:

    T mod Nl steps · (T mod N(l-1)) div Nl segments of Nl · … · T div N1 segments of N1

The reverse of that graph is what is wanted: the reverse step of an outer scan runs its inner scan again from
the states kept.  With l lengths, each about T^(1/(l+1)) times the next, (l + 1)·T^(1/(l+1)) states are held
at a time and each step is run l + 1 times: the multi-level schedule, which is within a small factor of the
binomial one (Griewank and Walther 2000, "Revolve", ACM TOMS 26:19) and whose segments are plain loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..differentiate import pullback, total
from ..graph import Apply, Variable
from ..ops.base import is_float
from ..ops.history import history, pad_start
from ..ops.scan_op import ScanOperands, ScanSpec, operands_of, scan_op, spec_of
from ..ops.shape import dims_of, int_constant, reshape
from .builder import ScanBuilder
from .reverse import reverse, substitute_all
from .tails import split_tail

DEFAULT_STATES = 1024  # states held at a time by checkpoint="auto" without a budget, if so many are enough


@dataclass(frozen=True)
class Chunk:
    """A run of consecutive steps: operands whose sequences are as long as the run."""

    start: Variable
    steps: Variable
    sequences: tuple[Variable, ...]


@dataclass(frozen=True)
class Ran:
    """The last values of each state, as many as its depth, and the traces of the outputs asked for.

    The traces of segments have one leading axis per level, `leading` long, instead of one for the steps.
    """

    chunk: Chunk
    last: tuple[Variable, ...]
    traces: tuple[Variable, ...]
    leading: tuple[Variable, ...]

    def cotangent(self, g: Variable) -> Variable:
        """The part of a cotangent of all steps that belongs to this run, in the form of its traces."""
        rows = g[self.chunk.start : self.chunk.start + self.chunk.steps]
        return rows if len(self.leading) == 1 else _split(rows, *self.leading)


def reverse_by_segments(
    node: Apply, cotangents: Sequence[Variable | None], wanted: Sequence[bool]
) -> list[Variable | None]:
    """`reverse` for a scan with `checkpoint`."""
    spec = spec_of(node)
    if spec.truncate_gradient >= 0:
        # The reverse of a truncated run reads the last steps only.
        plain = scan_op.apply(node.inputs, {**node.params, "spec": replace(spec, checkpoint=None)})
        return reverse(plain, cotangents, wanted)
    stand_ins = [v.clone() for v in node.inputs]
    operands = _operands(node, stand_ins)
    steps = stand_ins[0]
    dense, last = _received(node, cotangents, steps)
    runs = _Segments(spec, operands, tuple(dense), segment_lengths(spec, operands)).run()
    outputs = [*(v for run in runs for v in run.traces), *(runs[-1].last[k] for k in last)]
    received = [*(run.cotangent(g) for run in runs for g in dense.values()), *last.values()]
    pulled = pullback(outputs, received, [v for v, w in zip(stand_ins, wanted) if w])
    actual: list[Variable] = list(node.inputs)
    if spec.until:
        actual[0] = node.outputs[-1]
    back = dict(zip(stand_ins, actual))
    made = iter(substitute_all(pulled, back))
    return [next(made) if w else None for w in wanted]


def _operands(node: Apply, variables: Sequence[Variable]) -> ScanOperands:
    spec = spec_of(node)
    first = 1 + spec.sequences
    second = first + len(spec.states)
    parts = (tuple(variables[1:first]), tuple(variables[first:second]), tuple(variables[second:]))
    assert len(operands_of(node).initials) == len(parts[1])
    return ScanOperands(variables[0], *parts)


def _received(
    node: Apply, cotangents: Sequence[Variable | None], steps: Variable
) -> tuple[dict[int, Variable], dict[int, Variable]]:
    """By output: cotangents of whole traces, and cotangents of the last values of states (depth many)."""
    spec = spec_of(node)
    dense: dict[int, Variable] = {}
    last: dict[int, Variable] = {}
    for k, g in enumerate(cotangents[:-1]):
        if g is None or not is_float(node.outputs[k].dtype):
            continue
        whole, tail = split_tail(g)
        if tail is not None and k < len(spec.states) and (tail.type.shape[0] or 0) <= spec.depths[k]:
            last[k] = pad_start(tail, int_constant(spec.depths[k]))
            tail = None
        both = total([v for v in (whole, None if tail is None else pad_start(tail, steps)) if v is not None])
        if both is not None:
            dense[k] = both
    return dense, last


# How long the segments are.


def segment_lengths(spec: ScanSpec, operands: ScanOperands) -> list[Variable]:
    """The lengths N1, N2, … of the segments, longest first; lengths above the number of steps are unused.

    With "auto", the fewest levels are used whose states fit: half of what may be held goes to the shortest
    segments, for long ones run best, and the other half to the levels above.
    """
    if isinstance(spec.checkpoint, int):
        return [int_constant(spec.checkpoint)]
    from ..tensor import le, maximum, minimum, switch

    levels = 2
    held: Variable = int_constant(DEFAULT_STATES)
    if spec.memory_budget is not None:
        levels, held = 3, int_constant(spec.memory_budget) // bytes_of_states(operands)
    steps = operands.steps
    half = maximum(held // 2, 1)
    shortest = factor = _root(steps, levels + 1)
    for level in range(levels, 0, -1):
        root = _root(steps // half, level)
        fits = le(root * level + half, held)
        shortest, factor = switch(fits, half, shortest), switch(fits, root, factor)
    lengths = [switch(le(steps, held), steps + 1, shortest)]
    for _ in range(levels - 1):
        # A multiple of the shorter length that is above `steps` as soon as the product is.
        lengths.insert(0, lengths[0] * minimum(factor, steps // lengths[0] + 1))
    return lengths


def _root(number: Variable, degree: int) -> Variable:
    """The smallest c with c^degree > number, or one more."""
    from ..tensor import cast, floor

    if degree == 1:
        return number + 1
    made: Variable = cast(floor(cast(number, "float64") ** (1.0 / degree)), "int64") + 1
    return made


def bytes_of_states(operands: ScanOperands) -> Variable:
    """The bytes of one checkpoint, at least 1."""
    size: Variable = int_constant(1)
    for v in operands.initials:
        bytes_: Variable = int_constant(np.dtype(v.dtype).itemsize)
        for d in dims_of(v):
            bytes_ = bytes_ * d
        size = size + bytes_
    return size


# The scan as scans of scans.


class _Segments:
    """The scan of `spec` cut into segments; `dense` names the outputs whose traces are asked for."""

    def __init__(
        self, spec: ScanSpec, operands: ScanOperands, dense: tuple[int, ...], lengths: Sequence[Variable]
    ) -> None:
        self.spec = spec
        self.operands = operands
        self.dense = dense
        self.lengths = list(lengths)
        self.leaf = self._leaf()

    def _leaf(self) -> ScanSpec:
        """The plain scan of the shortest segments: states, and the mapped outputs asked for."""
        spec, count = self.spec, len(self.spec.states)
        mapped = [k for k in self.dense if k >= count]
        chosen = [*range(count), *mapped]
        self.places = [k if k < count else count + mapped.index(k) for k in self.dense]
        return replace(
            spec,
            outputs=tuple(spec.outputs[k] for k in chosen),
            mapped=len(mapped),
            until=False,
            keep=(None,) * len(chosen),
            labels=tuple(spec.labels[k] for k in chosen),
            checkpoint=None,
        )

    def run(self) -> list[Ran]:
        """All steps: the plain run of what is left over, then the segments of each length."""
        steps, lengths = self.operands.steps, self.lengths
        done = steps % lengths[-1]
        runs = [self._plain(self._chunk(int_constant(0), done), self.operands.initials)]
        for level in range(len(lengths) - 1, -1, -1):
            rest = steps if level == 0 else steps % lengths[level - 1]
            count = (rest - done) // lengths[level]
            runs.append(self._segments(level, self._chunk(done, rest - done), count, runs[-1].last))
            done = rest
        return runs

    def _chunk(self, start: Variable, steps: Variable) -> Chunk:
        return Chunk(start, steps, tuple(s[start : start + steps] for s in self.operands.sequences))

    def _plain(self, chunk: Chunk, initials: Sequence[Variable]) -> Ran:
        inputs = (chunk.steps, *chunk.sequences, *initials, *self.operands.non_sequences)
        node = scan_op.apply(inputs, {"spec": self.leaf})
        last = tuple(
            history(initial, trace)[-depth:]
            for initial, trace, depth in zip(initials, node.outputs, self.spec.depths)
        )
        return Ran(chunk, last, tuple(node.outputs[p] for p in self.places), (chunk.steps,))

    def _segments(self, level: int, chunk: Chunk, count: Variable, initials: Sequence[Variable]) -> Ran:
        """`count` segments of lengths[level] steps: a scan whose step runs one of them."""
        from ..tensor import shape_padleft

        length = self.lengths[level]
        builder = ScanBuilder(f"segments of {self.spec.name}")
        rows = [builder.sequence(_split(s, count, length)) for s in chunk.sequences]
        states = [
            builder.state(shape_padleft(v), f"checkpoint of {label}")
            for v, label in zip(initials, self.spec.labels)
        ]
        inner = Chunk(int_constant(0), length, tuple(rows))
        starts = [s.value for s in states]
        if level + 1 < len(self.lengths):
            ran = self._segments(level + 1, inner, length // self.lengths[level + 1], starts)
        else:
            ran = self._plain(inner, starts)
        for state, value in zip(states, ran.last):
            state.next = value
        for k, trace in zip(self.dense, ran.traces):
            builder.output(trace, f"steps of {self.spec.labels[k]}")
        built = builder.build(count)
        last = tuple(history(s.initial, trace)[-1] for s, trace in zip(states, built.states))
        return Ran(chunk, last, built.mapped, (count, *ran.leading))


def _split(rows: Variable, *leading: Variable) -> Variable:
    """The leading axis of `rows` as several."""
    return reshape(rows, *leading, *dims_of(rows)[1:])
