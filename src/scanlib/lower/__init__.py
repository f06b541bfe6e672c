"""Lowering: from a checked graph and the shapes of a call to kernels and a plan."""

from .function import Lowered, lower

__all__ = ["Lowered", "lower"]
