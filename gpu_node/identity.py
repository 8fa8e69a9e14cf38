"""Whether the files of a model are the ones the catalog names."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from common.catalog.identity import file_identity, file_sha256, folder_identity, has_files
from gpu_node.errors import RenderError


class Hashes:
    """SHA-256 of files, remembered in one JSON file by path, size and modification time."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        try:
            self._known: dict[str, list[object]] = json.loads(memory.read_text())
        except (OSError, ValueError):
            self._known = {}

    def of(self, file: Path) -> str:
        """Hex digest of the file's bytes."""
        stat = file.stat()
        mark: list[object] = [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(str(file.resolve()))
        if known and known[:2] == mark:
            return str(known[2])
        digest = file_sha256(file)
        self._known[str(file.resolve())] = [*mark, digest]
        return digest

    def save(self) -> None:
        """Write what is known, if it can be; a reader never meets half a file."""
        part = self._memory.with_suffix(".part")
        with suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(self._known))
            part.replace(self._memory)


def verify_model(name: str, folder: Path, identity: str | None, hashes: Hashes) -> bool:
    """True when the files are what `identity` says; False when it is None and nothing can be said.

    Raises RenderError `model_missing` when there are none, `model_mismatch` when they are others, or when a
    download cannot prove its commit.
    """
    if not has_files(folder):
        raise RenderError("model_missing", f"{name}: {folder} contains no files; download the model into it")
    if identity is None:
        return False
    if not identity.startswith("sha256:"):
        return _verify_download(name, folder, identity, hashes)
    found = folder_identity(folder, hashes.of)
    if found != identity:
        raise RenderError(
            "model_mismatch",
            f"{name}: the files in {folder} have identity {found[:19]}…, the catalog has {identity[:19]}…; "
            "download the model again",
        )
    return True


def verify_file(name: str, file: Path, identity: str | None, hashes: Hashes) -> bool:
    """The same of a single file; raises RenderError `model_missing` too."""
    if not file.is_file():
        raise RenderError("model_missing", f"{name}: {file} is missing on this node")
    if identity is None:
        return False
    if (found := file_identity(file, hashes.of)) != identity:
        raise RenderError(
            "model_mismatch",
            f"{name}: {file} has identity {found[:19]}…, the catalog has {identity[:19]}…; download it again",
        )
    return True


def _verify_download(name: str, folder: Path, identity: str, hashes: Hashes) -> bool:
    """Check a `repo@commit` against the records that `hf download --local-dir` leaves beside the files.

    Each record holds the commit and, for large files, their SHA-256.
    """
    commit = identity.rpartition("@")[2]
    records = folder / ".cache" / "huggingface" / "download"
    for file in sorted(folder.rglob("*.safetensors")):
        record = records / f"{file.relative_to(folder).as_posix()}.metadata"
        recorded = record.read_text().split() if record.is_file() else []
        if recorded[:1] != [commit] or recorded[1:2] != [hashes.of(file)]:
            raise RenderError(
                "model_mismatch",
                f"{name}: cannot verify that {file} belongs to {identity}; "
                f"download it with `hf download --revision {commit} --local-dir {folder}`",
            )
    return True
