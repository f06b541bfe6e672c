"""Lowering of ifelse: each arm is a region of its own, run only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .. import lowered
from ..errors import UserError, UserValueError
from ..graph import Apply, Variable, toposort
from ..lowered import Expr, Int
from ..ops.base import Region as RegionRule
from ..plan import Branch, Call, Instruction
from ..statements import Check, SetDim, parts
from .context import literal
from .program import row_major
from .region import Region, itemsize
from .stages import copy

ONE_SHAPE = "the steps of a scan have one shape"


def is_branch(node: Apply) -> bool:
    return isinstance(node.op.lower, RegionRule) and node.op.lower.kind == "ifelse"


def eager_nodes(outputs: Sequence[Variable], inputs: Iterable[Variable]) -> list[Apply]:
    """The nodes that always run, inputs first: those needed by something else than an arm of an ifelse."""
    order = toposort(outputs, inputs)
    if not any(is_branch(node) for node in order):
        return order
    stop = {id(v) for v in inputs}
    eager: set[int] = set()
    stack = list(outputs)
    while stack:
        v = stack.pop()
        if v.owner is None or id(v) in stop or id(v.owner) in eager:
            continue
        eager.add(id(v.owner))
        stack.extend(v.owner.inputs[:1] if is_branch(v.owner) else v.owner.inputs)
    return [node for node in order if id(node) in eager]


def known_inputs(region: Region, arms: Sequence[Variable]) -> list[Variable]:
    """The variables at which an arm's own nodes begin: those the enclosing regions compute anyway."""

    def known(v: Variable) -> bool:
        r: Region | None = region
        while r is not None:
            if id(v) in r.shapes:
                return True
            r = r.parent
        return False

    found: dict[int, Variable] = {}
    seen: set[int] = set()
    stack = list(arms)
    while stack:
        v = stack.pop()
        if id(v) in seen:
            continue
        seen.add(id(v))
        if known(v):
            found[id(v)] = v
        elif v.owner is not None:
            stack.extend(v.owner.inputs)
    return list(found.values())


def lower_branch(region: Region, node: Apply) -> tuple[int, list[Instruction]]:
    """(level, instructions) of an ifelse; its outputs' shapes and values are set."""
    count = len(node.outputs)
    condition, arms = node.inputs[0], node.inputs[1:]
    frontier = known_inputs(region, arms)
    level = max([0, region.level(condition), *(region.level(v) for v in frontier)])
    results = []
    program = region.program
    for v in node.outputs:
        buffer = program.buffer(f"{node.op.name}", v.dtype, bytes_slot=program.slot())
        region.temporaries.append(buffer)
        region.buffer_levels[f"b{buffer}"] = level + 1
        results.append(buffer)
    sizes: list[list[int]] = [[program.slot() for _ in range(v.ndim)] for v in node.outputs]
    lists: list[list[Instruction]] = []
    shapes: list[list[tuple[Int, ...]]] = []
    for arm in (arms[:count], arms[count:]):
        try:
            inner = _arm(region, arm, frontier)
        except UserError as error:
            if lists and not shapes:
                raise
            lists.append(_failing(region, error))
            continue
        shapes.append([inner.shape(v) for v in arm])
        last = max([0, *inner.kernels, *inner.barriers, *inner.allocations]) + 1
        for k, (v, buffer) in enumerate(zip(arm, results)):
            shape = inner.shape(v)
            size = lowered.bytes_of(shape, itemsize(v.dtype))
            slots = [program.buffers[buffer].bytes_slot, *sizes[k]]
            inner.kernels.setdefault(last, []).extend(
                SetDim(s, value) for s, value in zip(slots, (size, *shape))
            )
            inner.allocations.setdefault(last + 1, []).append(buffer)
            target = row_major(buffer, shape, v.dtype)
            inner.kernels.setdefault(last + 1, []).extend(copy(inner, v, target))
        start, steps = inner.instructions()
        region.temporaries += inner.temporaries
        lists.append(start + steps)
        # What an arm computes is known after it; the lengths of its results may be made of that.
        for name in inner.buffer_levels:
            region.buffer_levels.setdefault(name, level + 1)
    for k, v in enumerate(node.outputs):
        # An arm that is known to fail has no shapes.
        first, second = shapes[0][k], shapes[-1][k]
        shape = tuple(
            a if a == b or program.same(a, b) else lowered.dim(slot)
            for a, b, slot in zip(first, second, sizes[k])
        )
        for a, b, d, slot in zip(first, second, shape, sizes[k]):
            if d is not a:
                program.branch_dims[lowered.dim(slot)] = (a, b)
            region.buffer_levels[f"d{slot}"] = level + 1
        region.shapes[id(v)] = shape
        region.values[id(v)] = row_major(results[k], shape, v.dtype)
        region.levels[id(v)] = max(level, region.data_level(shape)) + 1
    operand = region.operand(region.memory(condition))
    return level, [Branch(operand, lists[0], lists[1])]


def settled(region: Region, shape: Sequence[Int], what: str) -> tuple[Int, ...]:
    """`shape` as one for all steps: where the arms of an ifelse may differ, they are required not to."""

    def settle(d: Int, axis: int) -> Int:
        arms = region.program.branch_dims.get(d) if isinstance(d, Expr) else None
        if arms is None:
            return _made_of(region, d, lambda e: settle(e, axis))
        a, b = (settle(x, axis) for x in arms)
        if region.data_level([a, b]) >= 0:
            return d
        message = f"the arms of an ifelse give {what} lengths {{0}} and {{1}} along axis {axis}; {ONE_SHAPE}"
        region.require(lowered.compare("eq", a, b), UserValueError, message, (a, b))
        return a

    return tuple(settle(d, axis) for axis, d in enumerate(shape))


def agreed(region: Region, shape: Sequence[Int]) -> tuple[Int, ...]:
    """`shape`, without asking where the two arms of an ifelse are known to agree."""

    def agree(d: Int) -> Int:
        arms = region.program.branch_dims.get(d) if isinstance(d, Expr) else None
        if arms is None:
            return _made_of(region, d, agree)
        a, b = map(agree, arms)
        return a if a == b or region.program.same(a, b) else d

    return tuple(map(agree, shape))


def _made_of(region: Region, d: Int, settle: Callable[[Int], Int]) -> Int:
    """`d`, made of settled lengths where those of an ifelse stand in it."""
    found = {e: settle(e) for e in parts([d]) if e in region.program.branch_dims}
    return lowered.Substitution(found)(d) if found else d


class ArmRegion(Region):
    """One arm of an ifelse: what it requires is tested when it runs, not before."""

    def tests_here(self, level: int) -> bool:
        return True


def _arm(region: Region, outputs: Sequence[Variable], frontier: Sequence[Variable]) -> Region:
    inner = ArmRegion(region.program, region)
    equal = dict(region.program.equal_dims)
    inner.analyse(outputs, frontier)
    region.program.equal_dims = equal  # what this arm tests holds in it alone
    return inner


def _failing(region: Region, error: UserError) -> list[Instruction]:
    """What runs in the place of an arm that is known to fail: the error belongs to the run that chooses it."""
    check = Check(lowered.constant(False, "bool"), region.program.check(type(error), literal(error)))
    return [Call(region.program.kernel([check]), "failing arm")]
