"""A server that behaves like the Hugging Face hub: trees, redirects to content by hash, ranges, logins.

Files that the hub stores by LFS are those of 1 kB and more.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "c" * 40
TOKEN = "hf_token"
_LFS = 1000


@dataclass(slots=True)
class Hub:
    url: str = ""
    #: Repository to path to content.
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    #: Repository to what its card says.
    licenses: dict[str, str] = field(default_factory=dict)
    #: Repositories that need a login.
    gated: set[str] = field(default_factory=set)
    #: The connection breaks after so many bytes of each answer with content.
    breaks_after: int | None = None
    #: How often it does; None: always.
    breaks: int | None = None
    #: The content arrives with its last byte changed.
    damages: bool = False
    #: Answers with the whole content whatever range is asked for.
    ignores_ranges: bool = False
    #: Path and range of each request for content.
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: Authorization header of each request, by path.
    authorized: dict[str, str] = field(default_factory=dict)
    #: Answers of other addresses: path to content.
    others: dict[str, bytes] = field(default_factory=dict)

    def add_folder(self, repo: str, folder: Path) -> None:
        self.repos[repo] = {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }


@contextmanager
def used_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """A hub that runs and is the one of this process, without tokens; `folder` holds its cache."""
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    # Else the second write of an answer waits 40 ms for the acknowledgement of the first.
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.authorized[path] = self.headers.get("Authorization", "")
        if found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/revision/(.+)", path):
            self._about(found[1])
        elif found := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/tree/(.+)", path):
            self._tree(found[1])
        elif found := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/[^/]+/(.+)", path):
            self._resolve(found[1], found[2])
        elif found := re.fullmatch(r"/cdn/([0-9a-f]{64})", path):
            self._content(self._by_hash(found[1]), f'"{found[1]}"')
        elif path in self.hub.others:
            content = self.hub.others[path]
            self._content(content, f'"{hashlib.sha256(content).hexdigest()[:8]}"')
        else:
            self._say(404, {"error": "not found"})

    def _about(self, repo: str) -> None:
        if self._is_open(repo, gate=False):
            card = {"license": self.hub.licenses[repo]} if repo in self.hub.licenses else {}
            self._say(200, {"id": repo, "sha": COMMIT, "cardData": card})

    def _tree(self, repo: str) -> None:
        if not self._is_open(repo, gate=False):
            return
        files = sorted(self.hub.repos[repo].items())
        start = int(re.search(r"cursor=(\d+)", self.path)[1]) if "cursor=" in self.path else 0  # type: ignore[index]
        entries = [{"type": "directory", "path": "x", "size": 0, "oid": "0" * 40}]
        entries += [_entry(path, content) for path, content in files[start : start + 5]]
        following = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={start + 5}"
        more = {"Link": f'<{following}>; rel="next"'} if start + 5 < len(files) else {}
        self._say(200, entries, more)

    def _resolve(self, repo: str, path: str) -> None:
        if not self._is_open(repo, gate=True):
            return
        content = self.hub.repos[repo].get(path)
        if content is None:
            self._say(404, {"error": "Entry not found"})
        elif len(content) < _LFS:
            self._content(content, f'"{hashlib.sha1(content).hexdigest()}"')
        else:
            digest = hashlib.sha256(content).hexdigest()
            where = f"{self.hub.url.replace('127.0.0.1', 'localhost')}/cdn/{digest}"
            self._say(302, {}, {"Location": where, "X-Linked-Etag": f'"{digest}"'})

    def _is_open(self, repo: str, *, gate: bool) -> bool:
        """Of a gated repository the hub tells everybody which files it has."""
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo not in self.hub.repos:
            self._say(401, {"error": "Invalid username or password."})
        elif gate and repo in self.hub.gated and not allowed:
            self._say(401, {"error": "Access to this model is restricted."})
        else:
            return True
        return False

    def _by_hash(self, digest: str) -> bytes:
        contents = [content for files in self.hub.repos.values() for content in files.values()]
        return next(content for content in contents if hashlib.sha256(content).hexdigest() == digest)

    def _content(self, content: bytes, etag: str) -> None:
        asked = self.headers.get("Range", "")
        is_same = self.headers.get("If-Range", etag) == etag
        self.hub.requests.append((unquote(urlsplit(self.path).path), asked))
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        status, first, last = 200, 0, len(content)
        if found and is_same and not self.hub.ignores_ranges:
            first, last = int(found[1]), min(int(found[2] or len(content)) + 1, len(content))
            status = 206 if first < len(content) else 416
        sent = content[first:last] if status != 416 else b""
        if self.hub.damages and sent and last == len(content):
            sent = sent[:-1] + bytes([sent[-1] ^ 1])
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(content)}")
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self._send(sent)

    def _send(self, sent: bytes) -> None:
        limit = self.hub.breaks_after
        if limit is None or limit >= len(sent) or self.hub.breaks == 0:
            self.wfile.write(sent)
            return
        if self.hub.breaks is not None:
            self.hub.breaks -= 1
        self.wfile.write(sent[:limit])
        self.close_connection = True

    def _say(self, status: int, said: Any, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(said).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
    if len(content) >= _LFS:
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
    return entry
