"""Pin with hashes whatever is installed, in .ci/requirements, and for nodes in their package. uv does it.

Standard library only. What is pinned stays while pyproject.toml allows it; `--upgrade` takes the newest.

    python3 .ci/lock.py [--upgrade]
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ".ci/requirements"
WIDEST = f"{LOCKS}/dev.txt"
#: What machines install that join a farm: a part of the package.
NODE = "gpu_node/requirements/node.txt"
HEADING = "make lock"
#: File to what it pins. The first has most, and decides on the versions of the others.
CONTENTS = {
    WIDEST: ["pyproject.toml", "--all-extras", "--group", "build", "--constraint", f"{LOCKS}/torch.txt"],
    f"{LOCKS}/run.txt": ["pyproject.toml", "--extra=embedded", "--extra=node", "--group", "build"],
    f"{LOCKS}/coordinator.txt": [
        "pyproject.toml",
        "--extra=embedded",
        "--extra=credentials",
        "--group",
        "build",
    ],
    NODE: ["pyproject.toml", "--extra=node"],
    f"{LOCKS}/build.txt": ["--group", "build"],
    f"{LOCKS}/helm.txt": ["--group", "helm"],
    f"{LOCKS}/lock.txt": ["--group", "lock"],
}
#: Helm declares a newer Python than it needs.
PYTHONS = {f"{LOCKS}/helm.txt": "3.12"}
OLDEST = "3.11"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument(
        "--upgrade", action="store_true", help="the newest versions that pyproject.toml allows"
    )
    upgrade = options.parse_args().upgrade
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder, "bin")
        pins = ["--require-hashes", "--no-deps", "-r", f"{LOCKS}/lock.txt"]
        run(programs / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *pins)
        for name, contents in CONTENTS.items():
            more = [] if name == WIDEST else ["--constraint", WIDEST]
            compile_lock(programs / "uv", name, [*contents, *more], upgrade)


def compile_lock(uv: Path, name: str, contents: "list[str]", upgrade: bool) -> None:
    command = [
        "pip",
        "compile",
        *contents,
        "--output-file",
        name,
        "--config-file",
        f"{LOCKS}/uv.toml",
    ]
    command += ["--universal", "--python-version", PYTHONS.get(name, OLDEST), "--only-binary", ":all:"]
    command += ["--generate-hashes", "--no-emit-package", "torch", "--custom-compile-command", HEADING]
    run(uv, *command, "--quiet", *(["--upgrade"] if upgrade else []))
    print("pinned: " + name, flush=True)


def run(*command: "str | Path") -> None:
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit("nothing more was pinned; the lines above say why")


if __name__ == "__main__":
    main()
