"""Certificates of the gateway: one of its own, and the pin by which nodes know its key."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.errors import Invalid
from common.keys import write_private
from common.settings import Settings

#: Nodes go by the key alone; others should not find the certificate to have expired.
_VALID_DAYS = 20 * 365


def own_certificate(file: Path) -> Path:
    """The file with a private key and a certificate for it (PEM), made where it does not exist.

    Of several processes that make it at once, all get that of the first. Raises Invalid where it cannot be
    written.
    """
    if not file.exists():
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = file.with_name(f"{file.name}.{os.getpid()}")
            write_private(draft, _new_certificate())
            with suppress(FileExistsError):
                os.link(draft, file)
            draft.unlink()
        except OSError as error:
            raise Invalid(
                f"{file}: the certificate of the gateway cannot be written ({error.strerror}); "
                "make the folder writable, or set `gateway.certificate`"
            ) from None
    return file


def pin_of(file: Path) -> str:
    """The pin of the certificate in a PEM file. Raises Invalid."""
    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise Invalid(f"{file}: no certificate can be read from it ({error})") from None
    return _pin(found)


def pin_for_nodes(settings: Settings) -> str:
    """The pin that invitations name; empty where nodes check the gateway's name. Raises Invalid."""
    gateway = settings.gateway
    if not gateway.tls:
        return ""
    if gateway.certificate is None:
        return pin_of(own_certificate(settings.gateway_certificate))
    return pin_of(gateway.certificate) if gateway.pinned else ""


def pin_of_der(certificate: bytes) -> str:
    """The pin of a certificate as a server sends it. Raises ValueError for what is none."""
    return _pin(x509.load_der_x509_certificate(certificate))


def _pin(certificate: x509.Certificate) -> str:
    """SHA-256 of the SubjectPublicKeyInfo (RFC 7469) as base64url without padding, 43 characters."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return urlsafe_b64encode(sha256(key).digest()).decode().rstrip("=")


def _new_certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shotfarm gateway")])
    # Clocks of nodes may be behind.
    begins = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=_VALID_DAYS))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode()
