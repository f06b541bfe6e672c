"""What the reverse of a scan reads of the forward run besides the states, because computing it again is dear.

Products and kernels of the core are kept, all else is recomputed.  What is kept is not their results but the
last arrays that can be had for the same memory: of `z = x[t] @ W + b + h @ U` it is z, which stands for two
products.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graph import Apply, Constant, Variable, toposort
from ..ops.base import Contract, Library, Pointwise
from ..ops.scan_op import scan_op, spec_of
from ..printing import brief

SMALL = 16  # a product of matrices whose dims are known and at most this is cheaper than its memory
# Rows that read only the shape of one input: which one.
SHAPE_ONLY = {"unbroadcast": 1, "spread": 1, "shape_i": 0, "shape": 0}


def read_by_value(node: Apply) -> list[Variable]:
    """The inputs of which the node needs more than the shape."""
    skipped = SHAPE_ONLY.get(node.op.name)
    return [v for i, v in enumerate(node.inputs) if i != skipped]


def is_dear(node: Apply) -> bool:
    """Whether computing the node again costs more than keeping what it gave."""
    if isinstance(node.op.lower, Library):
        return True
    if not isinstance(node.op.lower, Contract):
        return False
    dims = [d for v in node.inputs for d in v.type.shape[-2:]]
    return any(d is None or d > SMALL for d in dims)


@dataclass(frozen=True)
class _Step:
    """The part of a transposed step that the forward run computes too."""

    nodes: list[Apply]
    readers: dict[int, list[Apply]]
    wanted: set[int]


def _forward_part(results: Sequence[Variable], given: Sequence[Variable], known: Iterable[Variable]) -> _Step:
    """The nodes made of `given` alone; `known` need not be computed.  `wanted` are read by the other nodes."""
    forward = {id(v) for v in given}
    read = {id(v) for v in known}
    nodes: list[Apply] = []
    readers: dict[int, list[Apply]] = {}
    wanted = {id(v) for v in results}
    order = toposort(results, [*given, *known])
    made = {id(v) for node in order for v in node.outputs}
    for node in order:
        inputs = read_by_value(node)
        if all(id(v) in forward or id(v) in read or isinstance(v, Constant) for v in node.inputs):
            forward.update(id(v) for v in node.outputs)
            nodes.append(node)
            for v in inputs:
                readers.setdefault(id(v), []).append(node)
        else:
            wanted.update(id(v) for v in inputs)
    return _Step(nodes, readers, wanted & made & forward)


def kept(results: Sequence[Variable], given: Sequence[Variable], known: Iterable[Variable]) -> list[Variable]:
    """The variables to keep, in the order in which they are made.

    results  what the transposed step computes
    given    the inputs of the forward step
    known    what of the forward run can be read anyway
    """
    step = _forward_part(results, given, known)
    needed = _needed(step)
    frontier: dict[int, Variable] = {}
    for node in step.nodes:
        if id(node) not in needed:
            continue
        inputs = read_by_value(node)
        below = [v for v in {id(v): v for v in inputs}.values() if id(v) in frontier]
        if is_dear(node):
            frontier.update({id(v): v for v in node.outputs if id(v) in step.wanted or id(v) in step.readers})
        elif below and _stands_for(node, below, step):
            for v in below:
                del frontier[id(v)]
            frontier[id(node.outputs[0])] = node.outputs[0]
    return list(frontier.values())


def _needed(step: _Step) -> set[int]:
    """The nodes (by id) whose values the other nodes need."""
    values = set(step.wanted)
    found: set[int] = set()
    for node in reversed(step.nodes):
        if any(id(v) in values for v in node.outputs):
            found.add(id(node))
            values.update(id(v) for v in read_by_value(node))
    return found


def _stands_for(node: Apply, below: Sequence[Variable], step: _Step) -> bool:
    """Whether the node's result can be kept instead of `below`: for less memory, and nothing else reads these."""
    if not isinstance(node.op.lower, Pointwise) or len(node.outputs) != 1:
        return False
    made = node.outputs[0]
    alone = all(id(v) not in step.wanted and step.readers[id(v)] == [node] for v in below)
    size = sum(np.dtype(v.dtype).itemsize for v in below)
    return alone and np.dtype(made.dtype).itemsize <= size and all(_as_large(v, made) for v in below)


def _as_large(v: Variable, made: Variable) -> bool:
    """Whether `made` has no axis that `v` has not, as far as the types tell."""
    pairs = zip(v.type.shape, made.type.shape)
    return v.ndim == made.ndim and not any(a == 1 and b != 1 for a, b in pairs)


def with_outputs(node: Apply, more: Sequence[Variable]) -> Apply:
    """The scan `node` with mapped outputs `more` (variables of its step), which come last."""
    spec = spec_of(node)
    condition = spec.outputs[len(spec.keep) :]
    extended = replace(
        spec,
        outputs=(*spec.outputs[: len(spec.keep)], *more, *condition),
        mapped=spec.mapped + len(more),
        keep=(*spec.keep, *(None for _ in more)),
        labels=(*spec.labels, *map(brief, more)),
    )
    return scan_op.apply(node.inputs, {**node.params, "spec": extended})
