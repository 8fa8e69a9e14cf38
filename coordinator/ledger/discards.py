"""Discards: images that do not show what was asked for leave all jobs, which get new ones in their place."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, select

from common.views import Rejection
from coordinator.ledger.deletions import delete_pictures
from coordinator.ledger.removals import reject_shot
from coordinator.ledger.schema import images, jobs, wants
from coordinator.ledger.transactions import Write


def discard(write: Write, currency: str, shot_ids: Sequence[str], by: str) -> None:
    """Delete stored images; each job that has one gets the next generation of its shot, with the same seed.

    The key of an image is never used again, and no later job gets it.
    """
    wish = Rejection(by=by, redo="same seed")
    for shot_id in shot_ids:
        for job_id in _jobs_with(write, shot_id):
            reject_shot(write, currency, shot_id, job_id, wish, None, None)
    delete_pictures(write, shot_ids, None, by)


def _jobs_with(write: Write, shot_id: str) -> Sequence[str]:
    query = select(jobs.c.id).select_from(wants.join(jobs, jobs.c.id == wants.c.job_id))
    live = jobs.c.intent != "cancelled", jobs.c.thinning_at.is_(None), wants.c.again.is_(False)
    return write.connection.scalars(query.where(wants.c.shot_id == shot_id, *live)).all()


def images_of(write: Write, node_id: str, most: int) -> Sequence[Row[str]]:
    """Shots of the newest stored images of a node."""
    query = select(images.c.shot_id).where(images.c.node_id == node_id)
    return write.connection.execute(query.order_by(images.c.stored_at.desc()).limit(most)).all()
