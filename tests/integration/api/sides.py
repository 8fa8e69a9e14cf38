"""Jobs of one owner in which there is one of everything: stored shots, failed ones, exports, a node."""

from __future__ import annotations

from dataclasses import dataclass

from common.messages import LeasedShot, Report, Verdict
from common.webhooks import NewWebhook
from coordinator.ledger.specs import image_key
from tests.farm import RunningFarm, ScriptedNode, drawn


@dataclass(frozen=True, kw_only=True)
class Side:
    """What there is of one owner."""

    owner: str
    job: str
    #: Two stored, then two failed ones.
    shots: tuple[str, ...]
    sha256: str
    node: str
    webhook: str


#: What does not exist.
NOBODY = Side(owner="", job="j-none", shots=("0" * 64,) * 4, sha256="0" * 64, node="nobody", webhook="w-none")


def side(farm: RunningFarm, owner: str, lane: str, name: str, manifest: str) -> Side:
    manifest = manifest.replace('{colour}-{seed}"', '{colour}-{seed}", sizes: [{name: thumb, size: 64x64}]')
    with farm.client() as operator, ScriptedNode(farm, name=name, lanes=(lane,)) as node:
        order = {"manifest": manifest, "owner": owner}
        job = operator.post("/v1/jobs", json=order).raise_for_status().json()["id"]
        left = 2
        while operator.get(f"/v1/jobs/{job}").json()["counts"] != {"done": 2, "failed": 2}:
            lease = node.lease()
            for shot in lease.shots:
                if left:
                    left -= 1
                    store(farm, shot, node.deliver(lease, shot))
                else:
                    failed = Report(
                        token=lease.token, shot_id=shot.id, outcome="failed", failure="invalid_spec"
                    )
                    node.post(f"/v1/batches/{lease.batch_id}/reports", failed)
            node.close(lease)
            operator.post(f"/v1/jobs/{job}/resume")
        images = operator.get(f"/v1/jobs/{job}/shots").json()["shots"]
    images.sort(key=lambda image: str(image["state"]))
    return Side(
        owner=owner,
        job=job,
        shots=tuple(image["shot_id"] for image in images),
        sha256=images[0]["sha256"],
        node=name,
        webhook=farm.farm.ledger.webhooks.add(NewWebhook(url=f"https://{owner}.invalid/", owner=owner)).id,
    )


def store(farm: RunningFarm, shot: LeasedShot, delivered: Report, *, withheld: str = "") -> None:
    """Do as ingest does; `withheld`: why others than operators do not see the image."""
    sha256, size = delivered.sha256, delivered.size
    assert sha256 is not None
    data, about = drawn(shot), {"sha256": sha256}
    farm.farm.store.create(image_key(shot.id, "png"), data, content_type="image/png", metadata=about)
    stored = Verdict(outcome="stored", sha256=sha256, size=size, withheld=withheld)
    farm.farm.ledger.ingest.verdicts([(shot.attempt_id, stored)])
