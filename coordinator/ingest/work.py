"""One delivery from quarantine to its final key. May be run again at any point of an earlier run."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

from PIL import Image

from common.errors import FarmError, Invalid, NotFound, Unavailable
from common.infotext import farm_json, infotext
from common.messages import Delivery, Verdict
from common.perceptual_hash import perceptual_hash
from common.shot import Shot
from common.storage import Store
from coordinator.ingest.check import BadUpload, checked
from coordinator.ingest.screening import Screener
from coordinator.pictures.credentials import Signer, with_credentials
from coordinator.pictures.encode import CONTENT_TYPES, encoded
from coordinator.pictures.thumbnail import store_thumbnail

_VERSION = version("shotfarm")
#: Of writing an object that was removed right after it kept us from it.
_TRIES = 3
#: Characters of a value in the metadata of an object.
_LONGEST = 500


def ingest(
    delivery: Delivery,
    store: Store,
    screener: Screener | None = None,
    signer: Signer | None = None,
    *,
    monotonic: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Check, judge, encode, sign and store one upload; put off where the store or signing does not work.

    Without a `screener`, one begins with no classifier in memory; without a `signer`, nothing is signed.
    """
    began = monotonic()
    try:
        verdict = _judged(delivery, store, screener or Screener((), store), signer)
    except FarmError as error:
        # The upload is safe where it lies: it is no fault of its own, nor of the shot.
        verdict = Verdict(outcome="put off", message=str(error))
    return verdict.model_copy(update={"seconds": monotonic() - began})


def _judged(delivery: Delivery, store: Store, screener: Screener, signer: Signer | None) -> Verdict:
    shot = Shot.from_dict(delivery.spec)
    picture = _fetched(delivery, store, shot)
    if isinstance(picture, BadUpload):
        return Verdict(outcome="rejected", failure=picture.failure, message=picture.message)
    withheld = screener.withheld(picture, delivery.screenings)
    final = encoded(
        picture,
        shot,
        infotext=infotext(shot, version=f"shotfarm {_VERSION}"),
        record=farm_json(shot, template=delivery.template, recipe=delivery.recipe, version=_VERSION),
    )
    content_type = CONTENT_TYPES[shot.format]
    verdict = _stored(delivery, store, with_credentials(final, content_type, signer), content_type, withheld)
    verdict = verdict.model_copy(update={"perceptual_hash": _seen(delivery, store, verdict, picture)})
    if verdict.outcome == "stored" and not verdict.withheld:
        # Without one, the first page that shows the image makes it.
        with suppress(FarmError):
            store_thumbnail(picture, delivery.final_key, store)
    return verdict


def _seen(delivery: Delivery, store: Store, verdict: Verdict, picture: Image.Image) -> str | None:
    """The perceptual hash of what is stored, which may be of an earlier attempt; None: that is gone again."""
    if verdict.outcome == "stored":
        return perceptual_hash(picture)
    with suppress(NotFound):
        data = store.read(delivery.final_key, limit=verdict.size or 0)
        with Image.open(io.BytesIO(data)) as there:
            return perceptual_hash(there)
    return None


def _fetched(delivery: Delivery, store: Store, shot: Shot) -> Image.Image | BadUpload:
    try:
        data = store.read(delivery.key, limit=delivery.size)
    except NotFound:
        return BadUpload("upload_missing", f"there is no upload at {delivery.key}")
    except Invalid:
        return BadUpload("wrong_checksum", f"the upload is larger than the {delivery.size} reported bytes")
    return checked(data, shot, sha256=delivery.sha256)


def _stored(delivery: Delivery, store: Store, final: bytes, content_type: str, withheld: str) -> Verdict:
    """Create the final object; where there is one already, it tells whose it is."""
    sha256 = hashlib.sha256(final).hexdigest()
    metadata = {"attempt": delivery.attempt_id, "sha256": sha256}
    if withheld:
        metadata["withheld"] = _header(withheld)
    for _ in range(_TRIES):
        if store.create(delivery.final_key, final, content_type=content_type, metadata=metadata):
            return Verdict(
                outcome="stored",
                attempt_id=delivery.attempt_id,
                sha256=sha256,
                size=len(final),
                withheld=withheld,
            )
        there = store.head(delivery.final_key)
        if there is not None:
            # Our own, when an earlier run of this very delivery stored it and ended before it could say so.
            owner = there.metadata.get("attempt")
            return Verdict(
                outcome="stored" if owner == delivery.attempt_id else "duplicate",
                attempt_id=owner,
                sha256=there.metadata.get("sha256"),
                size=there.size,
                # What is stored was judged then, and the same shot now.
                withheld=withheld or there.metadata.get("withheld", ""),
            )
    raise Unavailable(f"the store reports an existing object at {delivery.final_key}, but does not return it")


def _header(text: str) -> str:
    """As a header of HTTP can hold it."""
    return text.encode("ascii", "replace").decode()[:_LONGEST]
