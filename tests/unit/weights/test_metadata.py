"""Licence, trigger words and base model as trainers write them."""

from __future__ import annotations

import json

from common.weights import described


def test_a_stated_trigger_phrase_counts() -> None:
    found = described({"modelspec.trigger_phrase": "ana_v2, woman", "modelspec.license": "MIT"})

    assert found.triggers == ("ana_v2", "woman")
    assert not found.trigger_is_a_guess
    assert found.license == "MIT"


def test_without_one_the_most_frequent_tag_of_the_training_pictures_is_a_guess() -> None:
    tags = {"10_ana": {"ana_v2": 20, "smile": 7}, "5_more": {" ana_v2 ": 3, "smile": 9}}

    found = described({"ss_tag_frequency": json.dumps(tags), "ss_base_model_version": "sdxl_base_v1-0"})

    assert found.triggers == ("ana_v2",)
    assert found.trigger_is_a_guess
    assert found.base == "sdxl_base_v1-0"


def test_what_is_not_stated_is_empty() -> None:
    assert described({"ss_tag_frequency": "[1]"}).triggers == ()
    assert described({}).license == ""
