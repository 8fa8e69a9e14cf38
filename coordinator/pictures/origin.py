"""Whether a picture is one that the farm made: by its bytes, by what it shows, then by its metadata."""

from __future__ import annotations

from typing import Literal

from common.errors import NotFound
from common.storage import Store
from common.views import PictureOrigin
from coordinator.ledger import Ledger, MadeImage
from coordinator.pictures.exporting import exports_prefix


def origin(
    sha256: str,
    named: str | None,
    perceptual_hash: str | None,
    ledger: Ledger,
    store: Store,
    owner: str | None = None,
) -> PictureOrigin:
    """Of the picture with this content, whose metadata names a shot; among jobs of an owner (None: all).

    Exports are in no ledger: they are found in the store, beside the image of the shot that is `named`.
    Copies that were saved again are found by their perceptual hash; None: it is not known.

    Raises NotFound if nothing says that the farm made it, Unavailable if the store does not answer.
    """
    if (image := ledger.images.made(sha256, owner)) is not None:
        return _origin("stored" if image.deleted_at is None else "deleted", image)
    image = None if named is None else ledger.images.made_of(named, owner)
    if image is not None and _is_export(sha256, image, store):
        return _origin("export", image)
    if perceptual_hash is not None:
        alike = ledger.images.made_alike(perceptual_hash, owner)
        if alike is not None:
            return _origin("alike", alike)
    if image is None:
        raise NotFound(
            f"no image of the farm has the SHA-256 {sha256[:12]}…, and none is known to show the same"
        )
    return _origin("named", image)


def _is_export(sha256: str, image: MadeImage, store: Store) -> bool:
    heads = map(store.head, store.keys(exports_prefix(image.key)))
    return any(head is not None and head.metadata.get("sha256") == sha256 for head in heads)


def _origin(
    answer: Literal["stored", "export", "deleted", "alike", "named"], image: MadeImage
) -> PictureOrigin:
    return PictureOrigin(
        answer=answer,
        shot_id=image.shot_id,
        model=image.model,
        recipe=image.recipe,
        node=image.node_id,
        lane=image.lane,
        stored_at=image.stored_at,
        deleted_at=image.deleted_at,
    )
