"""`farm run`: the whole way from a manifest to pictures on this machine, in one command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from common.settings import Settings, load_settings
from common.views import JobView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.plan_tables import show_plan
from coordinator.cli.planning import make_plan
from coordinator.cli.pull import pull
from coordinator.cli.results import contact_sheet, cost_table
from coordinator.cli.show import counted, err, out, whisper
from coordinator.cli.submit import plan_for, require_possible, submit, tell
from coordinator.cli.watch import follow, require_success
from coordinator.client import FarmClient
from coordinator.embedded.control import start_farm, stop_farm
from coordinator.embedded.home import Home
from coordinator.embedded.state import Narrator, supervisor_pid


def run_command(
    manifest: options.Manifest,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where pictures and contact sheet go.")
    ] = Path("pictures"),
    root: options.Root = None,
    settings: options.SettingsFile = None,
) -> None:
    """Render a manifest here and now: start the farm, submit, watch, fetch the pictures, end the farm.

    A farm that runs already is used and left running. Stop it with Ctrl-C whenever you like: run again, it
    goes on where it stopped and renders nothing twice. Exit codes: those of submit and watch.

    Example: `farm run manifests/demo.yaml --settings manifests/demo-farm.yaml --out demo`
    """
    wanted = load_settings(settings)
    # A wrong manifest is told before anything is started; standard input can be read only once.
    if manifest != "-":
        make_plan(manifest, wanted, root=root)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _farm(wanted, settings) as started, connect(settings) as client:
        planned = plan_for(client, manifest, wanted, root=root)
        show_plan(planned)
        require_possible(planned)
        submitted = submit(client, planned)
        tell(submitted)
        job = follow(client, submitted.id)
        _collect(client, job, folder)
    _tell_how_to_go_on(manifest, settings, started)
    require_success(job)


@contextmanager
def _farm(settings: Settings, settings_file: Path | None) -> Iterator[bool]:
    """A running farm; true when it was started for this block, at whose end it is ended."""
    home = Home(settings.home.absolute())
    if supervisor_pid(home) is not None:
        yield False
        return
    start_farm(settings, settings_file=settings_file, on_change=Narrator(whisper))
    try:
        yield True
    except KeyboardInterrupt:
        err.print("stopping; run it again to go on where it stopped", style="yellow")
        raise
    finally:
        stop_farm(home)


def _collect(client: FarmClient, job: JobView, folder: Path) -> None:
    pulled = pull(client, job.id, folder)
    page, sheet = contact_sheet(client, job, folder)
    costs = client.table(job.id)
    out.print()
    out.print(cost_table(costs) if costs.rows else "everything was stored already: nothing to pay")
    out.print(f"\n{counted(pulled.fetched + pulled.kept, 'image')} in {folder}, {pulled.fetched} of them new")
    out.print(f"contact sheet: [bold]{page}[/] and {sheet}")


def _tell_how_to_go_on(manifest: str, settings_file: Path | None, started: bool) -> None:
    option = f" --settings {settings_file}" if settings_file else ""
    out.print(f"\nnow change {manifest} and run it again: only what is new is rendered")
    if started:
        out.print(f"or keep a farm running: farm up{option}, then farm submit {manifest} --watch")
