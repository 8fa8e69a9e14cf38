"""Claims: who gets what, once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from common.errors import Conflict, Forbidden, Gone, NotFound
from common.messages import Claim
from coordinator.ledger import JoinedNode
from coordinator.ledger.schema import attempts, batches
from tests.contract.ledger.bench import Bench, Holder, placed, work


def test_a_claim_moves_its_shots_and_names_recipe_and_pass(bench: Bench) -> None:
    job = bench.submit(placed(2))

    lease = bench.join().lease()

    assert (lease.model, lease.recipe, lease.pass_size) == ("tiny", "bf16", 2)
    assert bench.counts(job.job_id) == {"running": 2}
    assert bench.ledger.jobs.view(job.job_id).running == {"node": 2}
    assert bench.node_state() == "busy"
    assert bench.transitions(lease.shots[0].id) == ["claimed"]


def test_a_lease_tells_how_many_images_like_its_own_the_node_will_render(bench: Bench) -> None:
    bench.submit(placed(40))
    bench.submit(placed(30, first=100, steps=9))
    node, other = bench.join(), bench.join("other")

    first, second = node.lease(), other.lease()

    # The rest is shared by two.
    assert first.remaining == len(first.shots) + (40 - len(first.shots)) // 2
    assert second.remaining > len(second.shots)


def test_the_same_ticket_of_the_same_incarnation_gives_the_same_lease(bench: Bench) -> None:
    bench.submit(placed(8))
    node = bench.join()

    assert node.claim("t").lease == node.claim("t").lease
    assert len(bench.rows(batches)) == 1


def test_a_node_without_tickets_gets_work_of_any_of_its_lanes_once(bench: Bench) -> None:
    bench.submit(placed(4), lane="studio")
    node, other = bench.join(lanes=("public", "studio")), bench.join("other", lanes=())
    claim = Claim(node_id="node", incarnation=node.joined.incarnation, ticket="node/1")

    first = bench.ledger.batches.claim(claim, ticket_lane=None)
    again = bench.ledger.batches.claim(claim, ticket_lane=None)

    assert first.lease is not None
    assert first == again
    assert [row.lane for row in bench.rows(batches)] == ["studio"]
    idle = claim.model_copy(update={"node_id": "other", "ticket": "other/1"})
    nothing = bench.ledger.batches.claim(idle, ticket_lane=None).nothing
    assert nothing is not None
    assert nothing.reason == "node other serves no lane"
    assert other.joined.incarnation == idle.incarnation


def test_a_ticket_is_spent_by_its_first_claim(bench: Bench) -> None:
    bench.submit(placed(8))
    node, other = bench.join(), bench.join("other")
    lease = node.lease(ticket="t")

    with pytest.raises(Conflict, match="has been used"):
        other.claim("t")
    bench.close(lease)
    with pytest.raises(Conflict, match="has been used"):
        node.claim("t")


def test_a_ticket_that_two_nodes_claim_at_once_is_spent_by_one(bench: Bench) -> None:
    bench.submit(placed(8))
    node, other = bench.join(), bench.join("other")
    node.lease()
    claimed = []
    # What the node gives back is announced halfway through its claim.
    bench.ledger.commits.on_work(lambda: claimed.append(other.claim("t").lease))

    with pytest.raises(Conflict, match="has been used"):
        node.claim("t")

    assert claimed[0] is not None


def test_a_ticket_of_another_class_or_lane_is_refused(bench: Bench) -> None:
    bench.submit(placed(1))
    node = bench.join(vram_gib=8)
    claim = Claim(node_id=node.id, incarnation=1, ticket="t")

    with pytest.raises(Forbidden, match="24 GB"):
        bench.ledger.batches.claim(claim, ticket_lane="public", ticket_class=24)
    with pytest.raises(Forbidden, match="lane private"):
        bench.ledger.batches.claim(claim, ticket_lane="private", ticket_class=8)


def test_an_older_incarnation_may_not_claim(bench: Bench) -> None:
    bench.submit(placed(1))
    old = bench.join()
    bench.join()

    with pytest.raises(Gone, match="was restarted"):
        old.claim()


def test_a_node_that_never_joined_may_not_claim(bench: Bench) -> None:
    facts = {"vram_class": 8, "lanes": ("public",), "owner": "farm", "terms": "owned"}
    stranger = Holder(bench, JoinedNode(node_id="stranger", incarnation=1, **facts))
    with pytest.raises(NotFound, match="join"):
        stranger.claim()


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
    answer = bench.ledger.batches.claim(stale, ticket_lane="public", ticket_class=8, waited=True)

    assert answer.nothing is not None
    assert node.beat(lease).order == "go on"


def test_an_empty_backlog_is_answered_with_a_sentence(bench: Bench) -> None:
    nothing = bench.join().claim().nothing
    assert nothing is not None
    assert nothing.reason == "lane public has no waiting work"


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


def test_batches_shrink_towards_the_end(bench: Bench) -> None:
    bench.submit(placed(40))
    node, _other = bench.join(), bench.join("other")
    bench.finish(node.lease(), work(3.0))

    assert len(node.lease().shots) == 8  # a quarter of the 38 that are left, in whole passes
