"""Theano's place for `RandomStreams`."""

from ..random import RandomStreams

__all__ = ["RandomStreams"]
