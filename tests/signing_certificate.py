"""A certificate that signs Content Credentials, with the one of its maker: as an operator gets them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.settings import ContentCredentials

ORGANISATION = "Mugs & Co"
KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
_USES = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")


def _name(common: str) -> x509.Name:
    parts = (NameOID.ORGANIZATION_NAME, ORGANISATION), (NameOID.COMMON_NAME, common)
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def _begun(subject: str, key: CertificatePublicKeyTypes, *, is_root: bool) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    uses = dict.fromkeys((*_USES, "decipher_only"), False)
    uses |= {"digital_signature": not is_root, "key_cert_sign": is_root, "crl_sign": is_root}
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("root"))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**uses), critical=True)
    )


def signing_certificate(
    folder: Path,
    algorithm: str = "es256",
    *,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> ContentCredentials:
    """Files in `folder`, as the settings name them."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key, key = KEYS["es256"](), KEYS[algorithm]()
    root = _begun("root", root_key.public_key(), is_root=True)
    root = root.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False
    )
    leaf = _begun("farm", key.public_key(), is_root=False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    maker = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    leaf = leaf.add_extension(maker, critical=False)
    chain = (one.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM) for one in (leaf, root))
    (folder / "chain.pem").write_bytes(b"".join(chain))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ContentCredentials(certificate=folder / "chain.pem", key=folder / "key.pem")
