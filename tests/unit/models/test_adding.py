"""What becomes of each kind of source: its files, its entry, and what is said about it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.catalog import folder_identity, load_catalog
from common.errors import Invalid
from coordinator.models.adding import Adder
from coordinator.models.addition import Added, AddRequest, Prepared
from coordinator.models.catalog_file import CatalogFile
from coordinator.models.held import added_again, held_files
from coordinator.models.place import add, alone
from tests.hub import Hub
from tests.unit.models.repositories import VAE, sdxl
from tests.unit.weights.files import lora_shapes, safetensors_bytes
from tests.unit.weights.test_header import gguf_bytes
from tests.unit.weights.test_recognition import DENOISERS, LDM_UNET, LORAS, below

SDXL_REPO = "stabilityai/stable-diffusion-xl-base-1.0"
Z_IMAGE_REPO = "Tongyi-MAI/Z-Image-Turbo"
Z_IMAGE = {
    "cap_embedder.0.weight": (8,),
    "layers.0.adaLN_modulation.0.weight": (16, 8),
    "layers.0.attention.qkv.weight": (24, 8),
}
QWEN3 = {"model.layers.0.self_attn.q_norm.weight": (128,)}
_SDXL_LAYER = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
DORA = lora_shapes({_SDXL_LAYER: (2048, 640)}, "lora_down.weight", "lora_up.weight") | {
    f"{_SDXL_LAYER}.dora_scale": (640, 1)
}
#: An upscaler, four times.
COMPACT = {
    "body.0.weight": (8, 3, 3, 3),
    "body.1.weight": (8,),
    "body.2.weight": (8, 8, 3, 3),
    "body.4.weight": (3 * 4**2, 8, 3, 3),
}
VAE_16 = {"decoder.conv_in.weight": (8, 16, 3, 3), "decoder.mid.block_1.norm1.weight": (8,)}

MakeAdder = Callable[[], Adder]


def prepare(adder: MakeAdder, *sources: str | Path, **request: Any) -> Prepared:
    return adder().prepare(AddRequest(sources=tuple(map(str, sources)), **request))


def added(adder: MakeAdder, *sources: str | Path, **request: Any) -> Added:
    """Added as `farm models add` does it, entry included."""
    now = adder()
    found = add(prepare(adder, *sources, **request), now.models, now.web, lambda done, total: None)
    CatalogFile(now.models.parent / "catalog.yaml", ()).put(found.section, found.name, found.entry)
    return found


def z_image() -> dict[str, bytes]:
    index = {
        "_class_name": "ZImagePipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    return {
        "model_index.json": json.dumps(index).encode(),
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b"{}",
        "text_encoder/config.json": b"{}",
        "text_encoder/model.safetensors": safetensors_bytes(QWEN3),
        "transformer/config.json": b"{}",
        "transformer/diffusion_pytorch_model.safetensors": safetensors_bytes(Z_IMAGE),
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": safetensors_bytes(VAE_16),
    }


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def write(file: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(safetensors_bytes(shapes, metadata))
    return file


def test_a_built_in_name_is_fetched_from_its_repository_and_can_be_submitted_then(
    hub: Hub, adder: MakeAdder, tmp_path: Path
) -> None:
    hub.repos[SDXL_REPO] = sdxl()

    found = added(adder, "sdxl")

    folder = tmp_path / "home" / "models" / "sdxl"
    assert "unet/diffusion_pytorch_model.safetensors" in files(folder)
    assert found.entry["identity"] == folder_identity(folder)
    model = load_catalog((tmp_path / "home" / "catalog.yaml",)).models["sdxl"]
    assert (model.identity, model.path, model.license.name) == (
        found.entry["identity"],
        "sdxl",
        "openrail++-m",
    )
    assert "all weights have the SHA-256 that the hub publishes" in found.remarks
    assert {(file.path, file.place) for file in found.files} == {
        (path, folder / path) for path in files(folder)
    }


def test_preparing_fetches_no_weights(hub: Hub, adder: MakeAdder, tmp_path: Path) -> None:
    hub.repos[SDXL_REPO] = sdxl()

    prepared = prepare(adder, "sdxl")

    assert prepared.size < sum(map(len, hub.repos[SDXL_REPO].values())) / 3
    assert all(asked for path, asked in hub.requests)
    assert not (tmp_path / "home").exists()


def test_a_fine_tune_takes_the_loras_of_its_base_and_the_licence_of_its_card(
    hub: Hub, adder: MakeAdder
) -> None:
    hub.repos["someone/My-SDXL"] = sdxl()
    hub.licenses["someone/My-SDXL"] = "mit"

    found = added(adder, "hf:someone/My-SDXL")

    assert (found.name, found.entry["like"], found.entry["base"], found.entry["license"]) == (
        "my-sdxl",
        "sdxl",
        "sdxl",
        "mit",
    )
    assert found.entry["components"].keys() == {"text_encoder", "text_encoder_2", "unet", "vae"}


def test_an_unknown_licence_allows_no_sale_and_that_is_said(hub: Hub, adder: MakeAdder) -> None:
    hub.repos["someone/my-sdxl"] = sdxl()
    hub.licenses["someone/my-sdxl"] = "faipl-1.0-sd"

    prepared = prepare(adder, "hf:someone/my-sdxl")

    assert prepared.entry["license"] == "unknown"
    assert any("`faipl-1.0-sd` is not in the catalog" in remark for remark in prepared.remarks)
    assert prepare(adder, "hf:someone/my-sdxl", license="own-work").entry["license"] == "own-work"


def test_a_folder_is_added_like_a_repository(adder: MakeAdder, tmp_path: Path) -> None:
    for path, content in sdxl().items():
        (tmp_path / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / path).write_bytes(content)

    found = added(adder, tmp_path / "mine", name="mine")

    assert (
        "no SHA-256 is published for these files: this fetch fixes what every node must have" in found.remarks
    )
    assert found.entry["identity"] == folder_identity(tmp_path / "home" / "models" / "mine")


def test_a_checkpoint_is_kept_whole_with_the_configurations_of_its_family(
    hub: Hub, adder: MakeAdder, tmp_path: Path
) -> None:
    hub.repos[SDXL_REPO] = sdxl()
    shapes = below("model.diffusion_model.", LDM_UNET | {"label_emb.0.0.weight": (8, 8)})
    shapes |= below("first_stage_model.", VAE) | {"conditioner.embedders.0.transformer.a": (7,)}
    file = write(tmp_path / "dreamXL v1.safetensors", shapes | {"conditioner.embedders.1.model.a": (9,)})

    found = added(adder, file)

    folder = tmp_path / "home" / "models" / "dreamxl-v1"
    assert files(folder) >= {
        "checkpoint.safetensors",
        "unet/config.json",
        "tokenizer/vocab.json",
        "model_index.json",
    }
    assert not any(path.endswith(".safetensors") for path in files(folder) - {"checkpoint.safetensors"})
    assert found.entry["identity"] == folder_identity(folder)


def test_a_checkpoint_takes_the_configurations_that_are_here_already(
    hub: Hub, adder: MakeAdder, tmp_path: Path
) -> None:
    hub.repos[SDXL_REPO] = sdxl()
    added(adder, "sdxl")
    del hub.repos[SDXL_REPO]
    shapes = below("model.diffusion_model.", LDM_UNET | {"label_emb.0.0.weight": (8, 8)})
    shapes |= below("first_stage_model.", VAE) | {"conditioner.embedders.0.transformer.a": (7,)}
    file = write(tmp_path / "x.safetensors", shapes | {"conditioner.embedders.1.model.a": (9,)})

    assert any(
        str(tmp_path / "home" / "models" / "sdxl") in remark for remark in prepare(adder, file).remarks
    )


def comfyui(folder: Path) -> list[Path]:
    return [
        write(folder / "diffusion_models" / "z_image_turbo.safetensors", Z_IMAGE),
        write(folder / "text_encoders" / "qwen_3_4b.safetensors", QWEN3),
        write(folder / "vae" / "ae.safetensors", VAE_16),
    ]


def test_the_three_files_of_comfyui_become_one_model(hub: Hub, adder: MakeAdder, tmp_path: Path) -> None:
    hub.repos[Z_IMAGE_REPO] = z_image()

    found = added(adder, *comfyui(tmp_path / "ComfyUI"), like="z-image-turbo")

    assert {
        path for path in files(tmp_path / "home" / "models" / found.name) if path.endswith("safetensors")
    } == {
        "transformer/original.safetensors",
        "text_encoder/model.safetensors",
        "vae/original.safetensors",
    }


def test_so_does_the_folder_that_holds_them(hub: Hub, adder: MakeAdder, tmp_path: Path) -> None:
    hub.repos[Z_IMAGE_REPO] = z_image()
    comfyui(tmp_path / "parts")

    assert "in separate files" in prepare(adder, tmp_path / "parts", like="z-image-turbo").what


def test_a_lora_gets_its_base_licence_and_trigger_words_from_its_header(
    adder: MakeAdder, tmp_path: Path
) -> None:
    said = {"modelspec.title": "Ana v3", "modelspec.trigger_phrase": "ana_v3", "modelspec.license": "MIT"}
    file = write(tmp_path / "lora-000012.safetensors", LORAS["klein 9b"][1], said)

    found = added(adder, file)

    assert found.section == "loras"
    assert found.entry == {
        "base": "flux2-klein-9b",
        "path": "ana-v3.safetensors",
        "identity": f"sha256:{found.files[0].sha256}",
        "license": "mit",
        "triggers": ["ana_v3"],
    }
    assert (tmp_path / "home" / "models" / "loras" / "ana-v3.safetensors").is_file()


def test_a_lora_that_the_catalog_only_plans_with_can_be_given_its_file(
    adder: MakeAdder, tmp_path: Path
) -> None:
    # The name of the file counts, not the title in it.
    said = {"modelspec.title": "Ana of May"}
    found = added(adder, write(tmp_path / "ana_v2.safetensors", LORAS["z-image"][1], said))

    assert (found.name, found.entry["base"]) == ("ana_v2", "z-image-turbo")
    assert (found.entry["license"], found.entry["triggers"]) == ("own-work", ["ana_v2 woman"])
    assert any("`ana_v2 woman` is that of the built-in entry" in remark for remark in found.remarks)


def test_what_the_file_of_a_planned_lora_states_counts_before_the_plan(
    adder: MakeAdder, tmp_path: Path
) -> None:
    said = {"modelspec.trigger_phrase": "ana", "modelspec.license": "mit"}
    found = added(adder, write(tmp_path / "ana_v2.safetensors", LORAS["z-image"][1], said))
    other = prepare(adder, write(tmp_path / "other" / "bo_v1.safetensors", LORAS["sdxl kohya"][1]))

    assert (found.entry["license"], found.entry["triggers"]) == ("mit", ["ana"])
    assert (other.entry["base"], other.entry["license"]) == ("sdxl", "unknown")


def test_a_lora_can_be_fetched_from_an_address(hub: Hub, adder: MakeAdder, tmp_path: Path) -> None:
    hub.others["/files/Ana.safetensors"] = safetensors_bytes(LORAS["sdxl kohya"][1])

    found = added(adder, f"{hub.url}/files/Ana.safetensors?token=secret")

    assert (found.name, found.entry["base"]) == ("ana", "sdxl")
    assert (tmp_path / "home/models/loras/ana.safetensors").read_bytes() == hub.others[
        "/files/Ana.safetensors"
    ]


def test_a_lora_whose_header_leaves_several_models_asks_for_one(adder: MakeAdder, tmp_path: Path) -> None:
    layers = {"lora_unet_down_blocks_0_attentions_0_proj_in": (32, 32)}
    file = write(tmp_path / "x.safetensors", lora_shapes(layers, "lora_down.weight", "lora_up.weight"))

    with pytest.raises(Invalid, match=r"Stable Diffusion 1\.5 or SDXL.*add `--like MODEL`"):
        prepare(adder, file)
    other = write(tmp_path / "z.safetensors", LORAS["z-image"][1])
    with pytest.raises(Invalid, match="`sdxl` is SDXL, but the files are Z-Image"):
        prepare(adder, other, like="sdxl")
    assert prepare(adder, file, like="sd15").entry["base"] == "sd15"


def test_a_lora_of_a_kind_that_the_engine_cannot_load_is_refused_before_it_is_fetched(
    adder: MakeAdder, tmp_path: Path
) -> None:
    more = DORA | {f"{_SDXL_LAYER}.lora_B.bias": (640,)}
    with pytest.raises(Invalid, match=r"x\.safetensors cannot work on sdxl: it has `lora_B\.bias`.*convert"):
        prepare(adder, write(tmp_path / "x.safetensors", more))
    assert prepare(adder, write(tmp_path / "y.safetensors", DORA)).entry["base"] == "sdxl"


def test_a_lora_is_compared_with_the_files_of_its_model_where_they_are_here(
    hub: Hub, adder: MakeAdder, tmp_path: Path
) -> None:
    hub.repos[Z_IMAGE_REPO] = z_image()
    file = write(tmp_path / "x.safetensors", LORAS["z-image fused"][1])
    assert prepare(adder, file, like="z-image-turbo").section == "loras"
    added(adder, "z-image-turbo")

    with pytest.raises(Invalid, match="none of its 1 layers"):
        prepare(adder, file, like="z-image-turbo")


def test_a_lora_with_weights_that_are_no_numbers_is_refused_and_not_kept(
    adder: MakeAdder, tmp_path: Path
) -> None:
    file = write(tmp_path / "x.safetensors", LORAS["z-image"][1])
    file.write_bytes(file.read_bytes()[:-2] + b"\xff\xff")

    with pytest.raises(
        Invalid, match=r"LoRA `x` has weights that are no numbers \(in `transformer\..*another"
    ):
        added(adder, file)

    assert not any(file.is_file() for file in (tmp_path / "home").rglob("*"))


def test_a_lora_that_lost_its_numbers_is_not_published(adder: MakeAdder, tmp_path: Path) -> None:
    found = added(adder, write(tmp_path / "x.safetensors", LORAS["z-image"][1]))
    place = found.files[0].place
    place.write_bytes(place.read_bytes()[:-2] + b"\xff\xff")
    held = held_files("x", adder().catalog, (tmp_path / "home" / "models",))
    assert held is not None

    with pytest.raises(Invalid, match="LoRA `x` has weights that are no numbers"):
        added_again("loras", "x", found.entry, held, lambda done, total: None)


def test_a_gguf_file_belongs_to_the_entry_of_its_model(
    hub: Hub, adder: MakeAdder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos[Z_IMAGE_REPO] = z_image()
    model = added(adder, "z-image-turbo")
    (tmp_path / "z-Q8_0.gguf").write_bytes(z_image_gguf())
    (tmp_path / "z-Q5_0.gguf").write_bytes(z_image_gguf(kind=6, block=22))
    (tmp_path / "z-Q2_K.gguf").write_bytes(z_image_gguf(kind=10, block=84, weights=256))
    with pytest.raises(
        Invalid, match="holds its weights as Q2_K; the farm reads `Q4_0`, `Q4_1`, `Q4_K`, `Q5_0`,"
    ):
        prepare(adder, tmp_path / "z-Q2_K.gguf", like="z-image-turbo")
    added(adder, tmp_path / "z-Q5_0.gguf", like="z-image-turbo")

    found = added(adder, tmp_path / "z-Q8_0.gguf", like="z-image-turbo")

    assert found.name == "z-image-turbo"
    known = load_catalog((tmp_path / "home" / "catalog.yaml",)).models["z-image-turbo"]
    assert known.identity == model.entry["identity"]
    assert known.gguf["gguf-q8"].identity == f"sha256:{found.files[0].sha256}"
    assert (tmp_path / "home" / "models" / "gguf" / known.gguf["gguf-q8"].path).is_file()
    # Each file is one that recipes read.
    assert {recipe.quantisation for recipe in known.recipes if recipe.reads_gguf} == {"gguf-q5", "gguf-q8"}


def test_a_variant_never_takes_the_gguf_file_of_its_pattern(
    hub: Hub, adder: MakeAdder, tmp_path: Path
) -> None:
    hub.repos[Z_IMAGE_REPO] = z_image()
    added(adder, "z-image-turbo")
    added(adder, comfyui(tmp_path)[0], like="z-image-turbo", name="mine")
    (tmp_path / "z-Q8_0.gguf").write_bytes(z_image_gguf())
    added(adder, tmp_path / "z-Q8_0.gguf", like="z-image-turbo")
    added(adder, comfyui(tmp_path)[0], like="z-image-turbo", name="later")

    # Its own file stays with the pattern when that is added again.
    added(adder, "z-image-turbo")

    models = load_catalog((tmp_path / "home" / "catalog.yaml",)).models
    held = {name: set(models[name].gguf) for name in ("mine", "later", "z-image-turbo")}
    assert held == {"mine": set(), "later": set(), "z-image-turbo": {"gguf-q8"}}


def z_image_gguf(kind: int = 8, block: int = 34, weights: int = 32) -> bytes:
    """With matrices of a GGML type, which has so many bytes for a block of so many weights."""
    import struct

    def text(word: str) -> bytes:
        return struct.pack("<Q", len(word)) + word.encode()

    shapes = {"cap_embedder.0.weight": (weights,), "layers.0.adaLN_modulation.0.weight": (4, weights)}
    head, offset = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), 0), 0
    for name, shape in shapes.items():
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += struct.pack("<IQ", kind, offset)
        offset += block * (shape[0] if len(shape) > 1 else 1)
    return head + bytes(-len(head) % 32) + bytes(offset)


def test_a_vae_alone_needs_the_model_that_gets_it_and_fits_it(
    hub: Hub, adder: MakeAdder, tmp_path: Path
) -> None:
    file = write(tmp_path / "fix.safetensors", VAE, {"trained": "again"})
    with pytest.raises(Invalid, match="or add `--like MODEL` for that model with this VAE"):
        prepare(adder, file)
    with pytest.raises(Invalid, match="the files of `sdxl` are not on this machine; add that model first"):
        prepare(adder, file, like="sdxl")
    hub.repos[SDXL_REPO] = sdxl()
    first = added(adder, "sdxl")
    with pytest.raises(Invalid, match=r"is the VAE of Stable Diffusion 1\.5 or SDXL, but `z-image` is"):
        prepare(adder, file, like="z-image")
    small = write(tmp_path / "small.safetensors", VAE | {"decoder.conv_in.weight": (8, 4, 3, 3)})
    with pytest.raises(Invalid, match=r"has 352 parameters, the VAE of `sdxl` has 2,368; look for one"):
        prepare(adder, small, like="sdxl")

    found = added(adder, file, like="sdxl", license="own-work")

    assert (found.section, found.name) == ("models", "sdxl-fix")
    assert found.entry["base"] == "sdxl"
    assert (found.entry["like"], found.entry["license"]) == ("sdxl", "own-work")
    assert found.entry["identity"] != first.entry["identity"]
    assert "the header does not tell VAEs of Stable Diffusion 1.5 and SDXL apart" in found.remarks[1]
    home = tmp_path / "home" / "models"
    assert files(home / "sdxl-fix") == files(home / "sdxl")
    assert (home / "sdxl-fix/vae/diffusion_pytorch_model.safetensors").read_bytes() == file.read_bytes()
    # The model itself may get it, if it is built in.
    again = added(adder, file, like="sdxl", name="sdxl")
    assert again.entry["identity"] == found.entry["identity"]
    with pytest.raises(Invalid, match="`sdxl-fix` cannot take its own place"):
        prepare(adder, file, like="sdxl-fix", name="sdxl-fix")


@pytest.mark.parametrize(
    ("shapes", "family", "vectors"),
    [
        ({"emb_params": (4, 768)}, "sd15", 4),
        ({"<cat>": (768,)}, "sd15", 1),
        ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "sdxl", 8),
    ],
)
def test_a_textual_inversion_is_added_under_the_name_that_prompts_use(
    shapes: dict[str, tuple[int, ...]], family: str, vectors: int, adder: MakeAdder, tmp_path: Path
) -> None:
    prepared = prepare(adder, write(tmp_path / "Easy Negative.safetensors", shapes))
    assert (prepared.section, prepared.name, prepared.folder) == (
        "textual_inversions", "easy-negative", "embeddings"
    )  # fmt: skip
    assert prepared.entry == {
        "family": family,
        "path": "easy-negative.safetensors",
        "license": "unknown",
        "vectors": vectors,
    }
    assert prepared.remarks[0] == "prompts name it `embedding:easy-negative`"
    added = add(prepared, tmp_path / "home", adder().web, lambda done, total: None)
    (file,) = added.files
    assert added.entry["identity"] == f"sha256:{file.sha256}"
    assert file.place == tmp_path / "home" / "embeddings" / "easy-negative.safetensors"
    other = "sdxl" if family == "sd15" else "sd15"
    with pytest.raises(Invalid, match=f"but `{other}` is not"):
        prepare(adder, write(tmp_path / "x.safetensors", shapes), like=other)


def test_an_upscaler_is_added_with_its_factor_and_operations(adder: MakeAdder, tmp_path: Path) -> None:
    found = added(adder, write(tmp_path / "4x Sharp.safetensors", COMPACT))
    (file,) = found.files
    assert (found.section, found.name) == ("upscalers", "4x-sharp")
    assert file.place == tmp_path / "home" / "models" / "upscale_models" / "4x-sharp.safetensors"
    weights = 8 * 3 * 9 + 8 * 8 * 9 + 48 * 8 * 9
    assert found.entry == {
        "architecture": "Compact",
        "path": "4x-sharp.safetensors",
        "identity": f"sha256:{file.sha256}",
        "scale": 4,
        "tflop_per_mp": pytest.approx(2 * weights / 1e6, rel=0.01),
        "license": "unknown",
    }
    assert found.remarks[0] == "manifests name it `upscale: 4x-sharp`"
    with pytest.raises(Invalid, match="works with every model; leave out `--like`"):
        prepare(adder, write(tmp_path / "x.safetensors", COMPACT), like="sdxl")
    again = prepare(adder, tmp_path / "4x Sharp.safetensors")
    assert again.name == "4x-sharp"


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (
            lora_shapes({"transformer.layers.0.attention.to_q": (64, 64)}),
            r"which of `shotfarm-demo`.* add `--like MODEL`",
        ),
        (DENOISERS["lumina2"], r"is for Lumina 2, which this farm cannot render; it renders .*FLUX\.1"),
        (LORAS["flux2 dev"][1], r"is for FLUX\.2 dev, which this farm cannot render"),
        (LORAS["flux1"][1], "which of `flux1-schnell` and `flux1-dev` it is for; add `--like MODEL`"),
        (LORAS["flux1 or chroma"][1], r"does not tell its model \(Chroma or FLUX\.1\); add `--like MODEL`"),
        (VAE_16, "only a VAE; add it together with a denoiser"),
        ({"emb_params": (1, 1024)}, "is for Stable Diffusion 2, which this farm cannot render"),
        ({"emb_params": (1, 640)}, "a textual inversion of a width that no family of this farm has"),
        ({"emb_params": (76, 768)}, "has 76 vectors; a prompt takes up to 75 of one"),
        (
            {"conv_first.weight": (64, 3, 3, 3), "conv_last.weight": (3, 64, 3, 3)},
            "is an upscaler of an architecture that nodes cannot load; they load .*`ESRGAN`",
        ),
        (COMPACT | {"body.4.weight": (3, 8, 3, 3)}, "restores pictures and enlarges none; the farm takes"),
        (
            COMPACT | {"body.4.weight": (3 * 10**2, 8, 3, 3)},
            "enlarges 10 times; the farm takes upscalers of 2",
        ),
        # Of grey pictures.
        (COMPACT | {"body.0.weight": (8, 1, 3, 3)}, "is of no kind that the farm knows"),
        (
            below("model.diffusion_model.", Z_IMAGE) | {"text_encoders.q.transformer.a": (1,)},
            r"\(text_encoders\.q\.transformer\.\*\) is of no kind that the farm knows",
        ),
    ],
)
def test_what_the_farm_cannot_use_is_refused_before_anything_is_fetched(
    shapes: dict[str, tuple[int, ...]], said: str, adder: MakeAdder, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=said):
        prepare(adder, write(tmp_path / "x.safetensors", shapes))
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("source", "request_", "said"),
    [
        ("hf:someone/loras", {}, r"holds 6 weight files .* as hf:OWNER/NAME/FILE"),
        ("hf:someone/sdxl", {}, "already has `sdxl`; choose another name with `--name`"),
        ("hf:someone/kolors", {}, r"is a KolorsPipeline; this farm renders .*ZImagePipeline"),
        ("shotfarm-demo", {}, "comes with the farm"),
        ("x", {"like": "sdx1"}, "did you mean `sdxl`"),
        ("x", {"license": "apache-2"}, r"did you mean `apache-2\.0`"),
    ],
)
def test_what_names_no_model_is_refused_with_what_does(
    source: str, request_: dict[str, str], said: str, hub: Hub, adder: MakeAdder
) -> None:
    lora = safetensors_bytes(LORAS["z-image"][1])
    hub.repos["someone/loras"] = {f"{number}.safetensors": lora for number in range(6)}
    hub.repos["someone/sdxl"] = sdxl()
    hub.repos["someone/kolors"] = {"model_index.json": b'{"_class_name": "KolorsPipeline"}'}

    with pytest.raises(Invalid, match=said):
        prepare(adder, source, **request_)


def test_a_repository_of_a_built_in_model_is_that_model_and_a_file_is_what_it_holds(
    hub: Hub, adder: MakeAdder
) -> None:
    hub.repos[SDXL_REPO] = sdxl()
    lora = safetensors_bytes(LORAS["z-image"][1])
    hub.repos["someone/loras"] = {f"{number}.safetensors": lora for number in range(6)}

    assert prepare(adder, f"hf:{SDXL_REPO}").name == "sdxl"
    assert prepare(adder, "hf:someone/loras/3.safetensors", name="three").section == "loras"


_STRANGERS = [
    LORAS["z-image"][1],
    {"emb_params": (1, 768)},
    {"conv_first.weight": (8, 3, 3, 3), "conv_last.weight": (3, 8, 3, 3)},
    below("model.diffusion_model.", Z_IMAGE) | {"text_encoders.q.transformer.a": (1,)},
]


@pytest.mark.parametrize(
    ("parts", "shapes", "request_", "said"),
    [
        *(
            (3, shapes, {"like": "z-image-turbo"}, r"these files make no model: .*stranger\.safetensors")
            for shapes in _STRANGERS
        ),
        (2, VAE, {}, r"stranger\.safetensors is the VAE of another family"),
        (3, VAE_16, {"like": "z-image-turbo"}, "two of these files are the same component"),
    ],
)
def test_files_that_do_not_belong_together_make_no_model(
    parts: int,
    shapes: dict[str, tuple[int, ...]],
    request_: dict[str, str],
    said: str,
    adder: MakeAdder,
    tmp_path: Path,
) -> None:
    sources = [*comfyui(tmp_path)[:parts], write(tmp_path / "stranger.safetensors", shapes)]

    with pytest.raises(Invalid, match=said):
        prepare(adder, *sources, **request_)


def test_parts_that_the_files_lack_are_those_of_the_built_in_model(
    hub: Hub, adder: MakeAdder, tmp_path: Path
) -> None:
    hub.repos[Z_IMAGE_REPO] = z_image()

    added(adder, comfyui(tmp_path)[0], like="z-image-turbo", name="mine")

    weights = {path for path in files(tmp_path / "home/models/mine") if path.endswith("safetensors")}
    assert weights == {
        "transformer/original.safetensors",
        "text_encoder/model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }


def test_weights_that_are_here_are_not_fetched_again(hub: Hub, adder: MakeAdder) -> None:
    hub.repos[SDXL_REPO] = sdxl()
    first = added(adder, "sdxl")
    hub.requests.clear()
    weights = [file.sha256 for file in first.files if file.path.endswith(".safetensors")]

    again = added(adder, "sdxl")

    assert again.entry == first.entry
    # Their headers are read.
    whole = {path.removeprefix("/cdn/") for path, asked in hub.requests if not asked}
    assert whole
    assert not whole & set(weights)


def test_two_that_fetch_the_same_wait_for_each_other(hub: Hub, adder: MakeAdder, tmp_path: Path) -> None:
    hub.repos[SDXL_REPO] = sdxl()
    prepared = prepare(adder, "sdxl")
    waits, in_block = threading.Event(), threading.Event()

    def second() -> None:
        with alone(prepared, tmp_path, waits.set):
            in_block.set()

    thread = threading.Thread(target=second)
    with alone(prepared, tmp_path, lambda: None):
        thread.start()
        assert waits.wait(60)
        assert not in_block.is_set()
    thread.join()
    assert in_block.is_set()


def test_the_same_model_can_be_added_again(hub: Hub, adder: MakeAdder) -> None:
    hub.repos["someone/my-sdxl"] = sdxl()
    first = added(adder, "hf:someone/my-sdxl")
    hub.repos["someone/my-sdxl"] |= {"scheduler/scheduler_config.json": b'{"a": 1}'}

    assert added(adder, "hf:someone/my-sdxl").entry["identity"] != first.entry["identity"]


def test_gguf_files_in_other_formats_are_refused(adder: MakeAdder, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf_bytes())

    with pytest.raises(Invalid, match="of no kind that the farm knows"):
        prepare(adder, tmp_path / "x.gguf")
