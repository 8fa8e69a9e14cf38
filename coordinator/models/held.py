"""The files that this machine holds of an entry of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.catalog import (
    Catalog,
    Classifier,
    Lora,
    Model,
    TextualInversion,
    Upscaler,
    folder_identity,
    listing_identity,
)
from common.errors import Invalid
from common.model_files import CLASSIFIERS, EMBEDDINGS, SHIPPED, UPSCALERS, find_files
from coordinator.models.addition import Added, AddedFile, Section
from coordinator.models.fetch import Progress, hash_file
from coordinator.models.lora_files import check_numbers
from coordinator.models.place import remove_tree


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldFiles:
    #: Folder of a model, file of anything else.
    place: Path
    #: Place of what has an identity of its own, to that of the catalog.
    identities: dict[Path, str | None]
    files: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.stat().st_size for file in self.files)


#: Below a folder of models, by what is there.
_FOLDERS = {
    Model: "",
    Lora: "loras",
    TextualInversion: EMBEDDINGS,
    Upscaler: UPSCALERS,
    Classifier: CLASSIFIERS,
}


def held_files(name: str, catalog: Catalog, folders: Sequence[Path]) -> HeldFiles | None:
    """None if the files of the entry are not here."""
    entry = catalog.entry(name)
    if entry is None:
        return None
    place = find_files(Path(_FOLDERS[type(entry)]) / entry.path, folders)
    if place is None:
        return None
    identities: dict[Path, str | None] = {place: entry.identity}
    for file in entry.gguf.values() if isinstance(entry, Model) else ():
        if found := find_files(Path("gguf") / file.path, folders):
            identities[found] = file.identity
    files = [file for each in identities for file in (visible_files(each) if each.is_dir() else (each,))]
    return HeldFiles(place=place, identities=identities, files=tuple(files))


def hashes_of(held: HeldFiles, progress: Progress) -> dict[Path, str]:
    """The SHA-256 of each file as it is now."""
    done, total = 0, held.size
    hashes: dict[Path, str] = {}
    for file in held.files:

        def advance(part: int, before: int = done) -> None:
            progress(before + part, total)

        hashes[file] = hash_file(file, advance)
        done += file.stat().st_size
    return hashes


def identity_of(held: HeldFiles, progress: Progress) -> dict[Path, str]:
    """The identities that the files have now, by place."""
    hashes = hashes_of(held, progress)
    return {
        place: listing_identity(
            {
                file.relative_to(place).as_posix(): digest
                for file, digest in hashes.items()
                if place in file.parents
            }
        )
        if place.is_dir()
        else f"sha256:{hashes[place]}"
        for place in held.identities
    }


def added_again(
    section: Section, name: str, entry: dict[str, Any], held: HeldFiles, progress: Progress
) -> Added:
    """An entry that was added before, with its files as they are now.

    Raises Invalid for a single file of weights that are no numbers.
    """
    if section != "models":
        check_numbers(section, name, held.place)
    files = tuple(
        AddedFile(path=_path_in(held, file), sha256=digest, size=file.stat().st_size, place=file)
        for file, digest in hashes_of(held, progress).items()
    )
    return Added(section=section, name=name, entry=entry, files=files)


def _path_in(held: HeldFiles, file: Path) -> str:
    """Below the model's folder; the name of a file of its own."""
    return file.relative_to(held.place).as_posix() if held.place in file.parents else file.name


def remove_files(held: HeldFiles, catalog: Catalog) -> int:
    """Remove all that no entry of `catalog` needs; returns the bytes."""
    used = {model.path for model in catalog.models.values()} | {lora.path for lora in catalog.loras.values()}
    used |= {inversion.path for inversion in catalog.textual_inversions.values()}
    used |= {upscaler.path for upscaler in catalog.upscalers.values()}
    used |= {classifier.path for classifier in catalog.classifiers.values()}
    used |= {file.path for model in catalog.models.values() for file in model.gguf.values()}
    freed = 0
    for place in held.identities:
        if place.name in used or place.is_relative_to(SHIPPED):
            continue
        freed += sum(file.stat().st_size for file in held.files if file == place or place in file.parents)
        if place.is_dir():
            remove_tree(place)
        else:
            place.unlink()
    return freed


def visible_files(folder: Path) -> list[Path]:
    """The files that the identity of a folder covers."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def checked_folder_identity(folder: Path, sha256: Callable[[Path], str] | None = None) -> str:
    """The identity of a model's folder. Raises Invalid if it has no weights, which makes it no model."""
    if not any(file.suffix in (".safetensors", ".gguf") for file in visible_files(folder)):
        raise Invalid(f"{folder} holds no .safetensors file, so it is no model; check the path")
    return folder_identity(folder, sha256)
