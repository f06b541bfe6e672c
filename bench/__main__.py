"""`python -m bench`: time, compile time and memory of every workload, for scanlib, peers and the limit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import report, systems
from .measure import Result, first_calls, measure, memory
from .suite import chosen
from .workload import Contender, Workload

# Libraries of loops: they compile ahead of time, or never.
NOT_COMPILED = ("C++", "numpy", "scipy")


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="workloads by name")
    parser.add_argument("--without", nargs="+", default=[], metavar="SYSTEM", help="systems to leave out")
    parser.add_argument("--repeats", type=int, default=15, help="interleaved samples per contender")
    parser.add_argument("--json", metavar="FILE", help="write everything measured")
    parser.add_argument("--plot", metavar="FILE", help="write a picture (PNG)")
    parser.add_argument("--no-compile", action="store_true", help="skip the time of first calls")
    parser.add_argument("--no-memory", action="store_true", help="skip the memory")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed or results differ")
    parser.add_argument("--list", action="store_true", help="only list workloads and contenders")
    return parser.parse_args(arguments)


def run(workload: Workload, contenders: Sequence[Contender], given: argparse.Namespace) -> Result:
    result = measure(workload, given.repeats, contenders)
    for contender in (c for c in contenders if c.name in result.timings):
        if not given.no_compile and contender.system not in NOT_COMPILED:
            result.first_call[contender.name] = first_calls(workload, contender)
        if not given.no_memory:
            result.memory[contender.name] = memory(workload, contender)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    found = ", ".join(f"{name} {version}" for name, version in systems.versions().items())
    print(f"{found}; {systems.cores()} cores.  Median time of {given.repeats} interleaved repeats.")
    results = []
    for workload in chosen(given.only):
        contenders = [c for c in workload.contenders if c.system not in given.without]
        if given.list:
            print(f"{workload.name}: {', '.join(c.name for c in contenders)}")
            continue
        results.append(run(workload, contenders, given))
        report.show(results[-1])
    if given.json:
        report.write_json(results, given.json)
    if given.plot:
        report.plot(results, given.plot)
    return int(given.check and not all(map(report.met, results)))


if __name__ == "__main__":
    raise SystemExit(main())
