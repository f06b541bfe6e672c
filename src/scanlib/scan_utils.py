"""Theano's helpers around scans: `clone`, and its other name for `until`."""

from __future__ import annotations

from typing import Any

from .function_arguments import replacements
from .graph import substitute
from .scan import until


def clone(output: Any, replace: Any = None, strict: bool = True, share_inputs: bool = True) -> Any:
    """The graph of `output` (a variable or a list) with variables replaced: {variable: replacement} or pairs.

    A replacement has the dtype and the number of dimensions of what it replaces.  What does not depend on a
    replaced variable is shared, not copied; `strict` and `share_inputs` are accepted, without effect.
    """
    several = isinstance(output, (list, tuple))
    made = substitute(list(output) if several else [output], replacements(replace, "clone"))
    return made if several else made[0]


__all__ = ["clone", "until"]
