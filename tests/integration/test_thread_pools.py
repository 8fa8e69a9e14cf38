"""Which calls wait for a thread behind others, when hundreds of nodes are parked and operators ask much."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.errors import Gone
from common.keys import TicketSigner
from common.messages import Claim, Heartbeat, HeartbeatAnswer, Join, Joined, Listen
from coordinator.ledger import ledger
from coordinator.ledger.batches import Batches
from tests.farm import DEADLINE_S, QUICK, RunningFarm, ScriptedNode, card, key_of, proof, running_farm, until
from tests.http_connection import Answer, HttpConnection
from tests.integration.api.calls import submit
from tests.servers import ValkeyServer

NODES = 500
#: More than the threads that FastAPI starts, and than the connections to the database.
QUESTIONS = 60
#: Longer than the test: no claim is answered because its time is up, and no node is lost while hundreds join.
TIMING = QUICK.model_copy(update={"claim_wait_s": 3600.0, "lease_s": 3600.0})
SIGNER = TicketSigner("ticket-key")


@dataclass
class Gate:
    """Threads that reach it wait until it opens."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **kwargs: Any) -> Any:
            self.reached.set()
            self.opened.wait()
            return call(*args, **kwargs)

        return held


class ParkedNode:
    """A node whose claim is held; it speaks over another connection meanwhile, as `farm-node` does."""

    def __init__(self, farm: RunningFarm, name: str) -> None:
        # Proofs of so many over HTTP would take as long as a lease.
        door = farm.farm.node_access
        token = door.give(proof(door.challenge().challenge, name, key_of(name))).token
        self._held, self.http = (HttpConnection(farm.url, token) for _ in range(2))
        self._name = name
        self.joined: Joined

    async def join(self) -> None:
        join = Join(name=self._name, card=card(8), models=("tiny",)).model_dump(mode="json")
        self.joined = Joined(**(await self.http.post("/v1/nodes", join)).json())

    async def claim(self) -> Answer:
        claim = Claim(
            node_id=self.joined.node_id,
            incarnation=self.joined.incarnation,
            ticket=SIGNER.issue("public", 8).text,
            wait_s=TIMING.claim_wait_s,
        )
        return await self._held.post("/v1/claims", claim.model_dump())

    async def beat_and_listen(self) -> set[str]:
        """The orders that it hears."""
        mine, incarnation = f"/v1/nodes/{self.joined.node_id}", self.joined.incarnation
        beat = await self.http.post(
            f"{mine}/beats", Heartbeat(incarnation=incarnation).model_dump(mode="json")
        )
        listen = Listen(incarnation=incarnation, wait_s=0).model_dump(mode="json")
        orders = await self.http.post(f"{mine}/orders", listen)
        return {HeartbeatAnswer(**answer.json()).order for answer in (beat, orders)}

    def close(self) -> None:
        self._held.close()
        self.http.close()


def _over(*_: object, **__: object) -> None:
    raise Gone("the test is over")


@dataclass(frozen=True)
class Crowd:
    nodes: list[ParkedNode]
    #: Their claims, and the operators' questions.
    calls: list[asyncio.Task[Answer]]

    async def health(self) -> Answer:
        return await self.nodes[0].http.get("/healthz")

    def answered(self) -> int:
        return sum(call.done() for call in self.calls)


@asynccontextmanager
async def crowd(farm: RunningFarm, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crowd]:
    """Every node's claim is held and every question is under way; none is answered in the block."""
    claims, questions = Gate(), Gate()
    monkeypatch.setattr(Batches, "claim", claims.before(_over))
    # In its transaction: each question that has begun holds a connection to the database.
    monkeypatch.setattr(ledger, "explain", questions.before(ledger.explain))
    nodes = [ParkedNode(farm, f"parked-{number}") for number in range(NODES)]
    operators = [HttpConnection(farm.url, "operator-key") for _ in range(QUESTIONS)]
    try:
        await asyncio.gather(*(node.join() for node in nodes))
        claiming = [asyncio.create_task(node.claim()) for node in nodes]
        asking = [asyncio.create_task(one.get("/v1/explain/parked-0")) for one in operators]
        everybody = {node.joined.node_id for node in nodes}
        await asyncio.to_thread(until, lambda: farm.farm.claims.callers() >= everybody)
        for gate in (claims, questions):
            assert await asyncio.to_thread(gate.reached.wait, DEADLINE_S)
        yield Crowd(nodes, [*claiming, *asking])
    finally:
        claims.opened.set()
        questions.opened.set()
        for one in (*nodes, *operators):
            one.close()
    await asyncio.gather(*claiming, *asking, return_exceptions=True)


@pytest.fixture
def farm(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[RunningFarm]:
    """This process holds both ends of each connection."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8 * NODES, most), most))
    with running_farm(tmp_path, own_valkey.url, timing=TIMING) as running:
        yield running
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))


def test_heartbeats_and_orders_wait_for_no_claim_and_no_question(
    farm: RunningFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def course() -> None:
        async with crowd(farm, monkeypatch) as others:
            heard = asyncio.gather(*(node.beat_and_listen() for node in others.nodes))
            assert await asyncio.wait_for(heard, DEADLINE_S) == [{"go on"}] * NODES
            assert (await asyncio.wait_for(others.health(), DEADLINE_S)).status == 200
            assert others.answered() == 0

    asyncio.run(course())


def test_what_operators_do_waits_for_no_explanation(
    farm: RunningFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.integration.test_thread_pools.NODES", 1)

    async def course() -> None:
        async with (
            crowd(farm, monkeypatch) as others,
            httpx.AsyncClient(
                base_url=farm.url, headers={"authorization": "Bearer operator-key"}, trust_env=False
            ) as operator,
        ):
            for path in ("/v1/jobs", "/v1/status"):
                answer = await operator.get(path, timeout=DEADLINE_S)
                assert answer.status_code == 200
            assert others.answered() == 0

    asyncio.run(course())


def test_uploads_and_reports_wait_for_no_claim_and_no_question(
    farm: RunningFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with farm.client() as operator:
        submit(operator)
    node = ScriptedNode(farm)
    lease = node.lease()

    def work() -> None:
        for shot in lease.shots:
            node.deliver(lease, shot)
        node.close(lease)

    async def course() -> None:
        async with crowd(farm, monkeypatch) as others:
            await asyncio.to_thread(work)
            assert others.answered() == 0

    asyncio.run(course())
    node.leave()
