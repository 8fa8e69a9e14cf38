"""Content Credentials: a manifest of C2PA in a picture, signed with the certificate of the farm.

Written last, since it covers all other bytes of the file: whoever saves the picture again removes or breaks
it. https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.errors import Invalid, Unavailable
from common.settings import ContentCredentials
from coordinator.pictures.marks import SOURCE_TYPE

#: Of the package with the library.
INSTALL = "pip install 'shotfarm[credentials]'"
#: No pictures in pictures (100 kB), and no calls of other servers.
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {
        "verify_after_sign": False,
        "verify_trust": False,
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
    },
}
#: A PNG file of one pixel: a certificate that cannot sign it can sign nothing.
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
#: How files begin.
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "image/webp"}
_STATES: dict[str, Literal["intact", "broken"]] = {
    "Valid": "intact",
    "Trusted": "intact",
    "Invalid": "broken",
}


@dataclass(frozen=True, slots=True)
class SignedClaim:
    """What a picture's Content Credentials say."""

    #: `intact`: its bytes are those that were signed. Whether the signer may be believed is another question.
    state: Literal["intact", "broken"]
    #: Organisation of the certificate; empty if it cannot be read.
    signer: str
    #: Whether they say that a model made it.
    generated: bool


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs pictures. Thread-safe."""

    certificate: bytes
    key: bytes
    #: Of C2PA, such as `es256`.
    algorithm: str
    _library: Any
    _manifest: str

    @classmethod
    def of(cls, settings: ContentCredentials) -> Signer | None:
        """None if the farm has no certificate. Raises Invalid if it cannot sign with it."""
        if settings.certificate is None or settings.key is None:
            return None
        library = _installed("for `content_credentials` in the settings")
        certificate, key = _read(settings.certificate), _read(settings.key)
        made = cls(certificate, key, _algorithm(certificate, key, settings), library, _manifest())
        try:
            made.signed(_PIXEL, "image/png")
        except Unavailable as error:
            raise Invalid(str(error)) from None
        return made

    def signed(self, picture: bytes, content_type: str) -> bytes:
        """`picture` with the manifest, about 3 kB more. Raises Unavailable if it cannot be signed."""
        library, out = self._library, io.BytesIO()
        try:
            info = library.C2paSignerInfo(self.algorithm.encode(), self.certificate, self.key, None)
            with (
                library.Context(library.Settings.from_dict(_SETTINGS)) as context,
                library.Signer.from_info(info) as signer,
                library.Builder(self._manifest, context) as builder,
            ):
                builder.sign(signer, content_type, io.BytesIO(picture), out)
        except library.C2paError as error:
            raise Unavailable(
                f"Content Credentials cannot be signed: {error}; check `content_credentials` in the settings"
            ) from None
        return out.getvalue()


def with_credentials(picture: bytes, content_type: str, signer: Signer | None) -> bytes:
    """Signed, if the farm has a certificate."""
    return picture if signer is None else signer.signed(picture, content_type)


def read_credentials(picture: bytes) -> SignedClaim | None:
    """What the Content Credentials of a PNG, JPEG or WebP file say; None if it has none.

    Raises Invalid if the library is not installed.
    """
    library = _installed("to read Content Credentials")
    content_type = next(kind for start, kind in _KINDS.items() if picture.startswith(start))
    try:
        with (
            library.Context(library.Settings.from_dict(_SETTINGS)) as context,
            library.Reader(content_type, io.BytesIO(picture), context=context) as reader,
        ):
            state, active = _STATES.get(reader.get_validation_state(), "broken"), reader.get_active_manifest()
    except library.C2paError as error:
        return None if "ManifestNotFound" in str(error) else SignedClaim("broken", "", generated=False)
    told = active or {}
    signer = told.get("signature_info", {}).get("issuer") or ""
    return SignedClaim(state, signer, generated=SOURCE_TYPE in json.dumps(told.get("assertions", [])))


def can_read_credentials() -> bool:
    """Whether the library is installed."""
    return _library() is not None


def _library() -> Any:
    """A native one of 23 MB, which a farm without a certificate does not need; None: it does not work."""
    try:
        return import_module("c2pa")
    except (ImportError, OSError, RuntimeError):  # without its native part as well
        return None


def _installed(what_for: str) -> Any:
    library = _library()
    if library is None:
        raise Invalid(f"a package is not installed that is needed {what_for}: `{INSTALL}`")
    return library


def _manifest() -> str:
    """Nothing of the prompt, nor of the job."""
    program = {"name": "Shotfarm", "version": version("shotfarm")}
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": program}
    return json.dumps(
        {
            "claim_generator_info": [program],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
        }
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"content_credentials: cannot read {file}: {error.strerror}") from None


def _algorithm(certificate: bytes, key: bytes, settings: ContentCredentials) -> str:
    """Of the key. Raises Invalid if it is none for C2PA, or not that of the certificate."""
    try:
        found = load_pem_private_key(key, None)
        holder = x509.load_pem_x509_certificates(certificate)[0]
    except (ValueError, TypeError):
        raise Invalid(
            f"content_credentials: {settings.certificate} and {settings.key} must be PEM files, one with the "
            "chain of certificates, one with its key without a password"
        ) from None
    if holder.public_key() != found.public_key():
        raise Invalid(
            f"content_credentials: {settings.key} is not the key of the first certificate in "
            f"{settings.certificate}"
        )
    match found:
        case EllipticCurvePrivateKey(curve=SECP256R1()):
            return "es256"
        case EllipticCurvePrivateKey(curve=SECP384R1()):
            return "es384"
        case Ed25519PrivateKey():
            return "ed25519"
        case RSAPrivateKey():
            return "ps256"
    raise Invalid(f"content_credentials: {settings.key} is none of P-256, P-384, Ed25519 and RSA")
