"""The user's namespace: `import scanlib.tensor as T`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .. import graph
from .types import *  # noqa: F403
from .types import CONSTRUCTORS

globals().update(CONSTRUCTORS)
Variable = TensorVariable = graph.Variable
Constant = TensorConstant = graph.Constant
TensorSharedVariable = graph.SharedVariable

for _name in ("math", "reductions", "products", "linalg", "nnet", "shape", "creation", "subtensor"):
    try:
        _module = import_module(f"{__name__}.{_name}")
        globals().update({n: getattr(_module, n) for n in _module.__all__})
    except ImportError:
        pass


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
