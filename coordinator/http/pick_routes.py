"""Picks: which images of a job people keep or drop, and the stars that they give."""

from __future__ import annotations

from fastapi import APIRouter

from common.units import counted
from common.views import PickList, PickWish
from coordinator.http.access import READING, STEERING, JobId, TheAct, TheFarm

router = APIRouter(prefix="/v1/jobs/{job_id}/picks")


@router.get("", dependencies=[READING])
def picks(job_id: JobId, farm: TheFarm) -> PickList:
    """Return which images were kept, dropped or given stars, and the cost per kept image."""
    return farm.ledger.picks.of_job(job_id)


@router.post("", dependencies=[STEERING])
def pick(job_id: JobId, wish: PickWish, farm: TheFarm, act: TheAct) -> PickList:
    """Keep or drop images, or give them stars. Changes nothing else of the job.

    404: the job has no image at one of the positions.
    """
    farm.ledger.picks.change(job_id, wish, act.by, act=act._replace(detail=picked_words(wish)))
    return farm.ledger.picks.of_job(job_id)


def picked_words(wish: PickWish) -> str:
    """What a pick says, for the audit log."""
    words = {"yes": "kept", "no": "dropped", "undecided": "undecided", None: ""}[wish.kept]
    stars = "" if wish.stars is None else counted(wish.stars, "star")
    return f"{counted(len(wish.positions), 'image')}: {', '.join(filter(None, (words, stars)))}"
