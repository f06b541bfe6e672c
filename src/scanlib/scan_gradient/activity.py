"""Which outputs and states of a scan a derivative has to carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..differentiate import BARRIERS
from ..graph import Variable, toposort
from ..ops.base import is_float
from ..ops.scan_op import ScanSpec


class Flow:
    """Through which step inputs each output of a step may change, as far as derivatives are concerned."""

    def __init__(self, spec: ScanSpec) -> None:
        self.spec = spec
        self.outputs = spec.outputs[: len(spec.keep)]
        # A bit for each floating input: one walk finds, for all inputs at once, what a change of them may reach.
        self._bits = {id(v): 1 << i for i, v in enumerate(spec.inputs) if is_float(v.dtype)}
        reached = dict(self._bits)
        for node in toposort(spec.outputs, spec.inputs):
            if node.op.name not in BARRIERS:
                bits = self._union(node.inputs, reached)
                reached.update((id(v), bits) for v in node.outputs if is_float(v.dtype))
        self._sources = [reached.get(id(v), 0) for v in self.outputs]

    def _union(self, variables: Iterable[Variable], table: Mapping[int, int]) -> int:
        bits = 0
        for v in variables:
            bits |= table.get(id(v), 0)
        return bits

    def reads(self, output: int, inputs: Iterable[Variable]) -> bool:
        """Whether output number `output` depends on any of `inputs`."""
        return bool(self._sources[output] & self._union(inputs, self._bits))

    def changed_by(self, inputs: Iterable[Variable], states: Iterable[int]) -> set[int]:
        """The outputs that depend on `inputs` or on earlier values of `states`, over any number of steps."""
        taps = self.spec.state_inputs()
        sources = self._union([*inputs, *(v for s in states for v in taps[s])], self._bits)
        changed: set[int] = set()
        while True:
            more = {
                k
                for k, v in enumerate(self.outputs)
                if k not in changed and is_float(v.dtype) and self._sources[k] & sources
            }
            if not more:
                return changed
            changed |= more
            sources |= self._union([v for k in more if k < len(taps) for v in taps[k]], self._bits)

    def feeding(self, outputs: Iterable[int]) -> set[int]:
        """`outputs`, and the states that these depend on, over any number of steps."""
        taps = self.spec.state_inputs()
        feeding = set(outputs)
        while True:
            more = {
                s
                for s in range(len(taps))
                if s not in feeding and any(self.reads(k, taps[s]) for k in feeding)
            }
            if not more:
                return feeding
            feeding |= more


def wanted_inputs(spec: ScanSpec, wanted: Sequence[bool]) -> tuple[list[bool], list[bool], list[bool]]:
    """`wanted` (one per operand of the scan) split into sequences, initial states and non-sequences."""
    first = 1 + spec.sequences
    second = first + len(spec.states)
    flags = list(wanted)
    return flags[1:first], flags[first:second], flags[second:]
