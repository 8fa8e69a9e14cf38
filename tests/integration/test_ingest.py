"""Ingest against a real store: what it writes, and that any part of it may be done twice."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from common.failures import FAILURES
from common.likeness import COARSE, FINE
from common.messages import Delivery
from common.shot import Shot
from common.storage.directory import DirectoryStore
from common.storage.signing import UrlSigner
from coordinator.ingest.work import ingest
from coordinator.pictures.perceptual_hash import perceptual_hash
from tests.shots import MUG

SHOT = MUG._replace(width=96, height=64)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path, UrlSigner("secret", "http://farm"))


def picture(turned: bool = False) -> bytes:
    image = Image.linear_gradient("L").resize((SHOT.width, SHOT.height)).convert("RGB")
    out = io.BytesIO()
    (image.transpose(Image.Transpose.ROTATE_180) if turned else image).save(out, "PNG")
    return out.getvalue()


def delivered(store: DirectoryStore, attempt: str, data: bytes, shot: Shot = SHOT) -> Delivery:
    """An upload in quarantine and what the coordinator says of it."""
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"quarantine/b-{attempt}/{shot.id}/{sha256}"
    store.create(key, data, content_type="image/png", metadata={})
    return Delivery(
        attempt_id=attempt,
        shot_id=shot.id,
        spec=shot.to_dict(),
        template="a {colour} mug",
        key=key,
        sha256=sha256,
        size=len(data),
        final_key=f"images/{shot.id[:2]}/{shot.id}.{shot.format}",
        model_hash=shot.model_identity,
        node="node-1",
        recipe="fp32",
    )


def test_the_first_upload_of_a_shot_is_stored_under_its_own_name(store: DirectoryStore):
    delivery = delivered(store, "a-1", picture())
    verdict = ingest(delivery, store)
    final = store.read(delivery.final_key, limit=10**6)
    assert verdict.outcome == "stored"
    assert (verdict.sha256, verdict.size) == (hashlib.sha256(final).hexdigest(), len(final))
    head = store.head(delivery.final_key)
    assert head is not None
    assert (head.content_type, head.metadata) == ("image/png", {"attempt": "a-1", "sha256": verdict.sha256})
    assert verdict.seconds > 0
    assert len(verdict.perceptual_hash or "") == COARSE + FINE


def test_a_run_that_ended_before_its_verdict_is_repeated_with_the_same_answer(store: DirectoryStore):
    delivery = delivered(store, "a-1", picture())
    first = ingest(delivery, store)
    again = ingest(delivery, store)
    assert (again.outcome, again.sha256, again.size) == ("stored", first.sha256, first.size)


def test_the_second_upload_of_a_shot_is_a_duplicate_and_changes_nothing(store: DirectoryStore):
    first = ingest(delivered(store, "a-1", picture()), store)
    delivery = delivered(store, "a-2", picture(turned=True))
    second = ingest(delivery, store)
    assert (second.outcome, second.sha256) == ("duplicate", first.sha256)
    # It tells what the stored image shows, whose node may have to be verified.
    assert (second.attempt_id, second.perceptual_hash) == ("a-1", first.perceptual_hash)
    turned = Image.open(io.BytesIO(picture(turned=True)))
    assert second.perceptual_hash != perceptual_hash(turned)
    final = store.read(delivery.final_key, limit=10**6)
    assert hashlib.sha256(final).hexdigest() == first.sha256


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG"])
def test_nothing_that_rides_on_an_upload_reaches_the_stored_image(tmp_path: Path, image_format: str):
    shot = SHOT._replace(format=image_format.lower(), quality=0 if image_format == "PNG" else 90)
    out = io.BytesIO()
    Image.open(io.BytesIO(picture())).save(out, image_format)
    finals = []
    for name, behind in (("bare", b""), ("laden", b"PK\x03\x04 and the rest of an archive")):
        store = DirectoryStore(tmp_path / name, UrlSigner("secret", "http://farm"))
        delivery = delivered(store, "a-1", out.getvalue() + behind, shot)
        assert ingest(delivery, store).outcome == "stored"
        finals.append(store.read(delivery.final_key, limit=10**6))
    assert finals[0] == finals[1]


@pytest.mark.parametrize(
    ("image_format", "kind"), [("png", "image/png"), ("webp", "image/webp"), ("jpeg", "image/jpeg")]
)
def test_the_stored_image_has_the_format_that_was_asked_for(
    store: DirectoryStore, image_format: str, kind: str
):
    shot = SHOT._replace(format=image_format, quality=0 if image_format == "png" else 90)
    delivery = delivered(store, "a-1", picture(), shot)
    assert ingest(delivery, store).outcome == "stored"
    head = store.head(delivery.final_key)
    assert head is not None
    assert head.content_type == kind
    assert Image.open(io.BytesIO(store.read(delivery.final_key, limit=10**6))).format == image_format.upper()


def test_a_missing_upload_is_refused_as_such(store: DirectoryStore):
    delivery = delivered(store, "a-1", picture())
    store.delete(delivery.key)
    verdict = ingest(delivery, store)
    assert (verdict.outcome, verdict.failure) == ("rejected", "upload_missing")
    assert verdict.failure in FAILURES


def test_an_upload_is_put_off_while_the_store_takes_no_pictures(store: DirectoryStore):
    delivery = delivered(store, "a-1", picture())
    in_the_way = store.root / "images"
    in_the_way.write_bytes(b"")
    verdict = ingest(delivery, store)
    assert verdict.outcome == "put off"
    assert "cannot be used" in verdict.message
    in_the_way.unlink()
    assert ingest(delivery, store).outcome == "stored"


def test_an_upload_larger_than_reported_is_not_even_read(store: DirectoryStore):
    delivery = delivered(store, "a-1", picture())
    verdict = ingest(delivery.model_copy(update={"size": 10}), store)
    assert (verdict.outcome, verdict.failure) == ("rejected", "wrong_checksum")


def test_nothing_is_stored_of_a_refused_upload(store: DirectoryStore):
    delivery = delivered(store, "a-1", picture()[:-100])
    assert ingest(delivery, store).outcome == "rejected"
    assert store.head(delivery.final_key) is None
