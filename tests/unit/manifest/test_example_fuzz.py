"""The examples, damaged: each is planned, or refused with the farm's own sentence, in bounded time."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.catalog import Catalog, load_catalog
from common.errors import FarmError, InvalidDocument
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from coordinator.expand import check_names, expand

FOLDER = Path("manifests")
EXAMPLES = {
    path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.yaml")) if b"shots:" in path.read_bytes()
}
#: Shots that are made of each plan; the others are as quick to count.
MADE = 50
#: Shots of a plan whose names are checked, which takes all of them.
NAMED = 2000
#: Bytes and words that a slip of the hand, a bad copy or an attacker leaves behind.
SCRAPS = [
    b"", b"\n", b" ", b"  ", b"\t", b":", b"- ", b"[", b"]", b"{", b"}", b"'", b'"', b"#", b"&a ", b"*a",
    b"!!x ",
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"1e999", b"9" * 40, b"{1..99999999}", b"{a|", b"__", b"<<: ",
    b"null", b"0", b"-1", b"10000000", b"../../etc/passwd", b"\xe2\x80\xa8", b"---\n", b"x" * 5000,
]  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["{a|b}", "{2$$, $$a|b|c}", "__x__", "{scene}", "832x1216", "../x", "x" * 5000, "\ud800"]
    ),
    st.just([]),
    st.just({}),
    st.lists(st.integers(0, 9), min_size=100, max_size=100),
    st.just({"from": 0, "to": 10**9, "step": 1}),
    st.just({"from": 0, "to": 1, "step": 1e-9}),
    st.just({"file": "lists/products.csv"}),
    st.just({"start": 2**63 - 2, "count": 5}),
)

slow = settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def plan(content: str | bytes, catalog: Catalog) -> FarmError | None:
    """Parse, expand, and make the first and the last shots; the farm's own error where it refuses."""
    try:
        parsed = parse_manifest(content, source="fuzz.yaml", files=FileReader(FOLDER), catalog=catalog)
        shots = expand(parsed, catalog)
        if len(shots) <= NAMED:
            check_names(shots)
    except FarmError as error:
        return error
    for number in {*range(min(MADE, len(shots))), *range(max(0, len(shots) - MADE), len(shots))}:
        assert len(shots[number].id) == 64
    return None


def check(refusal: FarmError | None) -> None:
    """A refusal names every problem at its line, in a sentence."""
    if refusal is not None:
        assert isinstance(refusal, InvalidDocument)
        assert refusal.problems
        assert [each.message for each in refusal.problems if not 0 < len(each.message) < 500] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_sound(name: str, catalog: Catalog) -> None:
    assert plan(EXAMPLES[name], catalog) is None


# A plan that hangs is ended by the time limit of the test.
@pytest.mark.timeout(100)
@slow
@given(
    name=st.sampled_from(sorted(EXAMPLES)),
    blows=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 20), st.sampled_from(SCRAPS)), min_size=1, max_size=4
    ),
)
def test_an_example_with_damaged_bytes_is_planned_or_refused(
    name: str, blows: list[tuple[float, int, bytes]], catalog: Catalog
) -> None:
    content = EXAMPLES[name]
    for place, gone, put in blows:
        at = int(place * len(content))
        content = content[:at] + put + content[at + gone :]
    check(plan(content, catalog))


@pytest.mark.timeout(100)
@slow
@given(name=st.sampled_from(sorted(EXAMPLES)), data=st.data())
def test_an_example_with_replaced_values_is_planned_or_refused(
    name: str, data: st.DataObject, catalog: Catalog
) -> None:
    document = yaml.safe_load(EXAMPLES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = document
        while True:
            key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and data.draw(st.booleans()):
                place = inner
                continue
            match data.draw(st.sampled_from(["replace", "remove", "repeat", "nest"])):
                case "remove" if len(place) > 1:
                    del place[key]
                case "repeat" if isinstance(place, list):
                    place *= data.draw(st.integers(2, 200))
                case "nest":
                    place[key] = [inner] if data.draw(st.booleans()) else {"x": inner}
                case _:
                    place[key] = deepcopy(data.draw(VALUES))
            break
    check(plan(yaml.safe_dump(document, allow_unicode=True), catalog))
