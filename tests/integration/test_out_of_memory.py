"""Engines that run out of memory under a real cap: the shot outgrows the class, and nobody is to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from common.settings import Embeddings
from common.units import format_gib
from coordinator.ledger import open_engine
from coordinator.ledger.schema import attempts, nodes, shots
from tests import waiting
from tests.farm import RunningFarm, running_farm, until
from tests.ingest_worker import ingest_worker
from tests.node_process import Node, NodeStarter
from tests.servers import ValkeyServer

#: Under the cap of `tests/memory_cap` mugs are rendered, the poster is not.
MUGS = "{name: mug, model: tiny, prompt: a mug, seeds: 2, steps: 1, size: 64x64}"
POSTER = "{name: poster, model: tiny, prompt: a poster, seeds: 1, steps: 1, size: 512x512}"
CAP = Path(__file__).parents[1] / "memory_cap"

StartNode = Callable[..., Node]


@pytest.fixture
def farm(own_valkey: ValkeyServer, tiny_catalog: Path) -> Iterator[RunningFarm]:
    with (
        # Peaks are told of passes whose text encoder is loaded.
        running_farm(
            tiny_catalog.parent, own_valkey.url, catalogs=(tiny_catalog,), embeddings=Embeddings(shared=False)
        ) as running,
        ingest_worker(running, tiny_catalog.parent),
    ):
        yield running


@pytest.fixture
def start(farm: RunningFarm, tiny_model: Path, tmp_path: Path) -> Iterator[StartNode]:
    """Starts a node of that name and class (GB), whose engine has a memory cap or none."""
    starters: list[NodeStarter] = []

    def started(name: str, vram_gib: int, *, capped: bool = False) -> Node:
        folder = tmp_path / name
        folder.mkdir()
        card = folder / "card.yaml"
        card.write_text(
            f"{{name: {name}, vram_gib: {vram_gib}, usable_gib: {vram_gib}, ram_gib: 16, "
            'compute_capability: "6.1", watts: 100}'
        )
        starters.append(NodeStarter(tiny_model, folder, {"PYTHONPATH": str(CAP)} if capped else None))
        node = starters[-1](farm.url, "--name", name, "--card", str(card), "--threads", "1")
        node.wait_until_it_says(f"joined as {name}")
        return node

    yield started
    for starter in starters:
        starter.end()


def submit(operator: httpx.Client, *entries: str) -> str:
    manifest = f"version: 1\nname: prints\nshots: [{', '.join(entries)}]\n"
    return str(operator.post("/v1/jobs", json={"manifest": manifest}).raise_for_status().json()["id"])


def job_of(operator: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = operator.get(f"/v1/jobs/{job}").json()
    return found


def rows(farm: RunningFarm, query: Any) -> list[Any]:
    engine = open_engine(farm.settings.database)
    try:
        with engine.connect() as connection:
            return list(connection.execute(query))
    finally:
        engine.dispose()


def failed_attempts(farm: RunningFarm) -> list[Any]:
    return rows(farm, select(attempts).where(attempts.c.state == "failed"))


def test_a_shot_that_runs_out_of_memory_is_rendered_one_class_up_and_nobody_is_to_blame(
    farm: RunningFarm, operator: httpx.Client, start: StartNode
) -> None:
    node = start("small", 8, capped=True)
    job = submit(operator, POSTER)
    waiting.until(lambda: failed_attempts(farm), evidence=lambda: node.said)

    (attempt,) = failed_attempts(farm)
    (poster,) = rows(farm, select(shots).where(shots.c.id == attempt.shot_id))
    assert (poster.state, poster.min_class, poster.attempts, poster.crashes) == ("waiting", 12, 0, 0)
    assert (attempt.failure, attempt.node_id) == ("out_of_memory", "small")
    assert attempt.peak_bytes > 0
    assert f"ran out of memory at {format_gib(attempt.peak_bytes)}" in attempt.message
    told = operator.get(f"/v1/explain/{attempt.shot_id}").json()
    assert "need a card of 12 GB or more" in " ".join(told["sentences"])

    mugs = submit(operator, MUGS)
    until(lambda: job_of(operator, mugs)["counts"] == {"done": 2})
    (small,) = rows(farm, select(nodes))
    assert "x" not in small.record
    assert job_of(operator, job)["counts"] == {"waiting": 1}

    start("larger", 12)
    until(lambda: job_of(operator, job)["counts"] == {"done": 1})
    stored = attempts.c.shot_id == poster.id, attempts.c.state == "stored"
    (second,) = rows(farm, select(attempts).where(*stored))
    assert second.node_id == "larger"
    assert second.peak_bytes > attempt.peak_bytes


def test_a_shot_that_outgrows_the_largest_class_says_at_how_much_and_can_be_requeued(
    farm: RunningFarm, operator: httpx.Client, start: StartNode
) -> None:
    node = start("large", 32, capped=True)
    job = submit(operator, POSTER)
    until(lambda: job_of(operator, job)["counts"] == {"unschedulable": 1})

    (told,) = job_of(operator, job)["failures"]
    (attempt,) = failed_attempts(farm)
    assert told["kind"] == "out_of_memory"
    assert f"at {format_gib(attempt.peak_bytes)}" in told["message"]
    assert "on 32 GB" in told["message"]
    assert operator.get("/v1/status").json()["misfits"] == [{"reason": told["message"], "shots": 1}]
    explained = operator.get(f"/v1/explain/{attempt.shot_id}").json()
    assert f"`farm requeue {job}`" in explained["remedy"]
    assert node.stop() == 0

    operator.post(f"/v1/jobs/{job}/requeue").raise_for_status()
    assert job_of(operator, job)["counts"] == {"waiting": 1}
    start("uncapped", 32)
    until(lambda: job_of(operator, job)["counts"] == {"done": 1})
