"""Fleet files: which nodes they describe, and what is said about wrong ones."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from common.errors import Invalid, InvalidDocument
from coordinator.simulate.fleet import added_cards, load_fleet, named_card

FLEETS = Path(__file__).parents[2] / "manifests" / "fleets"
CARD = "name: My card\nvram_gib: 12\nusable_gib: 11\nram_gib: 24\nwatts: 99\ncompute_capability: '8.6'\n"


def fleet_file(folder: Path, text: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "nodes"), [("reference", 70), ("studio", 15), ("shop", 3), ("night", 1)])
def test_every_fleet_that_comes_with_the_farm_is_read(name: str, nodes: int) -> None:
    found = load_fleet(FLEETS / f"{name}.yaml")
    assert len({node.name for node in found}) == nodes
    assert {path.stem for path in FLEETS.glob("*.yaml")} == {"reference", "studio", "shop", "night"}


def test_nodes_are_named_after_their_card_and_numbered_where_there_are_several(tmp_path: Path) -> None:
    text = "cards: [{card: rtx-3060}, {card: gtx-1070, count: 2}, {card: gtx-1070, terms: rented}]"
    found = load_fleet(fleet_file(tmp_path, text))
    assert [node.name for node in found] == ["rtx-3060", "gtx-1070-1", "gtx-1070-2", "gtx-1070-3"]
    assert [node.terms for node in found] == ["owned", "owned", "owned", "rented"]
    more = added_cards("gtx-1070=2", found)
    assert [node.name for node in more] == ["gtx-1070-4", "gtx-1070-5"]
    assert added_cards("RTX 4090", found)[0].name == "rtx-4090-1"


def test_a_fleet_says_watts_price_and_cards_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CARD)
    text = "cards: [{card: mine.yaml, name: desk, per_hour: 0.02}, {card: rtx-3060, watts: 120}]"
    desk, other = load_fleet(fleet_file(tmp_path, text))
    assert (desk.name, desk.card.name, desk.card.watts, desk.per_hour) == (
        "desk",
        "My card",
        99,
        Decimal("0.02"),
    )
    assert (other.card.name, other.card.watts, other.per_hour) == ("RTX 3060", 120, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "cards: [{card: rtx-306}]",
            ":1:16: cards[0].card: rtx-306 is neither a known card nor a card file: did you mean `rtx-3060`?",
        ),
        ("cards: [{card: voodoo}]", "docs/reference/cards.md lists the known cards"),
        ("cards: [{card: rtx-3060, count: 0}]", ":1:33: cards[0].count: must be greater than or equal to 1"),
        ("cards: [{card: rtx-3060, count: 20000}]", "cards[0].count: must be less than or equal to 10000"),
        (
            "cards: [{card: rtx-3060, count: 6000}, {card: gtx-1070, count: 6000}]",
            "at most 10,000 cards in all",
        ),
        ("cards: [{card: rtx-3060, per_hour: cheap}]", ":1:36: cards[0].per_hour: must be a number"),
        ("cards: [{card: rtx-3060, per_hour: -1}]", "cards[0].per_hour: must be greater than or equal to 0"),
        ("cards: [{card: rtx-3060, terms: lent}]", "must be 'owned', 'rented' or 'volunteer'"),
        (
            "cards: [{card: rtx-3060, name: a}, {card: gtx-1070, name: a}]",
            "cards[1].name: two nodes would be called a; give these another name",
        ),
        (
            "cards: [{card: rtx-3060, name: a-1}, {card: gtx-1070, name: a, count: 2}]",
            "two nodes would be called a-1",
        ),
        ("cards: [{card: 4090}]", "cards[0].card: must be text; put it in quotes"),
        ("cards: [{kard: rtx-3060}]", "cards[0].kard: unknown key: did you mean `card`?"),
        ("cards: []", "cards: must not be empty"),
        ("{}", "cards: is missing"),
        ("cards: [{card: broken.yaml}]", "broken.yaml"),
    ],
)
def test_what_is_wrong_in_a_fleet_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "broken.yaml").write_text("name: 3")
    with pytest.raises(InvalidDocument) as wrong:
        load_fleet(fleet_file(tmp_path, text))
    assert said in str(wrong.value)
    assert str(tmp_path / "fleet.yaml") in str(wrong.value)


@pytest.mark.parametrize(
    "given", ["rtx-3060=0", "rtx-3060=x", "rtx-3060=-1", "rtx-3060=99999", "rtx-306=2", "=2", ""]
)
def test_cards_to_add_are_refused_in_words_that_show_them(given: str) -> None:
    with pytest.raises(Invalid) as wrong:
        added_cards(given, ())
    assert given in str(wrong.value) or str(wrong.value).startswith("rtx-306 is neither")


def test_a_card_has_the_name_that_people_give_it() -> None:
    assert {named_card(name).name for name in ("rtx-3060", "RTX 3060", "rtx3060")} == {"RTX 3060"}
