"""`farm up`, `farm down`: the embedded farm on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.errors import FarmError
from common.settings import Settings, load_settings
from coordinator.cli import options
from coordinator.cli.connection import client_of, connect
from coordinator.cli.show import out, print_answer, print_json, table, whisper
from coordinator.client import FarmClient
from coordinator.embedded.addresses import local_url
from coordinator.embedded.control import start_farm, stop_farm, supervisor_command
from coordinator.embedded.home import Home
from coordinator.embedded.state import FarmState, Narrator

Listen = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="ADDR",
        help="Address on which other machines reach the farm; 0.0.0.0 for all. Default: this machine only.",
    ),
]


def up_command(
    listen: Listen = None,
    settings: options.SettingsFile = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run in the foreground; Ctrl-C stops the farm.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Start the farm on this machine: Valkey, SeaweedFS, coordinator, ingest and the configured nodes.

    All data is stored in one folder, `.farm` by default. Processes that exit are restarted.

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
    """Stop the farm on this machine. Stored data remains.

    Nodes first finish the running pass, for at most 30 seconds. Run the command again to skip that and
    return the pass to the backlog.

    Example: `farm down`
    """
    wanted = load_settings(settings)
    home = Home(wanted.home.absolute())
    ended = stop_farm(home, lambda: whisper(waiting_words(_busy_nodes(wanted))))
    out.say("the farm has stopped" if ended else f"no farm is running in {home.root}")


def waiting_words(busy: Sequence[str]) -> str:
    """Returns what `farm down` waits for; `busy` are the nodes that render."""
    if not busy:
        return "waiting for the processes of the farm to end"
    passes = "its pass" if len(busy) == 1 else "their passes"
    return f"waiting for {', '.join(busy)} to finish {passes}; run `farm down` again to skip that"


def _busy_nodes(settings: Settings) -> list[str]:
    """Returns the nodes of the farm of this home that have a batch; none if the farm does not answer."""
    try:
        with _own_client(settings) as client:
            return [node.name for node in client.nodes() if node.batch_id]
    except FarmError:
        return []


def _own_client(settings: Settings) -> FarmClient:
    """Returns a client of the farm of this home."""
    in_force = load_settings(Home(settings.home.absolute()).settings)
    # What stands before the farm for others may not be there.
    return client_of(in_force.model_copy(update={"public_url": local_url(in_force)}))


def with_listen(settings: Settings, listen: str | None) -> Settings:
    return settings if listen is None else settings.model_copy(update={"listen": listen})


def components_table(state: FarmState) -> Table:
    rows = [
        (part.name, part.state, str(part.pid or "-"), str(part.restarts), part.address)
        for part in state.components
    ]
    return table("process", "state", "PID", "restarts", "address", rows=rows, right=("PID", "restarts"))


def page_command(settings: options.SettingsFile = None, as_json: options.AsJson = False) -> None:
    """Print an address of the web page that signs a browser in: once, within ten minutes.

    The session has the rights of the key with which this command calls the farm.

    Example: `farm page`
    """
    with connect(settings) as client:
        link = client.sign_in_link()
    print_answer(link, link.url, as_json)


def invitation(settings: Settings, state: FarmState) -> list[str]:
    """Returns the address of the web page, and instructions for adding a node and for stopping this farm."""
    key = Home(settings.home.absolute()).keys / "node"
    return [
        f"the farm is up: {state.url}",
        page_words(settings, state.url),
        f"to add a node: farm-node run --farm {state.url} --key {_short(key)}",
        "`farm status` shows its state, `farm down` stops it",
    ]


def page_words(settings: Settings, url: str) -> str:
    """Returns how to open the web page of the farm of this home, which others reach at `url`."""
    try:
        with _own_client(settings) as client:
            link = client.sign_in_link()
    except FarmError:
        return f"web page: {url}"
    once = " (signs you in once, for ten minutes; `farm page` prints another link)" if link.valid_s else ""
    return f"web page: {link.url}{once}"


def _short(path: Path) -> Path:
    """Returns the path relative to the current folder if it is inside, otherwise unchanged."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
