"""The model and LoRA files of this node, found by the catalog's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.catalog import Catalog
from gpu_node.errors import RenderError
from gpu_node.identity import Hashes, verify_lora, verify_model

#: Models that come with the farm.
SHIPPED = Path(__file__).parent / "demomodel" / "weights"

#: (name, path, identity, hashes) to whether the files were compared; raises RenderError where they differ.
Verify = Callable[[str, Path, str | None, Hashes], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """One model or LoRA of the catalog on this node."""

    name: str
    path: Path
    #: Whether the files were compared with the catalog's identity, and are the same.
    verified: bool
    #: Why it cannot be used; empty where it can.
    problem: str = ""


class Library:
    """Looks for `MODEL_PATH` and `loras/LORA_PATH` in each of `folders`, then among the shipped ones."""

    def __init__(self, catalog: Catalog, folders: Sequence[Path], hashes: Hashes) -> None:
        self.catalog = catalog
        self._folders = (*folders, SHIPPED)
        self._hashes = hashes

    def model_folder(self, name: str) -> Path | None:
        model = self.catalog.models.get(name)
        return self._find(Path(model.path)) if model else None

    def lora_file(self, name: str) -> Path | None:
        lora = self.catalog.loras.get(name)
        return self._find(Path("loras") / lora.path) if lora else None

    def models(self) -> list[Holding]:
        """Every catalog model whose folder is here, compared with the catalog (seconds a GB, once)."""
        found = []
        for name, model in self.catalog.models.items():
            if folder := self.model_folder(name):
                found.append(self._holding(name, folder, model.identity, verify_model))
        self._hashes.save()
        return found

    def loras(self) -> list[Holding]:
        """The same of LoRAs."""
        found = []
        for name, lora in self.catalog.loras.items():
            if file := self.lora_file(name):
                found.append(self._holding(name, file, lora.identity, verify_lora))
        self._hashes.save()
        return found

    def _holding(self, name: str, path: Path, identity: str | None, verify: Verify) -> Holding:
        try:
            verified = verify(name, path, identity, self._hashes)
        except RenderError as error:
            return Holding(name=name, path=path, verified=False, problem=str(error))
        return Holding(name=name, path=path, verified=verified)

    def _find(self, path: Path) -> Path | None:
        places = (folder / path for folder in self._folders)
        return next((place.absolute() for place in places if place.exists()), None)
