"""Lowering: from a checked graph and the shapes of a call to kernels and a plan."""

from . import accumulate, barriers, branch, lanes, scan
from .function import Lowered, lower

# The modules that regions reach for when they meet a scan are loaded with the others.
__all__ = ["Lowered", "accumulate", "barriers", "branch", "lanes", "lower", "scan"]
