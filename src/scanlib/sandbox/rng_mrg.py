"""Theano's name for the fast, parallel random stream; here Philox (other numbers, same interface)."""

from ..random import PhiloxStreams

MRG_RandomStreams = PhiloxStreams

__all__ = ["MRG_RandomStreams"]
