"""Rebuilding a graph node by node, and running a pass inside the step graphs of its scans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..graph import Apply, FunctionGraph, Variable, toposort
from ..ops.scan_op import ScanSpec, scan_op, spec_of

# Gives the outputs that replace a node's, or None to leave the node as it is.
Rule = Callable[[Apply], Sequence[Variable] | None]
# The same, given the node with its inputs already rewritten (but still its old outputs), and the old node.
OriginRule = Callable[[Apply, Apply], Sequence[Variable] | None]
Pass = Callable[[FunctionGraph], FunctionGraph]

_AGAIN = 8  # how often a rule may rewrite its own result


def is_scan(node: Apply | None) -> bool:
    return node is not None and node.op is scan_op


def _carry_name(old: Variable, new: Variable, existing: set[int]) -> None:
    # Only variables made by this rewrite may be named: the others belong to the graph we were given.
    if new.name is None and old.name is not None and new.owner is not None and id(new) not in existing:
        new.name = old.name


def _repeated(rule: Rule, node: Apply, existing: set[int]) -> Sequence[Variable]:
    made: Sequence[Variable] = node.outputs
    for _ in range(_AGAIN):
        better = rule(node)
        if better is None:
            break
        made = better
        owner = made[0].owner
        if owner is None or len(owner.outputs) != 1 or id(made[0]) in existing or is_scan(owner):
            break
        node = owner
    return made


def rebuild(
    outputs: Sequence[Variable],
    replacements: Mapping[int, Variable],
    rule: Rule | None = None,
    stop: Iterable[Variable] = (),
    origin_rule: OriginRule | None = None,
    order: Sequence[Apply] | None = None,
) -> list[Variable]:
    """`outputs` with variables replaced (by id) and a rule applied to every node, inputs first.

    What `rule` makes is given to it again, what `origin_rule` makes is not.  The graph given is not changed;
    nodes that stay the same are shared.
    """
    order = toposort(outputs, stop) if order is None else order
    existing = {id(v) for node in order for v in node.outputs}
    mapping: dict[int, Variable] = dict(replacements)
    for node in order:
        made: Sequence[Variable] | None = None
        current = node
        if mapping and not mapping.keys().isdisjoint(map(id, node.inputs)):
            current = Apply(
                node.op, tuple(mapping.get(id(v), v) for v in node.inputs), node.params, node.outputs
            )
        if origin_rule is not None:
            made = origin_rule(current, node)
        if made is None and current is not node:
            current = node.op.apply(current.inputs, node.params)
        if made is None:
            made = current.outputs if rule is None else _repeated(rule, current, existing)
        for old, new in zip(node.outputs, made):
            if old is not new and id(old) not in mapping:
                _carry_name(old, new, existing)
                mapping[id(old)] = new
    return [mapping.get(id(v), v) for v in outputs]


def rewrite(graph: FunctionGraph, rule: Rule) -> FunctionGraph:
    """One sweep of `rule` over the graph (not into step graphs)."""
    return with_outputs(graph, rebuild(graph.outputs, {}, rule, order=graph.order))


def rewrite_by_origin(graph: FunctionGraph, rule: OriginRule) -> FunctionGraph:
    """The same for a rule that was prepared on the nodes of the old graph."""
    return with_outputs(graph, rebuild(graph.outputs, {}, None, origin_rule=rule, order=graph.order))


def with_outputs(graph: FunctionGraph, outputs: Sequence[Variable]) -> FunctionGraph:
    """The graph itself when the outputs are the same, so that `is` tells whether a pass did something."""
    if all(a is b for a, b in zip(graph.outputs, outputs)):
        return graph
    return replace(graph, outputs=tuple(outputs))


def map_step(run: Pass, spec: ScanSpec) -> ScanSpec:
    """`spec` with its step graph passed through `run`; the same object when nothing changed."""
    if run in spec.step.settled:
        return spec
    done = run(spec.step)
    if done is not spec.step:
        return replace(spec, outputs=done.outputs)
    spec.step.settled.add(run)
    return spec


def map_steps(run: Pass, graph: FunctionGraph) -> FunctionGraph:
    """Every scan of the graph with its step graph passed through `run`."""
    known: dict[int, ScanSpec] = {}

    def rule(node: Apply) -> Sequence[Variable] | None:
        if not is_scan(node):
            return None
        spec = spec_of(node)
        if id(spec) not in known:
            known[id(spec)] = map_step(run, spec)
        new = known[id(spec)]
        return None if new is spec else scan_op.apply(node.inputs, {**node.params, "spec": new}).outputs

    if not any(map(is_scan, graph.order)):
        return graph
    return rewrite(graph, rule)


def everywhere(sweep: Pass) -> Pass:
    """`sweep` on the graph and on all step graphs, innermost first."""

    def run(graph: FunctionGraph) -> FunctionGraph:
        return sweep(map_steps(run, graph))

    return run


def readers(graph: FunctionGraph) -> dict[int, list[Apply | None]]:
    """For every variable (by id), who reads it: nodes, and None for the graph's own outputs."""
    table: dict[int, list[Apply | None]] = {}
    for node in graph.order:
        for v in node.inputs:
            table.setdefault(id(v), []).append(node)
    for v in graph.outputs:
        table.setdefault(id(v), []).append(None)
    return table
