"""Arguments that nobody means to give: lengths without end, positions outside, values of a wrong kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserIndexError, UserTypeError

x, s, n, at = T.vector("x"), T.scalar("s"), T.lscalar("n"), T.lvector("at")
W = T.ones((3, 3))

TOO_LARGE: dict[str, Callable[[], Any]] = {
    "a vector": lambda: T.zeros((n,)),
    "a square": lambda: T.zeros((n, n)),
    "rows": lambda: T.alloc(x, n, 3),
    "an operand": lambda: T.dot(T.alloc(x, n, 3), x),
    "a trace": lambda: scanlib.scan(lambda h: h + 1, outputs_info=x, n_steps=n)[0],
    "a state": lambda: scanlib.scan(lambda h: h + 1, outputs_info=T.zeros((n,)), n_steps=3)[0],
    "rows of a block": lambda: scanlib.scan(
        lambda i, h: T.tanh(h + T.dot(T.zeros((n, 3)) + i, W).sum()), T.arange(3.0), s
    )[0],
    "an arm": lambda: scanlib.ifelse(s > 0, T.zeros((n,)), x),
}


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.parametrize("length", [1 << 61, 1 << 62, (1 << 60) + 1])
def test_more_bytes_than_there_can_be(name: str, length: int) -> None:
    f = scanlib.function([x, s, n], TOO_LARGE[name](), on_unused_input="ignore")
    with pytest.raises(MemoryError, match="could not be allocated"):
        f(np.ones(3), 1.0, length)


@pytest.mark.parametrize(
    "table", [T.constant([2.5]), T.zeros((3,)), T.alloc(s, n), T.switch(s > 9, T.zeros((n,)), s)]
)
def test_elements_that_are_all_the_same_have_positions(table: Any, mode: str) -> None:
    f = scanlib.function([at, s, n], table[at], mode=mode, on_unused_input="ignore")
    assert f([0, -1], 2.0, 3).shape == (2,)
    with pytest.raises(UserIndexError, match="index 3 is out of bounds"):
        f([0, 3], 2.0, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: T.cast(x, s),
        lambda: T.zeros((3,), dtype=n),
        lambda: T.dmatrix([]),
        lambda: T.as_tensor_variable(2.5, name=3),
        lambda: T.constant(2.5, -1),
        lambda: T.TensorType("float64", 3),
        lambda: T.hstack(2.5),
        lambda: T.column_stack(1),
        lambda: T.vstack([]),
        lambda: T.fill(0.0, x),
        lambda: T.full_like(s, x),
        lambda: T.flatten(x, "C"),
        lambda: T.diff(x, 2.5),
        lambda: T.diff(x, -1),
        lambda: T.linalg.cho_solve(W, x),
    ],
)
def test_values_of_a_wrong_kind(call: Callable[[], Any]) -> None:
    with pytest.raises(UserTypeError):
        call()
