"""Content Credentials: small, told to be intact or broken, and refused where they cannot be made."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from PIL import Image

from common.errors import Invalid
from common.settings import ContentCredentials
from coordinator.pictures import credentials
from coordinator.pictures.credentials import SignedClaim, Signer, read_credentials
from coordinator.pictures.encode import CONTENT_TYPES, encoded
from coordinator.pictures.marks import has_mark
from tests.require import require_module
from tests.shots import MUG
from tests.signing_certificate import KEYS, ORGANISATION, signing_certificate

require_module("c2pa", "make setup-dev")

PICTURE = Image.radial_gradient("L").resize((64, 48)).convert("RGB")
INTACT = SignedClaim("intact", ORGANISATION, generated=True)


def file_of(image_format: str) -> bytes:
    shot = MUG._replace(format=image_format, quality=0 if image_format == "png" else 90)
    return encoded(PICTURE, shot, infotext="a mug", record="{}")


def signer_of(settings: ContentCredentials) -> Signer:
    signer = Signer.of(settings)
    assert signer is not None
    return signer


@pytest.mark.parametrize("image_format", CONTENT_TYPES)
@pytest.mark.parametrize("algorithm", KEYS)
def test_a_signed_picture_is_the_same_picture_and_intact_until_it_is_changed(
    image_format: str, algorithm: str, tmp_path: Path
) -> None:
    plain = file_of(image_format)
    signer = signer_of(signing_certificate(tmp_path, algorithm))
    signed = signer.signed(plain, CONTENT_TYPES[image_format])
    assert signer.algorithm == algorithm
    assert 2000 < len(signed) - len(plain) < 4000
    assert has_mark(signed)
    assert Image.open(io.BytesIO(signed)).tobytes() == Image.open(io.BytesIO(plain)).tobytes()
    assert read_credentials(signed) == INTACT
    told = read_credentials(signed.replace(b"trainedAlgorithmicMedia", b"somethingElseAsLongAsIt", 1))
    assert told is not None
    assert told.state == "broken"
    again = io.BytesIO()
    Image.open(io.BytesIO(signed)).save(again, image_format)
    assert read_credentials(again.getvalue()) is None
    assert read_credentials(plain) is None


def missing(folder: Path) -> ContentCredentials:
    made = signing_certificate(folder)
    assert made.key is not None
    made.key.unlink()
    return made


def swapped(folder: Path) -> ContentCredentials:
    made = signing_certificate(folder)
    return made.model_copy(update={"key": signing_certificate(folder / "other").key})


def of_a_server(folder: Path) -> ContentCredentials:
    return signing_certificate(folder, purpose=ExtendedKeyUsageOID.SERVER_AUTH)


def text(folder: Path) -> ContentCredentials:
    (folder / "a.pem").write_text("text")
    return ContentCredentials(certificate=folder / "a.pem", key=folder / "a.pem")


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (missing, r"cannot read .*key\.pem: No such file"),
        (swapped, r"other/key\.pem is not the key of the first certificate"),
        (text, r"must be PEM files"),
        (of_a_server, "the certificate is invalid; check `content_credentials`"),
    ],
)
def test_a_certificate_that_cannot_sign_is_named_with_what_to_change(
    spoilt: Callable[[Path], ContentCredentials], said: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=said):
        Signer.of(spoilt(tmp_path))


def test_a_farm_without_a_certificate_signs_nothing() -> None:
    assert Signer.of(ContentCredentials()) is None


def test_without_the_library_nothing_is_signed_and_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_library", lambda: None)
    with pytest.raises(Invalid, match=r"is not installed.*pip install 'shotfarm\[credentials\]'"):
        Signer.of(signing_certificate(tmp_path))
