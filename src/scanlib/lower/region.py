"""A region: the nodes that run together, once per call (the function) or once per step (the body of a scan).

Every node has a level.  Level −1 is what is known before the region starts.  The kernel of level L computes
nodes from what is known up to L; then the barriers of level L run (library kernels, scans, branches); what they
give is read from level L + 1 on.  A region with one level and no barrier is *native*: one kernel runs it.

Lowering is demand-driven: an element of a variable is an expression pulled from elements of its inputs; a variable
gets memory only when something needs it there, and the statements that fill it join the kernel of its level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .. import lowered
from ..errors import InternalError, UserError, step_error
from ..graph import Apply, Constant, Variable, describe
from ..lowered import Expr, Int
from ..ops.base import Contract, Stages
from ..ops.base import Region as RegionRule
from ..plan import NO_SLOT, Allocate, Call, Instruction, Operand
from ..statements import Check, For, SetDim, Statement
from .context import RunTimeInference, worded
from .meeting import meeting
from .placing import expand, expanded, is_barrier, is_identity, store_if_worthwhile
from .program import NotNative, Program, View, fits_registers, indices, row_major, static_size
from .pull import affine_view, history_view, pull, reshaped_view
from .split import split_loop
from .stages import fill, fill_stages, reshape_input

Elements = tuple[Expr, ...]
Pull = Callable[[tuple[Int, ...]], Expr]
Value = View | Elements | Pull

# Innermost static loops up to this length are unrolled.
UNROLL_LOOP = 8


class Region:
    def __init__(
        self, program: Program, parent: Region | None = None, step: str | None = None, native: bool = False
    ) -> None:
        self.program = program
        self.parent = parent
        self.step = step
        self.native = native
        self.values: dict[int, Value] = {}
        self.shapes: dict[int, tuple[Int, ...]] = {}
        self.levels: dict[int, int] = {}
        self.kernels: dict[int, list[Statement]] = {}
        self.allocations: dict[int, list[int]] = {}
        self.barriers: dict[int, list[Instruction]] = {}
        self.buffer_levels: dict[str, int] = {}
        self.slots: dict[Expr, int] = {}
        self.uses: dict[int, int] = {}
        self.meeting: set[int] = set()
        self.depths: dict[int, int] = {}
        self.sinks: dict[int, View] = {}
        self.pending: dict[int, Callable[[tuple[Int, ...]], View]] = {}
        self.required: set[Expr] = set()
        self.memo: dict[tuple[object, ...], Expr] = {}
        self.nodes: set[int] = set()
        # What the body of a loop reads that stays the same for all steps, as the region around knows it; and matrices
        # laid out for products before the first step.
        self.fixed: dict[int, Variable] = {}
        self.varying: set[int] = set()
        self.packed: dict[View, View] = {}
        self.nesting = 0
        # The slots with the number of independent lanes of its kernel, and with what a lane costs in a step.
        self.lanes: tuple[int, int] = (NO_SLOT, NO_SLOT)
        self.together = False  # whether lanes are columns, which threads take through the steps side by side
        # Of a part of the body of a loop: its name, and its number of steps as the region around knows it.
        self.scan: tuple[str, Int] | None = None
        self.temporaries: list[int] = []

    # -- analysis --------------------------------------------------------------------------------------

    def bind(self, v: Variable, value: Value, shape: tuple[Int, ...]) -> None:
        """`v` is given from outside the region."""
        self.values[id(v)] = value
        self.shapes[id(v)] = shape
        self.levels[id(v)] = -1
        if id(v) not in self.fixed:
            self.varying.add(id(v))

    def analyse(self, outputs: Sequence[Variable], inputs: Iterable[Variable]) -> None:
        """Find shape and level of every node, and lower the barriers, inputs first."""
        from .barriers import lower_barrier
        from .branch import eager_nodes, is_branch, lower_branch

        order = eager_nodes(outputs, inputs)
        self.uses = dict(clients_of(order))
        for v in outputs:
            self.uses[id(v)] = self.uses.get(id(v), 0) + 1
        self.meeting = meeting(order, outputs)
        self.nodes = {id(node) for node in order}
        for node in order:
            if is_branch(node):
                self.refuse_control_flow(node)
                level, instructions = lower_branch(self, node)
                self.barriers.setdefault(level, []).extend(instructions)
                continue
            self.infer(node)
            if is_barrier(self, node):
                if isinstance(node.op.lower, RegionRule):
                    self.refuse_control_flow(node)
                if not self.native:
                    lower_barrier(self, node)
                elif not self.product_of_few_rows(node):
                    raise NotNative(f"{node.op.name} runs outside of compiled kernels")
            elif isinstance(node.op.lower, Stages):
                fill_stages(self, node)
            elif expanded(self, node.output):
                self.values[id(node.output)] = expand(self, node.output)
            else:
                self.store_if_worthwhile(node)

    def snapshot(self) -> Callable[[], None]:
        """What undoes all that is done to this region and those around it from now on, as often as it is called."""
        before = {k: _copy(v) for k, v in vars(self).items() if isinstance(v, (dict, list, set))}
        outer = self.parent.snapshot() if self.parent is not None else None

        def restore() -> None:
            vars(self).update({k: _copy(v) for k, v in before.items()})
            if outer is not None:
                outer()

        return restore

    def refuse_control_flow(self, node: Apply) -> None:
        """Raise unless scans and branches can run inside this region."""
        if self.native:
            raise NotNative(f"{node.op.name} runs outside of compiled kernels")

    def infer(self, node: Apply) -> None:
        if not self.varying.isdisjoint(map(id, node.inputs)):
            self.varying.update(map(id, node.outputs))
        types = node.op.infer(RunTimeInference(self, node))
        level = max((self.level(v) for v in node.inputs), default=-1)
        for v, (_, shape) in zip(node.outputs, types):
            self.shapes[id(v)] = tuple(d for d in shape if d is not None)
            if len(self.shapes[id(v)]) != v.ndim:
                if isinstance(node.op.lower, (RegionRule, Stages)):
                    continue
                raise InternalError(f"shape of {describe(v)} is not known while lowering")
            known = self.data_level(self.shapes[id(v)])
            if known >= 0:
                if self.native:
                    raise NotNative(f"the shape of {describe(v)} depends on values of the step")
                level = max(level, known + 1)
        for v in node.outputs:
            self.levels[id(v)] = level
            place = self.pending.pop(id(v), None)
            if place is not None and len(self.shapes[id(v)]) == v.ndim:
                self.sinks[id(v)] = place(self.shapes[id(v)])

    def product_of_few_rows(self, node: Apply) -> bool:
        """Lower a product of a native body as a call from its kernel, if it can be one."""
        from .packing import call_product

        return isinstance(node.op.lower, Contract) and call_product(self, node)

    def store_if_worthwhile(self, node: Apply) -> None:
        """Decide whether an elementwise result is computed where it is read, or once into memory."""
        store_if_worthwhile(self, node)

    # -- what is known of a variable -------------------------------------------------------------------

    def owns(self, v: Variable) -> bool:
        return id(v) in self.shapes or (v.owner is not None and id(v.owner) in self.nodes)

    def shape(self, v: Variable) -> tuple[Int, ...]:
        found = self.shapes.get(id(v))
        if found is not None:
            return found
        if isinstance(v, Constant):
            return v.data.shape
        if self.parent is None:
            raise InternalError(f"{describe(v)} is used before its shape is known")
        return self.parent.shape(v)

    def level(self, v: Variable) -> int:
        return self.levels.get(id(v), -1)

    def integer(self, v: Variable) -> Int:
        """A 0-d integer (or bool) variable as an Int."""
        if isinstance(v, Constant):
            return int(v.data)
        return lowered.fold(lowered.cast(self.element(v, ()), "int64"))

    def data_level(self, values: Iterable[Int]) -> int:
        """The level from which on all of `values` are known; −1 means before the region starts."""
        level = -1
        for value in values:
            if isinstance(value, Expr):
                for name in value.reads:
                    if name[0] == "r" or (self.step is not None and name in (self.step, "t@")):
                        level = max(level, 0)
                    else:
                        level = max(level, self.buffer_levels.get(name, -1))
        return level

    # -- elements --------------------------------------------------------------------------------------

    def element(self, v: Variable, index: tuple[Int, ...]) -> Expr:
        """The element of `v` at `index` as an expression."""
        if isinstance(v, Constant) and v.data.size == 1:
            return lowered.constant(v.data.reshape(()).item(), v.dtype)
        # The expressions themselves, not their ids: those of expressions that nothing holds on to are used again.
        key = (id(v), *index)
        found = self.memo.get(key)
        if found is None:
            found = self.memo[key] = self.compute(v, index)
        return found

    def compute(self, v: Variable, index: tuple[Int, ...]) -> Expr:
        value = self.values.get(id(v))
        if value is None and isinstance(v, Constant):
            known = tuple(i for i in index if isinstance(i, int))
            if len(known) == len(index):
                return lowered.constant(v.data[known].item(), v.dtype)
            value = self.memory(v)
        if isinstance(value, View):
            return value.at(index)
        if isinstance(value, tuple):
            position = row_major(0, self.shape(v), v.dtype).position(index)
            if isinstance(position, int):
                return value[position]
            return self.memory(v).at(index)
        if value is not None:
            return value(index)
        if not self.owns(v):
            if self.parent is None:
                raise InternalError(f"{describe(v)} has no value in this region")
            return self.parent.export(v, index)
        return pull(self, v, index)

    def export(self, v: Variable, index: tuple[Int, ...]) -> Expr:
        """An element for a kernel of an inner region: constants and sizes as they are, the rest through memory."""
        if self.owns(v):
            value = self.element(v, index)
            if not any(name[0] in "br" for name in value.reads):
                return value
        return self.memory(v).at(index)

    def view_is_ring(self, v: Variable) -> bool:
        """Whether a scan output is stored in a ring, so that its slots are no history."""
        from ..ops.scan_op import spec_of

        return v.owner is None or spec_of(v.owner).keep[v.index] is not None

    def pullable(self, v: Variable) -> bool:
        """Whether elements of `v` are computed where they are read, from what lies in memory."""
        return self.owns(v) and id(v) in self.depths and self.view(v) is None

    def cost(self, v: Variable) -> int:
        """What computing an element of a pullable variable costs."""
        return self.depths.get(-id(v), 0)

    # -- memory ----------------------------------------------------------------------------------------

    def view(self, v: Variable) -> View | None:
        """Where `v` already lies in memory, if it does."""
        value = self.values.get(id(v))
        if isinstance(value, View):
            return value
        if isinstance(v, Constant):
            buffer = self.program.constant_buffer(v.data, describe(v))
            return row_major(buffer, v.data.shape, v.dtype)
        if value is not None:
            return None
        if not self.owns(v):
            return self.parent.view(v) if self.parent is not None else None
        assert v.owner is not None
        found = affine_view(self, v.owner) or reshaped_view(self, v.owner) or history_view(self, v.owner)
        if found is None and is_identity(self, v.owner):
            found = self.view(v.owner.inputs[0])
        if found is not None:
            self.values[id(v)] = found
        return found

    def memory(self, v: Variable) -> View:
        """Where `v` lies in memory; it is put there first if need be."""
        found = self.spilled(v) or self.view(v)
        if found is not None:
            return found
        if not self.owns(v):
            assert self.parent is not None
            return self.parent.memory(v)
        if v.owner is not None:
            reshape_input(self, v.owner)
            found = self.view(v)
            if found is not None:
                return found
        level = max(0, self.level(v))
        target = self.target(v, level)
        statements = fill(self, v, target)
        self.kernels.setdefault(level, []).extend(statements)
        if isinstance(self.values.get(id(v)), tuple):
            self.values[-id(v)] = target
        else:
            self.values[id(v)] = target
            # From now on its elements are read, not computed.
            self.memo.clear()
        return target

    def spilled(self, v: Variable) -> View | None:
        """The memory copy of a variable that lives in registers."""
        found = self.values.get(-id(v))
        return found if isinstance(found, View) else None

    def target(self, v: Variable, level: int) -> View:
        """New memory for `v`, or the place it must end up in anyway."""
        sink = self.sinks.pop(id(v), None)
        if sink is not None:
            self.buffer_levels.setdefault(f"b{sink.buffer}", level)
            return sink
        return self.temporary(describe(v), v.dtype, self.shape(v), level)

    def temporary(self, name: str, dtype: str, shape: tuple[Int, ...], level: int) -> View:
        """Memory for a variable computed at `level`."""
        size = lowered.bytes_of(shape, itemsize(dtype))
        buffer = self.program.buffer(name, dtype, bytes_slot=self.slot(size))
        known = self.data_level([size])
        # Sizes known before a body starts are allocated before its first step.
        place = -1 if self.step is not None and known < 0 else level
        self.allocations.setdefault(place, []).append(buffer)
        self.temporaries.append(buffer)
        self.buffer_levels[f"b{buffer}"] = level
        return row_major(buffer, shape, dtype)

    def slot(self, value: Int) -> int:
        """A slot of the dims table that holds `value` as soon as it is known."""
        if isinstance(value, int):
            return self.program.constant_slot(value)
        if value.op == "dim":
            return int(value.value)
        if value not in self.slots:
            level = self.data_level([value])
            slot = self.program.slot()
            self.slots[value] = slot
            self.kernels.setdefault(level, []).append(SetDim(slot, value))
        return self.slots[value]

    def number(self, value: Int) -> Int:
        """`value` as a slot of the dims table if it is read from memory, so that inner loops need not compute it."""
        if isinstance(value, int) or not any(name[0] in "br" for name in value.reads):
            return value
        level = self.data_level([value])
        if self.parent is not None and level < 0:
            # The enclosing region may test it, which knows no slot that is set here.
            return value
        slot = self.slot(value)
        self.buffer_levels.setdefault(f"d{slot}", level)
        return lowered.dim(slot, value.minimum)

    def settle(self, v: Variable) -> None:
        """Put `v` into memory, and into slots where it lies there, as far as data tell."""
        view = self.memory(v)
        if self.values.get(id(v)) is view:
            shape, strides = (tuple(map(self.number, group)) for group in (view.shape, view.strides))
            self.values[id(v)] = View(view.buffer, self.number(view.offset), shape, strides, view.dtype)

    def operand(self, view: View) -> Operand:
        return Operand(
            view.buffer,
            self.slot(view.offset),
            tuple(self.slot(d) for d in view.shape),
            tuple(self.slot(s) for s in view.strides),
        )

    def require(
        self,
        condition: Expr,
        kind: type[UserError],
        message: str,
        values: tuple[Int, ...],
        in_steps: bool = False,
    ) -> None:
        """A user error unless `condition` holds, tested as soon as it is known.

        `in_steps`: nothing but the steps of a loop relies on it, so that it need not hold where none runs.
        """
        if condition.op == "const":
            if not condition.value:
                raise kind(worded(message, values))
            return
        level = self.data_level([condition])
        if self.parent is not None and not self.tests_here(level):
            # Known to the enclosing region: tested there, before anything relies on it.
            condition, kind, message = self.outside(condition, kind, message, in_steps)
            self.parent.require(condition, kind, message, values, in_steps)
            return
        if condition.op == "eq" and condition.args[0].dtype == "int64":
            self.program.unify(*condition.args)
        if condition in self.required:
            return
        self.required.add(condition)
        check = self.program.check(kind, message)
        self.kernels.setdefault(level, []).append(Check(condition, check, values))

    def outside(
        self, condition: Expr, kind: type[UserError], message: str, in_steps: bool
    ) -> tuple[Expr, type[UserError], str]:
        """What a condition of a step is before the first step."""
        if self.scan is None:
            return condition, kind, message
        name, steps = self.scan
        if not in_steps:
            return condition, kind, f"scan '{name}': {message}"
        none = lowered.compare("lt", steps, 1)
        made = lowered.logical("logical_or", none, condition)
        return made, step_error(kind), f"scan '{name}', step 0: {message}"

    def tests_here(self, level: int) -> bool:
        """Whether a condition known at `level` is tested by this region, if it has a parent."""
        return level >= 0

    # -- statements ------------------------------------------------------------------------------------

    def loop(
        self, extents: Sequence[Int], body: Callable[[tuple[Int, ...]], list[Statement]]
    ) -> list[Statement]:
        """Loops over `extents`, short static inner ones unrolled."""
        if static_size(extents) == 0:
            return []
        inner, total = len(extents), 1
        while inner > 0:
            d = extents[inner - 1]
            if not isinstance(d, int) or total * d > UNROLL_LOOP:
                break
            total *= d
            inner -= 1
        if fits_registers(extents):
            inner = 0
        names = [f"i{self.nesting + k}" for k in range(inner)]
        self.nesting += inner
        outer: tuple[Int, ...] = tuple(lowered.index(n) for n in names)
        statements: list[Statement] = []
        for tail in indices([d for d in extents[inner:] if isinstance(d, int)]):
            statements += body((*outer, *tail))
        self.nesting -= inner
        for name, extent in zip(reversed(names), reversed(extents[:inner])):
            statements = [*split_loop(For(name, 0, extent, statements))]
        return statements

    def instructions(self) -> tuple[list[Instruction], list[Instruction]]:
        """(what runs once before the region, what runs in it)."""
        start: list[Instruction] = []
        if self.kernels.get(-1):
            start.append(Call(self.program.kernel(self.kernels[-1]), "sizes"))
        start += [Allocate(b) for b in self.allocations.get(-1, ())]
        start += self.barriers.get(-1, ())
        steps: list[Instruction] = []
        last = max([*self.kernels, *self.barriers, *self.allocations, -1])
        for level in range(last + 1):
            steps += [Allocate(b) for b in self.allocations.get(level, ())]
            steps += self.calls(level)
            steps += self.barriers.get(level, ())
        return start, steps

    def calls(self, level: int) -> list[Call]:
        """The calls that run the statements of a level."""
        body = self.kernels.get(level)
        return [Call(self.program.kernel(body), f"level {level}", *self.lanes, self.together)] if body else []


def _copy(table: Any) -> Any:
    """A copy down to the lists in it."""
    if isinstance(table, dict):
        return {k: list(v) if isinstance(v, list) else v for k, v in table.items()}
    return type(table)(table)


def itemsize(dtype: str) -> int:
    return 1 if dtype == "bool" else int("".join(c for c in dtype if c.isdigit())) // 8


def clients_of(order: Sequence[Apply]) -> Mapping[int, int]:
    """How many nodes of `order` read each variable."""
    counts: dict[int, int] = {}
    for node in order:
        for v in {id(i) for i in node.inputs}:
            counts[v] = counts.get(v, 0) + 1
    return counts
