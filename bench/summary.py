"""The table of all workloads: printed at the end, and written into a page between two marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
COLUMNS = ("workload", "÷ best peer", "", "target", "÷ C++", "target", "first call ÷ jax's", "")
Workloads = Sequence[dict[str, Any]]


def rows(workloads: Workloads) -> Iterator[tuple[str, ...]]:
    """A row per workload: the ratios of scanlib's time to others', and whether all targets are met."""
    for w in workloads:
        named = {r["label"].partition(" (")[0]: r for r in w["ratios"]}
        peer, limit = named.get("best peer"), named.get("limit")
        against = next((r for label, r in named.items() if label.startswith("best of ")), peer)
        jax = named.get("jax, first call, cold")
        yield (
            w["name"],
            _value(peer),
            "" if peer is None else peer["to"],
            _target(against, "" if against is peer else against["label"].removeprefix("best of ")),
            _value(limit),
            _target(limit, "", value=False),
            _value(jax),
            "" if not _targets(w) and not _broken(w) else _outcome(w),
        )


def together(workloads: Workloads) -> list[dict[str, Any]]:
    """What several runs measured of the same workload as one: the median of each ratio over those runs.

    `met` holds an outcome for each run, so that a target that is met by the median alone is not taken as met.
    """
    runs = defaultdict[str, list[dict[str, Any]]](list)
    for w in workloads:
        runs[w["name"]].append(w)
    return [{**same[0], **_medians(same), "met": list(map(met, same))} for same in runs.values()]


def _medians(runs: Workloads) -> dict[str, Any]:
    values = defaultdict[str, list[float]](list)
    for ratio in (r for w in runs for r in w["ratios"]):
        values[ratio["label"]].append(ratio["value"])
    return {
        "ratios": [{**r, "value": median(values[r["label"]])} for r in runs[0]["ratios"]],
        "wrong": [name for w in runs for name in w["wrong"]],
        "failed": {name: message for w in runs for name, message in w["failed"].items()},
    }


def _outcome(workload: dict[str, Any]) -> str:
    outcomes = workload.get("met", [met(workload)])
    if all(outcomes):
        return "met"
    return f"met in {sum(outcomes)} of {len(outcomes)}" if len(outcomes) > 1 else "NOT MET"


def _value(ratio: dict[str, Any] | None) -> str:
    return "" if ratio is None else f"{ratio['value']:.2f}"


def _target(ratio: dict[str, Any] | None, of: str, value: bool = True) -> str:
    """`≤ target`, with what it speaks of and the value of that where it is not the column before."""
    if ratio is None or ratio["target"] is None:
        return ""
    text = f"≤ {ratio['target']:.2f}"
    return f"{text} of {of}: {ratio['value']:.2f}" if of else text


def _targets(workload: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in workload["ratios"] if r["target"] is not None]


def _broken(workload: dict[str, Any]) -> bool:
    return bool(workload["wrong"] or workload["failed"])


def met(workload: dict[str, Any]) -> bool:
    """Whether results agree and no target is missed, in every run."""
    if "met" in workload:
        return all(workload["met"])
    return not _broken(workload) and all(r["value"] <= r["target"] for r in _targets(workload))


def text(workloads: Workloads) -> str:
    table = [COLUMNS, *rows(workloads)]
    widths = [max(len(row[i]) for row in table) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(f"{c:{w}}" for c, w in zip(row, widths)).rstrip() for row in table)


def markdown(measured: dict[str, Any]) -> str:
    versions = ", ".join(f"{n} {v}" for n, v in measured["versions"].items() if n != "scanlib")
    table = [COLUMNS, tuple(["---"] * len(COLUMNS)), *rows(measured["workloads"])]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in table)
    return f"{lines}\n\nMeasured on {measured['cores']} cores, with {versions}.\n"


def write(measured: dict[str, Any], path: str) -> None:
    """Replaces what stands between the marks of a page; a page without them becomes the table."""
    page = Path(path)
    before, mark, rest = page.read_text().partition(BEGIN) if page.exists() else ("", "", "")
    if not mark:
        page.write_text(markdown(measured))
        return
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{path}: {BEGIN} without {END}")
    page.write_text(f"{before}{BEGIN}\n{markdown(measured)}{END}{after}")
