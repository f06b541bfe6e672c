"""Merging: equal computations, equal constants and equal scans become one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from ..graph import Apply, Constant, FunctionGraph, Variable, toposort
from ..ops.scan_op import ScanSpec
from .rewrite import everywhere, rewrite

# The results of these do not depend on the order of the operands, to the last bit (which of two zeros
# `maximum` gives does).
COMMUTATIVE = frozenset(
    ("add", "mul", "eq", "ne", "logical_and", "logical_or", "bitwise_and", "bitwise_or", "bitwise_xor")
)
_LARGEST = 4096  # bytes of a constant compared by value; larger ones are compared by identity


def constant_key(v: Constant) -> Hashable:
    """Equal keys mean equal values, bit for bit."""
    data = v.data
    content: Hashable = data.tobytes() if data.nbytes <= _LARGEST else id(data)
    return ("constant", data.dtype.str, data.shape, content)


def param_key(params: Mapping[str, Any]) -> Hashable:
    """The content of an operation's parameters; step graphs are compared by structure."""
    parts: list[Hashable] = []
    for name in sorted(params):
        value = params[name]
        if isinstance(value, ScanSpec):
            parts.append((name, spec_key(value)))
            continue
        try:
            hash(value)
        except TypeError:
            value = id(value)
        # 1, 1.0 and True are equal and hash alike, but are not the same parameter.
        parts.append((name, type(value), value))
    return tuple(parts)


def node_key(node: Apply, inputs: Sequence[Hashable]) -> Hashable:
    """`inputs` are the keys of the node's inputs."""
    if node.op.name in COMMUTATIVE and len(inputs) == 2:
        return (node.op.name, frozenset(inputs), len(set(inputs)))
    return (node.op.name, tuple(inputs), param_key(node.params))


class Numbering:
    """Names for the variables of a graph: equal ones for what is computed alike, node for node, from inputs
    of equal names.  Graphs numbered with one table of `numbers` may be compared."""

    def __init__(self, names: dict[int, Hashable], numbers: dict[Hashable, int]) -> None:
        self.names = names
        self.numbers = numbers

    def name(self, v: Variable) -> Hashable:
        if id(v) not in self.names:
            self.names[id(v)] = constant_key(v) if isinstance(v, Constant) else ("free", id(v))
        return self.names[id(v)]

    def visit(self, outputs: Sequence[Variable], inputs: Sequence[Variable]) -> None:
        for node in toposort(outputs, inputs):
            key = node_key(node, [self.name(v) for v in node.inputs])
            number = self.numbers.setdefault(key, len(self.numbers))
            for k, v in enumerate(node.outputs):
                self.names.setdefault(id(v), ("node", number, k))


def structure(outputs: Iterable[Variable], inputs: Sequence[Variable]) -> Hashable:
    """The same for two graphs exactly when they compute the same, node for node, from their inputs."""
    outputs = list(outputs)
    numbering = Numbering({id(v): ("input", i, v.type) for i, v in enumerate(inputs)}, {})
    numbering.visit(outputs, inputs)
    return (tuple(numbering.numbers), tuple(numbering.name(v) for v in outputs))


def spec_key(spec: ScanSpec) -> Hashable:
    """What a scan does, without the names it uses in messages."""
    roles = (spec.sequences, spec.states, spec.mapped, spec.non_sequences, spec.until, spec.keep)
    gradient = (spec.truncate_gradient, spec.checkpoint, spec.memory_budget)
    return (roles, gradient, structure(spec.outputs, spec.inputs))


def _merge(graph: FunctionGraph) -> FunctionGraph:
    seen: dict[Hashable, Apply] = {}
    constants: dict[int, Hashable] = {}

    def key_of(v: Variable) -> Hashable:
        if not isinstance(v, Constant):
            return id(v)
        if id(v) not in constants:
            constants[id(v)] = constant_key(v)
        return constants[id(v)]

    def rule(node: Apply) -> Sequence[Variable] | None:
        key = node_key(node, [key_of(v) for v in node.inputs])
        first = seen.setdefault(key, node)
        return None if first is node else first.outputs

    return rewrite(graph, rule)


merge = everywhere(_merge)
