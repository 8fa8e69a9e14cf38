"""A worker with a real engine and a farm by script that it works for; who asks a whole farm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from common.catalog import folder_identity, load_catalog
from common.nodes import Card
from gpu_node.agent.announced import Announced
from gpu_node.agent.batch import NodeContext
from gpu_node.agent.compiling import Compiling
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import open_store_client
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.offers import Offers
from gpu_node.agent.prefetch import Prefetch
from gpu_node.agent.progress import Progress
from gpu_node.energy import DeclaredMeter
from gpu_node.identity import Hashes
from gpu_node.library import Library
from gpu_node.machine import Share
from gpu_node.power import PowerCap
from tests import farm as coordinators
from tests.engine_talk import running_engine
from tests.farm import RunningFarm, ScriptedNode, card
from tests.faults.engines import with_engine
from tests.node_process import NodeStarter
from tests.node_worker import WATTS, Worker
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.servers import ValkeyServer


@pytest.fixture
def farm() -> Iterator[ScriptedFarm]:
    with running_farm(ScriptedFarm()) as farm:
        yield farm


@pytest.fixture(params=["directory", "s3"])
def farm_of_each_store(
    request: pytest.FixtureRequest, tmp_path: Path, own_valkey: ValkeyServer
) -> Iterator[RunningFarm]:
    """A whole coordinator with its store in a folder, and in a bucket that the tests of a run share."""
    storage = (
        {} if request.param == "directory" else {"storage": request.getfixturevalue("s3_server").storage}
    )
    with coordinators.running_farm(tmp_path, own_valkey.url, **storage) as running:
        yield running


@pytest.fixture(scope="session")
def lasting_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    """One real engine for all modules of this worker: its start takes several seconds of processor."""
    client = EngineClient(device="cpu", threads=1, home=tmp_path_factory.mktemp("engine"))
    yield client
    client.stop()


@pytest.fixture(scope="module")
def engine(lasting_engine: EngineClient) -> EngineClient:
    """Runs, and is not known to hold anything."""
    lasting_engine.resume()
    lasting_engine.start()
    lasting_engine.held, lasting_engine.texts = None, frozenset()
    return lasting_engine


@pytest.fixture(scope="module")
def drawing_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    """Starts in a second: for tests in which it does not matter what the pictures show."""
    home, path = tmp_path_factory.mktemp("engine"), with_engine("quick")["PYTHONPATH"]
    with running_engine(home, {"PYTHONPATH": path}) as client:
        yield client


@pytest.fixture
def worker(farm: ScriptedFarm, engine: EngineClient, tiny_model: Path, tmp_path: Path) -> Iterator[Worker]:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        f"models:\n  tiny: {{like: shotfarm-demo, path: {tiny_model.name}, identity: null}}\n"
        "loras:\n  style: {base: shotfarm-demo, path: style.safetensors, license: own-work}\n"
    )
    library = Library(
        load_catalog((catalog,)), (tiny_model.parent, tmp_path), Hashes(tmp_path / "hashes.json")
    )
    coordinator = Coordinator(farm.url, "key")
    own_card = Card(**card(8).model_dump())
    offers = Offers(coordinator, library, own_card, farm.catalog.version)
    announced = Announced(farm.url)
    with open_store_client(announced) as store:
        stopping = threading.Event()
        context = NodeContext(
            coordinator=coordinator,
            announced=announced,
            store=store,
            engine=engine,
            library=library,
            offers=offers,
            compiling=Compiling(tmp_path, own_card, "", wanted=True),
            share=Share(None, own_card, 1, fixed_threads=None),
            power=PowerCap(None, lambda: 0.0),
            prefetch=Prefetch(coordinator, store, library, offers, own_card, stopping),
            stopping=stopping,
        )
        yield Worker(farm, context, Progress(DeclaredMeter(WATTS), lambda: engine.held))
    coordinator.close()


@pytest.fixture
def start_node(tiny_model: Path, tmp_path: Path) -> Iterator[NodeStarter]:
    """Starts nodes whose engines only draw: what they say and how they end does not depend on pictures."""
    starter = NodeStarter(tiny_model, tmp_path, {"PYTHONPATH": with_engine("quick")["PYTHONPATH"]})
    yield starter
    starter.end()


@pytest.fixture
def operator(farm: RunningFarm) -> Iterator[httpx.Client]:
    """Where a test's `farm` is a whole coordinator."""
    with farm.client() as client:
        yield client


@pytest.fixture
def node(farm: RunningFarm) -> Iterator[ScriptedNode]:
    """A node of a whole coordinator."""
    with ScriptedNode(farm) as node:
        yield node


@pytest.fixture
def tiny_catalog(tiny_model: Path, tmp_path: Path) -> Path:
    """A catalog file whose one model is the tiny one, in a folder for a farm."""
    file = tmp_path / "farm" / "models.yaml"
    file.parent.mkdir()
    identity = folder_identity(tiny_model)
    file.write_text(
        f'models:\n  tiny: {{like: shotfarm-demo, path: {tiny_model.name}, identity: "{identity}"}}\n'
    )
    return file
