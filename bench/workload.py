"""What a workload is: inputs, contenders and targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = tuple[Any, ...]
Run = Callable[..., Any]


def same(x: Any) -> Any:
    return x


@dataclass(frozen=True)
class Contender:
    """One way to compute a workload.

    make()          builds a function of the inputs (this and the first call are compile time)
    load(inputs)    puts the inputs where the system wants them; not timed
    wait(result)    waits until the result is there; timed
    per_size        whether another number of steps makes the system compile again
    """

    system: str
    make: Callable[[], Run]
    way: str = ""
    load: Callable[[Arrays], Arrays] = same
    wait: Callable[[Any], Any] = same
    per_size: bool = False

    @property
    def name(self) -> str:
        return f"{self.system} {self.way}".strip()


@dataclass(frozen=True)
class Targets:
    """The largest ratios allowed: to the best peer and to the limit."""

    peer: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Workload:
    """One loop.  inputs(steps) makes the inputs, the same for every contender; `steps` is what is timed.

    The first contender of the system "scanlib" is the one compared with the others; the first of the system
    "C++" is the limit.
    """

    name: str
    steps: int
    inputs: Callable[[int], Arrays]
    contenders: Sequence[Contender]
    rtol: float = 1e-9
    targets: Targets = field(default_factory=Targets)
    few_steps: int = 20

    def contender(self, name: str) -> Contender:
        return next(c for c in self.contenders if c.name == name)


def arrays(result: Any) -> list[np.ndarray]:
    """A result as a list of NumPy arrays; a limit that is only a rate has none."""
    if result is None:
        return []
    return [np.asarray(r) for r in (result if isinstance(result, (list, tuple)) else [result])]
