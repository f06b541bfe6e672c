"""Recurrences whose rows are independent (D8): each thread takes a range of rows through all steps of a block.

A variable has its rows along an axis when its elements at row i of that axis are computed from nothing but row i of
the states, and from what is given from outside of the recurrence, which any row may read.  When all that a recurrence
stores has rows, its loops and the operands of its products can be narrowed to a range of them; and so can products
of the prologue, of which each thread then computes the rows that it is to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from .. import lowered
from ..dims import product, strides
from ..graph import Apply, Constant, Variable
from ..lowered import Expr, Int
from ..ops.base import Affine, Contract, Element, Pointwise, Reduce, Reshape, Unbroadcast
from ..plan import Allocate, Instruction, Library, Operand
from ..statements import Check, For, SetDim, Statement, Store, coefficient, expressions, stores, writes
from .cost import work
from .placing import is_barrier, is_identity
from .program import FEWEST_ROWS, NotRows, View
from .pull import pull, reduced_axes

if TYPE_CHECKING:
    from .block import BlockRegion
    from .region import Region
    from .scan_body import Body

# Where the operands stand that a product of matrices writes.
RESULTS = {"matmul": slice(2, 3), "matmul_packed": slice(2, None, 2)}


@dataclass(frozen=True)
class Rows:
    """How many rows there are, and what one of them costs in a step."""

    count: Int
    cost: Int


def split_rows(body: Body) -> Rows:
    """Let the recurrence of `body`, and its prologue if that has rows, run on ranges of rows.

    NotRows if those of the recurrence are not independent.
    """
    if _is_products(body.prologue):
        with suppress(NotRows):
            return _Split(body, with_prologue=True).run()
    return _Split(body, with_prologue=False).run()


def _is_products(prologue: BlockRegion) -> bool:
    """Whether the prologue does nothing but multiply by packed matrices."""
    calls = [i for level, group in prologue.barriers.items() if level >= 0 for i in group]
    rest = [s for level, group in prologue.kernels.items() if level >= 0 for s in group]
    return (
        bool(calls)
        and all(isinstance(i, Library) and i.kernel == "matmul_packed" for i in calls)
        and all(isinstance(s, SetDim) for s in rest)
    )


class _Split:
    def __init__(self, body: Body, with_prologue: bool) -> None:
        self.body = body
        self.with_prologue = with_prologue
        self.region = body.region
        self.count = self._count()
        # The axis of the rows, by id of the variable; what has no entry any row may read.
        self.axes: dict[int, int] = {}
        # The buffers that the recurrence writes, and in them the distance from row to row.
        self.written = self._written()
        self.distances: dict[int, Int] = {}

    def run(self) -> Rows:
        self._classify()
        self._place()
        kernels = {
            level: self._narrowed_all(body) if level >= 0 else body
            for level, body in self.region.kernels.items()
        }
        regions = [self.region, self.body.prologue] if self.with_prologue else [self.region]
        barriers = [self._narrowed_products(r) for r in regions]
        cost = self._cost(kernels)
        self.region.kernels = kernels
        for region, narrowed in zip(regions, barriers):
            region.barriers = narrowed
        return Rows(self.count, cost)

    # -- what is there ---------------------------------------------------------------------------------

    def _count(self) -> Int:
        shapes = [self.body.outputs[j].shape for j in self._states()]
        if self.body.spec.condition() is not None:
            raise NotRows("a condition on all rows ends the loop")
        for o in self.body.outputs:
            if o.updates:
                raise NotRows(f"'{o.label}' is updated in place")
        if not shapes or not all(shapes):
            raise NotRows("a state has no rows")
        counts = [shape[0] for shape in shapes if shape]
        if not all(self.region.program.same(counts[0], d) for d in counts):
            raise NotRows("states differ in the number of their rows")
        if isinstance(counts[0], int) and counts[0] < FEWEST_ROWS:
            raise NotRows(f"there are fewer than {FEWEST_ROWS} rows")
        return counts[0]

    def _states(self) -> list[int]:
        return [j for j in range(len(self.body.spec.states)) if j in self.body.parts.recurrence]

    def _written(self) -> set[int]:
        region, found = self.region, set()
        for level, statements in region.kernels.items():
            if level >= 0:
                found |= {int(name[1:]) for name in writes(statements) if name[0] == "b"}
        for level, group in region.barriers.items():
            for i in group:
                if level >= 0 and not isinstance(i, Library):
                    raise NotRows(_reason(i))
                if isinstance(i, Library) and level >= 0:
                    if i.kernel not in RESULTS:
                        raise NotRows(f"{i.kernel} runs on all rows at once")
                    found |= {o.buffer for o in i.operands[RESULTS[i.kernel]]}
        if any(group for level, group in region.allocations.items() if level >= 0):
            raise NotRows("memory is taken at each step")
        return found

    # -- which variables have rows ---------------------------------------------------------------------

    def _classify(self) -> None:
        spec = self.body.spec
        inputs = spec.state_inputs()
        for j in self._states():
            self.axes.update((id(v), 0) for v in inputs[j])
        for v in self.body.parts.hoisted if self.with_prologue else ():
            view = self.body.prologue.memory(v)
            if not view.shape or not self.region.program.same(view.shape[0], self.count):
                raise NotRows("what the prologue computes has no rows")
            self.axes[id(v)] = 0
            self.distances[view.buffer] = view.strides[0]
        for node in self.body.order:
            for v in node.outputs:
                stored = any(view.buffer in self.written for view in self._views(v))
                if stored or any(id(u) in self.axes for u in node.inputs):
                    self._find_axis(node, v, stored)
        for j in self._states():
            if self.axes.get(id(spec.outputs[j]), 0) != 0:
                raise NotRows("the rows of a state change places")

    def _find_axis(self, node: Apply, v: Variable, stored: bool) -> None:
        shape = self.region.shape(v)
        for axis, d in enumerate(shape):
            if self.region.program.same(d, self.count) and self._has_rows(node, v, axis):
                self.axes[id(v)] = axis
                return
        if stored or not self._has_rows(node, v, None):
            raise NotRows(f"{node.op.name} reads other rows")

    def _has_rows(self, node: Apply, v: Variable, axis: int | None) -> bool:
        """Whether row i of `v` along `axis` reads no row but i; with None, whether `v` reads no rows at all."""
        rule = node.op.lower
        sources = [self.axes.get(id(u)) for u in node.inputs]
        if isinstance(rule, Contract):
            return self._product_has_rows(node, axis)
        if isinstance(rule, Reduce):
            summed, keepdims = reduced_axes(node)
            left = [a for a in range(node.inputs[0].ndim) if keepdims or a not in summed]
            return sources[0] is None or (sources[0] not in summed and left.index(sources[0]) == axis)
        if isinstance(rule, Unbroadcast) and not is_identity(self.region, node):
            lead = node.inputs[0].ndim - v.ndim
            return sources[0] is None or sources[0] - lead == axis
        if isinstance(rule, (Pointwise, Affine, Element, Reshape, Unbroadcast)):
            return _Probe(self.region, self.axes).reads_its_row(v, axis)
        if node.op.name == "concatenate":
            return axis != node.params["axis"] and all(s in (None, axis) for s in sources)
        return all(s is None for s in sources)

    def _product_has_rows(self, node: Apply, axis: int | None) -> bool:
        backs = [self.axes[id(u)] - u.ndim if id(u) in self.axes else None for u in node.inputs]
        if axis is None:
            return backs == [None, None]
        back = axis - node.output.ndim
        allowed = ((back, None), (None,)) if back == -2 else ((None,), (back, None)) if back == -1 else None
        if allowed is None:
            return all(b in (back, None) for b in backs)
        return backs[0] in allowed[0] and backs[1] in allowed[1]

    def _views(self, v: Variable) -> list[View]:
        """Where `v` lies in memory of its own or as a part of another's."""
        found = (self.region.values.get(id(v)), self.region.values.get(-id(v)))
        return [view for view in found if isinstance(view, View)]

    # -- where rows lie --------------------------------------------------------------------------------

    def _place(self) -> None:
        body = self.body
        variables = [v for node in body.order for v in node.outputs]
        for v in variables:
            for view in self._views(v):
                if id(v) in self.axes:
                    self._put(view.buffer, view.strides[self.axes[id(v)]])
        for k in body.parts.recurrence:
            o = body.outputs[k]
            if o.shape is not None and o.buffer in self.written:
                axis = self.axes.get(id(body.spec.outputs[k]), 0)
                if axis >= len(o.shape) or not self.region.program.same(o.shape[axis], self.count):
                    raise NotRows(f"'{o.label}' has no rows")
                self._put(o.buffer, strides(o.shape)[axis])
        for v in [*variables, *body.spec.inputs, *body.parts.hoisted]:
            row = body.handed.get(id(v))
            if row is not None and row.buffer in self.written:
                if not row.shape:
                    raise NotRows("a value is the same for all rows")
                self._put(row.buffer, row.strides[self.axes.get(id(v), 0)])

    def _put(self, buffer: int, distance: Int) -> None:
        if buffer in self.written:
            known = self.distances.setdefault(buffer, distance)
            if known is not distance and known != distance:
                raise NotRows("rows lie in memory in two ways")

    # -- narrowing -------------------------------------------------------------------------------------

    def _narrowed_all(self, statements: Sequence[Statement]) -> list[Statement]:
        return [self._narrowed(s) for s in statements]

    def _narrowed(self, s: Statement) -> Statement:
        """`s` for the rows from lane_start to lane_stop."""
        if isinstance(s, For):
            inner = stores(s.body)
            if inner and all(self._is_along(s, store) for store in inner):
                stop = lowered.minimum(lowered.bound("lane_stop"), s.stop)
                return replace(s, start=lowered.bound("lane_start"), stop=stop)
            return replace(s, body=self._narrowed_all(s.body))
        if isinstance(s, (SetDim, Check)):
            read = {n for e in expressions([s]) if isinstance(e, Expr) for n in e.reads}
            if not read.isdisjoint(f"b{b}" for b in self.written):
                raise NotRows("a size or a check depends on what a step computes")
        elif stores([s]):
            raise NotRows("a value is the same for all rows")
        return s

    def _is_along(self, s: For, store: Store) -> bool:
        """Whether the loop goes along the rows of what it stores."""
        distance = self.distances.get(store.buffer)
        found = coefficient(store.offset, lowered.index(s.index))
        whole = s.start == 0 and self.region.program.same(s.stop, self.count)
        return whole and distance is not None and (found is distance or found == distance)

    def _narrowed_products(self, region: Region) -> dict[int, list[Instruction]]:
        return {
            level: [self._narrowed_product(i, region) if level >= 0 else i for i in group]
            for level, group in region.barriers.items()
        }

    def _narrowed_product(self, i: Instruction, region: Region) -> Instruction:
        """The rows of a product are those of its result, and of the operand that has that axis in common with it."""
        if not isinstance(i, Library) or i.kernel not in RESULTS:
            return i
        results = i.operands[RESULTS[i.kernel]]
        (axis, *others) = {self._row_axis(o, region) for o in results}
        back = axis - len(results[0].dims)
        if others or (back == -1 and i.kernel != "matmul"):
            raise NotRows("a product has no rows")
        operands = []
        for k, o in enumerate(i.operands):
            left, right = k == 0, k == 1 and i.kernel == "matmul"
            narrowed = o in results or (left and back != -1) or (right and back != -2)
            operands.append(replace(o, row_axis=axis) if narrowed else o)
        return replace(i, operands=tuple(operands))

    def _row_axis(self, o: Operand, region: Region) -> int:
        """The dim along which the rows of an operand of `region` lie."""
        distance = self.distances.get(o.buffer)
        slot = region.program.constant_slots.get(distance) if isinstance(distance, int) else None
        if isinstance(distance, Expr):
            slot = distance.value if distance.op == "dim" else region.slots.get(distance)
        found = [axis for axis, stride in enumerate(o.strides) if stride == slot]
        if len(found) != 1:
            raise NotRows("a product has no rows")
        return found[0]

    def _cost(self, kernels: dict[int, list[Statement]]) -> Int:
        total: Int = 1
        for level, statements in kernels.items():
            if level >= 0:
                # One row of each loop along the rows.
                total = lowered.add(total, work(_one_row(statements)))
        for node in self.body.order:
            if isinstance(node.op.lower, Contract) and is_barrier(self.region, node):
                shape = list(self.region.shape(node.output))
                del shape[self.axes[id(node.output)]]
                inner = self.region.shape(node.inputs[0])[-1]
                total = lowered.add(total, lowered.mul(product(shape) or 0, inner))
        return total


class _Probe:
    """Stands for a region when a rule is asked which elements it reads for one element of its result."""

    def __init__(self, region: Region, axes: dict[int, int]) -> None:
        self.region = region
        self.axes = axes
        self.row = lowered.index("p.row")
        self.good = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.region, name)

    def reads_its_row(self, v: Variable, axis: int | None) -> bool:
        index = tuple(self.row if k == axis else lowered.index(f"p{k}") for k in range(v.ndim))
        self.axis = axis
        pull(cast("Region", self), v, index)
        return self.good

    def element(self, v: Variable, index: tuple[Int, ...]) -> Expr:
        axis = self.axes.get(id(v))
        if axis is not None and (self.axis is None or index[axis] is not self.row):
            self.good = False
        if isinstance(v, Constant) and v.data.size == 1:
            return lowered.constant(v.data.reshape(()).item(), v.dtype)
        return lowered.register("p", v.dtype)

    def memory(self, v: Variable) -> View:
        raise NotRows("a value is needed in memory")


def _reason(i: Instruction) -> str:
    if isinstance(i, Allocate):
        return "memory is taken at each step"
    return f"a {type(i).__name__.lower()} runs inside of a step"


def _one_row(statements: Sequence[Statement]) -> list[Statement]:
    """The statements with one turn of the loops along the rows."""
    result: list[Statement] = []
    for s in statements:
        if isinstance(s, For):
            s = replace(s, body=_one_row(s.body))
            if s.start is lowered.bound("lane_start"):
                s = replace(s, start=0, stop=1)
        result.append(s)
    return result
