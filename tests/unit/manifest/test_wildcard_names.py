"""What a `__mention__` means, by the names there are and the wildcard it stands in."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.manifest.wildcard_names import WildcardNames

NAMES = [
    "beasts",
    "color",
    "hair color",
    "jumbo/creatures/adnd",
    "jumbo/creatures/beasts",
    "own.txt",
    "pack.yaml/animals/birds",
    "pack.yaml/animals/cats",
    "people/Smith",
    "people/job",
    "people/old/job",
    "x/list.yaml",
    "x/y.json/animals/birds",
    "颜色",
]


@pytest.mark.parametrize(
    ("mention", "expected"),
    [
        ("color", ["color"]),
        ("Color", ["color"]),
        ("color.txt", ["color"]),
        ("own.txt", ["own.txt"]),
        ("hair color", ["hair color"]),
        (r"people\old\job", ["people/old/job"]),
        ("/people/job", ["people/job"]),
        ("people/smith", ["people/Smith"]),
        ("颜色", ["颜色"]),
        ("people/*", ["people/Smith", "people/job"]),
        ("*/job", ["people/job"]),
        ("**/job", ["people/job", "people/old/job"]),
        ("people/**", ["people/Smith", "people/job", "people/old/job"]),
        ("p*/**/j*b", ["people/job", "people/old/job"]),
        ("PEOPLE/*", ["people/Smith", "people/job"]),
        ("pack/animals/birds", ["pack.yaml/animals/birds"]),
        ("pack.yaml/animals/birds", ["pack.yaml/animals/birds"]),
        ("pack.yaml", ["pack.yaml/animals/birds", "pack.yaml/animals/cats"]),
        ("pack/animals/*", ["pack.yaml/animals/birds", "pack.yaml/animals/cats"]),
        ("animals/cats", ["pack.yaml/animals/cats"]),
        ("animals/birds", ["pack.yaml/animals/birds", "x/y.json/animals/birds"]),
        ("x/list", ["x/list.yaml"]),
        ("people", []),
        ("gone", []),
        ("gone/*", []),
        ("../color", []),
        ("", []),
    ],
)
def test_a_mention_in_a_prompt_means_these(mention: str, expected: list[str]) -> None:
    assert list(WildcardNames(NAMES).find(mention)) == expected


@pytest.mark.parametrize(
    ("mention", "within", "expected"),
    [
        ("beasts", "jumbo/creatures/adnd", "jumbo/creatures/beasts"),
        ("creatures/beasts", "jumbo/creatures/adnd", "jumbo/creatures/beasts"),
        ("color", "jumbo/creatures/adnd", "color"),
        ("beasts", "jumbo/creatures/beasts", "beasts"),
        ("beasts", "beasts", "beasts"),
        ("../color", "people/job", "color"),
        ("cats", "pack.yaml/animals/birds", "pack.yaml/animals/cats"),
        ("animals/cats", "pack.yaml/animals/birds", "pack.yaml/animals/cats"),
        ("list", "x/y.json/animals/birds", "x/list.yaml"),
    ],
)
def test_a_mention_in_a_wildcard_means_the_nearest_other_one(
    mention: str, within: str, expected: str
) -> None:
    assert WildcardNames(NAMES).find(mention, within) == (expected,)


def test_of_names_that_differ_in_case_only_none_is_guessed() -> None:
    assert WildcardNames(["Color", "COLOR"]).find("color") == ()


PARTS = st.sampled_from(["a", "b", "A", "p.yaml", "*", "**", "..", "a b", "x.txt", ""])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, max_size=8), st.data())
def test_what_a_mention_means_needs_no_other_names(names: list[str], data: st.DataObject) -> None:
    """So a manifest that was sent with the wildcards in use alone means the same."""
    known = WildcardNames(names)
    within = data.draw(st.sampled_from(["", *names]))
    mentions = data.draw(st.lists(PATHS.filter(lambda path: path.upper() != path), max_size=3))
    found = [known.find(mention, within) for mention in mentions]
    kept = {name for some in found for name in some} | {within}
    if len({name.casefold() for name in names}) == len(set(names)):
        assert [WildcardNames(kept).find(mention, within) for mention in mentions] == found


def test_a_pattern_of_many_stars_is_matched_in_no_time() -> None:
    names = WildcardNames(["a" * 200 + f"/{number}" for number in range(200)])
    start = time.process_time()
    assert names.find("*a" * 60 + "b/**/**/**/x*") == ()
    assert time.process_time() - start < 1
