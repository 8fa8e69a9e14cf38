"""A LoRA that does not fit is refused when its manifest is submitted, by the headers in the store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from common.views import CatalogAddition, Submit
from coordinator.models.publish import publish
from tests.farm import MANIFEST, RunningFarm
from tests.lora_matrix import Shapes, loha, lokr, peft
from tests.published import Model, Placed
from tests.unit.weights.files import safetensors_bytes

LAYER = "transformer.layers.0.attention.to_q"


def add_model(farm: RunningFarm, operator: httpx.Client, folder: Path) -> None:
    (folder / "transformer").mkdir(parents=True)
    content = safetensors_bytes({"layers.0.attention.to_q.weight": (64, 64)})
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(content)
    (folder / "model_index.json").write_bytes(b"{}")
    added(farm, operator, Model.of(folder, like="tiny", base="mine", path="mine"))


def add_lora(farm: RunningFarm, operator: httpx.Client, file: Path, shapes: Shapes) -> None:
    file.write_bytes(safetensors_bytes(shapes))
    identity = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    entry = {"base": "mine", "path": file.name, "license": "own-work", "identity": identity}
    added(farm, operator, Model([Placed(file.name, file)], entry, section="loras", name="style"))


def added(farm: RunningFarm, operator: httpx.Client, model: Model) -> None:
    def add_entry(addition: CatalogAddition) -> None:
        operator.post("/v1/models", json=addition.model_dump()).raise_for_status()

    publish(model, farm.farm.store, add_entry)


def submit(operator: httpx.Client) -> httpx.Response:
    manifest = MANIFEST.replace("model: tiny", "model: mine\n  loras: [style]")
    return operator.post("/v1/jobs", json=Submit(manifest=manifest).model_dump())


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (peft(LAYER, 64, 64), ""),
        (peft(LAYER, 32, 32), f"its layer `{LAYER}` is 32×32, that of the model 64×64"),
        (peft(LAYER, 64, 64) | peft(LAYER.replace("0", "9"), 64, 64), "the model has only 1 of its 2 layers"),
        (peft(LAYER.removeprefix("transformer."), 64, 64), "its layers lack the prefix `transformer.`"),
        (peft(LAYER, 64, 64, up_rank=5), "different ranks, 2 and 5"),
        (loha(LAYER, 64, 64), ""),
        (lokr(LAYER, 64, 32), f"its layer `{LAYER}` is 64×32, that of the model 64×64"),
    ],
)
def test_a_lora_in_the_store_is_judged_when_a_manifest_is_submitted(
    shapes: Shapes, said: str, farm: RunningFarm, operator: httpx.Client, tmp_path: Path
) -> None:
    add_model(farm, operator, tmp_path / "mine")
    add_lora(farm, operator, tmp_path / "style.safetensors", shapes)

    answer = submit(operator)

    if not said:
        assert answer.status_code == 201
        return
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(
        "manifest:7:3: shots[0].loras: LoRA `style` cannot work on `mine`: "
    )
    assert said in answer.json()["detail"]


def test_a_lora_whose_file_the_farm_has_not_seen_is_left_to_the_node(
    farm: RunningFarm, operator: httpx.Client, tmp_path: Path
) -> None:
    add_model(farm, operator, tmp_path / "mine")
    entry = {
        "base": "mine",
        "path": "style.safetensors",
        "license": "own-work",
        "identity": "sha256:" + "7" * 64,
    }
    lora = CatalogAddition(section="loras", name="style", entry=entry)
    operator.post("/v1/models", json=lora.model_dump()).raise_for_status()

    assert submit(operator).status_code == 201


def test_a_lora_that_is_replaced_is_judged_anew(
    farm: RunningFarm, operator: httpx.Client, tmp_path: Path
) -> None:
    add_model(farm, operator, tmp_path / "mine")
    add_lora(farm, operator, tmp_path / "style.safetensors", peft(LAYER, 32, 32))
    assert submit(operator).status_code == 422

    add_lora(farm, operator, tmp_path / "better.safetensors", peft(LAYER, 64, 64))

    assert submit(operator).status_code == 201
