"""Jobs: submitted, looked at and steered."""

from __future__ import annotations

import httpx

from common.messages import Report
from tests.farm import MANIFEST, ScriptedNode
from tests.integration.api.calls import refused, submit


def test_a_submitted_job_tells_what_is_new_and_what_another_job_wants_too(operator: httpx.Client):
    first = operator.post("/v1/jobs", json={"manifest": MANIFEST}).json()
    second = operator.post("/v1/jobs", json={"manifest": MANIFEST, "name": "again"}).json()
    assert (first["name"], first["images"], first["new"], first["reused"]) == ("mugs", 4, 4, 0)
    assert (second["name"], second["images"], second["new"], second["reused"]) == ("again", 4, 0, 4)
    assert [job["id"] for job in operator.get("/v1/jobs").json()["jobs"]] == [second["id"], first["id"]]


def test_a_job_has_the_owner_that_is_given_or_the_farm(operator: httpx.Client):
    for given, owner in (({}, "farm"), ({"owner": None}, "farm"), ({"owner": "ana.b-1"}, "ana.b-1")):
        job = operator.post("/v1/jobs", json={"manifest": MANIFEST, **given}).json()
        assert (job["owner"], operator.get(f"/v1/jobs/{job['id']}").json()["owner"]) == (owner, owner)
    said = refused(operator.post("/v1/jobs", json={"manifest": MANIFEST, "owner": "ana\nb"}), 422)
    assert said.startswith(r"POST /v1/jobs: owner: `ana\nb` cannot be the name of an owner: use up to 63")


def test_images_come_in_pages_in_the_manifests_order(operator: httpx.Client):
    job = submit(operator)
    first = operator.get(f"/v1/jobs/{job}/shots", params={"limit": 3}).json()
    rest = operator.get(f"/v1/jobs/{job}/shots", params={"limit": 3, "cursor": first["next"]}).json()
    names = [image["name"] for image in first["shots"] + rest["shots"]]
    assert names == ["red-0", "red-1", "blue-0", "blue-1"]
    assert rest["next"] is None


def test_intents_act_at_once_and_a_cancelled_job_is_not_resumed(operator: httpx.Client):
    job = submit(operator)
    assert operator.post(f"/v1/jobs/{job}/pause").json()["status"] == "paused"
    assert operator.post(f"/v1/jobs/{job}/resume").json()["intent"] == "active"
    assert operator.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelled"
    refused(operator.post(f"/v1/jobs/{job}/resume"), 409)


def test_a_cancelled_job_goes_on_when_it_is_requeued(operator: httpx.Client):
    job = submit(operator)
    operator.post(f"/v1/jobs/{job}/cancel")
    assert operator.post(f"/v1/jobs/{job}/requeue").json()["counts"] == {"waiting": 4}


def test_the_priority_of_a_job_can_be_changed(operator: httpx.Client):
    job = submit(operator)
    assert operator.post(f"/v1/jobs/{job}/priority", json={"priority": 80}).json()["priority"] == 80
    refused(operator.post(f"/v1/jobs/{job}/priority", json={"priority": 101}), 422)


def test_failed_shots_can_be_accepted(operator: httpx.Client, node: ScriptedNode):
    job = submit(operator)
    while operator.get(f"/v1/jobs/{job}").json()["counts"] != {"failed": 4}:
        lease = node.lease()
        for shot in lease.shots:
            failed = Report(token=lease.token, shot_id=shot.id, outcome="failed", failure="invalid_spec")
            node.post(f"/v1/batches/{lease.batch_id}/reports", failed)
        node.close(lease)
        operator.post(f"/v1/jobs/{job}/resume")
    view = operator.post(f"/v1/jobs/{job}/accept").json()
    assert (view["counts"], view["status"]) == ({"accepted": 4}, "done")


def test_a_picture_that_is_not_stored_can_be_neither_rejected_nor_deleted(operator: httpx.Client):
    job = submit(operator)
    shot_id = operator.get(f"/v1/jobs/{job}/shots").json()["shots"][0]["shot_id"]
    for verb in ("reject", "delete"):
        answer = operator.post(f"/v1/shots/{shot_id[:12]}/{verb}", json={})
        assert "is waiting: it has no stored image" in refused(answer, 409)
        refused(operator.post(f"/v1/shots/none/{verb}", json={}), 404)
        refused(operator.post(f"/v1/shots/{shot_id}/{verb}", params={"job": "j-none"}, json={}), 404)
        refused(operator.post(f"/v1/shots/{shot_id}/{verb}", json={"by": ""}), 422)
    assert f"farm cancel {job}" in refused(operator.post(f"/v1/jobs/{job}/delete", json={}), 409)
    refused(operator.post(f"/v1/images/{shot_id}/delete", json={}), 404)
    refused(operator.post("/v1/images/short/delete", json={}), 422)


def test_a_shot_that_has_not_failed_cannot_be_accepted(operator: httpx.Client):
    job = submit(operator)
    shot_id = operator.get(f"/v1/jobs/{job}/shots").json()["shots"][0]["shot_id"]
    assert "is waiting: only a failed shot can be accepted" in refused(
        operator.post(f"/v1/shots/{shot_id[:12]}/accept"), 409
    )
    refused(operator.post("/v1/shots/none/accept"), 404)
