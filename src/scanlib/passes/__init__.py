"""Passes: a graph in, a better graph that computes the same out."""

from .optimise import NAMES, PASSES, optimise

__all__ = ["NAMES", "PASSES", "optimise"]
