"""Files imported as the command does, and the shots that their manifests make."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.catalog import Catalog, load_catalog
from common.document.typed import plain
from common.manifest.files import FileReader
from common.manifest.parse import parse_manifest
from common.shot import Shot
from coordinator.expand import expand
from coordinator.importing import recognition
from coordinator.importing.composing import Choices, composed
from coordinator.importing.imported import Account
from coordinator.importing.writing import written

CATALOG: Catalog = load_catalog(())


@dataclass(frozen=True)
class Imported:
    text: str
    account: Account
    folder: Path

    @property
    def shots(self) -> list[Shot]:
        return [planned.shot for planned in self._expanded()]

    @property
    def names(self) -> list[str]:
        return [planned.name for planned in self._expanded()]

    @property
    def ids(self) -> list[str]:
        return [planned.id for planned in self._expanded()]

    def _expanded(self) -> Any:
        parsed = parse_manifest(self.text, source="m.yaml", files=FileReader(self.folder), catalog=CATALOG)
        return expand(parsed, CATALOG)

    @property
    def document(self) -> Any:
        parsed = parse_manifest(self.text, source="m.yaml", files=FileReader(self.folder), catalog=CATALOG)
        return plain(parsed.text.root)

    @property
    def taken(self) -> dict[str, str]:
        """Our name to theirs."""
        return {each.ours: each.theirs for each in self.account.taken}

    @property
    def left(self) -> dict[str, str]:
        return {each.what: each.why for each in self.account.left}


def imported(
    content: str | bytes,
    name: str = "list.txt",
    *,
    kind: str | None = None,
    folder: Path = Path("/nonexistent"),
    **choices: Any,
) -> Imported:
    data = content.encode() if isinstance(content, str) else content
    account = Account()
    source = recognition.recognised(data, name, account, kind)
    document = composed(source, CATALOG, account, Choices(**choices), name=Path(name).stem, file=name)
    return Imported(written(document), account, folder)


def fields(found: Imported, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each shot what is wanted of it."""
    return [{key: getattr(shot, key) for key in each} for shot, each in zip(found.shots, wanted, strict=True)]


def png(**texts: str | bytes) -> bytes:
    """A picture of one pixel with `tEXt` chunks."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))]
    chunks += [
        (b"tEXt", key.encode() + b"\0" + (text if isinstance(text, bytes) else text.encode()))
        for key, text in texts.items()
    ]
    chunks += [(b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def as_json(data: Any) -> str:
    return json.dumps(data)
