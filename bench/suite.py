"""All workloads, in the order in which they are printed."""

from __future__ import annotations

from fnmatch import fnmatch

from . import calls, filters, garch, hmm, kalman, lanes, linear, lorenz, networks, seir, tridiagonal
from .workload import Workload

FAMILIES = (garch, filters, linear, lorenz, seir, lanes, kalman, hmm, tridiagonal, networks, calls)
WORKLOADS: tuple[Workload, ...] = tuple(w for family in FAMILIES for w in family.WORKLOADS)


def workload_named(name: str) -> Workload:
    return next(w for w in WORKLOADS if w.name == name)


def chosen(patterns: list[str]) -> list[Workload]:
    """The workloads whose name holds one of the patterns (words, or shell patterns); all for none."""
    return [w for w in WORKLOADS if not patterns or any(p in w.name or fnmatch(w.name, p) for p in patterns)]
