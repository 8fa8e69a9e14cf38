"""What the operator's verbs print and end with, against a coordinator over real HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.messages import Lease, Report, Verdict
from common.views import Submit
from coordinator.cli.all_commands import app
from tests.farm import MANIFEST, QUICK, RunningFarm, ScriptedNode, running_farm
from tests.servers import ValkeyServer
from tests.unit.cli.conftest import PROGRAMS, Farm
from tests.unit.cli.test_nasty_strings import every_command
from tests.waiting import until

#: What each command that acts on something by its name takes first, as its help calls it.
_NAMING = {
    name: command.params[0].metavar
    for name, command in every_command(PROGRAMS[app]).items()
    if command.params and re.search("JOB|SHOT|NODE", command.params[0].metavar or "")
}
_MORE = {"pull": ("pictures",), "priority": ("50",), "delete": ("--yes",)}
#: A name a slip away from one that there is, and that one.
_NEAR = {"JOB": ("mug", "did you mean `mugs`?"), "NODE": ("nod-1", "did you mean `node-1`?")}


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[RunningFarm]:
    """A farm with a node and a job, which nothing changes."""
    folder: Path = tmp_path_factory.mktemp("still")
    with running_farm(folder, valkey_server.url) as running, ScriptedNode(running):
        submitted(running)
        yield running


def naming(command: str, word: str) -> list[str]:
    """The words of a command for what is called this, with all else that it asks for."""
    return [*command.split(), word, *_MORE.get(command, ())]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        # An unknown name is told with the nearest.
        *(
            (naming(command, word), 1, (word, nearest))
            for command, subject in _NAMING.items()
            for word, nearest in (_NEAR.get(subject, ("nobody", "")),)
        ),
        *(
            (naming(command, word), 2, ("is not a name or an ID",))
            for command in _NAMING
            for word in ("", " ", "a/b")
            # A name of an image may contain slashes.
            if (command, word) != ("explain", "a/b")
        ),
        (
            ["explain", "nonsense"],
            1,
            ("no job, shot, image or node is called nonsense\n", "job:", "node:", "shot:"),
        ),
        (["pull", "mugs", "taken"], 2, ("'taken' is a file",)),
        (["priority", "mugs", "101"], 2, ("101",)),
        (["requeue", "mugs"], 0, ("has no shots to restart",)),
        (["retry", "mugs"], 0, ("(mugs) is unchanged: no shot has failed",)),
    ],
)
def test_what_changes_nothing_says_why(
    words: list[str],
    code: int,
    said: tuple[str, ...],
    still: RunningFarm,
    farm: Farm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FARM_PUBLIC_URL", still.url)
    monkeypatch.setenv("FARM_KEYS__OPERATOR", "operator-key")
    (tmp_path / "taken").write_text("")
    before = still.farm.ledger.jobs.page(None, limit=9)[0]
    ran = farm(*words)
    assert (ran.code, [each for each in said if each not in ran.err + ran.out]) == (code, []), ran
    if code == 1:
        # `explain` lists what can be given.
        assert len(ran.err.splitlines()) == (5 if words[0] == "explain" else 1)
    assert still.farm.ledger.jobs.page(None, limit=9)[0] == before


def test_a_wrong_key_says_where_the_right_one_is(
    still: RunningFarm, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_PUBLIC_URL", still.url)
    monkeypatch.setenv("FARM_KEYS__OPERATOR", "another-key")
    ran = farm("jobs")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "unknown key: compare it with the one that `farm keys create` printed, with `keys`" in ran.err


@pytest.fixture
def coordinator(
    tmp_path_factory: pytest.TempPathFactory, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningFarm]:
    folder: Path = tmp_path_factory.mktemp("coordinator")
    with running_farm(folder, own_valkey.url, timing=QUICK.model_copy(update={"retry_s": 0.1})) as running:
        monkeypatch.setenv("FARM_PUBLIC_URL", running.url)
        monkeypatch.setenv("FARM_KEYS__OPERATOR", "operator-key")
        yield running


@pytest.fixture
def node(coordinator: RunningFarm) -> Iterator[ScriptedNode]:
    with ScriptedNode(coordinator) as node:
        yield node


@pytest.fixture
def job(coordinator: RunningFarm) -> str:
    return submitted(coordinator)


def submitted(coordinator: RunningFarm, manifest: str = MANIFEST) -> str:
    with coordinator.client() as client:
        answer = client.post("/v1/jobs", json=Submit(manifest=manifest).model_dump()).raise_for_status()
    return str(answer.json()["id"])


def fail_all(node: ScriptedNode, lease: Lease) -> list[str]:
    """Report a failure of its own for every shot of a batch; their ids."""
    for shot in lease.shots:
        report = Report(token=lease.token, shot_id=shot.id, outcome="failed", failure="invalid_spec")
        node.post(f"/v1/batches/{lease.batch_id}/reports", report)
    node.close(lease)
    return [shot.id for shot in lease.shots]


def told(farm: Farm, *words: str) -> Any:
    ran = farm(*words, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_a_job_goes_by_its_id_the_beginning_of_that_or_its_name(farm: Farm, job: str) -> None:
    for word in (job, job.removeprefix("j-"), job[:6], "mugs"):
        assert f"job {job} (mugs) paused; 0 of 4 images stored" in farm("pause", word).out


def test_a_name_of_several_jobs_is_refused_with_their_ids(
    farm: Farm, coordinator: RunningFarm, job: str
) -> None:
    other = submitted(coordinator)
    ran = farm("cancel", "mugs")
    assert ran.code == 2
    assert job in ran.err
    assert other in ran.err


def test_a_name_means_the_job_that_has_not_ended_else_the_newest(
    farm: Farm, coordinator: RunningFarm, job: str
) -> None:
    farm("cancel", job)
    newer = submitted(coordinator)
    assert f"job {newer} (mugs) paused" in farm("pause", "mugs").out
    farm("cancel", newer)
    assert told(farm, "explain", "mugs")["subject"] == newer
    farm("requeue", job)
    assert f"job {job} (mugs) paused" in farm("pause", "mugs").out


def test_priority_says_what_it_is_now_and_refuses_what_is_none(farm: Farm, job: str) -> None:
    assert "now has priority 80" in farm("priority", job, "80").out
    assert told(farm, "priority", job, "7")["priority"] == 7
    assert farm("priority", job, "101").code == 2


def test_requeue_begins_a_cancelled_job_anew(farm: Farm, job: str) -> None:
    farm("cancel", job)
    assert "restarting 4 shots" in farm("requeue", job).out
    assert told(farm, "jobs")[0]["counts"] == {"waiting": 4}


def test_explain_says_what_a_job_lacks_and_what_would_change_it(farm: Farm, job: str) -> None:
    said = farm("explain", "mugs").out
    assert "4 shots wait: no node serves lane public." in said
    assert "→ start one with `farm-node run --lane public` on a card with 6 GB or more" in said
    assert told(farm, "explain", job)["kind"] == "job"


def test_failed_shots_are_named_accepted_and_retried(farm: Farm, node: ScriptedNode, job: str) -> None:
    for _ in range(3):
        failed = fail_all(node, node.lease())
        farm("node", "forgive", "node-1")
    first = failed[0]
    said = farm("explain", job).out
    assert "4 shots failed: the pipeline rejected its settings" in said
    assert first[:12] in said
    assert f"shot {first[:12]} accepted as permanently missing" in farm("accept", first[:8]).out
    assert farm("accept", first[:8]).code == 1
    assert "retrying 3 failed shots" in farm("retry", job).out
    assert told(farm, "jobs")[0]["counts"] == {"accepted": 1, "waiting": 3}


@pytest.fixture
def pictures(coordinator: RunningFarm, node: ScriptedNode, job: str) -> list[str]:
    """The shots of the job, all stored; each picture has bytes of its own."""
    render(coordinator, node, job)
    return [image.shot_id for image in coordinator.farm.ledger.shots.of_job(job)]


def render(coordinator: RunningFarm, node: ScriptedNode, job: str) -> None:
    """Let a node render all four shots of a job, and store them."""
    ledger = coordinator.farm.ledger
    while ledger.jobs.view(job).counts != {"done": 4}:
        lease = node.lease()
        for shot in lease.shots:
            node.deliver(lease, shot)
            stored = Verdict(outcome="stored", sha256=shot.id, size=1)
            ledger.ingest.verdicts([(shot.attempt_id, stored)])
        node.close(lease)


def test_rejected_pictures_leave_the_job_and_others_take_their_place(
    farm: Farm, job: str, pictures: list[str]
) -> None:
    first, second, *_ = pictures
    said = farm("reject", first[:8], second[:8], "--redo").out.splitlines()
    assert said[0].startswith(f"shot {first[:12]} rejected from {job}; ")
    assert said[0].endswith(" wasted")
    assert f"replaces it in {job} with seed " in said[1]
    (listed,) = told(farm, "jobs")
    assert listed["counts"] == {"done": 2, "waiting": 2}
    assert "may have been rejected already" in farm("reject", first[:8]).err
    assert "needs --redo" in farm("reject", first[:8], "--same-seed").err


def test_pictures_are_deleted_by_shot_by_content_and_by_job_once_it_is_certain(
    farm: Farm, job: str, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = farm("delete", "mugs")
    assert (ran.code, ran.err) == (5, "stdin is not a terminal; pass --yes\n")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda question: bool(asked.append(question)))
    assert farm("delete", "mugs").code == 5
    assert asked == [f"Delete the 4 stored images of job {job} (mugs)? This cannot be undone."]
    assert told(farm, "jobs")[0]["counts"] == {"done": 4}
    first, second, *_ = pictures
    assert farm("delete", first[:8], "--yes").out == "1 image deleted\n"
    assert farm("delete", "--sha256", second, "--yes").out == "1 image deleted\n"
    assert f"no stored image has the SHA-256 {second[:12]}" in farm("delete", "--sha256", second, "--yes").err
    assert told(farm, "delete", job, "--yes") == {"images": 2, "kept": 0, "pending": 0}
    assert told(farm, "jobs")[0]["counts"] == {"deleted": 4}


def test_a_node_is_drained_paused_quarantined_forgiven_and_forgotten(
    farm: Farm, coordinator: RunningFarm, node: ScriptedNode
) -> None:
    paused = farm("node", "pause", "node-1", "--reason", "a game").out
    assert "node node-1 is paused by the operator: a game → `farm node resume node-1`" in paused
    assert told(farm, "nodes")[0]["state"] == "paused"
    assert "node node-1 is paused by the operator: a game" in farm("status").out
    assert "node node-1 is ready" in farm("node", "resume", "node-1").out
    assert "node node-1 is quarantined by the operator" in farm("node", "quarantine", "node-1").out
    assert told(farm, "explain", "node-1")["remedy"].endswith("`farm node forgive node-1`")
    assert "node node-1 is ready" in farm("node", "forgive", "node-1").out
    assert "node node-1 is offline" in farm("node", "drain", "node-1").out
    assert told(farm, "node", "resume", "node-1")["state"] == "ready"
    coordinator.farm.ledger.nodes.leave("node-1", node.joined.incarnation)
    assert farm("node", "forget", "node-1").out.startswith("node node-1 is forgotten → `farm-node run`")
    assert told(farm, "nodes") == []


def test_what_a_nodes_owner_paused_only_its_owner_resumes(farm: Farm, node: ScriptedNode) -> None:
    node.http.post("/v1/nodes/node-1/pause").raise_for_status()
    ran = farm("node", "resume", "node-1")
    assert ran.code == 1
    assert "only its owner can resume it" in ran.err
    assert "node node-1 is paused by its owner" in farm("status").out


def test_the_plan_of_a_submission_says_when_the_farm_will_be_done_behind_what_waits(
    farm: Farm, coordinator: RunningFarm
) -> None:
    Path("m.yaml").write_text(MANIFEST.replace("a {colour} mug", "a {colour} cup"))
    alone = farm("submit", "m.yaml", "--yes").out
    assert "unknown, so the time leaves out other jobs: no node of the farm is in service" in alone
    with ScriptedNode(coordinator):
        behind = farm("submit", "m.yaml", "--yes", "--reroll").out
    assert re.search(r"^done +about \d\d:\d\d", behind, re.M), behind


def test_the_status_of_a_job_says_what_was_estimated_and_at_its_end_what_it_took(
    farm: Farm, coordinator: RunningFarm, node: ScriptedNode
) -> None:
    Path("m.yaml").write_text(MANIFEST)
    known = told(farm, "submit", "m.yaml", "--yes")["id"]
    assert re.search(r"^estimated: 4 images in [\d.]+ s for ", farm("status", "mugs").out, re.M)
    render(coordinator, node, known)
    view = told(farm, "status", known)["job"]
    assert view["took_s"] > 0
    said = farm("status", known).out
    assert re.search(r"^took [\d.]+ s, [\d.]+ s estimated; cost .* EUR, .* EUR estimated$", said, re.M), said


def test_what_only_a_node_that_is_away_takes_can_be_submitted(
    farm: Farm, coordinator: RunningFarm, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large = ScriptedNode(coordinator, name="large", vram_gib=24)
    large.leave()
    farm("node", "pause", "large")
    monkeypatch.setenv("FARM_CATALOGS", json.dumps([str(file) for file in coordinator.settings.catalogs]))
    (tmp_path / "tall.yaml").write_text(MANIFEST.replace("model: tiny", "model: tiny-24"))
    ran = farm("submit", "tall.yaml", "--yes")
    assert ran.code == 0, ran.err
    assert "No node in service can render these images" in ran.err
    assert "node large is paused by the operator" in farm("explain", "mugs").out


def test_status_names_what_does_not_go_on_and_where_more_is_said(farm: Farm, node: ScriptedNode) -> None:
    assert "`farm explain" not in farm("status").out
    farm("node", "quarantine", "node-1", "--reason", "green pictures")
    said = farm("status").out
    assert "node node-1 is quarantined by the operator: green pictures" in said
    assert "`farm explain JOB`" in said


def submitted_by(farm: Farm, owner: str, images: int) -> str:
    """The id of a job of the command line, whose prompt is the name of its owner."""
    Path("m.yaml").write_text(
        f"{{version: 1, shots: [{{name: a, model: tiny, prompt: {owner}, seeds: {images}, size: 128x128}}]}}"
    )
    answer = told(farm, "submit", "m.yaml", "--yes", "--owner", owner)
    assert answer["owner"] == owner
    return str(answer["id"])


def test_two_owners_of_the_command_line_share_the_farm_whatever_their_jobs(
    farm: Farm, node: ScriptedNode
) -> None:
    def serve(batches: int) -> list[str]:
        served = []
        for _ in range(batches):
            lease = node.lease()
            served.append(lease.shots[0].spec["prompt"])
            node.close(lease)
        return served

    for _ in range(2):
        studio = submitted_by(farm, "studio", 400)
    assert serve(3) == ["studio"] * 3
    submitted_by(farm, "shop", 40)

    # A new job counts from the farm's next look ahead on, which a busy machine delays.
    ahead = "shop recently received less work than studio"
    until(lambda: farm("explain", studio).out, lambda said: ahead in said)
    assert serve(1) == ["shop"]
    assert {job["owner"] for job in told(farm, "jobs")} == {"studio", "shop"}


def test_a_job_belongs_to_the_person_who_submits_it_unless_they_name_another_owner(
    farm: Farm, coordinator: RunningFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("m.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LOGNAME", "zoe")
    said = farm("submit", "m.yaml", "--yes").out
    assert "(mugs) of zoe: 4 images" in said
    assert "zoe" in farm("jobs").out
    assert "zoe" in farm("status").out
    assert re.search(r"Job j-\w+ \(mugs\) of zoe is waiting", farm("explain", "mugs").out)


@pytest.mark.parametrize(
    ("login", "owner"),
    [("zoe", "zoe"), ("_apt", "apt"), ("SHOP\\Zoë Lee", "SHOP-Zo-Lee"), ("王", "farm"), ("a" * 99, "a" * 63)],
)
def test_every_login_name_gives_an_owner(
    farm: Farm, coordinator: RunningFarm, monkeypatch: pytest.MonkeyPatch, login: str, owner: str
) -> None:
    Path("m.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LOGNAME", login)
    assert told(farm, "submit", "m.yaml", "--yes")["owner"] == owner


@pytest.mark.parametrize("name", ["", "ana berg", "-ana", "zoë", "a" * 64])
def test_what_cannot_be_the_name_of_an_owner_is_refused_in_one_sentence(farm: Farm, name: str) -> None:
    Path("m.yaml").write_text(MANIFEST)
    for command in ("submit", "run"):
        ran = farm(command, "m.yaml", f"--owner={name}")
        assert ran.code == 2
        assert f"`{name}`" in ran.err
        assert "cannot be the name of an owner: use up to 63 letters" in ran.err
