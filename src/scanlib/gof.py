"""A few of Theano's names of graph parts."""

from __future__ import annotations

from . import graph as _graph
from .graph import Apply, Constant, Variable


class utils:
    """Theano's `gof.utils`."""

    class MethodNotDefined(Exception):
        """Never raised here; programs catch it."""


class graph:
    """Theano's `gof.graph`."""

    Apply, Constant, Variable = Apply, Constant, Variable

    @staticmethod
    def inputs(variables: list[_graph.Variable]) -> list[_graph.Variable]:
        """The variables without owner that `variables` are built from."""
        return _graph.roots(variables)


__all__ = ["Apply", "Constant", "Variable", "graph", "utils"]
