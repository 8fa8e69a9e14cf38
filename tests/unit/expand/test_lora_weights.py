"""A LoRA with another weight for the text encoders than for the denoiser."""

from __future__ import annotations

import pytest

from common.shot import Shot
from common.work import work_of
from tests.unit.expand.making import catalog, expanded, group, refused, warned


def shot(lora: str, model: str = "sdxl") -> Shot:
    return expanded(group(f"loras: [{lora}]", model=model))[0].shot


def test_the_second_weight_is_part_of_the_shot_and_of_its_work_where_it_differs() -> None:
    plain, same, other = (shot(f"poster@{weights}") for weights in ("0.8", "0.8/0.8", "0.8/0.5"))
    assert plain == same
    assert (other.loras[0].weight, other.loras[0].text_weight) == (0.8, 0.5)
    assert other.id != plain.id
    assert Shot.from_dict(other.to_dict()) == other
    assert len(plain.to_dict()["loras"][0]) == 3
    model = catalog().models["sdxl"]
    assert work_of(other, model).key != work_of(plain, model).key
    assert other == shot("{name: poster, weight: 0.8, text_weight: 0.5}")


def test_it_has_no_effect_on_a_model_whose_text_encoder_no_lora_changes() -> None:
    assert shot("ana@0.8/0.5", "z-image-turbo") == shot("ana@0.8", "z-image-turbo")
    (said,) = warned(group("loras: [ana@0.8/0.5]"))
    assert said == (
        "m.yaml:6:3: shots[0].loras: `z-image-turbo` has no text encoder that LoRAs change; "
        "leave out the second weight"
    )


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ("poster@0.8/11", "shots[0].loras[0]: the weight must be a number from -10 to 10, not `11`"),
        ("poster@0.8/", "the weight must be a number, not"),
        ("{name: poster, strength_clip: 0.5}", "unknown key `strength_clip`; write `text_weight: 0.5`"),
    ],
)
def test_a_wrong_second_weight_is_told(lora: str, said: str) -> None:
    (problem,) = refused(group(f"loras: [{lora}]", model="sdxl"))
    assert said in problem
