"""Models as others publish them, added by the command's own code, render as their diffusers folder does."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.catalog import folder_identity, load_catalog
from common.errors import Invalid
from coordinator.models.adding import Adder
from coordinator.models.addition import AddRequest
from coordinator.models.place import add
from coordinator.models.web import Web
from gpu_node import protocol
from gpu_node.agent.engine_client import EngineClient
from tests.engine_talk import ask, load_command, pixels, render, shot
from tests.hub import Hub, used_hub
from tests.tiny_families import save_klein
from tests.tiny_original import (
    save_all_in_one,
    save_checkpoint,
    save_chroma_files,
    save_flux1_files,
    save_klein_denoiser,
    save_klein_files,
    save_qwen_image_files,
    save_separate_files,
    save_vae,
)

BUILT_IN = load_catalog()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with used_hub(monkeypatch, tmp_path) as hub:
        yield hub


def added(like: str, *sources: Path, home: Path) -> Path:
    """The folder that becomes of the sources."""
    with Web() as web:
        adder = Adder(
            catalog=BUILT_IN, built_in=BUILT_IN, own={}, models=home / "models", folders=(), web=web
        )
        request = AddRequest(sources=tuple(map(str, sources)), name="mine", like=like)
        found = add(adder.prepare(request), adder.models, web, lambda done, total: None)
    assert found.entry["identity"] == folder_identity(adder.models / "mine")
    return adder.models / "mine"


def picture(engine: EngineClient, folder: Path, like: str, **changes: object) -> bytes:
    family = BUILT_IN.models[like].family
    options = {
        "pipeline": family.pipeline,
        "max_tokens": family.max_tokens,
        "tokenizer": family.tokenizer,
        "guided_above": 1.0,
        "weights": {},
    }
    answer = ask(engine, load_command(folder, **options | changes))[-1]
    assert isinstance(answer, protocol.Completed), answer
    one = shot(seed=6, steps=3, sampler="euler", guidance=3.0)
    return pixels(render(engine, one)[one.id])


@pytest.fixture
def of_hub(hub: Hub, twin_of: Callable[[str], Path]) -> Callable[[str], Path]:
    """The folder of a model, as the hub has it: the tiny twin of its family."""

    def folder(model: str) -> Path:
        twin = twin_of(BUILT_IN.models[model].family.name)
        hub.add_folder(BUILT_IN.models[model].path, twin)
        return twin

    return folder


def assert_same(engine: EngineClient, whole: Path, folder: Path, like: str, **changes: object) -> None:
    """Each component is one file, and both folders make the same picture."""
    assert len(list(whole.rglob("*.safetensors"))) == len(BUILT_IN.models[like].components)
    assert picture(engine, whole, like, **changes) == picture(engine, folder, like, **changes)


@pytest.mark.parametrize("like", ["sd15", "sdxl"])
def test_a_checkpoint_renders_as_its_diffusers_folder(
    engine: EngineClient, of_hub: Callable[[str], Path], tmp_path: Path, like: str
) -> None:
    folder = of_hub(like)
    file = save_checkpoint(tmp_path / "dream.safetensors", folder)

    whole = added(like, file, home=tmp_path / "home")

    assert not list(whole.rglob("*/*.safetensors"))
    assert picture(engine, whole, like) == picture(engine, folder, like)


def test_a_checkpoint_without_a_weight_fails_to_load_with_a_sentence(
    engine: EngineClient, of_hub: Callable[[str], Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = of_hub("sd15")
    file = save_checkpoint(tmp_path / "dream.safetensors", folder)
    kept = {key: weight for key, weight in load_file(str(file)).items() if "final_layer_norm" not in key}
    file.unlink()
    save_file(kept, str(file))
    whole = added("sd15", file, home=tmp_path / "home")

    answer = ask(engine, load_command(whole, pipeline="StableDiffusionPipeline", max_tokens=77, weights={}))[
        -1
    ]

    assert isinstance(answer, protocol.Failed)
    assert (answer.kind, "lacks weights of its `text_encoder`" in answer.message) == ("load_error", True)


def test_a_checkpoint_can_be_held_as_fp8(
    engine: EngineClient, of_hub: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = of_hub("sdxl")
    whole = added("sdxl", save_checkpoint(tmp_path / "dream.safetensors", folder), home=tmp_path / "home")
    held = BUILT_IN.models["sdxl"].recipe("fp8-fp32")
    changes = {"weights": held.weights, "placement": held.placement, "quantisation": held.quantisation}

    assert picture(engine, whole, "sdxl", **changes) == picture(engine, folder, "sdxl", **changes)


@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize("is_checkpoint", [True, False])
@pytest.mark.parametrize("like", ["sd15", "sdxl"])
def test_a_model_with_another_vae_renders_as_a_folder_with_its_weights(
    engine: EngineClient,
    of_hub: Callable[[str], Path],
    tmp_path: Path,
    like: str,
    is_checkpoint: bool,
    original: bool,
) -> None:
    import torch
    from diffusers import AutoencoderKL

    folder = of_hub(like)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = Path(shutil.copytree(folder, tmp_path / "wanted"))
        torch.manual_seed(7)
        AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae")).save_pretrained(wanted / "vae")
    source = save_checkpoint(tmp_path / "dream.safetensors", folder) if is_checkpoint else folder
    plain = added(like, source, home=tmp_path / "home")
    vae = save_vae(tmp_path / "other.safetensors", wanted, original=original)

    models = {**BUILT_IN.models, "mine": replace(BUILT_IN.models[like], name="mine", path="mine")}
    catalog = replace(BUILT_IN, models=models)
    with Web() as web:
        adder = Adder(catalog=catalog, built_in=BUILT_IN, own={}, models=plain.parent, folders=(), web=web)
        request = AddRequest(sources=(str(vae),), like="mine")
        made = add(adder.prepare(request), adder.models, web, lambda done, total: None)

    assert (made.name, made.entry["like"]) == ("mine-other", "mine")
    assert made.entry["identity"] == folder_identity(plain.parent / "mine-other") != folder_identity(plain)
    one = picture(engine, plain.parent / "mine-other", like)
    assert one == picture(engine, wanted, like)
    assert one != picture(engine, plain, like)
    # It is the same file on the disk.
    for file in plain.rglob("*.safetensors"):
        if file.parent.name != "vae":
            assert file.samefile(plain.parent / "mine-other" / file.relative_to(plain))


@pytest.fixture
def separate(hub: Hub, tiny_model: Path, tmp_path: Path) -> Path:
    """The folder that becomes of ComfyUI's three files of Z-Image."""
    hub.add_folder(BUILT_IN.models["z-image-turbo"].path, tiny_model)
    files = save_separate_files(tmp_path / "ComfyUI", tiny_model)
    return added("z-image-turbo", *files, home=tmp_path / "home")


def test_separate_files_render_as_their_diffusers_folder(
    engine: EngineClient, separate: Path, tiny_model: Path
) -> None:

    assert (separate / "transformer" / "original.safetensors").is_file()
    assert picture(engine, separate, "z-image-turbo") == picture(engine, tiny_model, "z-image-turbo")


@pytest.mark.parametrize(
    ("model", "save", "in_one_file"),
    [
        ("chroma1-hd", save_chroma_files, False),
        ("flux1-dev", save_flux1_files, False),
        ("qwen-image", save_qwen_image_files, False),
        ("z-image-turbo", save_separate_files, True),
        ("chroma1-hd", save_chroma_files, True),
        ("flux1-schnell", save_flux1_files, True),
        ("qwen-image", save_qwen_image_files, True),
    ],
)
def test_the_files_that_comfyui_uses_and_a_checkpoint_of_them_render_as_their_diffusers_folder(
    engine: EngineClient,
    of_hub: Callable[[str], Path],
    tmp_path: Path,
    model: str,
    save: Callable[[Path, Path], list[Path]],
    in_one_file: bool,
) -> None:
    folder = of_hub(model)
    files = save(tmp_path / "ComfyUI", folder)
    if in_one_file:
        files = [save_all_in_one(tmp_path / "all.safetensors", files)]

    whole = added(model, *files, home=tmp_path / "home")

    assert not [*whole.glob(".*")]
    guided_above = BUILT_IN.models[model].family.guidance_doubles_above
    assert_same(engine, whole, folder, model, guided_above=guided_above)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_denoiser_alone_renders_with_the_other_parts_of_its_family(
    engine: EngineClient, of_hub: Callable[[str], Path], tmp_path: Path, prefix: str
) -> None:
    folder = of_hub("flux2-klein-4b")
    file = save_klein_denoiser(tmp_path / "klein.safetensors", folder, prefix)

    whole = added("flux2-klein-4b", file, home=tmp_path / "home")

    options = {"guided_above": None}
    assert picture(engine, whole, "flux2-klein-4b", **options) == picture(
        engine, folder, "flux2-klein-4b", **options
    )


def test_klein_9b_takes_its_own_text_encoder_and_no_other(
    engine: EngineClient, hub: Hub, twin_of: Callable[[str], Path], tmp_path: Path
) -> None:
    name = "flux2-klein-9b"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = save_klein(tmp_path / "folder", width=32)
    hub.add_folder(BUILT_IN.models[name].path, folder)
    denoiser, encoder = save_klein_files(tmp_path / "ComfyUI", folder)

    whole = added(name, denoiser, encoder, home=tmp_path / "home")

    options = {"guided_above": None}
    assert picture(engine, whole, name, **options) == picture(engine, folder, name, **options)
    _, other = save_klein_files(tmp_path / "of 4B", twin_of("flux2-klein"))
    with pytest.raises(
        Invalid, match=r"of width 16, but flux2-klein-9b reads one of width 32 \(7\.6 billion"
    ):
        added(name, denoiser, other, home=tmp_path / "again")


def test_a_file_that_is_not_of_the_model_fails_to_load_with_a_sentence(
    engine: EngineClient, separate: Path
) -> None:
    broken = separate / "transformer" / "original.safetensors"
    other = (separate / "vae" / "original.safetensors").read_bytes()
    broken.unlink()
    broken.write_bytes(other)

    answer = ask(engine, load_command(separate))[-1]

    assert isinstance(answer, protocol.Failed)
    assert answer.kind == "load_error"
    assert "is not a valid ZImagePipeline" in answer.message
