"""Which results are read several times by one and the same computation, so that memory would gain nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, Variable
from ..ops.base import Pointwise

# A place in the order of nodes; the end stands for whatever comes after all of them.
Place = int


def meeting(order: Sequence[Apply], outputs: Sequence[Variable]) -> set[int]:
    """The results (by id) all of whose readers lead, element by element, to one node.

    Whoever computes an element of that node has computed the result's element once, whatever reads it in between:
    in `s / (1 + e)` with `s = switch(x < 0, e, 1)` the two readers of `e` meet at the quotient.
    """
    end = len(order)
    readers = _readers(order, outputs, end)
    # Where all ways from a node's results meet first, and whether they go there element by element.
    meets: list[Place] = [end] * (end + 1)
    straight = [False] * (end + 1)
    found: set[int] = set()
    for place in reversed(range(end)):
        node = order[place]
        at = sorted({r for v in node.outputs for r in readers.get(id(v), (end,))})
        target = at[0]
        for other in at[1:]:
            target = _common(target, other, meets)
        meets[place] = target
        straight[place] = len(node.outputs) == 1 and all(
            _goes(order, node, r, target, meets, straight) for r in at
        )
        if straight[place]:
            found.update(id(v) for v in node.outputs)
    return found


def _readers(order: Sequence[Apply], outputs: Sequence[Variable], end: Place) -> dict[int, set[Place]]:
    readers: dict[int, set[Place]] = {}
    for place, node in enumerate(order):
        for v in node.inputs:
            readers.setdefault(id(v), set()).add(place)
    for v in outputs:
        readers.setdefault(id(v), set()).add(end)
    return readers


def _common(a: Place, b: Place, meets: Sequence[Place]) -> Place:
    while a != b:
        a, b = (meets[a], b) if a < b else (a, meets[b])
    return a


def _goes(
    order: Sequence[Apply],
    node: Apply,
    reader: Place,
    target: Place,
    meets: Sequence[Place],
    straight: Sequence[bool],
) -> bool:
    """Whether `reader` and all that follows up to `target` reads the element its result is asked for."""
    if target == len(order):
        return False
    while True:
        onward = order[reader]
        if not isinstance(onward.op.lower, Pointwise) or onward.output.ndim != node.output.ndim:
            return False
        if reader == target:
            return True
        if not straight[reader]:
            return False
        reader = meets[reader]
