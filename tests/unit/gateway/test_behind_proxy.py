"""Behind a proxy, callers are those that it names last; before that, anybody may have written anything."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from common.settings import Settings
from coordinator.gateway.app import GatewayApp
from coordinator.gateway.limits import CallLimits
from coordinator.joining.files import JoinFiles

#: Nobody listens there.
NOWHERE = "http://127.0.0.1:9"


def statuses(app: GatewayApp, *forwarded: str) -> list[int]:
    """How proofs are answered that come with these `X-Forwarded-For`, one after the other."""

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            asked = [await http.post("/v1/access", headers={"x-forwarded-for": one}) for one in forwarded]
            return [answer.status_code for answer in asked]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("behind_proxy", "told"), [(True, [503, 429, 503, 503]), (False, [503, 429, 429, 429])]
)
def test_calls_are_counted_for_who_called_the_proxy(behind_proxy: bool, told: list[int]) -> None:
    limits, files = CallLimits(open_calls=1), JoinFiles(Settings())
    app = GatewayApp(NOWHERE, files, limits=limits, behind_proxy=behind_proxy, clock=lambda: 0.0)
    forwarded = ("203.0.113.7", "198.51.100.1, 203.0.113.7", "203.0.113.7, 198.51.100.1", "203.0.113.8")
    assert statuses(app, *forwarded) == told
