"""The dashboards by Grafana's own types: `@grafana/schema` of the npm registry, checked by TypeScript."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.dashboards import BOARDS
from tests.require import require_program

FOLDER = Path(__file__).parents[1] / "grafana"
COMPILER = FOLDER / "node_modules" / ".bin"
#: Enums and literals are strings in JSON.
_TYPES = """\
import type { Dashboard } from "@grafana/schema";
type Plain<T> = T extends string ? `${T}` : T extends number | boolean ? T
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""
#: What the schema leaves to others: the query of an annotation, and the steps of an interval.
_OF_OTHERS = {"annotations": ("expr", "step", "titleFormat", "useValueForTime"), "templating": ("auto",)}


def complaints(boards: Mapping[str, dict[str, Any]], folder: Path) -> str:
    """What the compiler says of these dashboards."""
    compiler = require_program("tsc", f"npm ci --ignore-scripts in {FOLDER}", str(COMPILER))
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    for name, board in boards.items():
        shown = json.loads(json.dumps(board))
        for part, fields in _OF_OTHERS.items():
            shown[part]["list"] = [
                {name: value for name, value in one.items() if not name.startswith(fields)}
                for one in shown[part]["list"]
            ]
        literal = json.dumps(shown, ensure_ascii=False)
        (folder / f"{name}.ts").write_text(f"{_TYPES}export const board: Plain<Dashboard> = {literal};\n")
    options = [
        "--noEmit",
        "--skipLibCheck",
        "--strict",
        "--moduleResolution",
        "bundler",
        "--module",
        "esnext",
    ]
    files = [f"{name}.ts" for name in boards]
    done = subprocess.run(
        [str(compiler), *options, *files], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (done.stdout == ""), done
    return done.stdout


def test_the_dashboards_are_what_grafana_takes(tmp_path: Path) -> None:
    assert complaints(BOARDS, tmp_path) == ""


def test_a_dashboard_that_grafana_would_not_take_is_noticed(tmp_path: Path) -> None:
    board = BOARDS["farm"]
    said = complaints({"kind": board | {"refresh": 5}, "name": board | {"timezones": "utc"}}, tmp_path)
    assert "kind.ts" in said
    assert "Type 'number' is not assignable to type 'string'" in said
    assert "name.ts" in said
    assert "'\"timezones\"' does not exist" in said
