"""Shots that fit no card: said at the submission and by the status, with the size that would fit."""

from __future__ import annotations

import re

import httpx

from common.views import Submitted
from tests.farm import MANIFEST

HUGE = 16384
#: Pixels by which the model's sizes grow.
STEP = 16


def submitted(operator: httpx.Client, side: int) -> Submitted:
    manifest = MANIFEST.replace("128x128", f"{side}x{side}")
    answer = operator.post("/v1/jobs", json={"manifest": manifest}).raise_for_status()
    return Submitted.model_validate_json(answer.content)


def told(operator: httpx.Client) -> list[tuple[int, str]]:
    """Shots and reason of every misfit that the status shows."""
    return [(one["shots"], one["reason"]) for one in operator.get("/v1/status").json()["misfits"]]


def test_the_smallest_change_that_would_make_it_fit_is_told_at_the_submission_and_by_the_status(
    operator: httpx.Client,
):
    huge = submitted(operator, HUGE)
    assert (huge.images, huge.new, huge.unschedulable) == (4, 0, 4)
    (misfit,) = huge.misfits
    assert f"at {HUGE}×{HUGE}" in misfit.reason
    assert told(operator) == [(4, misfit.reason)]
    explained = operator.get(f"/v1/explain/{huge.id}").json()
    assert f"4 shots fit no node: {misfit.reason}." in explained["sentences"]

    named = re.search(r"; (\d+)×\1 fits", misfit.reason)
    assert named is not None
    fits, too_large = submitted(operator, int(named[1])), submitted(operator, int(named[1]) + STEP)
    assert (fits.new, fits.unschedulable, fits.misfits) == (4, 0, ())
    assert (too_large.new, too_large.unschedulable) == (0, 4)


def test_the_status_shows_what_fits_nothing_of_live_jobs_only_by_its_reason(operator: httpx.Client):
    one, other = submitted(operator, HUGE), submitted(operator, HUGE - STEP)
    reasons = [job.misfits[0].reason for job in (one, other)]
    assert sorted(told(operator)) == sorted((4, reason) for reason in reasons)
    operator.post(f"/v1/jobs/{one.id}/pause").raise_for_status()
    assert told(operator) == [(4, reasons[1])]
    operator.post(f"/v1/jobs/{other.id}/cancel").raise_for_status()
    assert told(operator) == []
