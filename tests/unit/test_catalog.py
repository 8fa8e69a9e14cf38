"""What the catalog says, and how it is read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from common.cards import REFERENCE_CARDS, load_card
from common.catalog import BYTES_PER_PARAMETER, Catalog, folder_identity, load_catalog
from common.catalog.compatibility import lora_doubt, lora_problem
from common.catalog.identity import file_identity
from common.errors import InvalidDocument
from common.fit import Fit, fits_class
from common.model_files import SHIPPED
from common.nodes import VRAM_CLASSES
from tests.shots import shot_of

MINE = """
models:
  my-model:
    like: z-image-turbo
    identity: sha256:{digest}
    path: mine
    license: own-work
loras:
  me:
    base: my-model
    path: me.safetensors
    license: own-work
    triggers: [me]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "catalog.yaml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(InvalidDocument) as refusal:
        load_catalog([write(folder, text)])
    return str(refusal.value)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def test_the_built_in_catalog_knows_the_models_of_the_mission(catalog: Catalog) -> None:
    assert {
        "shotfarm-demo",
        "z-image-turbo",
        "z-image",
        "flux1-schnell",
        "flux1-dev",
        "chroma1-hd",
        "flux2-klein-4b",
        "flux2-klein-9b",
        "sdxl",
        "sd15",
    } <= set(catalog.models)
    assert not catalog.models["flux2-klein-9b"].license.commercial
    assert catalog.models["z-image-turbo"].license.commercial


def test_one_policy_is_all_that_keeps_the_demo_model_on_large_cards(catalog: Catalog) -> None:
    demo, kept = catalog.models["shotfarm-demo"], catalog.models["shotfarm-demo-24"]
    assert (kept.identity, kept.base, kept.path, kept.recipes) == (
        demo.identity,
        demo.base,
        demo.path,
        demo.recipes,
    )
    assert (demo.min_class, kept.min_class) == (0, 24)


@pytest.mark.parametrize("name", load_catalog().models)
def test_every_recipe_says_the_format_of_every_component(catalog: Catalog, name: str) -> None:
    model = catalog.models[name]
    for recipe in model.recipes:
        assert set(recipe.weights) == set(model.components)
        assert set(recipe.weights.values()) <= set(BYTES_PER_PARAMETER)


def test_every_lora_belongs_to_a_model(catalog: Catalog) -> None:
    bases = {model.base for model in catalog.models.values()}
    assert {lora.base for lora in catalog.loras.values()} <= bases


def test_the_shipped_weights_are_those_the_catalog_names(catalog: Catalog) -> None:
    model, lora = catalog.models["shotfarm-demo"], catalog.loras["blueprint"]
    assert model.identity == folder_identity(SHIPPED / model.path), "run `farm models --identity` on it"
    found = file_identity(SHIPPED / "loras" / lora.path)
    assert lora.identity == found, "run `farm models --identity` on the file"


def test_a_farm_adds_its_own_models_and_loras(tmp_path: Path) -> None:
    digest = "ab" * 32
    catalog = load_catalog([write(tmp_path, MINE.format(digest=digest))])
    mine = catalog.models["my-model"]
    assert mine.identity == f"sha256:{digest}"
    assert mine.activations == catalog.models["z-image-turbo"].activations
    assert mine.base == "my-model"
    assert catalog.loras["me"].base == "my-model"


@pytest.mark.parametrize(
    "family", ["z-image-turbo", "flux2-klein-4b", "flux1-dev", "chroma1-hd", "qwen-image"]
)
@pytest.mark.parametrize("format_", [None, "gguf-q4", "gguf-q5", "gguf-q8"])
def test_a_model_with_fixed_files_has_only_recipes_whose_files_are_fixed(
    tmp_path: Path, family: str, format_: str | None
) -> None:
    digest = "ab" * 32
    file = f"gguf: {{{format_}: {{path: q.gguf, identity: 'sha256:{digest}'}}}}" if format_ else ""
    text = f"models: {{z: {{like: {family}, identity: 'sha256:{digest}', {file}}}}}"
    model = load_catalog([write(tmp_path, text)]).models["z"]

    read = {recipe.name: recipe for recipe in model.recipes if recipe.reads_gguf}
    assert {recipe.weights["transformer"] for recipe in read.values()} == ({format_} if format_ else set())
    if format_:
        # In bfloat16 for newer cards, in float32 for others.
        assert {recipe.compute_dtype for recipe in read.values()} == {"bfloat16", "float32"}
        assert f"{format_}-fp32" in read


@pytest.mark.parametrize(("format_", "fits"), [("gguf-q4", True), ("gguf-q5", True), ("gguf-q8", False)])
def test_a_gtx_1070_renders_z_image_from_small_files(tmp_path: Path, format_: str, fits: bool) -> None:
    digest = "ab" * 32
    file = f"gguf: {{{format_}: {{path: q.gguf, identity: 'sha256:{digest}'}}}}"
    text = f"models: {{z: {{like: z-image-turbo, identity: 'sha256:{digest}', {file}}}}}"
    model = load_catalog([write(tmp_path, text)]).models["z"]
    assert isinstance(fits_class(shot_of(model), model, 8), Fit) is fits


def test_a_model_may_read_fewer_tokens_than_its_family(catalog: Catalog) -> None:
    schnell, dev = catalog.models["flux1-schnell"].family, catalog.models["flux1-dev"].family
    assert (schnell.max_tokens, schnell.prompt_tokens) == (256, 256)
    assert (dev.max_tokens, dev.prompt_tokens) == (512, 512)


def test_a_lora_for_flux1_dev_works_on_schnell_and_one_for_klein_4b_not_on_9b(tmp_path: Path) -> None:
    lines = [
        f"  {name}: {{base: {base}, path: a.safetensors, license: own-work}}\n"
        for name, base in (("dev", "flux1-dev"), ("small", "flux2-klein-4b"))
    ]
    catalog = load_catalog([write(tmp_path, f"loras:\n{''.join(lines)}")])
    dev, small = catalog.loras["dev"], catalog.loras["small"]
    schnell, large = catalog.models["flux1-schnell"], catalog.models["flux2-klein-9b"]

    assert lora_problem(dev, schnell, catalog) is None
    assert "may work less well" in (lora_doubt(dev, schnell, catalog) or "")
    assert "cannot work" in (lora_problem(small, large, catalog) or "")


def test_flux1_dev_is_told_from_schnell_by_the_layers_that_read_its_guidance(catalog: Catalog) -> None:
    sizes = [catalog.models[name].components["transformer"] for name in ("flux1-dev", "flux1-schnell")]
    assert sizes[0] - sizes[1] == pytest.approx(256 * 3072 + 3072 * 3072 + 2 * 3072, rel=0.01)


def test_a_later_file_replaces_an_entry_of_its_name(tmp_path: Path) -> None:
    text = "models: {z-image-turbo: {like: z-image-turbo, identity: 'owner/repo@%s'}}" % ("0" * 40)
    turbo = load_catalog([write(tmp_path, text)]).models["z-image-turbo"]
    assert turbo.identity == f"owner/repo@{'0' * 40}"
    assert turbo.steps == load_catalog().models["z-image-turbo"].steps


SHA = "sha256:" + "0" * 64
SPEED = (
    "{card: %s, seconds: %s, compute: float16, billions: 1, size: 512x512, runs: 1, "
    "basis: measured, source: me}"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: {a: {like: sdxl, sampler: magic}}", "no sampler `magic`"),
        ("models: {a: {like: sdxl, size: 1000x1001}}", "multiples of 8"),
        ("models: {a: {like: sdxl, license: mine}}", "unknown license `mine`"),
        (
            "families: {kolors: {like: sdxl, pipeline: KolorsPipeline}}",
            "families.kolors.pipeline: nodes cannot render with `KolorsPipeline`; they render with `Chroma",
        ),
        ("models: {a: {like: sdxl, family: nix}}", "unknown family `nix`"),
        ("models: {a: {like: sdxl, components: {unet: 1}}}", "disagree about `text_encoder`"),
        ("models: {a: {like: sdxl, recipes: []}}", "at least one recipe"),
        (
            "models: {a: {like: sdxl, recipes: [{name: q, compute_dtype: float32, weights: {text_encoder: "
            "float32, text_encoder_2: float32, unet: gguf-q4, vae: float32}}]}}",
            "only a `transformer` can be GGUF",
        ),
        (
            "models: {a: {like: z-image, recipes: [{name: small, compute_dtype: float32, weights: "
            "{text_encoder: float32, transformer: gguf, vae: float32}}]}}",
            "recipe `small` stands for one of each format of GGUF files: let its name contain `gguf`",
        ),
        ("models: {a: {like: z-image, gguf: {gguf-q4: {path: a.gguf}}}}", "identity: is missing"),
        ("loras: {a: {base: nix, path: a, license: own-work}}", "no model has the base `nix`"),
        ("loras: {a: {base: sdxl, license: own-work}}", "loras.a.path: is missing"),
        ("loras: {a: {base: sdxl, path: a.pt, license: own-work}}", "`a.pt` is a pickle"),
        ("loras: {a: {base: sdxl, path: a.zip, license: own-work}}", "must be a .safetensors file"),
        ("models: {a: {like: sdxl, path: a.ckpt}}", "`a.ckpt` is a single file; a model must be a folder"),
        (
            f"models: {{a: {{like: z-image, gguf: {{gguf-q4: {{path: a.bin, identity: {SHA}}}}}}}}}",
            "`a.bin` is a pickle",
        ),
        (f"models: {{a: {{like: sdxl, speeds: [{SPEED % ('RTX 3O60', '2')}]}}}}", "did you mean `RTX 3060`"),
        (
            f"models: {{a: {{like: sdxl, speeds: [{SPEED % ('GTX 1070', '[3, 2]')}]}}}}",
            "first number must not be larger",
        ),
        (f"models: {{a: {{like: sdxl, speeds: [{SPEED % ('GTX 1070', '0')}]}}}}", "greater than 0"),
        # Every problem is told with its line.
        *(
            (
                "models:\n  a: {like: sdxl, stepz: 3}\n  b: {like: nowhere}\n"
                "  c: {like: sdxl, sampler: magic, size: 1000x1001, identity: latest}\nlora: {}\n",
                said,
            )
            for said in (
                "catalog.yaml:2",
                "did you mean `steps`",
                "no entry `nowhere`",
                "identity",
                "did you mean `loras`",
            )
        ),
        ("models: {a: 3}", "must be a mapping"),
        ("- 1", "a catalog must be a mapping"),
        ("models: {a: {like: sdxl}, a: {like: sd15}}", "a"),
    ],
)
def test_what_does_not_agree_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize("said", ["catalog.yaml:2", "did you mean `vram_gib`", "watts: is missing"])
def test_a_card_file_is_read_strictly(tmp_path: Path, said: str) -> None:
    with pytest.raises(InvalidDocument, match=re.escape(said)):
        load_card(write(tmp_path, "name: X\nvram_gb: 8\n"))


def test_a_folder_is_identified_by_the_sums_and_names_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "b.bin").write_bytes(b"b")
    (tmp_path / "a.json").write_bytes(b"a")
    (tmp_path / ".cache").write_bytes(b"not part of it")
    lines = sorted(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for content, name in ((b"a", "a.json"), (b"b", "vae/b.bin"))
    )
    assert folder_identity(tmp_path) == f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def test_card_files_describe_the_reference_cards() -> None:
    described = {
        load_card(path) for path in (Path(__file__).parents[2] / "manifests" / "cards").glob("*.yaml")
    }
    assert described
    assert described <= set(REFERENCE_CARDS.values())


def test_a_reference_card_belongs_to_its_class() -> None:
    assert {vram: card.vram_class for vram, card in REFERENCE_CARDS.items()} == {c: c for c in VRAM_CLASSES}
