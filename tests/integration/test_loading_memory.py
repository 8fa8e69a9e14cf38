"""What loading takes of the host's memory, against what a plan says that it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from common.catalog import load_catalog
from common.fit import ram_bytes
from common.units import MIB
from gpu_node import protocol
from tests.engine_talk import load_command

#: What libraries take for themselves while they load.
OWN = 48 * MIB

#: Begins with the libraries, whose import takes longer than what is measured, and has a copy of itself answer
#: each line of its input: the command to load, where hashes are kept, and commands to embed texts.
#: Prints how much anonymous memory that took at the most.
#: Mapped files do not count: the system takes their pages back when it needs them.
LOADER = """
import json, os, sys, threading
from pathlib import Path
import diffusers, transformers
from gpu_node.identity import Hashes
from gpu_node.engine.pipelines import LoadedModelSlot
from gpu_node.protocol import Encode, Load

getattr(diffusers, "ZImagePipeline"), getattr(transformers, "Qwen3Model")

def anonymous():
    told = Path("/proc/self/status").read_text().split("RssAnon:")[1]
    return int(told.split()[0]) * 1024

def taken(load, hashes, *texts):
    def watch():
        while not loaded.wait(0.002):
            seen.append(anonymous())

    loaded, seen = threading.Event(), [anonymous()]
    watcher = threading.Thread(target=watch)
    watcher.start()
    slot = LoadedModelSlot("cpu", Hashes(Path(hashes)))
    slot.hold(Load.model_validate_json(load))
    for each in texts:
        slot.model.texts.encode(Encode.model_validate_json(each), lambda: None)
    loaded.set()
    watcher.join()
    return max(seen) - seen[0]

for line in sys.stdin:
    if child := os.fork():
        os.waitpid(child, 0)
        print(flush=True)
    else:
        print(taken(*json.loads(line)), end="", flush=True)
        os._exit(0)
"""
#: Bytes that loading, and embedding texts, took at the most; hashes are kept in the folder.
TakenBy = Callable[..., int]


@pytest.fixture(scope="module")
def taken_by() -> Iterator[TakenBy]:
    loader = subprocess.Popen(
        [sys.executable, "-c", LOADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def taken(folder: Path, *commands: protocol.Command) -> int:
        load, *texts = (command.model_dump_json() for command in commands)
        assert loader.stdin is not None
        assert loader.stdout is not None
        print(json.dumps([load, str(folder / "hashes.json"), *texts]), file=loader.stdin, flush=True)
        return int(loader.stdout.readline())

    with loader:
        yield taken
        assert loader.stdin is not None
        loader.stdin.close()


class Medium(NamedTuple):
    """A pipeline large enough for its weights to stand out."""

    folder: Path
    #: To the number of its parameters.
    components: dict[str, int]


@pytest.fixture(scope="module")
def medium_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Medium]:
    """The one with files of a dtype, built once."""

    @cache
    def medium(dtype: str) -> Medium:
        folder = tmp_path_factory.mktemp(dtype)
        return Medium(folder, save_medium_z_image(folder, dtype))

    return medium


@pytest.mark.parametrize(
    ("held", "dtype"), [("fp8-fp32", "bfloat16"), ("fp8-fp32", "float32"), ("int8-fp32", "float32")]
)
def test_loading_8_bits_takes_no_more_of_the_host_than_is_predicted(
    medium_of: Callable[[str], Medium], taken_by: TakenBy, tmp_path: Path, held: str, dtype: str
) -> None:
    medium = medium_of(dtype)
    klein = load_catalog().models["flux2-klein-4b"]
    recipe = klein.recipe(held)
    command = load_command(
        medium.folder,
        compute_dtype=recipe.compute_dtype,
        weights=recipe.weights,
        quantisation=recipe.quantisation,
        placement=recipe.placement,
    )

    taken = taken_by(tmp_path, command)

    predicted = ram_bytes(replace(klein, components=medium.components), recipe)
    assert taken < predicted * 1.1 + OWN


@pytest.mark.parametrize("word", ["text_encoder_first", "text_encoder_on_cpu"])
def test_texts_whose_embeddings_are_there_need_no_text_encoder(
    medium_of: Callable[[str], Medium], taken_by: TakenBy, tmp_path: Path, word: str
) -> None:
    medium = medium_of("bfloat16")
    command = load_command(medium.folder, placement=(word,))
    text = protocol.EngineText(text="a red mug", file=tmp_path / "embedding.safetensors")
    texts = protocol.Encode(texts=(text,))

    encoding = taken_by(tmp_path, command, texts)
    fetched = taken_by(tmp_path, command, texts)

    # Read as float32, which is not the dtype of the files.
    assert encoding - fetched > 4 * medium.components["text_encoder"] * 0.9


def save_medium_z_image(folder: Path, dtype: str) -> dict[str, int]:
    """Write a pipeline whose files are of that dtype; component to its number of parameters."""
    import diffusers
    import torch
    from transformers import Qwen3Model

    from tests.tiny import byte_tokenizer, qwen3, z_image_transformer

    tokenizer = byte_tokenizer()
    # Without a place for numbers first: drawing a hundred million of them takes a while.
    with torch.device("meta"):
        parts = {
            "text_encoder": Qwen3Model(qwen3(len(tokenizer), width=1024, heads=8)),
            "transformer": z_image_transformer(8, dim=1024, layers=6, heads=8, text_width=1024),
            "vae": diffusers.AutoencoderKL(block_out_channels=(32,), norm_num_groups=8, latent_channels=8),
        }
    for part in parts.values():
        part.to(getattr(torch, dtype)).to_empty(device="cpu")
        for parameter in part.parameters():
            torch.nn.init.constant_(parameter, 0.01)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    diffusers.ZImagePipeline(scheduler=scheduler, tokenizer=tokenizer, **parts).save_pretrained(str(folder))
    return {name: sum(one.numel() for one in part.parameters()) for name, part in parts.items()}
