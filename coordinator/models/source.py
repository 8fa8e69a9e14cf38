"""Where a model comes from: its files, wherever they lie, before any is fetched."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from common.errors import Invalid, NotFound
from common.weights import Header, parse_header
from coordinator.models.web import Web, shown

_HUB = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?P<path>/[^@]+)?(?:@(?P<revision>[\w./-]+))?(?P<late>:[^:]+)?"
)
#: Bytes; configs and tokenizers are smaller.
_LARGEST_TEXT = 50_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    #: Relative, with `/`.
    path: str
    size: int
    #: On this machine, or the address.
    place: Path | str
    #: Hex digest that the source publishes.
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The files of a repository, an address or a folder."""

    #: As it is written in the catalog: `hf:REPO@COMMIT`, an address without its query, a path.
    origin: str
    #: Last part of the name of repository, folder or file.
    name: str
    files: tuple[SourceFile, ...]
    web: Web
    #: As the source names it; empty if it does not.
    license: str = ""
    #: Whether `files` is the one file that was asked for.
    is_file: bool = False

    def file(self, path: str) -> SourceFile | None:
        return next((file for file in self.files if file.path == path), None)

    def header(self, file: SourceFile) -> Header:
        """Raises Invalid if it is no complete weight file."""
        return parse_header(lambda start, length: self.read(file, start, length), file.size, file.path)

    def json(self, path: str) -> Any:
        """Raises Invalid if the file is missing or no JSON."""
        file = self.file(path)
        if file is None:
            raise Invalid(f"{self.origin} has no {path}")
        if file.size > _LARGEST_TEXT:
            raise Invalid(f"{self.origin}: {path} is damaged: it has {file.size:,} bytes")
        try:
            return json.loads(self.read(file, 0, file.size) if file.size else b"")
        except (ValueError, RecursionError):
            raise Invalid(f"{self.origin}: {path} is no JSON; fetch the model again") from None

    def read(self, file: SourceFile, start: int, length: int) -> bytes:
        if isinstance(file.place, str):
            return self.web.read(file.place, start, length)
        with file.place.open("rb") as opened:
            opened.seek(start)
            return opened.read(length)


def open_source(said: str, web: Web) -> Source:
    """`hf:REPO[@revision]`, `hf:REPO/FILE[@revision]`, an address, a folder or a file.

    Raises Invalid, NotFound, Forbidden or Unavailable.
    """
    if said.startswith("hf:"):
        return _hub(said, web)
    if re.match(r"https?://", said):
        return _address(said, web)
    path = Path(said).expanduser().absolute()
    if path.is_dir():
        return _folder(path, web)
    if path.is_file():
        file = SourceFile(path=path.name, size=path.stat().st_size, place=path)
        return Source(origin=str(path), name=path.stem, files=(file,), web=web, is_file=True)
    raise NotFound(
        f"{said}: no such file or folder, and no model of the built-in catalog; "
        "write a model of the hub as hf:OWNER/NAME"
    )


def _folder(path: Path, web: Web) -> Source:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    found = tuple(
        SourceFile(path=file.relative_to(path).as_posix(), size=file.stat().st_size, place=file)
        for file in files
        if not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    return Source(origin=str(path), name=path.name, files=found, web=web)


def _address(url: str, web: Web) -> Source:
    if found := re.fullmatch(rf"{re.escape(web.hub)}/([\w.-]+/[\w.-]+)/?", url):
        return _hub(f"hf:{found[1]}", web)
    if found := re.fullmatch(
        rf"{re.escape(web.hub)}/([\w.-]+/[\w.-]+)/(?:blob|resolve)/([^/]+)/([^?]+).*", url
    ):
        return _hub(f"hf:{found[1]}/{found[3]}@{found[2]}", web)
    told = web.look(url)
    file = SourceFile(path=told.name, size=told.size, place=url)
    return Source(origin=shown(url), name=Path(told.name).stem, files=(file,), web=web, is_file=True)


def _hub(said: str, web: Web) -> Source:
    match = _HUB.fullmatch(said)
    if match is None or match["late"]:
        raise Invalid(f"{said}: write hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME/FILE@REVISION")
    repo, revision = match["repo"], match["revision"] or "main"
    about, _ = web.json(f"{web.hub}/api/models/{repo}/revision/{quote(revision, safe='')}")
    commit = str(about.get("sha") or revision) if isinstance(about, dict) else revision
    source = Source(
        origin=f"hf:{repo}@{commit}",
        name=repo.rpartition("/")[2],
        files=_tree(web, repo, commit),
        web=web,
        license=_hub_license(about),
    )
    wanted = (match["path"] or "").strip("/")
    if not wanted:
        return source
    file = source.file(wanted)
    if file is None:
        raise NotFound(
            f"hf:{repo} has no file {wanted} at {commit[:12]}; see {web.hub}/{repo}/tree/{revision}"
        )
    origin = f"hf:{repo}/{wanted}@{commit}"
    return replace(source, origin=origin, name=PurePosixPath(wanted).stem, files=(file,), is_file=True)


def _tree(web: Web, repo: str, commit: str) -> tuple[SourceFile, ...]:
    url = f"{web.hub}/api/models/{repo}/tree/{commit}?recursive=true"
    found = []
    while url:
        page, url = web.json(url)
        for entry in page if isinstance(page, list) else ():
            path = str(entry.get("path", ""))
            if entry.get("type") == "file" and _is_inside(path):
                found.append(_hub_file(web, repo, commit, path, entry))
    return tuple(found)


def _hub_file(web: Web, repo: str, commit: str, path: str, entry: dict[str, Any]) -> SourceFile:
    stored = entry.get("lfs") or {}
    return SourceFile(
        path=path,
        size=int(stored.get("size", entry.get("size", 0))),
        place=f"{web.hub}/{repo}/resolve/{commit}/{quote(path)}",
        sha256=str(stored["oid"]) if re.fullmatch(r"[0-9a-f]{64}", str(stored.get("oid", ""))) else None,
    )


def _is_inside(path: str) -> bool:
    """Whether a path stays below the folder that it is relative to."""
    return bool(path) and not path.startswith("/") and "\\" not in path and ".." not in path.split("/")


def _hub_license(about: Any) -> str:
    card = about.get("cardData") if isinstance(about, dict) else None
    said = card.get("license") if isinstance(card, dict) else None
    named = card.get("license_name") if isinstance(card, dict) and said == "other" else None
    return str(named or said or "")
