"""The benchmarks: `python -m tests.benchmarks [NAME ...] [--json FILE]`, all of them without a name.

Prints each figure as soon as it is measured, and the machine it was measured on. The exit code is 1 where a
ratio is not what was wanted; absolute figures are marked and judge nothing, for they belong to the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    claim,
    engine,
    expansion,
    fleet,
    ledger,
    orders,
    parked,
    planning,
    polls,
    scheduling,
    scrape,
    streams,
    throughput,
)
from tests.benchmarks.figures import Figure, decide
from tests.benchmarks.machine import describe_machine

BENCHMARKS = {
    "throughput": throughput,
    "engine": engine,
    "expansion": expansion,
    "ledger": ledger,
    "claim": claim,
    "scrape": scrape,
    "planning": planning,
    "scheduling": scheduling,
    "orders": orders,
    "streams": streams,
    "fleet": fleet,
    "parked": parked,
    "polls": polls,
}
#: Columns of what is printed: benchmark, figure, measured, wanted, times as good, verdict.
_LINE = "{:<12}{:<52}{:>18}  {:<16}{:>14}  {}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and machine there, too")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - BENCHMARKS.keys():
        parser.error(
            f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    machine = describe_machine()
    results: dict[str, list[Figure]] = {}
    print(_LINE.format("benchmark", "figure", "measured", "wanted", "times as good", ""), flush=True)
    for name in given.names or BENCHMARKS:
        print(f"measuring {name} ...", file=sys.stderr)
        results[name] = []
        for figure in BENCHMARKS[name].measure():
            results[name].append(figure)
            print(_line(name, figure), flush=True)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    if given.json:
        figures = {name: [_record(figure) for figure in found] for name, found in results.items()}
        given.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")
    return decide([figure for found in results.values() for figure in found])


def _line(name: str, figure: Figure) -> str:
    margin = "" if figure.margin is None else f"{figure.margin:.2f}"
    columns = (name, figure.name, _measured(figure), _wanted(figure), margin, _verdict(figure))
    return _LINE.format(*columns).rstrip()


def _measured(figure: Figure) -> str:
    digits = 0 if figure.value >= 1000 else 2
    return f"{figure.value:,.{digits}f} {figure.unit}".strip()


def _wanted(figure: Figure) -> str:
    if figure.at_least is not None:
        return f"≥ {figure.at_least:,g} {figure.unit}".strip()
    return f"≤ {figure.at_most:,g} {figure.unit}".strip() if figure.at_most is not None else ""


def _verdict(figure: Figure) -> str:
    if figure.met is None:
        return ""
    if figure.met:
        return "met"
    return "NOT MET" if figure.is_ratio else "not met on this machine"


def _record(figure: Figure) -> dict[str, Any]:
    return asdict(figure) | {"met": figure.met}


if __name__ == "__main__":
    sys.exit(main())
