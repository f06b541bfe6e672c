"""The text of explanations, and what its parts share with their drawing and with profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .explain import Explanation, InputExplanation, ScanExplanation


def readable(size: int | None) -> str:
    """A number of bytes for people; "?" when it is not known."""
    if size is None:
        return "?"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"


def number(value: int | None, unknown: str = "?") -> str:
    """`value`, or what stands for one that is not known."""
    return unknown if value is None else str(value)


def shape_text(i: InputExplanation) -> str:
    dims = ", ".join(map(number, i.shape))
    return f"{i.name} {i.dtype}" + (f" ({dims}{',' if len(i.shape) == 1 else ''})" if i.shape else "")


def scan_rows(scan: ScanExplanation) -> list[tuple[str, str]]:
    """Title and text of what there is to say about a scan as a whole."""
    steps = f"{'at most ' if scan.until else ''}{number(scan.steps)}"
    rows = [
        ("steps", steps if steps == scan.steps_source else f"{steps}, from {scan.steps_source}"),
        ("reads", "; ".join(", ".join(names) for names in (scan.sequences, scan.non_sequences) if names)),
        ("block", f"{number(scan.block_length)} steps, {readable(scan.temporary_bytes)} of its own"),
        ("form", _form(scan)),
        ("no lanes", scan.reasons.get("lanes", "") if scan.form == "native" else ""),
        ("not native", scan.reasons.get("native", "") if scan.form == "instructions" else ""),
        ("no rows", scan.reasons.get("rows", "")),
        ("no blocks", scan.reasons.get("batched", "")),
        ("prologue", ", ".join(scan.prologue)),
        ("epilogue", ", ".join([*scan.epilogue, *(f"sum {label}" for label in scan.accumulated)])),
        ("kernels", "; ".join(f"{part}: {', '.join(k)}" for part, k in scan.kernels.items() if k)),
    ]
    return [row for row in rows if row[1]]


def _form(scan: ScanExplanation) -> str:
    groups = f", in groups of {scan.group} steps" if scan.group > 1 else ""
    overlap = ", blocks overlap" if scan.overlap else ""
    columns = ", each with columns of its own" if scan.columns and scan.threads > 1 else ""
    threads = f"{scan.threads} thread{'s' * (scan.threads != 1)}{columns}"
    return f"{scan.form}, {scan.order} outside{groups}, {threads}{overlap}"


COLUMNS = ("output", "dtype", "computed", "keep", "storage", "slots", "bytes")


def output_rows(scan: ScanExplanation) -> list[tuple[str, ...]]:
    """One row of COLUMNS per output."""
    return [
        (o.label, o.dtype, o.part, number(o.keep, "all"), o.storage, number(o.slots), readable(o.bytes))
        for o in scan.outputs
    ]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows]


def lines_of(e: Explanation) -> list[str]:
    """What `print` shows."""
    lines = [f"function '{e.name}': {', '.join(map(shape_text, e.inputs)) or 'no inputs'}"]
    for scan in e.scans:
        lines += ["", *_scan_lines(scan)]
    return [*lines, "", f"most bytes at once: {readable(e.peak_bytes)}"]


def _scan_lines(scan: ScanExplanation) -> list[str]:
    lines = [f"  {line}" for line in table(scan_rows(scan))]
    lines += [f"  {line}" for line in table([COLUMNS, *output_rows(scan)])] if scan.outputs else []
    for inner in scan.scans:
        lines += ["", *(f"  {line}" for line in _scan_lines(inner))]
    return [f"scan '{scan.name}'", *lines]
