"""Gradients of a last state with checkpoint="auto", against the same gradient from all states kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from . import systems
from .workload import Arrays, Contender, Run, Targets, Workload

STATES = 100
DT = 1e-6


def inputs(steps: int) -> Arrays:
    return steps, np.random.default_rng(5).uniform(0.1, 0.9, STATES)


def program(step: str, checkpoint: str | None, lib: Any, T: Any) -> Run:
    n, x = T.lscalar("n"), T.dvector("x")
    slopes = {"growth": lambda x: x * (1 - x), "pendulum": lambda x: T.sin(x)}
    trace, _ = lib.scan(
        lambda x: x + DT * slopes[step](x), outputs_info=x, n_steps=n, checkpoint=checkpoint, name=step
    )
    made: Run = lib.function([n, x], lib.grad(trace[-1].sum(), x))
    return made


def contenders(step: str) -> list[Contender]:
    kept = systems.scanlib(partial(program, step, None))
    return [*systems.scanlib(partial(program, step, "auto")), *(replace(c, system="all kept") for c in kept)]


WORKLOADS = tuple(
    Workload(
        f"checkpoints {step}",
        1_000_000,
        inputs,
        contenders(step),
        targets=Targets(peer=1.5, memory=0.002, of=("all kept",)),
    )
    for step in ("growth", "pendulum")
)
