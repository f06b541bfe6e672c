"""Theano's other name for `until`."""

from .scan import until

__all__ = ["until"]
