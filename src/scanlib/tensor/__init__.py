"""The user's namespace: `import scanlib.tensor as T`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .. import graph
from . import linalg
from . import nnet as nnet
from .creation import *  # noqa: F403
from .dimensions import fold_int as fold_int
from .dimensions import static_value
from .einsum import *  # noqa: F403
from .extra_ops import *  # noqa: F403
from .linalg import *  # noqa: F403
from .math import *  # noqa: F403
from .nnet import relu as relu
from .nnet import sigmoid as sigmoid
from .nnet import softplus as softplus
from .products import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shape import *  # noqa: F403
from .special import *  # noqa: F403
from .subtensor import *  # noqa: F403
from .types import *  # noqa: F403
from .types import CONSTRUCTORS

Variable = TensorVariable = graph.Variable
Constant = TensorConstant = graph.Constant
TensorSharedVariable = SharedVariable = graph.SharedVariable

# fmatrix, dvectors, …: made from a table of dtypes and shapes.
globals().update(CONSTRUCTORS)

# Theano's names of modules whose functions all stand in this one, or in `linalg`.
slinalg = nlinalg = linalg

# Loaded when first asked for: these import the namespace themselves.
_FROM_GRADIENT = ("grad", "jacobian", "hessian", "Rop", "Lop", "hessian_vector_product", "verify_grad")
_MODULES = {
    "basic": ".basic",
    "random": "..random",
    "shared_randomstreams": ".shared_randomstreams",
}


def get_scalar_constant_value(v: Any) -> Any:
    """The value of a scalar known while the graph is built; ValueError otherwise."""
    from ..errors import UserValueError

    v = as_tensor_variable(v)  # noqa: F405
    if isinstance(v, graph.Constant) and v.data.size == 1:
        return v.data.reshape(())
    value = static_value(v)
    if value is None:
        raise UserValueError(f"'{graph.describe(v)}' is not a constant scalar")
    return value


def iround(x: Any, mode: str = "half_to_even") -> graph.Variable:
    """x rounded to the nearest integer, as int64."""
    return cast(round(x, mode), "int64")  # noqa: F405


get_vector_length = len


def __getattr__(name: str) -> Any:
    value: Any
    if name in _FROM_GRADIENT:
        value = getattr(import_module("..gradient", __name__), name)
    elif name in _MODULES:
        value = import_module(_MODULES[name], __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
