"""Nodes that hold nothing: what their work needs arrives from the farm, or they say why it does not."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from common.access_messages import NewInvitation
from common.cards import load_card
from common.catalog import ServedCatalog, build_catalog, with_entry
from common.transfers import transfer
from common.views import NodeView, Submit
from coordinator.client import FarmClient
from coordinator.models.publish import publish
from gpu_node.agent.canaries import shipped_canaries
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import open_store_client
from gpu_node.agent.first_run import FirstRun
from gpu_node.agent.offers import Offers
from gpu_node.agent.prefetch import Prefetch
from gpu_node.cache import ModelCache
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.measured import MeasuredRecipes
from tests.engine_talk import shot
from tests.farm import MANIFEST, running_farm, until
from tests.node_process import Node
from tests.node_worker import Worker, lease
from tests.published import Model
from tests.scripted_farm import ScriptedFarm
from tests.servers import ValkeyServer

CARD = Path(__file__).parents[2] / "manifests" / "cards" / "gtx-1070.yaml"
IDENTITY = "sha256:" + "5" * 64


def start(client: FarmClient, name: str, machine: Path) -> Node:
    """A node of a machine that has an invitation and nothing else."""
    home = machine / name
    home.mkdir(parents=True)
    invitation = client.invite_node(NewInvitation(name=name, owner="ana", terms="owned")).text
    command = [sys.executable, "-m", "gpu_node.cli", "run", "--invite", invitation]
    command += ["--card", str(CARD), "--home", str(home)]
    return Node([*command, "--model-cache", str(machine / "cache")], home, {})


def test_nodes_of_a_machine_with_an_empty_disk_render_what_their_farm_serves(
    tmp_path: Path, own_valkey: ValkeyServer, tiny_model: Path
) -> None:
    home, machine = tmp_path / "farm", tmp_path / "machine"
    home.mkdir()
    with running_farm(home, own_valkey.url) as farm, closing(FarmClient(farm.url, "operator-key")) as client:

        def node(name: str) -> NodeView | None:
            return next((one for one in client.nodes() if one.name == name), None)

        first = start(client, "first", machine)
        until(lambda: node("first") is not None)
        publish(
            Model.of(tiny_model, "twin", like="shotfarm-demo", path="twin"), farm.farm.store, client.add_entry
        )
        job = client.submit(Submit(manifest=MANIFEST.replace("model: tiny", "model: twin")))
        until(lambda: client.job(job.id).counts.get("delivered") == 4)

        done = node("first")
        assert done is not None
        assert "twin" in done.models
        assert done.owner == "ana"
        assert (done.fetches, done.aside) == ((), {})
        second = start(client, "second", machine)
        until(lambda: node("second") is not None)
        shared = node("second")
        assert shared is not None
        assert "twin" in shared.models
        assert shared.fetches == ()
        assert (first.stop(), second.stop()) == (0, 0)
        fetched_ahead(farm.url, tmp_path / "other", tiny_model)


def fetched_ahead(url: str, machine: Path, model: Path) -> None:
    """A node of another machine has the model before its first batch, with a file that its owner had."""
    own = machine / "ComfyUI" / "diffusion_models" / "z.safetensors"
    own.parent.mkdir(parents=True)
    weights = Path("transformer", "diffusion_pytorch_model.safetensors")
    shutil.copy(model / weights, own)
    card, stopping = load_card(CARD), threading.Event()
    with (
        closing(Coordinator(url, "node-key")) as coordinator,
        open_store_client() as store,
        closing(ModelCache(machine, 10**9)) as cache,
    ):
        served = coordinator.catalog()
        hashes = Hashes(machine / "hashes.json")
        library = Library(build_catalog(served), (machine / "ComfyUI",), hashes, cache, served.files)
        offers = Offers(coordinator, library, card, served.version)
        before = offers.offer()
        assert before.fetch_s["twin"] == library.fetch_bytes("twin", card) / cache.rate > 0
        ahead = Prefetch(coordinator, store, library, offers, card, stopping)
        ahead.begin("twin", ScriptedFarm().joined())
        until(lambda: "twin" not in offers.offer().fetches)
        assert "twin" not in offers.offer().fetch_s
        folder = library.model_folder("twin")
        assert folder is not None
        assert own.samefile(folder / weights)
        # It makes room for others as if it had been used.
        lock = machine / "locks" / f"{(library.catalog.models['twin'].identity or '')[7:]}.use"
        until(lock.exists)


@pytest.fixture
def fetching(worker: Worker, farm: ScriptedFarm, tmp_path: Path) -> Iterator[Worker]:
    """A worker that fetches the model `far`, of which its farm has only told."""
    entries = with_entry(
        farm.catalog, "models", "far", {"like": "tiny", "path": "far", "identity": IDENTITY}, source="far"
    )
    farm.publish(ServedCatalog(version="2", files={IDENTITY: 1000}, **dict(entries)))
    with closing(ModelCache(tmp_path / "cache", 10_000)) as cache:
        hashes = Hashes(tmp_path / "hashes.json")
        library = Library(build_catalog(farm.catalog), (), hashes, cache, farm.catalog.files)
        worker.context.offers.library = library
        yield replace(worker, context=replace(worker.context, library=library))


def test_a_model_that_cannot_be_fetched_is_put_aside_and_blames_neither_node_nor_shot(
    fetching: Worker, farm: ScriptedFarm
) -> None:
    offers = fetching.context.offers
    assert offers.offer().fetches == ("far",)
    with offers.following(farm.joined()):
        farm.wait_for(lambda: farm.holdings)  # the newer catalog is read: what is put aside now stays so
        fetching.work(lease(shot(), model="far"))

    (close,) = farm.closes
    assert (close.outcome, close.failure) == ("released", None)
    told = farm.holdings[-1]
    assert "far" not in told.models
    assert told.aside["far"].startswith(f"far: the store has no model file {IDENTITY[7:]}")
    assert farm.reports == []


def test_a_model_that_cannot_be_fetched_keeps_no_new_node_from_joining(
    fetching: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context, said = fetching.context, list[str]()
    card = context.share.card
    # The farm has a model of its own under the name of the one whose images are known.
    canaries = shipped_canaries().model_copy(update={"identity": IDENTITY})
    prefetch = Prefetch(
        context.coordinator, context.store, context.library, context.offers, card, context.stopping
    )
    known = MeasuredRecipes(tmp_path, card, "")
    FirstRun(replace(context, prefetch=prefetch), known, transfer, said.append, canaries=canaries).run()
    assert said == [
        f"far was not tried: far: the store has no model file {IDENTITY[7:]}; the node joins all the same"
    ]
    assert capsys.readouterr().err == "fetching far: 0 % of 1000 B\n"
