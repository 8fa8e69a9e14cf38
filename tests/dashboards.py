"""The committed dashboards: their panels and queries, with what Grafana would put in for variables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "helm" / "dashboards"
NAMES = ("farm", "nodes", "money", "reliability")
BOARDS: dict[str, dict[str, Any]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES
}


@dataclass(frozen=True, slots=True)
class Query:
    board: str
    title: str
    letter: str
    promql: str

    def filled(self, *, rate_interval: str, range_: str) -> str:
        """As Grafana sends it, with everything selected."""
        promql = self.promql.replace("$__rate_interval", rate_interval).replace("$__range", range_)
        for variable in ("job", "model", "lane", "class"):
            promql = promql.replace(f'"${variable}"', '".*"')
        return promql

    def __str__(self) -> str:
        return f"{self.board} {self.title} {self.letter}"


QUERIES = [
    Query(name, panel["title"], target["refId"], target["expr"])
    for name, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel["targets"]
]
