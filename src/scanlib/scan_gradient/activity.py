"""Which outputs and states of a scan a derivative has to carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..differentiate import reached
from ..graph import Variable, toposort
from ..ops.base import is_float
from ..ops.scan_op import ScanSpec


class Flow:
    """Through which step inputs each output of a step may change, as far as derivatives are concerned."""

    def __init__(self, spec: ScanSpec) -> None:
        self.spec = spec
        self.outputs = spec.outputs[: len(spec.keep)]
        order = toposort(spec.outputs, spec.inputs)
        self._sources: dict[int, set[int]] = {id(v): set() for v in self.outputs}
        for v in spec.inputs:
            if is_float(v.dtype):
                active = reached(order, [v])
                for output in self.outputs:
                    if id(output) in active:
                        self._sources[id(output)].add(id(v))

    def reads(self, output: int, inputs: Iterable[Variable]) -> bool:
        """Whether output number `output` depends on any of `inputs`."""
        found = self._sources[id(self.outputs[output])]
        return any(id(v) in found for v in inputs)

    def changed_by(self, inputs: Iterable[Variable], states: Iterable[int]) -> set[int]:
        """The outputs that depend on `inputs` or on earlier values of `states`, over any number of steps."""
        taps = self.spec.state_inputs()
        sources = {id(v) for v in inputs}
        sources.update(id(v) for s in states for v in taps[s])
        changed: set[int] = set()
        while True:
            more = {
                k
                for k, v in enumerate(self.outputs)
                if k not in changed and is_float(v.dtype) and self._sources[id(v)] & sources
            }
            if not more:
                return changed
            changed |= more
            sources.update(id(v) for k in more if k < len(taps) for v in taps[k])

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
