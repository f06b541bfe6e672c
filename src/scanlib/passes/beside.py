"""What stands beside a trace in a reduction over time, such as the targets of a loss, is made as long as the trace.

`((trace - targets) ** 2).mean()` can be added up in the loop when there is a target for each step, or one for all.
There may also be one step and several targets: the one row of the trace is then compared with each of them, after the
loop.  Only a call can tell, so what it computes depends on the lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, FunctionGraph, Variable
from ..ops import elementwise as ew
from ..ops.control import ifelse_op
from ..ops.history import pad_end
from ..ops.index_rules import Span
from ..ops.indexing import subtensor
from ..ops.shape import broadcast_to, specify_shape
from . import build
from .reductions import over_time
from .regions import Finder, Region
from .rewrite import rebuild, rewrite_by_origin


def beside(graph: FunctionGraph) -> FunctionGraph:
    """The graph with the lengths of what stands beside traces known, if then nothing reads all of a trace."""
    for _ in _loose(Finder(graph)):
        finder = Finder(graph)
        found = _loose(finder)
        graph = _told(graph, found[0], finder) if found else graph
    return graph


def _loose(finder: Finder) -> list[Region]:
    return [r for r in finder.regions(loosely=True) if r.loose]


def _told(graph: FunctionGraph, region: Region, finder: Finder) -> FunctionGraph:
    """The reductions of one region, with what is loose in it told to be as long as the traces."""
    steps, shapes, one = region.scan.inputs[0], finder.shapes, build.integer(1)
    lengths = [shapes.dim(v, 0) for v in region.loose]
    several = ew.ne(lengths[0], one)
    for n in lengths[1:]:
        several = ew.logical_or(several, ew.ne(n, one))
    several = ew.logical_and(ew.eq(steps, one), several)
    long: dict[int, Variable] = {}
    for v, n in zip(region.loose, lengths):
        dims = [shapes.dim(v, axis) for axis in range(1, v.ndim)]
        # The loop runs in any case: where there are several, or none, for one step, it is given some one row.
        rows = pad_end(v, ew.switch(several, one, n))
        long[id(v)] = specify_shape(broadcast_to(rows, steps, *dims), steps, axes=(0,))
    last = {id(v): subtensor(v, index=(Span(-1), *(Span(),) * (v.ndim - 1))) for v in region.traces}
    stop = [leaf.v for leaf in region.leaves.values()]
    in_loop, after_loop = (rebuild([region.result], made, stop=stop)[0] for made in (long, last))

    def rule(node: Apply, origin: Apply) -> Sequence[Variable] | None:
        if origin.inputs[0] is not region.result or not over_time(origin):
            return None
        usual, rare = (node.op.apply((v,), node.params).output for v in (in_loop, after_loop))
        # The usual value does not hang on the condition, so that the loop is there once.
        chosen = ifelse_op.apply((several, rare, usual), {}).output
        return (ew.switch(several, chosen, usual),)

    return rewrite_by_origin(graph, rule)
