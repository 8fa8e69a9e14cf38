"""Embedded texts: a node without room for the text encoder takes shots whose embeddings are in the store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from common.embeddings import Embedded
from common.fit import Seen
from common.messages import ClaimAnswer, Lease, Spent
from common.nodes import Card
from common.shot import Shot
from coordinator.ledger import PlacedShot
from coordinator.ledger.schema import batches
from coordinator.scheduling.placing import Placement, Unencoded
from tests.contract.ledger.bench import Bench, Holder, placed
from tests.contract.ledger.saying import said

DTYPES = {"text_encoder": "bfloat16"}
VERSIONS = {"diffusers": "1", "transformers": "2"}
EMBEDDED = Embedded(DTYPES, VERSIONS)


def place(one: Shot, card: Card, seen: Seen) -> Placement | str:
    """The text encoder needs a card of 12 GB."""
    if card.vram_class >= 12:
        return Placement("bf16", 2, pace_s=1.0)
    if seen.embedded == DTYPES:
        return Placement("bf16", 2, pace_s=1.0, encodes=False)
    why = f"{card.name} has no room for the text encoder; it can once others have encoded"
    return Unencoded(why, {"bf16": DTYPES}) if seen.embedded is None else why


def texts(shots: Sequence[PlacedShot], *keys: str) -> list[PlacedShot]:
    """The shots with texts of these keys in turn."""
    return [one._replace(texts=keys[number % len(keys)]) for number, one in enumerate(shots)]


@pytest.fixture
def farm(bench: Bench) -> Bench:
    bench.restart(place=place)
    return bench


@pytest.fixture
def large(farm: Bench) -> Holder:
    return farm.join("large", 12, versions=VERSIONS)


@pytest.fixture
def small(farm: Bench) -> Holder:
    return farm.join("small", 8, versions=VERSIONS)


def encoded(farm: Bench, large: Holder) -> Lease:
    """A batch whose embeddings the large node stored; its other shots wait again."""
    lease = large.lease()
    farm.ledger.embeddings.note_batch(lease.batch_id, EMBEDDED)
    farm.close(lease, "released")
    return lease


def refusal(answer: ClaimAnswer) -> str:
    assert answer.nothing is not None
    return answer.nothing.reason


def test_a_node_without_an_encoder_takes_what_is_embedded_and_nothing_else(
    farm: Bench, large: Holder, small: Holder
) -> None:
    farm.submit(texts(placed(6), "a", "a", "b"))
    assert "no room for the text encoder" in refusal(small.claim())
    first = large.lease()
    assert first.encodes
    # Both shots of the batch have the texts `a`.
    farm.ledger.embeddings.note_batch(first.batch_id, EMBEDDED)
    lease = small.lease()
    assert not lease.encodes
    assert {farm.shot_row(one.id).texts for one in lease.shots} == {"a"}
    farm.finish(lease)
    assert "no room for the text encoder" in refusal(small.claim())
    farm.finish(first)
    assert len(large.lease().shots) == 2


def test_a_node_without_an_encoder_is_told_who_encodes_for_it_and_what_that_one_does_first(
    farm: Bench, small: Holder
) -> None:
    job = farm.submit(texts(placed(6), "a", "b")).job_id
    assert "it can once others have encoded; no such node is in service." in said(farm, "small")
    farm.join("other", 12, versions=VERSIONS | {"diffusers": "2"})
    assert "; no such node is in service." in said(farm, "small")
    farm.join("large", 12, versions=VERSIONS)
    assert f"encoded: node large does, beside its next batch of job {job}." in said(farm, "small")
    urgent = farm.submit(placed(9, first=50, model="other", min_class=12), priority=90).job_id
    assert f"encoded: node large does, once it renders job {job}; job {urgent} comes first there." in said(
        farm, "small"
    )


def ahead(farm: Bench, lease: Lease, *besides: str, embedded: Embedded = EMBEDDED) -> list[str]:
    """Texts of shots that the large node encodes beside its batch."""
    return [*farm.ledger.embeddings.ahead(lease.batch_id, "large", embedded, besides)[0]]


def test_texts_are_encoded_ahead_for_nodes_without_an_encoder(
    farm: Bench, large: Holder, small: Holder
) -> None:
    farm.submit(texts(placed(8), "a", "b", "c", "d"))
    lease = large.lease()
    assert {farm.shot_row(one.id).texts for one in lease.shots} == {"a", "b"}
    # The last first: the node renders the others itself, unless it is helped.
    assert ahead(farm, lease) == ["d", "c", "b", "a"]
    assert ahead(farm, lease, "b", "d") == ["c", "a"]
    farm.ledger.embeddings.note_texts(["c", "d"], EMBEDDED)
    stored = farm.ledger.embeddings.stored(["a", "c", "d", "e"])
    assert stored == {"c": EMBEDDED, "d": EMBEDDED}
    found = small.lease()
    assert not found.encodes
    assert {farm.shot_row(one.id).texts for one in found.shots} == {"c", "d"}
    farm.finish(lease)
    # What only it can take goes first.
    assert {farm.shot_row(one.id).texts for one in large.lease().shots} == {"a", "b"}


def test_a_batch_is_leased_until_it_is_closed(farm: Bench, large: Holder) -> None:
    farm.submit(texts(placed(8), "a", "b"))
    lease = large.lease()
    nodes = {lease.batch_id: "large", "b-0": "large", "b-1": "gone"}
    assert farm.ledger.batches.leased(nodes) == {lease.batch_id}
    farm.restart()
    assert farm.ledger.batches.leased(nodes) == {lease.batch_id}
    farm.close(lease, "released")
    assert farm.ledger.batches.leased(nodes) == set()


def test_nothing_is_encoded_ahead_if_it_helps_nobody(farm: Bench, large: Holder) -> None:
    farm.submit(texts(placed(8), "a", "b"))
    lease = large.lease()
    assert ahead(farm, lease) == []
    newer = farm.join("newer", 8, versions=VERSIONS | {"diffusers": "2"})
    elsewhere = farm.join("elsewhere", 8, versions=VERSIONS, lanes=("other",))
    assert ahead(farm, lease) == []
    small = farm.join("small", 8, versions=VERSIONS)
    assert ahead(farm, lease) == ["b", "a"]
    assert ahead(farm, lease, embedded=Embedded({"text_encoder": "float32"}, VERSIONS)) == []
    for one in (newer, elsewhere, small):
        farm.ledger.nodes.drain(one.id)
    assert ahead(farm, lease) == []


def test_only_texts_of_the_same_work_are_encoded_ahead(farm: Bench, large: Holder, small: Holder) -> None:
    farm.submit(texts(placed(4), "a"), priority=90)
    farm.submit(texts(placed(4, first=10, model="other"), "b"))
    farm.submit(texts(placed(4, first=20), "c"), owner="ben")
    lease = large.lease()
    assert ahead(farm, lease) == ["a"]
    farm.close(lease, "finished")
    assert ahead(farm, lease) == []


def test_encoding_ahead_takes_a_small_part_of_the_batch_and_of_its_budget(
    farm: Bench, large: Holder, small: Holder
) -> None:
    farm.submit(texts(placed(8), "a"))
    lease = large.lease()
    _, seconds = farm.ledger.embeddings.ahead(lease.batch_id, "large", EMBEDDED, ())
    # A megapixel-forward takes a second, an image has ten.
    assert seconds == pytest.approx(len(lease.shots) * 10 / 10)
    farm.close(lease, "released")
    job_id = farm.submit(texts(placed(8, first=20), "b"), priority=90, max_cost=100.0).job_id
    lease = large.lease()
    assert ahead(farm, lease) == ["b"]
    with farm.ledger.transactions.backlog() as backlog:
        job = backlog.jobs[job_id]
        job.max_cost = job.cost + sum(job.reserved.values())
    assert ahead(farm, lease) == []


def test_what_encoding_ahead_takes_is_paid_as_loading(farm: Bench, large: Holder, small: Holder) -> None:
    farm.submit(texts(placed(2), "a"))
    lease = large.lease()
    for index in range(len(lease.shots)):
        farm.deliver(lease, index)
    load = Spent(joules=500.0, seconds={"load": 20.0, "encode": 5.0})
    farm.close(lease, "finished", load=load)
    (batch,) = farm.rows(batches)
    assert (batch.loads, batch.load_s, batch.lost_s, batch.load_joules) == (1, 25.0, 0.0, 500.0)
    with farm.ledger.transactions.backlog() as backlog:
        # Loading the model takes as long as before.
        assert backlog.known("large").loads == {"tiny": 20.0}


def test_a_node_with_an_encoder_takes_what_is_embedded_too(farm: Bench, large: Holder) -> None:
    farm.submit(texts(placed(2), "a"))
    encoded(farm, large)
    lease = large.lease()
    assert (lease.encodes, len(lease.shots)) == (True, 2)


def test_other_versions_of_the_libraries_make_other_embeddings(farm: Bench, large: Holder) -> None:
    farm.submit(texts(placed(2), "a"))
    encoded(farm, large)
    newer = farm.join("newer", 8, versions=VERSIONS | {"diffusers": "2"})
    assert "other versions of the libraries" in refusal(newer.claim())


def test_new_shots_with_texts_that_are_embedded_need_no_encoder(
    farm: Bench, large: Holder, small: Holder
) -> None:
    farm.submit(texts(placed(2), "a"))
    encoded(farm, large)
    farm.finish(large.lease())
    farm.submit(texts(placed(2, first=10), "a", "b"))
    assert len(small.lease().shots) == 1


def test_shots_whose_embeddings_have_gone_wait_for_an_encoder_without_blame(
    farm: Bench, large: Holder, small: Holder
) -> None:
    farm.submit(texts(placed(4), "a"))
    encoded(farm, large)
    lease = small.lease()
    farm.ledger.embeddings.forget_batch(lease.batch_id)
    farm.close(lease, "released", message="2 embeddings cannot be had from the store")
    assert "no room for the text encoder" in refusal(small.claim())
    rows = farm.rows_of_shots()
    assert {(row.attempts, row.crashes, row.failure) for row in rows} == {(0, 0, "")}
    assert farm.node_state("small") == "ready"
    assert len(large.lease().shots) == 2


def test_a_restarted_coordinator_knows_what_is_embedded(farm: Bench, large: Holder, small: Holder) -> None:
    farm.submit(texts(placed(4), "a", "b"))
    farm.ledger.embeddings.note_batch(large.lease().batch_id, EMBEDDED)
    before = farm.backlog_lines()
    farm.restart()
    assert farm.backlog_lines() == before


def test_embeddings_count_as_long_as_they_are_kept(farm: Bench, large: Holder, small: Holder) -> None:
    farm.submit(texts(placed(2), "a"))
    encoded(farm, large)
    farm.ledger.embeddings.forget_before(farm.clock.now)
    lease = small.lease()
    farm.close(lease, "released")
    farm.ledger.embeddings.forget_before(farm.clock.now + 1)
    assert "no room for the text encoder" in refusal(small.claim())
