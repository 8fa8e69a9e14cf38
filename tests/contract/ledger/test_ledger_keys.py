"""Keys: their life, what their jobs use, and who changed what."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from common.errors import Conflict, NotFound, OverQuota
from common.key_messages import KeyLimits, NewKey, Rotation
from common.keys import key_digest
from common.views import Rejection
from coordinator.ledger import Act, NewJob
from coordinator.ledger.schema import key_days, keys
from tests.contract.ledger.bench import Bench, placed, work

DAY_S = 86400.0
ACT = Act(by="ana", owner="studio", action="job create", subject="")


def create(bench: Bench, name: str = "ana", **fields: Any) -> None:
    new = NewKey.model_validate({"name": name, "owner": "studio", "scopes": ["submit"], **fields})
    bench.ledger.keys.create(new, key_digest(f"{name}-1"))


def order(bench: Bench, images: int, *, key: str = "ana", first: int = 0, **fields: Any) -> str:
    """Submit a job of a key with so many new images."""
    given: dict[str, Any] = {"name": "mugs", "owner": "studio", "lane": "public", "priority": 50}
    job = NewJob(manifest="version: 1", random_seed=0, key=key, ordered=images, **given | fields)
    return bench.ledger.jobs.submit(job, placed(images, first=first)).job_id


def test_only_the_hash_of_a_key_is_kept(bench: Bench) -> None:
    create(bench, lanes=["studio"], quota="2000/day", valid_s=60)
    (stored,) = bench.ledger.keys.stored()
    assert (stored.digest, stored.old_digest) == (key_digest("ana-1"), None)
    assert (stored.view.id, stored.view.lanes) == (key_digest("ana-1")[:12], ("studio",))
    assert (stored.view.quota, stored.view.expires_at) == ("2000/day", bench.clock.now + 60)
    with bench.engine.connect() as connection:
        assert "ana-1" not in str(connection.execute(select(keys)).all())


def test_a_rotated_key_keeps_its_rights_and_the_old_one_for_its_grace(bench: Bench) -> None:
    create(bench)
    rotated = bench.ledger.keys.rotate("ana", "second", Rotation(grace_s=60))
    assert (rotated.digest, rotated.old_digest) == ("second", key_digest("ana-1"))
    assert (rotated.view.owner, rotated.view.old_until) == ("studio", bench.clock.now + 60)
    again = bench.ledger.keys.rotate("ana", "third", Rotation())
    assert (again.digest, again.old_digest, again.view.old_until) == ("third", "second", bench.clock.now)


def test_an_expired_key_is_rotated_if_it_is_prolonged(bench: Bench) -> None:
    create(bench, valid_s=60)
    bench.clock.now += 50
    kept = bench.ledger.keys.rotate("ana", "second", Rotation(grace_s=3600)).view
    assert kept.expires_at == kept.old_until == bench.clock.now + 10
    bench.clock.now += 10
    with pytest.raises(Conflict, match=r"expired on .* `--expires 90d`"):
        bench.ledger.keys.rotate("ana", "third", Rotation())
    prolonged = bench.ledger.keys.rotate("ana", "third", Rotation(valid_s=60)).view
    assert prolonged.expires_at == bench.clock.now + 60


def test_a_revoked_key_stays_known_and_its_name_used(bench: Bench) -> None:
    create(bench)
    assert bench.ledger.keys.revoke("ana").view.revoked_at == bench.clock.now
    for change in (
        lambda: bench.ledger.keys.rotate("ana", "second", Rotation()),
        lambda: bench.ledger.keys.revoke("ana"),
        lambda: bench.ledger.keys.limit("ana", KeyLimits()),
        lambda: create(bench),
    ):
        with pytest.raises(Conflict, match="revoked on"):
            change()
    with pytest.raises(NotFound, match="farm keys list"):
        bench.ledger.keys.revoke("bo")


def test_a_quota_counts_images_by_day_and_begins_anew_at_midnight(bench: Bench) -> None:
    create(bench, quota="5/day")
    order(bench, 3)
    with pytest.raises(OverQuota, match=r"5 images per day, and 2 are left, but this needs 3 .* UTC") as over:
        order(bench, 3, first=3)
    assert 0 < over.value.retry_after_s <= DAY_S
    order(bench, 2, first=3)
    (view,) = bench.ledger.keys.views()
    assert view.used_images == 5
    assert [job.images for job in bench.jobs("studio")] == [2, 3]
    bench.clock.now += over.value.retry_after_s
    order(bench, 5, first=20)


def test_other_limits_count_from_then_on(bench: Bench) -> None:
    create(bench, quota="2/day")
    order(bench, 2)
    bench.ledger.keys.limit("ana", KeyLimits(quota="4/week", lanes=("public", "studio")))
    with pytest.raises(OverQuota, match="4 images per week, and 2 are left"):
        order(bench, 3, first=2)
    bench.ledger.keys.limit("ana", KeyLimits())
    order(bench, 3, first=2)


def test_an_image_in_the_place_of_a_rejected_one_counts(bench: Bench) -> None:
    create(bench, quota="3/day")
    node, job = bench.join(), order(bench, 2)
    while lease := node.claim().lease:
        bench.finish(lease)
    first, second = (image.shot_id for image in bench.ledger.shots.of_job(job))
    redo = Rejection(by="ana", redo="next seed")
    bench.ledger.shots.reject(first, redo, act=ACT)
    with pytest.raises(OverQuota, match="0 are left"):
        bench.ledger.shots.reject(second, redo, act=ACT)
    assert bench.ledger.jobs.view(job).counts == {"done": 1, "waiting": 1}


def test_a_spent_budget_pauses_the_jobs_of_its_key_and_no_others(bench: Bench) -> None:
    create(bench, max_cost="0.001/month")
    create(bench, "bo", max_cost="1000/month")
    node, mine = bench.join(), order(bench, 40)
    other = order(bench, 40, key="bo", first=100)
    room = bench.ledger.keys.room("ana")
    assert room is not None
    assert room.left == room.limit.amount
    while bench.ledger.jobs.view(mine).cost < 0.001:
        bench.finish(node.lease(), work(60.0, 9000.0))
        bench.ledger.jobs.prioritise(other, 0)
    bench.ledger.sweep()
    paused = bench.ledger.jobs.view(mine)
    assert paused.intent == "paused"
    assert "its key ana has spent" in paused.reason
    assert "per month; resume it after 1970-02-01 00:00 UTC" in paused.reason
    assert bench.ledger.jobs.view(other).intent == "active"
    room = bench.ledger.keys.room("ana")
    assert room is not None
    assert room.left == 0
    bench.ledger.keys.limit("ana", KeyLimits(max_cost="1000/month"))
    bench.ledger.jobs.resume(mine)
    bench.ledger.sweep()
    assert bench.ledger.jobs.view(mine).intent == "active"


def test_what_a_key_cost_is_what_its_jobs_cost(bench: Bench) -> None:
    create(bench)
    node = bench.join()
    jobs = [order(bench, 4), order(bench, 4, first=4)]
    bench.submit(placed(4, first=8))
    while lease := node.claim().lease:
        bench.clock.now += DAY_S / 3
        bench.finish(lease, work(20.0, 4000.0))
    with bench.engine.connect() as connection:
        by_day = connection.execute(select(key_days.c.day, key_days.c.cost)).all()
    assert sum(row.cost for row in by_day) == pytest.approx(
        sum(bench.ledger.jobs.view(job).cost for job in jobs)
    )


def test_who_changed_what_is_in_the_log_if_it_was_changed(bench: Bench) -> None:
    create(bench)
    job = bench.submit(placed(2)).job_id
    for action, change in (("job pause", bench.ledger.jobs.pause), ("job cancel", bench.ledger.jobs.cancel)):
        bench.clock.now += 1
        change(job, act=ACT._replace(action=action, subject=job))
    with pytest.raises(Conflict):
        bench.ledger.jobs.resume(job, act=ACT._replace(action="job resume", subject=job))
    other = Act(by="operator", owner="", action="key revoke", subject="ana")
    bench.ledger.keys.revoke("ana", act=other)
    found = bench.ledger.audit.entries()
    assert [entry.action for entry in found] == ["key revoke", "job cancel", "job pause"]
    assert [entry.by for entry in bench.ledger.audit.entries(by="ana")] == ["ana", "ana"]
    assert [entry.id for entry in bench.ledger.audit.entries(before=found[0].id, limit=1)] == [found[1].id]
    assert {entry.action for entry in bench.ledger.audit.entries(subject=job)} == {"job pause", "job cancel"}


def test_the_log_is_kept_for_a_while(bench: Bench) -> None:
    bench.restart(audit_s=10 * DAY_S)
    job = bench.submit(placed(1)).job_id
    bench.ledger.jobs.pause(job, act=ACT._replace(action="job pause", subject=job))
    bench.clock.now += 9 * DAY_S
    bench.ledger.jobs.resume(job, act=ACT._replace(action="job resume", subject=job))
    bench.thin()
    assert len(bench.ledger.audit.entries()) == 2
    bench.clock.now += 2 * DAY_S
    bench.thin()
    assert [entry.action for entry in bench.ledger.audit.entries()] == ["job resume"]
