"""What a specialisation tells of the axes of inputs: those that count steps stay run-time values however short they
are; where a program cuts arrays at multiples of a length, the others are told as multiples of it."""

from __future__ import annotations

from collections.abc import Sequence

from ._core import LARGEST_MULTIPLE
from .graph import FunctionGraph, Variable, toposort
from .ops.base import Affine, Pointwise
from .ops.scan_op import operands_of, spec_of

# So many lengths at most that others are told as multiples of.
MOST_BASES = 4


def step_axes(graph: FunctionGraph) -> list[tuple[bool, ...]]:
    """For every input, per axis, whether it is iterated over by a scan (followed through views and arithmetic)."""
    inputs = {id(v) for v in graph.inputs}
    found: set[int] = set()
    stack: list[Variable] = []
    for node in graph.order:
        if node.op.name == "scan":
            stack.extend(operands_of(node).sequences)
    seen: set[int] = set()
    while stack:
        v = stack.pop()
        if id(v) in seen or v.ndim == 0:
            continue
        seen.add(id(v))
        if id(v) in inputs:
            found.add(id(v))
        elif v.owner is not None and isinstance(v.owner.op.lower, (Affine, Pointwise)):
            stack.extend(u for u in v.owner.inputs if u.ndim == v.ndim)
    return [tuple(id(v) in found and axis == 0 for axis in range(v.ndim)) for v in graph.inputs]


def base_axes(graph: FunctionGraph) -> list[tuple[int, int]]:
    """The axes of inputs, as (input, axis), at multiples of whose lengths slices begin or end."""
    numbers: list[Variable] = []
    # What step inputs stand for: a variable outside of the scan, and how many axes it has in front.
    bound: dict[int, tuple[Variable, int]] = {}
    graphs: list[tuple[Sequence[Variable], Sequence[Variable]]] = [(graph.outputs, graph.inputs)]
    while graphs:
        for node in toposort(*graphs.pop()):
            if node.op.name in ("subtensor", "set_subtensor"):
                numbers += [v for v in node.inputs[1:] if v.ndim == 0]
            elif node.op.name == "scan":
                spec, given = spec_of(node), operands_of(node)
                bound.update((id(v), (u, 1)) for v, u in zip(spec.sequence_inputs(), given.sequences))
                bound.update((id(v), (u, 0)) for v, u in zip(spec.non_sequence_inputs(), given.non_sequences))
                for group, u in zip(spec.state_inputs(), given.initials):
                    bound.update((id(v), (u, 1)) for v in group)
                graphs.append((spec.outputs, spec.inputs))
    places = {id(v): i for i, v in enumerate(graph.inputs)}
    found: set[tuple[int, int]] = set()
    for v, axis in _lengths_in(numbers, bound):
        while id(v) in bound:
            v, more = bound[id(v)]
            axis += more
        if id(v) in places and v.type.shape[axis] is None:
            found.add((places[id(v)], axis))
    return sorted(found)[:MOST_BASES]


def _lengths_in(
    numbers: Sequence[Variable], bound: dict[int, tuple[Variable, int]]
) -> list[tuple[Variable, int]]:
    """The lengths, as (array, axis), that integers are computed from."""
    found: list[tuple[Variable, int]] = []
    stack, seen = list(numbers), set[int]()
    while stack:
        v = stack.pop()
        if id(v) in seen:
            continue
        seen.add(id(v))
        if v.owner is None:
            stack += [bound[id(v)][0]] if id(v) in bound else []
        elif v.owner.op.name == "shape_i":
            found.append((v.owner.inputs[0], v.owner.params["axis"]))
        elif isinstance(v.owner.op.lower, Pointwise):
            stack += v.owner.inputs
    return found


def signature(
    shapes: Sequence[Sequence[int | None]],
    lengths: Sequence[Sequence[bool]],
    bases: Sequence[tuple[int, int]],
    small: int,
) -> list[tuple[int, ...]]:
    """What a specialisation knows of the lengths: those up to `small`; of others −1, or what `multiple` decodes.

    The same as Dispatcher.lookup finds for arguments; lengths that are not known count as large.
    """

    def one(i: int, axis: int, d: int | None) -> int:
        if lengths[i][axis] or d is None:
            return -1
        if d <= small:
            return d
        for b, base in enumerate(bases):
            if base == (i, axis):
                break
            of = shapes[base[0]][base[1]] or 0
            large = of > small and not lengths[base[0]][base[1]]
            if large and d % of == 0 and d // of <= LARGEST_MULTIPLE:
                return -1 - (b * LARGEST_MULTIPLE + d // of)
        return -1

    return [tuple(one(i, axis, d) for axis, d in enumerate(shape)) for i, shape in enumerate(shapes)]


def multiple(told: int) -> tuple[int, int]:
    """(base, factor) of a length that a signature tells as a multiple."""
    base, factor = divmod(-2 - told, LARGEST_MULTIPLE)
    return base, factor + 1
