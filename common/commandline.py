"""Shared behaviour of both command lines: the layout of help texts and the handling of errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from typer.core import TyperCommand, TyperGroup

from common.errors import FarmError
from common.terminal import err, speak_any_encoding
from common.wording import shortened

ModelFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder with models, and with LoRAs in DIR/loras. Repeatable.",
    ),
]

_INTERRUPTED = 130
#: The exception that typer raises for an invalid command line, and the base class of its usage errors.
_Misuse: Any = typer.BadParameter.__mro__[2]


class Command(TyperCommand):
    """A command whose help omits braces, and the types of arguments and flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


def add_commands(app: typer.Typer, commands: Mapping[str, Callable[..., None]]) -> None:
    """Add functions as commands of an application or group, by name."""
    for name, command in commands.items():
        app.command(name, cls=Command)(command)


class CommandGroup(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def command_line(name: str, about: str, epilog: str | None = None) -> typer.Typer:
    """Returns a program without commands."""
    app = typer.Typer(
        name=name,
        cls=CommandGroup,
        help=about,
        epilog=epilog,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_options)
    return app


def run_command_line(app: typer.Typer) -> NoReturn:
    """Run a program and exit. A FarmError is printed to stderr as a sentence, without a traceback."""
    speak_any_encoding()
    try:
        code = app(standalone_mode=False)
    except _Misuse as error:
        _print_usage(error)
        code = error.exit_code
    except typer.Abort:
        err.say("aborted", style="red")
        code = FarmError.exit_code
    except FarmError as error:
        err.print(str(error), style="red", soft_wrap=True)
        code = error.exit_code
    except OSError as error:
        # For example a folder that cannot be created, or a full disk: the message of the system is the
        # clearest.
        place = f"{error.filename}: " if error.filename else ""
        err.say(f"{place}{error.strerror or error}", style="red")
        code = FarmError.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        # Typer converts Ctrl-C in a command to this exit code.
        sys.stdout.flush()
        # A regular exit waits for all threads, and a thread may wait for a server that does not respond.
        os._exit(_INTERRUPTED)
    sys.exit(code)


def _print_usage(error: Any) -> None:
    """Print what is wrong with a command line and its usage; nothing if the help was printed already."""
    if not error.format_message():
        return
    context = getattr(error, "ctx", None)
    if context is not None:
        err.print(context.get_usage(), soft_wrap=True)
        err.say(f"Try '{context.command_path} --help' for help.", style="dim")
    cause = error.__cause__
    given = f": `{shortened(str(cause.errors()[0]['input']))}`" if isinstance(cause, ValidationError) else ""
    err.say(f"{error.format_message()}{given}", style="red")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(version("shotfarm"))
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        if param.param_type_name == "argument" or param.is_flag:
            # Overrides, for this parameter only, the method that supplies the text of the type column.
            vars(param)["display_type_rich"] = _nothing
    return params


def _nothing(ctx: object) -> str:
    return ""
