"""`farm submit`: plan a manifest, ask, and hand it to the farm."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from common.errors import Declined, FitsNothing
from common.manifest.inline import inlined
from common.settings import Settings, load_settings
from common.views import Submit, Submitted
from coordinator.cli import options
from coordinator.cli.connection import connect, settings_in_force
from coordinator.cli.plan_tables import show_plan
from coordinator.cli.planning import REFERENCE_STATIONS, PlannedManifest, make_plan, station_of
from coordinator.cli.show import counted, err, out, print_json
from coordinator.cli.watch import follow, require_success
from coordinator.client import FarmClient

#: New random seeds are below this.
_SEEDS = 2**31


def submit_command(
    manifest: options.Manifest,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the job until it ends.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reroll: options.Reroll = False,
    root: options.Root = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Hand a manifest to the farm, after showing what it will make and cost and asking once.

    Submitting the same manifest again renders only what is not stored yet. Without a terminal --yes is
    needed. Exit codes: 2 the manifest is wrong, 3 it fits nothing, 4 over budget, 5 declined.

    Examples: `farm submit personas.yaml --watch` · `farm submit personas.yaml --reroll --yes`
    """
    in_force = settings_in_force(load_settings(settings))
    with connect(settings) as client:
        planned = plan_for(client, manifest, in_force, root=root, reroll=reroll)
        if not as_json:
            show_plan(planned)
        require_possible(planned)
        if not yes:
            _ask()
        submitted = submit(client, planned, reroll=reroll)
        if as_json:
            print_json(submitted)
        else:
            tell(submitted)
        if watch:
            require_success(follow(client, submitted.id))


def plan_for(
    client: FarmClient, manifest: str, settings: Settings, *, root: Path | None = None, reroll: bool = False
) -> PlannedManifest:
    """The plan for the farm's own nodes; for usual cards while it has none."""
    stations = tuple(station_of(node) for node in client.nodes() if node.state in ("ready", "busy"))
    return make_plan(
        manifest,
        settings,
        root=root,
        stations=stations or REFERENCE_STATIONS,
        together=bool(stations),
        random_seed=secrets.randbelow(_SEEDS) if reroll else None,
    )


def require_possible(planned: PlannedManifest) -> None:
    """Raises what stands in the way. Shots that only wait for a larger node are a warning."""
    refusal = planned.report.refusal()
    if refusal is None:
        return
    plan = planned.report.plan
    if not isinstance(refusal, FitsNothing) or plan.unfit == plan.images:
        raise refusal
    err.print(f"{refusal}\nThese wait until a node joins that takes them.", style="yellow", markup=False)


def submit(client: FarmClient, planned: PlannedManifest, *, reroll: bool = False) -> Submitted:
    report = planned.report
    return client.submit(
        Submit(
            manifest=inlined(planned.parsed),
            source=report.manifest,
            random_seed=report.random_seed if reroll else None,
            expected=len(planned.expansion),
        )
    )


def tell(submitted: Submitted) -> None:
    """One line on what the farm made of it, and one for each reason why something cannot be rendered."""
    parts = [f"{submitted.new} to render"]
    if submitted.reused:
        parts.append(f"{submitted.reused} stored or on their way already")
    if submitted.unschedulable:
        parts.append(f"{submitted.unschedulable} fit no node")
    out.print(
        f"\njob [bold]{submitted.id}[/] ({submitted.name}): {counted(submitted.images, 'image')}, "
        + ", ".join(parts)
    )
    for misfit in submitted.misfits:
        err.print(f"{counted(misfit.shots, 'shot')}: {misfit.reason}", style="yellow", markup=False)


def _ask() -> None:
    """Raises Declined unless the person agrees."""
    if not sys.stdin.isatty():
        raise Declined("nobody is there to ask: say --yes to submit without asking")
    if not typer.confirm("Proceed?"):
        raise Declined("nothing was submitted")
