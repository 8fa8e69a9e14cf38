"""Whether the programs take command lines and variables that files name, without running them."""

from __future__ import annotations

import argparse
import importlib
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer

from common.settings import Settings

#: Programs of others, which have no parser here.
_OTHERS = ("valkey-server", "weed")
#: Programs of the farm that read their arguments with argparse, or take none.
_MODULES = {
    "coordinator.service": {"--migrate"},
    "coordinator.ingest": set[str](),
    "coordinator.gateway": set[str](),
    "coordinator.embedded.relay": None,
}


def settings_variables() -> set[str]:
    """`FARM_*` variables that set something."""
    names = set()
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        names |= {f"FARM_{name}__{key}".upper() for key in inner} if inner else {f"FARM_{name}".upper()}
    return names


def parse_command(words: Sequence[str]) -> None:
    """Raises where the program would refuse these words: an unknown command or option, a wrong value."""
    program, *rest = words
    program = program.rpartition("/")[2]
    if program in _OTHERS:
        return
    if program == "python":
        flag, module, *rest = rest
        assert flag == "-m"
        importlib.import_module(module)
        known = _MODULES[module]
        assert known is None or set(rest) <= known, f"{shlex.join(words)}: unknown option"
        return
    with suppress(typer.Exit):  # after --help
        _parse(typer.main.get_command(_application(program)), program, list(rest))


def _application(program: str) -> typer.Typer:
    match program:
        case "farm":
            from coordinator.cli.main import farm_app

            return farm_app()
        case "farm-node":
            from gpu_node.cli import app

            return app
    raise argparse.ArgumentError(None, f"{program} is no program of the farm")


def _parse(command: Any, name: str, words: list[str]) -> None:
    """Descend to the command that is meant, and read its options, as running it would."""
    context = command.make_context(name, words, resilient_parsing=False)
    with context:
        while getattr(context.command, "commands", None):
            given = [*getattr(context, "_protected_args", ()), *context.args]
            if not given:
                return
            name, inner, rest = context.command.resolve_command(context, given)
            context = inner.make_context(name, rest, parent=context)
