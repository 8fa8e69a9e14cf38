"""`farm run`: render a manifest on this machine in one command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from common.catalog import Catalog
from common.errors import Invalid
from common.settings import Settings, load_settings
from common.units import counted
from common.views import JobView
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.download import Pulled, pull
from coordinator.cli.job_sheet import contact_sheet, tell_sheet, warn_of_missing_fonts
from coordinator.cli.plan_page import show_plan
from coordinator.cli.planning import read_manifest
from coordinator.cli.results import Outcome, outcome, show_outcome
from coordinator.cli.show import err, out, print_json, whisper
from coordinator.cli.submit import plan_for, require_possible, submit, tell, warn_of_waits
from coordinator.cli.watch import follow, is_over, require_success
from coordinator.client import FarmClient
from coordinator.embedded.control import start_farm, stop_farm
from coordinator.embedded.home import Home
from coordinator.embedded.state import Narrator, supervisor_pid
from coordinator.submission.plan import make_plan


class RunReport(Outcome):
    """Printed by `farm run --json`."""

    pulled: Pulled
    #: The contact sheet as a page and as a single image.
    page: Path
    sheet: Path


def run_command(
    manifest: options.Manifest,
    folder: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", file_okay=False, help="Folder for the images and the contact sheet."
        ),
    ] = Path("pictures"),
    owner: options.Owner = None,
    root: options.Root = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Render a manifest on this machine: start the farm, submit, watch, download the images, stop the farm.

    If a farm is already running, it is used and left running. Ctrl-C cancels the rest of the job; run the
    command again to continue: stored images are not rendered again. Exit codes are those of `farm submit`
    and `farm watch`.

    Example: `farm run manifests/demo.yaml --settings manifests/demo-farm.yaml --out demo`
    """
    wanted = load_settings(settings)
    draft = read_manifest(manifest, wanted, root, _catalog_in_force(wanted, settings))
    # Reports a manifest that cannot be submitted before starting anything.
    require_possible(make_plan(draft).report)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _farm(wanted, settings) as started, connect(settings) as client:
        planned = plan_for(client, draft, wanted, owner)
        if not as_json:
            show_plan(planned)
        require_possible(planned.report)
        warn_of_waits(planned.report)
        submitted = submit(client, planned, owner)
        if not as_json:
            tell(submitted)
            whisper(f"web page: {client.sign_in_link().url}")
        job = _watch_own(client, submitted.id, give_up=started)
        rendered = _collect(client, job, folder)
    if as_json:
        print_json(rendered)
    else:
        _print_report(rendered)
        _print_next_steps(manifest, settings, started)
    require_success(job)


def _catalog_in_force(settings: Settings, settings_file: Path | None) -> Catalog | None:
    """Returns the catalog of the running farm, or None if none runs."""
    if supervisor_pid(Home(settings.home.absolute())) is None:
        return None
    with connect(settings_file) as client:
        return client.catalog()


@contextmanager
def _farm(settings: Settings, settings_file: Path | None) -> Iterator[bool]:
    """Provides a running farm; yields True if it was started for this block, which also stops it.

    Raises Invalid if the farm would have no node.
    """
    home = Home(settings.home.absolute())
    if supervisor_pid(home) is not None:
        yield False
        return
    if not settings.nodes:
        raise Invalid(
            "the settings define no node. Add `nodes: [{name: mine}]` to farm.yaml to use this machine's "
            "NVIDIA card, or `nodes: [{name: mine, card: FILE}]` to simulate the card described in FILE on "
            "the CPU"
        )
    start_farm(settings, settings_file=settings_file, on_change=Narrator(whisper))
    try:
        yield True
    finally:
        stop_farm(home, lambda: whisper("stopping the farm"))


def _watch_own(client: FarmClient, job_id: str, *, give_up: bool) -> JobView:
    """Follow the job, then cancel the rest, so that no later run renders and bills it."""
    try:
        job = follow(client, job_id, give_up=give_up)
    except KeyboardInterrupt:
        err.say("stopping; run the command again to continue", style="yellow")
        client.steer_job(job_id, "cancel")
        raise
    if not is_over(job):
        client.steer_job(job_id, "cancel")
    return job


def _collect(client: FarmClient, job: JobView, folder: Path) -> RunReport:
    pulled = pull(client, job.id, folder)
    sheet = contact_sheet(client, job, folder)
    warn_of_missing_fonts(sheet)
    return RunReport(**dict(outcome(client, job)), pulled=pulled, page=sheet.page, sheet=sheet.png)


def _print_report(rendered: RunReport) -> None:
    pulled = rendered.pulled
    show_outcome(rendered)
    number = pulled.fetched + pulled.kept
    files = counted(number, "file" if number > rendered.job.images else "image")
    out.print("")
    out.say(f"{files} in {pulled.folder}, {pulled.fetched} of them new")
    tell_sheet(rendered.page, rendered.sheet)


def _print_next_steps(manifest: str, settings_file: Path | None, started: bool) -> None:
    option = f" --settings {settings_file}" if settings_file else ""
    out.print("")
    out.say(f"edit {manifest} and run it again: only new images are rendered")
    if started:
        out.say(f"to keep a farm running: farm up{option}, then farm submit {manifest} --watch")
