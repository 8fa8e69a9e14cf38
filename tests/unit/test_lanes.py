"""Lanes: whose nodes may see prompts, and settings that say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InvalidDocument, NotGranted
from common.lanes import Lane, Lanes, Viewer
from common.levels import Level
from common.settings import load_settings
from coordinator.submission.submit import check_dedication

LANES = Lanes(
    {
        "open": Lane(privacy="public"),
        "house": Lane(privacy="internal"),
        "acme": Lane(privacy="dedicated", owner="acme"),
    }
)
NAMES = ("public", "open", "studio", "house", "acme")


@pytest.mark.parametrize(
    ("owner", "level", "served"),
    [
        ("farm", Level.OWNED, ("public", "open", "studio", "house")),
        ("vera", Level.PROBATION, ("public", "open")),
        ("vera", Level.PROVEN, ("public", "open")),
        ("vera", Level.TRUSTED, ("public", "open", "studio")),
        ("acme", Level.PROBATION, ("public", "open", "acme")),
        ("acme", Level.OWNED, NAMES),
    ],
)
def test_a_node_serves_the_lanes_whose_prompts_it_may_see(
    owner: str, level: Level, served: tuple[str, ...]
) -> None:
    assert LANES.served(NAMES, Viewer(owner, level)) == served


CONTENT = Lanes(
    {
        "family": Lane(privacy="public", content="sfw"),
        "wild": Lane(privacy="public", content="any"),
        "acme": Lane(privacy="dedicated", owner="acme", content="any"),
    }
)


@pytest.mark.parametrize(
    ("viewer", "closed"),
    [
        (Viewer("vera", Level.PROBATION), {"wild": "may show explicit images, which owners on probation"}),
        (Viewer("vera", Level.PROVEN), {}),
        (Viewer("vera", Level.PROVEN, sfw_only=True), {"public": "SFW only", "wild": "SFW only"}),
        (Viewer("acme", Level.OWNED, sfw_only=True), {"public": "SFW only", "wild": "SFW only"}),
    ],
)
def test_owners_who_want_sfw_only_or_are_new_are_kept_from_other_lanes(
    viewer: Viewer, closed: dict[str, str]
) -> None:
    names = ("public", "family", "wild", *(["acme"] if viewer.owner == "acme" else []))
    found = CONTENT.closed(names, viewer)
    assert found.keys() == closed.keys()
    assert all(said in found[name] for name, said in closed.items())
    assert CONTENT.served(names, viewer) == tuple(name for name in names if name not in closed)


def test_a_lane_that_promises_sfw_takes_no_sexual_prompts() -> None:
    family, wild = CONTENT.rules_of("family"), CONTENT.rules_of("wild")
    broken = family.broken("a nude on a sofa")
    assert broken is not None
    assert broken.name == "explicit"
    assert wild.broken("a nude on a sofa") is family.broken("a cat on a sofa") is None


def test_a_dedicated_lane_takes_jobs_of_its_owner_alone() -> None:
    check_dedication("acme", LANES, "acme")
    check_dedication("studio", LANES, "bo")
    with pytest.raises(NotGranted, match=r"lane `acme` is dedicated to jobs of acme, and this one is of bo"):
        check_dedication("acme", LANES, "bo")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("lanes: {public: {privacy: private}}", "lane `public` is for any node"),
        ("lanes: {a: {privacy: dedicated}}", "a dedicated lane needs `owner`"),
        ("lanes: {a: {owner: bo}}", "`owner` is for dedicated lanes"),
        ("lanes: {a b: {}}", "cannot be the name of a lane"),
        ("lanes: {a: {content: nsfw}}", "lanes.a.content: must be 'sfw' or 'any'"),
        (
            "lanes: {a: {privacy: secret}}",
            "lanes.a.privacy: must be 'public', 'private', 'internal' or 'dedicated'",
        ),
        ("prompt_rules: [{name: x, words: [a*b]}]", "may have `*` at its ends only"),
        ("lanes: {a: {prompt_rules: [{name: x}]}}", "lanes.a.prompt_rules[0].words: is missing"),
    ],
)
def test_settings_of_lanes_are_checked(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "farm.yaml").write_text(content)
    with pytest.raises(InvalidDocument) as wrong:
        load_settings(tmp_path / "farm.yaml")
    assert said in str(wrong.value)


def test_rules_of_a_lane_are_those_of_the_farm_and_its_own(tmp_path: Path) -> None:
    (tmp_path / "farm.yaml").write_text(
        "prompt_rules: [{name: weapons, words: [gun]}]\n"
        "lanes: {family: {privacy: public, prompt_rules: [{name: drink, words: [beer*]}]}}\n"
    )
    lanes = load_settings(tmp_path / "farm.yaml").all_lanes

    def broken(lane: str) -> list[str | None]:
        found = map(lanes.rules_of(lane).broken, ("a gun", "two beers", "naked kids"))
        return [one and one.name for one in found]

    assert broken("public") == broken("studio") == ["weapons", None, "minors"]
    assert broken("family") == ["weapons", "drink", "minors"]
