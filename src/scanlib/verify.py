"""A short numeric checker of gradients: central differences, and forward mode against reverse mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph import TensorType, Variable
from .ops.base import is_float

Arrays = list[np.ndarray]


class GradientMismatchError(AssertionError):
    """A gradient differs from the numeric one: names the input, the values and the tolerance."""


def verify_grad(
    fun: Callable[..., Any],
    pt: Sequence[Any],
    n_tests: int = 2,
    rng: Any = None,
    eps: float | None = None,
    abs_tol: float | None = None,
    rel_tol: float | None = None,
    mode: Any = None,
    order: int = 1,
    forward: bool = True,
) -> None:
    """Check the derivatives of `fun` at the arrays `pt`; GradientMismatchError where they are wrong.

    fun      from variables to one variable or several; integer and boolean points are not differentiated
    n_tests  random directions to check
    rng      numpy Generator or RandomState; a fixed one by default
    eps      step of the differences, 1e-3 for float64 and 2e-2 for float32; they are of fourth order,
             (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h (Abramowitz and Stegun, 25.3.6)
    order    check the derivatives up to this order
    forward  also check that forward mode agrees with reverse mode
    """
    rng = np.random.default_rng(20240611) if rng is None else rng
    points = [np.asarray(p) for p in pt]
    check = _Check(fun, points, rng, mode)
    narrow = any(p.dtype == np.float32 for p in points) or check.narrow
    step = eps if eps is not None else (2e-2 if narrow else 1e-3)
    tolerance = (
        abs_tol if abs_tol is not None else (2e-3 if narrow else 1e-7),
        rel_tol if rel_tol is not None else (5e-3 if narrow else 1e-6),
    )
    if not check.connected:
        return
    for _ in range(n_tests):
        check.direction(step, tolerance, forward)
    if order > 1:
        verify_grad(check.gradients, points, n_tests, rng, eps, abs_tol, rel_tol, mode, order - 1, forward)


class _Check:
    """A random projection of the outputs of `fun`, as a compiled cost with its derivatives."""

    def __init__(self, fun: Callable[..., Any], points: Arrays, rng: Any, mode: Any) -> None:
        from .function import function
        from .gradient import grad

        self.fun, self.points, self.rng, self.mode = fun, points, rng, mode
        self.variables = [
            Variable(TensorType(p.dtype.name, (None,) * p.ndim), name=f"x{i}") for i, p in enumerate(points)
        ]
        outputs = self._outputs(self.variables)
        values = function(self.variables, outputs, mode=mode, on_unused_input="ignore")(*points)
        self.narrow = any(v.dtype == np.float32 for v in values)
        self.weights = [np.asarray(self._random(v.shape), v.dtype) for v in values]
        self.floats = [i for i, p in enumerate(points) if is_float(p.dtype.name)]
        cost = self._project(outputs)
        targets = [self.variables[i] for i in self.floats]
        found = grad(cost, targets, disconnected_inputs="ignore", return_disconnected="None", add_names=False)
        self.connected = [i for i, g in zip(self.floats, found) if g is not None]
        self.reverse = [g for g in found if g is not None]
        self.cost = function(self.variables, cost, mode=mode, on_unused_input="ignore")
        if self.connected:
            self._compile_derivatives(outputs, cost)

    def _compile_derivatives(self, outputs: list[Variable], cost: Variable) -> None:
        """The gradients, and the derivative of the cost along directions that are further inputs."""
        from .function import function
        from .gradient import Rop

        moving = [self.variables[i] for i in self.connected]
        directions = [v.clone("direction") for v in moving]
        along = Rop(cost, moving, directions)
        inputs = [*self.variables, *directions]
        self.derivatives = function(inputs, [along, *self.reverse], mode=self.mode, on_unused_input="ignore")

    def _outputs(self, variables: Sequence[Variable]) -> list[Variable]:
        made = self.fun(*variables)
        many = list(made) if isinstance(made, (list, tuple)) else [made]
        return [v for v in many if is_float(v.dtype)]

    def _random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(
            self.rng.uniform(0.5, 1.5, shape) * np.where(self.rng.uniform(size=shape) < 0.5, -1, 1)
        )

    def _project(self, outputs: Sequence[Variable]) -> Variable:
        from .tensor import constant

        terms = [(v * constant(w)).sum() for v, w in zip(outputs, self.weights)]
        return sum(terms[1:], terms[0])

    def gradients(self, *variables: Variable) -> list[Variable]:
        """The gradients of the cost as a function: what is checked for the next order."""
        from .gradient import grad

        cost = self._project(self._outputs(variables))
        targets = [variables[i] for i in self.connected]
        return list(grad(cost, targets, add_names=False))

    def direction(self, step: float, tolerance: tuple[float, float], forward: bool) -> None:
        """Check the derivatives along one random direction."""
        moves = {
            i: np.asarray(self._random(self.points[i].shape), self.points[i].dtype) for i in self.connected
        }
        along, *reverse = self.derivatives(*self.points, *moves.values())
        for i, g in zip(self.connected, reverse):
            if g.shape != self.points[i].shape:
                raise GradientMismatchError(
                    f"the gradient of input {i} has shape {g.shape}, the input {self.points[i].shape}"
                )
        by_reverse = sum(
            float(np.sum(g * moves[i], dtype="float64")) for i, g in zip(self.connected, reverse)
        )
        numeric = self._difference(moves, step)
        if not _close(by_reverse, numeric, tolerance, self._scale(reverse)):
            raise GradientMismatchError(self._worst(reverse, step, by_reverse, numeric, tolerance))
        if forward and not _close(float(along), by_reverse, tolerance, self._scale(reverse)):
            raise GradientMismatchError(
                f"forward mode gives {float(along)!r} along a direction, reverse mode {by_reverse!r} "
                f"(tolerance {tolerance[0]} + {tolerance[1]}·|value|)"
            )

    def _scale(self, reverse: Sequence[np.ndarray]) -> float:
        """The size of the gradients, against which their cancellation is measured."""
        return max((float(np.abs(g).max(initial=0.0)) for g in reverse), default=0.0)

    def _difference(self, moves: dict[int, np.ndarray], step: float) -> float:
        def at(multiple: float) -> float:
            moved = [
                p if i not in moves else np.asarray(p + step * multiple * moves[i], p.dtype)
                for i, p in enumerate(self.points)
            ]
            return float(self.cost(*moved))

        return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)

    def _worst(
        self,
        reverse: Sequence[np.ndarray],
        step: float,
        got: float,
        expected: float,
        tolerance: tuple[float, float],
    ) -> str:
        """A message naming the element whose gradient is farthest from the numeric one."""
        text = f"the derivative along a direction is {got!r}, numerically {expected!r}"
        worst = (-1.0, "")
        for i, g in zip(self.connected, reverse):
            for index in np.ndindex(*self.points[i].shape):
                unit = np.zeros_like(self.points[i])
                unit[index] = 1
                numeric = self._difference({i: unit}, step)
                distance = abs(float(g[index]) - numeric)
                if not distance <= worst[0]:
                    worst = (
                        distance,
                        f"; input {i}{list(index)}: {float(g[index])!r}, numerically {numeric!r}",
                    )
        return f"{text} (tolerance {tolerance[0]} + {tolerance[1]}·|value|){worst[1]}"


def _close(a: float, b: float, tolerance: tuple[float, float], scale: float) -> bool:
    if np.isnan(a) or np.isnan(b):
        return False
    return abs(a - b) <= tolerance[0] + tolerance[1] * max(abs(a), abs(b), scale)
