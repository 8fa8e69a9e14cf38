"""`farm models`: the models in the catalog and the cards that can run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import RenderableType
from rich.table import Table

from common.catalog import (
    Catalog,
    Classifier,
    Lora,
    Model,
    TextualInversion,
    Upscaler,
    file_identity,
    load_catalog,
)
from common.commandline import CommandGroup, add_commands
from common.errors import Invalid
from common.fit import Fit, fits_class, plain_shot
from common.nodes import VRAM_CLASSES
from common.settings import load_settings
from common.terminal import styled_lines
from common.textual_inversions import MARK
from common.units import counted, format_gib, format_seconds, format_size
from common.views import MemoryView
from coordinator.cli import adding, options
from coordinator.cli.connection import connect
from coordinator.cli.show import out, print_json, print_list, table
from coordinator.models.held import checked_folder_identity


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassView(_View):
    """How the reference card of a class renders one image at the model's default size."""

    vram_class: int
    #: None if it cannot; `reason` says why.
    recipe: str | None = None
    #: Predicted peak in bytes.
    peak_bytes: int | None = None
    reason: str = ""


class LoraView(_View):
    name: str
    identity: str | None
    license: str
    commercial: bool
    triggers: tuple[str, ...]


class InversionView(_View):
    """A textual inversion."""

    name: str
    family: str
    #: Tokens that it takes.
    vectors: int
    license: str
    commercial: bool


class UpscalerView(_View):
    """An upscaler, which works with every model."""

    name: str
    architecture: str
    scale: int
    license: str
    commercial: bool


class ModelReport(_View):
    """One model in the output of `farm models --json`."""

    name: str
    family: str
    license: str
    commercial: bool
    #: None if the catalog does not specify its files; it can be planned but not submitted.
    identity: str | None
    width: int
    height: int
    steps: int
    guidance: float
    sampler: str
    classes: tuple[ClassView, ...]
    loras: tuple[LoraView, ...]
    textual_inversions: tuple[InversionView, ...] = ()
    upscalers: tuple[UpscalerView, ...] = ()


_Addition = TypeVar("_Addition", LoraView, InversionView, UpscalerView)

models_app = typer.Typer(
    cls=CommandGroup,
    invoke_without_command=True,
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "add": adding.add_command,
    "publish": adding.publish_command,
    "rm": adding.rm_command,
    "check": adding.check_command,
    "show": adding.show_command,
}
add_commands(models_app, _COMMANDS)


@models_app.callback()
def models_command(
    context: typer.Context,
    identity: Annotated[
        Path | None,
        typer.Option(
            "--identity",
            metavar="PATH",
            help="Print only the identity of this model folder, LoRA or GGUF file.",
        ),
    ] = None,
    measured: Annotated[
        bool,
        typer.Option(
            "--measured",
            help="Show memory measured by the cards of the running farm, and where it ran out.",
        ),
    ] = False,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """List models, LoRAs, textual inversions, upscalers and image classifiers, with the recipe for each VRAM
    class, licence and identity; add, check, show and remove them.

    The list works without a running farm, except with `--measured`. Peak memory is predicted for one image
    at the model's default size.

    Examples: `farm models` · `farm models --measured` · `farm models --identity ~/models/my-model`
    """
    if context.invoked_subcommand is not None:
        if identity is not None or measured or settings is not None or as_json:
            raise typer.BadParameter(f"give the options after `{context.invoked_subcommand}`")
        return
    if identity is not None:
        out.say(identity_of(identity))
        return
    if measured:
        with connect(settings) as client:
            none = "no measurements yet: this farm has not rendered an image"
            print_list(client.memory(), memory_table, none, as_json)
        return
    catalog = load_catalog(load_settings(settings).catalog_files)
    views = [view(model, catalog) for model in catalog.models.values()]
    if as_json:
        print_json(views)
    else:
        out.print(models_table(views), "")
        out.print(loras_table(views))
        if any(each.textual_inversions for each in views):
            out.print("", inversions_table(views))
        if catalog.upscalers:
            out.print("", upscalers_table(views[0].upscalers))
        if catalog.classifiers:
            out.print("", classifiers_table(catalog.classifiers.values()))


def memory_table(views: Sequence[MemoryView]) -> Table:
    rows = [
        (
            view.card,
            view.model,
            view.recipe,
            format_size(view.width, view.height),
            _found(view),
            "" if view.predicted_bytes is None else format_gib(view.predicted_bytes),
        )
        for view in views
    ]
    return table("cards", "model", "recipe", "size", "measured", "predicted", rows=rows)


def _found(view: MemoryView) -> str:
    """Describes the time of an image, the peak of a pass, or the pass size after one ran out of memory."""
    if view.pace_s is not None:
        return "" if view.image_s is None else f"{format_seconds(view.image_s)} an image"
    if view.peak_bytes is not None:
        return f"{format_gib(view.peak_bytes)} for {counted(view.forwards or 0, 'simultaneous denoiser run')}"
    kind = f"guidance {view.guidance:g}" + "".join(f", LoRA {name}" for name in view.loras)
    if not view.most_images:
        return f"a single image ran out of memory ({kind})"
    return f"limited to {counted(view.most_images, 'image')}: a larger pass ran out of memory ({kind})"


def identity_of(path: Path) -> str:
    """Returns the `identity` of files for the catalog. Raises Invalid if there are none."""
    if path.is_dir():
        return checked_folder_identity(path)
    if path.is_file():
        return file_identity(path)
    raise Invalid(f"{path}: no such file or folder")


def view(model: Model, catalog: Catalog) -> ModelReport:
    width, height = model.size
    return ModelReport(
        name=model.name,
        family=model.family.name,
        license=model.license.name,
        commercial=model.license.commercial,
        identity=model.identity,
        width=width,
        height=height,
        steps=model.steps,
        guidance=model.guidance,
        sampler=model.sampler,
        classes=tuple(_class_view(model, vram_class) for vram_class in VRAM_CLASSES),
        loras=tuple(_addition(LoraView, lora) for lora in catalog.loras.values() if lora.base == model.base),
        textual_inversions=tuple(
            _addition(InversionView, each)
            for each in catalog.textual_inversions.values()
            if each.family == model.family.name
        ),
        upscalers=tuple(_addition(UpscalerView, each) for each in catalog.upscalers.values()),
    )


def _addition(kind: type[_Addition], one: Lora | TextualInversion | Upscaler) -> _Addition:
    """Has the fields that it shares with `one`, and the name of its licence."""
    given = {field: getattr(one, field) for field in kind.model_fields if hasattr(one, field)}
    return kind(**given | {"license": one.license.name, "commercial": one.license.commercial})


def models_table(views: list[ModelReport]) -> Table:
    rows = [
        (
            model.name,
            model.family,
            f"{format_size(model.width, model.height)}, {model.steps} steps",
            _held(model),
            _licence(model),
            _known(model),
        )
        for model in views
    ]
    headings = (
        "model",
        "family",
        "default size, steps",
        "class: recipe, predicted peak",
        "licence",
        "identity",
    )
    return table(*headings, rows=rows)


def loras_table(views: list[ModelReport]) -> Table:
    loras = {lora.name: lora for model in views for lora in model.loras}
    rows = [
        (
            lora.name,
            ", ".join(model.name for model in views if lora in model.loras),
            ", ".join(lora.triggers),
            _licence(lora),
            _known(lora),
        )
        for lora in loras.values()
    ]
    return table("LoRA", "for", "trigger words", "licence", "identity", rows=rows)


def inversions_table(views: list[ModelReport]) -> Table:
    inversions = {each.name: each for model in views for each in model.textual_inversions}
    rows = [
        (each.name, each.family, f"{MARK}{each.name}", str(each.vectors), _licence(each))
        for each in inversions.values()
    ]
    headings = "textual inversion", "family", "in prompts", "tokens", "licence"
    return table(*headings, rows=rows, right=("tokens",))


def upscalers_table(views: Sequence[UpscalerView]) -> Table:
    rows = [(each.name, f"{each.scale}x", each.architecture, _licence(each)) for each in views]
    return table("upscaler", "enlarges", "architecture", "licence", rows=rows)


def classifiers_table(classifiers: Iterable[Classifier]) -> Table:
    rows = [(each.name, ", ".join(each.form.labels), each.license.name) for each in classifiers]
    return table("image classifier", "labels", "licence", rows=rows)


def _licence(entry: ModelReport | LoraView | InversionView | UpscalerView) -> str:
    return entry.license if entry.commercial else f"{entry.license} (non-commercial)"


def _known(entry: ModelReport | LoraView) -> str:
    return "known" if entry.identity else "unknown"


def _class_view(model: Model, vram_class: int) -> ClassView:
    found = fits_class(plain_shot(model), model, vram_class)
    if isinstance(found, Fit):
        return ClassView(vram_class=vram_class, recipe=found.recipe.name, peak_bytes=found.peak_bytes)
    return ClassView(vram_class=vram_class, reason=found.reason)


def _held(model: ModelReport) -> RenderableType:
    """Describes how each class renders the model, with one line for classes with the same recipe."""
    alike = groupby(model.classes, key=lambda each: (each.recipe, each.peak_bytes))
    return styled_lines(_held_alike([each.vram_class for each in members], *how) for how, members in alike)


def _held_alike(classes: list[int], recipe: str | None, peak_bytes: int | None) -> str:
    span = f"{classes[0]}" if len(classes) == 1 else f"{classes[0]}-{classes[-1]}"
    return f"{span} GB: " + ("no" if peak_bytes is None else f"{recipe}, {format_gib(peak_bytes)}")
