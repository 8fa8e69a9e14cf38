"""`farm render`: one picture on this machine, without a farm."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from pydantic import BaseModel, ConfigDict
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from common.catalog import Catalog, load_catalog
from common.catalog.compatibility import NO_UPSCALER
from common.commandline import ModelFolders
from common.errors import Invalid, InvalidDocument
from common.infotext import farm_json, infotext
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from common.prompt_rules import PromptRules
from common.rendering import Rendered, RenderOrder, RenderProgress
from common.settings import Settings, load_settings
from common.shot import PlannedShot, Shot
from common.units import format_seconds, format_size
from common.wording import visible
from coordinator.cli import options
from coordinator.cli.renderer import OnProgress, render_apart
from coordinator.cli.show import err, out, print_json
from coordinator.expand import expand
from coordinator.pictures.encode import encoded
from coordinator.submission.shot_checks import ShotChecks
from coordinator.submission.tokens import Tokenizers

_VERSION = version("shotfarm")
_DEMO = "shotfarm-demo"
#: Upper bound of new random seeds.
_SEEDS = 2**31
#: Image format by the ending of the file.
_FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
#: Keys of a manifest to what stands for them on the command line.
_OPTIONS = {
    "model": "--model",
    "prompt": "prompt",
    "negative": "--negative",
    "loras": "--lora",
    "size": "--size",
    "steps": "--steps",
    "guidance": "--guidance",
    "sampler": "--sampler",
    "upscale": "--upscale",
    "seeds": "--seed",
}


class PictureReport(BaseModel):
    """Printed by `farm render --json`."""

    model_config = ConfigDict(frozen=True)

    file: Path
    #: ID of the shot, as a farm would give it.
    id: str
    model: str
    #: As rendered: with its variants drawn and trigger words.
    prompt: str
    negative: str
    seed: int
    #: Of the file.
    width: int
    height: int
    #: Name of the upscaler; `none` if there is none.
    upscale: str
    steps: int
    guidance: float
    sampler: str
    card: str
    recipe: str
    load_s: float
    render_s: float


Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="Prompt, as in a manifest.")]
Model = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="Catalog model; `farm models` lists them.")
]
Negative = Annotated[str | None, typer.Option("--negative", metavar="TEXT", help="Negative prompt.")]
Loras = Annotated[
    list[str] | None,
    typer.Option("--lora", metavar="NAME@WEIGHT", help="LoRA of the catalog. Repeatable."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Seed. Default: a random one.")]
Size = Annotated[
    str | None, typer.Option("--size", metavar="WxH", help="Size in pixels. Default: that of the model.")
]
Steps = Annotated[
    int | None, typer.Option("--steps", metavar="N", help="Steps. Default: those of the model.")
]
Guidance = Annotated[
    float | None, typer.Option("--guidance", metavar="N", help="Guidance. Default: that of the model.")
]
Sampler = Annotated[
    str | None, typer.Option("--sampler", metavar="NAME", help="Sampler. Default: that of the model.")
]
Upscale = Annotated[
    str | None,
    typer.Option("--upscale", metavar="NAME", help="Upscaler of the catalog that enlarges the picture."),
]
ImageFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        dir_okay=False,
        help="Image file: .png, .webp or .jpg. Default: a new MODEL-SEED.png in the current folder.",
    ),
]
CardFile = Annotated[
    Path | None,
    typer.Option(
        "--card",
        metavar="CARD",
        help="Render on the CPU and simulate the card in the file CARD. Default: the NVIDIA card, or the "
        "CPU as it is if there is none.",
    ),
]
Gpu = Annotated[
    int | None,
    typer.Option("--gpu", metavar="N", min=0, help="Index of the NVIDIA card, as in nvidia-smi."),
]


def render_command(
    prompt: Prompt,
    model: Model = _DEMO,
    negative: Negative = None,
    loras: Loras = None,
    seed: Seed = None,
    size: Size = None,
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: Sampler = None,
    upscale: Upscale = None,
    file: ImageFile = None,
    card: CardFile = None,
    gpu: Gpu = None,
    models: ModelFolders = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Render one picture on this machine, without a farm, by the engine that nodes use.

    The catalog, the files of the models and the recipe are those of a node on this machine. The picture has
    the same metadata as one of a farm.

    Example: `farm render "a red mug on a white background" --model z-image-turbo --size 1024x1024 -o mug.png`
    """
    farm = load_settings(settings)
    number = secrets.randbelow(_SEEDS) if seed is None else seed
    target = _target(file, model, number)
    given = {
        "model": model,
        "prompt": prompt,
        "negative": negative,
        "loras": loras,
        "seeds": [number],
        "size": size,
        "steps": steps,
        "guidance": guidance,
        "sampler": sampler,
        "upscale": upscale,
    }
    folders = tuple(folder.absolute() for folder in (*(models or ()), *farm.model_folders))
    planned = _planned(given, number, target, load_catalog(farm.catalog_files), folders)
    part = target.with_name(f".{target.name}.part")
    order = _order(farm, planned.shot, folders, part, card, gpu)
    try:
        with _progress() as on_progress:
            rendered = render_apart(order, on_progress)
        _finish(part, target, planned, rendered)
    finally:
        part.unlink(missing_ok=True)
    _tell(target, planned.shot, rendered, as_json=as_json)


def _order(
    farm: Settings, shot: Shot, folders: tuple[Path, ...], part: Path, card: Path | None, gpu: int | None
) -> RenderOrder:
    return RenderOrder(
        shot=shot.to_dict(),
        catalogs=tuple(path.absolute() for path in farm.catalog_files),
        models=folders,
        home=farm.home.absolute() / "render",
        file=part.absolute(),
        cache=farm.home.absolute() / "model-cache",
        card=card and card.absolute(),
        gpu=gpu,
        timing=farm.timing,
    )


def _target(file: Path | None, model: str, seed: int) -> Path:
    """Where the picture goes. Raises Invalid if it cannot go there."""
    if file is None:
        stem = f"{re.sub(r'[^A-Za-z0-9._-]', '-', model)[:80]}-{seed}"
        names = (f"{stem}{f'-{n}' if n > 1 else ''}.png" for n in range(1, 10_000))
        return next(path for name in names if not (path := Path(name)).exists())
    if file.suffix.lower() not in _FORMATS:
        raise Invalid(f"--out {file}: the name must end with {', '.join(_FORMATS)}")
    if not file.parent.is_dir():
        raise Invalid(f"--out {file}: the folder {file.parent} does not exist; create it first")
    return file


def _planned(
    given: Mapping[str, object], seed: int, target: Path, catalog: Catalog, folders: tuple[Path, ...]
) -> PlannedShot:
    """The one shot of a manifest with these values. Raises Invalid with every problem."""
    group = {key: value for key, value in given.items() if value is not None}
    output = {"format": _FORMATS[target.suffix.lower()]}
    manifest = {"version": 1, "shots": [group], "output": output}
    try:
        parsed = parse_manifest(
            json.dumps(manifest), source="farm render", files=FileReader(Path.cwd()), catalog=catalog
        )
        # Another seed draws other variants, too.
        expansion = expand(parsed, catalog, random_seed=seed)
        checks = ShotChecks(expansion, Tokenizers(catalog, folders), PromptRules())
        (planned,) = checks.passing()
        checks.raise_any()
    except InvalidDocument as error:
        sentences = (f"{_named(problem.path, given)}{problem.message}" for problem in error.problems)
        raise Invalid("\n".join(sentences)) from None
    for warning in (*parsed.warnings, *expansion.warnings):
        err.say(f"{_named(warning.path, given)}{warning.message}", style="yellow")
    return planned


def _named(path: str, given: Mapping[str, object]) -> str:
    """The option that a path in the manifest stands for, with its value."""
    found = re.match(r"shots\[0\]\.(\w+)", path)
    if found is None or found[1] not in _OPTIONS:
        return ""
    value = given.get(found[1])
    said = ", ".join(map(str, value)) if isinstance(value, list) else value
    return f"{_OPTIONS[found[1]]} {said}: "


def _finish(part: Path, target: Path, planned: PlannedShot, rendered: Rendered) -> None:
    """Put the picture in its place, with the metadata that a farm gives it."""
    shot = planned.shot
    record = farm_json(shot, template=planned.template, recipe=rendered.recipe, version=_VERSION)
    with Image.open(part) as picture:
        data = encoded(picture, shot, infotext=infotext(shot, version=f"shotfarm {_VERSION}"), record=record)
    part.write_bytes(data)
    part.replace(target)


def _tell(target: Path, shot: Shot, rendered: Rendered, *, as_json: bool) -> None:
    if as_json:
        known = {name: value for name, value in shot.to_dict().items() if name in PictureReport.model_fields}
        known["width"], known["height"] = shot.final_size
        report = PictureReport(
            file=target,
            id=shot.id,
            upscale=shot.upscaler.name if shot.upscaler else NO_UPSCALER,
            card=rendered.card,
            recipe=rendered.recipe,
            load_s=rendered.load_s,
            render_s=rendered.render_s,
            **known,
        )
        print_json(report)
        return
    size = format_size(*shot.final_size)
    took = f"{format_seconds(rendered.render_s)}, after {format_seconds(rendered.load_s)} of loading"
    out.say(
        (str(target), "bold"), f": {size}, {shot.model} by recipe {rendered.recipe}, seed {shot.seed}, {took}"
    )


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """What is done and, while there are steps, a bar with them, on a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("starting", total=None)

        def show(now: RenderProgress) -> None:
            progress.update(task, description=visible(now.doing), completed=now.done, total=now.total or None)

        yield show
