"""Random streams: `RandomStreams` (draw for draw NumPy's RandomState) and `PhiloxStreams` (counter-based).

Every draw made in Python owns a shared variable with its state, which functions and scans advance by
themselves: the state has a default update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .config import config
from .errors import UserTypeError, UserValueError
from .graph import SharedVariable, Variable, describe
from .ops import random as rows
from .ops.base import Op
from .tensor.types import as_tensor_variable, check_dtype, is_weak


class RandomStateVariable(SharedVariable):
    """The state of one draw; its value is shown as a numpy.random.RandomState."""

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> Any:
        return rows.unpack_state(self.container[0])

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Take a RandomState, the seed of one, or a packed state (uint32[628])."""
        if isinstance(value, (int, np.integer)):
            value = np.random.RandomState(int(value))
        packed = rows.pack_state(value) if isinstance(value, np.random.RandomState) else value
        super().set_value(packed, borrow)


def _dims(size: Any, ndim: int | None, parameters: Sequence[Variable]) -> list[Variable]:
    """The dimensions of a sample: from `size`, or those the parameters broadcast to."""
    from .tensor import cast

    if size is None:
        wide = [p for p in parameters if p.ndim]
        if not wide:
            return []
        together = wide[0]
        for p in wide[1:]:
            together = together + p
        return [together.shape[i] for i in range(together.ndim)]
    if isinstance(size, (int, np.integer)) or (isinstance(size, Variable) and size.ndim == 0):
        size = [size]
    if isinstance(size, Variable):
        length = size.type.shape[0] if size.ndim == 1 else None
        if length is None:
            length = ndim
        if length is None or size.ndim != 1:
            raise UserTypeError(
                f"random draw: size '{describe(size)}' is {size.type}; its length is unknown: give ndim"
            )
        size = [size[i] for i in range(length)]
    dims = [as_tensor_variable(d) for d in size]
    for d in dims:
        if d.ndim or not d.dtype.startswith(("int", "uint")):
            raise UserTypeError(f"random draw: size must hold integers, got '{describe(d)}' of type {d.type}")
    if ndim is not None and ndim != len(dims):
        raise UserValueError(f"random draw: ndim is {ndim}, size has {len(dims)} entries")
    return [d if d.dtype == "int64" else cast(d, "int64") for d in dims]


def _parameter(value: Any) -> Variable:
    # A Python float keeps its 53 bits even where config.floatX is float32.
    return as_tensor_variable(np.asarray(value)) if is_weak(value) else as_tensor_variable(value)


class _Streams:
    """What both kinds of streams do: give each draw a state of its own, and remember them."""

    prefix = ""

    def __init__(self, seed: int | None = None, no_warn: bool = False) -> None:
        self.default_instance_seed = seed
        self.state_updates: list[tuple[SharedVariable, Variable]] = []

    def _new_state(self) -> SharedVariable:
        raise NotImplementedError

    def updates(self) -> list[tuple[SharedVariable, Variable]]:
        """(state, next state) of every draw made so far."""
        return list(self.state_updates)

    def gen(self, row: Op, *inputs: Variable, **params: Any) -> Variable:
        """A draw of the row `row` with a new state of its own."""
        state = self._new_state()
        after, sample = row.apply((state, *inputs), params).outputs
        state.default_update = (state, after)
        self.state_updates.append((state, after))
        vars(sample).update(rng=state, update=(state, after))
        return sample

    def _draw(
        self, name: str, parameters: Sequence[Any], size: Any, ndim: int | None, dtype: Any
    ) -> Variable:
        given = [_parameter(p) for p in parameters]
        row: Op = getattr(rows, f"{self.prefix}_{name}")
        return self.gen(row, *given, *_dims(size, ndim, given), dtype=check_dtype(dtype))

    def uniform(
        self,
        size: Any = None,
        low: Any = 0.0,
        high: Any = 1.0,
        ndim: int | None = None,
        dtype: Any = None,
        **_: Any,
    ) -> Variable:
        """Uniform in [low, high)."""
        return self._draw("uniform", (low, high), size, ndim, dtype or config.floatX)

    def normal(
        self,
        size: Any = None,
        avg: Any = 0.0,
        std: Any = 1.0,
        ndim: int | None = None,
        dtype: Any = None,
        **_: Any,
    ) -> Variable:
        """Normal with mean `avg` and standard deviation `std`."""
        return self._draw("normal", (avg, std), size, ndim, dtype or config.floatX)

    def binomial(
        self,
        size: Any = None,
        n: Any = 1,
        p: Any = 0.5,
        ndim: int | None = None,
        dtype: Any = "int64",
        **_: Any,
    ) -> Variable:
        """Number of successes in `n` trials of probability `p`."""
        return self._draw("binomial", (n, p), size, ndim, dtype)

    def random_integers(
        self, size: Any = None, low: Any = 0, high: Any = 1, ndim: int | None = None, dtype: Any = "int64"
    ) -> Variable:
        """Integers from `low` to `high`, both included."""
        return self._draw("random_integers", (low, high), size, ndim, dtype)


class RandomStreams(_Streams):
    """MT19937 streams: a RandomState(seed) gives each draw its seed by randint(2**30), as in Theano."""

    prefix = "mt"

    def __init__(self, seed: int | None = None, no_warn: bool = False) -> None:
        super().__init__(seed)
        self.gen_seedgen = np.random.RandomState(seed)

    def _new_state(self) -> SharedVariable:
        stream = np.random.RandomState(int(self.gen_seedgen.randint(2**30)))
        return RandomStateVariable(rows.pack_state(stream), "random state", (628,))

    def seed(self, seed: int | None = None) -> None:
        """Give every draw made so far a new seed."""
        seedgen = np.random.RandomState(self.default_instance_seed if seed is None else seed)
        for state, _ in self.state_updates:
            state.set_value(np.random.RandomState(int(seedgen.randint(2**30))))

    def __getitem__(self, item: SharedVariable) -> Any:
        return self._state_of(item).get_value()

    def __setitem__(self, item: SharedVariable, value: Any) -> None:
        self._state_of(item).set_value(value)

    def _state_of(self, item: SharedVariable) -> SharedVariable:
        for state, _ in self.state_updates:
            if state is item:
                return state
        raise KeyError(item)

    def poisson(
        self, size: Any = None, lam: Any = 1.0, ndim: int | None = None, dtype: Any = "int64"
    ) -> Variable:
        """Poisson with mean `lam`."""
        return self._draw("poisson", (lam,), size, ndim, dtype)

    def exponential(
        self, size: Any = None, scale: Any = 1.0, ndim: int | None = None, dtype: Any = None
    ) -> Variable:
        """Exponential with mean `scale`."""
        return self._draw("exponential", (scale,), size, ndim, dtype or config.floatX)

    def gamma(
        self, size: Any = None, shape: Any = 1.0, scale: Any = 1.0, ndim: int | None = None, dtype: Any = None
    ) -> Variable:
        """Gamma of the given shape and scale."""
        return self._draw("gamma", (shape, scale), size, ndim, dtype or config.floatX)

    def beta(
        self, size: Any = None, a: Any = 1.0, b: Any = 1.0, ndim: int | None = None, dtype: Any = None
    ) -> Variable:
        """Beta with parameters `a` and `b`."""
        return self._draw("beta", (a, b), size, ndim, dtype or config.floatX)

    def multinomial(
        self,
        size: Any = None,
        n: Any = 1,
        pvals: Any = (0.5, 0.5),
        ndim: int | None = None,
        dtype: Any = "int64",
    ) -> Variable:
        """Counts of `n` draws among the kinds of `pvals` (last axis); shape size + (kinds,)."""
        count, chances = (
            _parameter(n),
            _parameter(np.asarray(pvals) if isinstance(pvals, (list, tuple)) else pvals),
        )
        if size is None:
            leading = [count] if chances.ndim < 2 else [count, chances[..., 0]]
            dims = _dims(None, ndim, leading)
        else:
            dims = _dims(size, ndim, ())
        return self.gen(rows.mt_multinomial, count, chances, *dims, dtype=check_dtype(dtype))

    def permutation(
        self, size: Any = None, n: Any = 1, ndim: int | None = None, dtype: Any = "int64"
    ) -> Variable:
        """Permutations of 0 … n-1 along a last axis; shape size + (n,)."""
        dims = [*_dims(size, ndim, ()), *_dims([n], None, ())]
        return self.gen(rows.mt_permutation, *dims, dtype=check_dtype(dtype))

    def shuffle_row_elements(self, input: Any) -> Variable:
        """`input` with the elements of each row (last axis) in random order."""
        return self.gen(rows.mt_shuffle_rows, as_tensor_variable(input))

    def choice(
        self,
        size: Any = None,
        a: Any = 2,
        replace: bool = True,
        p: Any = None,
        ndim: int | None = None,
        dtype: Any = "int64",
    ) -> Variable:
        """Elements of the vector `a`, or of 0 … a-1, with probabilities `p`."""
        from .tensor import cast

        values = as_tensor_variable(a)
        count = values if values.ndim == 0 else values.shape[0]
        dims = _dims(size, ndim, ())
        dtype = check_dtype(dtype) if values.ndim == 0 else "int64"
        if p is None:
            count = count if count.dtype == "int64" else cast(count, "int64")
            index = self.gen(rows.mt_choice, count, *dims, dtype=dtype, replace=bool(replace))
        else:
            chances = _parameter(np.asarray(p) if isinstance(p, (list, tuple)) else p)
            index = self.gen(rows.mt_choice_p, chances, *dims, dtype=dtype, replace=bool(replace))
        return index if values.ndim == 0 else values[index]


class PhiloxStreams(_Streams):
    """Counter-based streams (Philox4x32-10): draw number d of seed s is stream d under key s.

    Fast, and every element of a sample can be computed by itself; the numbers are not those of RandomState.
    """

    prefix = "philox"

    def _new_state(self) -> SharedVariable:
        return SharedVariable(self._initial(len(self.state_updates)), "philox state", (4,))

    def _initial(self, stream: int, seed: int | None = None) -> np.ndarray:
        key = self.default_instance_seed if seed is None else seed
        if key is None:
            key = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
            self.default_instance_seed = key
        return np.array([int(key) % 2**64, 0, stream, 0], np.uint64)

    def seed(self, seed: int | None = None) -> None:
        """Start every draw made so far again, under another key."""
        for i, (state, _) in enumerate(self.state_updates):
            state.set_value(self._initial(i, seed))


__all__ = ["PhiloxStreams", "RandomStateVariable", "RandomStreams"]
