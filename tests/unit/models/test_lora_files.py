"""LoRAs are judged by the headers of files, where these are: in model folders or in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from common.catalog import Catalog, Lora, Model, listing_identity, load_catalog
from common.catalog.identity import listing
from common.errors import Unavailable
from common.storage import MODELS
from common.storage.directory import DirectoryStore
from common.storage.signing import UrlSigner
from coordinator.models.lora_files import Headers, LocalHeaders, LoraFiles, StoredHeaders
from tests.lora_matrix import kohya, peft
from tests.unit.weights.files import safetensors_bytes

CATALOG = load_catalog()
DENOISER: dict[str, tuple[int, ...]] = {"layers.0.attention.to_q.weight": (64, 64)}
GOOD, WIDE = (
    peft("transformer.layers.0.attention.to_q", 64, 64),
    peft("transformer.layers.0.attention.to_q", 9, 9),
)


def files_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, bytes]:
    """A model of two shards, beside which lie a file that no LoRA changes and one that no pipeline reads."""
    rest = {"layers.1.attention.to_q.weight": (64, 64)}
    return {
        "transformer/diffusion_pytorch_model-1.safetensors": safetensors_bytes(shapes),
        "transformer/diffusion_pytorch_model-2.safetensors": safetensors_bytes(rest),
        "vae/diffusion_pytorch_model.safetensors": b"broken",
        "transformer/openvino_model.bin": b"",
    }


def stored(store: DirectoryStore, content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    store.create(MODELS + sha256, content, content_type="x", metadata={})
    return sha256


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store", UrlSigner("secret", "http://farm"))


@pytest.fixture
def model() -> Model:
    return replace(CATALOG.models["z-image-turbo"], path="mine")


@pytest.fixture
def lora() -> Lora:
    return replace(CATALOG.loras["ana_v2"], path="ana.safetensors")


def in_store(
    store: DirectoryStore, model: Model, lora: Lora, shapes: dict[str, tuple[int, ...]]
) -> tuple[Lora, Model]:
    hashes = {path: stored(store, content) for path, content in files_of(DENOISER).items()}
    stored(store, listing(hashes).encode())
    identity = f"sha256:{stored(store, safetensors_bytes(shapes))}"
    return replace(lora, identity=identity), replace(model, identity=listing_identity(hashes))


def in_folder(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    for path, content in files_of(DENOISER).items():
        (folder / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mine" / path).write_bytes(content)
    (folder / "loras").mkdir()
    (folder / "loras" / "ana.safetensors").write_bytes(safetensors_bytes(shapes))


@pytest.mark.parametrize(("shapes", "said"), [(GOOD, None), (WIDE, "is 9×9, that of the model 64×64")])
def test_files_in_the_store_are_judged(
    shapes: dict[str, tuple[int, ...]], said: str | None, store: DirectoryStore, model: Model, lora: Lora
) -> None:
    pair = in_store(store, model, lora, shapes)

    why = LoraFiles([StoredHeaders(store)]).misfit(*pair)

    assert why is None if said is None else said in str(why)


@pytest.mark.parametrize(("shapes", "said"), [(GOOD, None), (WIDE, "is 9×9, that of the model 64×64")])
def test_files_on_this_machine_are_judged(
    shapes: dict[str, tuple[int, ...]], said: str | None, tmp_path: Path, model: Model, lora: Lora
) -> None:
    in_folder(tmp_path, shapes)

    why = LoraFiles([LocalHeaders((tmp_path,))]).misfit(lora, model)

    assert why is None if said is None else said in str(why)


def test_a_header_longer_than_the_first_look_is_read_whole(
    store: DirectoryStore, model: Model, lora: Lora
) -> None:
    many = {key: shape for n in range(4000) for key, shape in peft(f"transformer.layers.{n}.x", 4, 4).items()}
    pair = in_store(store, model, lora, many)

    assert "none of its 4000 layers" in str(LoraFiles([StoredHeaders(store)]).misfit(*pair))


def test_a_lora_alone_is_judged_by_its_own_file(tmp_path: Path, model: Model, lora: Lora) -> None:
    (tmp_path / "loras").mkdir()
    file = tmp_path / "loras" / "ana.safetensors"
    judge = LoraFiles([LocalHeaders((tmp_path,))], now=iter(range(0, 10_000, 100)).__next__)
    file.write_bytes(safetensors_bytes(WIDE))
    assert judge.misfit(lora, model) is None
    file.write_bytes(safetensors_bytes({"layers.0.lora_A.weight": (2, 4)}))
    assert "lacks one of its two tensors" in str(judge.misfit(lora, model))
    file.write_bytes(b"\x80 a pickle")
    assert "its file cannot be read: " in str(judge.misfit(lora, model))


def test_what_nobody_has_is_not_judged_and_looked_for_again_later(
    tmp_path: Path, model: Model, lora: Lora
) -> None:
    seconds = 0.0
    judge = LoraFiles([LocalHeaders((tmp_path,))], now=lambda: seconds)
    assert judge.misfit(lora, model) is None

    in_folder(tmp_path, WIDE)

    assert judge.misfit(lora, model) is None
    seconds = 61.0
    assert "9×9" in str(judge.misfit(lora, model))


def test_a_model_whose_files_are_not_weights_is_no_reason_to_refuse_a_lora(
    tmp_path: Path, model: Model, lora: Lora
) -> None:
    in_folder(tmp_path, GOOD)
    (tmp_path / "mine/transformer/diffusion_pytorch_model-1.safetensors").write_bytes(b"broken")

    assert LoraFiles([LocalHeaders((tmp_path,))]).misfit(lora, model) is None


class Away:
    """A store that does not answer."""

    def of_lora(self, lora: Lora) -> None:
        raise Unavailable("away")

    def of_model(self, model: Model) -> None:
        raise Unavailable("away")


def test_a_store_that_is_away_refuses_no_lora(model: Model, lora: Lora) -> None:
    sources: list[Headers] = [Away()]

    assert LoraFiles(sources).misfit(lora, model) is None


def test_the_shipped_lora_fits_the_shipped_model() -> None:
    judge = LoraFiles([LocalHeaders(())])

    assert judge.misfit(CATALOG.loras["blueprint"], CATALOG.models["shotfarm-demo"]) is None
    assert judge.modules(CATALOG.models["shotfarm-demo"]) is not None


def test_kohya_names_of_a_known_model_are_judged_too(store: DirectoryStore, model: Model, lora: Lora) -> None:
    pair = in_store(store, model, lora, kohya("lora_unet_layers_7_attention_to_q", 64, 64))

    assert "none of its 1 layers" in str(LoraFiles([StoredHeaders(store)]).misfit(*pair))


def test_a_catalog_knows_no_files_by_itself(model: Model, lora: Lora) -> None:
    assert Catalog(models={}, loras={}).judge(lora, model) is None
