"""Posting to addresses of others: to the address that was checked, briefly, and with a bounded answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from functools import cached_property

import httpx

from common.errors import FarmError, Forbidden
from common.public_addresses import is_public
from common.webhooks import WebhookAnswer
from common.wording import visible

#: Seconds from looking up the name to the answer.
_TIMEOUT_S = 15.0
#: Bytes of an answer that are read, and characters that are shown.
_READ, _SHOWN = 1000, 200


def may_be_public(host: str) -> bool:
    """Whether a host may be on the Internet; its name is only looked up when something is posted."""
    try:
        return is_public(host)
    except ValueError:
        return host.rpartition(".")[2] != "localhost"


class Receivers:
    """Posts to receivers on the Internet, and with `private_addresses` to any."""

    def __init__(self, *, private_addresses: bool) -> None:
        self._private_addresses = private_addresses

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """The certificates of this machine; reading them takes 20 ms, which a farm without webhooks saves."""
        return ssl.create_default_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, events: int) -> WebhookAnswer:
        """What the receiver answered, or why it could not be reached; redirects are not followed."""
        at, began = time.time(), time.monotonic()
        status = None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                status, message = await self._answer(httpx.URL(url), headers, body)
        except TimeoutError:
            message = f"no answer within {_TIMEOUT_S:.0f} seconds"
        except FarmError as error:
            message = str(error)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            message = (str(error) or type(error).__name__).rpartition("] ")[2]
        return WebhookAnswer(
            at=at,
            status=status,
            message=visible(message[:_SHOWN]),
            events=events,
            seconds=round(time.monotonic() - began, 3),
        )

    async def _answer(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        # The name is looked up once: a second lookup could answer with an address that was not checked.
        at_address = url.copy_with(host=await self._address(url))
        given = {**headers, "Host": url.netloc.decode(), "Content-Type": "application/json"}
        async with httpx.AsyncClient(verify=self._tls, trust_env=False) as client:
            name = {"sni_hostname": url.raw_host.decode()}
            request = client.build_request("POST", at_address, headers=given, content=body, extensions=name)
            answer = await client.send(request, stream=True)
            read = b""
            async for chunk in answer.aiter_raw():
                read += chunk
                if len(read) >= _READ:
                    break
            await answer.aclose()
        return answer.status_code, read[:_READ].decode(errors="replace")

    async def _address(self, url: httpx.URL) -> str:
        """The IP address of a receiver. Raises Forbidden for one that is not allowed."""
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        found = await asyncio.get_running_loop().getaddrinfo(url.raw_host, port, proto=socket.IPPROTO_TCP)
        addresses = [str(place[0]) for *_, place in found]
        if not self._private_addresses and not all(map(is_public, addresses)):
            raise Forbidden(
                f"{url.host} is in a private network or on this machine: "
                "set `webhooks.private_addresses` to allow that"
            )
        return addresses[0]
