"""A manifest with textual inversions is submitted if the store has what its prompts name, and it fits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from common.views import Submit
from tests.farm import RunningFarm
from tests.integration.api.test_lora_submit import added
from tests.published import Model, Placed
from tests.unit.weights.files import safetensors_bytes

SDXL = {"clip_l": (2, 768), "clip_g": (2, 1280)}


@pytest.fixture
def identified(farm: RunningFarm, operator: httpx.Client) -> None:
    """Models with identities, whose files nobody looks at."""
    for name in ("sd15", "sdxl"):
        entry = {"like": name, "identity": f"sha256:{'3' * 64}"}
        addition = {"section": "models", "name": f"my-{name}", "entry": entry}
        operator.post("/v1/models", json=addition).raise_for_status()


def add(
    farm: RunningFarm, operator: httpx.Client, folder: Path, shapes: dict[str, tuple[int, ...]], family: str
) -> None:
    file = folder / "ana.safetensors"
    file.write_bytes(safetensors_bytes(shapes))
    identity = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    entry = {"family": family, "path": file.name, "license": "own-work", "identity": identity, "vectors": 2}
    placed = [Placed(file.name, file)]
    added(farm, operator, Model(placed, entry, section="textual_inversions", name="ana"))


def submit(operator: httpx.Client, model: str = "my-sdxl", prompt: str = "embedding:ana") -> str:
    manifest = f"version: 1\nshots:\n- model: {model}\n  prompt: a cat\n  negative: {prompt}\n"
    answer = operator.post("/v1/jobs", json=Submit(manifest=manifest).model_dump())
    assert answer.status_code in (201, 422)
    return "" if answer.status_code == 201 else str(answer.json()["detail"])


@pytest.mark.usefixtures("identified")
def test_one_that_the_store_has_is_taken(farm: RunningFarm, operator: httpx.Client, tmp_path: Path) -> None:
    said = submit(operator)
    assert "shots[0].negative: unknown textual inversion `ana`; add it with `farm models add FILE`" in said
    add(farm, operator, tmp_path, SDXL, "sdxl")
    assert submit(operator) == ""
    assert ":5:13: shots[0].negative: textual inversion `ana` is for sdxl" in submit(operator, "my-sd15")
    operator.delete("/v1/models/ana", params={"section": "textual_inversions"}).raise_for_status()
    assert "unknown textual inversion `ana`" in submit(operator)


@pytest.mark.usefixtures("identified")
@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"emb_params": (2, 768)}, "its vectors are for sd15, not for sdxl; add it again"),
        ({"clip_l": (3, 768), "clip_g": (3, 1280)}, "its file has 3 vectors, its entry says 2"),
        ({"a": (2, 768), "b": (2, 768)}, "its vectors are for no family of the farm, not for sdxl"),
    ],
)
def test_a_file_that_is_not_what_its_entry_says_is_refused(
    farm: RunningFarm, operator: httpx.Client, tmp_path: Path, shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    add(farm, operator, tmp_path, shapes, "sdxl")
    assert said in submit(operator)


@pytest.mark.usefixtures("identified")
def test_one_without_a_file_in_the_store_is_refused_with_the_command_that_puts_it_there(
    operator: httpx.Client,
) -> None:
    entry: dict[str, object] = {
        "family": "sdxl",
        "path": "ana.safetensors",
        "license": "own-work",
        "vectors": 2,
    }
    entry |= {"identity": f"sha256:{'4' * 64}"}
    addition = {"section": "textual_inversions", "name": "ana", "entry": entry}
    operator.post("/v1/models", json=addition).raise_for_status()
    assert "the store has no file of it; run `farm models publish ana`" in submit(operator)


def test_an_entry_of_a_family_without_them_is_refused(operator: httpx.Client) -> None:
    entry: dict[str, object] = {"family": "z-image", "path": "ana.pt", "license": "own-work", "vectors": 2}
    entry |= {"identity": f"sha256:{'4' * 64}"}
    addition = {
        "section": "textual_inversions",
        "name": "ana",
        "entry": entry | {"identity": f"sha256:{'4' * 64}"},
    }
    answer = operator.post("/v1/models", json=addition)
    assert answer.status_code == 422
    said = answer.json()["detail"]
    assert "`z-image` takes no textual inversions; those that do are `sdxl`, `sd15`" in said
    assert "is a pickle, which can run code and is never opened" in said
