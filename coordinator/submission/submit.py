"""From a manifest on the wire to a job in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import PurePath

from common.cards import REFERENCE_CARDS
from common.catalog import Catalog
from common.embeddings import texts_key
from common.errors import Conflict, Invalid, OverBudget
from common.fit import Misfit, smallest_class
from common.manifest.parse import parse_manifest
from common.settings import Money
from common.shot import PlannedShot, Shot
from common.views import Submit, Submitted
from common.work import Work, work_of
from coordinator.estimate import Station, estimate
from coordinator.expand import expand
from coordinator.explain.wording import misfits
from coordinator.ledger import Ledger, NewJob, PlacedShot
from coordinator.submission.shot_checks import ShotChecks
from coordinator.submission.tokens import Tokenizers

#: Owner of jobs that are submitted without one.
_OWNER = "farm"
#: Kinds of shots whose class is remembered.
_KINDS = 4096


def submit_manifest(
    submission: Submit, ledger: Ledger, *, catalog: Catalog, tokenizers: Tokenizers, money: Money
) -> Submitted:
    """Everything is checked before the first shot enters the ledger.

    Raises InvalidDocument, Invalid, Conflict (not the expected number) or OverBudget.
    """
    parsed = parse_manifest(submission.manifest, source=submission.source, files=None, catalog=catalog)
    manifest = parsed.manifest
    shots = expand(parsed, catalog, random_seed=submission.random_seed)
    if submission.expected is not None and submission.expected != len(shots):
        raise Conflict(
            f"{submission.source} has {len(shots)} images on this farm, "
            f"but {submission.expected} were planned: "
            "plan it again with the catalog of the farm"
        )
    _refuse_unknown_identity(shots.unidentified)
    checks = ShotChecks(shots, tokenizers)
    for _ in checks.passing():
        pass
    checks.raise_any()
    limit = manifest.limits.max_cost
    _refuse_over_budget(shots, limit, catalog, money)
    job = NewJob(
        name=submission.name or manifest.name or PurePath(submission.source).stem,
        owner=submission.owner or _OWNER,
        lane=manifest.lane,
        priority=manifest.priority,
        manifest=submission.manifest,
        random_seed=shots.random_seed,
        max_cost=None if limit is None else float(limit),
        eco=manifest.eco,
        exports=shots.exports,
        estimate=submission.estimate,
    )
    submitted = ledger.submit(job, _placed(shots, catalog))
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


def _refuse_unknown_identity(unidentified: Sequence[str]) -> None:
    """A shot's id must not change when the catalog learns what its model is."""
    if unidentified:
        raise Invalid(
            f"{unidentified[0]} has no identity in the catalog and cannot be submitted; "
            "set `identity` in a catalog file (`sha256:…` or `repo@commit`)"
        )


def _refuse_over_budget(
    shots: Iterable[PlannedShot], limit: Decimal | None, catalog: Catalog, money: Money
) -> None:
    if limit is None:
        return
    stations = [Station(card=card) for card in REFERENCE_CARDS.values()]
    cost = estimate(shots, catalog, stations, money, together=False).cost
    if cost is not None and cost.low > limit:
        raise OverBudget(
            f"the estimate of at least {cost.low:.3g} {money.currency} exceeds limits.max_cost "
            f"({limit:.3g} {money.currency}): request fewer or smaller images, or raise the limit"
        )


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
