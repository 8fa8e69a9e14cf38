"""The benchmarks: `python -m tests.benchmarks [NAME ...] [--json FILE]`, all of them without a name.

Prints what was measured and the machine it was measured on. The exit code is 1 where a ratio is not what was
wanted; absolute figures are marked and judge nothing, for they belong to the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import expansion, ledger, orders, planning, throughput
from tests.benchmarks.figures import Figure, decide
from tests.benchmarks.machine import describe_machine

BENCHMARKS = {
    "throughput": throughput,
    "expansion": expansion,
    "ledger": ledger,
    "planning": planning,
    "orders": orders,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and machine there, too")
    given = parser.parse_args()
    if unknown := set(given.names) - BENCHMARKS.keys():
        parser.error(
            f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    machine = describe_machine()
    results = {}
    for name in given.names or BENCHMARKS:
        print(f"measuring {name} ...", file=sys.stderr)
        results[name] = list(BENCHMARKS[name].measure())
    _print(machine, results)
    if given.json:
        figures = {name: [_record(figure) for figure in found] for name, found in results.items()}
        given.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")
    return decide([figure for found in results.values() for figure in found])


def _print(machine: dict[str, Any], results: dict[str, list[Figure]]) -> None:
    table = Table("benchmark", "figure", "measured", "wanted", "times as good", "", box=None)
    for name, figures in results.items():
        for figure in figures:
            margin = "" if figure.margin is None else f"{figure.margin:.2f}"
            table.add_row(name, figure.name, _measured(figure), _wanted(figure), margin, _verdict(figure))
        table.add_section()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print("\n".join(f"{name}: {value}" for name, value in machine.items()), highlight=False)


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
