"""Fingerprints of model files: what a node verifies before it loads them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path


def file_identity(path: Path, sha256: Callable[[Path], str] | None = None) -> str:
    """`sha256:<hex>` of the file's bytes; `sha256` may remember what it hashed before."""
    return f"sha256:{(sha256 or file_sha256)(path)}"


def folder_identity(path: Path, sha256: Callable[[Path], str] | None = None) -> str:
    """`sha256:<hex>` over the sorted lines `<sha256>  <relative path>` of all files that are not hidden.

    The same as `find * -type f | xargs sha256sum | LC_ALL=C sort | sha256sum` run inside the folder.
    """
    return listing_identity(
        {
            file.relative_to(path).as_posix(): (sha256 or file_sha256)(file)
            for file in path.rglob("*")
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
        }
    )


def listing_identity(files: Mapping[str, str]) -> str:
    """The same of files whose hex SHA-256 is known, by relative path."""
    lines = sorted(f"{digest}  {path}\n" for path, digest in files.items())
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def has_files(folder: Path) -> bool:
    """Whether a folder contains files that are not hidden, at any depth."""
    return any(
        file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        for file in folder.rglob("*")
    )


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
