"""Fingerprints of model files: what a node verifies before it loads them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

_SHA256 = re.compile("[0-9a-f]{64}")


def file_identity(path: Path, sha256: Callable[[Path], str] | None = None) -> str:
    """`sha256:<hex>` of the file's bytes; `sha256` may remember what it hashed before."""
    return f"sha256:{(sha256 or file_sha256)(path)}"


def folder_identity(path: Path, sha256: Callable[[Path], str] | None = None) -> str:
    """`sha256:<hex>` of the listing of all its files that are not hidden.

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
    return f"sha256:{hashlib.sha256(listing(files).encode()).hexdigest()}"


def listing(files: Mapping[str, str]) -> str:
    """The sorted lines `<sha256>  <relative path>` of files, given as path to hash."""
    return "".join(sorted(f"{sha256}  {path}\n" for path, sha256 in files.items()))


def listed_files(lines: str) -> dict[str, str]:
    """Path to hash of the files of a listing. Raises ValueError for what is none, or leaves its folder."""
    files = {}
    for line in lines.splitlines():
        sha256, gap, path = line.partition("  ")
        parts = path.split("/")
        if not gap or not _SHA256.fullmatch(sha256) or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"{line[:200]!r} is no line of a listing")
        files[path] = sha256
    return files


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
