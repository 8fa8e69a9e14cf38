"""Claims: who gets what, once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from common.errors import Conflict, Forbidden, Gone, NotFound
from common.messages import Claim, Spent
from coordinator.ledger import JoinedNode, PlacedShot
from coordinator.ledger.schema import attempts, batches
from tests.contract.ledger.bench import Bench, Holder, lora, placed, planned, shot, work


def test_a_claim_moves_its_shots_and_names_recipe_and_pass(bench: Bench) -> None:
    job = bench.submit(placed(2))

    lease = bench.join().lease()

    assert (lease.model, lease.recipe, lease.pass_size) == ("tiny", "bf16", 2)
    assert bench.counts(job.job_id) == {"running": 2}
    assert bench.ledger.job(job.job_id).running == {"node": 2}
    assert bench.node_state() == "busy"
    assert bench.transitions(lease.shots[0].id) == ["claimed"]


def test_the_same_ticket_of_the_same_incarnation_gives_the_same_lease(bench: Bench) -> None:
    bench.submit(placed(8))
    node = bench.join()

    assert node.claim("t").lease == node.claim("t").lease
    assert len(bench.rows(batches)) == 1


def test_a_ticket_is_spent_by_its_first_claim(bench: Bench) -> None:
    bench.submit(placed(8))
    node, other = bench.join(), bench.join("other")
    lease = node.lease(ticket="t")

    with pytest.raises(Conflict, match="spent"):
        other.claim("t")
    bench.close(lease)
    with pytest.raises(Conflict, match="spent"):
        node.claim("t")


def test_a_ticket_of_another_class_or_lane_is_refused(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join(vram_gib=8)
    claim = Claim(node_id=node.id, incarnation=1, ticket="t")

    with pytest.raises(Forbidden, match="24 GB"):
        bench.ledger.claim(claim, ticket_lane="public", ticket_class=24)
    with pytest.raises(Forbidden, match="lane private"):
        bench.ledger.claim(claim, ticket_lane="private", ticket_class=8)


def test_an_older_incarnation_may_not_claim(bench: Bench) -> None:
    bench.submit(placed(1))
    old = bench.join()
    bench.join()

    with pytest.raises(Gone, match="started again"):
        old.claim()


def test_a_node_that_never_joined_may_not_claim(bench: Bench) -> None:
    stranger = Holder(bench, JoinedNode(node_id="stranger", incarnation=1, vram_class=8, lanes=("public",)))
    with pytest.raises(NotFound, match="join"):
        stranger.claim()


def test_a_card_never_gets_shots_of_a_larger_class(bench: Bench) -> None:
    bench.submit(placed(4, min_class=24))
    small, large = bench.join("small", 8), bench.join("large", 24)

    refused = small.claim().nothing
    assert refused is not None
    assert "24 GB" in refused.reason
    assert large.claim().lease is not None


def test_a_shot_that_does_not_fit_this_very_card_is_not_given_to_it(bench: Bench) -> None:
    bench.submit(placed(1, min_class=8, width=4096))
    refused = bench.join(vram_gib=8).claim().nothing

    assert refused is not None
    assert "4096 pixels need 24 GB" in refused.reason


def test_a_node_gets_only_models_and_loras_that_it_holds(bench: Bench) -> None:
    bench.submit(placed(1, model="rare"))
    bench.submit(placed(1, loras=(lora("ana"),)))
    node = bench.join(models=("tiny",))
    assert node.claim().nothing is not None

    fuller = bench.join("fuller", models=("tiny",), loras=("ana",))
    assert [one.spec["loras"][0][0] for one in fuller.lease().shots] == ["ana"]


def test_a_node_gets_no_shots_for_whose_recipe_it_has_no_file(bench: Bench) -> None:
    bench.submit(placed(1))
    lacking = bench.join(missing_recipes={"tiny": ("bf16",)})
    assert bench.ledger.warrants() == {}
    refused = lacking.claim().nothing
    assert refused is not None
    assert "the file for recipe bf16 of model tiny is not on this node" in refused.reason

    assert bench.join("other", missing_recipes={"tiny": ("fp8",), "another": ("bf16",)}).claim().lease


def test_a_lane_of_its_own_is_served_by_its_nodes_only(bench: Bench) -> None:
    bench.submit(placed(1), lane="ana")
    assert bench.join().claim().nothing is not None

    own = bench.join("own", lanes=("public", "ana"))
    assert own.claim(lane="public").nothing is not None
    assert own.claim(lane="ana").lease is not None


def test_the_model_in_memory_is_kept(bench: Bench) -> None:
    bench.submit([*placed(4), *placed(4, model="other")])

    lease = bench.join().lease(loaded_model="other")

    assert lease.model == "other"


def test_the_first_batch_is_one_pass_and_the_next_what_the_measured_speed_allows(bench: Bench) -> None:
    bench.submit(placed(400))
    node = bench.join()
    first = node.lease()
    assert len(first.shots) == 2
    bench.finish(first, work(3.0))

    second = node.lease()

    assert len(second.shots) == 40  # 120 s at 3 s an image


def _serve(bench: Bench, node: Holder, batches: int) -> list[str]:
    """Whose shots the node is given, batch by batch."""
    served = []
    for _ in range(batches):
        lease = node.lease()
        served.append(next(row.job_id for row in bench.rows(attempts) if row.batch_id == lease.batch_id))
        bench.finish(lease, work(60.0))
    return served


def test_a_newcomer_shares_with_the_job_in_work_though_an_older_one_got_little(bench: Bench) -> None:
    node = bench.join()
    bench.submit(placed(2))
    _serve(bench, node, 1)
    old = bench.submit(placed(30, first=100)).job_id
    _serve(bench, node, 6)

    new = bench.submit(placed(30, first=200)).job_id

    assert sorted(_serve(bench, node, 4)) == sorted([old, new] * 2)


def test_ten_shots_of_one_owner_do_not_wait_for_the_many_jobs_of_another(bench: Bench) -> None:
    node = bench.join()
    for first in (1000, 2000, 3000):
        bench.submit(placed(500, first=first), owner="studio")
    _serve(bench, node, 6)

    shop = bench.submit(placed(10), owner="shop").job_id

    assert {*_serve(bench, node, 2)} == {shop}


def test_a_new_coordinator_knows_what_owners_had_lately(bench: Bench) -> None:
    node = bench.join()
    bench.submit(placed(30), owner="studio")
    _serve(bench, node, 3)
    before = bench.use_of("studio")

    bench.restart()

    assert bench.use_of("studio") == pytest.approx(before)
    assert before > 0


def test_a_batch_counts_for_its_owner_what_it_took_once_it_is_over(bench: Bench) -> None:
    bench.submit(placed(40), owner="studio")
    node = bench.join()
    bench.finish(node.lease(), work(60.0))
    assert bench.use_of("studio") == pytest.approx(120.0), "nothing told before what the first pass took"

    lease = node.lease()
    assert bench.use_of("studio") == pytest.approx(120.0 + 60.0 * len(lease.shots))
    bench.close(lease, "released", spent=work(5.0))

    assert bench.use_of("studio") == pytest.approx(125.0)


def test_what_was_in_hand_at_a_restart_counts_for_its_owner_in_the_end(bench: Bench) -> None:
    bench.submit(placed(40), owner="studio")
    node = bench.join()
    lease = node.lease()
    attempt = bench.deliver(lease, spent=work(30.0)).attempt_id
    bench.restart()
    assert bench.use_of("studio") == pytest.approx(30.0)

    bench.store(attempt)
    bench.store(bench.deliver(lease, 1, work(20.0)).attempt_id)
    bench.close(lease, load=Spent(seconds={"load": 4.0}))

    assert bench.use_of("studio") == pytest.approx(54.0)


def test_a_cancelled_job_counts_for_its_owner_what_it_had(bench: Bench) -> None:
    job = bench.submit(placed(40), owner="studio").job_id
    node = bench.join()
    bench.finish(node.lease(), work(60.0))
    lease = node.lease()
    bench.ledger.cancel_job(job)

    bench.close(lease, "released", spent=work(3.0))

    assert bench.use_of("studio") == pytest.approx(123.0)


def test_resuming_an_active_job_gives_it_no_second_share(bench: Bench) -> None:
    node = bench.join()
    one = bench.submit(placed(30)).job_id
    _serve(bench, node, 3)
    bench.submit(placed(30, first=100))
    _serve(bench, node, 1)
    before = bench.open_job(one).service_s

    bench.ledger.resume_job(one)

    assert bench.open_job(one).service_s == before > 0


def test_a_job_that_changes_its_priority_shares_with_its_new_rivals(bench: Bench) -> None:
    node = bench.join()
    late = bench.submit(placed(30)).job_id
    first = bench.submit(placed(30, first=100), priority=80).job_id
    _serve(bench, node, 6)

    bench.ledger.prioritise_job(late, 80)

    assert first in _serve(bench, node, 4)


def test_what_is_in_hand_is_reserved_of_the_budget(bench: Bench) -> None:
    nodes = [bench.join("a"), bench.join("b")]
    bench.submit(placed(4))
    for node in nodes:
        bench.finish(node.lease(), Spent(seconds={"denoise": 60.0}))
    per_image = bench.rows(attempts)[0].cost
    job = bench.submit(placed(40, first=100), max_cost=3.5 * per_image).job_id

    given = [len(node.lease().shots) for node in nodes]

    assert given == [2, 1]
    bench.restart()
    assert bench.open_job(job).reserved == pytest.approx(3 * per_image, rel=1e-6)


def test_batches_shrink_towards_the_end(bench: Bench) -> None:
    bench.submit(placed(40))
    node, _other = bench.join(), bench.join("other")
    bench.finish(node.lease(), work(3.0))

    assert len(node.lease().shots) == 8  # a quarter of the 38 that are left, in whole passes


def test_a_failed_shot_goes_to_another_node_where_one_can_take_it(bench: Bench) -> None:
    bench.submit(placed(1))
    node, other = bench.join(), bench.join("other")
    lease = node.lease()
    bench.fail(lease, "flat_image")
    bench.close(lease)

    refused = node.claim().nothing
    assert refused is not None
    assert "another tries them" in refused.reason
    assert len(other.lease().shots) == 1


def test_a_failed_shot_goes_to_the_same_node_after_a_while_where_there_is_no_other(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    lease = node.lease()
    bench.fail(lease, "flat_image")
    bench.close(lease)

    refused = node.claim().nothing
    assert refused is not None
    assert "after 30 s" in refused.reason
    bench.rest()
    assert len(node.lease().shots) == 1


def test_a_batch_that_failed_whole_is_not_tried_again_at_once(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    bench.close(node.lease(), "failed", failure="lora_rejected")

    assert node.claim().lease is None
    bench.rest()
    assert node.claim().lease is not None


def test_a_failure_that_was_not_the_shots_lets_it_be_tried_there_at_once(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join()
    _fail_once(bench, node, "upload_failed")

    assert len(node.lease().shots) == 1


def test_a_failure_of_the_farms_own_keeps_a_shot_from_no_node(bench: Bench) -> None:
    bench.submit(placed(1))
    node, _ = bench.join(), bench.join("other")
    _fail_once(bench, node, "store_unavailable")

    assert len(node.lease().shots) == 1


def _fail_once(bench: Bench, node: Holder, kind: str) -> None:
    lease = node.lease()
    bench.fail(lease, kind)
    bench.close(lease)


def test_a_shot_that_failed_on_every_node_is_tried_on_any_whatever_the_kinds(bench: Bench) -> None:
    bench.submit(placed(1))
    node, other = bench.join(), bench.join("other")
    _fail_once(bench, node, "render_error")
    _fail_once(bench, other, "upload_failed")

    bench.rest()
    _fail_once(bench, node, "render_error")
    assert len(other.lease().shots) == 1


def test_a_requeued_shot_that_failed_on_every_node_is_tried_again(bench: Bench) -> None:
    job = bench.submit(placed(1))
    node, other = bench.join(), bench.join("other")
    for one in (node, other, node):
        _fail_once(bench, one, "flat_image")
        bench.rest()
    bench.ledger.requeue_job(job.job_id)
    _fail_once(bench, node, "flat_image")

    bench.rest()
    assert len(node.lease().shots) == 1


def test_a_failed_shot_waits_for_no_node_whose_card_cannot_take_it(bench: Bench) -> None:
    bench.submit(placed(1, width=4096))
    node = bench.join(vram_gib=24)
    bench.join("small")
    _fail_once(bench, node, "flat_image")

    bench.rest()
    assert len(node.lease().shots) == 1


def test_a_claim_with_a_new_ticket_gives_back_what_the_node_held(bench: Bench) -> None:
    job = bench.submit(placed(2))
    node = bench.join()
    first = node.lease()

    second = node.lease()

    assert {one.id for one in second.shots} == {one.id for one in first.shots}
    assert bench.counts(job.job_id) == {"running": 2}
    with pytest.raises(Gone):
        bench.deliver(first)


def test_a_claim_that_waited_takes_nothing_from_the_node(bench: Bench) -> None:
    bench.submit(placed(2))
    node = bench.join()
    lease = node.lease()

    stale = Claim(node_id=node.id, incarnation=1, ticket="stale")
    answer = bench.ledger.claim(stale, ticket_lane="public", ticket_class=8, waited=True)

    assert answer.nothing is not None
    assert node.beat(lease).order == "go on"


def test_an_empty_backlog_is_answered_with_a_sentence(bench: Bench) -> None:
    nothing = bench.join().claim().nothing
    assert nothing is not None
    assert nothing.reason == "no work waits in lane public"


def test_a_hundred_claims_at_once_never_share_a_shot(bench: Bench) -> None:
    bench.submit(placed(240))
    nodes = [bench.join(f"node-{number}") for number in range(100)]
    given: list[str] = []
    start = threading.Barrier(len(nodes))

    def claim(node: Holder) -> None:
        start.wait()
        lease = node.claim().lease
        if lease is not None:
            given.extend(one.id for one in lease.shots)

    threads = [threading.Thread(target=claim, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(given) == 200
    assert max(Counter(given).values()) == 1
    assert Counter(row.shot_id for row in bench.rows(attempts)) == Counter(given)


def test_work_that_appears_is_announced_and_work_that_goes_is_not(bench: Bench) -> None:
    calls: list[str] = []
    bench.ledger.on_work(lambda: calls.append("work"))

    bench.submit(placed(2))
    assert calls == ["work"]
    lease = bench.join().lease()
    assert calls == ["work"]
    bench.close(lease, "released")
    assert calls == ["work", "work"]


def test_warrants_count_ready_nodes_that_something_waits_for(bench: Bench) -> None:
    assert bench.ledger.warrants() == {}
    bench.submit(placed(10))
    bench.submit(placed(1, model="other", min_class=24))
    for name, gib in (("a", 8), ("b", 8), ("c", 24), ("d", 6)):
        bench.join(name, gib)
    bench.join("e", 8, models=())

    assert bench.ledger.warrants() == {("public", 8): 2, ("public", 24): 1}
    bench.join("a").lease()
    assert bench.ledger.warrants() == {("public", 8): 1, ("public", 24): 1}


def test_warrants_never_pass_the_images_that_wait(bench: Bench) -> None:
    bench.submit(placed(1))
    for name in ("a", "b", "c"):
        bench.join(name)

    assert bench.ledger.warrants() == {("public", 8): 1}


def test_a_restarted_coordinator_knows_the_same_backlog(bench: Bench) -> None:
    bench.submit([*placed(4), PlacedShot(planned(shot(99, model="other")), 24)])
    bench.join()
    before = bench.ledger.totals().waiting

    bench.restart()

    assert bench.ledger.totals().waiting == before == {("public", 8): 4, ("public", 24): 1}


def test_a_shot_that_a_node_died_with_is_rendered_last_and_alone(bench: Bench) -> None:
    bench.past_the_grace()
    bench.submit(placed(4))
    node = bench.join()
    lease = node.lease()
    node.beat(lease, spent=work(1.0))
    died_with = {one.id for one in lease.shots}
    node = bench.join()

    leases = []
    for _ in range(3):
        leases.append(node.lease())
        bench.finish(leases[-1])

    assert [len(lease.shots) for lease in leases] == [2, 1, 1]
    assert not died_with & {one.id for one in leases[0].shots}


def test_the_pass_that_was_running_is_suspected_though_steps_differ_from_shot_to_shot(bench: Bench) -> None:
    bench.past_the_grace()
    node = bench.join()
    bench.submit(placed(1))
    bench.finish(node.lease(), work(3.0))
    bench.submit([PlacedShot(planned(shot(seed, steps=10 + seed % 2)), 8) for seed in range(10, 14)])
    lease = node.lease()
    node.beat(lease, spent=work(1.0))
    bench.join()

    assert [one.spec["steps"] for one in lease.shots] == [10, 10, 11, 11]
    assert [bench.shot_row(one.id).crashes for one in lease.shots] == [1, 1, 0, 0]


def test_shots_of_a_batch_that_never_began_are_no_suspects(bench: Bench) -> None:
    bench.submit(placed(2))
    lease = bench.join().lease()

    assert len(bench.join().lease().shots) == 2
    assert {bench.shot_row(one.id).crashes for one in lease.shots} == {0}


def test_a_shot_in_hand_each_time_that_the_whole_farm_is_killed_is_no_suspect(bench: Bench) -> None:
    bench.submit(placed(1))
    for _ in range(3):
        bench.past_the_grace()
        node = bench.join()
        lease = node.lease()
        node.beat(lease, spent=work(1.0))
        bench.restart()
        bench.join()

    shot = bench.shot_row(lease.shots[0].id)
    assert (shot.state, shot.crashes) == ("waiting", 0)


def test_a_shot_that_engines_die_with_every_time_is_poison(bench: Bench) -> None:
    job = bench.submit(placed(1))
    for name in ("a", "b", "c"):
        lease = bench.join(name).lease()
        bench.close(lease, "failed", failure="engine_died", spent=work(1.0))

    assert bench.counts(job.job_id) == {"failed": 1}
    assert bench.ledger.job(job.job_id).failures[0].kind == "poison"
    assert bench.ledger.requeue_job(job.job_id) == 1


def test_a_node_whose_engine_always_dies_is_quarantined_before_it_spoils_a_shot(bench: Bench) -> None:
    job = bench.submit(placed(20))
    node = bench.join()
    bench.past_the_grace()
    while (lease := node.claim().lease) is not None:
        bench.close(lease, "failed", failure="engine_died", spent=work(1.0))

    assert bench.node_state() == "quarantined"
    assert bench.counts(job.job_id) == {"waiting": 20}
