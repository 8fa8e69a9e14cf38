"""Ctrl-C while a command works or a farm starts: a sentence at most is said, and nothing is left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import yaml

from tests.e2e.conftest import NODES, furnish
from tests.e2e.farmhouse import Farmhouse
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm, until
from tests.ingest_worker import ingest_worker
from tests.servers import ValkeyServer, running_s3

_INTERRUPTED = 130
#: At a question, where Ctrl-C is an answer.
_ABORTED = 1


@pytest.fixture
def farm(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[RunningFarm]:
    with running_farm(tmp_path, own_valkey.url) as running:
        yield running


@pytest.fixture
def elsewhere(farm: RunningFarm, tmp_path: Path) -> Farmhouse:
    return elsewhere_of(farm, tmp_path / "elsewhere")


def elsewhere_of(farm: RunningFarm, folder: Path) -> Farmhouse:
    """A folder whose commands speak to `farm`, with a manifest in it."""
    folder.mkdir()
    settings = {
        "public_url": farm.url,
        "keys": {"operator": "operator-key"},
        "catalogs": [str(one) for one in farm.settings.catalogs],
    }
    (folder / "farm.yaml").write_text(yaml.safe_dump(settings))
    (folder / "mugs.yaml").write_text(MANIFEST)
    return Farmhouse(folder)


def interrupted(process: subprocess.Popen[str], exit_code: int = _INTERRUPTED) -> list[str]:
    """What it says after a Ctrl-C that it ends by, besides which parts of a farm were ready before."""
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    said = process.stdout.read()
    assert process.wait(60) == exit_code, said
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line and not line.endswith(" is ready")]


@pytest.mark.parametrize("command", [("up",), ("run", "few.yaml", "--out", "pictures")])
def test_a_farm_that_starts_is_ended_again(
    house: Farmhouse, tiny_model: Path, command: tuple[str, ...]
) -> None:
    furnish(house.folder, tiny_model, nodes=NODES[:1])
    with house.start(*command) as starting:
        assert starting.stdout is not None
        next(line for line in starting.stdout if line == "valkey is ready\n")
        assert interrupted(starting) == []
    assert house.processes() == []
    assert "no farm is running" in house.farm("down").stdout


def test_nothing_is_submitted_by_who_does_not_answer(farm: RunningFarm, elsewhere: Farmhouse) -> None:
    terminal, end = pty.openpty()
    command = elsewhere.start("submit", "mugs.yaml", stdin=end)
    with os.fdopen(terminal), command as asking:
        assert asking.stdout is not None
        said = ""
        while not said.endswith("Proceed?"):
            said += asking.stdout.read(1)
        (sentence,) = interrupted(asking, _ABORTED)
        assert sentence.endswith("aborted")
    os.close(end)
    with farm.client() as operator:
        assert operator.get("/v1/jobs").json()["jobs"] == []


def test_a_submitted_job_goes_on_when_nobody_watches_any_more(
    farm: RunningFarm, elsewhere: Farmhouse
) -> None:
    with elsewhere.start("submit", "mugs.yaml", "--yes", "--watch") as watching:
        assert watching.stdout is not None
        next(line for line in watching.stdout if "none is in service" in line)
        *_, sentence = interrupted(watching)
    with farm.client() as operator:
        (job,) = operator.get("/v1/jobs").json()["jobs"]
    assert sentence.startswith(f"job {job['id']} continues; `farm watch {job['id']}`")
    assert (job["intent"], job["counts"]) == ("active", {"waiting": 4})


def test_a_pull_that_waits_for_a_store_ends_at_once_and_the_next_one_fetches_all(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    with running_s3(tmp_path / "s3") as s3:
        storage = s3.storage
        with running_farm(tmp_path, own_valkey.url, storage=storage) as farm:
            job, house = rendered(farm, tmp_path), elsewhere_of(farm, tmp_path / "elsewhere")
            assert s3.child.process is not None
            s3.child.process.send_signal(signal.SIGSTOP)
            with house.start("pull", job, "pulled", "--parallel", "1") as pulling:
                until(lambda: speaks_to(pulling.pid, s3.endpoint))
                assert interrupted(pulling) == []
            s3.child.process.send_signal(signal.SIGCONT)
            assert house.json("pull", job, "pulled", "--no-sheet")["fetched"] == 4
            assert {one.suffix for one in (house.folder / "pulled").iterdir()} == {".png"}


def rendered(farm: RunningFarm, folder: Path) -> str:
    """A job whose pictures are stored."""
    with farm.client() as operator, ingest_worker(farm, folder):
        job = operator.post("/v1/jobs", json={"manifest": MANIFEST}).raise_for_status().json()["id"]
        node = ScriptedNode(farm)
        while (counts := operator.get(f"/v1/jobs/{job}").json()["counts"]) != {"done": 4}:
            if counts.get("waiting"):
                lease = node.lease()
                for shot in lease.shots:
                    node.deliver(lease, shot)
                node.close(lease)
        node.leave()
    return str(job)


def speaks_to(pid: int, endpoint: str) -> bool:
    port = urlsplit(endpoint).port
    return any(one.raddr and one.raddr.port == port for one in psutil.Process(pid).net_connections())
