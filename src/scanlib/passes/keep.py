"""Keep: how much of each trace anything reads, found through every read, becomes what the scan stores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..graph import Apply, FunctionGraph, Variable
from ..ops.elementwise import mul
from ..ops.history import history, pad_start
from ..ops.index_rules import At, Span
from ..ops.indexing import gather, set_subtensor, shift_refs, subtensor
from ..ops.scan_op import scan_op, spec_of
from ..ops.shape import concatenate, reshape
from . import build
from .places import deepest, moved
from .reads import End, EndRead, Shortened, TailRead, difference, end_read, renumbered, tail_read
from .rewrite import everywhere, is_scan, readers, rewrite_by_origin
from .shapes import Shapes


@dataclass(frozen=True)
class _Reader:
    """What reads, or writes to, the end of output `index` of `scan`, seen after `lead` initial values.

    `read` is the slice of its leading axis, where it is one.
    """

    scan: Apply
    index: int
    lead: int
    read: EndRead | TailRead | None = None


class _Analysis:
    """For every scan (by id) the keep of its outputs; for every read (by id) what it reads."""

    def __init__(self, graph: FunctionGraph) -> None:
        self.table = readers(graph)
        self.keeps: dict[int, tuple[int | None, ...]] = {}
        self.reads: dict[int, _Reader] = {}
        scans = {id(r): r for group in self.table.values() for r in group if r is not None and is_scan(r)}
        for node in scans.values():
            self._scan(node)

    def _scan(self, node: Apply) -> None:
        spec = spec_of(node)
        steps = node.outputs[-1] if spec.until else node.inputs[0]
        keeps: list[int | None] = []
        for k, old in enumerate(spec.keep):
            found: list[tuple[Apply, _Reader]] = []
            depth = old if old is not None else self._depth(node, k, node.outputs[k], End(steps), found)
            length = node.outputs[k].type.shape[0]
            if depth is not None and depth and length is not None and depth >= length:
                depth = None  # all of it
            if depth is not None:
                self.reads.update({id(reader): read for reader, read in found})
            keeps.append(depth)
        if tuple(keeps) != spec.keep:
            self.keeps[id(node)] = tuple(keeps)

    def _depth(
        self, scan: Apply, k: int, v: Variable, end: End, found: list[tuple[Apply, _Reader]]
    ) -> int | None:
        """How many last steps anything reads of `v`, which ends with the trace; None when all of them."""
        depth = 0
        for reader in self.table.get(id(v), ()):
            this = None if reader is None else self._read(scan, k, reader, v, end, found)
            if this is None:
                return None
            depth = max(depth, this)
        return depth

    def _read(
        self, scan: Apply, k: int, reader: Apply, v: Variable, end: End, found: list[tuple[Apply, _Reader]]
    ) -> int | None:
        asked = build.asked_shape(reader)
        if asked is not None:
            # The lengths of rows that nothing else tells: known of a state, but not of an output that is not computed.
            return None if asked[1] == 0 else int(k >= len(spec_of(scan).states))
        if reader.op in (history, concatenate):
            return self._joined(scan, k, reader, v, end, found)
        if reader.inputs[0] is not v or any(u is v for u in reader.inputs[1:]):
            return None
        if reader.op is gather:
            found.append((reader, _Reader(scan, k, end.lead)))
            return deepest(reader.inputs[1], end)
        if reader.op is pad_start:
            number = build.number_of(reader.inputs[1])
            return None if number is None or number < 0 else number
        if reader.op is set_subtensor:
            return self._written(scan, k, reader, end, found)
        if reader.op is reshape:
            return self._flat(scan, k, reader, found)
        if reader.op is not subtensor:
            return None
        entry = reader.params["index"][0]
        read = end_read(entry, reader.inputs, end)
        if read is not None:
            found.append((reader, _Reader(scan, k, end.lead, read)))
            return read.depth
        tail = tail_read(entry, reader.inputs, end)
        if tail is None:
            return None
        found.append((reader, _Reader(scan, k, end.lead, tail)))
        depth = self._depth(scan, k, reader.output, End(None), found)
        return None if depth is None else tail.depth(depth)

    def _joined(
        self, scan: Apply, k: int, reader: Apply, v: Variable, end: End, found: list[tuple[Apply, _Reader]]
    ) -> int | None:
        """How deep reads go through rows that stand before and behind those of `v`."""
        if reader.params.get("axis", 0) != 0:
            return None
        lengths = [u.type.shape[0] for u in reader.inputs]
        place = max(i for i, u in enumerate(reader.inputs) if u is v)
        before = [n for n in lengths[:place] if n is not None]
        last = (
            place == len(lengths) - 1
            and len(before) == place
            and not any(u is v for u in reader.inputs[:place])
        )
        seen = End(end.steps, end.lead + sum(before)) if last else End(None)
        depth = self._depth(scan, k, reader.output, seen, found)
        behind = sum(n or 0 for n in lengths[place + 1 :])
        return None if depth is None else max(depth - behind, 0)

    def _written(
        self, scan: Apply, k: int, node: Apply, end: End, found: list[tuple[Apply, _Reader]]
    ) -> int | None:
        """How deep the reads of what has been written to go, or what is written lies."""
        entry = node.params["index"][0]
        read = end_read(entry, node.inputs, end) or tail_read(entry, node.inputs, end)
        whole = entry == Span()
        if read is None or (isinstance(read, TailRead) and not whole and _has_rows(node)):
            return None
        found.append((node, _Reader(scan, k, end.lead, None if whole else read)))
        depth = self._depth(scan, k, node.output, end, found)
        return depth if depth is None or isinstance(read, TailRead) else max(depth, read.depth)

    def _flat(self, scan: Apply, k: int, node: Apply, found: list[tuple[Apply, _Reader]]) -> int | None:
        """How many last rows hold the last elements that are read of the array as a vector."""
        if not _is_flat(node):
            return None
        found.append((node, _Reader(scan, k, 0)))
        depth = self._depth(scan, k, node.output, End(None), found)
        width = math.prod(d or 1 for d in node.inputs[0].type.shape[1:])
        return None if depth is None else -(-depth // width)


def _has_rows(node: Apply) -> bool:
    """Whether what a set_subtensor writes has one row for each that it writes to."""
    value, ndim = node.inputs[1], sum(isinstance(e, Span) for e in node.params["index"])
    return value.ndim == ndim and value.type.shape[0] != 1


def _is_flat(node: Apply) -> bool:
    """Whether a reshape lays all elements into a vector."""
    x, length = node.inputs[0], node.inputs[-1]
    if node.output.ndim != 1 or x.ndim == 0 or build.number_of(length) == -1:
        return node.output.ndim == 1 and x.ndim > 0
    shapes, left = Shapes(), _factors(length)
    for axis in range(x.ndim):
        d = shapes.dim(x, axis)
        same = [i for i, u in enumerate(left) if difference(u, d) == 0]
        if same:
            del left[same[0]]
        elif build.number_of(d) != 1:
            return False
    return not left


def _factors(v: Variable) -> list[Variable]:
    if build.number_of(v) == 1:
        return []
    return [f for u in v.owner.inputs for f in _factors(u)] if v.owner and v.owner.op is mul else [v]


def _keep(graph: FunctionGraph) -> FunctionGraph:
    analysis = _Analysis(graph)
    if not analysis.keeps:
        return graph
    shorter: dict[int, Apply] = {}  # the scans made, by the id of the old ones

    def rule(node: Apply, origin: Apply) -> Sequence[Variable] | None:
        if id(origin) in analysis.keeps:
            spec = replace(spec_of(node), keep=analysis.keeps[id(origin)])
            made = scan_op.apply(node.inputs, {**node.params, "spec": spec})
            shorter[id(origin)] = made
            return made.outputs
        reader = analysis.reads.get(id(origin))
        if reader is None or id(reader.scan) not in shorter:
            return None
        return (_reread(node, reader, shorter[id(reader.scan)]),)

    return rewrite_by_origin(graph, rule)


def _reread(node: Apply, reader: _Reader, scan: Apply) -> Variable:
    """The read, of the trace as it now is."""
    spec = spec_of(scan)
    keep = spec.keep[reader.index]
    assert keep is not None
    steps = scan.outputs[-1] if spec.until else scan.inputs[0]
    limit = _limited(steps, keep)
    if node.op is reshape:
        return reshape(node.inputs[0], build.integer(-1))
    if node.op is gather:
        trace, places, *others = node.inputs
        return gather(trace, moved(places, build.minus(steps, limit)), *others, **node.params)
    numbers: list[Variable] = []
    first: At | Span = Span()
    if reader.read is not None:
        first = Shortened(steps, limit, reader.lead, numbers).entry(reader.read)
    index = (first, *renumbered(node.params["index"][1:], node.inputs, numbers))
    if node.op is subtensor:
        return subtensor(node.inputs[0], *numbers, index=index)
    value = node.inputs[1]
    if reader.read is None and _has_rows(node):
        value = subtensor(value, index=(Span(-keep), *(Span(),) * (value.ndim - 1)))
    return set_subtensor(node.inputs[0], value, *numbers, index=shift_refs(index, 1), inc=node.params["inc"])


def _limited(steps: Variable, keep: int) -> Variable:
    return build.minimum(steps, build.integer(keep))


keep = everywhere(_keep)
