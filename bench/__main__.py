"""`python -m bench`: time, compile time and memory of every workload, for scanlib, peers and the limit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import report, summary, systems
from .fresh import Fresh, compared_rounds, first_calls
from .measure import Result, measure
from .suite import chosen
from .workload import Contender, Workload

# Libraries of loops: they compile ahead of time, or never.
NOT_COMPILED = ("C++", "numpy", "scipy")
# First calls that are compared take turns.
COMPARED = ("scanlib", "jax")


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="workloads by name")
    parser.add_argument("--without", nargs="+", default=[], metavar="SYSTEM", help="systems to leave out")
    parser.add_argument("--repeats", type=int, default=11, help="interleaved samples per contender")
    parser.add_argument("--json", metavar="FILE", help="write everything measured")
    parser.add_argument(
        "--load", nargs="+", metavar="FILE", help="measure nothing, but show what --json wrote, runs together"
    )
    parser.add_argument("--markdown", metavar="FILE", help="write the final table into a page")
    parser.add_argument("--plot", metavar="FILE", help="write a picture (PNG)")
    parser.add_argument("--no-compile", action="store_true", help="skip the time of first calls")
    parser.add_argument("--no-memory", action="store_true", help="skip the memory")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed or results differ")
    parser.add_argument("--list", action="store_true", help="only list workloads and contenders")
    return parser.parse_args(arguments)


def run(
    workload: Workload, contenders: Sequence[Contender], fresh: dict[str, Fresh], given: argparse.Namespace
) -> Result:
    """Measures everything; first calls and memory of the first contender of scanlib, and the best of others."""
    result, compared = measure(workload, given.repeats, contenders), []
    for system in {t.contender.system: None for t in result.timings.values()}:
        timings = result.of_system(system)
        name = timings[0].contender.name if system in ("scanlib", "C++") else result.best(timings)
        contender = workload.contender(str(name))
        if not (given.no_memory and given.no_compile) and system not in fresh:
            fresh[system] = Fresh(system)
        if not given.no_compile and system in COMPARED:
            compared.append((fresh[system], contender))
        elif not given.no_compile and system not in NOT_COMPILED:
            result.first_call |= first_calls(workload, [(fresh[system], contender)], range(1))
        if not given.no_memory and contender.part == 1:
            result.memory[contender.name] = fresh[system].memory(workload, contender)
    result.first_call |= first_calls(workload, compared, compared_rounds())
    return result


def measured(given: argparse.Namespace) -> dict[str, Any]:
    found = ", ".join(f"{name} {version}" for name, version in systems.versions().items())
    print(f"{found}; {systems.cores()} cores.  Median of {given.repeats} interleaved repeats.")
    if systems.absent():
        print(f"Not installed, and so left out: {', '.join(systems.absent())}.")
    results, fresh = [], dict[str, Fresh]()
    for workload in chosen(given.only):
        contenders = [c for c in workload.contenders if c.system not in given.without]
        if given.list:
            print(f"{workload.name}: {', '.join(c.name for c in contenders)}")
            continue
        results.append(run(workload, contenders, fresh, given))
        report.show(results[-1])
    for processes in fresh.values():
        processes.close()
    return report.as_dict(results)


def loaded(files: Sequence[str]) -> dict[str, Any]:
    """What several runs measured, each of some workloads; those of a workload become one."""
    runs = [json.loads(Path(file).read_text()) for file in files]
    return {**runs[-1], "workloads": summary.together([w for run in runs for w in run["workloads"]])}


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    all_of_it = loaded(given.load) if given.load else measured(given)
    if given.list:
        return 0
    workloads = all_of_it["workloads"]
    print("\n" + summary.text(workloads))
    if given.json:
        report.write_json(all_of_it, given.json)
    if given.markdown:
        summary.write(all_of_it, given.markdown)
    if given.plot:
        report.plot(workloads, given.plot)
    return int(given.check and not all(map(summary.met, workloads)))


if __name__ == "__main__":
    raise SystemExit(main())
