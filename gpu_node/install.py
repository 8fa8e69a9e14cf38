"""Install a node out of the package of its farm, then start it; `/join` of a farm runs this.

Standard library only: it runs inside of the package, before anything is installed. Everything is below the
folder of the package: the environment, what pip needs meanwhile, and the command `farm-node`.

FARM_PACKAGES=present takes all packages but that of the farm from the Python that runs this, and downloads
nothing more: for machines without a way out, or with torch already there. FARM_TORCH=cpu|cu126|cu130
overrides the choice of torch's build; `skip` leaves torch as it is.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

from gpu_node.system import try_lock
from gpu_node.torch_build import TORCH_INDEX, torch_build

#: The one package without a hash: its builds are files of their own under one version.
TORCH = "torch==2.13.0"
#: GiB of disk that a build and all else need while it is installed, and what is downloaded, in GB.
_DISK_GIB = {"cpu": 3, "cu126": 11, "cu130": 11, "skip": 1}
_DOWNLOAD_GB = {"cpu": 0.4, "cu126": 3, "cu130": 3, "skip": 0.2}
#: Nothing is built, and all that is needed is in the file.
_LOCKED = ("--require-hashes", "--only-binary", ":all:", "--no-deps", "-r")
_IS_WINDOWS = sys.platform == "win32"


def main() -> NoReturn:
    """`sys.argv`: the package, and options of `farm-node run`."""
    package, options = Path(sys.argv[1]).absolute(), sys.argv[2:]
    try:
        command = Installation(package).make(simulates="--card" in options)
    except OSError as error:
        fail(f"{error.filename or package.parent}: {error.strerror}; run the line again when that is mended")
    except KeyboardInterrupt:
        fail("stopped; run the line again to go on")
    _start([str(command), "run", *options])


class Installation:
    """What is in the folder of a package."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.folder = package.parent
        self.environment = self.folder / "environment"
        programs = self.environment / ("Scripts" if _IS_WINDOWS else "bin")
        self.python = programs / ("python.exe" if _IS_WINDOWS else "python")
        self.program = programs / ("farm-node.exe" if _IS_WINDOWS else "farm-node")

    def make(self, *, simulates: bool) -> Path:
        """Install what is not there yet; the command of the node. `simulates`: the CPU renders.

        Ends the program with a sentence where that is impossible.
        """
        packages = os.environ.get("FARM_PACKAGES", "")
        if packages not in ("", "present"):
            fail(f"FARM_PACKAGES is {packages}: it may be `present`, or left out")
        has_all = packages == "present"
        build = "skip" if has_all else torch_build()
        if build == "cpu" and not simulates and not os.environ.get("FARM_TORCH"):
            fail("no NVIDIA card was found: install its driver, so that `nvidia-smi` shows it")
        if os.pathsep in str(self.folder):
            fail(f"no environment works below {self.folder}, whose name has {os.pathsep!r}: set FARM_HOME")
        with (self.folder / "installing").open("w") as lock:
            if not try_lock(lock):
                fail(f"the line is at work in {self.folder} already: wait until that one is ready")
            return self._make(build, has_all=has_all)

    def _make(self, build: str, *, has_all: bool) -> Path:
        stamp, wanted = self.environment / "stamp", self._fingerprint(build, has_all=has_all)
        if not stamp.exists() or stamp.read_text() != wanted:
            self._install(build, has_all=has_all)
            stamp.write_text(wanted)
        self._remove_earlier_packages()
        return self._write_command()

    def _install(self, build: str, *, has_all: bool) -> None:
        if not self._has_environment(has_all=has_all):
            if not has_all:
                self._check_disk(build)
            self._make_environment(has_all=has_all)
        if has_all:
            theirs = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
            self._present.write_text("".join(f"{folder}\n" for folder in theirs))
        else:
            self._fetch(build)
        self._pip("--quiet", "--no-deps", "--no-index", "--force-reinstall", str(self.package))

    def _has_environment(self, *, has_all: bool) -> bool:
        """Whether there is one that works, for this Python."""
        check = f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
        same_kind = self._present.exists() == has_all
        return same_kind and self.python.exists() and not _run(str(self.python), "-I", "-c", check).returncode

    def _make_environment(self, *, has_all: bool) -> None:
        say("making an environment for Python {}.{}".format(*sys.version_info[:2]))
        without = ("--without-pip",) if has_all else ()
        done = _run(sys.executable, "-I", "-m", "venv", "--clear", *without, str(self.environment))
        if done.returncode:
            shutil.rmtree(self.environment, ignore_errors=True)
            fail(
                "Python cannot make virtual environments here; on Debian and Ubuntu install `python3-venv`, "
                "and run the line again"
            )

    @property
    def _present(self) -> Path:
        """Names folders of packages that this environment has besides its own."""
        own = sysconfig.get_path("purelib", "venv", {"base": str(self.environment)})
        return Path(own, "present.pth")

    def _fetch(self, build: str) -> None:
        say(f"downloading about {_DOWNLOAD_GB[build]:g} GB, which takes a while")
        locked = self.folder / "requirements.txt"
        locked.write_bytes(pkgutil.get_data("gpu_node", "requirements/node.txt") or b"")
        self._pip("--quiet", *_LOCKED, str(locked))
        if build != "skip":
            self._pip(*torch_words(build))

    def _check_disk(self, build: str) -> None:
        free, needed = shutil.disk_usage(self.folder).free / 2**30, _DISK_GIB[build]
        if free < needed:
            fail(
                f"{self.folder} has {free:.1f} GiB of free disk and {needed} are needed: make room, or name "
                "another folder by FARM_HOME"
            )

    def _pip(self, *words: str) -> None:
        """Its temporary files are in the folder as well: the usual place may be a part of the memory."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
        command = [str(self.python), "-I", "-m", "pip", "install", "--no-cache-dir"]
        command += ["--disable-pip-version-check", *words]
        try:
            if subprocess.run(command, env={**os.environ, **places}).returncode:
                fail(
                    "pip could not install what a node needs, as the lines above say; run the line again to "
                    "go on"
                )
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _fingerprint(self, build: str, *, has_all: bool) -> str:
        """Changes with whatever makes another installation necessary."""
        package = hashlib.sha256(self.package.read_bytes()).hexdigest()
        return f"{package} {build} {sys.executable if has_all else sys.version_info[:2]}"

    def _remove_earlier_packages(self) -> None:
        for file in self.folder.glob("shotfarm-*.whl"):
            if file != self.package:
                file.unlink()

    def _write_command(self) -> Path:
        """`farm-node`, which has its data in this folder wherever it is called."""
        command = self.folder / ("farm-node.cmd" if _IS_WINDOWS else "farm-node")
        command.write_text(command_text(self.folder, self.program))
        command.chmod(0o755)
        return command


def torch_words(build: str) -> tuple[str, ...]:
    """What pip is asked for. A build names the CUDA libraries that it needs, exactly."""
    if sys.platform == "darwin":
        return ("--no-deps", TORCH)
    alone = ("--no-deps",) if build == "cpu" else ()
    return (*alone, f"{TORCH}+{build}", "--index-url", TORCH_INDEX + build)


def command_text(folder: Path, program: Path) -> str:
    """A script that starts the program with its data in the folder."""
    if _IS_WINDOWS:
        return f'@echo off\nset "FARM_HOME={folder}"\n"{program}" %*\n'
    return f'#!/bin/sh\nFARM_HOME={shlex.quote(str(folder))} exec {shlex.quote(str(program))} "$@"\n'


def say(sentence: str) -> None:
    print(f"join: {sentence}", flush=True)


def fail(sentence: str) -> NoReturn:
    sys.exit(f"join: {sentence}")


def _run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True)


def _start(command: list[str]) -> NoReturn:
    """Become the command; on Windows, wait for it."""
    if _IS_WINDOWS:
        try:
            sys.exit(subprocess.run(command).returncode)
        except KeyboardInterrupt:
            sys.exit(130)
    os.execv(command[0], command)
