"""Checks the number of images against `limits.max_images` before any shot is built."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from common.manifest.model import Group, Manifest
from common.manifest.reading import Reading
from common.wording import shortened


def check_product(manifest: Manifest, reading: Reading) -> None:
    """Reports a manifest whose axes and seeds alone exceed the limit."""
    if any(problem.path.startswith("limits") for problem in reading.problems):
        return
    products = _products(manifest)
    if sum(products) > manifest.limits.max_images:
        reading.wrong_at(*too_many_images(products, manifest))


def least_images(manifest: Manifest) -> int:
    """Returns the images of axes and seeds, without building any; variants and `include` only add to them."""
    return sum(_products(manifest))


def _products(manifest: Manifest) -> list[int]:
    return [_product(group, manifest) for group in manifest.shots]


def _product(group: Group, manifest: Manifest) -> int:
    lengths = [len(group.axes[name].values) for name, *_ in group.factors() if name in group.axes]
    return prod(lengths) * len(manifest.seeds_of(group))


def too_many_images(totals: Sequence[int], manifest: Manifest, included: int = 0) -> tuple[str, str]:
    """Returns path and message for too many images; `totals` are the images of each group.

    `included` combinations are added by `include` in the largest group.
    """
    largest = max(range(len(totals)), key=totals.__getitem__)
    group = manifest.shots[largest]
    factors = [
        f"{len(group.axes[names[0]].values):,} {shortened('+'.join(names))}"
        for names in group.factors()
        if names[0] in group.axes
    ]
    seeds = len(manifest.seeds_of(group))
    factors.append(f"{seeds:,} {'seed' if seeds == 1 else 'seeds'}")
    if manifest.multiplies(group):
        factors.append("variants")
    message = (
        f"requests {sum(totals):,} images, more than `limits.max_images` ({manifest.limits.max_images:,}); "
        f"group `{group.name}` multiplies {' × '.join(factors)}"
        f"{f', and `include` adds {included:,}' if included else ''}"
    )
    return f"shots[{largest}]", message
