"""Chips are found by the names that drivers report and people write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.cards import REFERENCE_CARDS, load_card
from common.chips import Chip, chip_of, find_chip, is_known, known_chips
from common.units import GIB

ROOT = Path(__file__).parents[2]
CHIPS = list(known_chips().values())


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_every_chip_is_found_by_the_names_that_its_driver_reports(chip: Chip) -> None:
    for name in chip.reported:
        for written in (name, name.removeprefix("NVIDIA "), name.upper()):
            # Cards report slightly less than their nominal memory.
            assert find_chip(written, chip.vram_gib * 0.98) == chip


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_every_chip_is_found_by_its_name_with_spaces_or_hyphens(chip: Chip) -> None:
    assert find_chip(chip.name) == find_chip(chip.name.lower().replace(" ", "-")) == chip


@pytest.mark.parametrize(
    ("name", "vram_gib", "found"),
    [
        ("NVIDIA GeForce RTX 3060", 12.0, "RTX 3060"),
        ("NVIDIA GeForce RTX 3060", 8.0, "RTX 3060 8GB"),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", 6.0, "RTX 3060 Laptop GPU"),
        ("rtx3060ti", None, "RTX 3060 Ti"),
        ("NVIDIA GeForce RTX 3080", 11.99, "RTX 3080 12GB"),
        ("Tesla M40", 22.5, "Tesla M40 24GB"),
        ("NVIDIA A100-SXM4-80GB", 79.2, "A100 SXM4 80GB"),
        ("NVIDIA H100 80GB HBM3", 79.6, "H100"),
        # Not listed as laptop cards.
        ("NVIDIA GeForce GTX 1070 with Max-Q Design", 8.0, "GTX 1070"),
        ("GeForce RTX 2080 Mobile", 8.0, "RTX 2080"),
    ],
)
def test_a_name_means_the_chip_with_its_words_and_memory(
    name: str, vram_gib: float | None, found: str
) -> None:
    chip = find_chip(name, vram_gib)
    assert chip is not None
    assert chip.name == found


@pytest.mark.parametrize(
    "name", ["", "NVIDIA", "Graphics Device", "RTX 9999", "GTX", "🂡\n\x00", "8GB", "Ti" * 999]
)
def test_an_unknown_name_means_no_chip_and_its_card_a_similar_one(name: str) -> None:
    assert find_chip(name, 8.0) is None
    for card in REFERENCE_CARDS.values():
        stranger = replace(card, name=name)
        assert not is_known(stranger)
        similar = chip_of(stranger)
        assert card.compute_capability is not None
        assert similar.compute_capability <= card.compute_capability


def test_a_card_without_capability_is_like_the_reference_card_of_its_class() -> None:
    for vram, card in REFERENCE_CARDS.items():
        stranger = replace(card, name="?", compute_capability=None, vram_bytes=vram * GIB)
        assert chip_of(stranger) == chip_of(card)


def test_reference_cards_and_card_files_are_known_chips_with_the_same_properties() -> None:
    files = [load_card(path) for path in sorted((ROOT / "manifests/cards").glob("*.yaml"))]
    for card in (*REFERENCE_CARDS.values(), *files):
        chip = chip_of(card)
        assert (chip.name, chip.compute_capability, round(chip.vram_gib * GIB)) == (
            card.name,
            card.compute_capability,
            card.vram_bytes,
        )


def test_a_planned_card_keeps_its_name_class_and_room_for_the_driver() -> None:
    for chip in CHIPS:
        card = chip.card()
        assert chip_of(card) == chip
        assert 0 < card.usable_bytes < card.vram_bytes


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_rates_agree_with_the_generation_of_a_chip(chip: Chip) -> None:
    assert chip.rate("float32") == chip.fp32
    assert chip.rate("float16") >= chip.fp32
    assert (chip.bf16 is not None) == (chip.compute_capability >= (8, 0))
    assert (chip.fp16 is None) == (chip.compute_capability < (6, 0) or chip.compute_capability == (6, 1))
