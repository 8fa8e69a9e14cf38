"""Claims: a ticket becomes a lease, at once or when work appears."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from common.keys import TicketSigner
from common.messages import Claim
from tests.farm import DEADLINE_S, QUICK, RunningFarm, ScriptedNode, running_farm, until
from tests.integration.api.calls import parked, refused, submit
from tests.servers import ValkeyServer

SIGNER = TicketSigner("ticket-key")


def test_a_ticket_becomes_a_lease_over_the_waiting_shots(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    lease = node.lease()
    assert lease.model == "tiny"
    assert {shot.spec["prompt"] for shot in lease.shots} <= {"a red mug", "a blue mug"}


def test_no_ticket_no_claim(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    for ticket in ("", "made.up.8.0123", SIGNER.issue("public", 8).text[:-1]):
        claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
        refused(node.http.post("/v1/claims", json=claim.model_dump()), 403)


@pytest.mark.parametrize(("lane", "vram_class"), [("public", 24), ("studio", 8)])
def test_a_ticket_of_another_class_or_lane_is_refused(
    operator: httpx.Client, node: ScriptedNode, lane: str, vram_class: int
):
    submit(operator)
    ticket = SIGNER.issue(lane, vram_class).text
    claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
    refused(node.http.post("/v1/claims", json=claim.model_dump()), 403)


def test_a_ticket_is_good_for_one_lease_which_it_gives_again(operator: httpx.Client, node: ScriptedNode):
    submit(operator)
    ticket = SIGNER.issue("public", 8).text
    first, again = node.claim(ticket).lease, node.claim(ticket).lease
    assert first is not None
    assert again is not None
    assert (again.batch_id, again.token) == (first.batch_id, first.token)
    node.close(first)
    claim = Claim(node_id=node.joined.node_id, incarnation=node.joined.incarnation, ticket=ticket)
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
