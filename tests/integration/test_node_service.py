"""A node that joins in a terminal asks its owner, and may become a service. systemd is a stand-in."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.invitations import Invitation
from common.keys import new_key
from tests.programs import own_environment
from tests.scripted_farm import ScriptedFarm, running_farm
from tests.waiting import PATIENCE_S

CARD = Path(__file__).parents[2] / "manifests" / "cards" / "gtx-1070.yaml"
UNIT = Path("config", "systemd", "user", "shotfarm-node-attic.service")


@pytest.fixture
def farm() -> Iterator[ScriptedFarm]:
    with running_farm(ScriptedFarm()) as farm:
        yield farm


@contextmanager
def joining(farm: ScriptedFarm, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`farm-node run` in a terminal, by an invitation that is in a variable."""
    systemctl = folder / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$*" >> {folder}/asked\n')
    systemctl.chmod(0o755)
    environment = own_environment() | {
        "PATH": f"{folder}:/usr/bin:/bin",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "FARM_HOME": str(folder / "data"),
        "FARM_INVITATION": Invitation(farm.url, "attic", new_key()).text,
    }
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gpu_node.cli", "run", "--card", str(CARD), "--no-compile"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder
    ) as node:
        os.close(theirs)
        try:
            yield node, ours
        finally:
            node.kill()
            os.close(ours)


def answer(terminal: int, answers: list[str]) -> str:
    """Answer each question that ends with `] `; what was shown until then."""
    shown = ""
    for text in answers:
        asked = shown.count("] ") + 1
        while shown.count("] ") < asked:
            shown += os.read(terminal, 65536).decode()
        os.write(terminal, f"{text}\n".encode())
    return shown


def test_a_yes_lets_the_node_join_and_become_a_service(farm: ScriptedFarm, tmp_path: Path) -> None:
    with joining(farm, tmp_path) as (node, terminal):
        shown = answer(terminal, ["", "200", "", "", "", "yes"])
        assert "start whenever you log in?" in shown
        assert node.wait(PATIENCE_S) == 0
    # The farm knows its key; the service, not this process, begins to work.
    assert farm.access[0].invitation is not None
    assert farm.joins == []
    unit = (tmp_path / UNIT).read_text()
    assert f'"run" "--name" "attic" "--card" "{CARD}" "--no-compile"' in unit
    assert f'Environment="FARM_HOME={tmp_path}/data"' in unit
    assert "FARM_INVITATION" not in unit
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["--user daemon-reload", "--user enable --now shotfarm-node-attic.service"]
    # The same line again, as after an upgrade, or another one after the end of its key.
    asked_before = len(farm.access)
    with joining(farm, tmp_path) as (node, _):
        assert node.wait(PATIENCE_S) == 0
    assert len(farm.access) > asked_before
    assert (tmp_path / "asked").read_text().splitlines()[2:] == ["--user restart shotfarm-node-attic.service"]


def test_a_service_of_another_farm_is_told_from_one_that_is_to_start_anew(
    farm: ScriptedFarm, tmp_path: Path
) -> None:
    with joining(farm, tmp_path) as (node, terminal):
        answer(terminal, ["", "200", "", "", "", "yes"])
        assert node.wait(PATIENCE_S) == 0
    with running_farm(ScriptedFarm()) as other, joining(other, tmp_path) as (node, terminal):
        assert node.wait(PATIENCE_S) == 2
        assert "--moved" in os.read(terminal, 65536).decode()
    assert "restart" not in (tmp_path / "asked").read_text()


def test_who_is_refused_is_not_asked_for_a_service(farm: ScriptedFarm, tmp_path: Path) -> None:
    farm.refusals["access"].extend([403] * 9)
    with joining(farm, tmp_path) as (node, terminal):
        answer(terminal, [""] * 5)
        assert node.wait(PATIENCE_S) == 1
    assert not (tmp_path / UNIT).exists()
