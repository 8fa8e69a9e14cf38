"""The set-up in a fresh clone installs what is pinned, whatever was released since."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration import tiny_builder
from tests.integration.tiny_builder import write_wheel
from tests.lock_files import ROOT

#: What each file pins.
LOCKS = {
    "build.txt": ("builder",),
    "run.txt": ("thing",),
    "dev.txt": ("thing", "checker"),
    "helm.txt": ("chart",),
}
PINNED = {"builder", "thing", "checker", "chart", "torch"}
PROJECT = """
[build-system]
requires = ["builder"]
build-backend = "builder"
[project]
name = "shotfarm"
dependencies = ["thing>=1"]
"""


@dataclass(frozen=True, slots=True)
class Index:
    """All that pip finds: a folder with wheels."""

    folder: Path

    def release(self, version: str) -> None:
        """Of every package; also of those that come with an environment."""
        builder = Path(tiny_builder.__file__).read_text()
        for name in PINNED - {"torch"} | {"setuptools"}:
            source = builder if name == "builder" else ""
            write_wheel(self.folder, name, version, {f"{name}.py": source})
        write_wheel(self.folder, "torch", f"{version}+cpu", {}, ["setuptools"])

    def pin(self, name: str) -> str:
        wheel = self.folder / f"{name}-1.0-py3-none-any.whl"
        return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@dataclass(frozen=True, slots=True)
class Clone:
    folder: Path
    index: Index

    def set_up(self, option: str = "--dev") -> subprocess.CompletedProcess[str]:
        sources = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index.folder),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        return subprocess.run(
            [sys.executable, self.folder / ".ci" / "bootstrap.py", option],
            env=kept | sources | {"FARM_TORCH": "cpu"},
            capture_output=True,
            text=True,
        )

    def installed(self, environment: str = ".venv") -> dict[str, str]:
        python = self.folder / environment / "bin" / "python"
        listing = [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
        done = subprocess.run(listing, capture_output=True, text=True, check=True)
        found = {one["name"]: one["version"] for one in json.loads(done.stdout)}
        return {name: version for name, version in found.items() if name not in {"pip", "setuptools"}}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = Index(tmp_path / "wheels")
    index.folder.mkdir()
    index.release("1.0")
    return index


@pytest.fixture
def clone(tmp_path: Path, index: Index) -> Clone:
    """Of a small project with the set-up and lock files as this one's."""
    folder = tmp_path / "clone"
    locks = folder / ".ci" / "requirements"
    locks.mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "bootstrap.py", folder / ".ci")
    (folder / "gpu_node").mkdir()
    shutil.copy(ROOT / "gpu_node" / "torch_build.py", folder / "gpu_node")
    (folder / "pyproject.toml").write_text(PROJECT)
    (locks / "torch.txt").write_text("torch==1.0\n")
    for file, names in LOCKS.items():
        (locks / file).write_text("".join(index.pin(name) for name in names))
    return Clone(folder, index)


def test_a_release_of_everything_changes_nothing(clone: Clone, index: Index) -> None:
    index.release("2.0")
    done = clone.set_up()
    assert done.returncode == 0, done.stdout + done.stderr
    versions = clone.installed()
    assert versions.pop("torch") == "1.0+cpu"
    # It has the version of its builder.
    assert versions == dict.fromkeys(PINNED - {"torch"} | {"shotfarm"}, "1.0")


def test_the_newest_are_installed_apart(clone: Clone, index: Index) -> None:
    index.release("2.0")
    done = clone.set_up("--newest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (clone.folder / ".venv").exists()
    assert clone.installed(".venv-newest") == {"thing": "2.0", "shotfarm": "2.0", "torch": "1.0+cpu"}


def test_another_file_under_a_pinned_version_is_refused(clone: Clone, index: Index) -> None:
    write_wheel(index.folder, "thing", "1.0", {"thing.py": "changed"})
    done = clone.set_up()
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_what_is_declared_and_not_pinned_is_told(clone: Clone) -> None:
    project = clone.folder / "pyproject.toml"
    project.write_text(project.read_text().replace("thing>=1", "missing>=1"))
    done = clone.set_up()
    assert done.returncode == 1
    assert "`make lock` pins anew" in done.stderr
    assert "missing" in done.stderr
