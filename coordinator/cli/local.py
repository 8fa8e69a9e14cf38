"""`farm up`, `farm down`: the embedded farm of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.settings import Settings, load_settings
from coordinator.cli import options
from coordinator.cli.show import out, print_json, table, whisper
from coordinator.embedded.control import start_farm, stop_farm, supervisor_command
from coordinator.embedded.home import Home
from coordinator.embedded.state import FarmState, Narrator

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
    as_json: options.AsJson = False,
) -> None:
    """Start the farm on this machine: Valkey, SeaweedFS, coordinator, ingest and the nodes of the settings.

    Everything is kept in one folder, `.farm` unless the settings say otherwise. What dies is started again.

    Examples: `farm up` · `farm up --settings manifests/demo-farm.yaml` · `farm up --listen 192.168.1.10`
    """
    wanted = with_listen(load_settings(settings), listen)
    if foreground:
        command = supervisor_command(wanted, settings)
        os.execv(command[0], command)
    state = start_farm(wanted, settings_file=settings, on_change=Narrator(whisper))
    if as_json:
        print_json(state)
        return
    out.print(components_table(state))
    for line in invitation(wanted, state):
        out.say(line)


def down_command(settings: options.SettingsFile = None) -> None:
    """End the farm of this machine. Nothing of it is left running; everything stored stays.

    Nodes finish their running pass first, for half a minute at most; asked once more, they hand it back.

    Example: `farm down`
    """
    home = Home(load_settings(settings).home.absolute())
    ended = stop_farm(
        home,
        lambda: whisper("a node that renders finishes its pass first; `farm down` once more hands it back"),
    )
    out.say("the farm is down" if ended else f"no farm runs in {home.root}")


def with_listen(settings: Settings, listen: str | None) -> Settings:
    return settings if listen is None else settings.model_copy(update={"listen": listen})


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


def _short(path: Path) -> Path:
    """Relative to the current folder where it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
