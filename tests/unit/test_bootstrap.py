"""Which build of torch the set-up takes, and what makes it run again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gpu_node.torch_build import BUILDS
from tests.python_files import module_of

_FILE = Path(__file__).parents[2] / ".ci" / "bootstrap.py"


@pytest.fixture
def bootstrap() -> ModuleType:
    return module_of(_FILE)


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose `nvidia-smi` prints what the returned file holds, and that has no other programs."""
    answer = tmp_path / "answer"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint(open({str(answer)!r}).read())\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FARM_TORCH", raising=False)
    return answer


@pytest.mark.parametrize(
    ("capabilities", "build"),
    [("6.1", "cu126"), ("7.0", "cu126"), ("7.5", "cu130"), ("8.9\n6.1", "cu126"), ("12.0", "cu130")],
)
def test_the_oldest_card_decides_on_the_build(
    bootstrap: ModuleType, cards: Path, capabilities: str, build: str
) -> None:
    cards.write_text(capabilities)
    assert bootstrap.torch_build() == build


def test_without_a_card_torch_is_for_the_cpu(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FARM_TORCH", raising=False)
    assert bootstrap.torch_build() == "cpu"


def test_a_named_build_is_taken_whatever_the_cards(
    bootstrap: ModuleType, cards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards.write_text("6.1")
    monkeypatch.setenv("FARM_TORCH", "cu130")
    assert bootstrap.torch_build() == "cu130"


def test_an_unknown_build_is_refused_with_those_there_are(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_TORCH", "rocm")
    with pytest.raises(SystemExit, match="FARM_TORCH=rocm: it may be cpu, cu126, cu130, skip"):
        bootstrap.torch_build()


def test_another_choice_makes_another_installation(bootstrap: ModuleType) -> None:
    prints = {bootstrap.fingerprint(build, dev) for build in BUILDS for dev in (False, True)}
    assert len(prints) == 2 * len(BUILDS)


@pytest.mark.parametrize(
    "file", ["build.txt", "run.txt", "coordinator.txt", "dev.txt", "helm.txt", "torch.txt"]
)
def test_another_pin_makes_another_installation(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    locks = tmp_path / "requirements"
    shutil.copytree(bootstrap.LOCKS, locks)
    monkeypatch.setattr(bootstrap, "LOCKS", locks)
    before = bootstrap.fingerprint("cpu", dev=True)
    with (locks / file).open("a") as lock:
        lock.write("another==1.0\n")
    assert bootstrap.fingerprint("cpu", dev=True) != before


def test_an_old_python_is_told_what_is_missing(bootstrap: ModuleType, tmp_path: Path) -> None:
    program = (
        "import sys; sys.version_info = (3, 9, 1);"
        f"sys.argv = [{str(_FILE)!r}]; exec(compile(open({str(_FILE)!r}).read(), 'bootstrap', 'exec'),"
        f"{{'__name__': '__main__', '__file__': {str(_FILE)!r}}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "Shotfarm needs Python 3.11 or newer and found 3.9 only: install a newer one\n"


@pytest.mark.parametrize(
    ("missing", "is_sound"), [("torchvision", True), ("einops", False)], ids=["torchvision", "einops"]
)
def test_only_what_is_left_out_on_purpose_may_be_missing(
    bootstrap: ModuleType, tmp_path: Path, missing: str, is_sound: bool
) -> None:
    environment = bootstrap.Environment(tmp_path)
    environment.python.parent.mkdir()
    said = f"spandrel 0.4.2 requires {missing}, which is not installed."
    environment.python.write_text(f"#!/bin/sh\necho '{said}'\nexit 1\n")
    environment.python.chmod(0o755)
    if is_sound:
        environment.check()
    else:
        with pytest.raises(SystemExit, match="requires einops"):
            environment.check()
