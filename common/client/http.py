"""HTTP clients of the API for all programs; errors of the coordinator arrive as the original class."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from common.client.call import ApiCall
from common.error_view import ErrorView
from common.errors import FarmError, Invalid, Unavailable

_T = TypeVar("_T")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _Http:
    """What both clients of the API at `url` have in common.

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
        verify: ssl.SSLContext | None = None,
    ) -> None:
        """`url` comes from the setting or option `given_as`; `verify` judges its server.

        Raises Invalid if it is not a URL, or `key` cannot be a key.
        """
        if _host(url) is None:
            raise Invalid(
                f"{given_as} {url}: give the full URL that `farm up` prints, such as http://192.168.1.10:8080"
            )
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise Invalid(
                f"the key for {url} contains invalid characters; ask the operator of the farm for the key"
            )
        self.url, self.key = url.rstrip("/"), key
        self._remedy = remedy
        self._timeout_s = timeout_s
        own = {**(headers or {}), **({"Authorization": f"Bearer {key}"} if key else {})}
        judged = {} if verify is None else {"verify": verify}
        self._to_farm: dict[str, Any] = {"base_url": url, "headers": own, **connection_to(url), **judged}

    def _request(self, call: ApiCall[Any]) -> dict[str, Any]:
        content, headers = None, dict(call.headers)
        if call.body is not None:
            content, headers["Content-Type"] = call.body.model_dump_json(), "application/json"
        timeout = self._timeout_s if call.timeout_s is None else call.timeout_s
        return {
            "method": call.method,
            "url": call.path,
            "content": content,
            "headers": headers,
            "timeout": timeout,
        }

    def _silence(self, error: Exception) -> Unavailable:
        reason = (str(error) or type(error).__name__).rpartition("] ")[2]
        return Unavailable(f"the farm at {self.url} does not answer ({reason}){self._remedy}")

    def _refusal(self, path: str, status: int, content: bytes) -> FarmError:
        try:
            return ErrorView.model_validate_json(content).as_raised(status)
        except ValidationError:
            return Unavailable(f"{self.url}{path} answered {status}, but is not a farm: check the address")

    def _good(self, call: ApiCall[Any], answer: httpx.Response) -> bytes:
        """The body of a response; raises what it refuses the call with."""
        if not answer.is_success:
            raise self._refusal(call.path, answer.status_code, answer.content)
        return answer.content

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


class FarmHttp(_Http):
    """Calls the API and waits for each answer. Thread-safe."""

    def __init__(self, url: str, key: str | None, **options: Any) -> None:
        """As of `_Http`."""
        super().__init__(url, key, **options)
        self._http = httpx.Client(**self._to_farm)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def do(self, call: ApiCall[_T]) -> _T:
        return self._read(call.kind, call.path, self._content(call))

    def get(self, kind: type[_T], path: str) -> _T:
        return self.do(ApiCall(kind, "GET", path))

    def post(
        self, kind: type[_T], path: str, body: BaseModel | None = None, timeout_s: float | None = None
    ) -> _T:
        return self.do(ApiCall(kind, "POST", path, body, timeout_s=timeout_s))

    def delete(self, kind: type[_T], path: str) -> _T:
        return self.do(ApiCall(kind, "DELETE", path))

    def send(
        self, method: str, path: str, body: BaseModel | None = None, timeout_s: float | None = None
    ) -> bytes:
        """Returns the undecoded body of a successful response."""
        return self._content(ApiCall(bytes, method, path, body, timeout_s=timeout_s))

    def _content(self, call: ApiCall[Any]) -> bytes:
        """The body of the response to any call."""
        try:
            answer = self._http.request(**self._request(call))
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            raise self._silence(error) from error
        return self._good(call, answer)


class AsyncFarmHttp(_Http):
    """Calls the API without blocking the event loop."""

    def __init__(self, url: str, key: str | None, **options: Any) -> None:
        """As of `_Http`."""
        super().__init__(url, key, **options)
        self._http = httpx.AsyncClient(**self._to_farm)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def do(self, call: ApiCall[_T]) -> _T:
        try:
            answer = await self._http.request(**self._request(call))
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            raise self._silence(error) from error
        return self._read(call.kind, call.path, self._good(call, answer))


def connection_to(url: str) -> dict[str, Any]:
    """Options of httpx for a server."""
    is_local = _host(url) in _LOOPBACK
    return {
        # Requests to this machine never use a proxy from the environment.
        "trust_env": not is_local,
        # Reading the certificates of all authorities takes 18 ms, which http on this machine never needs.
        "verify": not is_local or not url.startswith("http://"),
    }


def _host(url: str) -> str | None:
    """Returns the host of the URL; None if it is not the address of a server."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return None
    return parts.host if parts.scheme in ("http", "https") and parts.host else None
