"""An embedding is computed once by whichever node is first; no image depends on who computed it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from common.catalog import folder_identity
from common.embeddings import check_embedding, tensors_sha256
from common.errors import Invalid
from common.settings import Embeddings, Settings
from common.storage import EMBEDDINGS, Store
from common.views import Submit
from coordinator.client import FarmClient
from tests.farm import RunningFarm, running_farm, until
from tests.ingest_worker import ingest_worker
from tests.node_process import Node, NodeStarter
from tests.servers import S3Server, ValkeyServer

#: Of {seed}. Six prompts, two negative prompts with guidance and one without, and the empty text.
MANIFEST = """
version: 1
name: mugs
defaults: {{model: twin, size: 64x64, steps: 2, guidance: 0, seeds: [{seed}]}}
shots:
- {{name: plain, prompt: "a {{colour}} mug", axes: {{colour: [red, blue, green]}}}}
- name: guided
  prompt: a {{colour}} lamp
  negative: blurry {{colour}}
  axes: {{colour: [red, blue]}}
  guidance: 2.5
- {{name: other, prompt: a chair, negative: not used, seeds: [{seed}, 77{seed}]}}
- {{name: blind, prompt: a red mug, blind_steps: 1}}
output: {{name: "{{group}}-{{index}}-{{seed}}"}}
"""
#: Texts of `MANIFEST`, and images.
TEXTS, IMAGES = 9, 8
SEEDS = (1, 2, 3)


class Nodes:
    """Nodes one after the other, each with an engine that knows no text yet."""

    def __init__(self, farm: RunningFarm, client: FarmClient, start: NodeStarter) -> None:
        self._farm, self.client, self._start = farm, client, start
        self._started = 0

    def render(self, seed: int, *options: str) -> None:
        """Let a new node render the manifest with this seed."""
        job_id = self.submit(seed)
        node = self.start(*options)
        self.wait_for(job_id)
        assert node.stop() == 0

    def submit(self, seed: int) -> str:
        return self.client.submit(Submit(manifest=MANIFEST.format(seed=seed))).id

    def start(self, *options: str) -> Node:
        self._started += 1
        name = f"n{self._started}"
        return self._start(self._farm.url, "--name", name, "--home", name, *options)

    def wait_for(self, job_id: str, images: int = IMAGES) -> None:
        until(lambda: self.client.job(job_id).counts == {"done": images})


@contextmanager
def farm_with_nodes(
    folder: Path, broker: str, model: Path, engines: Mapping[str, str], **changes: object
) -> Iterator[tuple[RunningFarm, Nodes]]:
    home, nodes = folder / "farm", folder / "nodes"
    for each in (home, nodes):
        each.mkdir(parents=True)
    catalog = home / "models.yaml"
    identity = folder_identity(model)
    catalog.write_text(
        f'models:\n  twin: {{like: shotfarm-demo, path: {model.name}, identity: "{identity}"}}\n'
    )
    start = NodeStarter(model, nodes, engines)
    with (
        running_farm(home, broker, catalogs=(catalog,), **changes) as farm,
        ingest_worker(farm, home),
        closing(FarmClient(farm.url, "operator-key")) as client,
    ):
        try:
            yield farm, Nodes(farm, client, start)
        finally:
            start.end()


def pictures(store: Store) -> dict[str, str]:
    """Key of each image, which names its shot, to the SHA-256 of its pixels."""
    found = {}
    for key in store.keys("images/"):
        with Image.open(io.BytesIO(store.read(key, limit=2**20))) as image:
            found[key] = hashlib.sha256(image.tobytes()).hexdigest()
    return found


def counted(farm: RunningFarm) -> dict[str, float]:
    """Texts by the source of their embedding, and those encoded for want of a stored one by reason."""
    samples = [sample for metric in farm.farm.traffic.collect() for sample in metric.samples]
    return {
        next(iter(sample.labels.values())): sample.value
        for sample in samples
        if sample.name in ("farm_embeddings_total", "farm_embedding_fallbacks_total") and sample.value
    }


def replace(store: Store, key: str, change: Callable[[bytes], bytes]) -> None:
    data = store.read(key, limit=2**20)
    store.delete(key)
    store.create(key, change(data), content_type="application/octet-stream", metadata={})


def of_another_model(data: bytes) -> bytes:
    """A whole file of the same key with wider embeddings."""
    tensors = {name: torch.cat([tensor, tensor], -1) for name, tensor in load(data).items()}
    key = data.partition(b'"key":"')[2][:64].decode()
    return save(tensors, {"key": key, "sha256": tensors_sha256(save(tensors))})


def is_good(store: Store, key: str) -> bool:
    try:
        check_embedding(store.read(key, limit=2**20), key.removeprefix(EMBEDDINGS))
    except Invalid:
        return False
    return True


@pytest.fixture(scope="module")
def unshared(
    tmp_path_factory: pytest.TempPathFactory,
    valkey_server: ValkeyServer,
    tiny_model: Path,
    warm_engines: Mapping[str, str],
) -> dict[str, str]:
    """The pictures of a farm in which every node encodes all that it renders."""
    off = Embeddings(shared=False)
    folder = tmp_path_factory.mktemp("off")
    with farm_with_nodes(folder, valkey_server.url, tiny_model, warm_engines, embeddings=off) as (
        farm,
        nodes,
    ):
        for seed in SEEDS:
            nodes.render(seed)
        assert counted(farm) == {}
        assert farm.farm.store.keys(EMBEDDINGS) == []
        return pictures(farm.farm.store)


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_the_second_node_encodes_nothing_and_draws_the_same(
    kind: str,
    tmp_path: Path,
    own_valkey: ValkeyServer,
    tiny_model: Path,
    warm_engines: Mapping[str, str],
    unshared: dict[str, str],
    request: pytest.FixtureRequest,
) -> None:
    changes: dict[str, object] = {}
    if kind == "s3":
        s3: S3Server = request.getfixturevalue("s3_server")
        changes["storage"] = s3.storage.model_copy(update={"url": "s3://shared-embeddings"})
    with farm_with_nodes(tmp_path, own_valkey.url, tiny_model, warm_engines, **changes) as (farm, nodes):
        store, (first_seed, second_seed, third_seed) = farm.farm.store, SEEDS
        nodes.render(first_seed)
        first = counted(farm)
        assert (first["encoder"], first["missing"]) == (TEXTS, TEXTS)
        until(lambda: len(store.keys(EMBEDDINGS)) == TEXTS)

        nodes.render(second_seed)
        second = counted(farm)
        assert second == first | {"store": second["store"]}
        assert second["store"] - first.get("store", 0) >= TEXTS

        good, missing, truncated, flipped, unfit = store.keys(EMBEDDINGS)[:5]
        store.delete(missing)
        replace(store, truncated, lambda data: data[:-7])
        replace(store, flipped, lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        replace(store, unfit, of_another_model)
        nodes.render(third_seed)
        third = counted(farm)
        assert third["encoder"] == TEXTS + 4
        assert (third["missing"], third["damaged"], third["unfit"]) == (TEXTS + 1, 2, 1)
        # What was useless was replaced.
        until(lambda: all(is_good(store, key) for key in (good, missing, truncated, flipped)))
        until(lambda: load(store.read(unfit, limit=2**20))["prompt_embeds"].shape[-1] == 32)
        assert pictures(store) == unshared
    assert len(set(unshared.values())) == len(SEEDS) * IMAGES


#: A machine with room for a denoiser and VAE, but not for the text encoder: 11.6 MB.
LITTLE = """
{name: little, vram_gib: 8, usable_gib: 7, ram_gib: 0.0108, compute_capability: "6.1", watts: 100}
"""


def test_a_machine_without_room_for_the_text_encoder_renders_what_others_encoded(
    tmp_path: Path, own_valkey: ValkeyServer, tiny_model: Path, warm_engines: Mapping[str, str]
) -> None:
    card = tmp_path / "little.yaml"
    card.write_text(LITTLE)
    with farm_with_nodes(tmp_path, own_valkey.url, tiny_model, warm_engines) as (farm, nodes):
        nodes.render(1)
        nodes.render(2, "--card", str(card))
        encoded = counted(farm)["encoder"]
        assert encoded == TEXTS

        farm.farm.store.delete(farm.farm.store.keys(EMBEDDINGS)[0])
        job_id, little = nodes.submit(3), nodes.start("--card", str(card))
        until(lambda: counted(farm)["missing"] == TEXTS + 1)
        large = nodes.start()
        nodes.wait_for(job_id)
        assert [one.stop() for one in (little, large)] == [0, 0]
        assert counted(farm)["encoder"] == TEXTS + 1


#: Of {seed}: many prompts, each once.
DISTINCT = """
version: 1
name: distinct
defaults: {{model: twin, size: 64x64, steps: 20, guidance: 0, seeds: [{seed}]}}
shots:
- {{name: mug, prompt: "mug number {{number}}", axes: {{number: {{from: 1, to: 24}}}}}}
output: {{name: "{{group}}-{{index}}"}}
"""


def test_texts_are_encoded_ahead_for_a_machine_without_room_for_the_encoder(
    tmp_path: Path, own_valkey: ValkeyServer, tiny_model: Path, warm_engines: Mapping[str, str]
) -> None:
    card = tmp_path / "little.yaml"
    card.write_text(LITTLE)
    with farm_with_nodes(tmp_path / "ahead", own_valkey.url, tiny_model, warm_engines, look_ahead=False) as (
        farm,
        nodes,
    ):
        little = nodes.start("--card", str(card))
        until(lambda: [node.state for node in nodes.client.nodes()] == ["ready"])
        job_id = nodes.client.submit(Submit(manifest=DISTINCT.format(seed=1))).id
        said = " ".join(nodes.client.explain(job_id).sentences)
        assert "has encoded their texts" in said
        # Nothing tells how fast it is, so it takes one pass, and renders that while the other gets work.
        large = nodes.start()
        nodes.wait_for(job_id, 24)
        assert [one.stop() for one in (little, large)] == [0, 0]
        rendered = Counter(image.node for image in nodes.client.shots(job_id))
        assert rendered.keys() == {"n1", "n2"}
        # All that the one without room rendered was encoded by the other before it was its turn.
        assert counted(farm)["ahead"] >= rendered["n1"]
        with_ahead = pictures(farm.farm.store)
    off = Embeddings(shared=False)
    with farm_with_nodes(tmp_path / "off", own_valkey.url, tiny_model, warm_engines, embeddings=off) as (
        farm,
        nodes,
    ):
        job_id = nodes.client.submit(Submit(manifest=DISTINCT.format(seed=1))).id
        node = nodes.start()
        nodes.wait_for(job_id, 24)
        assert node.stop() == 0
        assert pictures(farm.farm.store) == with_ahead


def test_embeddings_are_shared_unless_the_settings_say_otherwise() -> None:
    assert Settings().embeddings.shared
