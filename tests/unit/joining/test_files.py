"""The scripts at `/join`: what they say and refuse, and that nothing happens before one is there whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import NotFound
from common.settings import Gateway, Settings
from coordinator.joining.files import JoinFiles
from coordinator.joining.package import node_package

URL = "https://farm.example:8443"
#: Where nothing is but what these name.
TOOLS = ("cat", "mkdir")


@pytest.fixture
def files(tmp_path: Path) -> JoinFiles:
    gateway = Gateway(listen="127.0.0.1", public_url=URL)
    return JoinFiles(Settings(home=tmp_path / "farm", gateway=gateway))


@pytest.fixture
def script(files: JoinFiles) -> str:
    return files.get("/join").content.decode()


class Machine:
    """A machine with few programs, on which scripts run."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.home = folder / "home"
        self.programs.mkdir()
        self.home.mkdir()
        for name in TOOLS:
            (self.programs / name).symlink_to(f"/bin/{name}")

    def have(self, name: str, body: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    def run(self, script: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.programs), "HOME": str(self.home), **variables}
        return subprocess.run(
            ["/bin/sh", "-c", script, "join", *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
        )

    @property
    def is_untouched(self) -> bool:
        return not [*self.home.iterdir()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def with_python(machine: Machine) -> None:
    (machine.programs / "python3").symlink_to(sys.executable)


def test_whatever_part_of_the_script_arrives_does_nothing(script: str, machine: Machine) -> None:
    with_python(machine)
    machine.have("curl", f"echo fetched > {machine.home}/fetched")
    for end in range(0, script.rindex("\nmain"), 331):
        assert machine.run(script[:end]).stdout == ""
        assert machine.is_untouched, script[:end]


def test_it_says_what_it_does_before_it_does_it(script: str, machine: Machine) -> None:
    with_python(machine)
    machine.have("curl", "echo 'curl: (7) connection refused' >&2; exit 7")
    done = machine.run(script)
    folder = f"{machine.home}/.local/share/shotfarm"
    size = f"{len(node_package().content) / 1e6:.0f} MB"
    for told in (f"the farm at {URL}", folder, size, "7 GB of disk", "does not", "Ctrl-C"):
        assert told in done.stdout
    said = "the program of a node did not arrive from https://farm.example:8443; the line above says why"
    assert done.stderr == f"curl: (7) connection refused\njoin: {said}\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "found no Python: install one"),
        ("[ $1 = --version ] && echo Python 3.9.1 && exit; exit 1", "found Python 3.9.1: install one"),
    ],
    ids=["none", "old"],
)
def test_a_missing_python_is_said_first(script: str, machine: Machine, body: str | None, said: str) -> None:
    if body is not None:
        machine.have("python3", body)
    done = machine.run(script)
    assert done.stderr == f"join: this needs Python 3.11 to 3.14 and {said}, and run the line again\n"
    assert (done.stdout, machine.is_untouched) == ("", True)


def test_a_named_python_must_be_right(script: str, machine: Machine) -> None:
    with_python(machine)
    done = machine.run(script, FARM_PYTHON="/opt/old/python")
    assert done.stderr.startswith("join: FARM_PYTHON is /opt/old/python, which is no Python 3.11 to 3.14")


def test_a_folder_that_cannot_be_made_is_named(script: str, machine: Machine) -> None:
    with_python(machine)
    (machine.home / "taken").touch()
    done = machine.run(script, FARM_HOME=f"{machine.home}/taken/below")
    assert f"join: the folder {machine.home}/taken/below cannot be made" in done.stderr


def test_what_is_not_the_program_that_was_named_does_not_run(script: str, machine: Machine) -> None:
    with_python(machine)
    # The word after --output is the file.
    machine.have("curl", 'while [ "$1" != --output ]; do shift; done; echo hostile > "$2"')
    done = machine.run(script, FARM_HOME=str(machine.home))
    assert done.stderr == (
        f"join: what arrived from {URL} is not the program that it named: run the line again\n"
    )
    assert done.returncode == 1


def test_the_program_is_handed_the_package_and_the_options(files: JoinFiles, machine: Machine) -> None:
    package = files.get(f"/join/{node_package().name}").content
    (machine.home / "served").write_bytes(package)
    with_python(machine)
    (machine.programs / "cp").symlink_to("/bin/cp")
    machine.have("curl", f'while [ "$1" != --output ]; do shift; done; cp {machine.home}/served "$2"')
    script = files.get("/join").content.decode()
    # No card is here, so it ends before it installs anything.
    done = machine.run(script, "--gpu", "1", FARM_HOME=str(machine.home))
    assert "join: no NVIDIA card was found: install its driver" in done.stderr
    assert (machine.home / node_package().name).read_bytes() == package


@pytest.mark.parametrize("path", ["/join", "/join.ps1"])
def test_scripts_name_the_farm_its_key_and_the_package(files: JoinFiles, path: str) -> None:
    text = files.get(path).content.decode()
    assert not re.search("@[A-Z0-9]+@", text)
    for word in (URL, node_package().name, node_package().sha256, "--pinnedpubkey", "FARM_HOME"):
        assert word in text
    assert max(map(len, text.splitlines())) < 200


def test_the_twin_says_the_same_sentences(files: JoinFiles) -> None:
    shell, powershell = (files.get(path).content.decode() for path in ("/join", "/join.ps1"))
    for words in (
        "needs Python 3.11 to 3.14",
        "cannot be made: name another one",
        "did not arrive from",
        "is not the program that it named",
        "It writes only to  $folder",
        "7 GB of disk",
    ):
        assert words in shell
        assert words in powershell
    # Windows PowerShell loses double quotes in the words of other programs.
    for words in re.findall(r"-c ('[^']*'|\"[^\"]*\"|\$\w+)", powershell):
        assert '"' not in words


def test_other_versions_are_not_there(files: JoinFiles) -> None:
    for path in ("/join/shotfarm-0.0.1-py3-none-any.whl", "/join/", "/join/x/../../etc", "/other"):
        with pytest.raises(NotFound, match="this farm has the program"):
            files.get(path)


def test_a_farm_without_tls_hands_out_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="set `gateway`"):
        JoinFiles(Settings(home=tmp_path)).get("/join")


def test_a_farm_with_a_certificate_of_an_authority_needs_no_pin(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, public_url="https://farm.example")
    assert b"curl -fsS --retry" in JoinFiles(settings).get("/join").content
