"""`farm verify`: whether, when and by what this farm made a picture."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from pydantic import BaseModel

from common.errors import NotFound
from common.exports import MAX_PIXELS
from common.perceptual_hash import perceptual_hash
from common.views import PictureOrigin
from coordinator.cli import options
from coordinator.cli.connection import connect
from coordinator.cli.show import out, print_json
from coordinator.client import FarmClient
from coordinator.importing.pictures import is_picture, shot_id
from coordinator.pictures.credentials import (
    INSTALL,
    SignedClaim,
    can_read_credentials,
    read_credentials,
)
from coordinator.pictures.marks import has_mark

#: In every file with Content Credentials.
_HINT = b"c2pa.assertions"


class Verified(BaseModel):
    """What is known of a file."""

    file: str
    sha256: str
    #: None: nothing says that this farm made it.
    origin: PictureOrigin | None
    #: Whether its metadata says that a model made it (IPTC's `trainedAlgorithmicMedia`).
    marked: bool
    #: What its Content Credentials (C2PA) say; None: it has none, or `unread` ones.
    credentials: SignedClaim | None = None
    #: Whether it has Content Credentials that cannot be read here.
    unread: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    content: bytes


def _picture(given: str) -> _File:
    try:
        content = Path(given).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {given}: {error.strerror}") from None
    except ValueError:
        raise typer.BadParameter(f"`{given}` is no name of a file") from None
    if not is_picture(content):
        raise typer.BadParameter(f"{given} is no PNG, JPEG or WebP file")
    return _File(given, content)


def verify_command(
    file: Annotated[
        _File,
        typer.Argument(metavar="FILE", parser=_picture, help="A PNG, JPEG or WebP file."),
    ],
    settings: options.SettingsFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Say whether, when and by what this farm made a picture, and who signed it.

    It is known by its bytes, stored, exported or deleted since; with a key of one owner, among the owner's
    images only. A copy that was saved again, in another format or size, has other bytes and is known by what
    it shows; of other files, their metadata is told.

    Exit codes: 0 this farm made these bytes, 1 it did not, or nothing tells.

    Example: `farm verify mug.png`
    """
    content = file.content
    sha256 = hashlib.sha256(content).hexdigest()
    with connect(settings) as client:
        found = _origin(client, sha256, shot_id(content), hash_of(content))
    told = Verified(
        file=file.name,
        sha256=sha256,
        origin=found,
        marked=has_mark(content),
        credentials=read_credentials(content) if can_read_credentials() else None,
        unread=_HINT in content and not can_read_credentials(),
    )
    if as_json:
        print_json(told)
    else:
        out.say(answer(told))
    if found is None or not found.is_ours:
        raise typer.Exit(1)


def hash_of(content: bytes) -> str | None:
    """The perceptual hash of a file; None if it cannot be decoded, or is too large to try."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
            return perceptual_hash(image) if image.width * image.height <= MAX_PIXELS else None
    except Exception:
        # Decoders meet strange files with whatever error they come upon.
        return None


def _origin(
    client: FarmClient, sha256: str, named: str | None, perceptual_hash: str | None
) -> PictureOrigin | None:
    try:
        return client.origin(sha256, named, perceptual_hash)
    except NotFound:
        return None


def answer(told: Verified) -> str:
    """One sentence, and one of its Content Credentials if it has any."""
    return _known(told) + _signed(told)


def _signed(told: Verified) -> str:
    if told.unread:
        return f"; it has Content Credentials, which nothing here can read: `{INSTALL}`"
    if told.credentials is None:
        return ""
    if told.credentials.state == "broken":
        return "; its Content Credentials are broken: it was changed after it was signed"
    what = "that a model made it" if told.credentials.generated else "where it is from"
    signer = told.credentials.signer or "somebody without a name"
    return f"; its Content Credentials are intact: {signer} signed {what}"


def _known(told: Verified) -> str:
    one = told.origin
    if one is None:
        marked = "says that a model made it" if told.marked else "does not say that a model made it"
        return f"{told.file}: this farm does not know it; its metadata {marked}"
    shot = f"shot {one.shot_id[:12]}"
    how = f"on {_when(one.stored_at)} with {one.model} ({one.recipe}) on node {one.node}"
    match one.answer:
        case "stored":
            return f"{told.file}: this farm made it {how}; it is the stored image of {shot}"
        case "export":
            return f"{told.file}: this farm made it; it is an export of {shot}, which was rendered {how}"
        case "deleted":
            return f"{told.file}: this farm made it {how}; it was deleted on {_when(one.deleted_at)} ({shot})"
        case "alike":
            return (
                f"{told.file}: this farm did not make these bytes, but they show the image of {shot}, "
                f"rendered {how}: it is a copy that was saved again, or somebody made the same picture"
            )
        case "named":
            return (
                f"{told.file}: this farm did not make these bytes; their metadata names {shot}, rendered "
                f"{how}: it is a changed copy, or somebody else wrote that"
            )


def _when(at: float | None) -> str:
    return datetime.fromtimestamp(at or 0.0, UTC).strftime("%Y-%m-%d %H:%M UTC")
