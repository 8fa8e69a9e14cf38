"""What a node may put into its messages."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from common.messages import Close, Join, Report
from tests.cards import card_facts

LONG = "x" * 201
REPORT = {"token": "t", "shot_id": "0" * 64, "outcome": "failed", "failure": "render_error"}


@pytest.mark.parametrize(
    "fields",
    [
        {"owner": LONG},
        {"process": LONG},
        {"models": (LONG,)},
        {"versions": {"torch": LONG}},
        {"versions": {str(number): "1" for number in range(300)}},
        {"lanes": tuple(f"lane-{number}" for number in range(300))},
        {"aside": {LONG: "it does not load"}},
    ],
)
def test_a_node_joins_with_names_and_versions_of_a_usual_length(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Join.model_validate({"name": "node", "card": card_facts(8)} | fields)


def test_the_name_of_a_card_has_a_usual_length() -> None:
    with pytest.raises(ValidationError):
        Join.model_validate({"name": "node", "card": {**card_facts(8).model_dump(), "name": "x" * 5 * 2**20}})


def test_a_fingerprint_is_bounded() -> None:
    assert Report.model_validate(REPORT | {"fingerprint": {"versions": "x" * 16_000}}).fingerprint
    with pytest.raises(ValidationError, match="more than 16,384 bytes"):
        Report.model_validate(REPORT | {"fingerprint": {"versions": ["x" * 100] * 200}})


def test_of_a_long_sentence_the_beginning_counts() -> None:
    assert Report.model_validate(REPORT | {"message": "y" * 10**6}).message == "y" * 2000
    assert Close(token="t", outcome="failed", message="y" * 10**6).message == "y" * 2000
