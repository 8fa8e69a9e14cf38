"""The program of a node as a wheel, made of what is installed here: equal installations make equal bytes."""

from __future__ import annotations

import io
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

#: Packages of a node, with their data.
_PACKAGES: Final = ("common", "gpu_node")
#: In a checkout, what programs import, which is no part of a node.
_LEFT_OUT: Final = ("common/public/",)
#: What makes wheels of equal files equal.
_DATE: Final = (2020, 1, 1, 0, 0, 0)
_MODE: Final = 0o644 << 16


class NodePackage(NamedTuple):
    #: Of the file.
    name: str
    content: bytes
    sha256: str


@cache
def node_package() -> NodePackage:
    """Names no requirements: they are pinned in `gpu_node/requirements/node.txt`, which is in it.

    Its files are stored as they are: compressed, they would be other bytes by another zlib.
    """
    ours = version("shotfarm")
    files = {**dict(_files()), **_metadata(f"shotfarm-{ours}.dist-info", ours)}
    record = f"shotfarm-{ours}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = _MODE
            wheel.writestr(entry, content)
    content = archive.getvalue()
    return NodePackage(f"shotfarm-{ours}-py3-none-any.whl", content, sha256(content).hexdigest())


def _files() -> Iterator[tuple[str, bytes]]:
    """Names in the wheel, and contents, in the order of names."""
    for package in _PACKAGES:
        spec = find_spec(package)
        assert spec is not None, f"{package} is a part of this program"
        folder = Path(next(iter(spec.submodule_search_locations or ())))
        for file in sorted(folder.rglob("*")):
            name = f"{package}/{file.relative_to(folder).as_posix()}"
            kept = file.is_file() and "__pycache__" not in file.parts and not name.startswith(_LEFT_OUT)
            if kept:
                yield name, file.read_bytes()


def _metadata(folder: str, ours: str) -> dict[str, bytes]:
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: shotfarm\nVersion: {ours}\nRequires-Python: >=3.11\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: shotfarm\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[console_scripts]\nfarm-node = gpu_node.cli:main\n",
    }
    return {f"{folder}/{name}": text.encode() for name, text in texts.items()}


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(sha256(content).digest()).decode().rstrip("=")
