"""All workloads, in the order in which they are printed."""

from __future__ import annotations

from fnmatch import fnmatch

from . import (
    calls,
    checkpoints,
    filters,
    garch,
    hmm,
    kalman,
    lanes,
    linear,
    lorenz,
    networks,
    seir,
    tridiagonal,
)
from .workload import Workload

FAMILIES = (
    garch,
    filters,
    linear,
    lorenz,
    seir,
    lanes,
    kalman,
    hmm,
    tridiagonal,
    networks,
    checkpoints,
    calls,
)
WORKLOADS: tuple[Workload, ...] = tuple(w for family in FAMILIES for w in family.WORKLOADS)


def workload_named(name: str) -> Workload:
    return next(w for w in WORKLOADS if w.name == name)


def chosen(patterns: list[str]) -> list[Workload]:
    """The workloads with these names; a pattern that is no name stands for all that hold or match it; none, for all."""
    names = {w.name for w in WORKLOADS}

    def fits(name: str, pattern: str) -> bool:
        return name == pattern or (pattern not in names and (pattern in name or fnmatch(name, pattern)))

    return [w for w in WORKLOADS if not patterns or any(fits(w.name, p) for p in patterns)]
