"""Theano's name for the module of scans: `scanlib.scan_module.until` and the like."""

from __future__ import annotations

from types import SimpleNamespace

from .scan import OrderedUpdates, foldl, foldr, map, reduce, scan, until
from .scan_checkpoints import scan_checkpoints

scan_utils = SimpleNamespace(until=until)

__all__ = [
    "OrderedUpdates", "foldl", "foldr", "map", "reduce", "scan", "scan_checkpoints", "scan_utils", "until",
]  # fmt: skip
