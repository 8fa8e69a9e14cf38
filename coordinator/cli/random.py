"""`farm random`: render an example without writing a manifest."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from common.catalog import Model, load_catalog
from common.errors import Invalid, Unavailable
from common.settings import load_settings
from common.wording import suggestion
from coordinator.cli import options
from coordinator.cli.run import run_command
from coordinator.cli.show import out

_DEMO = "shotfarm-demo"
#: Upper bound of new random seeds.
_SEEDS = 2**31

#: Subjects of the demo model's training; objects and backgrounds never have the same colour.
_DRAWINGS = (
    "a {red|blue|green|purple} {mug|lamp|car|house|boat|fish|robot|umbrella} on a {white|yellow} background",
    "a {yellow|white|pink|red} {tree|star|moon|cat|mushroom|flower} on a {blue|black} background",
    "a {woman|man} with {red|black|brown} hair and {light|tan} skin in a {green|blue|purple} jacket, "
    "{white|yellow} background",
)
#: Subjects that other models render well.
_SCENES = (
    "a {lighthouse|windmill|stone bridge|small harbour} {at sunrise|after the rain|under the first snow}, "
    "{oil painting|watercolour|photograph}, {warm|soft|clear} light",
    "portrait of {an old sailor|a young gardener|a baker|a violinist} in {a workshop|a greenhouse|a café}, "
    "{natural light|evening light}, {35 mm photograph|charcoal drawing}",
    "{a ceramic teapot|a pair of leather boots|a wooden toy train|a bowl of lemons} on "
    "{a linen cloth|an oak table|a windowsill}, {studio light|morning light}, still life",
    "{a fox|an owl|a hare|a heron} in {a birch wood|a misty meadow|a reed bed}, {autumn|spring|winter}, "
    "{wildlife photograph|woodcut|children's book illustration}",
)

_MANIFEST = """\
version: 1
name: random-{seed}
random_seed: {seed}    # change this number for other images
shots:
- name: random
  model: {model}
  prompt: >-
    {prompt}
  seeds: {{count: {count}, mode: random}}
"""


def random_command(
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Catalog model; `farm models` lists them.")
    ] = _DEMO,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, max=1000, help="Number of images.")
    ] = 1,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", min=0, max=_SEEDS - 1, help="Seed; the same seed gives the same images."
        ),
    ] = None,
    folder: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for the images and the manifest."),
    ] = Path("pictures"),
    owner: options.Owner = None,
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Render a random example: choose a prompt that suits the model, show the manifest and render it.

    The manifest is saved with the images; edit it and render it with `farm run`. Exit codes are those of
    `farm run`.

    Example: `farm random --settings manifests/demo-farm.yaml --count 4`
    """
    catalog = load_catalog(load_settings(settings).catalog_files)
    if model not in catalog.models:
        raise Invalid(f"--model {model}: not in the catalog{suggestion(model, catalog.models)}")
    number = secrets.randbelow(_SEEDS) if seed is None else seed
    file = folder / f"random-{number}.yaml"
    text = example(catalog.models[model], number, count)
    _keep(file, text)
    if not as_json:
        out.say((str(file), "bold"))
        out.print(text)
    run_command(str(file), folder=folder, owner=owner, settings=settings, as_json=as_json)


def example(model: Model, seed: int, count: int) -> str:
    """Returns a manifest with `count` images of one theme, which `seed` determines completely."""
    themes = _DRAWINGS if model.base == _DEMO else _SCENES
    return _MANIFEST.format(seed=seed, model=model.name, prompt=themes[seed % len(themes)], count=count)


def _keep(file: Path, text: str) -> None:
    """Writes the manifest.

    Raises Invalid if the file exists with other content, and Unavailable if writing fails.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.read_text("utf-8", errors="replace") != text:
            raise Invalid(
                f"{file} already exists and differs: render it with `farm run`, or choose another --seed"
            )
        file.write_text(text, "utf-8")
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror or error}") from None
