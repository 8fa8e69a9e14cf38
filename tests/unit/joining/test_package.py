"""The program of a node as a wheel."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

from coordinator.joining.package import node_package

ROOT = Path(__file__).parents[3]


def wheel() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(node_package().content))


def test_it_has_what_a_node_needs_and_nothing_of_the_coordinator() -> None:
    names = set(wheel().namelist())
    needed = {
        "gpu_node/cli.py",
        "gpu_node/requirements/node.txt",
        "common/catalog.yaml",
        "gpu_node/engine/worker.py",
    }
    assert needed <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"common", "gpu_node"}
    assert not [name for name in names if "__pycache__" in name or "public" in name.split("/")]
    there = {str(file.relative_to(ROOT)) for file in (ROOT / "gpu_node").rglob("*.py")}
    assert there <= names


def test_it_says_of_each_of_its_files_what_is_in_it() -> None:
    archive = wheel()
    (record,) = [name for name in archive.namelist() if name.endswith("/RECORD")]
    told = {
        name: (digest, size) for name, digest, size in csv.reader(archive.read(record).decode().splitlines())
    }
    assert told.pop(record) == ("", "")
    held = {name: archive.read(name) for name in archive.namelist() if name != record}
    digests = {
        name: urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=") for name, data in held.items()
    }
    assert told == {name: (f"sha256={digests[name]}", str(len(held[name]))) for name in held}


def test_it_is_the_same_whenever_it_is_made() -> None:
    first = node_package()
    node_package.cache_clear()
    assert node_package() == first


def test_its_installer_needs_nothing_that_is_installed(tmp_path: Path) -> None:
    file = tmp_path / node_package().name
    file.write_bytes(node_package().content)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import gpu_node.install, pkgutil; "
        "print(gpu_node.install.__file__, len(pkgutil.get_data('gpu_node', 'requirements/node.txt')))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    place, size = done.stdout.split()
    assert place.startswith(str(file))
    assert int(size) > 10_000
