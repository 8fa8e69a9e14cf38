"""Options of `farm-node`'s commands."""

from __future__ import annotations

import re
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from common.errors import Invalid
from common.invitations import INVITATION_VARIABLE, Invitation, read_invitation
from common.keys import read_key
from common.messages import Name
from common.nodes import LAST_PASS_S, Terms
from common.settings import Settings

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def name(given: str) -> str:
    """A name as the farm takes it. Raises BadParameter."""
    try:
        return _NAME.validate_python(given)
    except ValidationError:
        raise typer.BadParameter(
            "use at most 63 letters, digits, dots, dashes and underscores, starting with a letter or digit"
        ) from None


def invitation(given: str) -> Invitation:
    """An invitation as it is, from a file, or as `-` from the standard input. Raises BadParameter."""
    try:
        return read_invitation(_invitation_text(given))
    except Invalid as error:
        raise typer.BadParameter(str(error)) from None


def _invitation_text(given: str) -> str:
    """Raises Invalid for a file that cannot be read, or that others of the machine can read."""
    if given == "-":
        return sys.stdin.readline()
    with suppress(OSError):  # a line may be longer than names of files
        if Path(given).is_file():
            return read_key(Path(given))
    return given


def node_home(home: Path | None, name: str, settings: Settings) -> Path:
    """The data folder of a node."""
    return (home or settings.home / "nodes" / name).absolute()


def joined_name(settings: Settings) -> str:
    """The name of the only node that has joined from here; of none or several, the name of the host."""
    joined = [file.parents[1].name for file in (settings.home / "nodes").glob("*/credentials/identity")]
    return joined[0] if len(joined) == 1 else host_name()


def host_name() -> str:
    """This host's name in the letters that node names have."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:63] or "node"


Farm = Annotated[
    str | None,
    typer.Option(
        "--farm",
        metavar="URL",
        help="URL of the coordinator; `farm status` shows it. Default: that of the invitation, or the farm "
        "that the node has joined.",
    ),
]
Invite = Annotated[
    Any,
    typer.Option(
        "--invite",
        metavar="LINE|FILE|-",
        parser=invitation,
        envvar=INVITATION_VARIABLE,
        show_envvar=False,
        help="Invitation that `farm node invite` printed, needed until the node has joined. Other users "
        "of the machine see LINE among its processes, but not a FILE, - for the standard input, or the "
        "variable FARM_INVITATION.",
    ),
]
Moved = Annotated[
    bool,
    typer.Option(
        "--moved",
        help="The farm of this home is now at the address of --farm or --invite. Whoever is there can then "
        "act as this node, so pass it only if you know that it is the same farm.",
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="File with the node key of the farm, which invites nodes of the farm's own.",
    ),
]
CardFile = Annotated[
    Path | None,
    typer.Option(
        "--card",
        metavar="FILE",
        help="Render on the CPU and simulate the card in FILE. Default: render on an NVIDIA card.",
    ),
]
Gpu = Annotated[
    int,
    typer.Option("--gpu", metavar="N", min=0, help="Index of the NVIDIA card, as in nvidia-smi."),
]
ModelCacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--model-cache",
        metavar="DIR",
        file_okay=False,
        help="Folder for models fetched from the farm, shared by the nodes of a machine. "
        "Default: .farm/model-cache.",
    ),
]
ModelDisk = Annotated[
    float | None,
    typer.Option(
        "--model-disk",
        metavar="GIB",
        min=0,
        help="Maximum size of that folder in GiB; 0: fetch nothing. Default: that of owner.yaml, or 60.",
    ),
]
NodeName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        parser=name,
        help="Name of the node. Default: that of the invitation, or of the only node that has joined from "
        "here, or the host name.",
    ),
]
Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Data folder of this node. Default: .farm/nodes/NAME."),
]
Lanes = Annotated[
    list[str] | None,
    typer.Option(
        "--lane",
        metavar="LANE",
        parser=name,
        help="Lane to serve; invited nodes serve those of their invitation. Repeatable. Default: public.",
    ),
]
Owner = Annotated[
    str,
    typer.Option(
        "--owner", metavar="NAME", help="Owner of the card; of invited nodes, the invitation says it."
    ),
]
WhoPays = Annotated[
    Terms,
    typer.Option(
        "--terms",
        help="Who pays: `owned` and `rented` cards cost the farm, also while idle; `volunteer` cards do not. "
        "Of invited nodes, the invitation says it.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="CPU threads of the engine. Default: 1 if the CPU renders, otherwise all, shared by "
        "the nodes of this machine.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        help="Ask nothing: write the `owner.yaml` that Enter as every answer writes, unless there is one.",
    ),
]
Compiles = Annotated[
    bool,
    typer.Option(
        "--compile/--no-compile",
        help="Compile a model where the images that remain repay the warm-up. Pictures differ a little then.",
    ),
]
Measure = Annotated[
    float | None,
    typer.Option(
        "--measure",
        metavar="SECONDS",
        min=0,
        max=3600,
        help="Seconds of computing in which the node measures how fast its models render, while it has no "
        "work. What it measured is kept. Default: 60, but 0 if the CPU renders. With 0, --invite renders no "
        "test images either.",
    ),
]
LastPass = Annotated[
    float,
    typer.Option(
        "--last-pass",
        metavar="SECONDS",
        min=0,
        help="Seconds that a stopping node allows for its running pass. A service manager must wait longer "
        f"before it kills the node. Default: {LAST_PASS_S:.0f}.",
    ),
]
