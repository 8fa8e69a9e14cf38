"""The coordinator is asked about no more tokens than an address may send wrong ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps

import pytest

from common.access_messages import Admission
from common.error_view import ErrorView
from common.errors import TooMany, Unauthorised, Unavailable
from coordinator.gateway.admission import Admissions
from coordinator.gateway.limits import Rates

VALID = Admission(node="rack", store="http://store")
REFUSED = ErrorView(title="Unauthorised", status=401, detail="not valid")


class Coordinator:
    """As an upstream: answers once it may, and one question by one connection."""

    def __init__(self, status: int = 401) -> None:
        self.status = status
        self.asked = 0
        self.may_answer = asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Coordinator]:
        yield self

    async def send_head(self, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.asked += 1
        await self.may_answer.wait()

    async def head(self, within_s: float) -> None:
        if self.status == 503:
            raise Unavailable("the coordinator does not answer")

    async def body(self) -> AsyncIterator[bytes]:
        yield (VALID if self.status == 200 else REFUSED).model_dump_json().encode()


def played(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Let the coroutine be a test that pytest calls."""

    @wraps(test)
    def play(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return play


def admissions(coordinator: Coordinator, size: float = 3.0) -> Admissions:
    return Admissions(coordinator, Rates(size, 60.0, "refused tokens"))  # type: ignore[arg-type]


async def tokens(door: Admissions, *names: str, network: str = "a", now: float = 0.0) -> list[object]:
    calls = (door.of(f"Bearer shotnode_{name}", network, now, fresh_s=2.0) for name in names)
    return await asyncio.gather(*calls, return_exceptions=True)


@played
async def test_made_up_tokens_of_many_connections_at_once_are_few_questions() -> None:
    coordinator = Coordinator()
    door = admissions(coordinator)
    flood = asyncio.create_task(tokens(door, *map(str, range(256))))
    while coordinator.asked < 3:
        await asyncio.sleep(0)
    coordinator.may_answer.set()
    answers = [type(answer) for answer in await flood]
    assert (answers.count(Unauthorised), answers.count(TooMany)) == (3, 253)
    assert await tokens(door, "x", network="b") != await tokens(door, "x")
    assert coordinator.asked == 4


@played
async def test_valid_tokens_and_silence_of_the_coordinator_count_for_nothing() -> None:
    coordinator = Coordinator(200)
    coordinator.may_answer.set()
    door = admissions(coordinator, 1.0)
    for name in "abcd":
        assert await tokens(door, name) == [VALID]
    coordinator.status = 503
    for _ in range(3):
        (answer,) = await tokens(door, "e")
        assert isinstance(answer, Unavailable)


@played
async def test_a_node_that_is_known_is_let_in_beside_a_flood() -> None:
    coordinator = Coordinator(200)
    coordinator.may_answer.set()
    door = admissions(coordinator)
    await tokens(door, "known")
    coordinator.status = 401
    await tokens(door, *"abcdef")
    coordinator.status = 200
    assert await tokens(door, "known", now=3.0) == [VALID]
    coordinator.status = 401
    # Once it has ended, it is as any other.
    assert [type(answer) for answer in await tokens(door, "known", now=6.0)] == [Unauthorised]
    assert [type(answer) for answer in await tokens(door, "known", now=6.0)] == [TooMany]


@pytest.mark.parametrize("authorization", ["", "Bearer shotfarm_key", "shotnode_x"])
@played
async def test_other_keys_are_not_asked_about(authorization: str) -> None:
    coordinator = Coordinator()
    with pytest.raises(Unauthorised, match="access tokens of nodes alone"):
        await admissions(coordinator).of(authorization, "a", 0.0, fresh_s=2.0)
    assert coordinator.asked == 0
