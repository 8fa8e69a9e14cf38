"""`farm plan` and `farm models`: what they say without a farm, and how they exit."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from common.catalog import folder_identity
from common.messages import CardFacts
from common.nodes import Card
from common.units import GIB
from common.views import NodeView
from coordinator.cli.plan_page import readers_words
from coordinator.submission.plan import Readers, station_of
from tests.lora_matrix import loha
from tests.unit.cli.conftest import Farm
from tests.unit.weights.files import safetensors_bytes

MANIFESTS = Path(__file__).parents[3] / "manifests"
CARDS = MANIFESTS / "cards"
TURBO = """
version: 1
shots:
- name: mugs
  model: z-image-turbo
  prompt: "a {colour} mug, {matte|glossy}"
  axes: {colour: [red, blue]}
  seeds: 3
"""


def manifest(folder: Path, text: str) -> Path:
    path = folder / "manifest.yaml"
    path.write_text(text)
    return path


def test_a_plan_counts_what_a_manifest_multiplies_to(farm: Farm, tmp_path: Path) -> None:
    ran = farm("plan", manifest(tmp_path, TURBO), "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    counts = {"combinations": 2, "variants": 1, "seeds": 3, "shots": 6}
    assert report["groups"] == [{"name": "mugs", **counts, "files": []}]
    assert (report["plan"]["images"], report["plan"]["duplicates"]) == (6, 0)
    # A shot that two groups ask for counts once.
    again = TURBO + TURBO[TURBO.index("- name") :].replace("mugs", "again").replace("seeds: 3", "seeds: 4")
    report = json.loads(farm("plan", manifest(tmp_path, again), "--json").out)
    assert [group["shots"] for group in report["groups"]] == [6, 8]
    assert report["plan"]["images"] + report["plan"]["duplicates"] == 14


def test_a_plan_says_which_files_come_of_each_image(farm: Farm, tmp_path: Path) -> None:
    sizes = "output: {sizes: [512x512, {name: banner, size: 600x300, crop: pad}, 2x, original]}"
    ran = farm("plan", manifest(tmp_path, TURBO + sizes))
    assert ran.code == 0, ran.err
    assert "24 files: 512x512 (smart), banner 600x300 (pad), 2x, original" in ran.out


@pytest.mark.parametrize(
    ("model", "guidance", "told"),
    [
        *(("z-image-turbo", guidance, True) for guidance in ("0.5", "1", "7")),
        # Its own.
        ("z-image-turbo", "0", False),
        # Made for guidance, though `like` a distilled one.
        ("z-image", "7", False),
        ("sdxl", "7", False),
        # Distilled, of a family that guidance costs nothing.
        ("flux2-klein-4b", "7", False),
    ],
)
def test_a_guidance_that_doubles_what_a_distilled_model_takes_is_told_with_both_times(
    farm: Farm, tmp_path: Path, model: str, guidance: str, told: bool
) -> None:
    text = TURBO.replace("z-image-turbo", model) + f"  guidance: {guidance}\n"
    ran = farm("plan", manifest(tmp_path, text), "--json", "--card", "gtx-1070")
    found = [warning for warning in json.loads(ran.out)["warnings"] if "distilled" in warning]
    assert len(found) == told
    for warning in found:
        assert f"distilled for guidance 0: guidance {guidance} doubles" in warning
        assert "of 6 images, on GTX 1070 from 3 min 41 s to 7 min 21 s each" in warning


def test_a_plan_tells_every_class_how_it_takes_z_image_turbo(farm: Farm, tmp_path: Path) -> None:
    report = json.loads(farm("plan", manifest(tmp_path, TURBO), "--json").out)
    (line,) = report["plan"]["lines"]
    takes = {take["vram_class"]: take for take in line["takes"]}
    assert [takes[size]["recipe"] for size in (8, 12, 16, 24)] == ["gguf-q4-fp32", "int8", "bf16", "bf16"]
    assert takes[8]["peak_bytes"] < 7.3 * 2**30 < takes[16]["peak_bytes"]


def test_a_plan_says_first_how_many_then_how_long_how_much_what_fits_and_samples(
    farm: Farm, tmp_path: Path
) -> None:
    ran = farm("plan", manifest(tmp_path, TURBO))
    assert ran.code == 0
    order = (
        "6 images (2 combinations × 3 seeds)",
        "\ntime ",
        "loading 1 model",
        "\ncost ",
        "EUR per 1,000 images",
        "\nbasis    interpolated and published, good to a factor of two (--cards: for each card)",
        "\nrates    0.3 EUR per kWh, host 50 W; owned card per hour: 6 GB 0.005,",
        "1024×1024      8       6  286  225     22  3.9  3.4",
        "6 GB gguf-q4-fp32 5.0 GiB, 12 GB int8 8.1 GiB, 16 GB bf16",
        "red mug",
    )
    places = [ran.out.find(said) for said in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    assert "no identity for z-image-turbo" in unwrapped(ran.err)


DEMO = (MANIFESTS / "demo.yaml").read_text()
SIZED = "model: sdxl", "colour: [red], size: [1024x1024, 2048x2048, 8192x8192]"
POOR = "name: RTX 3090\nvram_gib: 24\nusable_gib: 22\nram_gib: 0.5\nwatts: 350\ncompute_capability: '8.6'\n"


@pytest.mark.parametrize(
    ("text", "options", "said", "unsaid"),
    [
        (DEMO, "", ["images  6-16  24-32\n", "timed on one CPU core, not on these cards"], []),
        (DEMO, "", ["not below 24 GB: shotfarm-demo-24 is kept for cards of 24 GB and more"], []),
        (
            DEMO,
            "--cards",
            [
                "shotfarm-demo 128×128, 9 steps\n",
                "shotfarm-demo 128×128, 9 steps, 1 LoRA\n",
                *["GTX 1070"] * 3,
                "fp32: computes in float32",
            ],
            [],
        ),
        # The largest of the images fit nothing below.
        (
            TURBO.replace("model: z-image-turbo", SIZED[0]).replace("colour: [red, blue]", SIZED[1]),
            "",
            ["\nnot below 32 GB: sdxl: needs 26.6 GiB at 8192×8192; RTX 4090 has"],
            [],
        ),
        # A class between others.
        (
            TURBO,
            "--card rtx-3060 --card poor.yaml",
            ["not on 24 GB: z-image-turbo: needs", "the machine of RTX 3090 has 0.5 GiB"],
            [],
        ),
        (TURBO, "--card gtx-1070", ["\nrates ", "8 GB 0.01"], ["24 GB"]),
        # What time and cost leave out.
        (
            TURBO.replace("colour: [red, blue]", "colour: [red], size: [1024x1024, 4096x4096]"),
            "--card gtx-1070",
            ["loading 1 model; excluding the 3 that fit no card"],
            [],
        ),
        (
            TURBO.replace("  seeds: 3", "  size: 4096x4096"),
            "--card gtx-1070",
            ["time, cost  none of the images fits a card"],
            [],
        ),
    ],
)
def test_the_page_of_a_plan_says_what_it_rests_on(
    farm: Farm, tmp_path: Path, text: str, options: str, said: list[str], unsaid: list[str]
) -> None:
    (tmp_path / "poor.yaml").write_text(POOR)
    shown = farm("plan", manifest(tmp_path, text), "--root", MANIFESTS, *options.split()).out
    assert [each for each in said if shown.count(each) != said.count(each)] == []
    assert [each for each in unsaid if each in shown] == []


def test_the_page_of_a_plan_fits_one_screen(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.cli.show.out._width", 100)
    for example in ("demo", "model-comparison", "product-catalogue"):
        lines = farm("plan", MANIFESTS / f"{example}.yaml").out.splitlines()
        assert len(lines) <= 37
        assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("card", [CARDS / "gtx-1070.yaml", "GTX-1070"])
def test_a_plan_for_a_given_card_speaks_of_it_only(farm: Farm, tmp_path: Path, card: Path | str) -> None:
    plan = json.loads(farm("plan", manifest(tmp_path, TURBO), "--card", card, "--json").out)["plan"]
    assert [take["card"] for take in plan["lines"][0]["takes"]] == ["GTX 1070"]
    assert plan["seconds"]["low"] == plan["seconds"]["high"]


def test_a_limit_that_only_the_dearest_card_passes_is_a_warning(farm: Farm, tmp_path: Path) -> None:
    plan = json.loads(farm("plan", manifest(tmp_path, TURBO), "--json").out)["plan"]
    between = (plan["cost"]["low"] + plan["cost"]["high"]) / 2
    ran = farm("plan", manifest(tmp_path, TURBO + f"limits: {{max_cost: {between:.6f}}}\n"))
    assert ran.code == 0
    assert "which exceeds limits.max_cost" in unwrapped(ran.err)


def test_a_manifest_may_come_from_standard_input(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TURBO.encode())))
    ran = farm("plan", "-", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["manifest"] == "standard input"


def test_a_farms_own_catalog_is_planned_with(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("models: {mine: {like: z-image-turbo, path: mine, min_class: 32}}")
    (tmp_path / "farm.yaml").write_text("catalogs: [mine.yaml]\nmoney: {currency: USD}\n")
    ran = farm("plan", manifest(tmp_path, TURBO.replace("z-image-turbo", "mine")), "--json")
    plan = json.loads(ran.out)["plan"]
    assert plan["lines"][0]["vram_class"] == 32
    assert plan["currency"] == "USD"


def unwrapped(said: str) -> str:
    return " ".join(said.split())


EXAMPLES = [path for path in sorted(MANIFESTS.glob("*.yaml")) if "\nshots:" in path.read_text()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_planned(farm: Farm, path: Path) -> None:
    ran = farm("plan", path, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["plan"]["images"] > 0


def test_models_are_listed_with_classes_licence_and_identity(farm: Farm) -> None:
    views = {view["name"]: view for view in json.loads(farm("models", "--json").out)}
    turbo = views["z-image-turbo"]
    assert (turbo["family"], turbo["license"], turbo["identity"]) == ("z-image", "apache-2.0", None)
    assert {each["vram_class"]: each["recipe"] for each in turbo["classes"]}[12] == "int8"
    assert [lora["name"] for lora in turbo["loras"]] == ["ana_v2", "bo_v1"]
    assert "flux-non-commercial (non-commercial)" in farm("models").out


def test_the_identity_of_files_is_printed_as_the_catalog_wants_it(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"x")
    assert farm("models", "--identity", tmp_path / "model").out.strip() == folder_identity(tmp_path / "model")
    assert farm("models", "--identity", tmp_path / "none").code == 2


def test_a_node_is_planned_for_as_it_is_and_was_measured() -> None:
    card = Card(
        name="GTX 1070",
        backend="cpu",
        vram_bytes=8 * GIB,
        usable_bytes=7 * GIB,
        ram_bytes=12 * GIB,
        watts=150,
    )
    facts = CardFacts(**asdict(card))
    node = NodeView(
        id="n", name="n", owner="ana", lanes=("public",), card="GTX 1070", facts=facts, terms="volunteer",
        speeds={"shotfarm-demo": 0.5}, vram_class=8, state="ready", seen_at=0.0,
    )  # fmt: skip
    station = station_of(node)
    assert (station.card, station.terms, station.speeds) == (card, "volunteer", {"shotfarm-demo": 0.5})


def test_a_plan_says_for_each_card_what_its_time_rests_on_and_who_published_it(
    farm: Farm, tmp_path: Path
) -> None:
    cards = "--card", "rtx-3080", "--card", "gtx-1070", "--card", "rtx-4090"
    said = farm("plan", manifest(tmp_path, TURBO), "--cards", *cards).out
    assert "RTX 3080: interpolated from RTX 3090 and RTX 3060\n" in said
    assert (
        "GTX 1070: published for GTX 1070: 2 min 40 s to 4 min 53 s (city96/ComfyUI-GGUF issue 35; " in said
    )
    assert "interpolated for RTX 3080 and published for GTX 1070, RTX 4090, good to a factor of two" in said
    # What differs from a publication is told without --cards as well.
    assert "z-image-turbo on RTX 4090: planned are 3.9 s, published are 2.3 s (smeltcore.com)\n" in said
    assert "z-image-turbo on GTX 1070: planned" not in said
    takes = json.loads(farm("plan", tmp_path / "manifest.yaml", *cards, "--json").out)["plan"]["lines"][0][
        "takes"
    ]
    assert [(take["basis"], take["published"] is None) for take in takes] == [
        ("interpolated", True),
        ("published", False),
        ("published", False),
    ]


def test_a_lora_is_judged_by_its_file_on_this_machine_before_anything_is_submitted(
    farm: Farm, tmp_path: Path
) -> None:
    (tmp_path / "files" / "loras").mkdir(parents=True)
    file = tmp_path / "files" / "loras" / "ana_v2.safetensors"
    file.write_bytes(safetensors_bytes(loha("lora_unet_layers_0_attention_to_q", 8, 8, rank=3)))
    (tmp_path / "farm.yaml").write_text("models: [files]\n")
    text = TURBO + "  loras: [ana_v2]\n"

    ran = farm("plan", manifest(tmp_path, text))

    assert ran.code == 2
    said = " ".join(ran.err.split())
    assert (
        "LoRA `ana_v2` cannot work on `z-image-turbo`: layer `lora_unet_layers_0_attention_to_q` has tensors"
        in said
    )
    assert "manifest.yaml:9" in said
    file.unlink()
    assert farm("plan", manifest(tmp_path, text)).code == 0


@pytest.mark.parametrize(
    ("nodes", "volunteers", "said"),
    [
        (None, 0, "lane acme (dedicated): seen by cards of acme only"),
        ((), 0, "seen by cards of acme only; now 0 nodes"),
        (("a", "b"), 1, "; now 2 nodes, 1 volunteer among them: a, b"),
        (tuple("abcdefghi"), 0, "; now 9 nodes"),
    ],
)
def test_a_plan_says_whose_nodes_see_its_prompts(
    nodes: tuple[str, ...] | None, volunteers: int, said: str
) -> None:
    readers = Readers(
        lane="acme", privacy="dedicated", may="cards of acme only", nodes=nodes, volunteers=volunteers
    )
    assert readers_words(readers).endswith(said)


def test_a_plan_says_what_its_lane_promises() -> None:
    readers = Readers(lane="family", privacy="public", content="sfw", may="any node")
    assert readers_words(readers) == "lane family (public, SFW): seen by any node"


def test_a_plan_says_what_licences_allow_and_who_sees_the_prompts(farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "farm.yaml").write_text("lanes: {acme: {privacy: dedicated, owner: acme}}")
    ran = farm("plan", manifest(tmp_path, TURBO + "lane: acme\n"))
    assert "prompts  lane acme (dedicated): seen by cards of acme only" in ran.out
    assert "licence  commercial use is allowed" in ran.out
    ran = farm("plan", manifest(tmp_path, TURBO.replace("z-image-turbo", "flux1-dev")))
    assert "licence  no commercial use: flux1-dev (flux-non-commercial)" in ran.out
