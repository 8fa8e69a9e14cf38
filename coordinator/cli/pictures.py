"""`farm reject` and `farm delete`: a person's verdict on images that are stored."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Literal

import typer

from common.errors import Declined, Invalid
from common.units import counted
from common.views import Deleted, RejectedShot
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.names import the_job
from coordinator.cli.person import login_name
from coordinator.cli.show import money, out, print_json
from coordinator.client import FarmClient
from coordinator.explain.wording import SHORT

_SHOT = re.compile("[0-9a-f]{6,64}")
_SHA256 = re.compile("[0-9a-f]{64}")


def reject_command(
    shots: options.Shots,
    redo: Annotated[
        bool,
        typer.Option(
            "--redo", help="Render another image in its place, with the next seed that the job does not have."
        ),
    ] = False,
    same_seed: Annotated[
        bool,
        typer.Option(
            "--same-seed",
            help="With --redo: keep the seed, for example after a faulty card spoiled the image.",
        ),
    ] = False,
    job: options.OnlyJob = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Reject stored images: removes them from the results of their job and counts their cost as waste.

    Jobs of other owners keep them. Rejected images stay in the store until `farm delete`. An image rendered
    in place of another gets its name, so `farm pull` replaces the file.

    Example: `farm reject 51b2f0 9e0c44 --redo`
    """
    if same_seed and not redo:
        raise Invalid("--same-seed needs --redo; pass both")
    wish: Literal["no", "next seed", "same seed"] = "no"
    if redo:
        wish = "same seed" if same_seed else "next seed"
    with connect(settings) as client:
        rejected, named = [], the_job(client, job).id if job else None
        for shot in shots:
            rejected.append(client.reject(shot, named, by=acting_person(), redo=wish))
            if not as_json:
                _print_rejection(rejected[-1])
    if as_json:
        print_json(rejected)


def _print_rejection(rejected: RejectedShot) -> None:
    where = ", ".join(rejected.jobs)
    sentence = f"shot {rejected.id[:SHORT]} rejected" + (f" from {where}" if where else " before")
    if rejected.wasted:
        sentence += f"; {money(rejected.wasted, rejected.currency)} wasted"
    out.say(sentence)
    for new in rejected.redone:
        out.say(f"shot {new.id[:SHORT]} replaces it in {new.job} with seed {new.seed}")


def delete_command(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB|SHOT",
            parser=options.word,
            help="Job ID or name, or at least the first six digits of a shot's ID.",
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256",
            metavar="HEX",
            parser=options.word,
            help="Delete the image with this SHA-256 everywhere.",
        ),
    ] = None,
    job: options.OnlyJob = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Delete stored images permanently: those of a job, of a shot, or with a given SHA-256.

    Images that another active job has stay stored for it, except with --sha256. The farm keeps a record of
    the origin of deleted images and of who deleted them. Submitting the manifest again renders them again.

    Example: `farm delete j-3f9c01aa`
    """
    if subject is None and sha256 is None:
        raise Invalid("specify a job, a shot or --sha256 HEX")
    if subject is not None and sha256 is not None:
        raise Invalid(f"{subject} and --sha256 {sha256} cannot be combined; specify one of them")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise Invalid(f"{sha256} is not a SHA-256: it has 64 hexadecimal digits in lower case")
    with connect(settings) as client:
        deleted = _delete(client, subject or "", sha256, job, yes=yes)
    if as_json:
        print_json(deleted)
        return
    kept = f", {deleted.kept} kept for other jobs" if deleted.kept else ""
    out.say(f"{counted(deleted.images, 'image')} deleted{kept}")
    if deleted.pending:
        out.say(f"{counted(deleted.pending, 'image')} still in the store; the farm keeps deleting")


def _delete(client: FarmClient, subject: str, sha256: str | None, job: str | None, *, yes: bool) -> Deleted:
    if sha256 is not None:
        must_agree(f"Delete the image with SHA-256 {sha256[:SHORT]}… from all jobs?", yes=yes)
        return client.delete_content(sha256, by=acting_person())
    if _is_shot(client, subject):
        named = the_job(client, job).id if job else None
        must_agree(f"Delete the image of shot {subject[:SHORT]}?", yes=yes)
        return client.delete_shot(subject, named, by=acting_person())
    known = the_job(client, subject)
    stored = counted(known.counts.get("done", 0), "stored image")
    must_agree(f"Delete the {stored} of job {known.id} ({known.name})?", yes=yes)
    return client.delete_job(known.id, by=acting_person())


def _is_shot(client: FarmClient, subject: str) -> bool:
    """Returns whether hex digits identify a shot; a job with this name has priority."""
    return bool(_SHOT.fullmatch(subject)) and not client.jobs(name=subject)


def must_agree(question: str, *, yes: bool) -> None:
    """Raises Declined if the user does not confirm."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Declined("stdin is not a terminal; pass --yes")
    if not typer.confirm(f"{question} This cannot be undone."):
        raise Declined("nothing was deleted")


def acting_person() -> str:
    """Who removes images, as the farm records it."""
    return login_name() or "operator"
