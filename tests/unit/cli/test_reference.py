"""The help of every command is complete, and the reference page knows them all."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from coordinator.cli.all_commands import app
from coordinator.cli.main import farm_app
from gpu_node.cli import app as node_app
from tests.unit.cli.conftest import PROGRAMS, Farm

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "farm.md"
_GROUP = PROGRAMS[app]
#: Before the fixtures of this folder replace it.
_REAL_GET_COMMAND = typer.main.get_command
_NODE = PROGRAMS[node_app]
#: Every command by all its words.
_COMMANDS: dict[str, Any] = {
    **{name: one for name, one in _GROUP.commands.items() if name not in ("node", "keys", "webhooks")},
    **{
        f"{group} {name}": one
        for group in ("node", "models", "keys", "webhooks")
        for name, one in _GROUP.commands[group].commands.items()
    },
}


def test_the_version_is_that_of_the_package(farm: Farm) -> None:
    assert farm("--version").out.strip() == version("shotfarm")


def test_every_command_has_an_example_help_for_each_option_and_a_place_on_the_page(farm: Farm) -> None:
    for name, command in _NODE.commands.items():
        assert command.help, name
        assert all(param.help for param in command.params), name
    page = _PAGE.read_text("utf-8")
    for name, command in _COMMANDS.items():
        assert f"`farm {name}" in command.help
        assert all(param.help for param in command.params), name
        section = page.partition(f"# `farm {name}`")[2].partition("\n##")[0]
        options = [param.opts[0] for param in command.params if param.opts[0].startswith("--")]
        assert [option for option in options if option not in section] == [], "run `make reference`"
        said = farm(*name.split(), "--help").out
        assert not re.search(r"\{|<\w", said), name
        assert ("--json" in said) == (name not in ("schema", "down", "new", "top")), name


def test_a_command_that_is_called_is_the_only_one_and_a_wrong_name_finds_them_all() -> None:
    for name, command in _GROUP.commands.items():
        program: Any = _REAL_GET_COMMAND(farm_app(name))
        assert list(program.commands) == [name]
        assert program.commands[name].help == command.help
    nearly: Any = _REAL_GET_COMMAND(farm_app("puase"))
    assert list(nearly.commands) == list(_GROUP.commands)
