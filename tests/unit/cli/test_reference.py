"""The help of every command is complete, and the reference page knows them all."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from coordinator.cli.main import app
from tests.unit.cli.conftest import Farm

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "farm.md"
_GROUP: Any = typer.main.get_command(app)
#: Every command by all its words.
_COMMANDS: dict[str, Any] = {
    **{name: one for name, one in _GROUP.commands.items() if name != "node"},
    **{
        f"{group} {name}": one
        for group in ("node", "models")
        for name, one in _GROUP.commands[group].commands.items()
    },
}


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_each_command_explains_itself_with_an_example(name: str) -> None:
    assert f"`farm {name}" in _COMMANDS[name].help
    assert all(option.help for option in _COMMANDS[name].params)


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_a_table_can_be_had_as_json_and_the_usage_shows_plain_words(name: str, farm: Farm) -> None:
    said = farm(*name.split(), "--help").out
    assert "{" not in said
    assert ("--json" in said) == (name not in ("schema", "down", "new"))
    assert not re.search(r"<\w", said)


def test_the_version_is_that_of_the_package(farm: Farm) -> None:
    assert farm("--version").out.strip() == version("shotfarm")


def test_every_hint_names_the_same_option(farm: Farm) -> None:
    assert "farm plan --help' for help" in farm("plan").err


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_the_reference_page_has_every_option(name: str) -> None:
    _, _, section = _PAGE.read_text("utf-8").partition(f"# `farm {name}`")
    section, _, _ = section.partition("\n##")
    options = [option for parameter in _COMMANDS[name].params for option in parameter.opts[:1]]
    missing = [option for option in options if option.startswith("--") and option not in section]
    assert not missing, "run `make reference`"
