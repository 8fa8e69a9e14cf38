"""The whole way with real parts: submit, ticket, claim, grant, PUT, report, ingest, done."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from common.errors import Unavailable
from common.keys import TicketSigner
from common.messages import Lease, Verdict
from common.storage import MODELS
from coordinator.background.store_cleanup import KEEP_S, clear_quarantine
from tests.farm import DEADLINE_S, MANIFEST, RunningFarm, ScriptedNode, drawn, running_farm, until
from tests.ingest_worker import ingest_worker
from tests.servers import ValkeyServer


def counts(operator: httpx.Client, job: str) -> dict[str, int]:
    answer: dict[str, int] = operator.get(f"/v1/jobs/{job}").json()["counts"]
    return answer


def submit(operator: httpx.Client, manifest: str = MANIFEST) -> str:
    return str(operator.post("/v1/jobs", json={"manifest": manifest}).raise_for_status().json()["id"])


def render_all(node: ScriptedNode, operator: httpx.Client, job: str, images: int) -> None:
    """Take leases and deliver all their shots until the job has them."""
    while counts(operator, job).get("waiting"):
        lease = node.lease()
        for shot in lease.shots:
            node.deliver(lease, shot)
        node.close(lease)
    until(lambda: counts(operator, job) == {"done": images})


@pytest.fixture
def farm(farm_of_each_store: RunningFarm) -> RunningFarm:
    return farm_of_each_store


def test_a_manifest_becomes_stored_images_that_say_what_they_are(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, tmp_path: Path
):
    # A bucket is shared by the tests of this run, so these shots must be this test's own.
    manifest = MANIFEST.replace("} mug", f"}} mug for {tmp_path.name}")
    others = {*farm.farm.store.keys("quarantine/")}
    with ingest_worker(farm, tmp_path):
        job = submit(operator, manifest)
        render_all(node, operator, job, 4)
        until(lambda: others.issuperset(farm.farm.store.keys("quarantine/")))
    images = operator.get(f"/v1/jobs/{job}/shots").json()["shots"]
    assert len({image["sha256"] for image in images}) == 4
    for image in images:
        answer = httpx.get(image["url"], trust_env=False).raise_for_status()
        assert len(answer.content) == image["size"]
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (128, 128)
        assert picture.info["parameters"].startswith(image["prompt"] + "\n")
        assert f"Seed: {image['seed']}" in picture.info["parameters"]
        assert '"template":"a {colour} ' in picture.info["shotfarm"]
        assert image["cost"] > 0
    table = operator.get(f"/v1/jobs/{job}/table").json()
    assert [(row["model"], row["vram_class"], row["images"]) for row in table["rows"]] == [("tiny", 8, 4)]


@pytest.mark.parametrize("look_ahead", [True, False])
def test_a_parked_node_gets_new_work_with_and_without_look_ahead(
    tmp_path: Path, own_valkey: ValkeyServer, look_ahead: bool
):
    with (
        running_farm(tmp_path, own_valkey.url, look_ahead=look_ahead) as farm,
        farm.client() as operator,
        ThreadPoolExecutor(1) as threads,
    ):
        node, signer = ScriptedNode(farm), TicketSigner("ticket-key")

        def claimed() -> Lease:
            while (lease := node.claim(signer.issue("public", 8).text).lease) is None:
                pass
            return lease

        leased = threads.submit(claimed)
        until(lambda: farm.farm.claims.callers() == {node.joined.node_id})
        submit(operator)
        assert leased.result(DEADLINE_S).shots
        node.leave()


def test_a_deleted_picture_is_gone_and_its_shot_is_rendered_again_beside_it(
    farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, tmp_path: Path
):
    manifest = MANIFEST.replace("} mug", f"}} mug, deleted in {tmp_path.name}")
    store = farm.farm.store
    with ingest_worker(farm, tmp_path):
        job = submit(operator, manifest)
        render_all(node, operator, job, 4)
        image, *others = operator.get(f"/v1/jobs/{job}/shots").json()["shots"]
        path = f"/v1/images/{image['sha256']}/delete"
        deleted = operator.post(path, json={"by": "office"}).raise_for_status().json()
        assert deleted == {"images": 1, "kept": 0, "pending": 0}
        assert store.head(image["key"]) is None
        assert httpx.get(image["url"], trust_env=False).status_code == 404
        assert all(store.head(other["key"]) for other in others)

        again = submit(operator, manifest)
        render_all(node, operator, again, 4)
    renewed = operator.get(f"/v1/jobs/{again}/shots").json()["shots"][0]
    assert renewed["shot_id"] == image["shot_id"]
    assert renewed["key"] != image["key"]
    assert store.head(renewed["key"]) is not None
    assert counts(operator, job) == {"done": 3, "deleted": 1}


@pytest.mark.parametrize("farm_of_each_store", ["directory"], indirect=True)
class TestOneStore:
    """What does not depend on the kind of store."""

    def test_what_could_not_be_erased_at_once_is_erased_when_the_store_works(
        self,
        farm: RunningFarm,
        operator: httpx.Client,
        node: ScriptedNode,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        store = farm.farm.store
        with ingest_worker(farm, tmp_path):
            job = submit(operator)
            render_all(node, operator, job, 4)
        keys = [image["key"] for image in operator.get(f"/v1/jobs/{job}/shots").json()["shots"]]

        def away(key: str) -> None:
            raise Unavailable(f"{key} is out of reach")

        with monkeypatch.context() as broken:
            broken.setattr(store, "delete", away)
            deleted = operator.post(f"/v1/jobs/{job}/delete", json={}).json()
            assert deleted == {"images": 4, "kept": 0, "pending": 4}
            assert operator.get(f"/v1/jobs/{job}/shots").json()["shots"] == []
        until(lambda: not any(map(store.head, keys)))
        until(lambda: farm.farm.ledger.images.to_erase() == 0)

    def test_a_repeated_report_and_close_change_nothing(self, operator: httpx.Client, node: ScriptedNode):
        job = submit(operator)
        lease = node.lease()
        shot = lease.shots[0]
        report = node.deliver(lease, shot)
        again = node.post(f"/v1/batches/{lease.batch_id}/reports", report).json()
        assert (again["state"], again["repeated"]) == ("delivered", True)
        node.close(lease)
        node.close(lease)
        assert counts(operator, job)["delivered"] == 1

    def test_only_the_bytes_that_were_granted_can_be_uploaded(
        self, operator: httpx.Client, node: ScriptedNode
    ):
        submit(operator)
        lease = node.lease()
        good = drawn(lease.shots[0])
        grant = node.grant(lease, lease.shots[0], good)
        wrong = httpx.put(grant.url, content=good[:-1] + b"x", headers=grant.headers, trust_env=False)
        assert wrong.status_code == 403
        assert httpx.get(grant.url, trust_env=False).status_code == 403
        tampered = grant.url.replace("size=", "size=1")
        assert httpx.put(tampered, content=b"x", headers=grant.headers, trust_env=False).status_code == 403

    def test_the_token_of_a_batch_is_needed_for_everything(self, operator: httpx.Client, node: ScriptedNode):
        submit(operator)
        lease = node.lease()
        stranger = lease.model_copy(update={"token": "0" * 32})
        with pytest.raises(httpx.HTTPStatusError, match="410"):
            node.grant(stranger, lease.shots[0], b"x")
        with pytest.raises(httpx.HTTPStatusError, match="410"):
            node.close(stranger)

    def test_an_upload_that_is_no_picture_is_refused_and_its_shot_waits_again(
        self, farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, tmp_path: Path
    ):
        with ingest_worker(farm, tmp_path):
            job = submit(operator)
            lease = node.lease()
            node.deliver(lease, lease.shots[0], b"not a picture")
            node.close(lease)
            until(lambda: counts(operator, job) == {"waiting": 4})
            render_all(node, operator, job, 4)
        assert operator.get(f"/v1/jobs/{job}/table").json()["rows"][0]["failures"] == 1

    def test_what_ingest_missed_is_asked_for_again(
        self,
        farm: RunningFarm,
        operator: httpx.Client,
        node: ScriptedNode,
        own_valkey: ValkeyServer,
        tmp_path: Path,
    ):
        job = submit(operator)
        lease = node.lease()
        for shot in lease.shots:
            node.deliver(lease, shot)
        node.close(lease)
        # The messages to ingest are lost with the broker's memory.
        own_valkey.kill()
        own_valkey.start()
        with ingest_worker(farm, tmp_path):
            until(lambda: counts(operator, job).get("done") == len(lease.shots))

    def test_quarantine_keeps_what_ingest_owes_and_forgets_the_rest_after_an_hour(
        self, farm: RunningFarm, operator: httpx.Client, node: ScriptedNode
    ):
        submit(operator)
        lease = node.lease()
        delivered, left = lease.shots[0], lease.shots[-1]
        node.deliver(lease, delivered)
        node.upload(lease, left)
        node.close(lease)
        store, ledger = farm.farm.store, farm.farm.ledger
        store.create(f"{MODELS}{'0' * 64}", b"weights", content_type="", metadata={})
        assert clear_quarantine(store, ledger, now=time.time()) == 0
        assert clear_quarantine(store, ledger, now=time.time() + KEEP_S + 60) == 0
        (attempt,) = [shot.attempt_id for shot in lease.shots if shot.id == delivered.id]
        ledger.ingest.verdicts([(attempt, Verdict(outcome="stored", sha256="0" * 64, size=1))])
        assert clear_quarantine(store, ledger, now=time.time() + KEEP_S + 60) == 2
        assert len(store.keys(MODELS)) == 1
        assert store.keys("quarantine/") == []

    def test_a_24_gb_shot_waits_for_a_24_gb_node(
        self, farm: RunningFarm, operator: httpx.Client, node: ScriptedNode, tmp_path: Path
    ):
        large = ScriptedNode(farm, name="large", vram_gib=24)
        manifest = MANIFEST.replace("tiny", "tiny-24")
        job = submit(operator, manifest)
        assert node.claim(TicketSigner("ticket-key").issue("public", 8).text, wait_s=0.1).lease is None
        with ingest_worker(farm, tmp_path):
            render_all(large, operator, job, 4)
        large.leave()
