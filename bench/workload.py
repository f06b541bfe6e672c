"""What a workload is: inputs, contenders, targets, and how its results are checked."""

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
    read(result)    what is compared with the results of others; not timed
    per_size        whether another number of steps makes the system compile again
    part            the part of the steps that is timed: slow loops need not run them all
    """

    system: str
    make: Callable[[], Run]
    way: str = ""
    load: Callable[[Arrays], Arrays] = same
    wait: Callable[[Any], Any] = same
    read: Callable[[Any], Any] = same
    per_size: bool = False
    part: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.system} {self.way}".strip()


@dataclass(frozen=True)
class Targets:
    """The largest ratios allowed: to peers and to the limit; `memory` is that of the core's bytes to those of `of`.

    `of` names the systems that the target `peer` speaks of, and the best of them counts; without it, all peers.
    """

    peer: float | None = None
    limit: float | None = None
    of: tuple[str, ...] = ()
    memory: float | None = None


@dataclass(frozen=True)
class Slope:
    """The check of a workload that returns (value, *gradients): finite differences of `value`, a NumPy loop.

    `wrt` says to which inputs the gradients belong; `rtol` is how far they may be from the differences.
    """

    value: Run
    wrt: Sequence[int]
    rtol: float = 1e-5


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
    slope: Slope | None = None

    def contender(self, name: str) -> Contender:
        return next(c for c in self.contenders if c.name == name)

    def timed_steps(self, contender: Contender) -> int:
        return max(min(self.few_steps, self.steps), int(self.steps * contender.part))


def arrays(result: Any) -> list[np.ndarray]:
    """A result as a list of NumPy arrays; a limit that is only a rate has none."""
    if result is None:
        return []
    return [np.asarray(r) for r in (result if isinstance(result, (list, tuple)) else [result])]
