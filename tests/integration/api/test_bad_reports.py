"""Reports that are late, repeated, stolen or contradictory: refused, counted, without effect."""

from __future__ import annotations

from typing import Any

import pytest

from common.messages import Close, Heartbeat, Lease, Spent
from tests.farm import RunningFarm, ScriptedNode
from tests.integration.api.calls import books, failed, finish, refused, say, stored
from tests.integration.api.conftest import JoinAs
from tests.scrape import refusals

# Repeated


@pytest.mark.parametrize("outcome", ["delivered", "failed"])
def test_a_repeated_report_is_answered_as_before_and_has_no_second_effect(
    farm: RunningFarm, joined: JoinAs, node: ScriptedNode, job: str, lease: Lease, outcome: str
):
    if outcome == "delivered":
        report = node.deliver(lease, lease.shots[0])
    else:
        report = failed(lease)
        assert say(node, lease, report).status_code == 200
    before = books(farm, job)
    with refusals(farm, repeated=3):
        for _ in range(3):
            answer = say(node, lease, report)
            assert answer.status_code == 200
            assert answer.json()["repeated"] is True
    assert books(farm, job) == before
    if outcome == "delivered":
        stored(farm, lease.shots[0].attempt_id)
    node.close(lease)
    finish(farm, joined("another"), job)


def test_a_report_that_contradicts_an_earlier_one_changes_nothing(
    farm: RunningFarm, node: ScriptedNode, job: str, lease: Lease
):
    delivered = node.deliver(lease, lease.shots[0])
    before = books(farm, job)
    with refusals(farm, repeated=2):
        answer = say(node, lease, failed(lease))
        assert (answer.json()["state"], answer.json()["repeated"]) == ("delivered", True)
        other = delivered.model_copy(update={"sha256": "0" * 64, "key": None, "size": 3})
        assert say(node, lease, other).json()["repeated"] is True
    assert books(farm, job) == before
    stored(farm, lease.shots[0].attempt_id)
    assert say(node, lease, delivered).json()["state"] == "done"


# Stale


def test_a_report_with_another_batchs_token_is_refused(
    farm: RunningFarm, node: ScriptedNode, job: str, lease: Lease
):
    before = books(farm, job)
    with refusals(farm, token=4):
        for token in ("", "0" * 32, lease.token[:-1], lease.token + "0"):
            report = failed(lease).model_copy(update={"token": token})
            assert "token" in refused(say(node, lease, report), 410)
    assert books(farm, job) == before
    node.close(lease)
    finish(farm, node, job)


def test_a_report_for_a_batch_that_is_over_is_refused(
    farm: RunningFarm, node: ScriptedNode, job: str, lease: Lease
):
    node.close(lease)
    before = books(farm, job)
    with refusals(farm, over=2):
        for report in (failed(lease), failed(lease).model_copy(update={"outcome": "delivered"})):
            assert "has ended" in refused(say(node, lease, report), 410)
    assert books(farm, job) == before
    finish(farm, node, job)


def test_a_report_of_an_earlier_incarnation_is_refused(
    farm: RunningFarm, joined: JoinAs, node: ScriptedNode, job: str, lease: Lease
):
    again = joined("node-1")
    before = books(farm, job)
    with refusals(farm, over=1):
        assert "has ended" in refused(say(node, lease, failed(lease)), 410)
    assert books(farm, job) == before
    finish(farm, again, job)


# Wrong


@pytest.mark.parametrize(
    ("changes", "status", "reason", "words"),
    [
        ({"shot_id": "0" * 64}, 404, "unknown", "does not contain shot"),
        ({"shot_id": "x"}, 422, "unreadable", "shot_id"),
        ({"outcome": "delivered"}, 422, "invalid", "sha256"),
        (
            {"outcome": "delivered", "sha256": "0" * 64, "size": 1, "key": "images/a"},
            422,
            "invalid",
            "key of the upload must be",
        ),
        ({"outcome": "stored"}, 422, "unreadable", "outcome"),
        ({"failure": None}, 422, "invalid", "kind"),
        ({"spent": {"seconds": {"tea": 1}}}, 422, "invalid", "tea"),
        ({"spent": {"seconds": {"denoise": 1e300}}}, 422, "unreadable", "denoise"),
        ({"spent": {"joules": -1}}, 422, "unreadable", "joules"),
        ({"fingerprint": {"a": "\0"}, "verdict": "good"}, 422, "unreadable", "verdict"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused_with_what_is_wrong(
    farm: RunningFarm,
    node: ScriptedNode,
    job: str,
    lease: Lease,
    changes: dict[str, Any],
    status: int,
    reason: str,
    words: str,
):
    before = books(farm, job)
    with refusals(farm, **{reason: 1}):
        assert words in refused(say(node, lease, failed(lease).model_dump(mode="json") | changes), status)
    assert books(farm, job) == before
    assert say(node, lease, failed(lease)).json()["repeated"] is False


def test_thirty_years_at_ten_kilowatts_cost_what_the_lease_lasted(
    farm: RunningFarm, node: ScriptedNode, job: str, lease: Lease
):
    lie = Spent(joules=1e13, energy_method="counter", seconds={"denoise": 1e9})
    assert say(node, lease, failed(lease).model_copy(update={"spent": lie})).status_code == 200
    load = Spent(joules=1e13, seconds={"load": 1e9})
    node.post(f"/v1/batches/{lease.batch_id}/close", Close(token=lease.token, outcome="released", load=load))
    beat = Heartbeat(incarnation=node.joined.incarnation, idle_s=1e9, idle_joules=1e13)
    node.post(f"/v1/nodes/{node.joined.node_id}/beats", beat)
    with farm.client() as operator:
        bill = operator.get("/v1/costs").json()
    assert 0 < books(farm, job)["cost"] < 0.01
    assert 0 < bill["cost"] < 0.01


def test_no_image_is_granted_ever_other_files(node: ScriptedNode, lease: Lease):
    shot = lease.shots[0]
    for number in range(4):
        node.grant(lease, shot, b"file %d" % number)
    node.grant(lease, shot, b"file 0")
    wish = {
        "token": lease.token,
        "shot_id": shot.id,
        "sha256": "5" * 64,
        "size": 5,
        "content_type": "image/png",
    }
    for path, body in (("grants", wish), ("pass/grants", {"requests": [wish]})):
        answer = node.http.post(f"/v1/batches/{lease.batch_id}/{path}", json=body)
        assert "was granted 4 different files already" in refused(answer, 409)
    node.grant(lease, lease.shots[1], b"another image")
