"""Puts a model's files into the store of the farm, and its entry into the catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from common.catalog.identity import listing, listing_identity
from common.errors import Invalid
from common.storage import MODELS, Store
from common.views import CatalogAddition

_KIND = "application/octet-stream"


class File(Protocol):
    """A file of what was added."""

    @property
    def path(self) -> str:
        """Below the folder of the model."""

    @property
    def sha256(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def place(self) -> Path: ...


class Addable(Protocol):
    """A catalog entry with its files, all on this machine."""

    @property
    def section(self) -> Literal["models", "loras", "textual_inversions", "upscalers", "classifiers"]: ...

    @property
    def name(self) -> str: ...

    @property
    def entry(self) -> dict[str, Any]:
        """As in a catalog file, with the identity."""

    @property
    def files(self) -> Sequence[File]: ...


def publish(
    added: Addable,
    store: Store,
    add_entry: Callable[[CatalogAddition], object],
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Put what the store lacks of the files there, then the entry into the catalog.

    `on_bytes` hears of the bytes that are in the store now. Raises Invalid where a file changed since it was
    hashed or the entry has another identity, and what `Store.create_file` and `add_entry` raise.
    """
    alone, folder = _divided(added)
    sizes = {f"sha256:{file.sha256}": file.size for file in alone}
    by_path = {file.path: file.sha256 for file in folder}
    if folder:
        identity = listing_identity(by_path)
        if identity != added.entry.get("identity"):
            raise Invalid(f"{added.name}: its files have the identity {identity}, which the entry has not")
        sizes[identity] = sum(file.size for file in folder)
    for file in (*alone, *folder):
        store.create_file(MODELS + file.sha256, file.place, sha256=file.sha256, content_type=_KIND)
        on_bytes(file.size)
    if folder:
        _put_text(store, listing(by_path))
    add_entry(CatalogAddition(section=added.section, name=added.name, entry=added.entry, files=sizes))


def _divided(added: Addable) -> tuple[list[File], list[File]]:
    """Files that are known by their own hash, such as GGUF files and LoRAs, and those of the folder."""
    named = {f"sha256:{file.sha256}" for file in added.files} & identities_of(added.entry)
    alone = [file for file in added.files if f"sha256:{file.sha256}" in named]
    return alone, [file for file in added.files if file not in alone]


def identities_of(entry: dict[str, Any]) -> set[str]:
    """Of the files that an entry names itself."""
    own = {entry["identity"]} if entry.get("identity") else set()
    return own | {file["identity"] for file in entry.get("gguf", {}).values()}


def _put_text(store: Store, text: str) -> None:
    data = text.encode()
    store.create(MODELS + hashlib.sha256(data).hexdigest(), data, content_type=_KIND, metadata={})
