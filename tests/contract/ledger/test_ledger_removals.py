"""Pictures that a person rejects or deletes: whose results they leave, what they cost, what comes instead."""

from __future__ import annotations

import pytest

from common.errors import Conflict, NotFound
from common.states import ShotState
from common.views import Rejection
from coordinator.ledger.schema import attempts, deleted_images, images, removals, shots, wants
from tests.contract.ledger.bench import SHA, Bench, Holder, placed, placed_one, shot
from tests.contract.ledger.saying import said, shots_of
from tests.ledger_rules import check_ledger

NEXT, SAME = Rejection(by="ana", redo="next seed"), Rejection(by="ana", redo="same seed")
VERDICT = Rejection(by="ana")


@pytest.fixture
def node(bench: Bench) -> Holder:
    return bench.join()


def done(bench: Bench, node: Holder, number: int = 1, **fields: str) -> tuple[str, list[str]]:
    """A job whose pictures are all stored, and their shots."""
    job = bench.submit(placed(number), **fields).job_id
    render(bench, node)
    return job, shots_of(bench, job)


def render(bench: Bench, node: Holder) -> None:
    while (lease := node.claim().lease) is not None:
        bench.finish(lease)


def test_a_rejected_picture_leaves_the_results_and_the_job_stays_done(bench: Bench, node: Holder) -> None:
    job, (first, second) = done(bench, node, 2)
    rejected = bench.ledger.shots.reject(first[:8], VERDICT)

    assert (rejected.id, rejected.jobs) == (first, (job,))
    assert [image.shot_id for image in bench.ledger.shots.of_job(job)] == [second]
    assert (bench.counts(job), bench.ledger.jobs.view(job).status) == ({"done": 1, "rejected": 1}, "done")
    assert bench.ledger.jobs.view(job).images == 2
    (row,) = bench.rows(removals)
    assert (row.kind, row.removed_by, row.removed_at) == ("rejected", "ana", bench.clock.now)
    assert "1 image rejected by a person" in said(bench, job)
    assert "no job has it in its results" in said(bench, first)
    with pytest.raises(Conflict, match="may have been rejected already"):
        bench.ledger.shots.reject(first, VERDICT)
    check_ledger(bench.ledger)


def test_a_rejected_picture_counts_as_waste_with_its_cost_and_raises_the_cost_per_image(
    bench: Bench, node: Holder
) -> None:
    job, (first, _) = done(bench, node, 2)
    (before,) = bench.ledger.accounts.cost_table(job)
    cost = next(row.cost for row in bench.rows(images) if row.shot_id == first)

    assert bench.ledger.shots.reject(first, VERDICT).wasted == pytest.approx(cost)

    for (after,) in (bench.ledger.accounts.cost_table(job), bench.ledger.accounts.cost_table()):
        assert (after.images, after.rejected) == (1, 1)
        assert after.rejected_cost == pytest.approx(cost)
        assert after.cost == pytest.approx(before.cost)
        assert after.cost_per_image == pytest.approx(2 * (before.cost_per_image or 0))
    totals = bench.ledger.accounts.totals()
    assert list(totals.rejected_images.values()) == [1]
    assert sum(totals.attempts.values()) == 2
    check_ledger(bench.ledger)


def test_an_owner_who_rejects_a_picture_takes_it_from_no_other_owner(bench: Bench, node: Holder) -> None:
    mine, (shot_id,) = done(bench, node, owner="ana")
    theirs = bench.submit(placed(1), owner="ben").job_id
    with pytest.raises(Conflict, match="select one with `--job`"):
        bench.ledger.shots.reject(shot_id, VERDICT)

    assert bench.ledger.shots.reject(shot_id, VERDICT, mine).wasted == 0.0
    assert bench.counts(mine) == {"rejected": 1}
    assert bench.counts(theirs) == {"done": 1}
    assert not bench.ledger.accounts.totals().rejected_images

    assert bench.ledger.shots.reject(shot_id, Rejection(by="ben"), theirs).wasted > 0
    assert list(bench.ledger.accounts.totals().rejected_images.values()) == [1]
    check_ledger(bench.ledger)


def test_all_jobs_of_the_one_owner_reject_together(bench: Bench, node: Holder) -> None:
    first, (shot_id,) = done(bench, node)
    second = bench.submit(placed(1)).job_id
    assert bench.ledger.shots.reject(shot_id, VERDICT).jobs == (first, second)


def test_a_redo_renders_the_next_seed_that_the_job_does_not_have_in_the_same_place(
    bench: Bench, node: Holder
) -> None:
    job, ids = done(bench, node, 3)
    (redone,) = bench.ledger.shots.reject(ids[0], NEXT).redone

    assert (redone.job, redone.id, redone.seed) == (job, shot(3).id, 3)
    first = bench.ledger.shots.of_job(job)[0]
    assert (first.position, first.name, first.seed, first.state) == (0, "tiny-0", 3, "waiting")
    assert (bench.counts(job), bench.ledger.jobs.view(job).status) == ({"done": 2, "waiting": 1}, "waiting")
    check_ledger(bench.ledger)

    render(bench, node)
    assert bench.counts(job) == {"done": 3}
    assert bench.ledger.jobs.view(job).status == "done"
    # The seed that was rejected does not come back.
    assert bench.ledger.shots.reject(shot(3).id, NEXT).redone[0].seed == 4
    check_ledger(bench.ledger)


def test_a_seed_is_kept_as_a_new_generation_with_an_id_of_its_own(bench: Bench, node: Holder) -> None:
    job, (shot_id,) = done(bench, node)
    (again,) = bench.ledger.shots.reject(shot_id, SAME).redone
    assert (again.seed, again.id) == (0, shot(0, generation=1).id)
    render(bench, node)
    (third,) = bench.ledger.shots.reject(again.id, SAME).redone
    assert third.id == shot(0, generation=2).id
    assert bench.counts(job) == {"waiting": 1}
    check_ledger(bench.ledger)


def test_a_seed_that_another_job_has_stored_is_reused(bench: Bench, node: Holder) -> None:
    job, (first,) = done(bench, node)
    bench.submit(placed(1, first=1), owner="ben")
    render(bench, node)
    bench.ledger.shots.reject(first, NEXT)
    assert bench.counts(job) == {"done": 1}
    assert next(row.reused for row in bench.rows(wants) if row.job_id == job)
    check_ledger(bench.ledger)


def test_a_seed_that_was_given_up_is_tried_again(bench: Bench, node: Holder) -> None:
    job, (first,) = done(bench, node)
    other = bench.submit(placed(1, first=1)).job_id
    bench.ledger.jobs.cancel(other)
    bench.ledger.shots.reject(first, NEXT)
    assert bench.counts(job) == {"waiting": 1}
    check_ledger(bench.ledger)


def test_what_was_rejected_can_be_redone_later(bench: Bench, node: Holder) -> None:
    job, (first, _) = done(bench, node, 2)
    bench.ledger.shots.reject(first, VERDICT)
    again = bench.ledger.shots.reject(first, NEXT)
    assert (again.jobs, again.wasted, again.redone[0].seed) == ((), 0.0, 2)
    assert bench.counts(job) == {"done": 1, "waiting": 1}
    check_ledger(bench.ledger)


def test_every_place_of_a_job_with_the_picture_is_redone(bench: Bench, node: Holder) -> None:
    twice = [placed_one(shot(0), name="front"), placed_one(shot(0), name="back")]
    job = bench.submit(twice).job_id
    render(bench, node)
    bench.ledger.shots.reject(shot(0).id, NEXT)
    assert [(one.name, one.seed) for one in bench.ledger.shots.of_job(job)] == [("front", 1), ("back", 1)]
    assert bench.counts(job) == {"waiting": 1}
    check_ledger(bench.ledger)


def test_only_a_stored_picture_of_a_live_job_can_be_rejected(bench: Bench, node: Holder) -> None:
    waits = shots_of(bench, bench.submit(placed(1)).job_id)[0]
    with pytest.raises(Conflict, match="is waiting: it has no stored image"):
        bench.ledger.shots.reject(waits, VERDICT)
    render(bench, node)
    job = bench.jobs()[0].id
    with pytest.raises(NotFound, match="no job j-none"):
        bench.ledger.shots.reject(waits, VERDICT, "j-none")
    bench.ledger.jobs.cancel(job)
    with pytest.raises(Conflict, match="no active job has its image"):
        bench.ledger.shots.reject(waits, NEXT)


def test_a_new_job_may_want_what_another_rejected(bench: Bench, node: Holder) -> None:
    _, (shot_id,) = done(bench, node)
    bench.ledger.shots.reject(shot_id, VERDICT)
    again = bench.submit(placed(1))
    assert (again.reused, bench.counts(again.job_id)) == (1, {"done": 1})
    assert bench.ledger.shots.reject(shot_id, VERDICT).wasted == 0.0
    assert list(bench.ledger.accounts.totals().rejected_images.values()) == [1]


def test_a_deleted_picture_leaves_its_record_with_who_and_when(bench: Bench, node: Holder) -> None:
    job, (first, _) = done(bench, node, 2)
    (sidecar,) = [row for row in bench.rows(images) if row.shot_id == first]
    deleted = bench.ledger.images.delete(first[:8], "ben")

    assert (deleted.images, deleted.kept) == (1, 0)
    assert (bench.counts(job), bench.ledger.jobs.view(job).status) == ({"done": 1, "deleted": 1}, "done")
    (record,) = bench.rows(deleted_images)
    assert {name: getattr(record, name) for name in sidecar._fields} == sidecar._asdict()
    assert (record.deleted_by, record.deleted_at, record.erased_at) == ("ben", bench.clock.now, None)
    assert bench.transitions(first)[-1] == "erased"
    assert "ben deleted it" in said(bench, first)
    check_ledger(bench.ledger)


def test_what_is_deleted_is_erased_until_the_store_is_said_to_have_it_no_more(
    bench: Bench, node: Holder
) -> None:
    _, (shot_id,) = done(bench, node)
    (upload,) = {row.key for row in bench.rows(attempts)}
    bench.ledger.images.delete(shot_id, "ana")
    (doomed,) = bench.ledger.images.doomed(10)
    assert (doomed.key, doomed.uploads) == (f"images/{shot_id[:2]}/{shot_id}.png", (upload,))
    assert bench.restart().images.doomed(10) == [doomed]
    assert bench.ledger.images.to_erase() == 1
    bench.ledger.images.erased([doomed.key])
    assert bench.ledger.images.doomed(10) == []


def test_a_deleted_picture_is_rendered_again_under_another_key(bench: Bench, node: Holder) -> None:
    old, (shot_id,) = done(bench, node)
    bench.ledger.images.delete(shot_id, "ana")
    new = bench.submit(placed(1))
    assert (new.shared, bench.counts(new.job_id)) == (1, {"waiting": 1})

    lease = node.lease()
    attempt = bench.deliver(lease).attempt_id
    assert attempt is not None
    assert bench.delivery(attempt).final_key == f"images/{shot_id[:2]}/{shot_id}.1.png"
    # The upload that ingest works on is no leftover of the deleted picture.
    assert len(bench.ledger.images.doomed(10)[0].uploads) == 1
    bench.store(attempt)
    bench.close(lease)

    assert bench.ledger.shots.of_job(new.job_id)[0].key == f"images/{shot_id[:2]}/{shot_id}.1.png"
    assert bench.counts(old) == {"deleted": 1}
    check_ledger(bench.ledger)


def test_an_ingest_that_answers_after_the_deletion_has_its_object_erased_too(
    bench: Bench, node: Holder
) -> None:
    bench.submit(placed(1))
    lease = node.lease()
    attempt = bench.deliver(lease).attempt_id
    bench.store(attempt)
    bench.close(lease)
    bench.ledger.images.delete(lease.shots[0].id, "ana")
    bench.ledger.images.erased([picture.key for picture in bench.ledger.images.doomed(1)])

    assert bench.store(attempt).repeated

    assert bench.ledger.images.to_erase() == 1


def test_a_picture_that_another_live_job_has_stays_stored(bench: Bench, node: Holder) -> None:
    mine, (shot_id,) = done(bench, node, owner="ana")
    theirs = bench.submit(placed(2), owner="ben").job_id
    render(bench, node)
    with pytest.raises(Conflict, match="select one with `--job`"):
        bench.ledger.images.delete(shot_id, "ana")

    deleted = bench.ledger.images.delete_of_job(mine, "ana")
    assert (deleted.images, deleted.kept) == (0, 1)
    assert bench.counts(mine) == {"deleted": 1}
    assert bench.counts(theirs) == {"done": 2}

    deleted = bench.ledger.images.delete_of_job(theirs, "ben")
    assert (deleted.images, deleted.kept) == (2, 0)
    assert bench.shot_row(shot_id).state == ShotState.CANCELLED
    check_ledger(bench.ledger)


def test_a_job_that_is_not_finished_is_cancelled_before_its_pictures_are_deleted(
    bench: Bench, node: Holder
) -> None:
    job = bench.submit(placed(4)).job_id
    bench.finish(node.lease())
    bench.submit(placed(1, first=9), owner="ben")
    assert bench.counts(job) != {"done": 4}
    with pytest.raises(Conflict, match=f"farm cancel {job}"):
        bench.ledger.images.delete_of_job(job, "ana")
    bench.ledger.jobs.cancel(job)
    assert bench.ledger.images.delete_of_job(job, "ana").images > 0
    check_ledger(bench.ledger)


def test_a_job_deletes_what_it_rejected_too(bench: Bench, node: Holder) -> None:
    job, (first, _) = done(bench, node, 2)
    bench.ledger.shots.reject(first, VERDICT)
    assert bench.ledger.images.delete_of_job(job, "ana").images == 2
    assert bench.counts(job) == {"rejected": 1, "deleted": 1}
    check_ledger(bench.ledger)


def test_a_takedown_by_content_takes_the_picture_from_the_jobs_of_all_owners(
    bench: Bench, node: Holder
) -> None:
    mine, (shot_id,) = done(bench, node, owner="ana")
    theirs = bench.submit(placed(1), owner="ben").job_id
    with pytest.raises(NotFound, match="no stored image has the SHA-256"):
        bench.ledger.images.delete_content("0" * 64, "office")

    assert bench.ledger.images.delete_content(SHA, "office").images == 1

    assert bench.counts(mine) == bench.counts(theirs) == {"deleted": 1}
    assert bench.shot_row(shot_id).state == ShotState.CANCELLED
    with pytest.raises(NotFound, match="office deleted it"):
        bench.ledger.images.delete_content(SHA, "office")
    check_ledger(bench.ledger)


def test_a_shot_without_a_picture_cannot_be_deleted(bench: Bench) -> None:
    bench.submit(placed(1))
    with pytest.raises(Conflict, match="has no stored image"):
        bench.ledger.images.delete(bench.rows(shots)[0].id, "ana")


def test_an_image_is_known_by_its_content_also_when_it_is_deleted_and_only_to_whose_jobs_have_it(
    bench: Bench, node: Holder
) -> None:
    bench.submit(placed(2), owner="ana")
    bench.submit(placed(3)[2:], owner="bo")
    lease = node.lease()
    for index, one in enumerate(lease.shots):
        bench.store(bench.deliver(lease, index).attempt_id, sha256=f"{index:x}" * 64)
        made = bench.ledger.images.made(f"{index:x}" * 64)
        assert made is not None
        assert (made.shot_id, made.node_id, made.deleted_at) == (one.id, node.id, None)
    images = bench.ledger.images
    bench.ledger.images.delete(lease.shots[0].id, "ben")

    gone = images.made("0" * 64, "ana")
    assert gone is not None
    assert gone == images.made_of(lease.shots[0].id)
    assert gone.deleted_at == bench.clock.now
    assert images.made("1" * 64, "ana") is not None
    assert [images.made(digit * 64, "bo") for digit in "01"] == [None, None]
    assert images.made("f" * 64) is None
