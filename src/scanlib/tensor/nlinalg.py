"""Theano's place for linear algebra."""

from .linalg import *  # noqa: F403
