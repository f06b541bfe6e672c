"""`scan_checkpoints`: a scan of scans that hands back every N-th step only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import UserValueError
from .graph import Apply, Variable, substitute
from .ops.history import pad_end
from .ops.scan_op import operands_of, scan_op, spec_of
from .ops.shape import int_constant
from .scan import OrderedUpdates, scan
from .scan_gradient.builder import ScanBuilder
from .scan_gradient.checkpoint import last_rows
from .scan_gradient.kept import with_outputs


def scan_checkpoints(
    fn: Callable[..., Any],
    sequences: Any = None,
    outputs_info: Any = None,
    non_sequences: Any = None,
    name: str = "checkpointscan_fn",
    n_steps: Any = None,
    save_every_N: int = 10,
    padding: bool = True,
) -> tuple[Any, OrderedUpdates]:
    """A scan whose outputs are those of steps N, 2 N, … only; its gradient computes the steps between again.

    The arguments are those of `scan`, with any taps and mapped outputs, and `fn` may return `until`.

    save_every_N   how many steps from one output to the next
    padding        if the number of steps is no multiple of N: True runs a whole last block, as Theano does, with
                   zeros in the sequences for the steps that are too many; False leaves out the last steps

    Returns what `scan` does, the leading axis of each output being one for each block of N steps.

    Raises UserTypeError and UserValueError.
    """
    if isinstance(save_every_N, bool) or not isinstance(save_every_N, int) or save_every_N < 1:
        raise UserValueError(
            f"scan_checkpoints '{name}': save_every_N must be a positive integer, got {save_every_N!r}"
        )
    traces, updates = scan(
        fn, sequences, outputs_info, non_sequences, n_steps=n_steps, name=name, return_list=True
    )
    if not traces:
        return None, updates
    node = traces[0].owner
    saved = _Blocks(node, save_every_N, padding).run()
    by_trace = dict(zip(node.outputs, saved))
    final = substitute(list(updates.values()), by_trace)
    outputs = [by_trace[v] for v in traces]
    return outputs if len(outputs) > 1 else outputs[0], OrderedUpdates(zip(updates, final))


@dataclass(frozen=True)
class _Blocks:
    """The scan `node` as a scan over blocks of `every` steps, of each of which the last is saved."""

    node: Apply
    every: int
    padding: bool

    def run(self) -> Sequence[Variable]:
        """The outputs of the last step of each block, in the order of the outputs of the node."""
        from .tensor import arange, shape_padleft

        spec, given = spec_of(self.node), operands_of(self.node)
        blocks = (given.steps + (self.every - 1 if self.padding else 0)) // self.every
        rows = given.sequences
        if self.padding:
            rows = tuple(pad_end(v[: given.steps], blocks * self.every) for v in rows)
        builder = ScanBuilder(spec.name)
        start = builder.sequence(arange(blocks) * self.every)
        states = [
            builder.state(shape_padleft(v[:depth]), label)
            for v, depth, label in zip(given.initials, spec.depths, spec.labels)
        ]
        count, starts = int_constant(self.every), [s.value for s in states]
        inputs = [count, *(v[start : start + count] for v in rows), *starts, *given.non_sequences]
        block = scan_op.apply(inputs, {**self.node.params, "spec": spec})
        condition = spec.condition()
        if condition is not None:
            block = with_outputs(block, [condition])
            builder.condition = block.outputs[len(spec.keep)][-1]
        for state, value in zip(states, last_rows(starts, block)):
            state.next = value
        for trace, label in zip(block.outputs[: len(spec.keep)], spec.labels):
            builder.output(trace[-1], label)
        return builder.build(blocks).mapped
