"""Graphs as text: `debugprint` as a tree, `pp` as an expression."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from .graph import Constant, Variable, describe
from .ops.scan_op import ScanSpec

SYMBOLS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "true_divide": "/",
    "floor_divide": "//",
    "mod": "%",
    "power": "**",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "matmul": "@",
    "logical_and": "&",
    "logical_or": "|",
    "contract": "@",
}
# Operations that change nothing but the form of their input.
TRANSPARENT = ("dimshuffle", "unbroadcast", "broadcast_to", "reshape", "cast")  # fmt: skip


def _targets(obj: Any) -> list[Variable]:
    if isinstance(obj, Variable):
        return [obj]
    if isinstance(obj, (list, tuple)):
        return [v for item in obj for v in _targets(item)]
    outputs = getattr(obj, "outputs", None)
    if outputs is None:
        raise TypeError(f"debugprint: expected a variable, a list of them, or a function, got {obj!r}")
    return list(outputs)


class _Tree:
    """Prints each variable once; later mentions refer to its letter."""

    def __init__(self, depth: int, print_type: bool) -> None:
        self.depth, self.print_type = depth, print_type
        self.ids: dict[int, str] = {}
        self.lines: list[str] = []
        self.steps: list[ScanSpec] = []

    def show(self, v: Variable, indent: str = "", level: int = 0) -> None:
        known = id(v) in self.ids
        letter = self.ids.setdefault(id(v), _letters(len(self.ids)))
        type_text = f" <{v.type}>" if self.print_type else ""
        self.lines.append(
            f"{indent}{self._title(v)} [id {letter}]{type_text}{' …' if known and v.owner else ''}"
        )
        if known or v.owner is None or (self.depth >= 0 and level >= self.depth):
            return
        spec = v.owner.params.get("spec")
        if isinstance(spec, ScanSpec) and all(spec is not s for s in self.steps):
            self.steps.append(spec)
        for u in v.owner.inputs:
            self.show(u, indent + " |", level + 1)

    def _title(self, v: Variable) -> str:
        node = v.owner
        if node is None:
            return describe(v)
        spec = node.params.get("spec")
        if isinstance(spec, ScanSpec):
            text = f"scan{{{spec.name}}}"
        else:
            params = ", ".join(f"{k}={p!r}" for k, p in node.params.items())
            text = node.op.name + (f"{{{params}}}" if params else "")
        suffix = f".{v.index}" if len(node.outputs) > 1 else ""
        return f"{text}{suffix}" + (f" '{v.name}'" if v.name else "")


def _letters(n: int) -> str:
    text = ""
    n += 1
    while n:
        n, rest = divmod(n - 1, 26)
        text = chr(65 + rest) + text
    return text


def debugprint(
    obj: Any, depth: int = -1, print_type: bool = False, file: TextIO | str | None = None, **ignored: Any
) -> str | TextIO:
    """Print the graph of variables or of a function, and the step graphs of its scans.

    file   where to print (standard output by default); the text "str" returns the text instead
    """
    tree = _Tree(depth, print_type)
    for v in _targets(obj):
        tree.show(v)
    for spec in tree.steps:
        tree.lines.append(f"\nstep of scan '{spec.name}':")
        for label, v in zip((*spec.labels, "until"), spec.outputs):
            tree.lines.append(f" {label}:")
            tree.show(v, " ")
    text = "\n".join(tree.lines)
    if file == "str":
        return text
    stream = file if file is not None and not isinstance(file, str) else sys.stdout
    print(text, file=stream)
    return stream


def pp(v: Variable) -> str:
    """A graph as one expression."""
    node = v.owner
    if node is None or (v.name and not isinstance(v, Constant)):
        return describe(v)
    operands: Sequence[str] = [pp(u) for u in node.inputs]
    symbol = SYMBOLS.get(node.op.name)
    if symbol is not None and len(operands) == 2:
        return f"({operands[0]} {symbol} {operands[1]})"
    suffix = f".{v.index}" if len(node.outputs) > 1 else ""
    return f"{node.op.name}({', '.join(operands)}){suffix}"


pprint = pp


def brief(v: Variable, depth: int = 3) -> str:
    """A graph as one short expression, for tables: '…' stands for what is deeper, changes of form are left out."""
    text = _brief(v, depth)
    return text[1:-1] if text.startswith("(") and _closes(text) else text


def _closes(text: str) -> bool:
    """Whether the parenthesis that opens the text is the one that ends it."""
    level = 0
    for position, c in enumerate(text):
        level += (c == "(") - (c == ")")
        if level == 0:
            return position == len(text) - 1
    return False


def _brief(v: Variable, depth: int) -> str:
    while not v.name and v.owner is not None and v.owner.op.name in TRANSPARENT:
        v = v.owner.inputs[0]
    node = v.owner
    if node is None or v.name:
        return describe(v)
    if node.op.name == "shape_i":
        return f"{_brief(node.inputs[0], 1)}.shape[{node.params['axis']}]"
    if depth == 0:
        return "…"
    if node.op.name in ("subtensor", "gather"):
        return f"{_brief(node.inputs[0], depth - 1)}[…]"
    operands = [_brief(u, depth - 1) for u in node.inputs]
    symbol = SYMBOLS.get(node.op.name)
    if symbol is not None and len(operands) == 2:
        return f"({operands[0]} {symbol} {operands[1]})"
    spec = node.params.get("spec")
    if isinstance(spec, ScanSpec):
        return (*spec.labels, f"steps of {spec.name}")[v.index]
    suffix = f".{v.index}" if len(node.outputs) > 1 else ""
    return f"{node.op.name}({', '.join(operands)}){suffix}"
