"""A farm with two nodes: submitting, watching, pulling, steering, and a node that is killed."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.e2e.conftest import many_passes
from tests.e2e.farmhouse import Farmhouse
from tests.require import require_program
from tests.waiting import until

pytestmark = pytest.mark.slow

#: What the farm promises, whatever the job.
A_KILL_COSTS_AT_MOST_S = 60


def submitted(studio: Farmhouse, manifest: str, *options: str) -> str:
    """The id of a job made of the manifest."""
    answer = studio.json("submit", manifest, "--yes", *options)
    job: str = answer["job"]["id"] if "--watch" in options else answer["id"]
    return job


def own(studio: Farmhouse, name: str, base: str = "few", **changes: str) -> str:
    """A manifest whose shots no other test has, with further changes of its text."""
    text = (studio.folder / f"{base}.yaml").read_text().replace("a {colour}", f"a {name} {{colour}}")
    for old, new in changes.items():
        text = text.replace(old, new)
    (studio.folder / f"{name}.yaml").write_text(text)
    return f"{name}.yaml"


def hashes(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.png"))
    }


#: Changes of a manifest after which a node certainly has a part in it, whichever models are loaded.
_WORK_FOR = {"small": {"steps: 20": "steps: 60"}, "large": {"model: tiny\n": "model: tiny-24\n"}}


@pytest.mark.parametrize("victim", ["small", "large"])
def test_a_killed_node_is_started_again_and_costs_its_job_less_than_a_minute(
    open_studio: Farmhouse, victim: str
) -> None:
    restarts = open_studio.parts()[victim]["restarts"]
    job = submitted(open_studio, own(open_studio, f"{victim}-less", "many", **_WORK_FOR[victim]))
    with open_studio.client() as client:
        open_studio.wait_for(lambda: client.job(job), lambda view: victim in view.running)
        open_studio.kill(victim)
        open_studio.wait_for(lambda: client.job(job), lambda view: view.status == "done")
    open_studio.wait_for(open_studio.parts, lambda parts: parts[victim]["state"] == "ready")
    assert open_studio.parts()[victim]["restarts"] == restarts + 1
    assert set(open_studio.stored_of(job)) == {1}
    # Undisturbed and at once afterwards: whatever else the machine does weighs on both.
    calm = submitted(open_studio, own(open_studio, f"{victim}-safe", "many", **_WORK_FOR[victim]), "--watch")
    undisturbed_s = open_studio.duration_s(calm)
    assert open_studio.duration_s(job) - undisturbed_s <= A_KILL_COSTS_AT_MOST_S


def test_a_manifest_submitted_again_renders_nothing(open_studio: Farmhouse) -> None:
    manifest = own(open_studio, "wooden")
    open_studio.farm("submit", manifest, "--yes", "--watch")
    again = open_studio.json("submit", manifest, "--yes")
    assert (again["new"], again["reused"]) == (0, 8)


def test_only_the_large_node_renders_what_needs_it(open_studio: Farmhouse) -> None:
    job = submitted(open_studio, own(open_studio, "tall"), "--watch")
    with open_studio.client() as client:
        nodes = {image.node for image in client.shots(job) if image.model == "tiny-24"}
    assert nodes == {"large"}


def test_pull_fetches_only_what_is_missing_or_damaged(open_studio: Farmhouse) -> None:
    job = submitted(open_studio, own(open_studio, "round"), "--watch")
    folder = open_studio.folder / "pulled"
    assert open_studio.json("pull", job, "pulled", "--no-sheet")["fetched"] == 8
    before = hashes(folder)
    (folder / "mug" / "red-0.png").unlink()
    (folder / "mug" / "red-1.png").write_bytes(b"half a picture")
    again = open_studio.json("pull", job, "pulled", "--no-sheet")
    assert (again["fetched"], again["kept"]) == (2, 6)
    assert hashes(folder) == before
    assert not list(folder.rglob("*.part"))


def test_each_image_is_rendered_once_and_pulled_in_the_sizes_of_its_job(open_studio: Farmhouse) -> None:
    submitted(open_studio, own(open_studio, "square"), "--watch")
    sizes = "{sizes: [128x128, {name: banner, size: 120x63}], name: '{export}/{group}-{index}'}"
    sized = own(open_studio, "square", **{'{name: "{group}/{colour}-{seed}"}': sizes})
    again = open_studio.json("submit", sized, "--yes")
    assert (again["new"], again["reused"]) == (0, 8)
    assert open_studio.json("pull", again["id"], "sized")["fetched"] == 16
    for name, size in (("128x128", (128, 128)), ("banner", (120, 63))):
        files = [*(open_studio.folder / "sized" / name).glob("*.png")]
        assert len(files) == 8
        for file in files:
            with Image.open(file) as image:
                assert image.size == size


def test_a_paused_job_renders_nothing_until_it_is_resumed(open_studio: Farmhouse) -> None:
    # More than is rendered while a busy machine starts a command.
    (open_studio.folder / "clay.yaml").write_text(many_passes("clay"))
    job = submitted(open_studio, "clay.yaml")
    open_studio.farm("pause", job)
    with open_studio.client() as client:
        open_studio.wait_for(lambda: client.job(job), lambda view: not view.running)
        paused = client.job(job)
        assert paused.status == "paused"
        open_studio.farm("resume", job)
        done = paused.counts.get("done", 0)
        open_studio.wait_for(lambda: client.job(job), lambda view: view.counts.get("done", 0) > done)
        open_studio.farm("cancel", job)


def test_a_cancelled_job_ends_and_says_so(open_studio: Farmhouse) -> None:
    job = submitted(open_studio, own(open_studio, "iron", "many"))
    open_studio.farm("cancel", job)
    assert "was cancelled" in open_studio.farm("watch", job, exit_code=1).stderr


def test_ctrl_c_ends_the_watching_and_not_the_job(open_studio: Farmhouse) -> None:
    job = submitted(open_studio, own(open_studio, "glass", "many"))
    with open_studio.start("watch", job) as watching:
        assert watching.stdout is not None
        next(line for line in watching.stdout if "/38 " in line)
        watching.send_signal(signal.SIGINT)
        assert f"job {job} continues; `farm watch {job}`" in watching.stdout.read()
        assert watching.wait(60) == 130
    with open_studio.client() as client:
        open_studio.wait_for(lambda: client.job(job), lambda view: view.status == "done")


def test_without_a_terminal_submit_wants_a_yes(open_studio: Farmhouse) -> None:
    assert "--yes" in open_studio.farm("submit", "few.yaml", exit_code=5).stderr


def test_what_fits_no_node_is_refused_with_the_reason(open_studio: Farmhouse) -> None:
    manifest = own(
        open_studio, "huge", **{"model: tiny-24": "model: tiny-32", "model: tiny\n": "model: tiny-32\n"}
    )
    error = open_studio.farm("submit", manifest, "--yes", exit_code=3).stderr
    assert "tiny-32" in error


def test_a_job_over_its_budget_is_refused(open_studio: Farmhouse) -> None:
    manifest = own(open_studio, "dear", "many", **{"output:": "limits: {max_cost: 0.000001}\noutput:"})
    assert "max_cost" in open_studio.farm("submit", manifest, "--yes", exit_code=4).stderr


def test_prometheus_beside_a_farm_shows_what_the_dashboards_ask(open_studio: Farmhouse) -> None:
    require_program("prometheus", "apt-get install prometheus")
    command = [sys.executable, str(Path("helm/dashboards/observe.py").absolute()), "farm.yaml"]
    environment = dict(open_studio.environment) | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        command, cwd=open_studio.folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as observing:
        try:
            assert observing.stdout is not None
            url = re.search(r"http://\S+", observing.stdout.readline())
            assert url is not None
            page = url[0].replace("farm.html", "nodes.html")

            def shown() -> bool:
                with suppress(httpx.HTTPError):
                    return re.search(r"<td>\d+ GB ready</td><td>", httpx.get(page).text) is not None
                return False

            until(shown)
        finally:
            observing.terminate()


def test_status_shows_nodes_queues_and_jobs(open_studio: Farmhouse) -> None:
    status = open_studio.json("status")["farm"]
    assert {node["name"]: node["vram_class"] for node in status["nodes"]} == {"small": 8, "large": 24}
    assert "small" in open_studio.farm("status").stdout
