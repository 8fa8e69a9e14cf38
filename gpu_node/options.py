"""Options of `farm-node`'s commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from common.messages import Name
from common.nodes import Terms

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def name(said: str) -> str:
    """A name as the farm takes it. Raises BadParameter."""
    try:
        return _NAME.validate_python(said)
    except ValidationError:
        raise typer.BadParameter(
            "give at most 63 letters, digits, dots, dashes and underscores, a letter or digit first"
        ) from None


Farm = Annotated[str, typer.Option("--farm", metavar="URL", help="The coordinator; `farm status` shows it.")]
Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="File with the node key that the farm gave out.")
]
CardFile = Annotated[
    Path | None,
    typer.Option(
        "--card",
        metavar="FILE",
        help="Render on the CPU, posing as the card of this file; without it on an NVIDIA card.",
    ),
]
Gpu = Annotated[
    int,
    typer.Option("--gpu", metavar="N", min=0, help="The NVIDIA card, as nvidia-smi counts them."),
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder with models, and LoRAs in DIR/loras. Repeatable.",
    ),
]
CatalogFiles = Annotated[
    list[Path] | None,
    typer.Option("--catalog", metavar="FILE", help="Further catalog file, as the farm has it. Repeatable."),
]
NodeName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", parser=name, help="Name on the farm; by default this host's."),
]
Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Folder of this node alone; by default .farm/nodes/NAME."),
]
Lanes = Annotated[
    list[str] | None,
    typer.Option(
        "--lane", metavar="LANE", parser=name, help="Lane to work for; `public` by default. Repeatable."
    ),
]
Owner = Annotated[str, typer.Option("--owner", metavar="NAME", help="Whose card it is.")]
WhoPays = Annotated[
    Terms,
    typer.Option(
        "--terms", help="Who pays: `owned` and `rented` cost the farm also while idle, `volunteer` nothing."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="CPU threads of the engine; by default 1 where the CPU renders, else all.",
    ),
]
