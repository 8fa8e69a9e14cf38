"""A withheld image is stored and paid for, and nobody but operators sees it until one approves it."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import Conflict, NotFound
from common.views import Rejection
from coordinator.ledger import ShotFilter
from coordinator.ledger.charges import utc_month
from coordinator.ledger.schema import deleted_images, images, verifications
from tests.contract.ledger.bench import SHA, Bench, placed
from tests.contract.ledger.test_ledger_verification import noise, true_hash, volunteer
from tests.ledger_rules import check_ledger

WHY = "falconsai: nsfw 0.93, withheld from 0.60 on"


def one_withheld(bench: Bench, **job: Any) -> tuple[str, str]:
    """A job of two images, of which the first is withheld; returns the job and the shot."""
    submitted = bench.submit(placed(2), **job)
    lease = bench.join().lease()
    ack = bench.store(bench.deliver(lease, 0).attempt_id, withheld=WHY)
    assert (ack.state, ack.repeated) == ("withheld", False)
    bench.store(bench.deliver(lease, 1).attempt_id, sha256="cd" * 32)
    bench.close(lease)
    return submitted.job_id, lease.shots[0].id


def test_a_job_ends_with_what_is_withheld_and_says_so(bench: Bench) -> None:
    job, shot = one_withheld(bench)
    view = bench.ledger.jobs.view(job)
    assert (view.status, view.counts, view.rendered) == ("withheld", {"done": 1, "withheld": 1}, 2)
    (failure,) = view.failures
    assert (failure.state, failure.kind, failure.shots) == ("withheld", "withheld", 1)
    assert "the operator of the farm decides" in failure.message
    told = " ".join(bench.ledger.explain(job, version="1").sentences)
    assert "ended with images withheld" in told
    assert "1 image is withheld" in told
    about = bench.ledger.explain(shot, version="1")
    assert "is withheld" in about.sentences[0]
    assert "farm withheld" in about.remedy
    assert [update.state for update in bench.ledger.events.page(0).shots] == ["withheld", "done"]
    check_ledger(bench.ledger)


def test_nothing_that_shows_images_shows_a_withheld_one(bench: Bench) -> None:
    job, shot = one_withheld(bench)
    ledger = bench.ledger
    position = next(view.position for view in ledger.shots.of_job(job) if view.shot_id == shot)
    view = ledger.shots.details(job, position)
    assert (view.view.state, view.origin) == ("withheld", None)
    assert {view.view.key, view.view.sha256, view.view.size, view.view.node, view.view.cost} == {None}
    assert len(ledger.images.files(job)) == len(ledger.images.of_node("node")) == 1
    assert ledger.images.made(SHA) is ledger.images.made_of(shot) is None
    assert shot not in ledger.images.stored([shot])
    with pytest.raises(NotFound, match="is not stored"):
        ledger.images.file(job, position)
    with pytest.raises(NotFound):
        ledger.explain(SHA, version="1")
    assert ledger.shots.page(job, ShotFilter(node="node"), limit=9)[0][0].shot_id != shot
    assert SHA not in str(ledger.explain(shot, version="1"))


def test_owners_can_neither_reject_nor_delete_it(bench: Bench) -> None:
    job, shot = one_withheld(bench, owner="ana")
    for refused in (
        lambda: bench.ledger.shots.reject(shot, Rejection(), owner="ana"),
        lambda: bench.ledger.images.delete(shot, "ana", owner="ana"),
    ):
        with pytest.raises(Conflict, match="is withheld: the operator decides"):
            refused()
    assert bench.ledger.images.delete_of_job(job, "ana", owner="ana").images == 1
    assert bench.ledger.images.number_withheld() == 1


def test_an_operator_sees_it_with_what_marked_it_and_approves_it_once(bench: Bench) -> None:
    job, shot = one_withheld(bench)
    (image,) = bench.ledger.images.withheld()
    assert (image.shot_id, image.job, image.reason, image.sha256, image.node) == (shot, job, WHY, SHA, "node")
    assert bench.ledger.images.approve(shot[:8]) == shot
    view = bench.ledger.jobs.view(job)
    assert (view.status, view.counts, view.failures) == ("done", {"done": 2}, ())
    assert bench.ledger.images.made(SHA) is not None
    assert bench.ledger.images.withheld() == []
    with pytest.raises(Conflict, match="is done: only a withheld image"):
        bench.ledger.images.approve(shot)
    check_ledger(bench.ledger)


@pytest.mark.parametrize("by_content", [False, True])
def test_an_operator_deletes_it_for_good(bench: Bench, by_content: bool) -> None:
    job, shot = one_withheld(bench)
    if by_content:
        deleted = bench.ledger.images.delete_content(SHA, "operator")
    else:
        deleted = bench.ledger.images.delete(shot, "operator")
    assert deleted.images == 1
    assert bench.ledger.jobs.view(job).counts == {"done": 1, "deleted": 1}
    assert bench.ledger.jobs.view(job).status == "done"
    assert [row.withheld for row in bench.rows(deleted_images)] == [WHY]
    assert bench.ledger.images.made(SHA) is None
    assert len(bench.ledger.images.doomed(9)) == 1
    check_ledger(bench.ledger)


def test_what_is_withheld_is_paid_for(bench: Bench) -> None:
    job, _ = one_withheld(bench)
    month = bench.ledger.accounts.month_bill(utc_month(bench.clock.now))
    assert sum(line.images for line in month if line.use == "image") == 2
    bill = bench.ledger.accounts.job_bill(job)
    assert sum(line.images for line in bill) == 2
    assert sum(line.cost for line in bill) == pytest.approx(bench.ledger.jobs.view(job).cost)


def test_it_is_not_rendered_again_for_another_job_which_waits_for_the_same_decision(bench: Bench) -> None:
    _, shot = one_withheld(bench)
    other = bench.submit(placed(2)).job_id
    assert bench.ledger.jobs.view(other).counts == {"done": 1, "withheld": 1}
    bench.ledger.images.approve(shot)
    assert bench.ledger.jobs.view(other).status == "done"


def test_another_attempt_that_finds_it_stored_withholds_it_too(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    ack = bench.store(bench.deliver(lease).attempt_id, outcome="duplicate", withheld=WHY)
    assert ack.state == "withheld"
    assert [row.withheld for row in bench.rows(images)] == [WHY]


def test_nodes_are_verified_by_withheld_images_and_copies_are_judged_by_nobody(bench: Bench) -> None:
    bench.submit(placed(1))
    vol = volunteer(bench)
    lease = vol.lease()
    attempt = bench.deliver(lease).attempt_id
    assert attempt is not None
    assert bench.delivery(attempt).lane == "public"
    bench.store(attempt, withheld=WHY, perceptual_hash=noise(lease.shots[0].spec))
    bench.close(lease)

    for name in ("own-1", "own-2"):
        copy = bench.join(name).claim().lease
        if copy is not None:
            (delivered,) = [bench.deliver(copy, index).attempt_id for index in range(len(copy.shots))]
            assert delivered is not None
            assert bench.delivery(delivered).lane is None
            bench.store(delivered, perceptual_hash=true_hash(copy.shots[0].spec))
            bench.close(copy)
    assert [row.verdict for row in bench.rows(verifications)] == ["false"]
    assert bench.ledger.images.number_withheld() == 0
    assert bench.node_state("vol") == "quarantined"
    check_ledger(bench.ledger)
