"""config.optimisations: the names of what can be left out, for tests and for finding where a fault lies.

None (the default) stands for everything that pays; a collection of names for these alone.  The passes are named
in passes/optimise.py; the choices of the lowering are

lanes     elementwise loops run lanes outside, time inside
batching  what can be done before or after the recurrence of a block is done there, for all its steps
rows      threads share the rows of a batch, each takes its own through all steps of a block
linear    linear recurrences of scalars run in groups of steps
columns   threads take columns of cells of one row through all steps of a block
overlap   while a block recurs, another thread ends the block before it and prepares the block after it
"""

from __future__ import annotations

from .config import config

LOWERING = ("lanes", "batching", "rows", "linear", "columns", "overlap")


def lowering_choices() -> frozenset[str]:
    """The choices of the lowering that are on."""
    names = config.optimisations
    return frozenset(LOWERING if names is None else (n for n in LOWERING if n in names))
