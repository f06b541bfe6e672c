"""The reverse of a scan, which is a scan (D10).

For each state λ[t] = g[t] + p1, then pj ← p(j+1) + (∂f/∂tap j)ᵀ λ[t] with p(k+1) = 0: when step t of the
forward scan is reached from behind, pj holds what the later steps give to the value of the state at
t - j + 1.  So p1 is where a cotangent of the last value enters, as an initial value, and what the registers
hold at the end is the cotangent of the initial values.  A mapped output is a state without taps.
Registers that nothing is added to are only moved on: those between two taps are one state, a delay, which is
read as many steps back as there are registers in it.

Sequences get mapped cotangents, non-sequences accumulating states of which only the last value is read.
The step recomputes what it needs from the states: their traces, next to sequences and non-sequences, are its
inputs, and what is dear to compute again (kept.py).  All of these are views, reversed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..differentiate import pullback, total
from ..graph import Apply, Constant, Variable, roots, substitute, toposort
from ..ops.base import is_float
from ..ops.history import history, pad_end, pad_start
from ..ops.scan_op import operands_of, spec_of
from ..ops.shape import dim
from .activity import Flow, wanted_inputs
from .builder import Built, ScanBuilder, State
from .kept import is_dear, kept, with_outputs
from .tails import added, split_tail


def reverse(
    node: Apply, cotangents: Sequence[Variable | None], wanted: Sequence[bool] | None = None
) -> list[Variable | None]:
    """The cotangents of the inputs of the scan `node`, given those of its outputs.

    Only the cotangents of inputs marked in `wanted` are made (default: of all floating ones).
    """
    flags = [is_float(v.dtype) and (wanted is None or wanted[i]) for i, v in enumerate(node.inputs)]
    if spec_of(node).checkpoint is not None:
        from .checkpoint import reverse_by_leaves

        return reverse_by_leaves(node, cotangents, flags)
    return Reverse(node, cotangents, flags).run()


@dataclass
class Received:
    """What flows into one output: `dense` over all steps, `tail` (rows, in order) at the last steps only."""

    dense: Variable | None = None
    tail: Variable | None = None

    @property
    def tail_length(self) -> int:
        return 0 if self.tail is None else int(self.tail.type.shape[0] or 0)


@dataclass
class Registers:
    """The cotangent registers p1, p2, … of one output, as delays.

    delays          the state of delay i holds p(start + 1) … p(depths[i]), the first being the oldest, where start
                    is depths[i - 1]; its tap is the oldest
    contributions   (∂f/∂tap)ᵀ λ by depth
    """

    depths: tuple[int, ...]
    delays: list[State]
    contributions: dict[int, Variable] = field(default_factory=dict)

    def shift(self) -> None:
        """Set the next values: pj ← p(j+1) + contribution j."""
        from ..tensor import zeros_like

        for i, (depth, delay) in enumerate(zip(self.depths, self.delays)):
            later = [self.delays[i + 1].value] if i + 1 < len(self.delays) else []
            delay.next = total(
                [*later, *([self.contributions[depth]] if depth in self.contributions else [])]
            )
            if delay.next is None:
                delay.next = zeros_like(delay.value)


class Reverse:
    """One run of `reverse`; each method is one phase."""

    def __init__(self, node: Apply, cotangents: Sequence[Variable | None], wanted: Sequence[bool]) -> None:
        self.node = node
        self.spec = spec_of(node)
        self.operands = operands_of(node)
        self.wanted = wanted
        self.want_sequence, self.want_initial, self.want_constant = wanted_inputs(self.spec, wanted)
        self.flow = Flow(self.spec)
        self.builder = ScanBuilder(f"gradient of {self.spec.name}")
        self.steps = node.outputs[-1] if self.spec.until else self.operands.steps
        self.received = [
            Received(*split_tail(g)) if g is not None and is_float(v.dtype) else Received()
            for v, g in zip(node.outputs[:-1], cotangents)
        ]

    def run(self) -> list[Variable | None]:
        self._choose()
        if not self.carried:
            return [None] * len(self.node.inputs)
        self._declare()
        self._pull()
        self._bind_inputs()
        built = self.builder.build(self._run_length())
        return self._collect(built)

    # Which cotangents are carried.

    def _choose(self) -> None:
        spec, flow = self.spec, self.flow
        taps = spec.state_inputs()
        sources = [v for v, w in zip(spec.sequence_inputs(), self.want_sequence) if w]
        sources += [v for v, w in zip(spec.non_sequence_inputs(), self.want_constant) if w]
        changed = flow.changed_by(sources, [s for s, w in enumerate(self.want_initial) if w])
        given = [k for k, r in enumerate(self.received) if r.dense is not None or r.tail is not None]
        # Outputs with a λ: a cotangent reaches them, and they pass it on.
        self.carried = sorted(changed & flow.feeding(given))
        # States whose earlier values get cotangents, from outputs with a λ.
        self.fed = [
            s
            for s in range(len(taps))
            if (s in changed or self.want_initial[s]) and any(flow.reads(k, taps[s]) for k in self.carried)
        ]

    # The inputs of the reverse scan that carry cotangents.

    def _declare(self) -> None:
        self.arriving: dict[int, Variable] = {}
        self.registers: dict[int, Registers] = {}
        for k in sorted({*self.carried, *self.fed}):
            received = self.received[k] if k in self.carried else Received()
            if received.dense is not None:
                label = f"cotangent of {self.spec.labels[k]}"
                self.arriving[k] = self.builder.sequence(received.dense[::-1], label)
            taps = {-tap for tap in self.spec.states[k]} if k in self.fed else set()
            # Cotangents of the last values are initial values of the registers, and enter nowhere else.
            ends = tuple(sorted(taps | {max([*taps, received.tail_length])} - {0}))
            if ends:
                starts = (0, *ends[:-1])
                delays = [self._delay(k, *ends, received.tail) for ends in zip(starts, ends)]
                self.registers[k] = Registers(ends, delays)

    def _delay(self, k: int, start: int, end: int, tail: Variable | None) -> State:
        """p(start + 1) … p(end) of output k, which begin as the tail's rows from its end, and zeros before these."""
        from ..tensor import concatenate, zeros_like

        known = 0 if tail is None else int(tail.type.shape[0] or 0)
        rows = [] if tail is None or known <= start else [tail[::-1][start:end]]
        if known < end:
            rows.append(zeros_like(self.operands.initials[k][: end - max(start, known)]))
        first = rows[0] if len(rows) == 1 else concatenate(rows, axis=0)
        label = f"cotangent of {self.spec.labels[k]}[t-{start + 1}]"
        return self.builder.state(first, label, (start - end,), self.spec.outputs[k].type)

    # The transposed step.

    def _pull(self) -> None:
        spec = self.spec
        lambdas = [spec.outputs[k].clone(f"λ of {spec.labels[k]}") for k in self.carried]
        taps = spec.state_inputs()
        sequences = [v for v, w in zip(spec.sequence_inputs(), self.want_sequence) if w]
        constants = [v for v, w in zip(spec.non_sequence_inputs(), self.want_constant) if w]
        fed = [v for s in self.fed for v in taps[s]]
        pulled = pullback([spec.outputs[k] for k in self.carried], lambdas, [*sequences, *fed, *constants])
        values: dict[Variable, Variable] = {}
        for k, lam in zip(self.carried, lambdas):
            terms = [self.arriving[k]] if k in self.arriving else []
            terms += [self.registers[k].delays[0].value] if k in self.registers else []
            value = total(terms)
            assert value is not None
            values[lam] = value
        remaining = iter(substitute_all(pulled, values))
        self.to_sequences = [next(remaining) for _ in sequences]
        for s in self.fed:
            for tap in spec.states[s]:
                g = next(remaining)
                if g is not None:
                    self.registers[s].contributions[-tap] = g
        self.to_constants = [next(remaining) for _ in constants]
        for registers in self.registers.values():
            registers.shift()
        self._accumulate([c for c, w in zip(self.operands.non_sequences, self.want_constant) if w])

    def _accumulate(self, operands: Sequence[Variable]) -> None:
        """States that sum the cotangents of non-sequences, and mapped outputs for those of sequences."""
        from ..tensor import shape_padleft, zeros_like

        steps = [v for v, w in zip(self.spec.non_sequence_inputs(), self.want_constant) if w]
        self.accumulators: list[State | None] = []
        for operand, step, g in zip(operands, steps, self.to_constants):
            if g is None:
                self.accumulators.append(None)
                continue
            label = f"cotangent of {step.name or 'non-sequence'}"
            state = self.builder.state(shape_padleft(zeros_like(operand)), label, type=step.type)
            state.next = added(state.value, g)
            self.accumulators.append(state)
        for i, g in enumerate(self.to_sequences):
            if g is not None:
                self.builder.output(g, f"cotangent of sequence {i}")

    # What the transposed step reads of the forward run.

    def _bind_inputs(self) -> None:
        builder, spec = self.builder, self.spec
        results = [s.next for s in builder.states if s.next is not None] + [v for v, _ in builder.mapped]
        traces = self._readable_traces(results)
        more = kept(results, spec.inputs, traces)
        if more:
            first = len(spec.keep)
            self.node = with_outputs(self.node, more)
            traces.update({v: first + k for k, v in enumerate(more)})
        found = roots(results, [*spec.inputs, *traces])
        mapping: dict[Variable, Variable] = {}
        by_id = self._sources()
        for v in found:
            if v in traces:
                mapping[v] = builder.sequence(self.node.outputs[traces[v]][::-1], v.name)
            elif id(v) in by_id:
                mapping[v] = by_id[id(v)].bind(self)
        new = iter(substitute(results, mapping))
        for state in builder.states:
            state.next = next(new)
        builder.mapped = [(next(new), label) for _, label in builder.mapped]

    def _readable_traces(self, results: Sequence[Variable]) -> dict[Variable, int]:
        """Outputs of the step read from their traces, not recomputed: the states, and dear mapped ones."""
        spec = self.spec
        chosen: dict[Variable, int] = {}
        inputs = {id(v) for v in spec.inputs}
        for k, v in enumerate(spec.outputs[: len(spec.keep)]):
            if v.owner is None or id(v) in inputs or v in chosen:
                continue
            nodes = toposort([v], [*spec.inputs, *chosen])
            if k < len(spec.states) or any(map(is_dear, nodes)):
                chosen[v] = k
        return chosen

    def _sources(self) -> dict[int, _Source]:
        """Where the reverse run finds the value of each step input."""
        spec = self.spec
        table: dict[int, _Source] = {}
        for i, v in enumerate(spec.sequence_inputs()):
            table[id(v)] = _Source("sequence", i)
        for s, (taps, variables) in enumerate(zip(spec.states, spec.state_inputs())):
            for tap, v in zip(taps, variables):
                table[id(v)] = _Source("state", s, tap)
        for i, v in enumerate(spec.non_sequence_inputs()):
            table[id(v)] = _Source("constant", i)
        return table

    # The length of the run, and what comes out of it.

    def _run_length(self) -> Variable:
        from ..tensor import minimum

        limit = self.spec.truncate_gradient
        return self.steps if limit < 0 else minimum(self.steps, limit)

    def _collect(self, built: Built) -> list[Variable | None]:
        results: list[Variable | None] = [None] * len(self.node.inputs)
        traces = dict(zip(map(id, self.builder.states), built.states))
        mapped = iter(built.mapped)
        wanted = [i for i, w in enumerate(self.want_sequence) if w]
        for i, g in zip(wanted, self.to_sequences):
            if g is not None:
                results[1 + i] = self._lengthen(next(mapped)[::-1], self.operands.sequences[i])
        first = 1 + self.spec.sequences
        for s in self.fed:
            if self.want_initial[s]:
                results[first + s] = self._initial(s, traces)
        places = [i for i, w in enumerate(self.want_constant) if w]
        for i, state in zip(places, self.accumulators):
            if state is not None:
                results[first + len(self.spec.states) + i] = history(state.initial, traces[id(state)])[-1]
        return results

    def _lengthen(self, g: Variable, sequence: Variable) -> Variable:
        """The cotangent of the steps run, with zeros for the steps before (truncation) and the rows after."""
        if self.spec.truncate_gradient >= 0:
            g = pad_start(g, self.steps)
        return g if same_length(self.steps, sequence) else pad_end(g, dim(sequence, 0))

    def _initial(self, s: int, traces: dict[int, Variable]) -> Variable:
        """The cotangent of the initial values of state s, oldest first: what its registers hold last."""
        from ..tensor import concatenate, switch, zeros_like

        registers, rows = self.registers[s], []
        for end, p in zip(registers.depths, registers.delays):
            if end <= self.spec.depths[s]:
                last = history(p.initial, traces[id(p)])[p.taps[0] :]
                rows.append(last if p.taps == (-1,) else last[::-1])
        g = rows[0] if len(rows) == 1 else concatenate(rows[::-1], axis=0)
        limit = self.spec.truncate_gradient
        return g if limit < 0 else switch(self.steps <= limit, g, zeros_like(g))


@dataclass(frozen=True)
class _Source:
    """Where a step input's value comes from."""

    kind: str
    number: int
    tap: int = 0

    def bind(self, run: Reverse) -> Variable:
        """The input of the reverse step that has this value."""
        spec, operands, builder = run.spec, run.operands, run.builder
        if self.kind == "constant":
            v = spec.non_sequence_inputs()[self.number]
            return builder.constant(operands.non_sequences[self.number], v.type, v.name)
        if self.kind == "sequence":
            v = spec.sequence_inputs()[self.number]
            rows = operands.sequences[self.number]
            if not same_length(run.steps, rows):
                rows = rows[: run.steps]
            return builder.sequence(rows[::-1], v.name)
        values = history(operands.initials[self.number], run.node.outputs[self.number])
        first = spec.depths[self.number] + self.tap
        return builder.sequence(values[first : self.tap][::-1], f"{spec.labels[self.number]}[t{self.tap}]")


def substitute_all(
    variables: Sequence[Variable | None], values: Mapping[Variable, Variable]
) -> list[Variable | None]:
    """`substitute` for a list with gaps; what the variables share stays shared."""
    made = iter(substitute([v for v in variables if v is not None], values))
    return [None if v is None else next(made) for v in variables]


def same_length(steps: Variable, sequence: Variable) -> bool:
    """Whether `steps` is known to be the length of `sequence`."""
    length = sequence.type.shape[0]
    if isinstance(steps, Constant) and length is not None:
        return int(steps.data) == length
    return is_length_of(steps, sequence)


def is_length_of(steps: Variable, sequence: Variable) -> bool:
    """Whether `steps` was written as sequence.shape[0]."""
    owner = steps.owner
    if owner is None or owner.op.name != "shape_i":
        return False
    return owner.params["axis"] == 0 and owner.inputs[0] is sequence
