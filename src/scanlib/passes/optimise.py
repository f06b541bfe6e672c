"""The passes, in order, and `optimise`, which runs them.

config.optimisations   the names of the passes to run (None: all); see choices.py
config.check_passes    check the graph after every pass, not only after the last
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..choices import LOWERING
from ..collector import uncollected
from ..config import config
from ..errors import UserError, UserValueError
from ..graph import FunctionGraph, check
from ..ops.scan_op import spec_of
from .absorb import absorb
from .fold import fold
from .hoist import hoist
from .inline import inline
from .join import join
from .keep import keep
from .merge import merge
from .prune import prune
from .reductions import reduce_over_time
from .rewrite import Pass, is_scan
from .shapes import forward_shapes
from .views import views


@dataclass(frozen=True)
class NamedPass:
    """`again`: run it anew after others."""

    name: str
    run: Pass
    again: bool = True


PASSES: tuple[NamedPass, ...] = (
    NamedPass("fold", fold),
    NamedPass("views", views),
    NamedPass("shapes", forward_shapes),
    NamedPass("merge", merge),
    NamedPass("join", join),
    NamedPass("inline", inline),
    NamedPass("prune", prune),
    NamedPass("hoist", hoist),
    NamedPass("absorb", absorb),
    NamedPass("reductions", reduce_over_time),
    NamedPass("keep", keep, again=False),
)
NAMES = tuple(p.name for p in PASSES)
ROUNDS = 4


@uncollected()
def optimise(
    graph: FunctionGraph, only: Collection[str] | None = None, check_passes: bool | None = None
) -> FunctionGraph:
    """The graph made smaller and faster, computing the same.  The graph given is not changed.

    only           names of passes; default config.optimisations
    check_passes   default config.check_passes

    Raises UserValueError for a name that is no pass.
    """
    chosen = config.optimisations if only is None else only
    unknown = set() if chosen is None else set(chosen) - {*NAMES, *LOWERING}
    if unknown:
        raise UserValueError(
            f"config.optimisations: no pass {sorted(unknown)}; there are {', '.join((*NAMES, *LOWERING))}"
        )
    passes = [p for p in PASSES if chosen is None or p.name in chosen]
    checking = config.check_passes if check_passes is None else check_passes
    start = graph
    repeated = [p for p in passes if p.again]
    made: dict[str, FunctionGraph] = {}  # what each pass gave last: it has nothing to do there
    for _ in range(ROUNDS):
        before = graph
        for p in repeated:
            if made.get(p.name) is not graph:
                graph = made[p.name] = _run(p, graph, checking)
        if graph is before:
            break
    for p in passes:
        if not p.again:
            graph = _run(p, graph, checking)
    if graph is not start and not checking:
        check_graph(graph, "the passes")
    return graph


def _run(p: NamedPass, graph: FunctionGraph, checking: bool) -> FunctionGraph:
    try:
        made = p.run(graph)
    except UserError:
        # What is now known shows that a call will fail, if it gets there: the error belongs to that call.
        if checking:
            raise
        return graph
    if checking and made is not graph:
        check_graph(made, f"pass '{p.name}'")
    return made


def check_graph(graph: FunctionGraph, stage: str) -> None:
    """D4, step graphs included."""
    check(graph.outputs, graph.inputs, stage)
    for node in filter(is_scan, graph.order):
        spec = spec_of(node)
        check_graph(spec.step, f"{stage} (in scan '{spec.name}')")
