"""Claims: a ticket becomes a lease, at once or when work appears."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from common.keys import TicketSigner
from common.messages import Claim, ClaimAnswer
from tests.farm import DEADLINE_S, MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm, until
from tests.integration.api.calls import parked, refused, submit
from tests.integration.api.conftest import JoinAs
from tests.scrape import counted, refusals
from tests.servers import ValkeyServer

SIGNER = TicketSigner("ticket-key")
NODES = 100


def test_a_ticket_becomes_a_lease_over_the_waiting_shots(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    lease = node.lease()
    assert lease.model == "tiny"
    assert {shot.spec["prompt"] for shot in lease.shots} <= {"a red mug", "a blue mug"}


def test_no_ticket_no_claim(farm: RunningFarm, operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    with refusals(farm, ticket=3):
        for ticket in ("", "made.up.8.0123", SIGNER.issue("public", 8).text[:-1]):
            claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
            refused(node.http.post("/v1/claims", json=claim.model_dump()), 403)


@pytest.mark.parametrize(("lane", "vram_class"), [("public", 24), ("studio", 8)])
def test_a_ticket_of_another_class_or_lane_is_refused(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, lane: str, vram_class: int
):
    submit(operator)
    ticket = SIGNER.issue(lane, vram_class).text
    claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
    with refusals(farm, ticket=1):
        refused(node.http.post("/v1/claims", json=claim.model_dump()), 403)


def test_a_ticket_is_good_for_one_lease_which_it_gives_again(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode
):
    submit(operator)
    ticket = SIGNER.issue("public", 8).text
    first, again = node.claim(ticket).lease, node.claim(ticket).lease
    assert first is not None
    assert again is not None
    assert (again.batch_id, again.token) == (first.batch_id, first.token)
    node.close(first)
    claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
    with refusals(farm, conflict=1):
        refused(node.http.post("/v1/claims", json=claim.model_dump()), 409)


def test_a_waiting_claim_is_answered_when_work_appears(operator: httpx.Client, node: ScriptedNode):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(node.claim, SIGNER.issue("public", 8).text)
        until(lambda: parked(operator))
        assert not waiting.done()
        submit(operator)
        assert waiting.result(DEADLINE_S).lease is not None


def test_a_node_that_hangs_up_while_it_waits_is_given_nothing(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode
):
    claim = Claim(
        node_id=node.joined.node_id,
        incarnation=node.joined.incarnation,
        ticket=SIGNER.issue("public", 8).text,
    )
    with ThreadPoolExecutor(1) as pool:
        hung_up = pool.submit(node.http.post, "/v1/claims", json=claim.model_dump(), timeout=1)
        until(lambda: parked(operator))
        with pytest.raises(httpx.ReadTimeout):
            hung_up.result(DEADLINE_S)
    until(lambda: not parked(operator))
    submit(operator)
    assert operator.get("/v1/nodes").json()[0]["batch_id"] is None
    assert node.lease().shots


def test_a_nodes_newer_claim_ends_its_older_one(tmp_path: Path, own_valkey: ValkeyServer):
    patient = QUICK.model_copy(update={"claim_wait_s": 2 * DEADLINE_S})
    with (
        running_farm(tmp_path, own_valkey.url, timing=patient) as farm,
        farm.client() as operator,
        ThreadPoolExecutor(2) as pool,
    ):
        node = ScriptedNode(farm)
        older = pool.submit(node.claim, SIGNER.issue("public", 8).text, wait_s=2 * DEADLINE_S)
        until(lambda: parked(operator))
        newer = pool.submit(node.claim, SIGNER.issue("public", 8).text, wait_s=2 * DEADLINE_S)
        assert older.result(DEADLINE_S / 2).lease is None
        assert parked(operator)
        submit(operator)
        lease = newer.result(DEADLINE_S).lease
        assert lease is not None
        node.close(lease)
        node.leave()


def test_a_claim_that_waited_in_vain_says_why(node: ScriptedNode):
    answer = node.claim(SIGNER.issue("public", 8).text, wait_s=0.2)
    assert answer.lease is None
    assert answer.nothing is not None
    assert answer.nothing.reason


# A hundred at once


def test_of_a_hundred_claims_at_once_each_shot_is_in_one_lease(operator: httpx.Client, joined: JoinAs):
    manifest = MANIFEST.replace("seeds: 2", "seeds: 200")
    operator.post("/v1/jobs", json={"manifest": manifest}).raise_for_status()
    nodes = [joined(f"node-{number}") for number in range(NODES)]
    with ThreadPoolExecutor(NODES) as pool:
        answers = list(pool.map(lambda node: node.claim(SIGNER.issue("public", 8).text, wait_s=0), nodes))
    leases = [answer.lease for answer in answers if answer.lease]
    assert len({lease.batch_id for lease in leases}) == len({lease.token for lease in leases}) == len(leases)
    times = Counter(shot.id for lease in leases for shot in lease.shots)
    assert set(times.values()) == {1}
    running = operator.get("/v1/jobs").json()["jobs"][0]["counts"]
    assert running["running"] == len(times)
    assert all(answer.nothing for answer in answers if not answer.lease)


def test_of_a_hundred_claims_with_one_ticket_one_makes_a_lease(
    farm: RunningFarm, joined: JoinAs, node: ScriptedNode, job: str
):
    others = [joined(f"thief-{number}") for number in range(9)]
    ticket = SIGNER.issue("public", 8).text

    def claim(one: ScriptedNode) -> httpx.Response:
        joined = one.joined
        message = Claim(node_id=joined.node_id, incarnation=joined.incarnation, ticket=ticket, wait_s=0)
        return one.http.post("/v1/claims", json=message.model_dump(), timeout=DEADLINE_S)

    with ThreadPoolExecutor(NODES) as pool:
        answers = list(pool.map(claim, [node, *others] * (NODES // 10)))
    given = {
        lease.batch_id
        for answer in answers
        if answer.status_code == 200 and (lease := ClaimAnswer.model_validate_json(answer.content).lease)
    }
    assert len(given) == 1
    late = [answer for answer in answers if answer.status_code != 200]
    assert late
    assert all("has been used" in refused(answer, 409) for answer in late)
    assert counted(farm, "farm_refusals", reason="conflict") == len(late)
