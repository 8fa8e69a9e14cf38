"""Slow paths: which nodes are much slower than their card should be, and what most likely slows them down."""

from __future__ import annotations

import pytest

from common.nodes import Card
from common.units import GIB
from coordinator.scheduling.slow_path import (
    Record,
    RenderedImage,
    is_comparable,
    likely_reason,
    noted,
    slow_path,
    slow_paths,
)

#: Images after which a node is judged.
ENOUGH = 5


def card(name: str = "RTX 3060", backend: str = "cuda", watts: float | None = 170.0) -> Card:
    return Card(
        name=name,
        backend=backend,
        vram_bytes=12 * GIB,
        usable_bytes=11 * GIB,
        ram_bytes=24 * GIB,
        watts=watts,
    )


def record(*slowness: float) -> Record:
    """What images showed that took so many times as long as estimated."""
    found = None
    for each in slowness:
        found = noted(found, RenderedImage(each))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("slowness", "peers", "slow"),
    [
        (1.0, [], False),
        (2.0, [], False),
        (2.1, [], True),
        (0.5, [0.1], False),  # slower than another, but not than its card should be
        (2.5, [2.4], False),  # the estimate is wrong for such cards
        (2.5, [1.0], True),
        (5.5, [2.4], True),  # the estimate is wrong, and this node is slower still
        (2.5, [0.9, 1.0, 2.4], True),
        (2.5, [0.9, 2.4, 2.6], False),
    ],
)
def test_a_node_is_slow_at_less_than_half_the_rate_of_its_card_and_of_its_peers(
    slowness: float, peers: list[float], slow: bool
) -> None:
    found = slow_path(RenderedImage(slowness), sorted([slowness, *peers]), card())
    assert (found is not None) == slow
    if found is not None:
        assert found.rate == pytest.approx(1 / slowness)
        assert found.faster == sum(peer < slowness for peer in peers)


ANOTHER = "another process probably uses the card"
HOT = "thermal throttling is likely"
SHARED = "in shared memory of the host"
WAITS = "it probably waits for data"
ENCODES = "encoding the prompts takes"
UNKNOWN = "nothing that the node reports tells why"


@pytest.mark.parametrize(
    ("shown", "watts", "words"),
    [
        (RenderedImage(3.0), 170.0, UNKNOWN),
        (RenderedImage(3.0, encoding=0.8), 170.0, f"{ENCODES} 80 % of the time, probably on the CPU"),
        (RenderedImage(3.0, encoding=0.3, temperature_c=70.0), 170.0, UNKNOWN),
        (RenderedImage(3.0, peak_bytes=12 * GIB), 170.0, "passes take 12.0 GiB and the card has 11.0 GiB"),
        (RenderedImage(3.0, peak_bytes=10 * GIB), 170.0, UNKNOWN),
        (RenderedImage(3.0, temperature_c=91.2), 170.0, f"{HOT}, because the card is at 91 °C"),
        (RenderedImage(3.0, watts=90.0, temperature_c=91.0), 170.0, HOT),
        (RenderedImage(3.0, watts=168.0, temperature_c=85.0), 170.0, ANOTHER),
        (RenderedImage(3.0, watts=165.0), 170.0, f"{ANOTHER}, because it draws 165 of 170 W"),
        (RenderedImage(3.0, watts=60.0), 170.0, f"draws only 60 of 170 W, so {WAITS}"),
        (RenderedImage(3.0, watts=60.0, peak_bytes=12 * GIB), 170.0, SHARED),
        (RenderedImage(3.0, watts=110.0), 170.0, UNKNOWN),
        (RenderedImage(3.0, watts=60.0), None, UNKNOWN),
    ],
)
def test_the_likely_reason_is_what_the_reports_show(
    shown: RenderedImage, watts: float | None, words: str
) -> None:
    reason, remedy = likely_reason(shown, card(watts=watts))
    assert words in reason
    assert remedy


def test_a_few_images_judge_no_node_and_the_first_ones_weigh_little() -> None:
    cards = {"a": card()}
    assert slow_paths({"a": {"sdxl": record(*[3.0] * (ENOUGH - 1))}}, cards) == {}
    assert list(slow_paths({"a": {"sdxl": record(*[3.0] * ENOUGH)}}, cards)) == ["a"]
    assert slow_paths({"a": {"sdxl": record(10.0, *[1.0] * ENOUGH)}}, cards) == {}


def test_a_node_that_slows_down_is_found_within_some_images_and_forgotten_as_fast() -> None:
    cards, fast = {"a": card()}, [1.0] * 100
    assert slow_paths({"a": {"sdxl": record(*fast, *[3.0] * 5)}}, cards)
    assert not slow_paths({"a": {"sdxl": record(*fast, *[3.0] * 100, *fast[:5])}}, cards)


def test_peers_are_nodes_with_such_a_card_that_render_the_same_model() -> None:
    cards = {"a": card(), "b": card(), "c": card("RTX 4090"), "d": card()}
    slow, usual = record(*[3.0] * 9), record(*[1.0] * 9)
    alike = {"a": {"sdxl": slow}, "b": {"sdxl": slow}}
    assert slow_paths(alike, cards) == {}, "the estimate is wrong for all such cards"
    others = {"a": {"sdxl": slow}, "b": {"sd15": slow}, "c": {"sdxl": slow}, "d": {"sd15": usual}}
    found = slow_paths(others, cards)
    assert {node: list(models) for node, models in found.items()} == {
        "a": ["sdxl"],
        "b": ["sd15"],
        "c": ["sdxl"],
    }
    assert {node: path.faster for node, models in found.items() for path in models.values()} == {
        "a": 0, "b": 1, "c": 0,
    }  # fmt: skip


def test_what_was_not_measured_in_an_image_is_kept_from_earlier_ones() -> None:
    found = noted(noted(noted(None, RenderedImage(1.0)), RenderedImage(1.0, watts=100.0)), RenderedImage(1.0))
    assert found.mean.watts == 100.0


def test_estimates_tell_nothing_of_a_cpu_or_of_a_small_image() -> None:
    assert is_comparable(card(), 1.0)
    assert not is_comparable(card(backend="cpu"), 1.0)
    assert not is_comparable(card(), 0.0164)
