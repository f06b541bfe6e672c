"""Derivatives of graphs: cotangents pulled back from outputs, tangents pushed forward from inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .collector import uncollected
from .errors import GradientNotDefinedError, InternalError
from .graph import Apply, Variable, describe, substitute, toposort
from .ops.base import is_float

# Rows whose output hides its input from every gradient.
BARRIERS = frozenset({"disconnected_grad"})


@uncollected()
def pullback(
    outputs: Sequence[Variable],
    cotangents: Sequence[Variable | None],
    wrt: Sequence[Variable],
    constants: Iterable[Variable] = (),
) -> list[Variable | None]:
    """The cotangents of `wrt`, given those of `outputs`; None where nothing flows.

    Nothing flows through the owners of `constants`.
    """
    constants = list(constants)
    order = toposort(outputs, constants)
    active = reached(order, wrt)
    terms: dict[int, list[Variable]] = {}
    for v, g in zip(outputs, cotangents):
        if g is not None and is_float(v.dtype):
            terms.setdefault(id(v), []).append(_fit(g, v, "cotangent", "the output"))
    for node in reversed(order):
        if not any(id(v) in active for v in node.inputs):
            continue
        received = [total(terms.get(id(v))) for v in node.outputs]
        if all(g is None for g in received):
            continue
        wanted = [id(v) in active for v in node.inputs]
        for v, g, needed in zip(node.inputs, _transpose(node, received, wanted, outputs, wrt), wanted):
            if g is not None and needed:
                terms.setdefault(id(v), []).append(_fit(g, v, "cotangent", node.op.name))
    return [total(terms.get(id(v))) for v in wrt]


def reached(order: Sequence[Apply], wrt: Iterable[Variable]) -> set[int]:
    """The ids of the floating variables made in `order` that a change of `wrt` may reach, `wrt` included."""
    active = {id(v) for v in wrt if is_float(v.dtype)}
    for node in order:
        if node.op.name not in BARRIERS and any(id(v) in active for v in node.inputs):
            active.update(id(v) for v in node.outputs if is_float(v.dtype))
    return active


def total(terms: Sequence[Variable] | None) -> Variable | None:
    """The sum of `terms`, None for no terms."""
    if not terms:
        return None
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def _transpose(
    node: Apply,
    received: Sequence[Variable | None],
    wanted: Sequence[bool],
    outputs: Sequence[Variable],
    wrt: Sequence[Variable],
) -> Sequence[Variable | None]:
    """The cotangents of the inputs of `node`, given those of its outputs."""
    if node.op.name == "scan":
        # The only rule that is told what is wanted: each unwanted cotangent would be a whole state of a loop.
        from .scan_gradient import reverse

        return reverse(node, received, wanted)
    if node.op.gradient is None:
        raise GradientNotDefinedError(
            f"operation '{node.op.name}' has no gradient; it stands on the path "
            f"{_path_through(node, outputs, wrt)}. "
            "Use disconnected_grad on its input if no gradient should flow there"
        )
    returned = node.op.gradient(node, received)
    if len(returned) != len(node.inputs):
        raise InternalError(
            f"the gradient of {node.op.name} gave {len(returned)} of {len(node.inputs)} cotangents"
        )
    return returned


def _fit(g: Variable, v: Variable, what: str, source: str) -> Variable:
    """A cotangent or tangent of `v` in its dtype."""
    if g.ndim != v.ndim:
        raise InternalError(f"{source}: the {what} of {describe(v)} has {g.ndim} dimensions, it has {v.ndim}")
    if g.dtype != v.dtype:
        from .tensor import cast

        return cast(g, v.dtype)
    return g


def pushforward(
    outputs: Sequence[Variable], inputs: Sequence[Variable], tangents: Sequence[Variable | None]
) -> list[Variable | None]:
    """The tangents of `outputs`, given those of `inputs`; None where nothing flows."""
    table: dict[int, Variable] = {}
    for v, t in zip(inputs, tangents):
        if t is not None and is_float(v.dtype):
            table[id(v)] = _fit(t, v, "tangent", "the input")
    given = set(table)
    for node in toposort(outputs, inputs):
        received = [table.get(id(v)) for v in node.inputs]
        if all(t is None for t in received) or not any(is_float(v.dtype) for v in node.outputs):
            continue
        for v, t in zip(node.outputs, _push(node, received, outputs, inputs)):
            if t is not None and is_float(v.dtype) and id(v) not in given:
                table[id(v)] = _fit(t, v, "tangent", node.op.name)
    return [table.get(id(v)) for v in outputs]


def _push(
    node: Apply,
    tangents: Sequence[Variable | None],
    outputs: Sequence[Variable],
    inputs: Sequence[Variable],
) -> Sequence[Variable | None]:
    """The tangents of the outputs of `node`, given those of its inputs."""
    if node.op.forward is not None:
        return node.op.forward(node, tangents)
    if node.op.gradient is not None:
        return _push_by_transposing(node, tangents)
    raise GradientNotDefinedError(
        f"operation '{node.op.name}' has neither a forward-mode rule nor a gradient; "
        f"it stands on the path {_path_through(node, outputs, inputs)}"
    )


def _push_by_transposing(node: Apply, tangents: Sequence[Variable | None]) -> list[Variable | None]:
    """Forward mode from reverse mode: cotangents are linear in u, and their transpose is what is wanted."""
    assert node.op.gradient is not None
    result: list[Variable | None] = [None] * len(node.outputs)
    for k, output in enumerate(node.outputs):
        if not is_float(output.dtype):
            continue
        u = output.clone("u")
        cotangents: list[Variable | None] = [None] * len(node.outputs)
        cotangents[k] = u
        pulled = node.op.gradient(node, cotangents)
        pairs = [(g, t) for g, t in zip(pulled, tangents) if g is not None and t is not None]
        (tangent,) = pullback([g for g, _ in pairs], [t for _, t in pairs], [u])
        if tangent is not None:
            # What is left of u is its shape.
            result[k] = substitute([tangent], {u: output})[0]
    return result


def path(outputs: Sequence[Variable], target: Variable) -> list[Variable] | None:
    """Variables from one of `outputs` down to `target`, each made from the next; None if there is no path."""
    parent: dict[int, Variable | None] = {id(v): None for v in outputs}
    queue = list(outputs)
    for v in queue:
        if v is target:
            found: list[Variable] = [v]
            while (above := parent[id(found[-1])]) is not None:
                found.append(above)
            return found[::-1]
        for u in v.owner.inputs if v.owner is not None else ():
            if id(u) not in parent:
                parent[id(u)] = v
                queue.append(u)
    return None


def show_path(variables: Sequence[Variable]) -> str:
    """A path for messages: 'cost' <- sum <- 'x'."""
    return " <- ".join(f"'{v.name}'" if v.name else describe(v) for v in variables)


def _path_through(node: Apply, outputs: Sequence[Variable], wrt: Sequence[Variable]) -> str:
    """The path from the outputs through `node` to one of `wrt`."""
    upper = next((p for v in node.outputs if (p := path(outputs, v))), list(node.outputs[:1]))
    for target in wrt:
        lower = path(node.inputs, target)
        if lower is not None and is_float(target.dtype):
            return show_path([*upper, *lower])
    return show_path(upper)


def blocker(variables: Sequence[Variable]) -> Variable | None:
    """On a path from cost to input, the variable nearest the input through which no gradient flows."""
    for v in reversed(variables[:-1]):
        if not is_float(v.dtype) or (v.owner is not None and v.owner.op.name in BARRIERS):
            return v
    return None
