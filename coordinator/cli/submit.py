"""`farm submit`: plan a manifest, ask for confirmation and submit it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from common.errors import Declined, FitsNothing
from common.manifest.inline import inlined
from common.settings import Settings, load_settings
from common.units import counted
from common.views import NodeView, Submit, Submitted
from common.wording import visible
from coordinator.cli import options
from coordinator.cli.connection import connect, owner_of_jobs, owner_to_send, settings_in_force
from coordinator.cli.plan_page import show_plan
from coordinator.cli.planning import read_manifest
from coordinator.cli.show import err, out, print_json
from coordinator.cli.watch import watch_to_the_end
from coordinator.client import FarmClient
from coordinator.explain.fleet import in_service
from coordinator.submission.plan import (
    REFERENCE_STATIONS,
    Draft,
    PlannedManifest,
    PlanReport,
    make_plan,
    station_of,
)

#: Upper bound of new random seeds.
_SEEDS = 2**31
#: Seconds that a person waits for a forecast.
_WITHIN_S = 5.0


def submit_command(
    manifest: options.Manifest,
    watch: Annotated[bool, typer.Option("--watch", help="Watch the job until it ends.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Submit without asking for confirmation.")] = False,
    reroll: options.Reroll = False,
    owner: options.Owner = None,
    root: options.Root = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the plan of a manifest, ask for confirmation and submit it to the farm.

    Submitting the same manifest again renders only images that are not stored yet. Without a terminal, pass
    --yes. With --watch, --json prints the job and its costs when it ends. Exit codes: 2 invalid manifest,
    3 images fit no card, 4 over budget, 5 declined.

    Examples: `farm submit personas.yaml --watch` · `farm submit personas.yaml --reroll --yes`
    """
    in_force = settings_in_force(load_settings(settings))
    with connect(settings) as client:
        draft = read_manifest(manifest, in_force, root, client.catalog())
        planned = plan_for(client, draft, in_force, owner, reroll=reroll)
        if not as_json:
            show_plan(planned)
        require_possible(planned.report)
        warn_of_waits(planned.report)
        if not yes:
            _ask()
        submitted = submit(client, planned, owner, reroll=reroll)
        if not as_json:
            tell(submitted)
        elif not watch:
            print_json(submitted)
        if watch:
            watch_to_the_end(client, submitted.id, as_json=as_json)


def plan_for(
    client: FarmClient, draft: Draft, settings: Settings, owner: str | None, *, reroll: bool = False
) -> PlannedManifest:
    """Returns the plan for the nodes in service behind what waits, or for reference cards without nodes.

    If the nodes in service fit none of the shots, nodes that are paused, lost and so on are included, because
    the job can wait for them.
    """
    seed = secrets.randbelow(_SEEDS) if reroll else None
    nodes = client.nodes()
    serving = [node for node in nodes if in_service(node)]
    planned = _plan(draft, serving, seed)
    if _some_fit(planned.report) or len(serving) == len(nodes):
        # It loads numpy, which other commands do not need.
        from coordinator.submission.forecast import with_forecast

        owner = owner_of_jobs(client, owner)
        return with_forecast(planned, client, serving, settings, owner=owner, within_s=_WITHIN_S)
    words = "No node in service can render these images; the plan uses nodes that are out of service."
    err.say(words, style="yellow")
    return _plan(draft, nodes, seed)


def _plan(draft: Draft, nodes: Sequence[NodeView], seed: int | None) -> PlannedManifest:
    stations = tuple(station_of(node) for node in nodes)
    return make_plan(
        draft, stations=stations or REFERENCE_STATIONS, together=bool(stations), random_seed=seed
    )


def require_possible(report: PlanReport) -> None:
    """Raises the problem that prevents every shot; shots that wait for a larger node are acceptable."""
    problem = report.unsubmittable() or report.refusal()
    if problem is not None and not (isinstance(problem, FitsNothing) and _some_fit(report)):
        raise problem


def warn_of_waits(report: PlanReport) -> None:
    if report.plan.unfit and _some_fit(report):
        err.print(str(report.refusal()), style="yellow", soft_wrap=True)
        err.say("These images wait until a suitable node joins.", style="yellow")


def _some_fit(report: PlanReport) -> bool:
    return report.plan.unfit < report.plan.images


def submit(
    client: FarmClient, planned: PlannedManifest, owner: str | None, *, reroll: bool = False
) -> Submitted:
    """`owner` None: that of the key, or the person at the command line."""
    report = planned.report
    return client.submit(
        Submit(
            manifest=inlined(planned.draft.parsed),
            # The name of a file may contain bytes that are not valid in a message.
            source=visible(report.manifest),
            owner=owner_to_send(client, owner),
            random_seed=report.random_seed if reroll else None,
            expected=len(planned.expansion),
            estimate=report.estimate(),
        )
    )


def tell(submitted: Submitted) -> None:
    """Print what the farm accepted, and why some images cannot be rendered."""
    parts = [f"{submitted.new} to render"]
    if submitted.reused:
        parts.append(f"{submitted.reused} already stored or queued")
    if submitted.unschedulable:
        fit = "fits" if submitted.unschedulable == 1 else "fit"
        parts.append(f"{submitted.unschedulable} {fit} no node")
    out.print("")
    counts = f"{counted(submitted.images, 'image')}, {', '.join(parts)}"
    out.say("job ", (submitted.id, "bold"), f" ({submitted.name}) of {submitted.owner}: {counts}")
    for misfit in submitted.misfits:
        err.say(f"{counted(misfit.shots, 'shot')}: {misfit.reason}", style="yellow")
    if submitted.unschedulable:
        err.say(f"They wait for a suitable node; details: `farm explain {submitted.id}`", style="yellow")


def _ask() -> None:
    """Raises Declined if the user does not confirm."""
    if not sys.stdin.isatty():
        raise Declined("stdin is not a terminal; pass --yes")
    if not typer.confirm("Proceed?"):
        raise Declined("nothing was submitted")
