"""Models with their files, as `publish` takes them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from common.catalog import folder_identity


@dataclass
class Placed:
    path: str
    place: Path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.place.read_bytes()).hexdigest()

    @property
    def size(self) -> int:
        return self.place.stat().st_size


@dataclass
class Model:
    files: list[Placed]
    entry: dict[str, Any]
    section: Literal["models", "loras", "textual_inversions", "upscalers"] = "models"
    name: str = "mine"

    @classmethod
    def of(cls, folder: Path, name: str = "mine", **entry: Any) -> Self:
        """A model folder, with what its entry says besides the identity."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        placed = [Placed(path.relative_to(folder).as_posix(), path) for path in files]
        return cls(placed, {**entry, "identity": folder_identity(folder)}, name=name)
