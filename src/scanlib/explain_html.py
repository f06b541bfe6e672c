"""An explanation as HTML: the graph drawn as one SVG, and a table per scan.  Needs no script and no style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .explain import (
    COLUMNS,
    Explanation,
    GraphNode,
    ScanExplanation,
    output_rows,
    readable,
    scan_rows,
    shape_text,
)

# Pixels: of a letter, of a node's height, between neighbours, between layers.
LETTER, HEIGHT, GAP, LAYER = 7, 24, 14, 30
FILLS = {"input": "#e8f0fe", "operation": "#f5f5f5", "scan": "#fdebd0", "output": "#e6f4ea"}
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
        f"<tr><th align='left'>{escape(title)}</th><td align='left'>{escape(text)}</td></tr>"
        for title, text in scan_rows(scan)
    )
    head = "".join(f"<th>{c}</th>" for c in COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in output_rows(scan)
    )
    inner = "".join(_scan(s) for s in scan.scans)
    box = f"border:1px solid #999;border-left:4px solid {FILLS['scan']};padding:4px 12px;margin:8px 0"
    return (
        f"<div style='{box}'><b>scan '{escape(scan.name)}'</b><table>{facts}</table>"
        f"<table><tr>{head}</tr>{rows}</table>{inner}</div>"
    )


def drawing(nodes: Sequence[GraphNode]) -> str:
    """The graph, inputs on top, each node below all it reads."""
    nodes = _without_operations(nodes) if len(nodes) > MANY_NODES else nodes
    layers: dict[int, list[int]] = {}
    level: list[int] = []
    for i, node in enumerate(nodes):
        level.append(1 + max((level[k] for k in node.inputs), default=-1))
        layers.setdefault(level[i], []).append(i)
    places = _places(nodes, layers)
    width = max((x + w / 2 for x, _, w in places.values()), default=0) + GAP
    height = len(layers) * (HEIGHT + LAYER)
    lines = "".join(_edge(places[k], places[i]) for i, node in enumerate(nodes) for k in node.inputs)
    boxes = "".join(_box(node, *places[i]) for i, node in enumerate(nodes))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height}' "
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
            kept.append(GraphNode(node.label, node.kind, sources))
    return kept


def _places(
    nodes: Sequence[GraphNode], layers: dict[int, list[int]]
) -> dict[int, tuple[float, float, float]]:
    """Centre, top and width of each node; those of a layer stand in the order of what they read."""
    places: dict[int, tuple[float, float, float]] = {}
    for depth in sorted(layers):

        def centre(i: int) -> float:
            above = [places[k][0] for k in nodes[i].inputs]
            return sum(above) / len(above) if above else 0.0

        left = float(GAP)
        for i in sorted(layers[depth], key=centre):
            width = LETTER * len(nodes[i].label) + 2 * GAP
            middle = max(left + width / 2, centre(i))
            places[i] = (middle, depth * (HEIGHT + LAYER) + LAYER / 2, width)
            left = middle + width / 2 + GAP
    return places


def _edge(above: tuple[float, float, float], below: tuple[float, float, float]) -> str:
    return (
        f"<line x1='{above[0]:.0f}' y1='{above[1] + HEIGHT:.0f}' x2='{below[0]:.0f}' y2='{below[1]:.0f}' "
        "stroke='#999'/>"
    )


def _box(node: GraphNode, x: float, y: float, width: float) -> str:
    return (
        f"<rect x='{x - width / 2:.0f}' y='{y:.0f}' width='{width:.0f}' height='{HEIGHT}' rx='5' "
        f"fill='{FILLS[node.kind]}' stroke='#666'/>"
        f"<text x='{x:.0f}' y='{y + 16:.0f}' text-anchor='middle'>{escape(node.label)}</text>"
    )
