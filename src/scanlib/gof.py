"""A few of Theano's names of graph parts."""

from __future__ import annotations

from .graph import Apply, Constant, Variable
from .graph import roots as _roots


class utils:  # noqa: N801
    """Theano's `gof.utils`."""

    class MethodNotDefined(Exception):
        """Never raised here; programs catch it."""


class graph:  # noqa: N801
    """Theano's `gof.graph`."""

    Apply, Constant, Variable = Apply, Constant, Variable

    @staticmethod
    def inputs(variables: list[Variable]) -> list[Variable]:
        """The variables without owner that `variables` are built from."""
        return _roots(variables)


__all__ = ["Apply", "Constant", "Variable", "graph", "utils"]
