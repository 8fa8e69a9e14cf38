"""Model and LoRA files that are not what they should be fail the batch for the node; no shot is charged."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.catalog import load_catalog
from common.failures import Blame, failure
from common.messages import Close
from common.shot import LoraUse, Shot
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from gpu_node.identity import Hashes
from gpu_node.library import Library
from tests.engine_talk import ask, load_command, shot
from tests.node_worker import Worker, lease
from tests.scripted_farm import ScriptedFarm
from tests.tiny import save_lora

ENCODER = "text_encoder/model.safetensors"
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
ZEROS = "sha256:" + "0" * 64


class Payload:
    """Writes `file` when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.file,)


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A whole model that the test may spoil."""
    return shutil.copytree(tiny_model, tmp_path / "mine")


def close_of(worker: Worker, farm: ScriptedFarm, tmp_path: Path, one: Shot, *, lora: str = "") -> Close:
    """How the node, which holds `mine`, closes a batch of that shot."""
    catalog = tmp_path / "mine.yaml"
    catalog.write_text(
        "models:\n  mine: {like: shotfarm-demo, path: mine, identity: null}\n"
        f"loras:\n  style: {{base: shotfarm-demo, path: style.safetensors, license: own-work{lora}}}\n"
    )
    library = Library(load_catalog((catalog,)), (tmp_path,), Hashes(tmp_path / "hashes.json"))
    worker.context = replace(worker.context, library=library)
    worker.work(lease(one, model="mine"))
    assert farm.reports == []
    (close,) = farm.closes
    # Other models of the node are offered still.
    assert close.outcome == "released"
    assert failure(close.failure or "").blame is Blame.NODE
    return close


def load_error(engine: EngineClient, model: Path) -> str:
    """What the engine says of a model that it cannot load; nodes close their batches with it."""
    answer = ask(engine, load_command(model))[-1]
    assert isinstance(answer, protocol.Failed)
    assert answer.kind == "load_error"
    return answer.message


@pytest.mark.parametrize(("part", "keep"), [(ENCODER, 0), (ENCODER, 0.5), (TRANSFORMER, 0.999)])
def test_a_truncated_model_file_is_named(engine: EngineClient, model: Path, part: str, keep: float) -> None:
    whole = (model / part).read_bytes()
    (model / part).write_bytes(whole[: int(len(whole) * keep)])

    message = load_error(engine, model)

    assert f"{model / part} is not a complete safetensors file" in message
    assert "download the model again" in message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt"])
def test_a_pickle_is_refused_and_never_opened(
    engine: EngineClient, tmp_path: Path, model: Path, name: str
) -> None:
    (model / ENCODER).unlink()
    (model / "text_encoder" / name).write_bytes(pickle.dumps(Payload(tmp_path / "it ran")))

    assert f"{name} is a pickle" in load_error(engine, model)
    assert not (tmp_path / "it ran").exists()


def test_a_pickle_that_is_called_safetensors_is_never_opened(
    engine: EngineClient, tmp_path: Path, model: Path
) -> None:
    (model / ENCODER).write_bytes(pickle.dumps(Payload(tmp_path / "it ran")))

    assert load_error(engine, model)
    assert not (tmp_path / "it ran").exists()


def test_a_corrupt_model_file_is_named_to_the_farm(
    worker: Worker, farm: ScriptedFarm, tmp_path: Path, model: Path
) -> None:
    (model / TRANSFORMER).write_bytes(b"\xff" * 1000)

    close = close_of(worker, farm, tmp_path, shot())

    assert close.failure == "load_error"
    assert str(model / TRANSFORMER) in close.message


def test_a_model_that_is_one_file_is_missing(worker: Worker, farm: ScriptedFarm, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"all in one")

    close = close_of(worker, farm, tmp_path, shot())

    assert close.failure == "model_missing"
    assert str(tmp_path / "mine") in close.message


@pytest.mark.parametrize("content", [b"no safetensors", b"", None])
def test_a_lora_that_is_not_the_catalogs_is_the_nodes_failure(
    worker: Worker, farm: ScriptedFarm, tmp_path: Path, model: Path, content: bytes | None
) -> None:
    (tmp_path / "loras").mkdir()
    if content is not None:
        (tmp_path / "loras" / "style.safetensors").write_bytes(content)
    one = shot(loras=(LoraUse("style", ZEROS, 1.0),))

    close = close_of(worker, farm, tmp_path, one, lora=f", identity: '{ZEROS}'")

    assert close.failure == ("model_missing" if content is None else "model_mismatch")
    assert "style" in close.message


def test_a_lora_that_does_not_fit_fails_its_shots_and_no_other_batch(
    worker: Worker, farm: ScriptedFarm, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "loras").mkdir()
    save_lora(tmp_path / "loras" / "style.safetensors", tiny_model, strangers=2)
    wrong, plain = shot(seed=1, loras=(LoraUse("style", "", 1.0),)), shot(seed=2)

    worker.work(lease(wrong))
    worker.work(lease(plain))

    told = {report.shot_id: report for report in farm.reports}
    assert told[wrong.id].failure == "lora_rejected"
    assert told[plain.id].outcome == "delivered"
    assert [close.outcome for close in farm.closes] == ["finished", "finished"]
