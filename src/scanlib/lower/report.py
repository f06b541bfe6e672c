"""What lowering decided about one scan, and why; `explain` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..graph import Apply, Variable

if TYPE_CHECKING:
    from .partition import Partition
    from .scan import ScanOutput


@dataclass(frozen=True)
class ScanReport:
    """The Loop instruction it is about has this `done_slot`.

    parts     what runs in prologue, recurrence and epilogue
    computed  sequences that are arithmetic on other arrays, and that the prologue computes too
    group     the steps of a linear recurrence that are composed before they are run; 1 for step by step
    reasons   why the recurrence is not in "lanes", not "native", not "rows", why its parts are not "batched"
    """

    node: Apply
    done_slot: int
    parts: Partition
    computed: tuple[Variable, ...]
    outputs: tuple[ScanOutput, ...]
    lanes: bool
    native: bool
    group: int
    reasons: Mapping[str, str]
