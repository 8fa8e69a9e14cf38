"""The `farm` command line."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from pydantic import BaseModel

from common.commandline import add_commands, command_line, run_command_line

#: Module of each command `x`, whose function is `x_command`, in the order of the help.
_COMMANDS = {
    "run": "run",
    "render": "render",
    "random": "random",
    "new": "new",
    "plan": "plan",
    "simulate": "simulate",
    "import": "importing",
    "submit": "submit",
    "jobs": "jobs",
    "watch": "watch",
    "pull": "pull",
    "pick": "pick",
    "pause": "jobs",
    "resume": "jobs",
    "cancel": "jobs",
    "retry": "jobs",
    "requeue": "jobs",
    "accept": "jobs",
    "reject": "pictures",
    "delete": "pictures",
    "withheld": "withheld",
    "approve": "withheld",
    "priority": "jobs",
    "explain": "explain",
    "verify": "verify",
    "cost": "cost",
    "thanks": "cost",
    "whoami": "keys",
    "audit": "audit",
    "nodes": "nodes",
    "schema": "schema",
    "up": "local",
    "page": "local",
    "status": "status",
    "top": "top",
    "down": "local",
    "backup": "backup",
    "restore": "backup",
}
#: Module of each group `x` of commands, whose application is `x_app`.
_GROUPS = {"models": "models", "node": "nodes", "keys": "keys", "webhooks": "webhooks"}


def farm_app(only: str | None = None) -> typer.Typer:
    """The program with all its commands; with the `only` one that is called, if there is one of that name.

    A command imports its own module alone: all of them take 1.3 s of processor, one about 0.3 s.
    """
    app = command_line(
        "farm",
        about="Render hundreds of images from one YAML manifest on the GPUs you have.",
        epilog=(
            "Exit codes: 0 success, 1 the farm could not complete the request, 2 invalid input, "
            "3 images fit no card, 4 over budget, 5 declined, 6 some shots failed."
        ),
    )
    known = only in _COMMANDS or only in _GROUPS
    for name, module in _COMMANDS.items():
        if name == only or not known:
            add_commands(app, {name: _member(module, f"{name}_command")})
    for name, module in _GROUPS.items():
        if name == only or not known:
            app.add_typer(_member(module, f"{name}_app"), name=name)
    return app


def _member(module: str, name: str) -> Any:
    return getattr(import_module(f"coordinator.cli.{module}"), name)


def start_fast() -> None:
    """Leave out what libraries prepare and no command needs; before anything else is imported."""
    # httpx imports click, Pygments and half of rich for a command line of its own; without it, it goes on.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    # A command reads a few of the 150 kinds of messages: the validator of each is built at first use.
    BaseModel.model_config["defer_build"] = True


def main() -> None:
    start_fast()
    run_command_line(farm_app(next(iter(sys.argv[1:]), None)))


if __name__ == "__main__":
    main()
