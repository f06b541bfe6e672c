"""Keep: how much of each trace anything reads, found through every read, becomes what the scan stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..graph import Apply, Constant, FunctionGraph, Variable
from ..ops.history import history, pad_start
from ..ops.indexing import gather, subtensor
from ..ops.scan_op import scan_op, spec_of
from ..ops.shape import concatenate
from . import build
from .reads import End, EndRead, Shortened, TailRead, end_read, renumbered, tail_read
from .rewrite import everywhere, is_scan, readers, rewrite_by_origin


@dataclass(frozen=True)
class _Reader:
    """A subtensor of the end of output `index` of `scan`, seen after `lead` initial values."""

    scan: Apply
    index: int
    lead: int
    read: EndRead | TailRead


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
            return None if asked[1] == 0 else 0
        if reader.op in (history, concatenate):
            before = _before(reader, v)
            if before is None:
                return None
            return self._depth(scan, k, reader.output, End(end.steps, end.lead + before), found)
        if reader.inputs[0] is not v or any(u is v for u in reader.inputs[1:]):
            return None
        if reader.op is gather:
            return _deepest(reader)
        if reader.op is pad_start:
            number = build.number_of(reader.inputs[1])
            return None if number is None or number < 0 else number
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


def _before(reader: Apply, v: Variable) -> int | None:
    """How many rows stand before those of `v`, the last operand; None when that is not known."""
    *others, last = reader.inputs
    lengths = [u.type.shape[0] for u in others]
    if last is not v or any(u is v for u in others) or reader.params.get("axis", 0) != 0:
        return None
    return None if None in lengths else sum(n for n in lengths if n is not None)


def _deepest(reader: Apply) -> int | None:
    """How far back a gather reaches: positions that are counted from the end mean the same in what is kept."""
    indices = reader.inputs[1]
    if not isinstance(indices, Constant) or not indices.data.size or indices.data.max() >= 0:
        return None
    return int(-indices.data.min())


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
    numbers: list[Variable] = []
    first = Shortened(steps, _limited(steps, keep), reader.lead, numbers).entry(reader.read)
    rest = renumbered(node.params["index"][1:], node.inputs, numbers)
    return subtensor(node.inputs[0], *numbers, index=(first, *rest))


def _limited(steps: Variable, keep: int) -> Variable:
    return build.minimum(steps, build.integer(keep))


keep = everywhere(_keep)
