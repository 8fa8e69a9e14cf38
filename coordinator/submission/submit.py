"""From a manifest on the wire to a job in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import PurePath

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog
from common.embeddings import texts_key
from common.errors import Conflict, Invalid, NotGranted, OverBudget, OverQuota
from common.fit import Misfit, smallest_class
from common.lanes import Lanes
from common.manifest.limits import least_images
from common.manifest.model import Manifest
from common.manifest.parse import ParsedManifest, parse_manifest
from common.prompt_rules import PromptRules
from common.scopes import Caller
from common.settings import Money
from common.shot import PlannedShot, Shot
from common.units import format_money
from common.views import Submit, Submitted
from common.wording import listed
from common.work import Work, work_of
from coordinator.estimate import Station, estimate
from coordinator.expand import Expansion, expand
from coordinator.explain.wording import misfits
from coordinator.ledger import Act, JobName, Ledger, NewJob, PlacedShot, Repeatable, Room, SubmittedJob
from coordinator.submission.shot_checks import ShotChecks
from coordinator.submission.tokens import Tokenizers

#: Owner of jobs that are submitted without one.
_OWNER = "farm"
#: Kinds of shots whose class is remembered.
_KINDS = 4096


def submit_manifest(
    submission: Submit,
    ledger: Ledger,
    caller: Caller,
    act: Act,
    *,
    catalog: Catalog,
    tokenizers: Tokenizers,
    money: Money,
    max_images: int,
    lanes: Lanes,
    request: Repeatable | None = None,
) -> Submitted:
    """Everything is checked before the first shot enters the ledger.

    A `request` that was sent before is answered as then. Raises InvalidDocument, Invalid, NotGranted,
    Conflict (not the expected number) or OverBudget.
    """
    if request is not None and (before := ledger.jobs.submitted_before(request)) is not None:
        return _answer(*before)
    owner = owner_of(submission.owner, caller)
    parsed = parse_manifest(submission.manifest, source=submission.source, files=None, catalog=catalog)
    manifest = parsed.manifest
    _check_grants(manifest, caller)
    check_dedication(manifest.lane, lanes, owner)
    check_images(least_images(manifest), max_images)
    rules = lanes.rules_of(manifest.lane)
    shots = _checked_shots(parsed, submission, catalog, tokenizers, max_images, rules)
    limit = manifest.limits.max_cost
    _refuse_over_budget(shots, limit, catalog, money)
    ordered = _not_stored(shots, ledger) if caller.key else []
    if caller.key and (room := ledger.keys.room(caller.key)) is not None:
        _refuse_over_room(ordered, room, catalog, money)
    job = NewJob(
        name=submission.name or manifest.name or PurePath(submission.source).stem,
        owner=owner,
        key=caller.key,
        ordered=len(ordered),
        lane=manifest.lane,
        priority=manifest.priority,
        manifest=submission.manifest,
        random_seed=shots.random_seed,
        max_cost=None if limit is None else float(limit),
        eco=manifest.eco,
        exports=shots.exports,
        estimate=submission.estimate,
        request=request,
    )
    submitted = ledger.jobs.submit(job, _placed(shots, catalog), act)
    return _answer(JobName(job.name, job.owner, job.random_seed), submitted)


def _answer(job: JobName, submitted: SubmittedJob) -> Submitted:
    return Submitted(
        id=submitted.job_id,
        name=job.name,
        owner=job.owner,
        images=submitted.images,
        new=submitted.new,
        reused=submitted.reused + submitted.shared,
        unschedulable=submitted.unschedulable,
        misfits=misfits(submitted.misfits),
        random_seed=job.random_seed,
    )


def _checked_shots(
    parsed: ParsedManifest,
    submission: Submit,
    catalog: Catalog,
    tokenizers: Tokenizers,
    max_images: int,
    rules: PromptRules,
) -> Expansion:
    """The shots of a manifest. Raises as `submit_manifest` does for what is wrong with them."""
    shots = expand(parsed, catalog, random_seed=submission.random_seed)
    check_images(len(shots), max_images)
    if submission.expected is not None and submission.expected != len(shots):
        raise Conflict(
            f"{submission.source} has {len(shots)} images on this farm, "
            f"but {submission.expected} were planned: "
            "plan it again with the catalog of the farm"
        )
    _refuse_unknown_identity(shots.unidentified)
    checks = ShotChecks(shots, tokenizers, rules, use=parsed.manifest.use)
    for _ in checks.passing():
        pass
    checks.raise_any()
    return shots


def check_images(images: int, most: int) -> None:
    """Raises Invalid for more images than the farm takes of one job, whatever its manifest allows."""
    if images > most:
        raise Invalid(
            f"the manifest has {images:,} images, and this farm takes {most:,} of one job at the most: "
            "split it, or ask the operator of the farm for a larger `max_images` in its settings"
        )


def owner_of(wanted: str | None, caller: Caller) -> str:
    """Whose job it is: the key tells, unless it operates the farm or is one of its settings.

    Raises NotGranted.
    """
    if caller.owner is None or caller.allows(["operate"]):
        return wanted or caller.owner or _OWNER
    if wanted not in (None, caller.owner):
        raise NotGranted(
            f"key {caller.name} submits jobs of {caller.owner} only: leave out `owner: {wanted}`"
        )
    return caller.owner


def _check_grants(manifest: Manifest, caller: Caller) -> None:
    """Raises NotGranted for a lane or a priority that the key does not have."""
    if caller.lanes is not None and manifest.lane not in caller.lanes:
        granted = listed(sorted(caller.lanes))
        raise NotGranted(
            f"lane `{manifest.lane}` is not granted to key {caller.name}: "
            f"write {granted} after `lane:`, or ask the operator of the farm for a key with this lane"
        )
    check_priority(caller, manifest.priority)


def check_dedication(name: str, lanes: Lanes, owner: str) -> None:
    """Raises NotGranted for jobs of others in a lane that is dedicated to an owner."""
    dedicated_to = lanes.of(name).owner
    if dedicated_to not in (None, owner):
        raise NotGranted(
            f"lane `{name}` is dedicated to jobs of {dedicated_to}, and this one is of {owner}: "
            "write another after `lane:`"
        )


def check_priority(caller: Caller, priority: int) -> None:
    """Raises NotGranted if a job of this caller cannot have the priority."""
    if priority > caller.max_priority:
        raise NotGranted(
            f"priority {priority} is not granted to key {caller.name}: write up to {caller.max_priority}, "
            "or ask the operator of the farm for more"
        )


def _refuse_unknown_identity(unidentified: Sequence[str]) -> None:
    """A shot's id must not change when the catalog learns what its model is."""
    if unidentified:
        raise Invalid(
            f"{unidentified[0]} has no identity in the catalog and cannot be submitted; "
            "set `identity` in a catalog file (`sha256:…` or `repo@commit`)"
        )


def _not_stored(shots: Iterable[PlannedShot], ledger: Ledger) -> list[PlannedShot]:
    """The shots that have no image yet, each once."""
    distinct = {planned.id: planned for planned in shots}
    stored = set(ledger.images.stored(list(distinct)))
    return [planned for id_, planned in distinct.items() if id_ not in stored]


def _refuse_over_budget(
    shots: Iterable[PlannedShot], limit: Decimal | None, catalog: Catalog, money: Money
) -> None:
    if limit is None:
        return
    cost = _least_cost(shots, catalog, money)
    if cost is not None and cost > limit:
        raise OverBudget(
            f"the estimate of at least {format_money(cost, money.currency)} exceeds limits.max_cost "
            f"({format_money(limit, money.currency)}): request fewer or smaller images, or raise the limit"
        )


def _refuse_over_room(ordered: Sequence[PlannedShot], room: Room, catalog: Catalog, money: Money) -> None:
    """Raises OverQuota if the budget of a key has too little left for what is not stored yet."""
    cost = _least_cost(ordered, catalog, money) if ordered else None
    if ordered and (not room.left or (cost is not None and cost > room.left)):
        left, allowed = (format_money(each, money.currency) for each in (room.left, room.limit.amount))
        least = "" if cost is None else f" of at least {format_money(cost, money.currency)}"
        raise OverQuota(
            f"the estimate{least} exceeds the {left} left of {allowed} per {room.limit.period} of key "
            f"{room.key}: request fewer or smaller images, or wait until {room.ends} 00:00 UTC",
            room.ends_s,
        )


def _least_cost(shots: Iterable[PlannedShot], catalog: Catalog, money: Money) -> Decimal | None:
    """By the cheapest reference cards; None where nothing tells."""
    stations = [Station(card=card) for card in REFERENCE_CARDS.values()]
    cost = estimate(shots, catalog, stations, money, together=False).cost
    return None if cost is None else cost.low


def _placed(shots: Iterable[PlannedShot], catalog: Catalog) -> Iterator[PlacedShot]:
    """Each shot with the smallest class that takes it."""

    @lru_cache(_KINDS)
    def judged(kind: Shot) -> tuple[Work, int | Misfit]:
        model = catalog.models[kind.model]
        return work_of(kind, model), smallest_class(kind, model)

    for planned in shots:
        guided_above = catalog.models[planned.shot.model].family.guidance_doubles_above
        work, answer = judged(_kind(planned.shot))
        if isinstance(answer, Misfit):
            yield PlacedShot(planned, work, 0, answer.reason)
        else:
            yield PlacedShot(planned, work, answer, texts=texts_key(planned.shot, guided_above))


def _kind(shot: Shot) -> Shot:
    """The shot without what changes neither its work nor where it fits."""
    return shot._replace(
        prompt="", negative="", seed=0, knobs=(), format="png", quality=0, realm="", inversions=()
    )
