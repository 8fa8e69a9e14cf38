"""The form of an order as a manifest that the farm reads."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

import pytest

from common.catalog import load_catalog
from common.errors import InvalidDocument
from common.manifest.parse import parse_manifest
from common.shot import PlannedShot
from coordinator.expand import expand
from coordinator.web.order_form import IDEAS, Order
from coordinator.web.visitor import Form

CATALOG = load_catalog(())


def order(**fields: str | list[str]) -> Order:
    given = {"model": "shotfarm-demo", "prompt": "a red mug", "images": "1", "format": "png"} | fields
    return Order.of(Form(parse_qs(urlencode(given, doseq=True), keep_blank_values=True)))


def planned(one: Order) -> list[PlannedShot]:
    parsed = parse_manifest(one.manifest(), source="form", files=None, catalog=CATALOG)
    return list(expand(parsed, CATALOG))


def test_what_is_left_empty_is_as_the_model_has_it() -> None:
    (shot,) = planned(order(steps="", guidance="", seed="", aspect="", name=""))
    model = CATALOG.models["shotfarm-demo"]
    assert (shot.shot.width, shot.shot.height) == model.size
    assert (shot.shot.steps, shot.shot.guidance, shot.shot.seed) == (model.steps, model.guidance, 0)


def test_every_field_arrives() -> None:
    one = order(
        images="3", seed="40", steps="4", guidance="1.5", aspect="2:3", megapixels="0.1", format="webp",
        priority="30", max_cost="2.5", name="mugs", lora="blueprint", **{"weight:blueprint": "0.5"},
    )  # fmt: skip
    parsed = parse_manifest(one.manifest(), source="form", files=None, catalog=CATALOG)
    shots = [each.shot for each in expand(parsed, CATALOG)]
    assert [shot.seed for shot in shots] == [40, 41, 42]
    first = shots[0]
    assert (first.steps, first.guidance, first.format) == (4, 1.5, "webp")
    assert first.width * 3 == pytest.approx(first.height * 2, rel=0.1)
    assert [use.weighted_name for use in first.loras] == ["blueprint@0.5"]
    manifest = parsed.manifest
    assert (manifest.name, manifest.priority, str(manifest.limits.max_cost)) == ("mugs", 30, "2.5")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("images", "many"),
        ("images", "-1"),
        ("steps", "nan"),
        ("guidance", "1,5"),
        ("aspect", "2 by 3"),
        ("priority", "101"),
        ("max_cost", "cheap"),
        ("model", "no-such-model"),
    ],
)
def test_what_is_wrong_is_told_with_its_key_in_the_manifest(field: str, text: str) -> None:
    key = {"images": "seeds", "aspect": "size"}.get(field, field)
    with pytest.raises(InvalidDocument, match=key):
        planned(order(**{field: text}))


@pytest.mark.parametrize(
    "prompt", ["a: b", "- x", "{a|b}", "é 木 “q”", "'\"\\", "null", "1\n2\n", "#", "a " * 250]
)
def test_a_prompt_stays_what_it_is(prompt: str) -> None:
    assert planned(order(prompt=prompt))[0].template == prompt.strip()


@pytest.mark.parametrize("idea", IDEAS)
def test_every_idea_is_a_prompt(idea: str) -> None:
    assert len(planned(order(prompt=idea, images="2"))) == 2
