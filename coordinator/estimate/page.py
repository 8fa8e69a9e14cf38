"""docs/reference/models.md: what each model of the built-in catalog takes on which card, and whose times that
is from; `python -m coordinator.estimate.page` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from common.cards import REFERENCE_CARDS
from common.catalog import CPU, CatalogEntries, Model, build_catalog, read_entries
from common.fit import Fit, fit, plain_shot
from common.nodes import Card
from common.units import format_gib, format_seconds, format_size
from coordinator.estimate.priors import prior


def page() -> str:
    entries = read_entries()
    models = [model for model in build_catalog(entries).models.values() if not _is_demo(model)]
    return "\n".join([_HEAD, *_fits(models), _TIMES, *_times(entries), ""])


def _is_demo(model: Model) -> bool:
    """It was measured on CPUs only, and fits every card."""
    return all(speed.card == CPU for speed in model.speeds)


def _fits(models: list[Model]) -> Iterator[str]:
    cards = REFERENCE_CARDS.values()
    yield f"| model | size, steps | {' | '.join(f'{card.name}, {card.vram_class} GB' for card in cards)} |"
    yield "|---" * (2 + len(cards)) + "|"
    for model in models:
        cells = " | ".join(_cell(model, card) for card in cards)
        yield f"| `{model.name}` | {format_size(*model.size)}, {model.steps} | {cells} |"


def _cell(model: Model, card: Card) -> str:
    """Recipe, peak of one image and of the largest pass, seconds of an image."""
    shot = plain_shot(model)
    found = fit(shot, model, card)
    if not isinstance(found, Fit):
        return "-"
    known = prior(shot, model, found, card, model.steps)
    time = format_seconds(known.seconds) if known else "time unknown"
    many = f"; {found.pass_size} in {format_gib(found.pass_peak_bytes)}" if found.pass_size > 1 else ""
    return f"`{found.recipe.name}`, {format_gib(found.peak_bytes)}{many}; {time}"


def _times(entries: CatalogEntries) -> Iterator[str]:
    for name, family in entries.families.items():
        for speed in family.speeds:
            low, high = speed.seconds if isinstance(speed.seconds, tuple) else (speed.seconds, speed.seconds)
            seconds = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            yield (
                f"| {name}, {speed.billions:g} | {speed.card} | {speed.compute} | {format_size(*speed.size)} "
                f"| {speed.runs} | {seconds} | {speed.basis} | {speed.source} |"
            )


_HEAD = """\
# Models

Generated from `common/catalog.yaml` by `python -m coordinator.estimate.page > docs/reference/models.md`.

What an image of each built-in model takes with its usual settings on the reference card of each VRAM class:
the recipe, the peak of one image and of the largest pass, and the time of an image. **All of it is predicted,
not measured**: peaks follow from the sizes of the parts, times from those below. Recipes with `gguf` in their
name need [a GGUF file](../how-to/add-a-model.md). `-`: the model does not fit. The machines of the cards have
the host memory that [fit](../explanation/fit.md#reference-cards) names. `farm plan` says the same for your
cards and sizes, and `farm models --measured` what the cards of a farm have measured.
"""

_TIMES = """
## Known times

Seconds that others published, or that were derived from published ones (`estimated`), of so many denoiser
runs. The times of other cards and sizes are [interpolated](../explanation/fit.md#time).

| family, billion parameters of the denoiser | card | computes in | size | runs | seconds | basis | source |
|---|---|---|---|---|---|---|---|"""


if __name__ == "__main__":
    print(page(), end="")
