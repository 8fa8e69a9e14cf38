"""Discards: images that do not show what was asked for leave all jobs, which get new ones in their place."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, Select, select

from common.views import Rejection
from coordinator.ledger.deletions import delete_pictures
from coordinator.ledger.removals import reject_shot
from coordinator.ledger.schema import images, jobs, wants
from coordinator.ledger.transactions import Write


def discard(write: Write, currency: str, shot_ids: Sequence[str], by: str) -> None:
    """Delete stored images; each job that has one gets the next generation of its shot, with the same seed.

    A cancelled job goes on to want the shot, which is rendered again if the job is requeued. The key of an
    image is never used again, and no later job gets it.
    """
    wish = Rejection(by=by, redo="same seed")
    for shot_id in shot_ids:
        for job_id in _jobs_with(write, shot_id):
            reject_shot(write, currency, shot_id, job_id, wish, None, None)
    # Those whose details are being removed.
    left = _live(shot_ids).distinct()
    delete_pictures(write, shot_ids, write.connection.scalars(left).all(), by)


def _jobs_with(write: Write, shot_id: str) -> Sequence[str]:
    query = _live([shot_id]).where(jobs.c.thinning_at.is_(None), wants.c.again.is_(False))
    return write.connection.scalars(query).all()


def _live(shot_ids: Sequence[str]) -> Select[str]:
    """The jobs that want any of these shots and are not cancelled."""
    query = select(jobs.c.id).select_from(wants.join(jobs, jobs.c.id == wants.c.job_id))
    return query.where(wants.c.shot_id.in_(shot_ids), jobs.c.intent != "cancelled")


def images_of(write: Write, node_id: str, most: int) -> Sequence[Row[str]]:
    """Shots of the newest stored images of a node."""
    query = select(images.c.shot_id).where(images.c.node_id == node_id)
    return write.connection.execute(query.order_by(images.c.stored_at.desc()).limit(most)).all()
