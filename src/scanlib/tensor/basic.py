"""Theano's place for functions that stand in `scanlib.tensor` itself."""

from . import *  # noqa: F403
