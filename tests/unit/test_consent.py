"""LoRAs of real persons are used as these have agreed, and licences of all that is used count together."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from common.cards import REFERENCE_CARDS
from common.catalog import (
    Catalog,
    CatalogEntries,
    License,
    Lora,
    Person,
    TextualInversion,
    load_catalog,
    read_entries,
    with_entry,
)
from common.catalog.consent import consent_problem
from common.catalog.licenses import effective_license
from common.errors import InvalidDocument
from common.fit import Seen
from common.manifest.parse import parse_manifest
from common.prompt_rules import PromptRules
from coordinator.expand import expand
from coordinator.farm_catalog import FarmCatalog
from coordinator.scheduling.placing import placing
from coordinator.submission.shot_checks import ShotChecks
from coordinator.submission.tokens import Tokenizers
from tests.unit.expand.making import catalog, group

TODAY = date(2026, 11, 30)
AGREED: dict[str, Any] = {
    "subject": "s-12",
    "real": True,
    "consent": "sha256:00",
    "scope": ("noncommercial",),
    "expires": TODAY,
    "revoked": None,
}
FREE, NAMED = License(name="free", commercial=True), License(name="by", commercial=True, attribution=True)
CLOSED = License(name="closed", commercial=False)


def ana(**differs: Any) -> Lora:
    return replace(catalog().loras["ana"], person=Person(**AGREED | differs))


def with_lora(lora: Lora) -> Catalog:
    return replace(catalog(), loras=catalog().loras | {lora.name: lora}, today=lambda: TODAY)


def refused(known: Catalog, manifest: str) -> str:
    try:
        parsed = parse_manifest(manifest, source="m.yaml", files=None, catalog=known)
        checks = ShotChecks(expand(parsed, known), Tokenizers(known), PromptRules(), use=parsed.manifest.use)
        list(checks.passing())
        checks.raise_any()
    except InvalidDocument as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("differs", "commercial", "said"),
    [
        ({}, False, None),
        ({"expires": None}, False, None),
        ({"consent": None}, False, "(subject s-12), and the catalog names no consent"),
        ({"revoked": date(2026, 11, 1)}, False, "whose consent was revoked on 2026-11-01; leave it out"),
        ({"expires": date(2026, 11, 29)}, False, "whose consent expired on 2026-11-29"),
        ({}, True, "whose consent is not for commercial use; this manifest says `use: commercial`"),
        ({"scope": ("commercial",)}, True, None),
        ({"real": False, "consent": None, "scope": ()}, True, None),
    ],
)
def test_a_lora_of_a_real_person_needs_a_consent_that_is_valid_and_for_the_use(
    differs: dict[str, Any], commercial: bool, said: str | None
) -> None:
    found = consent_problem(ana(**differs), commercial=commercial, today=TODAY)
    assert found is None if said is None else found is not None and said in found


def test_whoever_submits_is_told_at_the_place_of_the_lora() -> None:
    known = with_lora(ana(consent=None))
    said = refused(known, group("loras: [ana]"))
    assert said.startswith("m.yaml:6:11: shots[0].loras[0]: LoRA `ana` shows a real person (subject s-12)")
    assert "m.yaml:6:" in refused(known, group("axes: {look: [{name: x, loras: [ana]}]}"))
    assert refused(with_lora(ana()), group("loras: [ana]")) == ""


@pytest.mark.parametrize(
    ("prompt", "differs", "is_refused"),
    [
        ("a nude portrait", {}, True),
        ("a portrait", {}, False),
        ("a nude portrait", {"scope": ("noncommercial", "intimate")}, False),
        ("a nude portrait", {"real": False}, False),
    ],
)
def test_intimate_images_of_a_real_person_need_a_consent_of_their_own(
    prompt: str, differs: dict[str, Any], is_refused: bool
) -> None:
    said = refused(with_lora(ana(**differs)), group("loras: [ana]", prompt=prompt))
    assert ("breaks rule `intimacy`" in said) == is_refused
    assert ("the person of LoRA `ana` has not agreed to intimate images" in said) == is_refused


def test_what_waits_is_not_rendered_once_its_person_has_taken_back_the_consent() -> None:
    known = with_lora(ana())
    parsed = parse_manifest(group("loras: [ana]"), source="m.yaml", files=None, catalog=known)
    (planned,) = expand(parsed, known)
    place = placing(known)
    assert not isinstance(place(planned.shot, REFERENCE_CARDS[24], Seen()), str)
    known.become(with_lora(ana(revoked=TODAY)))
    assert place(planned.shot, REFERENCE_CARDS[24], Seen()) == (
        "the consent of the person of LoRA ana was revoked on 2026-11-30"
    )


def entries(**more: Any) -> CatalogEntries:
    lora = {"base": "sdxl", "path": "x.safetensors", "license": "own-work", **more}
    return with_entry(read_entries(), "loras", "x", lora, source="loras.x")


def test_a_catalog_file_has_persons_and_no_client_is_told_of_them() -> None:
    person = {"subject": "s-12", "consent": "sha256:00", "scope": ["commercial"], "expires": "2027-01-31"}
    farm = FarmCatalog(entries(person=person, triggers=["x woman"]))
    lora = farm.catalog.loras["x"]
    assert lora.person == Person(**AGREED | {"scope": ("commercial",), "expires": date(2027, 1, 31)})
    assert "s-12" not in farm.served
    assert '"triggers":["x woman"]' in farm.served
    with pytest.raises(InvalidDocument, match="cannot be the name of a subject"):
        entries(person={"subject": "Ana Smith"})


def test_what_an_image_is_made_with_allows_together_what_each_part_allows() -> None:
    known = load_catalog()
    model = replace(known.models["sdxl"], component_licenses={"text_encoder": FREE})
    lora = replace(ana(), license=NAMED)
    allowed = effective_license([model, lora])
    assert (allowed.commercial, allowed.attribution) == (True, ("ana (by)",))
    assert allowed.words == "commercial use is allowed; name ana (by)"
    closed = replace(model, component_licenses={"text_encoder": CLOSED})
    allowed = effective_license([closed, lora])
    assert allowed.words == "no commercial use: text_encoder of sdxl (closed); name ana (by)"


def test_a_sold_image_is_made_with_nothing_that_forbids_it() -> None:
    model = replace(
        catalog().models["sdxl"], component_licenses={"text_encoder": CLOSED}, identity=f"sha256:{'1' * 64}"
    )
    known = replace(catalog(), models=catalog().models | {"sdxl": model})
    sold = group(model="sdxl", top="use: commercial")
    assert "model text_encoder of sdxl has the licence closed, which forbids commercial use" in refused(
        known, sold
    )
    inversion = TextualInversion(
        name="neg", family="sdxl", identity="sha256:00", path="neg.safetensors", license=CLOSED, vectors=2
    )
    known = replace(catalog(), textual_inversions={"neg": inversion})
    sold = group(model="sdxl", top="use: commercial", prompt="a cat, embedding:neg")
    assert "textual inversion `neg` has the licence closed" in refused(known, sold)
    assert refused(known, sold.replace("use: commercial", "use: noncommercial")) == ""


def test_licences_of_components_are_checked() -> None:
    model = {"like": "sdxl", "component_licenses": {"transformer": "mit", "vae": "none"}}
    with pytest.raises(InvalidDocument) as wrong:
        with_entry(read_entries(), "models", "y", model, source="models.y")
    assert "the model has no component `transformer`" in str(wrong.value)
    assert "unknown license `none`" in str(wrong.value)
