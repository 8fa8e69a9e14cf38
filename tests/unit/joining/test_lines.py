"""The lines by which the owner of a card joins."""

from __future__ import annotations

import shlex
import subprocess
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest

from common.invitations import Invitation

DIGEST = bytes(range(200, 232))
PIN = urlsafe_b64encode(DIGEST).decode().rstrip("=")
INVITATION = Invitation("https://farm.example:8443", "attic", "shot_" + "x" * 43, PIN)
#: Says what the script was given, instead of joining.
SCRIPT = (
    'echo "$FARM_INVITATION"; printf "<%s>" "$@"; [ ! -p /dev/stdin ] && read -r answer && echo "$answer"'
)


def fake_curl(folder: Path, body: str) -> None:
    """A `curl` that writes its words into a file."""
    curl = folder / "curl"
    curl.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {folder}/words\n{body}\n")
    curl.chmod(0o755)


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Paste a line into a shell, whose next line is an answer to a question."""
    answer = folder / "answer"
    answer.write_text("always\n")
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    with answer.open() as terminal:
        return subprocess.run(
            ["sh", "-c", line], stdin=terminal, capture_output=True, text=True, env=environment
        )


def test_the_line_fetches_by_the_pin_and_hands_over_the_invitation(tmp_path: Path) -> None:
    fake_curl(tmp_path, f"cat << 'EOF'\n{SCRIPT}\nEOF")
    done = run(f"{INVITATION.shell_line} --gpu 1", tmp_path)
    assert done.stdout == f"{INVITATION.text}\n<--gpu><1>always\n"
    pin = f"sha256//{b64encode(DIGEST).decode()}"
    words = (tmp_path / "words").read_text().split()
    assert words == ["-fsSk", "--pinnedpubkey", pin, "https://farm.example:8443/join"]
    # Other users of the machine see arguments.
    assert INVITATION.text not in shlex.split(INVITATION.shell_line)


def test_nothing_runs_where_the_farm_is_not_the_one_of_the_pin(tmp_path: Path) -> None:
    # What arrived before the end of the connection is the first line of a script.
    fake_curl(tmp_path, "echo 'main() {'; echo 'echo hostile'; exit 90")
    done = run(INVITATION.shell_line, tmp_path)
    assert (done.stdout, done.returncode != 0) == ("", True)


def test_a_farm_with_a_usual_certificate_is_known_by_its_name(tmp_path: Path) -> None:
    fake_curl(tmp_path, "echo exit 3")
    plain = INVITATION._replace(pin="")
    assert run(plain.shell_line, tmp_path).returncode == 3
    assert (tmp_path / "words").read_text().split() == ["-fsS", "https://farm.example:8443/join"]


@pytest.mark.parametrize("farm", ["http://192.168.1.10:8080", "http://farm.example"])
def test_a_farm_without_tls_has_no_line(farm: str) -> None:
    invitation = Invitation(farm, None, INVITATION.secret)
    assert (invitation.shell_line, invitation.powershell_line) == ("", "")


def test_the_line_for_windows_says_the_same() -> None:
    line = INVITATION.powershell_line
    assert line.startswith(f"$env:FARM_INVITATION='{INVITATION.text}'; ")
    assert f"'sha256//{b64encode(DIGEST).decode()}' 'https://farm.example:8443/join.ps1'" in line
    # `curl` alone is another program there; what arrived in part is not run.
    assert "(curl.exe " in line
    assert line.endswith("if ($LASTEXITCODE -eq 0) { iex $script }")
