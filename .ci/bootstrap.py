"""Set up .venv for this checkout: torch first, in the build this machine's card needs, then everything else.

Standard library only, and readable by an old Python, which then says what is missing.

    python3 .ci/bootstrap.py [--dev]

FARM_TORCH=cpu|cu126|cu130|skip overrides the choice of build; `skip` leaves torch as it is.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWER_NAMES = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
BUILDS = ("cpu", "cu126", "cu130", "skip")
#: Cards older than this run only on the CUDA 12.6 builds, which torch keeps up to 2.14.
OLDEST_OF_CUDA_13 = (7, 5)
TORCH_INDEX = "https://download.pytorch.org/whl/"
#: Helm itself, for the chart's tests. Declares a newer Python than it needs; built for this platform only.
HELM = ("helm-sdkpy==0.1.32", "--ignore-requires-python")
HELM_PLATFORM = ("Linux", "x86_64")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--dev", action="store_true", help="also what tests and lint need")
    dev = options.parse_args().dev
    use_new_enough_python()
    build = torch_build()
    stamp, wanted = VENV / "stamp", fingerprint(build, dev)
    if PYTHON.exists() and stamp.exists() and wanted in stamp.read_text().split():
        return
    say("setting up .venv, which takes a minute or two the first time")
    if not PYTHON.exists():
        make_venv()
    install_torch(build)
    extras = "embedded,node,dev" if dev else "embedded,node"
    say("installing shotfarm and the rest")
    pip("install", "-e", f"{ROOT}[{extras}]", "-c", str(CONSTRAINTS))
    if dev and (platform.system(), platform.machine()) == HELM_PLATFORM:
        pip("install", *HELM)
    # What tests and lint need includes what running needs.
    stamp.write_text("\n".join([wanted, fingerprint(build, dev=False)]))
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


def torch_build() -> str:
    """`FARM_TORCH`, else by the oldest card: cu126 for Pascal and Volta, cu130 for newer, cpu for none."""
    named = os.environ.get("FARM_TORCH")
    if named:
        if named not in BUILDS:
            sys.exit(f"FARM_TORCH={named}: it may be " + ", ".join(BUILDS))
        return named
    cards = compute_capabilities()
    if not cards:
        return "cpu"
    return "cu126" if min(cards) < OLDEST_OF_CUDA_13 else "cu130"


def compute_capabilities() -> "list[tuple[int, ...]]":
    """Of every NVIDIA card, such as (6, 1); empty where there is none."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [tuple(int(part) for part in line.split(".")) for line in answer.split() if "." in line]


def fingerprint(build: str, dev: bool) -> str:
    """Changes with whatever makes another installation necessary."""
    parts = (ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes()
    return hashlib.sha256(parts + f"{ROOT} {build} {dev}".encode()).hexdigest()


def make_venv() -> None:
    answer = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if answer.returncode:
        sys.exit("python -m venv failed; on Debian and Ubuntu install python3-venv:\n" + answer.stdout)


def install_torch(build: str) -> None:
    if build == "skip":
        return
    version = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    say(f"installing {version} ({build})")
    if sys.platform != "linux":
        pip("install", version)
    elif build != "cpu" or not pip_finds(version + "+cpu"):
        pip("install", version, "--index-url", TORCH_INDEX + build)


def pip_finds(requirement: str) -> bool:
    """Install it where pip's own sources have it; a mirror or a wheel folder may."""
    command = [str(PYTHON), "-m", "pip", "install", "-q", requirement]
    return subprocess.run(command, capture_output=True).returncode == 0


def pip(*arguments: str) -> None:
    answer = subprocess.run([str(PYTHON), "-m", "pip", *arguments, "-qq", "--disable-pip-version-check"])
    if answer.returncode:
        sys.exit("pip could not install what Shotfarm needs; the lines above say why")


def say(sentence: str) -> None:
    print("set-up: " + sentence, flush=True)


if __name__ == "__main__":
    main()
