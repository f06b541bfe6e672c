"""`explain` says what a compiled function will do: its loops, what they keep, where, and how many bytes that takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .errors import UserError, UserTypeError
from .explain_text import lines_of, number
from .graph import FunctionGraph, SharedVariable, Variable, describe, toposort
from .plan import NO_SLOT, STEPS_SLOT, Branch, Call, Instruction, Library, Loop, Storage
from .statements import products

if TYPE_CHECKING:
    from .function import Function
    from .lower import Lowered
    from .lower.report import ScanReport
    from .lower.scan import ScanOutput
    from .sizes import DryRun, LoopSizes

Dims = tuple[int | None, ...]


@dataclass(frozen=True)
class InputExplanation:
    """An argument, or a shared variable that is read; None stands for a dim that is not known."""

    name: str
    dtype: str
    shape: Dims
    shared: bool = False


@dataclass(frozen=True)
class OutputExplanation:
    """What a scan stores of one output.

    keep      None: the whole trace; k: its last k steps; 0: nothing is read after the loop
    storage   "trace"; "ring" of several slots; "last" (the newest value, and what it is made of); "in place"
              (one slot, of which each step changes a part); "none"
    part      where it is computed: "recurrence", "epilogue", or "accumulated" (a sum, by the epilogue)
    slots     None where it depends on a number of steps that is not known; `bytes` likewise
    """

    label: str
    dtype: str
    keep: int | None
    storage: str
    part: str
    slots: int | None
    bytes: int | None


@dataclass(frozen=True)
class ScanExplanation:
    """One scan.

    sequences        what is read step by step, and `non_sequences`, what is the same at every step
    steps_source     where the number of steps comes from; `steps` is that number (with `until` the most there can
                     be), None when it is not known
    block_length     steps of a block
    order            "lanes": lanes outside, time inside; "rows": each thread takes rows of its own through all steps of
                     a block; "time": step by step
    threads          the most that share the lanes, rows, columns or, before and after the recurrence, the steps of a
                     block; products of large matrices are shared besides
    group            the steps of a linear recurrence that are composed before they are run; 1 for step by step
    columns          whether threads may take columns of their own through the steps, meeting in products
    overlap          whether another thread may end and prepare blocks while one recurs, where that takes less time
    form             "native": one kernel runs a block's recurrence; "instructions": a list of them runs each step
    reasons          why not "lanes", not "native", not "rows", not "batched" (no prologue and epilogue), as far as so
    prologue         what is computed for a whole block before its recurrence
    epilogue         the mapped outputs that are computed for a whole block after its recurrence
    accumulated      the states that the epilogue adds up
    kernels          library kernels of "prologue", "recurrence" and "epilogue"
    temporary_bytes  of the memory of a block or step, which is given back after the loop
    scans            the scans in its step
    """

    name: str
    sequences: tuple[str, ...]
    non_sequences: tuple[str, ...]
    steps_source: str
    steps: int | None
    until: bool
    block_length: int | None
    order: str
    group: int
    threads: int
    columns: bool
    overlap: bool
    form: str
    reasons: Mapping[str, str]
    prologue: tuple[str, ...]
    epilogue: tuple[str, ...]
    accumulated: tuple[str, ...]
    kernels: Mapping[str, tuple[str, ...]]
    outputs: tuple[OutputExplanation, ...]
    temporary_bytes: int | None
    scans: tuple[ScanExplanation, ...]

    def output(self, label: str) -> OutputExplanation:
        """The output of this label."""
        return next(o for o in self.outputs if o.label == label)


@dataclass(frozen=True)
class GraphNode:
    """A node of the optimised graph, for drawing: kind is "input", "operation", "scan" or "output".

    Views and lengths are left out.  `details` of a scan are lines: what it runs over, and what it keeps.
    """

    label: str
    kind: str
    inputs: tuple[int, ...] = ()
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """What `explain` found.  `peak_bytes` is the most bytes of buffers live at once, results included, inputs not."""

    name: str
    inputs: tuple[InputExplanation, ...]
    scans: tuple[ScanExplanation, ...]
    peak_bytes: int | None
    nodes: tuple[GraphNode, ...] = ()

    def walk(self) -> Iterable[ScanExplanation]:
        """Every scan, each before those in its step."""
        stack = list(reversed(self.scans))
        while stack:
            scan = stack.pop()
            yield scan
            stack += reversed(scan.scans)

    def scan(self, name: str) -> ScanExplanation:
        """The first scan of this name."""
        return next(s for s in self.walk() if s.name == name)

    def __str__(self) -> str:
        return "\n".join(lines_of(self))

    def __repr__(self) -> str:
        return str(self)

    def html(self) -> str:
        """The graph as a drawing, and the tables, in HTML that needs nothing else."""
        from .explain_html import page

        return page(self)

    _repr_html_ = html


def explain(f: Function, *arguments: Any, **named: Any) -> Explanation:
    """What the compiled function `f` does for these arguments: its loops, and what they keep.

    An argument is a value, or a tuple of as many ints as it has dimensions: its shape.  An argument that is not
    given, and a dim given as None, is not known: it counts as larger than 16, and what depends on it is None.
    Nothing is computed.

    Raises UserTypeError for arguments that do not fit.
    """
    from .lengths import base_axes, signature, step_axes
    from .lower import lower
    from .lower.function import SMALL
    from .passes import optimise
    from .sizes import DryRun

    graph = optimise(f.program.graph)
    shapes, values = _arguments(f, arguments, named)
    lengths = step_axes(graph)
    try:
        lowered = lower(graph, signature(shapes, lengths, base_axes(graph), SMALL), lengths)
    except UserError as error:
        unknown = [describe(v) for v, shape in zip(graph.inputs, shapes) if None in shape]
        if not unknown:
            raise
        raise UserTypeError(
            f"explain: {f.name}: dims that are not given count as larger than {SMALL}, which does not fit here "
            f"({error}); give the shapes of {', '.join(unknown)}"
        ) from error
    run = DryRun(lowered, shapes, values)
    inputs = tuple(
        InputExplanation(describe(v), v.dtype, tuple(s), isinstance(v, SharedVariable))
        for v, s in zip(graph.inputs, shapes)
    )
    found = _Scans(lowered, run)
    scans = found.of(lowered.plan.instructions)
    return Explanation(f.name, inputs, scans, run.peak_bytes, _nodes(graph, found.by_node))


# -- arguments --------------------------------------------------------------------------------------------


def _arguments(
    f: Function, arguments: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[Dims], dict[int, np.ndarray]]:
    """Shapes of all inputs of the graph, and those values that are known."""
    given = f.program.arguments
    if len(arguments) > len(given):
        raise UserTypeError(f"explain: {f.name} takes {len(given)} input(s), got {len(arguments)}")
    bound: dict[int, Any] = dict(enumerate(arguments))
    positions = {a.name: i for i, a in enumerate(given) if a.name is not None}
    for key, value in named.items():
        if key not in positions:
            raise UserTypeError(
                f"explain: {f.name} has no input named '{key}'; they are {', '.join(positions)}"
            )
        bound[positions[key]] = value
    shapes: list[Dims] = []
    values: dict[int, np.ndarray] = {}
    for i, a in enumerate(given):
        value = bound.get(i)
        if value is None and a.default is not None:
            value = a.default.container[0]
        if value is None or _is_shape(value, a.variable):
            shapes.append(_dims(value, a.variable))
        else:
            values[i] = f._convert(i, value)
            shapes.append(values[i].shape)
    for i, v in enumerate(f.program.reads, len(given)):
        values[i] = np.asarray(v.container[0])
        shapes.append(values[i].shape)
    return shapes, values


def _is_shape(value: Any, v: Variable) -> bool:
    whole = isinstance(value, tuple) and all(d is None or isinstance(d, (int, np.integer)) for d in value)
    return whole and len(value) == v.ndim


def _dims(given: Sequence[int | None] | None, v: Variable) -> Dims:
    """The shape given, completed by what the type declares."""
    known = given or (None,) * v.ndim
    dims = tuple(declared if d is None else d for d, declared in zip(known, v.type.shape))
    for axis, (d, declared) in enumerate(zip(dims, v.type.shape)):
        if declared is not None and d != declared:
            raise UserTypeError(
                f"explain: '{describe(v)}': axis {axis} is {declared} long ({v.type}), got {d}"
            )
    return dims


# -- scans ------------------------------------------------------------------------------------------------


class _Scans:
    def __init__(self, lowered: Lowered, run: DryRun) -> None:
        self.reports = {r.done_slot: r for r in lowered.reports}
        self.run = run
        self.by_node: dict[int, ScanExplanation] = {}

    def of(self, instructions: Iterable[Instruction]) -> tuple[ScanExplanation, ...]:
        return tuple(self.one(i) for i in _flat(instructions) if isinstance(i, Loop))

    def one(self, loop: Loop) -> ScanExplanation:
        from .ops.scan_op import spec_of
        from .printing import brief

        report, sizes = self.reports[loop.done_slot], self.run.sizes(loop)
        spec = spec_of(report.node)
        parts = {"prologue": loop.prologue, "recurrence": loop.recurrence, "epilogue": loop.epilogue}
        labels = [o.label for o in report.outputs]
        made = self.by_node[id(report.node)] = ScanExplanation(
            name=loop.name,
            sequences=_sequences(report),
            non_sequences=_non_sequences(report),
            steps_source=brief(report.node.inputs[0]),
            steps=sizes.steps,
            until=spec.until,
            block_length=sizes.block,
            order="lanes" if report.lanes else "time" if loop.rows_slot == NO_SLOT else "rows",
            group=report.group,
            threads=self._threads(loop, sizes),
            columns=any(isinstance(i, Call) and i.together for i in loop.recurrence),
            overlap=bool(loop.shared_buffers),
            form="native" if loop.native else "instructions",
            reasons=dict(report.reasons),
            prologue=_hoisted(report),
            epilogue=tuple(labels[k] for k in report.parts.epilogue),
            accumulated=tuple(labels[a.state] for a in report.parts.accumulators),
            kernels={name: self._kernels(part) for name, part in parts.items()},
            outputs=_outputs(report, loop.storages, sizes),
            temporary_bytes=sizes.temporaries,
            scans=self.of([*loop.prologue, *loop.recurrence, *loop.epilogue]),
        )
        return made

    def _kernels(self, instructions: Iterable[Instruction]) -> tuple[str, ...]:
        """The library kernels; products are told one by one, however their operands lie and whoever calls them."""
        names: list[str] = []
        for i in _flat(instructions):
            if isinstance(i, Library):
                names += ["matmul"] * (len(i.operands) // 2) if i.kernel == "matmul_packed" else [i.kernel]
            elif isinstance(i, Call):
                names += ["matmul"] * len(products(self.run.lowered.kernels[i.kernel].body))
        return tuple(names)

    def _threads(self, loop: Loop, sizes: LoopSizes) -> int:
        from ._core import get_threads, lane_parts

        calls = [i for i in (*loop.prologue, *loop.recurrence, *loop.epilogue) if isinstance(i, Call)]
        slots = {(i.lanes_slot, i.cost_slot, i.together) for i in calls}
        slots.add((loop.rows_slot, loop.row_cost_slot, False))
        most = 1
        for lanes_slot, cost_slot, together in slots - {(NO_SLOT, NO_SLOT, False)}:
            steps = None if sizes.block is None or sizes.steps is None else min(sizes.block, sizes.steps)
            by_steps = lanes_slot == STEPS_SLOT
            lanes, cost = 1 if by_steps else self.run.dims[lanes_slot], self.run.dims[cost_slot]
            if lanes is None or cost is None or steps is None:
                return get_threads()
            grain: Literal["steps", "rows", "lanes"]
            grain = "steps" if by_steps else "rows" if lanes_slot == loop.rows_slot else "lanes"
            work = lanes * cost if together else steps * lanes * cost
            most = max(most, lane_parts(steps if by_steps else lanes, work, grain))
        return most


# What is read of these is a part of their operand.
_PARTS = ("subtensor", "history", "dimshuffle")


def _sequences(report: ScanReport) -> tuple[str, ...]:
    from .ops.scan_op import operands_of, spec_of
    from .printing import brief

    def name(step: Variable, operand: Variable) -> str:
        if step.name and "[" in step.name:
            return step.name
        while operand.name is None and operand.owner is not None and operand.owner.op.name in _PARTS:
            operand = operand.owner.inputs[-1 if operand.owner.op.name == "history" else 0]
        if operand.owner is not None and operand.owner.op.name == "arange":
            return "t"  # the numbers of the steps
        text = brief(operand, 1)
        return f"({text})[t]" if " " in text else f"{text}[t]"

    given = zip(spec_of(report.node).sequence_inputs(), operands_of(report.node).sequences)
    return tuple(dict.fromkeys(name(v, g) for v, g in given))


def _non_sequences(report: ScanReport) -> tuple[str, ...]:
    from .ops.scan_op import operands_of
    from .printing import brief

    # Lengths are of no interest here.
    given = [v for v in operands_of(report.node).non_sequences if v.ndim or v.owner is None]
    return tuple(dict.fromkeys(map(brief, given)))


def _hoisted(report: ScanReport) -> tuple[str, ...]:
    from .ops.scan_op import operands_of, spec_of
    from .printing import brief

    given = zip(spec_of(report.node).sequence_inputs(), operands_of(report.node).sequences)
    computed = [f"({brief(g)})[t]" for v, g in given if any(v is c for c in report.computed)]
    return (*computed, *map(brief, report.parts.hoisted))


def _outputs(
    report: ScanReport, storages: Sequence[Storage], sizes: LoopSizes
) -> tuple[OutputExplanation, ...]:
    late = set(report.parts.epilogue)
    summed = {a.state for a in report.parts.accumulators}

    def one(k: int, o: ScanOutput) -> OutputExplanation:
        part = "epilogue" if k in late else "accumulated" if k in summed else "recurrence"
        kind = "last" if k in summed else "in place" if o.updates else _storage_kind(storages[k])
        return OutputExplanation(o.label, o.dtype, o.keep, kind, part, sizes.slots[k], sizes.bytes[k])

    return tuple(one(k, o) for k, o in enumerate(report.outputs))


def _storage_kind(s: Storage) -> str:
    reach = max(s.keep, s.depth)
    return "trace" if s.keep < 0 else "none" if reach == 0 else "last" if reach == 1 else "ring"


def _flat(instructions: Iterable[Instruction]) -> Iterable[Instruction]:
    """The instructions, those of branches in their place."""
    for i in instructions:
        yield i
        if isinstance(i, Branch):
            yield from _flat(i.then)
            yield from _flat(i.otherwise)


def _nodes(graph: FunctionGraph, scans: Mapping[int, ScanExplanation]) -> tuple[GraphNode, ...]:
    from .ops.base import Element
    from .passes.hoist import is_free

    nodes: list[GraphNode] = []
    places: dict[int, tuple[int, ...]] = {}  # per variable, the nodes it is made by

    def sources(variables: Sequence[Variable]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(k for v in variables for k in places.get(id(v), ())))

    def add(node: GraphNode, made: Sequence[Variable]) -> None:
        places.update((id(v), (len(nodes),)) for v in made)
        nodes.append(node)

    for v in graph.inputs:
        add(GraphNode(describe(v), "input"), [v])
    for node in toposort(graph.outputs, graph.inputs):
        inputs, scan = sources(node.inputs), scans.get(id(node))
        if scan is not None:
            add(GraphNode(scan.name, "scan", inputs, _details(scan)), node.outputs)
        elif is_free(node) or isinstance(node.op.lower, Element) or node.op.name in ("history", "spread"):
            places.update((id(v), inputs) for v in node.outputs)
        else:
            add(GraphNode(node.op.name, "operation", inputs), node.outputs)
    for i, v in enumerate(graph.outputs):
        nodes.append(GraphNode(v.name or f"output {i}", "output", sources([v])))
    return tuple(nodes)


def _details(scan: ScanExplanation) -> tuple[str, ...]:
    """What a drawing says of a scan."""
    names = scan.sequences if len(scan.sequences) < 4 else (*scan.sequences[:3], "…")
    over = ", ".join(names) or f"{number(scan.steps)} steps"
    kept = {None: "all steps", 0: "not kept", 1: "last step"}
    return (f"over {over}", *(f"{o.label}: {kept.get(o.keep, f'last {o.keep} steps')}" for o in scan.outputs))
