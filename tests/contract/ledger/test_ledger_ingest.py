"""Ingest is asked until it answers; an image is stored once, and a refusal falls on whose fault it is."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from common.errors import Conflict, NotFound
from common.likeness import COARSE, FINE
from coordinator.ledger import Unanswered
from coordinator.ledger.schema import attempts, images, nodes
from tests.contract.ledger.bench import TIMING, Bench, placed


def test_a_rejected_upload_is_rendered_again_and_blames_the_node(bench: Bench) -> None:
    bench.submit(placed(1))
    bench.past_the_grace()
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id

    ack = bench.store(attempt, outcome="rejected", failure="not_an_image", message="truncated")

    assert ack.state == "waiting"
    assert bench.store(attempt, outcome="rejected", failure="not_an_image").repeated
    assert bench.shot_row(lease.shots[0].id).attempts == 0
    assert bench.rows(nodes)[0].record == "x"


def test_an_upload_rejected_for_the_shots_fault_three_times_fails(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    for _ in range(3):
        lease = node.lease()
        ack = bench.store(bench.deliver(lease).attempt_id, outcome="rejected", failure="flat_image")
        bench.close(lease)
        bench.rest()

    assert ack.state == "failed"


@pytest.mark.parametrize(
    ("told", "known"), [("bf16+compiled", "bf16+compiled"), ("bf16", "bf16"), ("best", "bf16"), (7, "bf16")]
)
def test_an_image_names_its_recipe_and_whether_it_was_compiled(bench: Bench, told: Any, known: str) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease, fingerprint={"recipe": told}).attempt_id
    assert attempt is not None

    assert bench.delivery(attempt).recipe == known
    bench.store(attempt)
    assert [row.recipe for row in bench.rows(images)] == [known]


def test_an_image_that_another_attempt_stored_makes_the_shot_done_and_ours_waste(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    there = "cd" * 32

    ack = bench.store(bench.deliver(lease).attempt_id, outcome="duplicate", sha256=there, size=7)

    assert ack.state == "done"
    assert [row.state for row in bench.rows(attempts)] == ["wasted"]
    assert [(row.sha256, row.size) for row in bench.rows(images)] == [(there, 7)]


def test_a_shot_that_ingest_dies_with_each_time_spends_no_attempt_and_is_poison(bench: Bench) -> None:
    bench.past_the_grace()
    job = bench.submit(placed(1))
    found = []
    for name in ("a", "b", "c"):
        lease = bench.join(name).lease()
        bench.store(bench.deliver(lease).attempt_id, outcome="rejected", failure="ingest_crash")
        bench.close(lease)
        shot = bench.shot_row(lease.shots[0].id)
        found.append((shot.state, shot.attempts, shot.crashes))

    assert found == [("waiting", 0, 1), ("waiting", 0, 2), ("failed", 0, 3)]
    assert bench.ledger.jobs.view(job.job_id).failures[0].kind == "poison"
    assert {row.record for row in bench.rows(nodes)} == {""}


def test_that_ingest_dies_while_the_farm_is_in_trouble_counts_for_nothing(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()

    ack = bench.store(bench.deliver(lease).attempt_id, outcome="rejected", failure="ingest_crash")

    assert ack.state == "waiting"
    assert bench.shot_row(lease.shots[0].id).crashes == 0


def test_the_row_of_an_image_names_the_attempt_that_its_object_names(bench: Bench) -> None:
    bench.submit(placed(1))
    first = bench.join("a").lease()
    earlier = bench.deliver(first).attempt_id
    bench.store(earlier, outcome="rejected", failure="ingest_crash")
    bench.close(first)
    second = bench.join("b").lease()

    told = {"attempt_id": earlier, "perceptual_hash": "5" * (COARSE + FINE)}
    bench.store(bench.deliver(second).attempt_id, outcome="duplicate", **told)

    (row,) = bench.rows(images)
    assert (row.attempt_id, row.node_id, row.perceptual_hash) == (earlier, "a", told["perceptual_hash"])


def test_an_object_that_names_an_attempt_of_another_shot_is_not_believed(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()
    mine, other = bench.deliver(lease).attempt_id, bench.deliver(lease, 1).attempt_id

    bench.store(mine, outcome="duplicate", attempt_id=other)

    assert [row.attempt_id for row in bench.rows(images)] == [mine]


def test_ingest_gets_all_it_needs_and_only_while_it_is_needed(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id
    assert attempt is not None

    delivery = bench.delivery(attempt)

    assert delivery.final_key == f"images/{delivery.shot_id[:2]}/{delivery.shot_id}.png"
    assert (delivery.template, delivery.recipe, delivery.node) == ("a {colour} mug", "bf16", "node")
    assert delivery.model_hash == "sha256:tiny"
    bench.store(attempt)
    with pytest.raises(Conflict, match="needs no check"):
        bench.delivery(attempt)


def test_a_verdict_on_what_was_never_uploaded_is_refused(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    with pytest.raises(Conflict, match="no upload"):
        bench.store(lease.shots[0].attempt_id)
    with pytest.raises(NotFound):
        bench.store("a-none")


def test_ingest_is_asked_again_for_what_it_did_not_answer(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id

    found = [swept.ingest_again for swept in bench.let_pass(2 * TIMING.ingest_again_s + 6)]

    assert [again for again in found if again] == [(attempt,), (attempt,)]


def test_what_ingest_is_asked_again_for_is_not_named_one_by_one_to_the_database(bench: Bench) -> None:
    sizes: list[int] = []

    def note(_: Any, __: Any, ___: str, parameters: Any, *____: Any) -> None:
        sizes.append(len(parameters))

    bench.submit(placed(12))
    owed = set()
    for number in range(6):
        lease = bench.join(f"node-{number}").lease()
        owed |= {bench.deliver(lease, index).attempt_id for index in range(len(lease.shots))}
    bench.clock.now += TIMING.ingest_again_s + 1
    event.listen(bench.engine, "before_cursor_execute", note)
    swept = bench.ledger.sweep()
    event.remove(bench.engine, "before_cursor_execute", note)

    assert set(swept.ingest_again) == owed
    assert max(sizes) < len(owed)


def test_an_upload_that_ingest_began_three_times_and_never_answered_is_named_with_its_image(
    bench: Bench,
) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id
    assert attempt is not None
    for _ in range(3):
        key = bench.delivery(attempt).final_key

    found = bench.let_pass(TIMING.ingest_again_s + 2 * TIMING.sweep_s)

    assert found[-1].unanswered == (Unanswered(attempt, lease.shots[0].id, key),)
    assert not any(swept.ingest_again for swept in found)


def test_an_upload_that_ingest_puts_off_is_asked_for_again_at_no_cost(bench: Bench) -> None:
    bench.submit(placed(1))
    lease = bench.join().lease()
    attempt = bench.deliver(lease).attempt_id
    assert attempt is not None
    for _ in range(5):
        bench.delivery(attempt)
        assert bench.store(attempt, outcome="put off").state == "delivered"

    found = bench.let_pass(TIMING.ingest_again_s + 2 * TIMING.sweep_s)

    assert attempt in {one for swept in found for one in swept.ingest_again}
    assert bench.store(attempt).state == "done"
