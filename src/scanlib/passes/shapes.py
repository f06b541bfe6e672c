"""Shapes without arrays: `shape_i` of what a scan makes is computed from the scan's inputs.

The type rule of each operation is run on expressions that stand for the dimensions of its inputs, and its
answer turned back into a graph; so no operation has a second rule for its shape, and `trace.shape` never
keeps a trace alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..dims import Dim, Shape
from ..errors import UserError
from ..graph import Apply, Constant, FunctionGraph, Variable
from ..lowered import Expr
from ..lowered import expr as make_expr
from ..ops import shape as rows
from ..ops.base import TABLE, Inference, Pointwise, Region
from ..ops.scan_op import ScanSpec, operands_of, spec_of
from . import build
from .hoist import is_free
from .reads import difference, same
from .rewrite import everywhere, is_scan, rebuild, rewrite

Key = tuple[int, int]  # id of a variable, axis; axis -1 stands for the value of an integer scalar
# What expressions stand for: a variable and an axis of it.
Needed = dict[Expr, tuple[Variable, int]]
# Rows that use only the shape of one input: which one.
SHAPE_ONLY = {"unbroadcast": 1, "spread": 1}
_ROWS = {
    "index_add": "add",
    "index_sub": "sub",
    "index_mul": "mul",
    "udiv": "floor_divide",
    "urem": "mod",
    "select": "switch",
}


class _Symbolic(Inference):
    """A type rule's view of an Apply: unknown dimensions are `dim` expressions, listed in `dims`."""

    # Far from the slots of any plan, for expressions of equal content are one object; lengths are known to
    # be at least 0, values are not, so that the two have different slots.
    LENGTHS, VALUES = 1 << 40, 1 << 41

    def __init__(self, node: Apply) -> None:
        super().__init__(node.inputs, node.params)
        self.dims: dict[Expr, tuple[Variable, int]] = {}

    def _stand(self, first: int, i: int, axis: int, minimum: int | None) -> Expr:
        made = make_expr("dim", (), "int64", first + 64 * i + axis, minimum)
        self.dims[made] = (self.inputs[i], axis)
        return made

    def shape(self, i: int) -> Shape:
        known = self.inputs[i].type.shape
        return tuple(self._stand(self.LENGTHS, i, k, 0) if d is None else d for k, d in enumerate(known))

    def value(self, i: int) -> Dim:
        v = self.inputs[i]
        if isinstance(v, Constant):
            return int(v.data)
        return self._stand(self.VALUES, i, 0, None) if v.dtype != "bool" else None


class _Opaque(Exception):
    """The dimension cannot be told from the dimensions of inputs."""


class Shapes:
    """Dimensions as graphs, without the arrays that have them."""

    def __init__(self) -> None:
        self.known: dict[Key, Variable] = {}
        self.described: dict[Key, tuple[Dim, Needed]] = {}
        self.types: dict[int, tuple[_Symbolic, Sequence[tuple[str, Shape]] | None]] = {}
        self.alive: list[Variable] = []  # ids are keys: nothing they name may go away

    def dim(self, v: Variable, axis: int) -> Variable:
        stack = [(v, axis)]
        while stack:
            u, a = stack[-1]
            key = (id(u), a)
            if key in self.known:
                stack.pop()
                continue
            stretched = _stretched(u, a)
            if missing := self._unknown(stretched):
                stack.extend(missing)
                continue
            lengths = [self.known[id(w), b] for w, b in stretched]
            if lengths and all(same(lengths[0], n) for n in lengths[1:]):
                # The type rule would say so too, in terms of what is 1 long.
                self.alive.append(u)
                self.known[key] = lengths[0]
                continue
            expression, needed = self._describe(u, a)
            if missing := self._unknown(needed.values()):
                stack.extend(missing)
                continue
            self.known[key] = self._build(u, a, expression, needed)
        return self.known[id(v), axis]

    def _unknown(self, wanted: Iterable[tuple[Variable, int]]) -> list[tuple[Variable, int]]:
        return [(w, b) for w, b in wanted if b >= 0 and (id(w), b) not in self.known]

    def _describe(self, v: Variable, axis: int) -> tuple[Dim, Needed]:
        """An axis of `v`: an int, an expression of what the second result lists, or None."""
        key = (id(v), axis)
        if key not in self.described:
            self.alive.append(v)
            self.described[key] = self._describe_anew(v, axis)
        return self.described[key]

    def _describe_anew(self, v: Variable, axis: int) -> tuple[Dim, Needed]:
        d, node = v.type.shape[axis], v.owner
        if d is not None:
            return d, {}
        if node is None or isinstance(node.op.lower, Region):
            return None, {}
        view, types = self._types(node)
        if node.op is rows.specify_shape and axis in node.params["axes"]:
            # Both the length specified and the array's own are right; the former says more.
            i = 1 + node.params["axes"].index(axis)
            length = view.value(i)
            return (length, {length: (node.inputs[i], -1)}) if isinstance(length, Expr) else (length, {})
        expression = None if types is None else types[v.index][1][axis]
        if not isinstance(expression, Expr):
            return expression, {}
        used = _dims_of(expression)
        if not all(e in view.dims for e in used):
            return None, {}
        return expression, {
            e: (view.dims[e][0], -1 if e.value >= _Symbolic.VALUES else view.dims[e][1]) for e in used
        }

    def _types(self, node: Apply) -> tuple[_Symbolic, Sequence[tuple[str, Shape]] | None]:
        """What the type rule of `node` says of its outputs; None when it finds an error."""
        if id(node) not in self.types:
            view = _Symbolic(node)
            try:
                self.types[id(node)] = (view, node.op.infer(view))
            except UserError:
                self.types[id(node)] = (view, None)
        return self.types[id(node)]

    def _build(self, v: Variable, axis: int, expression: Dim, needed: Needed) -> Variable:
        if isinstance(expression, int):
            return build.integer(expression)
        node = v.owner
        if is_scan(node) and expression is None:
            assert node is not None
            return self._scan_dim(node, v, axis)
        if expression is None:
            return build.shape_i(v, axis)
        bound = {e: w if b < 0 else self.known[id(w), b] for e, (w, b) in needed.items()}
        try:
            return _as_graph(expression, bound)
        except _Opaque:
            return build.shape_i(v, axis)

    def _scan_dim(self, node: Apply, v: Variable, axis: int) -> Variable:
        spec = spec_of(node)
        if v.index >= len(spec.keep):
            return build.shape_i(v, axis)
        if axis == 0:
            steps = node.outputs[-1] if spec.until else node.inputs[0]
            keep = spec.keep[v.index]
            return steps if keep is None else build.minimum(steps, build.integer(keep))
        operands = operands_of(node)
        if v.index < len(spec.states):
            return self.dim(operands.initials[v.index], axis)
        found = _row_dim(spec, spec.outputs[v.index], axis - 1)
        if found is None:
            return build.shape_i(v, axis)
        return self._outside(found, spec, node)

    def _outside(self, found: Variable, spec: ScanSpec, node: Apply) -> Variable:
        """A dimension in terms of step inputs, in terms of what is bound to them."""
        operands = operands_of(node)
        bound: dict[int, tuple[Variable, int]] = {}
        for v, operand in zip(spec.sequence_inputs(), operands.sequences):
            bound[id(v)] = (operand, 1)
        for group, operand in zip(spec.state_inputs(), operands.initials):
            bound.update({id(v): (operand, 1) for v in group})
        values: dict[int, Variable] = {}
        for v, operand in zip(spec.non_sequence_inputs(), operands.non_sequences):
            bound[id(v)] = (operand, 0)
            values[id(v)] = operand

        def rule(inner: Apply) -> Sequence[Variable] | None:
            asked = build.asked_shape(inner)
            if asked is None or id(asked[0]) not in bound:
                return None
            operand, shift = bound[id(asked[0])]
            return (self.dim(operand, asked[1] + shift),)

        (made,) = rebuild([found], {}, rule)
        return rebuild([made], values)[0]


def _stretched(v: Variable, axis: int) -> list[tuple[Variable, int]]:
    """The axes of operands that an axis of an elementwise result, not known to the types, is broadcast from."""
    node = v.owner
    if node is None or v.type.shape[axis] is not None or not isinstance(node.op.lower, Pointwise):
        return []
    own = [(w, axis - v.ndim + w.ndim) for w in node.inputs]
    return [(w, a) for w, a in own if a >= 0 and w.type.shape[a] != 1]


def row_dims(trace: Variable) -> list[Variable] | None:
    """The dimensions of a row of a trace; None when they cannot be told without it."""
    shapes = Shapes()
    dims = [shapes.dim(trace, axis) for axis in range(1, trace.ndim)]
    asked = [build.asked_shape(d.owner) for d in dims]
    return None if any(a is not None and a[0] is trace for a in asked) else dims


def _dims_of(expression: Expr) -> set[Expr]:
    found, stack, seen = set(), [expression], set()
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        if e.op == "dim":
            found.add(e)
        stack.extend(e.args)
    return found


def _as_graph(e: Expr, bound: dict[Expr, Variable]) -> Variable:
    if e.op == "dim":
        return build.cast(bound[e], "int64")
    if e.op == "const":
        return build.integer(e.value) if e.dtype == "int64" else Constant(build.array(e.value, e.dtype))
    if e.op == "guard":
        return _as_graph(e.args[0], bound)
    name = _ROWS.get(e.op, e.op)
    if name not in TABLE or e.op in ("load", "reg", "index", "bound", "cast"):
        raise _Opaque
    if name == "switch":
        yes, no = (_as_graph(a, bound) for a in e.args[1:])
        return yes if same(yes, no) else TABLE[name](_as_graph(e.args[0], bound), yes, no)
    args = [_as_graph(a, bound) for a in e.args]
    if name in ("minimum", "maximum") and same(args[0], args[1]):
        return args[0]
    return TABLE[name](*args)


def _row_dim(spec: ScanSpec, v: Variable, axis: int) -> Variable | None:
    """An axis of a step output from the shapes of step inputs and the values of non-sequences alone."""
    found = Shapes().dim(v, axis)
    allowed = {id(u) for u in spec.non_sequence_inputs()}
    inputs = {id(u) for u in spec.inputs}
    stack = [found]
    while stack:
        u = stack.pop()
        if u.owner is None:
            if id(u) in inputs and id(u) not in allowed:
                return None
            continue
        asked = build.asked_shape(u.owner)
        if asked is None:
            stack.extend(u.owner.inputs)
        elif id(asked[0]) not in inputs:
            return None
    return found


def _without_values(node: Apply, shapes: Shapes, computed: set[int]) -> Sequence[Variable] | None:
    """A row that uses a shape only, given something else of that shape."""
    position = SHAPE_ONLY.get(node.op.name, 0)
    v = node.inputs[position]
    if node.op is rows.unbroadcast_op and _same_shape(node.inputs[0], v, shapes):
        return (node.inputs[0],)
    if id(v) not in computed:
        return None
    dims = [shapes.dim(v, axis) for axis in range(v.ndim)]
    if any((asked := build.asked_shape(d.owner)) is not None and asked[0] is v for d in dims):
        return None
    if node.op is rows.shape:
        return (rows.stack(*dims, axis=0, count=v.ndim),) if dims else None
    zero = Constant(build.array(0, v.dtype))
    like = rows.broadcast_to(zero, *dims) if dims else zero
    inputs = [*node.inputs[:position], like, *node.inputs[position + 1 :]]
    return node.op.apply(inputs, node.params).outputs


def _same_shape(a: Variable, b: Variable, shapes: Shapes) -> bool:
    if a.ndim != b.ndim:
        return False
    return all(difference(shapes.dim(a, axis), shapes.dim(b, axis)) == 0 for axis in range(a.ndim))


def _forward(graph: FunctionGraph) -> FunctionGraph:
    shapes = Shapes()
    computed: set[int] = set()  # variables that are more than views of what is there anyway

    def rule(node: Apply) -> Sequence[Variable] | None:
        if not is_free(node) or any(id(v) in computed for v in node.inputs):
            computed.update(id(v) for v in node.outputs)
        if node.op.name in SHAPE_ONLY or node.op is rows.shape:
            return _without_values(node, shapes, computed)
        if node.op is rows.specify_shape:
            x, *lengths = node.inputs
            pairs = zip(node.params["axes"], lengths)
            known = all(difference(shapes.dim(x, axis), length) == 0 for axis, length in pairs)
            return (x,) if known else None
        asked = build.asked_shape(node)
        if asked is None:
            return None
        v, axis = asked
        if v.type.shape[axis] is None and v.owner is None:
            return None
        made = shapes.dim(v, axis)
        return None if build.asked_shape(made.owner) == asked else (made,)

    return rewrite(graph, rule)


forward_shapes = everywhere(_forward)
