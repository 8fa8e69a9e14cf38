"""Set up .venv for this checkout: what .ci/requirements pins, torch in the build that this machine needs.

Standard library only, and readable by an old Python, which then says what is missing.

    python3 .ci/bootstrap.py [--dev | --newest]

`--newest` makes .venv-newest, with the newest versions that pyproject.toml allows, for the unit tests.

FARM_TORCH=cpu|cu126|cu130|skip overrides the choice of build; `skip` leaves torch as it is.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWER_NAMES = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / ".ci" / "requirements"
TORCH = LOCKS / "torch.txt"
#: Nothing is built, which would fetch build tools that nothing pins; and all that is needed is in the file.
LOCKED = ("--require-hashes", "--only-binary", ":all:", "--no-deps", "-r")
#: spandrel declares it for what are no upscalers. Each build of it works with one build of torch.
UNUSED = "torchvision"

if sys.version_info >= OLDEST:
    # An older Python could not read it.
    sys.path.insert(0, str(ROOT))
    from gpu_node.torch_build import TORCH_INDEX, torch_build


def main() -> None:
    options = argparse.ArgumentParser()
    what = options.add_mutually_exclusive_group()
    what.add_argument("--dev", action="store_true", help="also what tests and lint need")
    what.add_argument("--newest", action="store_true", help="the newest versions, in .venv-newest")
    asked = options.parse_args()
    use_new_enough_python()
    build = torch_build()
    if asked.newest:
        set_up_newest(Environment(ROOT / ".venv-newest"), build)
    else:
        set_up(Environment(ROOT / ".venv"), build, asked.dev)


def set_up(environment: "Environment", build: str, dev: bool) -> None:
    """Install what the lock files pin, unless it is there."""
    stamp, wanted = environment.folder / "stamp", fingerprint(build, dev)
    if environment.exists() and stamp.exists() and wanted in stamp.read_text().split():
        return
    say("setting up .venv, which takes a minute or two the first time")
    environment.make()
    environment.pip("install", *LOCKED, str(LOCKS / "build.txt"))
    say("installing what shotfarm needs")
    environment.pip("install", *LOCKED, str(LOCKS / ("dev.txt" if dev else "run.txt")))
    if dev:
        # Helm declares a newer Python than it needs.
        environment.pip("install", "--ignore-requires-python", *LOCKED, str(LOCKS / "helm.txt"))
    environment.install_torch(build)
    environment.pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    if build != "skip":
        environment.check()
    # What tests and lint need includes what running needs.
    stamp.write_text("\n".join([wanted, fingerprint(build, dev=False)]))
    say("done")


def set_up_newest(environment: "Environment", build: str) -> None:
    """Install the newest versions, but torch as it is pinned: another build of it is several GB."""
    say("installing the newest versions into .venv-newest")
    environment.make()
    environment.pip("install", "--upgrade", "pip", "setuptools")
    environment.install_torch(build)
    eagerly = ("--upgrade", "--upgrade-strategy", "eager", "-c", str(LOCKS / "torch.txt"))
    environment.pip("install", *eagerly, "-e", f"{ROOT}[embedded,node,dev]")
    environment.pip("uninstall", "--yes", UNUSED)
    say("done")


def use_new_enough_python() -> None:
    """Go on in a newer interpreter of this machine where this one is too old."""
    if sys.version_info >= OLDEST:
        return
    for name in NEWER_NAMES:
        found = shutil.which(name)
        if found:
            os.execv(found, [found, *sys.argv])
    have = "{}.{}".format(*sys.version_info[:2])
    sys.exit(f"Shotfarm needs Python 3.11 or newer and found {have} only: install a newer one")


def fingerprint(build: str, dev: bool) -> str:
    """Changes with whatever makes another installation necessary."""
    files = [ROOT / "pyproject.toml", *sorted(LOCKS.glob("*.txt"))]
    parts = b"".join(file.read_bytes() for file in files)
    return hashlib.sha256(parts + f"{ROOT} {build} {dev}".encode()).hexdigest()


class Environment:
    """A virtual environment in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def exists(self) -> bool:
        return self.python.exists()

    def make(self) -> None:
        if self.exists():
            return
        command = [sys.executable, "-m", "venv", str(self.folder)]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:
            sys.exit("python -m venv failed; on Debian and Ubuntu install python3-venv:\n" + answer.stdout)

    def install_torch(self, build: str) -> None:
        """The pinned version; with what CUDA builds need besides, which they name exactly."""
        if build == "skip":
            return
        version = next(line for line in TORCH.read_text().splitlines() if line.startswith("torch=="))
        say(f"installing {version} ({build})")
        if sys.platform != "linux":
            self.pip("install", "--no-deps", version)
        elif build != "cpu":
            self.pip("install", version, "--index-url", TORCH_INDEX + build)
        elif not self.pip_finds(version + "+cpu"):
            self.pip("install", "--no-deps", version, "--index-url", TORCH_INDEX + build)

    def pip_finds(self, requirement: str) -> bool:
        """Install it where pip's own sources have it; a mirror or a wheel folder may."""
        command = [str(self.python), "-m", "pip", "install", "-q", "--no-deps", requirement]
        return subprocess.run(command, capture_output=True).returncode == 0

    def pip(self, *arguments: str) -> None:
        command = [str(self.python), "-m", "pip", *arguments, "-qq", "--disable-pip-version-check"]
        if subprocess.run(command).returncode:
            sys.exit("pip could not install what Shotfarm needs; the lines above say why")

    def check(self) -> None:
        """Whether all that is declared is there, also what an edited pyproject.toml declares."""
        command = [str(self.python), "-m", "pip", "check", "--disable-pip-version-check"]
        answer = subprocess.run(command, capture_output=True, text=True)
        problems = [line for line in answer.stdout.splitlines() if f" requires {UNUSED}, " not in line]
        if answer.returncode and problems:
            sys.exit("what is installed does not suffice; `make lock` pins anew:\n" + "\n".join(problems))


def say(sentence: str) -> None:
    print("set-up: " + sentence, flush=True)


if __name__ == "__main__":
    main()
