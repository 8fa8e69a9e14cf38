"""Reading of files over HTTP: whole, a range, or on from where a broken download ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import unquote, urlsplit

import httpx

from common.errors import FarmError, Forbidden, Invalid, NotFound, Unavailable

_TIMEOUT = httpx.Timeout(30, connect=15)
#: Seconds before each further attempt after a connection broke or a server was busy.
PAUSES_S = (0.5, 2.0, 5.0, 10.0)
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class WebFile:
    """What a server says of a file before it is fetched."""

    #: Its name, from the server's answer or the address.
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A file, or the rest of one, on its way."""

    #: Bytes of the file before the first chunk; 0 if the server sends it from its start.
    start: int
    #: Validator for going on later; empty if the server gives none that is strong.
    etag: str
    chunks: Iterator[bytes]


class Web:
    """Fetches files. Every method raises a FarmError with one sentence and the remedy.

    A token is sent to the hub alone, never to an address that the hub redirects to.
    """

    def __init__(self, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.pause = pause
        self.hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
        self._token = _hub_token()
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def json(self, url: str) -> tuple[Any, str]:
        """The answer, and the address of the next page of it; empty if this is the last."""
        answer = self._repeated(url, {})
        try:
            return answer.json(), str(answer.links.get("next", {}).get("url", ""))
        except ValueError:
            raise Unavailable(
                f"{shown(url)} does not answer as the Hugging Face hub does; check HF_ENDPOINT"
            ) from None

    def look(self, url: str) -> WebFile:
        """Name and size of a file; servers that sign addresses often refuse HEAD, so one byte is fetched."""
        with self._answer(url, {"Range": "bytes=0-0"}) as answer:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            size = (
                total
                if answer.status_code == httpx.codes.PARTIAL_CONTENT
                else answer.headers.get("Content-Length")
            )
            if not (size or "").isdigit():
                raise Invalid(
                    f"{shown(url)}: the server does not state the size of the file; download it by hand"
                )
            return WebFile(_file_name(answer, url), int(size))

    def read(self, url: str, start: int, length: int) -> bytes:
        """Bytes of a file; fewer only at its end."""
        with self._answer(url, {"Range": f"bytes={start}-{start + length - 1}"}) as answer:
            if answer.status_code != httpx.codes.PARTIAL_CONTENT and start:
                raise Invalid(f"{shown(url)}: the server sends no ranges of files; download it by hand")
            held = b""
            for chunk in answer.iter_raw():
                held += chunk
                if len(held) >= length:
                    break
            return held[:length]

    @contextmanager
    def stream(self, url: str, start: int, etag: str) -> Iterator[Stream]:
        """The file from byte `start` on if it is still the one that `etag` names, else from its start.

        Raises httpx.TransportError, also between chunks, if the connection breaks.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and etag:
            headers["If-Range"] = etag
        with self._http.stream("GET", url, headers=headers | self._headers(url)) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise Restart
            _check(answer, url, self.hub)
            told = answer.headers.get("ETag", "")
            yield Stream(
                start=start if answer.status_code == httpx.codes.PARTIAL_CONTENT else 0,
                etag="" if told.startswith("W/") else told,
                # Chunks as they arrive: larger ones would be lost if the connection breaks.
                chunks=answer.iter_raw(),
            )

    def _headers(self, url: str) -> dict[str, str]:
        own = {"Accept-Encoding": "identity"}
        if self._token and url.startswith(f"{self.hub}/"):
            own["Authorization"] = f"Bearer {self._token}"
        return own

    def _repeated(self, url: str, headers: dict[str, str]) -> httpx.Response:
        with self._answer(url, headers) as answer:
            answer.read()
            return answer

    @contextmanager
    def _answer(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """A successful answer; a server that is busy or breaks the connection is asked again."""
        for pause in (*PAUSES_S[:2], None):
            try:
                with self._http.stream("GET", url, headers=headers | self._headers(url)) as answer:
                    if answer.status_code in _BUSY and pause is not None:
                        self.pause(pause)
                        continue
                    _check(answer, url, self.hub)
                    yield answer
                    return
            except httpx.InvalidURL:
                raise Invalid(f"{shown(url)} is no address") from None
            except httpx.TransportError as error:
                if pause is None or isinstance(error, httpx.UnsupportedProtocol):
                    raise unreachable(url, error) from None
                self.pause(pause)


class Restart(Exception):
    """The server has not as many bytes as have been fetched: begin again."""


def shown(url: str) -> str:
    """The address without what may be a secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def unreachable(url: str, error: httpx.TransportError) -> FarmError:
    why = str(error).strip().rstrip(".") or type(error).__name__
    return Unavailable(
        f"{shown(url)}: the connection failed ({why}); check the network and run the command again"
    )


def _hub_token() -> str:
    if token := os.environ.get("HF_TOKEN", "").strip():
        return token
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    file = Path(os.environ.get("HF_TOKEN_PATH") or home / "token")
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _check(answer: httpx.Response, url: str, hub: str) -> None:
    if answer.is_success:
        return
    if answer.status_code in (401, 403):
        _refused(url, hub)
    if answer.status_code in (404, 410):
        raise NotFound(f"{shown(url)} does not exist (status {answer.status_code}); check the spelling")
    raise Unavailable(f"{shown(url)}: the server answers with status {answer.status_code}; try again later")


def _refused(url: str, hub: str) -> NoReturn:
    if url.startswith(f"{hub}/"):
        repo = "/".join(urlsplit(url).path.removeprefix("/api/models").split("/")[1:3])
        raise Forbidden(
            f"{repo} needs a login: accept its terms at {hub}/{repo}, create a token at "
            f"{hub}/settings/tokens, and set HF_TOKEN to it (a misspelled name gets the same answer)"
        )
    raise Forbidden(
        f"{shown(url)} needs a login; download it in a browser and add the file, "
        "or append the site's token to the address"
    )


def _file_name(answer: httpx.Response, url: str) -> str:
    told = answer.headers.get("Content-Disposition", "")
    quoted = told.partition("filename=")[2].partition(";")[0].strip().strip('"')
    name = quoted or unquote(urlsplit(url).path)
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or "model"
