"""`farm-node service`: a node that starts by itself whenever its owner logs in."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from common.commandline import Command, CommandGroup
from common.errors import Conflict, NotFound
from common.settings import Settings, load_settings
from common.terminal import err, out
from gpu_node import service
from gpu_node.assemble import NodeOptions, introduce, is_owned
from gpu_node.credentials import read_identity
from gpu_node.options import Home, NodeName, joined_name, node_home

service_app = typer.Typer(
    cls=CommandGroup,
    help="Let a node start by itself whenever you log in, or no longer.",
    no_args_is_help=True,
)
#: What a node needs at its first start alone.
_ONCE = ("invite", "key", "name", "moved", "yes", "owner", "terms")

Options = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- OPTION...]", help="Options of `farm-node run`, such as `-- --gpu 1`."),
]


@service_app.command("install", cls=Command)
def install_command(options: Options = None, name: NodeName = None, home: Home = None) -> None:
    """Let a node that has joined run as a service of yours, from now on and whenever you log in.

    Examples: `farm-node service install` · `farm-node service install --name right -- --gpu 1`
    """
    settings = load_settings()
    name = name or joined_name(settings)
    folder = node_home(home, name, settings)
    if read_identity(folder) is None:
        raise NotFound(f"no node has joined from {folder}: pass the --name or --home of the node")
    service.remove(name)
    if is_owned(folder):
        raise Conflict(f"the node of {folder} runs: stop it first")
    start_service(name, [*(["--home", str(folder)] if home else []), *(options or ())], settings)


@service_app.command("remove", cls=Command)
def remove_command(name: NodeName = None) -> None:
    """Stop the service of a node. The node stays joined: `farm-node run` starts it by hand.

    Example: `farm-node service remove`
    """
    name = name or joined_name(load_settings())
    if not service.remove(name):
        raise NotFound(f"node {name} is no service of yours: pass its --name")
    out.say(f"node {name} does not start by itself any more")


def start_service(name: str, options: list[str], settings: Settings) -> None:
    """Install and start the service of a node. Raises Unavailable."""
    command = [sys.executable, "-P", "-m", "gpu_node.cli", "run", "--name", name, *options]
    # Settings count where they are; nothing else of that folder does.
    folder = Path.cwd() if Path("farm.yaml").is_file() else settings.home.absolute()
    out.say(service.install(name, command, {"FARM_HOME": str(settings.home.absolute())}, folder))


def wants_service() -> bool:
    """Ask the owner, in a terminal, whether the node should start by itself."""
    if not service.is_possible():
        return False
    try:
        answer = input("Shall it run in the background, and start whenever you log in? [no] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def restart_service(options: NodeOptions) -> None:
    """Start the service of a node anew, as after an upgrade. Raises FarmError where the farm refuses it."""
    introduce(options)
    service.restart(options.name)
    err.say(f"node {options.name} runs as a service, which was started anew")


def given_options(context: typer.Context, without: Collection[str] = _ONCE) -> list[str]:
    """What was given on the command line, as words; files and folders by their whole paths."""
    words = []
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[option.name or ""]
        if getattr(option, "is_flag", False):
            words.append(option.opts[0] if value else option.secondary_opts[0])
            continue
        for one in value if isinstance(value, list | tuple) else (value,):
            words += [option.opts[0], str(one.absolute() if isinstance(one, Path) else one)]
    return words
