"""A node as a service of its user."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common.errors import FarmError, Unavailable
from gpu_node import service
from gpu_node.cli import app
from gpu_node.service_commands import given_options, wants_service


class Systemd:
    """A `systemctl` that writes down what it is asked, and fails where `broken` is there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        program = folder / "systemctl"
        program.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> {folder}/asked\n"
            f"if [ -e {folder}/broken ]; then echo 'no bus' >&2; exit 1; fi\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))

    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    return Systemd(tmp_path, monkeypatch)


COMMAND = ["/opt/py thon", "run", "--models", "/data/50% $HOME"]


def test_a_service_is_written_started_and_removed(systemd: Systemd, tmp_path: Path) -> None:
    assert not service.can_restart("attic")
    assert not service.remove("attic")
    assert "enable-linger" in service.install("attic", COMMAND, {"FARM_HOME": "/home/ana/my farm"}, tmp_path)
    file = tmp_path / "config" / "systemd" / "user" / "shotfarm-node-attic.service"
    lines = file.read_text().splitlines()
    assert 'ExecStart="/opt/py thon" "run" "--models" "/data/50%% $$HOME"' in lines
    assert 'Environment="FARM_HOME=/home/ana/my farm"' in lines
    assert service.can_restart("attic")
    service.restart("attic")
    assert service.remove("attic")
    assert not file.exists()
    unit = "shotfarm-node-attic.service"
    asked = ["daemon-reload", f"enable --now {unit}", f"restart {unit}", f"disable --now {unit}"]
    assert systemd.asked() == [f"--user {words}" for words in asked]


def test_a_service_that_cannot_start_is_not_left_behind(systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(Unavailable, match="daemon-reload` failed \\(no bus\\)"):
        service.install("attic", COMMAND, {}, tmp_path)
    assert not service.service_file("attic").exists()


def test_without_systemd_it_says_what_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="`/opt/py thon run"):
        service.install("attic", COMMAND, {}, tmp_path)
    assert not wants_service()


@pytest.mark.parametrize(("answer", "wanted"), [("yes", True), (" Y ", True), ("", False), ("no", False)])
def test_only_a_yes_makes_a_service(
    answer: str, wanted: bool, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert wants_service() is wanted


def test_on_windows_it_is_a_file_that_starts_with_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_IS_WINDOWS", True)
    monkeypatch.setenv("APPDATA", str(tmp_path))
    file = service.service_file("attic")
    assert (file.parent.name, file.name) == ("Startup", "shotfarm-node-attic.cmd")
    text = service.startup_text("attic", COMMAND, {"FARM_HOME": "C:\\my farm"}, Path("C:/farm"))
    start = '"/opt/py thon" run --models "/data/50%% $HOME"'
    assert text.splitlines() == [
        "@echo off",
        'set "FARM_HOME=C:\\my farm"',
        'cd /d "C:/farm"',
        f'start "shotfarm node attic" /min {start}',
    ]
    file.parent.mkdir(parents=True)
    file.touch()
    assert not service.can_restart("attic")
    assert service.remove("attic")
    assert not file.exists()


def options_of(line: str) -> list[str]:
    run = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    with run.make_context("run", shlex.split(line)) as context:
        return given_options(context)


def test_a_service_has_the_options_of_its_first_start_but_what_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("FARM_INVITATION", "")
    given = "--name attic --yes --gpu 1 --models models --lane a --lane b --no-compile --home here"
    assert options_of(given) == [
        *("--gpu", "1", "--models", f"{tmp_path}/models", "--lane", "a", "--lane", "b"),
        *("--no-compile", "--home", f"{tmp_path}/here"),
    ]
    assert options_of("") == []


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["service", *words])
    return str(result.exception) if isinstance(result.exception, FarmError) else result.output


def test_a_node_that_has_not_joined_is_no_service(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_HOME", str(tmp_path))
    assert "no node has joined from" in said("install", "--name", "attic")
    assert "node attic is no service of yours" in said("remove", "--name", "attic")
    assert systemd.asked() == []


def test_a_node_that_has_joined_becomes_a_service(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_HOME", str(tmp_path))
    credentials = tmp_path / "nodes" / "attic" / "credentials"
    credentials.mkdir(parents=True)
    identity = {"node": "attic", "farm": "https://farm.example", "key": "0" * 64}
    (credentials / "identity").write_text(json.dumps(identity))
    (credentials / "identity").chmod(0o600)
    # It is the only one here, whatever this machine is called.
    assert "node attic works now" in said("install", "--", "--gpu", "1")
    (start,) = [
        line
        for line in service.service_file("attic").read_text().splitlines()
        if line.startswith("ExecStart")
    ]
    words = [sys.executable, "-P", "-m", "gpu_node.cli", "run", "--name", "attic", "--gpu", "1"]
    assert shlex.split(start.partition("=")[2]) == words
    assert f'Environment="FARM_HOME={tmp_path}"' in service.service_file("attic").read_text()
    (tmp_path / "nodes" / "left").mkdir()
    assert "node attic does not start by itself any more" in said("remove")
