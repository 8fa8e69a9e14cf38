"""Exports in the store: made from the stored image when they are first asked for, deleted with it."""

from __future__ import annotations

import hashlib
import io
from importlib.metadata import version
from typing import TYPE_CHECKING

from PIL import Image

from common.errors import NotFound, Unavailable
from common.infotext import farm_json, infotext
from common.storage import Store, Stored
from common.views import ExportedFile
from coordinator.pictures.credentials import Signer, with_credentials
from coordinator.pictures.encode import CONTENT_TYPES, encoded
from coordinator.pictures.framing import framed

if TYPE_CHECKING:
    # Ingest needs no database: importing one would take it half its start.
    from coordinator.ledger import StoredImage

_VERSION = version("shotfarm")


def exports_prefix(image_key: str) -> str:
    """Where all exports of the image at a key of the store lie."""
    folder, _, name = image_key.removeprefix("images/").rpartition("/")
    return f"exports/{folder}/{name.rpartition('.')[0]}/"


def stored_export(image: StoredImage, store: Store, signer: Signer | None = None) -> Stored:
    """The export in the store, made and signed if it is not there; the image itself where that has its size.

    Raises NotFound if the image is not in the store, and Unavailable.
    """
    shot = image.shot
    if image.export.size_of(*shot.final_size) == shot.final_size:
        there = store.head(image.key)
        if there is None:
            raise NotFound(f"the store has no image at {image.key}")
        return there
    key = f"{exports_prefix(image.key)}{image.export.form(*shot.final_size)}.{shot.format}"
    there = store.head(key)
    if there is None:
        data = with_credentials(_made(image, store), CONTENT_TYPES[shot.format], signer)
        metadata = {"sha256": hashlib.sha256(data).hexdigest()}
        store.create(key, data, content_type=CONTENT_TYPES[shot.format], metadata=metadata)
        there = store.head(key)
    if there is None:
        raise NotFound(f"the store has no export at {key}; its image was deleted")
    return there


def exported_file(image: StoredImage, there: Stored, url: str) -> ExportedFile:
    sha256 = there.metadata.get("sha256") or image.sha256
    return ExportedFile(url=url, sha256=sha256, size=there.size)


def _made(image: StoredImage, store: Store) -> bytes:
    """The bytes of the export, in the format and quality of the image and with its metadata."""
    shot = image.shot
    data = store.read(image.key, limit=image.size)
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise Unavailable(
            f"the store has damaged bytes at {image.key}; restore them, or delete shot {shot.id[:12]} and "
            "submit the manifest again"
        )
    with Image.open(io.BytesIO(data)) as stored:
        picture = framed(stored.convert("RGB"), image.export)
    return encoded(
        picture,
        shot,
        infotext=infotext(shot, version=f"shotfarm {_VERSION}"),
        record=farm_json(shot, template=image.template, recipe=image.recipe, version=_VERSION),
    )
