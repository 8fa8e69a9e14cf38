"""What `/join` starts: an environment, packages, torch for the card, and a command for the owner."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from gpu_node import install
from gpu_node.install import Installation, command_text, torch_words
from gpu_node.system import try_lock
from tests.lock_files import pins

_Usage = namedtuple("_Usage", "total used free")


def package(folder: Path, version: str, answer: str) -> Path:
    """A wheel whose command `farm-node` answers that."""
    file = folder / f"shotfarm-{version}-py3-none-any.whl"
    info = f"shotfarm-{version}.dist-info"
    program = f"import os\nimport packaging\ndef main():\n    print({answer!r}, os.environ['FARM_HOME'])\n"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("answering.py", program)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: shotfarm\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\nfarm-node = answering:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a card."""
    for name in ("FARM_TORCH", "FARM_PACKAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def test_it_installs_once_and_anew_for_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FARM_PACKAGES", "present")
    earlier = package(tmp_path, "1.0", "first")
    command = Installation(earlier).make(simulates=True)
    # What the package needs is that of this Python; the data are in the folder, wherever it is called.
    said = subprocess.run([command], capture_output=True, text=True, env={"PATH": "/bin"}, check=True).stdout
    assert said.split() == ["first", str(tmp_path)]
    made = (tmp_path / "environment" / "stamp").stat().st_mtime_ns
    Installation(earlier).make(simulates=True)
    assert (tmp_path / "environment" / "stamp").stat().st_mtime_ns == made
    Installation(package(tmp_path, "1.1", "second")).make(simulates=True)
    assert subprocess.run([command], capture_output=True, text=True, check=True).stdout.startswith("second")
    assert not earlier.exists()
    assert capfd.readouterr().out.count("making an environment") == 1


def refusal(tmp_path: Path, *, simulates: bool = False) -> str:
    with pytest.raises(SystemExit) as ended:
        Installation(package(tmp_path, "1.0", "")).make(simulates=simulates)
    assert not (tmp_path / "environment" / "stamp").exists()
    return str(ended.value)


def test_a_machine_without_a_card_is_told_before_anything_is_downloaded(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("join: no NVIDIA card was found: install its driver")


def test_a_wrong_word_for_packages_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_PACKAGES", "none")
    assert refusal(tmp_path) == "join: FARM_PACKAGES is none: it may be `present`, or left out"


def test_two_lines_at_once_do_not_install_into_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_PACKAGES", "present")
    with (tmp_path / "installing").open("w") as lock:
        assert try_lock(lock)
        assert refusal(tmp_path).startswith(f"join: the line is at work in {tmp_path} already")
        assert not (tmp_path / "environment").exists()
    assert Installation(package(tmp_path, "1.0", "")).make(simulates=True).exists()


def test_a_folder_in_which_python_makes_no_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_PACKAGES", "present")
    folder = tmp_path / f"a{os.pathsep}b"
    folder.mkdir()
    said = refusal(folder)
    assert str(folder) in said
    assert "FARM_HOME" in said


def test_a_full_disk_is_said_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_TORCH", "cu130")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: _Usage(2**40, 2**40, 2 * 2**30))
    assert f"join: {tmp_path} has 2.0 GiB of free disk and 11 are needed" in refusal(tmp_path)


def test_a_python_without_environments_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    assert "install `python3-venv`" in refusal(tmp_path, simulates=True)


@pytest.mark.parametrize(
    ("build", "system", "words"),
    [
        ("cpu", "linux", ("--no-deps", f"{install.TORCH}+cpu", "--index-url")),
        ("cu126", "linux", (f"{install.TORCH}+cu126", "--index-url")),
        ("cu130", "win32", (f"{install.TORCH}+cu130", "--index-url")),
        ("cpu", "darwin", ("--no-deps", install.TORCH)),
    ],
)
def test_a_build_of_torch_is_named_exactly(
    build: str, system: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    asked = torch_words(build)
    assert asked[: len(words)] == words
    assert [word for word in asked[len(words) :] if not word.endswith(build)] == []


def test_torch_is_the_one_that_is_pinned() -> None:
    assert str(pins("torch.txt")["torch"].requirement) == install.TORCH


def test_the_command_of_windows_keeps_its_data_in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_IS_WINDOWS", True)
    text = command_text(Path("C:/Users/ana/shotfarm"), Path("C:/Users/ana/shotfarm/x.exe"))
    assert text.splitlines()[1:] == [
        'set "FARM_HOME=C:/Users/ana/shotfarm"',
        '"C:/Users/ana/shotfarm/x.exe" %*',
    ]
