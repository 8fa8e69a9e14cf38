"""Ingest against a real store: what it writes, and that any part of it may be done twice."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.classifiers import ClassifierForm
from common.errors import Unavailable
from common.exports import Export
from common.failures import FAILURES
from common.likeness import COARSE, FINE
from common.messages import Delivery, Screening
from common.perceptual_hash import perceptual_hash
from common.shot import Shot
from common.storage import MODELS
from common.storage.directory import DirectoryStore
from common.storage.signing import UrlSigner
from common.weights import read_header
from common.weights.classifier import classifier_form
from coordinator.ingest.classifier import LoadedClassifier
from coordinator.ingest.screening import Screener
from coordinator.ingest.work import ingest
from coordinator.ledger import StoredImage
from coordinator.pictures.credentials import SignedClaim, Signer, read_credentials
from coordinator.pictures.exporting import stored_export
from coordinator.pictures.thumbnail import thumbnail_key
from tests.require import require_module
from tests.shots import MUG
from tests.signing_certificate import ORGANISATION, signing_certificate
from tests.tiny_classifiers import save_classifier

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


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClassifierForm]:
    """The file of a small classifier, and its form."""
    folder = tmp_path_factory.mktemp("classifiers") / "x"
    save_classifier(folder, "vit")
    file = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_text())
    return file, classifier_form(read_header(file).tensors, config, {}, file.name)


def screened(classifier: tuple[Path, ClassifierForm], **thresholds: float) -> Screening:
    file, form = classifier
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return Screening(classifier="x", form=form, path=file.name, sha256=sha256, thresholds=thresholds)


def test_a_picture_is_withheld_from_the_score_on_that_the_lane_says(
    store: DirectoryStore, classifier: tuple[Path, ClassifierForm]
):
    file, form = classifier
    score = LoadedClassifier.of(form, file.read_bytes()).scores(Image.open(io.BytesIO(picture())))["nsfw"]
    sha256 = screened(classifier).sha256
    store.create_file(MODELS + sha256, file, sha256=sha256, content_type="x")
    screener = Screener((), store)
    for least, is_withheld in ((score + 0.01, False), (score - 0.01, True)):
        shot = SHOT._replace(seed=int(1000 * least))
        delivery = delivered(store, f"a-{is_withheld}", picture(), shot)
        delivery = delivery.model_copy(update={"screenings": (screened(classifier, nsfw=least),)})
        verdict = ingest(delivery, store, screener)
        assert verdict.outcome == "stored"
        assert verdict.withheld == (
            f"x: nsfw {score:.2f}, withheld from {least:.2f} on" if is_withheld else ""
        )
        assert store.head(delivery.final_key) is not None
        # Nothing is prepared for others to see.
        assert (store.head(thumbnail_key(delivery.final_key)) is None) == is_withheld
    # Another attempt, of a lane that orders nothing by now, finds the same object.
    again = delivered(store, "a-2", picture(turned=True), shot)
    assert ingest(again, store).withheld == verdict.withheld


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (None, "neither here nor in the store"),
        (b"no weights", "is damaged"),
        (MemoryError, "no memory for that"),
    ],
)
def test_a_picture_that_cannot_be_judged_is_withheld_and_says_why(
    file: Any, said: str, store: DirectoryStore, classifier: tuple[Path, ClassifierForm]
):
    screening = screened(classifier, nsfw=1.0)
    if file is not None:
        store.create(MODELS + screening.sha256, b"no weights", content_type="x", metadata={})
    delivery = delivered(store, "a-1", picture()).model_copy(update={"screenings": (screening,)})
    screener = Full((), store) if file is MemoryError else Screener((), store)
    verdict = ingest(delivery, store, screener)
    assert verdict.outcome == "stored"
    assert said in verdict.withheld
    assert "`farm models check x`" in verdict.withheld


class Full(Screener):
    """On a machine without memory for a file."""

    def _file(self, screening: Screening) -> bytes:
        raise MemoryError


def test_a_picture_waits_for_a_store_that_does_not_give_its_classifier(
    store: DirectoryStore, classifier: tuple[Path, ClassifierForm]
):
    class Away(Screener):
        def _file(self, screening: Screening) -> bytes:
            raise Unavailable("the store does not answer")

    delivery = delivered(store, "a-1", picture())
    delivery = delivery.model_copy(update={"screenings": (screened(classifier, nsfw=1.0),)})
    verdict = ingest(delivery, store, Away((), store))
    assert (verdict.outcome, verdict.message) == ("put off", "the store does not answer")


def test_the_signed_file_is_the_one_that_is_stored_and_known(store: DirectoryStore, tmp_path: Path):
    require_module("c2pa", "make setup-dev")
    signer = Signer.of(signing_certificate(tmp_path / "certificate"))
    delivery = delivered(store, "a-1", picture())
    first = ingest(delivery, store, signer=signer)
    final = store.read(delivery.final_key, limit=10**6)
    assert (first.sha256, first.size) == (hashlib.sha256(final).hexdigest(), len(final))
    assert read_credentials(final) == SignedClaim("intact", ORGANISATION, generated=True)
    # A signature has its time, so another run makes other bytes: those that are stored count.
    again = ingest(delivery, store, signer=signer)
    assert (again.outcome, again.sha256) == ("stored", first.sha256)
    export = Export(name="thumb", width=48, height=32)
    image = StoredImage(delivery.final_key, first.sha256 or "", len(final), SHOT, "", "fp32", export)
    there = stored_export(image, store, signer)
    made = store.read(there.key, limit=10**6)
    assert hashlib.sha256(made).hexdigest() == there.metadata["sha256"]
    assert read_credentials(made) == SignedClaim("intact", ORGANISATION, generated=True)


def test_an_upload_is_put_off_while_it_cannot_be_signed(store: DirectoryStore, tmp_path: Path):
    require_module("c2pa", "make setup-dev")
    signer = Signer.of(signing_certificate(tmp_path / "certificate"))
    assert signer is not None
    delivery = delivered(store, "a-1", picture())
    verdict = ingest(delivery, store, signer=replace(signer, algorithm="es384"))
    assert verdict.outcome == "put off"
    assert "Content Credentials cannot be signed" in verdict.message
    assert store.head(delivery.final_key) is None
