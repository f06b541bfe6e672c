"""A scan taken apart into records that passes edit as lists, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..graph import Apply, Variable
from ..ops.scan_op import ScanSpec, operands_of, scan_op, spec_of
from .rewrite import Rule, rebuild


@dataclass
class Feed:
    """A sequence or non-sequence: the step input and what is bound to it."""

    step: Variable
    operand: Variable


@dataclass
class Fed:
    """A state: step inputs (one per tap, oldest first), initial value, next value."""

    taps: tuple[int, ...]
    steps: tuple[Variable, ...]
    initial: Variable
    next: Variable
    keep: int | None
    label: str
    source: int | None  # which output of the scan taken apart this is; None for a new one


@dataclass
class Mapped:
    """A mapped output."""

    value: Variable
    keep: int | None
    label: str
    source: int | None


@dataclass
class Loop:
    """The parts of one scan, `node`.

    By source: `replaced` holds results that no longer come out of the loop, `aliases` the source of an output
    that has the same values.
    """

    node: Apply
    spec: ScanSpec
    steps: Variable
    sequences: list[Feed]
    states: list[Fed]
    mapped: list[Mapped]
    non_sequences: list[Feed]
    condition: Variable | None
    replaced: dict[int, Variable] = field(default_factory=dict)
    aliases: dict[int, int] = field(default_factory=dict)

    @classmethod
    def open(cls, node: Apply) -> Loop:
        spec, operands = spec_of(node), operands_of(node)
        count = len(spec.states)
        states = [
            Fed(taps, steps, initial, following, spec.keep[i], spec.labels[i], i)
            for i, (taps, steps, initial, following) in enumerate(
                zip(spec.states, spec.state_inputs(), operands.initials, spec.state_outputs())
            )
        ]
        mapped = [
            Mapped(value, spec.keep[count + i], spec.labels[count + i], count + i)
            for i, value in enumerate(spec.mapped_outputs())
        ]
        return cls(
            node,
            spec,
            operands.steps,
            [Feed(*pair) for pair in zip(spec.sequence_inputs(), operands.sequences)],
            states,
            mapped,
            [Feed(*pair) for pair in zip(spec.non_sequence_inputs(), operands.non_sequences)],
            spec.condition(),
        )

    def results(self) -> list[Variable]:
        """The outputs of the step graph."""
        condition = [] if self.condition is None else [self.condition]
        return [s.next for s in self.states] + [m.value for m in self.mapped] + condition

    def value(self, k: int) -> Variable:
        """What a step gives for output `k` of the scan taken apart."""
        values = {s.source: s.next for s in self.states} | {m.source: m.value for m in self.mapped}
        return values[k]

    def set_results(self, results: list[Variable]) -> None:
        """The outputs of the step graph, rewritten one for one."""
        remaining = iter(results)
        for state in self.states:
            state.next = next(remaining)
        for output in self.mapped:
            output.value = next(remaining)
        if self.condition is not None:
            self.condition = next(remaining)

    def replace_in_step(self, replacements: Mapping[int, Variable], rule: Rule | None = None) -> None:
        """Variables of the step graph replaced (by id), and its nodes rewritten."""
        if replacements or rule is not None:
            self.set_results(rebuild(self.results(), replacements, rule))

    def to_spec(self) -> ScanSpec:
        states, mapped = self.states, self.mapped
        inputs = [f.step for f in self.sequences] + [v for s in states for v in s.steps]
        return replace(
            self.spec,
            inputs=(*inputs, *(f.step for f in self.non_sequences)),
            outputs=tuple(self.results()),
            sequences=len(self.sequences),
            states=tuple(s.taps for s in states),
            mapped=len(mapped),
            non_sequences=len(self.non_sequences),
            until=self.condition is not None,
            keep=(*(s.keep for s in states), *(m.keep for m in mapped)),
            labels=(*(s.label for s in states), *(m.label for m in mapped)),
        )

    def close(self) -> list[Variable]:
        """The new scan; gives the variables that replace the outputs of the one taken apart.

        An output that was dropped is left as it was: nothing that counts reads it.
        """
        operands = [self.steps, *(f.operand for f in self.sequences), *(s.initial for s in self.states)]
        operands += [f.operand for f in self.non_sequences]
        made = dict(enumerate(self.node.outputs))
        last = len(made) - 1
        if self.states or self.mapped or self.condition is not None:
            node = scan_op.apply(operands, {**self.node.params, "spec": self.to_spec()})
            made[last] = node.outputs[-1]
            sources = [s.source for s in self.states] + [m.source for m in self.mapped]
            made.update({i: v for i, v in zip(sources, node.outputs) if i is not None})
        else:
            made[last] = self.steps  # nothing is left to run
        made.update(self.replaced)
        made.update({i: made[j] for i, j in self.aliases.items()})
        return list(made.values())
