"""What `farm-node run` refuses before it joins anything."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from common.errors import Conflict, FarmError, Invalid
from gpu_node.cli import app

CARD = Path(__file__).parents[3] / "manifests" / "cards" / "gtx-1070.yaml"
_GROUP: Any = typer.main.get_command(app)
#: Every command by its word.
_COMMANDS: dict[str, Any] = _GROUP.commands


def refusal(tmp_path: Path, *options: str) -> FarmError:
    arguments = ["run", "--farm", "http://127.0.0.1:9", "--card", str(CARD), "--home", str(tmp_path / "home")]
    error = CliRunner().invoke(app, [*arguments, *options]).exception
    assert isinstance(error, FarmError)
    return error


def test_a_farm_without_a_scheme_is_no_address(tmp_path: Path) -> None:
    error = refusal(tmp_path, "--farm", "farm.example:8080")

    assert isinstance(error, Invalid)
    assert "http://" in str(error)


@pytest.mark.parametrize("command", [("run", "--farm", "http://127.0.0.1:9"), ("doctor",)])
def test_a_key_file_that_is_not_there_is_named(command: tuple[str, ...]) -> None:
    error = CliRunner().invoke(app, [*command, "--card", str(CARD), "--key", "no-such-key"]).exception

    assert "no-such-key" in str(error)


def test_a_key_file_that_everybody_reads_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("node-key")
    (tmp_path / "key").chmod(0o644)

    error = refusal(tmp_path, "--key", str(tmp_path / "key"))

    assert error.exit_code == 2
    assert f"chmod 600 {tmp_path / 'key'}" in str(error)


@pytest.mark.parametrize("content", [b"", b"name: [", b"\xff\xfe", b"- x", b"nane: x"])
def test_a_wrong_card_is_named_with_its_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_bytes(content)

    error = refusal(tmp_path, "--card", str(file))

    assert error.exit_code == 2
    assert str(error).startswith(f"{file}:1:")


@pytest.mark.parametrize(("option", "value"), [("--name", "my node!"), ("--name", ""), ("--lane", "a lane")])
def test_a_name_that_the_farm_would_refuse_is_a_wrong_option(option: str, value: str) -> None:
    result = CliRunner().invoke(app, ["run", "--farm", "http://127.0.0.1:9", option, value])

    assert result.exit_code == 2
    assert f"'{option}': use at most 63 letters" in result.output


@pytest.mark.parametrize("command", [("run", "--farm", "http://127.0.0.1:9"), ("doctor",)])
def test_a_folder_of_models_that_is_not_there_is_a_wrong_option(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--card", str(CARD), "--models", "nowhere"])

    assert result.exit_code == 2
    assert "'nowhere' does not exist" in result.output


def test_a_home_that_another_node_uses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with (tmp_path / "home" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        error = refusal(tmp_path)

    assert isinstance(error, Conflict)
    assert "--home" in str(error)


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_each_command_and_each_of_its_options_explains_itself(name: str) -> None:
    assert _COMMANDS[name].help
    assert all(option.help for option in _COMMANDS[name].params)
