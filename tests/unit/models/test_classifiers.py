"""Image classifiers: what they are, how they are added, and that scores are those of transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from common.catalog import load_catalog
from common.errors import Invalid
from common.lanes import Lane, Lanes
from coordinator.ingest.classifier import LoadedClassifier
from coordinator.models.addition import Added
from coordinator.screenings import check_screenings, screenings_of
from tests.tiny_classifiers import LABELS, save_classifier
from tests.unit.models.test_adding import MakeAdder, added, prepare

PICTURE = Image.effect_noise((48, 32), 90).convert("RGB")


@pytest.mark.parametrize(
    ("architecture", "old_names"), [("vit", True), ("vit", False), ("clip", False), ("siglip", False)]
)
def test_a_classifier_is_added_and_scores_as_transformers_does(
    architecture: str, old_names: bool, adder: MakeAdder, tmp_path: Path
) -> None:
    model = save_classifier(tmp_path / "Not Safe", architecture, old_names=old_names)
    found = added(adder, tmp_path / "Not Safe")
    assert (found.section, found.name) == ("classifiers", "not-safe")
    assert found.files[0].place == tmp_path / "home" / "models" / "classifiers" / "not-safe.safetensors"
    assert "lane of farm.yaml" in found.remarks[0]
    entry = load_catalog((tmp_path / "home" / "catalog.yaml",)).classifiers["not-safe"]
    assert (entry.form.labels, entry.form.std) == (tuple(LABELS.values()), (0.25, 0.25, 0.25))

    ours = LoadedClassifier.of(entry.form, found.files[0].place.read_bytes())
    small = PICTURE.resize((32, 32), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).reshape(32, 32, 3)
    seen = (pixels.permute(2, 0, 1).unsqueeze(0) / 255 - 0.5) / 0.25
    with torch.inference_mode():
        theirs = model(seen).logits.softmax(-1)[0].tolist()
    assert list(ours.scores(PICTURE).values()) == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_the_size_give_nearly_the_same_scores(
    dtype: torch.dtype, adder: MakeAdder, tmp_path: Path
) -> None:
    save_classifier(tmp_path / "x", "vit")
    found = added(adder, tmp_path / "x")
    file = found.files[0].place
    form = load_catalog((tmp_path / "home" / "catalog.yaml",)).classifiers["x"].form
    whole = LoadedClassifier.of(form, file.read_bytes()).scores(PICTURE)
    save_file({key: value.to(dtype) for key, value in load_file(file).items()}, file)
    halved = LoadedClassifier.of(form, file.read_bytes()).scores(PICTURE)
    assert halved == pytest.approx(whole, abs=0.1)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def changed(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without("config.json"), "whose labels are in its config.json: add its folder or repository"),
        (changed(id2label=None), "names no labels"),
        (changed(id2label={"x": "nsfw"}), "a value that the farm does not know: labels"),
        (changed(hidden_act="relu"), "a value that the farm does not know: activation"),
        (changed(num_attention_heads="many"), "a value that the farm does not know: heads"),
    ],
)
def test_a_classifier_that_cannot_be_run_is_refused(
    spoil: Callable[[Path], None], said: str, adder: MakeAdder, tmp_path: Path
) -> None:
    save_classifier(tmp_path / "x", "vit")
    spoil(tmp_path / "x")
    with pytest.raises(Invalid, match=said):
        prepare(adder, tmp_path / "x")


def test_a_lane_orders_labels_of_classifiers_that_the_catalog_has(adder: MakeAdder, tmp_path: Path) -> None:
    save_classifier(tmp_path / "x", "vit")
    found: Added = added(adder, tmp_path / "x")
    catalog = load_catalog((tmp_path / "home" / "catalog.yaml",))
    labels = {name: one.form.labels for name, one in catalog.classifiers.items()}

    family = Lane.model_validate({"classifiers": {"x": {"nsfw": 0.6}}})
    check_screenings(Lanes({"family": family}), labels)
    (screening,) = screenings_of(family, catalog)
    assert (screening.thresholds, screening.path) == ({"nsfw": 0.6}, "x.safetensors")
    assert f"sha256:{screening.sha256}" == found.entry["identity"]
    for ordered, said in (
        ({"y": {"nsfw": 0.6}}, r"lanes\.family\.classifiers\.y: the catalog has no image classifier `y`"),
        ({"x": {"rude": 0.6}}, "it has no label `rude`; it has `normal`, `nsfw` and `art`"),
    ):
        with pytest.raises(Invalid, match=said):
            check_screenings(Lanes({"family": Lane.model_validate({"classifiers": ordered})}), labels)
