"""How many images a manifest may ask for, and what one is told that asks for more."""

from __future__ import annotations

import pytest

from tests.unit.expand.making import group, refused


def test_a_product_over_the_limit_is_refused_with_the_number_it_would_have_been() -> None:
    axes = "axes: {a: {from: 1, to: 10000}, b: {from: 1, to: 10000}, c: {from: 1, to: 10000}}"
    (problem,) = refused(group(axes))
    assert "requests 1,000,000,000,000 images, more than `limits.max_images` (10,000)" in problem
    assert "group `g` multiplies 10,000 a × 10,000 b × 10,000 c × 1 seed" in problem


@pytest.mark.parametrize(
    ("lines", "prompt", "images"),
    [
        (["seeds: 10001"], "x", "10,001"),
        (["variants: combinatorial"], f"'{'{a|b}' * 40}'", f"{2**40:,}"),
        (["axes: {a: {from: 1, to: 200}, b: {from: 1, to: 200}}", "exclude: [{a: 1}]"], "x", "40,000"),
        (["axes: {a: {from: 1, to: 10000}}", "include: [{a: new}]"], "x", "10,001"),
        (
            ["variants: combinatorial", "axes: {a: [x, y]}", "exclude: [{a: x}]"],
            f"'{'{a|b}' * 13}'",
            "16,384",
        ),
    ],
)
def test_the_limit_counts_seeds_variants_includes_and_what_is_excluded(
    lines: list[str], prompt: str, images: str
) -> None:
    (problem,) = refused(group(*lines, prompt=prompt))
    assert f"requests {images} images" in problem


def test_a_refusal_names_what_include_adds() -> None:
    (problem,) = refused(group("axes: {a: {from: 1, to: 10000}}", "include: [{a: new}]"))
    assert "multiplies 10,000 a × 1 seed, and `include` adds 1" in problem


def test_what_is_zipped_is_one_factor_of_a_refused_product() -> None:
    lines = "axes: {a: {from: 1, to: 9000}, b: {from: 1, to: 9000}}", "zip: [[a, b]]", "seeds: 2"
    (problem,) = refused(group(*lines, "variants: combinatorial"))
    assert "requests 18,000 images" in problem
    assert "group `g` multiplies 9,000 a+b × 2 seeds × variants" in problem


def test_the_limit_counts_all_groups_together() -> None:
    second = "\n- {name: h, model: sdxl, prompt: x, seeds: 6000}"
    (problem,) = refused(group("seeds: 6001") + second)
    assert "requests 12,001 images" in problem
    assert "group `g`" in problem
