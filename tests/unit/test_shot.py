"""A shot's id changes with everything that changes the stored bytes, and with nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.shot import InversionUse, LoraUse, Shot, ShotIds, UpscalerUse
from tests.shots import MUG

SHOT = MUG._replace(
    model_identity="sha256:" + "a" * 64,
    loras=(LoraUse("ana", "sha256:" + "b" * 64, 0.8), LoraUse("bo", "sha256:" + "c" * 64, 0.5)),
    format="webp",
    quality=90,
)

CHANGES = {
    "model_identity": "sha256:" + "d" * 64,
    "prompt": "a red mug ",
    "negative": "",
    "seed": 8,
    "width": 840,
    "height": 1224,
    "steps": 10,
    "guidance": 1.6,
    "sampler": "heun",
    "loras": SHOT.loras[:1],
    "knobs": (("shift", 3.0),),
    "format": "jpeg",
    "quality": 91,
    "metadata": False,
    "realm": "studio",
    "generation": 1,
    "inversions": (InversionUse("neg", "sha256:" + "e" * 64),),
    "upscaler": UpscalerUse("sharp", "sha256:" + "f" * 64, 4, 36.0),
}


def test_the_id_of_a_shot_never_changes_between_versions() -> None:
    assert SHOT.id == "010ba500bf7f469467cffa90dd40765feb3d947026e7caee97a820c3c149ff3b"


@pytest.mark.parametrize("field", CHANGES)
def test_everything_that_changes_the_bytes_changes_the_id(field: str) -> None:
    assert SHOT._replace(**{field: CHANGES[field]}).id != SHOT.id


def test_every_field_but_the_name_of_the_model_is_in_the_id() -> None:
    assert {*CHANGES, "model"} == set(Shot._fields)


def test_names_of_models_and_loras_are_not_in_the_id_once_their_identity_is_known() -> None:
    renamed = tuple(use._replace(name=f"{use.name}_v2") for use in SHOT.loras)
    assert SHOT._replace(model="other", loras=renamed).id == SHOT.id
    assert SHOT._replace(model_identity="").id != SHOT._replace(model_identity="", model="other").id


def test_the_order_of_loras_and_knobs_does_not_matter() -> None:
    assert SHOT._replace(loras=SHOT.loras[::-1], knobs=SHOT.knobs[::-1]).id == SHOT.id


def test_equal_numbers_are_equal_however_they_are_spelled() -> None:
    assert SHOT._replace(guidance=1).id == SHOT._replace(guidance=1.0).id


def test_the_canonical_text_is_json_with_sorted_keys() -> None:
    data = json.loads(SHOT.canonical())
    assert list(data) == sorted(data)
    assert data["v"] == 1


TEXTS = st.text() | st.sampled_from(
    ['"negative":"","prompt":""', '"seed":0', '\\"seed\\":0', "\\", '"', "\ud800", "\0"]
)


@given(
    shot=st.builds(
        Shot,
        model=TEXTS,
        model_identity=TEXTS,
        prompt=TEXTS,
        negative=TEXTS,
        seed=st.integers(0, 2**63 - 1),
        width=st.integers(1, 9999),
        height=st.integers(1, 9999),
        steps=st.integers(1, 999),
        guidance=st.floats(0, 100),
        sampler=TEXTS,
        loras=st.lists(st.builds(LoraUse, TEXTS, TEXTS, st.floats(-10, 10)), max_size=2).map(tuple),
        knobs=st.lists(st.tuples(TEXTS, st.floats(0, 100)), max_size=2).map(tuple),
        realm=TEXTS,
        upscaler=st.sampled_from([None, CHANGES["upscaler"]]),
    )
)
def test_ids_written_in_parts_equal_ids_of_whole_shots(shot: Shot) -> None:
    ids = ShotIds(shot._replace(prompt="anything", negative="else", seed=1))
    assert ids.of(shot.prompt, shot.negative, shot.seed) == shot.id


def test_a_shot_survives_json() -> None:
    assert Shot.from_dict(json.loads(json.dumps(SHOT.to_dict()))) == SHOT
