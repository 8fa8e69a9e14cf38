"""The operator's verbs on a farm whose every part is a real process: what they do, and what explain says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from common.views import JobView, NodeView, Submit
from tests.e2e.conftest import furnish, many_passes
from tests.e2e.farmhouse import Farmhouse
from tests.faults.engines import model_of, with_engine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmhouse]:
    """A farm of a small and a large node, whose engines only draw."""
    house = Farmhouse(tmp_path_factory.mktemp("operated"), with_engine("quick"))
    furnish(house.folder, model_of("quick", house.folder))
    settings = yaml.safe_load((house.folder / "farm.yaml").read_text())
    settings["timing"] = {"retry_s": 0.5}
    (house.folder / "farm.yaml").write_text(yaml.safe_dump(settings))
    house.farm("up")
    yield house
    house.farm("down")


def submitted(farm: Farmhouse, name: str, *, model: str = "tiny", seeds: int = 2, **shot: Any) -> str:
    """The id of a job whose shots no other test has; without a plan, which would want a node in service."""
    group = {"name": name, "model": model, "prompt": f"a {name}", "seeds": seeds, "size": "128x128"}
    manifest = {"version": 1, "name": name, "shots": [group | {"steps": 4} | shot]}
    with farm.client() as client:
        return client.submit(Submit(manifest=yaml.safe_dump(manifest))).id


def lasting(farm: Farmhouse, name: str, passes: int = 200) -> str:
    """The id of a job that goes on while a busy machine starts some commands."""
    with farm.client() as client:
        return client.submit(Submit(manifest=many_passes(name, passes))).id


def explained(farm: Farmhouse, subject: str) -> str:
    answer = farm.json("explain", subject)
    return " ".join([*answer["sentences"], answer["remedy"]])


def unwrapped(said: str) -> str:
    """What a command said, in one line."""
    return " ".join(said.split())


def node(farm: Farmhouse, name: str) -> NodeView:
    with farm.client() as client:
        return next(node for node in client.nodes() if node.name == name)


def ended(farm: Farmhouse, job: str, status: str = "done") -> JobView:
    with farm.client() as client:
        return farm.wait_for(lambda: client.job(job), lambda view: view.status == status)


def test_a_drained_node_gets_nothing_until_it_is_resumed(farm: Farmhouse) -> None:
    farm.farm("node", "drain", "large", "--reason", "new fans")
    farm.wait_for(lambda: node(farm, "large"), lambda view: view.state == "offline")
    job = submitted(farm, "oak", model="tiny-24")
    assert "no node that can render this is in service: node large is offline" in explained(farm, job)
    assert "`farm node resume large`" in explained(farm, job)
    assert "node large is offline" in farm.farm("status").stdout

    farm.farm("node", "resume", "large")

    ended(farm, job)


def test_a_paused_node_frees_its_card_and_the_rest_is_rendered_elsewhere(farm: Farmhouse) -> None:
    job = lasting(farm, "elm", passes=30)
    farm.wait_for(lambda: node(farm, "small"), lambda view: view.state == "busy")
    assert (
        "is paused by the operator: a game"
        in farm.farm("node", "pause", "small", "--reason", "a game").stdout
    )
    assert node(farm, "small").batch_id is None
    assert "a game" in explained(farm, "small")
    with farm.client() as client:
        farm.wait_for(lambda: client.job(job), lambda view: view.running.keys() == {"large"})

    farm.farm("node", "resume", "small")

    done = ended(farm, job)
    assert done.counts == {"done": 30}


def test_a_quarantined_node_is_trusted_again_when_it_is_forgiven(farm: Farmhouse) -> None:
    farm.farm("node", "quarantine", "large", "--reason", "green pictures")
    job = submitted(farm, "ash", model="tiny-24")
    assert "node large is quarantined by the operator: green pictures" in explained(farm, job)
    assert "`farm node forgive large`" in explained(farm, "large")

    farm.farm("node", "forgive", "large")

    ended(farm, job)


def test_a_paused_job_is_explained_and_goes_on_when_it_is_resumed(farm: Farmhouse) -> None:
    job = lasting(farm, "fir")
    farm.farm("pause", job)
    assert "paused by the operator" in explained(farm, job)
    assert f"`farm resume {job}`" in explained(farm, job)
    farm.farm("resume", "fir")
    with farm.client() as client:
        farm.wait_for(lambda: client.job(job), lambda view: bool(view.running))
    farm.farm("cancel", job)


def test_a_job_of_higher_priority_comes_first_and_a_cancelled_one_can_be_requeued(farm: Farmhouse) -> None:
    low, high = lasting(farm, "yew"), lasting(farm, "box")
    farm.farm("priority", high, "90")
    assert f"job {high} comes first" in explained(farm, low)
    farm.farm("cancel", low)
    assert "is cancelled" in explained(farm, low)
    assert "restarting " in farm.farm("requeue", low).stdout
    farm.farm("cancel", low)
    farm.farm("cancel", high)
    ended(farm, high, "cancelled")


def test_failed_shots_are_retried_and_accepted_one_by_one(farm: Farmhouse) -> None:
    job = submitted(farm, "fig", prompt="a fig " * 100)  # longer than its engine reads
    ended(farm, job, "failed")
    said = explained(farm, job)
    assert "2 shots failed" in said
    with farm.client() as client:
        first, second = (image.shot_id for image in client.shots(job))
    assert first[:12] in said
    assert "failed on" in explained(farm, first[:8])

    assert "retrying 2 failed shots" in farm.farm("retry", job).stdout
    ended(farm, job, "failed")
    farm.farm("accept", first[:12], second[:12])

    assert ended(farm, job).counts == {"accepted": 2}


def test_a_rejected_picture_is_replaced_under_its_name_and_a_deleted_one_is_gone(farm: Farmhouse) -> None:
    job = submitted(farm, "kiwi")
    ended(farm, job)
    farm.farm("pull", job, "kiwis")
    with farm.client() as client:
        first, second = client.shots(job)
    file = farm.folder / "kiwis" / f"{first.name}.png"
    before = file.read_bytes()
    told = explained(farm, str(file))
    assert told == explained(farm, first.shot_id) == explained(farm, hashlib.sha256(before).hexdigest())
    assert f"Node {first.node} rendered it" in told
    assert f"seed {first.seed}" in told

    said = unwrapped(farm.farm("reject", first.shot_id[:12], "--redo").stdout)
    assert f"rejected from {job}" in said
    assert f"replaces it in {job} with seed {second.seed + 1}" in said
    assert ended(farm, job).counts == {"done": 2}
    pulled = unwrapped(farm.farm("pull", job, "kiwis").stdout)
    assert "1 file downloaded, 1 up to date: kiwis" in pulled
    assert "contact sheet: kiwis/contact-sheet.html and kiwis/contact-sheet.png" in pulled
    assert file.read_bytes() != before
    row = next(row for row in farm.json("jobs") if row["id"] == job)
    assert row["counts"] == {"done": 2}
    assert job not in {row["id"] for row in farm.json("status")["farm"]["jobs"]}

    assert "pass --yes" in farm.farm("delete", job, exit_code=5).stderr
    assert farm.json("delete", job, "--yes") == {"images": 3, "kept": 0, "pending": 0}
    assert ended(farm, job).counts == {"deleted": 2}
    with farm.client() as client:
        assert list(client.shots(job)) == []


def test_what_fits_no_card_at_all_is_said_with_the_size_that_would_at_submit_and_by_status(
    farm: Farmhouse,
) -> None:
    poster = {"name": "poster", "model": "tiny", "prompt": "a pear", "size": "16384x16384", "steps": 4}
    small = {**poster, "name": "small", "size": "128x128"}
    (farm.folder / "pear.yaml").write_text(yaml.safe_dump({"version": 1, "shots": [poster, small]}))
    said = farm.farm("submit", "pear.yaml", "--yes")
    assert "1 to render, 1 fits no node" in unwrapped(said.stdout)
    (misfit,) = farm.json("status")["farm"]["misfits"]
    assert "16384×16384" in misfit["reason"]
    assert "9392×9392 fits" in misfit["reason"]
    assert f"1 shot: {misfit['reason']}" in unwrapped(said.stderr)
    assert f"1 shot fits no node: {misfit['reason']}" in unwrapped(farm.farm("status").stdout)
    farm.farm("cancel", "pear")
    assert "no node:" not in farm.farm("status").stdout


def test_what_fits_no_node_is_said_at_submit_by_status_and_by_explain(farm: Farmhouse) -> None:
    huge = {"name": "big", "model": "tiny-32", "prompt": "a plum", "size": "128x128", "steps": 4}
    small = {**huge, "name": "fits", "model": "tiny", "prompt": "a small plum"}
    (farm.folder / "plum.yaml").write_text(yaml.safe_dump({"version": 1, "shots": [huge, small]}))
    said = farm.farm("submit", "plum.yaml", "--yes")
    assert "tiny-32 is kept for cards of 32 GB" in said.stderr
    assert "they need a card of 32 GB or more" in explained(farm, "plum")
    assert "1 shot waits for a node with 32 GB or more; none is in service" in farm.farm("status").stdout
    farm.farm("cancel", "plum")
