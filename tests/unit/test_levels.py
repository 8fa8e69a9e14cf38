"""What checks cost and whom they find, by simulated owners with real images of the demo model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from common.levels import Level, OwnerStanding, checked_share, earned, is_chosen, level_of, limits_of, told
from common.likeness import Judgement, Opinion, is_repeated, judge
from tests.demo_hashes import HONEST, SHOTS, demo_hashes

DAY = 86_400.0
SECRET = b"of this farm"
#: Renders shot `place` as image `number` of an owner; returns its hash.
_Node = Callable[[Random, int, int], str]


def honest(random: Random, place: int, number: int) -> str:
    return demo_hashes()[random.choice(HONEST)][place]


def cheating(how: str, *, share: float = 1.0, after: int = 0) -> _Node:
    def render(random: Random, place: int, number: int) -> str:
        cheats = number >= after and random.random() < share
        return demo_hashes()[how][place] if cheats else honest(random, place, number)

    return render


def stale(random: Random, place: int, number: int) -> str:
    return demo_hashes()["float32"][0]


def _checked(
    random: Random, node: _Node, images: int, name: str
) -> Iterator[tuple[int, Judgement | None, int]]:
    """Of each checked image of an owner: its number, the verdict, and how often it was rendered again."""
    last, clean = "", 0
    for number in range(images):
        place = random.randrange(len(SHOTS))
        chosen = is_chosen(SECRET, f"{name}-{number}", checked_share(clean))
        if not chosen and node is not stale:
            clean += 1
            continue
        looks = node(random, place, number)
        if chosen or is_repeated(last, looks):
            opinions: list[Opinion] = []
            verdict = None
            while verdict is None:
                again = honest(random, place, number)
                opinions.append(Opinion(f"own-{len(opinions)}", "farm", True, "bf16", again))
                verdict = judge(looks, "bf16", opinions)
            yield number, verdict, len(opinions)
            clean += verdict is Judgement.CLEAN
        else:
            clean += 1
        last = looks


def _caught(node: _Node, images: int, owners: int = 100) -> list[int]:
    """Images that each of many owners delivered until one was found false, sorted; `images` if none was."""
    found = []
    for owner in range(owners):
        course = _checked(Random(owner), node, images, f"a-{owner}")
        false = (number for number, verdict, _ in course if verdict is Judgement.FALSE)
        found.append(next(false, images))
    return sorted(found)


@pytest.mark.parametrize(
    ("node", "most"),
    [
        (cheating("noise"), 1),
        (cheating("other_prompt"), 1),
        (cheating("4_bits"), 1),
        (cheating("3_of_4_layers"), 1),
        (cheating("4_of_9_steps"), 20),
        (stale, 3),
        # At a share of 10 %.
        (cheating("noise", share=0.1), 299),
        (cheating("noise", after=200), 200 + 59),
        # 149 at a share of 2 %, 166 at 1.8 %, and what 100 courses are off by.
        (cheating("noise", after=1000), 1000 + 166 + 24),
    ],
    ids=["noise", "prompt", "model", "layers", "steps", "stale", "lazy", "after 200", "after 1,000"],
)
def test_95_of_100_cheaters_of_each_kind_are_found_in_time(node: _Node, most: int) -> None:
    assert _caught(node, 3 * most + 10)[94] <= most


@pytest.mark.parametrize(("images", "owners", "share"), [(1000, 200, 0.08), (10_000, 20, 0.025)])
def test_upright_owners_cost_little_and_none_is_barred(images: int, owners: int, share: float) -> None:
    rendered, verdicts = 0, set[Judgement | None]()
    for owner in range(owners):
        for _, verdict, times in _checked(Random(owner), honest, images, f"a-{owner}"):
            verdicts.add(verdict)
            rendered += times
    assert verdicts == {Judgement.CLEAN}
    assert rendered <= share * images * owners


@pytest.mark.parametrize(
    ("clean", "days", "known", "level"),
    [
        (0, 0, True, Level.PROBATION),
        (19, 9, True, Level.PROBATION),
        (20, 0.9, True, Level.PROBATION),
        (20, 1, False, Level.PROVEN),
        (499, 9, True, Level.PROVEN),
        (500, 7, False, Level.PROVEN),
        (500, 6.9, True, Level.PROVEN),
        (500, 7, True, Level.TRUSTED),
    ],
)
def test_levels_take_images_time_and_the_operators_word(
    clean: int, days: float, known: bool, level: Level
) -> None:
    standing = OwnerStanding(since=DAY, images=clean, clean=clean, known=known)
    assert earned(standing, DAY + days * DAY) is level
    assert earned(replace(standing, barred="noise"), DAY + days * DAY) is Level.PROBATION
    assert limits_of(level).leases >= 1


def test_a_node_has_the_level_of_its_owner() -> None:
    proven = OwnerStanding(since=DAY, level=Level.PROVEN)
    assert level_of("volunteer", proven) is Level.PROVEN
    assert level_of("volunteer", None) is Level.PROBATION
    assert level_of("rented", proven) is Level.OWNED


def test_an_owner_reads_what_is_missing_and_what_comes_with_the_next_image() -> None:
    standing = OwnerStanding(since=0.0, images=25, clean=24)
    assert told(Level.PROBATION, standing, DAY / 2).startswith("on probation: 4 images at a time, until 20")
    due = "probation; proven with its next image (24 of 25, 1.5 days)"
    assert told(Level.PROBATION, standing, 1.5 * DAY) == due
    assert told(Level.OWNED, None, 9 * DAY) == ""


def test_nobody_else_knows_which_images_are_chosen() -> None:
    chosen = [[is_chosen(secret, f"a-{number}", 0.5) for number in range(64)] for secret in (b"a", b"b")]
    assert chosen[0] != chosen[1]
    assert all(10 < sum(some) < 54 for some in chosen)
