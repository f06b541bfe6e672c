"""`ifelse(condition, then, otherwise)`: computes only the chosen branch.  The module is callable too."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .errors import UserTypeError
from .graph import Variable, describe
from .ops.control import ifelse_op
from .tensor.types import as_operands, as_tensor_variable


def ifelse(condition: Any, then_branch: Any, else_branch: Any, name: str | None = None) -> Any:
    """`then_branch` where the scalar `condition` is true (not 0), else `else_branch`.

    The branches are values, or lists of as many values each; a list gives a list.  Values that stand in the
    same place must have the same dtype and number of dimensions; shapes may differ.
    """
    chosen = as_tensor_variable(condition)
    if chosen.ndim:
        raise UserTypeError(
            f"ifelse: condition '{describe(chosen)}' is {chosen.type}, expected a scalar; use T.switch to "
            "choose "
            "element by element"
        )
    if chosen.dtype != "bool":
        from .tensor import neq

        chosen = neq(chosen, 0)
    several = isinstance(then_branch, (list, tuple))
    then = list(then_branch) if several else [then_branch]
    otherwise = list(else_branch) if isinstance(else_branch, (list, tuple)) else [else_branch]
    if len(then) != len(otherwise):
        raise UserTypeError(f"ifelse: {len(then)} values for one branch, {len(otherwise)} for the other")
    pairs = [as_operands(a, b) for a, b in zip(then, otherwise)]
    node = ifelse_op.apply((chosen, *(a for a, _ in pairs), *(b for _, b in pairs)), {})
    outputs: list[Variable] = list(node.outputs)
    for k, v in enumerate(outputs):
        v.name = None if name is None else f"{name}{k}" if several else name
    if not several:
        return outputs[0]
    return outputs if isinstance(then_branch, list) else tuple(outputs)


class _CallableModule(ModuleType):
    """Makes `scanlib.ifelse(…)` and `scanlib.ifelse.ifelse(…)` the same."""

    def __call__(self, condition: Any, then_branch: Any, else_branch: Any, name: str | None = None) -> Any:
        return ifelse(condition, then_branch, else_branch, name)


sys.modules[__name__].__class__ = _CallableModule
