"""The HTTP client of the API for all programs; errors of the coordinator arrive as the original class."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from common.errors import Invalid, Unavailable
from common.views import ErrorView

_T = TypeVar("_T")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class FarmHttp:
    """Calls the API at `url`, which the setting or option `given_as` provides. Thread-safe.

    Every call raises the error that the coordinator raised, or Unavailable if no farm responds. `remedy` is
    appended to the message of Unavailable.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        given_as: str,
        timeout_s: float,
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Raises Invalid if `url` is not a URL or `key` cannot be a key."""
        host = _host(url)
        if host is None:
            raise Invalid(
                f"{given_as} {url}: give the full URL that `farm up` prints, such as http://192.168.1.10:8080"
            )
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise Invalid(
                f"the key for {url} contains invalid characters; ask the operator of the farm for the key"
            )
        self.url = url.rstrip("/")
        self._remedy = remedy
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=url,
            headers={**(headers or {}), **({"Authorization": f"Bearer {key}"} if key else {})},
            # Requests to this machine never use a proxy from the environment.
            trust_env=host not in _LOOPBACK,
            # Reading the certificates of all authorities takes 18 ms, which http on this machine never needs.
            verify=host not in _LOOPBACK or not url.startswith("http://"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, kind: type[_T], path: str) -> _T:
        return self._read(kind, path, self.send("GET", path))

    def post(
        self, kind: type[_T], path: str, body: BaseModel | None = None, timeout_s: float | None = None
    ) -> _T:
        return self._read(kind, path, self.send("POST", path, body, timeout_s))

    def delete(self, kind: type[_T], path: str) -> _T:
        return self._read(kind, path, self.send("DELETE", path))

    def send(
        self, method: str, path: str, body: BaseModel | None = None, timeout_s: float | None = None
    ) -> bytes:
        """Returns the undecoded body of a successful response."""
        content, headers = None, {}
        if body is not None:
            content, headers = body.model_dump_json(), {"Content-Type": "application/json"}
        timeout = self._timeout_s if timeout_s is None else timeout_s
        try:
            answer = self._http.request(method, path, content=content, headers=headers, timeout=timeout)
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            reason = (str(error) or type(error).__name__).rpartition("] ")[2]
            raise Unavailable(f"the farm at {self.url} does not answer ({reason}){self._remedy}") from error
        if answer.is_success:
            return answer.content
        try:
            refused = ErrorView.model_validate_json(answer.content)
        except ValidationError:
            raise Unavailable(
                f"{self.url}{path} answered {answer.status_code}, but is not a farm: check the address"
            ) from None
        raise refused.as_raised(answer.status_code)

    def _read(self, kind: type[_T], path: str, content: bytes) -> _T:
        try:
            return TypeAdapter(kind).validate_json(content)
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                wrong = "but is not a farm: check the address"
            else:
                unexpected = f"with {error.error_count()} unexpected or missing fields"
                wrong = f"{unexpected}: install the same version of shotfarm on both"
            raise Unavailable(f"{self.url}{path} answered, {wrong}") from error


def _host(url: str) -> str | None:
    """Returns the host of the URL; None if it is not the address of a server."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return None
    return parts.host if parts.scheme in ("http", "https") and parts.host else None
