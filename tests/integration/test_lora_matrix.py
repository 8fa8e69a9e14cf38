"""What the farm says of a LoRA at submit is what the engine finds on the node: one file, through both."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from common.catalog import load_catalog
from common.errors import Invalid
from common.model_files import CHECKPOINT
from common.weights import read_header
from common.weights.lora_file import read_lora
from common.weights.lora_fit import lora_misfit
from common.weights.modules import Modules, lora_modules, weight_files
from gpu_node.agent.engine_client import EngineClient
from gpu_node.engine.loras import changeable_layers, remove_loras, take_whole
from gpu_node.engine.lycoris import add_hooks, scale_doras
from gpu_node.errors import RenderError
from tests.engine_talk import ask, engine_lora, load_command, pixels, render, shot
from tests.lora_matrix import CASES, CHROMA, FLUX1, KLEIN, MODULES, SD15, SDXL, Z_IMAGE, Case
from tests.tiny_loras import write_lora
from tests.tiny_original import save_checkpoint, save_klein_denoiser, save_separate_files

FAMILIES = {
    Z_IMAGE: "z-image",
    KLEIN: "flux2-klein",
    SD15: "sd15",
    SDXL: "sdxl",
    FLUX1: "flux1",
    CHROMA: "chroma",
}
COMPONENTS = {model.family.pipeline: tuple(model.components) for model in load_catalog().models.values()}


@pytest.fixture(scope="module")
def folder_of(twin_of: Callable[[str], Path]) -> Callable[[str], Path]:
    return lambda pipeline: twin_of(FAMILIES[pipeline])


class Pipes:
    """Pipelines in this process, each built anew after it was spoilt."""

    def __init__(self, folder_of: Callable[[str], Path]) -> None:
        self._folder_of = folder_of
        self._held: dict[str, Any] = {}

    def get(self, pipeline: str) -> Any:
        import diffusers

        if pipeline not in self._held:
            folder = str(self._folder_of(pipeline))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._held[pipeline] = getattr(diffusers, pipeline).from_pretrained(folder)
        return self._held[pipeline]

    def takes(self, pipeline: str, file: Path) -> bool:
        """Whether diffusers takes the LoRA whole, or the engine what diffusers does not load."""
        header = read_header(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipe = self.get(pipeline)
            try:
                if (lora := read_lora(header)).is_hooked:
                    layers = changeable_layers(pipe)
                    add_hooks(layers, engine_lora(file), lora, pipeline)
                    scale_doras(layers)
                else:
                    take_whole(pipe, engine_lora(file), header, "lora0")
                    pipe.set_adapters(["lora0"], [0.5])
            except Invalid:
                return False
            except RenderError:
                del self._held[pipeline]
                return False
            remove_loras(pipe)
            return True


@pytest.fixture(scope="module")
def pipes(folder_of: Callable[[str], Path]) -> Pipes:
    return Pipes(folder_of)


def modules_of(folder: Path, pipeline: str) -> Modules:
    paths = (file.relative_to(folder).as_posix() for file in folder.rglob("*.safetensors"))
    headers = {path: read_header(folder / path) for path in weight_files(paths, COMPONENTS[pipeline])}
    found = lora_modules(headers, pipeline, COMPONENTS[pipeline])
    assert found is not None
    return found


@pytest.mark.parametrize("case", [case for case in CASES if case.pipeline in FAMILIES], ids=str)
def test_the_answer_at_submit_is_that_of_the_node(
    case: Case, folder_of: Callable[[str], Path], pipes: Pipes, tmp_path: Path
) -> None:
    file = write_lora(tmp_path / "lora.safetensors", case.shapes)

    said = lora_misfit(read_header(file), case.pipeline, modules_of(folder_of(case.pipeline), case.pipeline))

    is_taken = pipes.takes(case.pipeline, file)
    assert is_taken == (said is None), said


@pytest.mark.parametrize("pipeline", FAMILIES)
def test_the_layers_of_a_model_are_read_from_its_headers(
    pipeline: str, folder_of: Callable[[str], Path], pipes: Pipes
) -> None:
    found = modules_of(folder_of(pipeline), pipeline)
    pipe = pipes.get(pipeline)

    for part, layers in MODULES[pipeline].items():
        assert layers.items() <= found[part].items()
    for part, layers in found.items():
        for name, module in getattr(pipe, part).named_modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                flat = name.replace(".", "_").removeprefix("text_model_")
                assert layers[flat] == tuple(module.weight.shape)


@pytest.mark.parametrize("pipeline", [SD15, SDXL])
def test_the_layers_of_a_checkpoint_are_those_of_its_diffusers_folder(
    pipeline: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / CHECKPOINT, folder_of(pipeline))

    assert_has_layers(modules_of(tmp_path, pipeline), modules_of(folder_of(pipeline), pipeline))


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_so_are_those_of_the_training_code_of_flux2(
    prefix: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    save_klein_denoiser(tmp_path / "transformer" / "original.safetensors", folder_of(KLEIN), prefix)

    assert_has_layers(modules_of(tmp_path, KLEIN), modules_of(folder_of(KLEIN), KLEIN))


def test_so_are_those_of_the_training_code_of_z_image(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    denoiser, *_ = save_separate_files(tmp_path / "parts", folder_of(Z_IMAGE))
    (tmp_path / "model" / "transformer").mkdir(parents=True)
    denoiser.rename(tmp_path / "model" / "transformer" / "original.safetensors")

    assert_has_layers(modules_of(tmp_path / "model", Z_IMAGE), modules_of(folder_of(Z_IMAGE), Z_IMAGE))


def assert_has_layers(found: Modules, wanted: Modules) -> None:
    """Embeddings are no layers, and OpenCLIP's projection is turned round: no matter where it is square."""
    for part, layers in wanted.items():
        layers = {
            name: shape
            for name, shape in layers.items()
            if "linear" in name or not ("embedding" in name or name == "text_projection")
        }
        assert layers.items() <= found[part].items()


@pytest.mark.parametrize(
    "name",
    [
        "dora fused",
        "dora of inputs",
        "dora of kohya",
        "dora of peft",
        "fused",
        "fused with alpha",
        "fused dotted",
        "kohya fused",
        "lora and loha",
        "fused peft",
        "loha",
        "loha fused",
        "lokr",
        "lokr fused",
        "low",
        "peft with alpha",
    ],
)
def test_every_spelling_that_is_taken_changes_the_picture(
    name: str, engine: EngineClient, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    case = next(each for each in CASES if (each.pipeline, each.name) == (Z_IMAGE, name))
    model, one = folder_of(Z_IMAGE), shot()
    ask(engine, load_command(model))
    plain = pixels(render(engine, one)[one.id])
    file = write_lora(tmp_path / "lora.safetensors", case.shapes)

    ask(engine, load_command(model, loras=(engine_lora(file),)))

    assert pixels(render(engine, one)[one.id]) != plain


def test_a_fused_lora_does_what_its_three_parts_do(
    engine: EngineClient, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    layer, one = "diffusion_model.layers.0.attention", shot()
    shapes = {f"{layer}.qkv.lora_A.weight": (2, 64), f"{layer}.qkv.lora_B.weight": (192, 2)}
    fused = write_lora(tmp_path / "fused.safetensors", shapes)
    down, up = load_file(str(fused)).values()
    parts = {}
    for part, rows in zip("qkv", up.chunk(3), strict=True):
        parts[f"{layer}.to_{part}.lora_A.weight"] = down.clone()
        parts[f"{layer}.to_{part}.lora_B.weight"] = rows.clone()
    save_file(parts, str(tmp_path / "parts.safetensors"))
    pictures = set()

    for file in (fused, tmp_path / "parts.safetensors"):
        ask(engine, load_command(folder_of(Z_IMAGE), loras=(engine_lora(file),)))
        pictures.add(pixels(render(engine, one)[one.id]))

    assert len(pictures) == 1
