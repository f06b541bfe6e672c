"""An explanation as HTML: the graph drawn as one SVG, and a table per scan.  Needs no script and no style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from .explain import Explanation, GraphNode, ScanExplanation
from .explain_text import COLUMNS, output_rows, readable, scan_rows, shape_text

# Pixels: of a letter, of a line of text, around it, between neighbours, between layers.
LETTER, LINE, PADDING, GAP, LAYER = 7, 16, 4, 14, 30
FILLS = {"input": "#e8f0fe", "operation": "#f5f5f5", "scan": "#fdebd0", "output": "#e6f4ea"}
CELL = "style='text-align:left;padding:1px 12px 1px 0'"
# A graph of more nodes than this is drawn without its operations.
MANY_NODES = 60


def page(e: Explanation) -> str:
    """The whole explanation."""
    title = (
        f"<h4>function '{escape(e.name)}': {escape(', '.join(map(shape_text, e.inputs)) or 'no inputs')}</h4>"
    )
    scans = "".join(_scan(s) for s in e.scans)
    return f"<div>{title}{drawing(e.nodes)}{scans}<p>most bytes at once: {readable(e.peak_bytes)}</p></div>"


def _scan(scan: ScanExplanation) -> str:
    facts = "".join(
        f"<tr><th {CELL}>{escape(title)}</th><td {CELL}>{escape(text)}</td></tr>"
        for title, text in scan_rows(scan)
    )
    head = "".join(f"<th {CELL}>{c}</th>" for c in COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td {CELL}>{escape(text)}</td>" for text in row) + "</tr>"
        for row in output_rows(scan)
    )
    inner = "".join(_scan(s) for s in scan.scans)
    box = f"border:1px solid #999;border-left:4px solid {FILLS['scan']};padding:4px 12px;margin:8px 0"
    return (
        f"<div style='{box}'><b>scan '{escape(scan.name)}'</b><table>{facts}</table>"
        f"<table><tr>{head}</tr>{rows}</table>{inner}</div>"
    )


@dataclass(frozen=True)
class _Box:
    """Where a node is drawn: its centre, top and size."""

    x: float
    top: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.top + self.height


def drawing(nodes: Sequence[GraphNode]) -> str:
    """The graph, inputs on top, each node below all it reads."""
    nodes = _without_operations(nodes) if len(nodes) > MANY_NODES else nodes
    layers: dict[int, list[int]] = {}
    level: list[int] = []
    for i, node in enumerate(nodes):
        level.append(1 + max((level[k] for k in node.inputs), default=-1))
        layers.setdefault(level[i], []).append(i)
    places = _places(nodes, layers)
    width = max((box.x + box.width / 2 for box in places.values()), default=0) + GAP
    height = max((box.bottom for box in places.values()), default=0) + LAYER / 2
    lines = "".join(_edge(places[k], places[i]) for i, node in enumerate(nodes) for k in node.inputs)
    boxes = "".join(_box(node, places[i]) for i, node in enumerate(nodes))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        f"style='max-width:100%' viewBox='0 0 {width:.0f} {height:.0f}' "
        f"font-family='monospace' font-size='12'>{lines}{boxes}</svg>"
    )


def _without_operations(nodes: Sequence[GraphNode]) -> list[GraphNode]:
    """The graph with operations replaced by what they read."""
    kept: list[GraphNode] = []
    reads: list[tuple[int, ...]] = []  # per node, the kept nodes that stand for it
    for node in nodes:
        sources = tuple(dict.fromkeys(k for i in node.inputs for k in reads[i]))
        if node.kind == "operation":
            reads.append(sources)
        else:
            reads.append((len(kept),))
            kept.append(replace(node, inputs=sources))
    return kept


def _places(nodes: Sequence[GraphNode], layers: dict[int, list[int]]) -> dict[int, _Box]:
    """The boxes of all nodes; those of a layer stand in the order of what they read."""
    places: dict[int, _Box] = {}
    top = LAYER / 2
    for depth in sorted(layers):

        def centre(i: int) -> float:
            above = [places[k].x for k in nodes[i].inputs]
            return sum(above) / len(above) if above else 0.0

        left = float(GAP)
        for i in sorted(layers[depth], key=centre):
            lines = (nodes[i].label, *nodes[i].details)
            width = LETTER * max(map(len, lines)) + 2 * GAP
            middle = max(left + width / 2, centre(i))
            places[i] = _Box(middle, top, width, LINE * len(lines) + 2 * PADDING)
            left = middle + width / 2 + GAP
        top = max(places[i].bottom for i in layers[depth]) + LAYER
    return places


def _edge(above: _Box, below: _Box) -> str:
    start, end = above.bottom, below.top
    bend = (end - start) / 2
    return (
        f"<path d='M {above.x:.0f} {start:.0f} C {above.x:.0f} {start + bend:.0f} {below.x:.0f} {end - bend:.0f} "
        f"{below.x:.0f} {end:.0f}' fill='none' stroke='#999'/>"
    )


def _box(node: GraphNode, box: _Box) -> str:
    def text(number: int, line: str) -> str:
        weight = " font-weight='bold'" if node.details and number == 0 else ""
        y = box.top + PADDING + LINE * (number + 0.75)
        return f"<text x='{box.x:.0f}' y='{y:.0f}' text-anchor='middle'{weight}>{escape(line)}</text>"

    lines = "".join(text(i, line) for i, line in enumerate((node.label, *node.details)))
    return (
        f"<rect x='{box.x - box.width / 2:.0f}' y='{box.top:.0f}' width='{box.width:.0f}' "
        f"height='{box.height:.0f}' rx='5' fill='{FILLS[node.kind]}' stroke='#666'/>{lines}"
    )
