"""scanlib: compiled, differentiable, memory-frugal sequential loops.

Theano's names stand here: `import scanlib as theano` is enough for a program written for `theano.scan`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import compile, errors, gradient, passes, printing, scan_gradient, scan_module, scan_utils, tensor
from .config import Mode, config, threads
from .explain import explain
from .function import Function, In, Out, Param, function
from .graph import Constant, SharedVariable, Variable
from .printing import debugprint, pp, pprint
from .scan import OrderedUpdates, foldl, foldr, map, reduce, scan
from .scan_checkpoints import scan_checkpoints
from .shared import shared
from .tensor import shared_randomstreams as shared_randomstreams
from .tensor.types import as_tensor_variable

if TYPE_CHECKING:
    from .gradient import Lop, Rop, grad

# Used by the first function that is made.  Loaded here, LLVM included, so that its time is that of compiling.
_COMPILER = (compile, passes, gradient, scan_gradient)

__version__ = "0.1.0"

# Loaded when first asked for.
_LAZY = {
    "grad": "gradient", "Rop": "gradient", "Lop": "gradient", "jacobian": "gradient", "hessian": "gradient",
    "hessian_vector_product": "gradient", "jvp": "gradient", "vjp": "gradient", "verify_grad": "verify",
    "disconnected_grad": "gradient", "zero_grad": "gradient", "grad_clip": "gradient", "grad_scale": "gradient",
    "dot": "tensor", "until": "scan_module", "clone": "scan_utils",
}  # fmt: skip
_LAZY_MODULES = (
    "ifelse",
    "random",
    "sandbox",
    "gof",
    "reference",
    "tutorial",
)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _LAZY_MODULES:
        try:
            return import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_LAZY_MODULES})


__all__ = [
    "Constant",
    "Function",
    "In",
    "Lop",
    "Mode",
    "OrderedUpdates",
    "Out",
    "Param",
    "Rop",
    "SharedVariable",
    "Variable",
    "as_tensor_variable",
    "config",
    "debugprint",
    "errors",
    "explain",
    "foldl",
    "foldr",
    "function",
    "grad",
    "map",
    "pp",
    "pprint",
    "printing",
    "reduce",
    "scan",
    "scan_checkpoints",
    "scan_module",
    "scan_utils",
    "shared",
    "tensor",
    "threads",
]
