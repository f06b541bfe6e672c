"""Functions of neural networks, as compositions: T.nnet."""

from __future__ import annotations

from typing import Any

from ..graph import Variable
from ..ops import elementwise
from ..ops.base import float_dtype, is_float
from . import math
from .reductions import log_softmax, logsumexp, softmax, sum
from .types import as_tensor_variable


def _decay(x: Variable) -> tuple[Variable, Variable]:
    """(x >= 0, e**-|x|).  Chosen by a condition, not by abs, so that derivatives at 0 are right too."""
    positive = math.ge(x, 0)
    return positive, elementwise.exp(math.switch(positive, -x, x))


def _floating(x: Any) -> Variable:
    x = as_tensor_variable(x)
    return x if is_float(x.dtype) else elementwise.to_dtype(x, float_dtype(x.dtype))


def sigmoid(x: Any) -> Variable:
    """1 / (1 + e**-x), elementwise; value and gradient keep their relative accuracy at both ends."""
    x = _floating(x)
    positive, decay = _decay(x)
    return math.switch(positive, 1, decay) / (1 + decay)


def softplus(x: Any) -> Variable:
    """log(1 + eˣ), elementwise, without overflow.  Its gradient is sigmoid."""
    x = _floating(x)
    positive, decay = _decay(x)
    return math.switch(positive, x, 0) + elementwise.log1p(decay)


def log_sigmoid(x: Any) -> Variable:
    """log sigmoid(x), elementwise, accurate where sigmoid underflows."""
    return -softplus(-_floating(x))


def hard_sigmoid(x: Any) -> Variable:
    """clip(0.2 x + 0.5, 0, 1), elementwise."""
    return math.clip(_floating(x) * 0.2 + 0.5, 0, 1)


def relu(x: Any, alpha: Any = 0) -> Variable:
    """x where x > 0, else `alpha`·x, elementwise.  The gradient at 0 is `alpha`."""
    x = as_tensor_variable(x)
    below = 0 if isinstance(alpha, (int, float)) and alpha == 0 else x * alpha
    # The condition is false for NaN, which stays.
    return math.switch(math.le(x, 0), below, x)


def elu(x: Any, alpha: float = 1) -> Variable:
    """x where x > 0, else `alpha`·(eˣ - 1), elementwise."""
    x = _floating(x)
    positive = math.gt(x, 0)
    return math.switch(positive, x, alpha * elementwise.expm1(math.switch(positive, 0, x)))


def softsign(x: Any) -> Variable:
    """x / (1 + |x|), elementwise."""
    x = _floating(x)
    return x / (1 + math.abs(x))


def binary_crossentropy(output: Any, target: Any) -> Variable:
    """-(target·log(output) + (1 - target)·log(1 - output)), elementwise."""
    output, target = _floating(output), as_tensor_variable(target)
    return -(target * elementwise.log(output) + (1 - target) * elementwise.log1p(-output))


def sigmoid_binary_crossentropy(output: Any, target: Any) -> Variable:
    """binary_crossentropy(sigmoid(output), target), accurate for large |output|."""
    output, target = _floating(output), as_tensor_variable(target)
    return softplus(output) - output * target


def categorical_crossentropy(coding: Any, target: Any) -> Variable:
    """The crossentropy of each row of probabilities with `target`: class numbers, or rows of weights.

    Shapes: (n, classes) with (n,) or (n, classes); gives (n,).
    """
    coding, target = _floating(coding), as_tensor_variable(target)
    if target.ndim == coding.ndim:
        return -sum(target * elementwise.log(coding), axis=coding.ndim - 1)
    from ..tensor import arange

    rows = arange(coding.shape[0])
    return -elementwise.log(coding[rows, target])


ultra_fast_sigmoid = sigmoid
logsoftmax = log_softmax

__all__ = [
    "binary_crossentropy", "categorical_crossentropy", "elu", "hard_sigmoid", "log_sigmoid", "log_softmax",
    "logsoftmax", "logsumexp", "relu", "sigmoid", "sigmoid_binary_crossentropy", "softmax", "softplus",
    "softsign", "ultra_fast_sigmoid",
]  # fmt: skip
