"""`farm up`, `farm down`: the embedded farm of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.settings import Settings, load_settings
from coordinator.cli import options
from coordinator.cli.show import err, out, table
from coordinator.embedded.farm import run_farm, start_farm, stop_farm
from coordinator.embedded.home import Home
from coordinator.embedded.state import FarmState

Listen = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="ADDR",
        help="Address that other machines reach the farm at, 0.0.0.0 for all. Default: this machine only.",
    ),
]


def up_command(
    listen: Listen = None,
    settings: options.SettingsFile = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground; Ctrl-C ends the farm.")
    ] = False,
) -> None:
    """Start the farm on this machine: Valkey, SeaweedFS, coordinator, ingest and the nodes of the settings.

    Everything is kept in one folder, `.farm` unless the settings say otherwise. What dies is started again.

    Examples: `farm up` · `farm up --settings manifests/demo-farm.yaml` · `farm up --listen 192.168.1.10`
    """
    wanted = with_listen(load_settings(settings), listen)
    if foreground:
        run_farm(wanted, on_change=narrator())
        return
    state = start_farm(wanted, settings_file=settings, on_change=narrator())
    out.print(components_table(state))
    for line in invitation(wanted, state):
        out.print(line)


def down_command(settings: options.SettingsFile = None) -> None:
    """End the farm of this machine. Nothing of it is left running; everything stored stays.

    Example: `farm down`
    """
    home = Home(load_settings(settings).home.absolute())
    out.print("the farm is down" if stop_farm(home) else f"no farm runs in {home.root}")


def with_listen(settings: Settings, listen: str | None) -> Settings:
    return settings if listen is None else settings.model_copy(update={"listen": listen})


def narrator() -> Callable[[FarmState], None]:
    """Says on standard error what a farm does while it starts, each thing once."""
    said: set[str] = set()

    def narrate(state: FarmState) -> None:
        for line in state.remarks + tuple(_sentences(state)):
            if line not in said:
                said.add(line)
                err.print(line, style="dim")

    return narrate


def components_table(state: FarmState) -> Table:
    rows = [
        (part.name, part.state, str(part.pid or "-"), str(part.restarts), part.address)
        for part in state.components
    ]
    return table("part", "state", "process", "restarts", "address", rows=rows, right=("process", "restarts"))


def invitation(settings: Settings, state: FarmState) -> list[str]:
    """How another machine takes part, and how this farm is ended."""
    key = Home(settings.home.absolute()).keys / "node"
    return [
        f"the farm is up: {state.url}",
        f"another node: farm-node run --farm {state.url} --key {_short(key)}",
        "`farm status` shows it, `farm down` ends it",
    ]


def _sentences(state: FarmState) -> list[str]:
    return [
        f"{part.name} is ready" if part.state == "ready" else f"{part.name} ended and is started again"
        for part in state.components
        if part.state == "ready" or part.state == "waiting"
    ]


def _short(path: Path) -> Path:
    """Relative to the current folder where it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
