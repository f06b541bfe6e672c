"""What operations' rules see while lowering: known shapes, and elements of inputs on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .. import lowered
from ..dims import Dim, Shape
from ..errors import UserError, UserIndexError, UserValueError
from ..graph import Apply, describe
from ..lowered import Expr, Int
from ..ops.base import Inference, Params
from ..ops.index_rules import inside
from ..statements import Assign, Statement, Store
from .program import View

if TYPE_CHECKING:
    from .region import Region


def worded(message: str, values: Sequence[Int]) -> str:
    """The message of a check that fails for every call of a signature, which does not tell large lengths."""
    return message.format(*(v if isinstance(v, int) else f"more than {(v.minimum or 0) - 1}" for v in values))


def literal(error: UserError) -> str:
    """The text of an error as the message of a check."""
    return str(error).replace("{", "{{").replace("}", "}}")


class RunTimeInference(Inference):
    """The type rules' context with every dimension known, as an int or an expression."""

    def __init__(self, region: Region, node: Apply) -> None:
        super().__init__(node.inputs, node.params)
        self.region = region

    def shape(self, i: int) -> Shape:
        return self.region.shape(self.inputs[i])

    def value(self, i: int) -> Dim:
        return self.region.integer(self.inputs[i])

    def same(self, a: Dim, b: Dim) -> bool:
        assert a is not None and b is not None
        return self.region.program.same(a, b)

    def require(self, op: str, a: Dim, b: Dim, message: str) -> None:
        assert a is not None and b is not None
        condition = lowered.compare(op, a, b)
        if condition.op == "const":
            if not condition.value:
                raise UserValueError(worded(message, (a, b)))
            return
        self.region.require(condition, UserValueError, message, (a, b))

    def require_inside(self, i: Dim, n: Dim, message: str) -> None:
        assert i is not None and n is not None
        condition = inside(i, n)
        if not isinstance(i, int) and self.region.data_level([condition]) >= 0:
            return  # computed on the way: elements are guarded, as an index array's are
        if condition.op == "const":
            if not condition.value:
                raise UserIndexError(worded(message, (i, n)))
            return
        # What stays the same for all steps may be read before the first one.
        in_steps = not self.region.varying.isdisjoint(map(id, self.inputs))
        self.region.require(condition, UserIndexError, message, (i, n), in_steps)

    def require_broadcast(self, a: Dim, b: Dim, message: Callable[[], str]) -> None:
        assert a is not None and b is not None
        either = lowered.logical("logical_or", lowered.compare("eq", a, 1), lowered.compare("eq", b, 1))
        condition = lowered.logical("logical_or", lowered.compare("eq", a, b), either)
        if condition.op == "const":
            if not condition.value:
                raise UserValueError(worded(message(), (a, b)))
            return
        self.region.require(condition, UserValueError, message(), (a, b))


class ApplyContext:
    """The `Lowering` of one Apply inside one region; `targets` are its outputs' memory, for stages."""

    def __init__(self, region: Region, node: Apply, targets: Sequence[View] = ()) -> None:
        self.region = region
        self.node = node
        self.params: Params = node.params
        self.targets = targets

    def shape(self, i: int) -> tuple[Int, ...]:
        return self.region.shape(self.node.inputs[i])

    def output_shape(self, k: int = 0) -> tuple[Int, ...]:
        return self.region.shape(self.node.outputs[k])

    def dtype(self, i: int) -> str:
        return self.node.inputs[i].dtype

    def output_dtype(self, k: int = 0) -> str:
        return self.node.outputs[k].dtype

    def name(self, i: int) -> str:
        return describe(self.node.inputs[i])

    def value(self, i: int) -> Int:
        return self.region.integer(self.node.inputs[i])

    def element(self, i: int, index: Sequence[Int]) -> Expr:
        return self.region.element(self.node.inputs[i], tuple(index))

    def check(self, value: Int, condition: Expr, message: str, *values: Int) -> Int:
        if condition.op == "const":
            if condition.value:
                return value
            raise UserIndexError(worded(message, values))
        number = self.region.program.check(UserIndexError, message)
        return lowered.guard(lowered.as_expr(value), condition, number, values)

    def store(self, k: int, index: Sequence[Int], value: Expr) -> Statement:
        target = self.targets[k]
        return Store(target.buffer, target.position(index), lowered.cast(value, target.dtype))

    def output_element(self, k: int, index: Sequence[Int]) -> Expr:
        return self.targets[k].at(index)

    def loop(
        self, extents: Sequence[Int], body: Callable[[tuple[Int, ...]], list[Statement]]
    ) -> list[Statement]:
        return self.region.loop(extents, body)

    def accumulator(self, dtype: str, start: Expr) -> tuple[Expr, Callable[[Expr], Statement], Statement]:
        name = self.region.program.unique("a")

        def assign(value: Expr) -> Statement:
            return Assign((name,), (lowered.cast(value, dtype),))

        return lowered.register(name, dtype), assign, assign(start)

    def __repr__(self) -> str:
        return f"lowering of {describe(self.node.outputs[0])}"
