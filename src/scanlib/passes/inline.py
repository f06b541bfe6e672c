"""Inlining: a scan of exactly one step is its step."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Apply, Variable
from ..ops.scan_op import operands_of, spec_of
from . import build
from .reads import row
from .rewrite import everywhere, is_scan, rebuild, rewrite


def _inline(node: Apply) -> Sequence[Variable] | None:
    if not is_scan(node) or build.number_of(node.inputs[0]) != 1 or 0 in spec_of(node).keep:
        return None
    spec, operands = spec_of(node), operands_of(node)
    bound: dict[int, Variable] = {}
    for v, operand in zip(spec.sequence_inputs(), operands.sequences):
        bound[id(v)] = row(operand, 0)
    for taps, group, operand in zip(spec.states, spec.state_inputs(), operands.initials):
        bound.update({id(v): row(operand, tap - min(taps)) for v, tap in zip(group, taps)})
    bound.update({id(v): operand for v, operand in zip(spec.non_sequence_inputs(), operands.non_sequences)})
    values = rebuild(spec.outputs[: len(spec.keep)], bound)
    # After its only step a loop has ended, whatever `until` says.
    return [*(build.as_trace(v) for v in values), build.integer(1)]


inline = everywhere(lambda graph: rewrite(graph, _inline))
