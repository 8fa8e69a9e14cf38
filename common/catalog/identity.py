"""Fingerprints of model files: what a node verifies before it loads them."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_identity(path: Path) -> str:
    """`sha256:<hex>` of the file's bytes."""
    return f"sha256:{_file_sha256(path)}"


def folder_identity(path: Path) -> str:
    """`sha256:<hex>` over the sorted lines `<sha256>  <relative path>` of all files that are not hidden.

    The same as `find * -type f | xargs sha256sum | LC_ALL=C sort | sha256sum` run inside the folder.
    """
    lines = sorted(
        f"{_file_sha256(file)}  {file.relative_to(path).as_posix()}\n"
        for file in path.rglob("*")
        if file.is_file()
    )
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
