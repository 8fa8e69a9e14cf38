"""Nodes without engines or pictures, in one process: they say to the farm what nodes say, and when."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
from pydantic import BaseModel

from common.messages import (
    AttemptVerdict,
    Claim,
    ClaimAnswer,
    Close,
    Deliveries,
    DeliveryRequest,
    GrantRequest,
    Heartbeat,
    HeartbeatAnswer,
    Join,
    Joined,
    Lease,
    Listen,
    Report,
    Spent,
    Verdict,
    Verdicts,
)
from common.nodes import INGEST_QUEUE
from tests.benchmarks.manifests import MODEL
from tests.farm import access, card
from tests.http_connection import Answer, HttpConnection

#: Of the picture that each report speaks of; nobody uploads it.
_SHA256, _SIZE = "0" * 64, 100_000
#: Answers that tell a node to drop what it holds.
_OVER = (404, 409, 410)
_AGAIN_S = 1.0
#: A fleet does not start in one moment.
_JOINS_A_SECOND = 50
#: As many at once as four ingest processes of four threads.
_INGESTING = 16


@dataclass
class Record:
    """What all nodes of a fleet met."""

    #: Seconds of each claim that was answered with a lease, and of each heartbeat.
    claims: list[float] = field(default_factory=list)
    beats: list[float] = field(default_factory=list)
    #: Leases given, and those that were over before their node was through.
    leases: int = 0
    lost: int = 0
    pictures: int = 0
    #: Calls answered with an error that no node causes.
    refused: int = 0


class Fleet:
    def __init__(self, url: str, nodes: int, picture_s: float) -> None:
        self._picture_s = picture_s
        self.record = Record()
        self.nodes = [SimulatedNode(self, url, f"node-{number}", picture_s) for number in range(nodes)]

    async def warm(self) -> None:
        """Give every node the time of its first pictures."""
        await asyncio.sleep(3 * self._picture_s)

    def begin(self) -> Record:
        """What is met from now on; leases in hand count as given."""
        self.record = Record(leases=sum(node.lease is not None for node in self.nodes))
        return self.record


class SimulatedNode:
    """Renders a picture every `picture_s`; one that late answers cost it is made up for by the next ones."""

    def __init__(self, fleet: Fleet, url: str, name: str, picture_s: float) -> None:
        token = access(url, name).token
        self._work, self._beating, self._listening = (HttpConnection(url, token) for _ in range(3))
        self._fleet = fleet
        self._name = name
        self._picture_s = picture_s
        self._joined: Joined
        self._due = 0.0
        self._has_worked = False
        self.lease: Lease | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        join = Join(name=self._name, card=card(24), models=(MODEL,))
        self._joined = Joined(**(await self._say(self._work, "/v1/nodes", join)).json())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat())
                tasks.create_task(self._listen())
                tasks.create_task(self._claim())
        finally:
            for connection in (self._work, self._beating, self._listening):
                connection.close()

    async def _beat(self) -> None:
        every_s = self._joined.heartbeat_s
        await asyncio.sleep(random.uniform(0, every_s))
        while True:
            beat = Heartbeat(incarnation=self._joined.incarnation, watts=200.0, **self._held())
            begin = time.monotonic()
            answer = await self._say(self._beating, f"{self._mine}/beats", beat)
            took_s = time.monotonic() - begin
            self._fleet.record.beats.append(took_s)
            self._heed(answer, beat.batch_id)
            await asyncio.sleep(every_s - took_s)

    async def _listen(self) -> None:
        while True:
            listen = Listen(incarnation=self._joined.incarnation, **self._held())
            answer = await self._say(self._listening, f"{self._mine}/orders", listen)
            self._heed(answer, listen.batch_id)

    async def _claim(self) -> None:
        """Takes tickets from the broker with the rights of a node."""
        async with redis.asyncio.Redis.from_url(self._joined.broker_url) as broker:
            while True:
                popped: Any = await broker.brpop(list(self._joined.queues), timeout=0)
                claim = Claim(
                    node_id=self._joined.node_id,
                    incarnation=self._joined.incarnation,
                    ticket=json.loads(popped[1])["headers"]["id"],
                )
                begin = time.monotonic()
                answer = await self._say(self._work, "/v1/claims", claim)
                if answer.status not in _OVER and (lease := ClaimAnswer(**answer.json()).lease):
                    self._fleet.record.claims.append(time.monotonic() - begin)
                    await self._render(lease)

    async def _render(self, lease: Lease) -> None:
        self._fleet.record.leases += 1
        self.lease = lease
        self._due = max(self._due, time.monotonic() - self._picture_s)
        for shot in lease.shots:
            # At first the pictures of the nodes must not all be due at once.
            self._due += self._picture_s * (1 if self._has_worked else random.uniform(1, 2))
            await asyncio.sleep(self._due - time.monotonic())
            await self._deliver(lease, shot.id)
            if self.lease is None:
                return
        done = Close(token=lease.token, outcome="finished", load=Spent(seconds={"load": 1.0}))
        self.lease = None
        await self._say(self._work, f"/v1/batches/{lease.batch_id}/close", done)

    async def _deliver(self, lease: Lease, shot_id: str) -> None:
        batch = f"/v1/batches/{lease.batch_id}"
        wish = GrantRequest(
            token=lease.token, shot_id=shot_id, sha256=_SHA256, size=_SIZE, content_type="image/png"
        )
        report = Report(
            token=lease.token, shot_id=shot_id, outcome="delivered", sha256=_SHA256, size=_SIZE,
            spent=Spent(joules=100.0, energy_method="sampled", seconds={"denoise": self._picture_s}),
        )  # fmt: skip
        for path, message in ((f"{batch}/grants", wish), (f"{batch}/reports", report)):
            if (await self._say(self._work, path, message)).status in _OVER:
                self._lose(lease.batch_id)
                return
        self._fleet.record.pictures += 1
        self._has_worked = True

    def _heed(self, answer: Answer, batch_id: str | None) -> None:
        if answer.status in _OVER or HeartbeatAnswer(**answer.json()).order == "stop":
            self._lose(batch_id)

    def _lose(self, batch_id: str | None) -> None:
        """One that the node has closed meanwhile is none."""
        if self.lease is not None and self.lease.batch_id == batch_id:
            self.lease = None
            self._fleet.record.lost += 1

    def _held(self) -> dict[str, str]:
        return {} if self.lease is None else {"batch_id": self.lease.batch_id, "token": self.lease.token}

    @property
    def _mine(self) -> str:
        return f"/v1/nodes/{self._joined.node_id}"

    async def _say(self, connection: HttpConnection, path: str, message: BaseModel) -> Answer:
        while True:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                answer = await connection.post(path, message.model_dump(mode="json"))
                if answer.status < 300 or answer.status in _OVER:
                    return answer
            self._fleet.record.refused += 1
            await asyncio.sleep(_AGAIN_S)


@asynccontextmanager
async def simulate(url: str, broker_url: str, nodes: int, pictures_a_second: float) -> AsyncIterator[Fleet]:
    """So many nodes that together make so many pictures, and ingest that finds each of them good."""
    fleet = Fleet(url, nodes, picture_s=nodes / pictures_a_second)
    tasks = [asyncio.create_task(_ingest(url, broker_url)) for _ in range(_INGESTING)]
    try:
        for node in fleet.nodes:
            tasks.append(asyncio.create_task(node.run()))
            await asyncio.sleep(1 / _JOINS_A_SECOND)
        yield fleet
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ingest(url: str, broker_url: str) -> None:
    connection = HttpConnection(url, "ingest-key")
    verdict = Verdict(outcome="stored", sha256=_SHA256, size=_SIZE, seconds=0.01)
    try:
        async with redis.asyncio.Redis.from_url(broker_url) as broker:
            while True:
                popped: Any = await broker.brpop([INGEST_QUEUE], timeout=0)
                (attempt_ids,), *_ = json.loads(base64.b64decode(json.loads(popped[1])["body"]))
                wish = DeliveryRequest(attempt_ids=attempt_ids)
                answer = await connection.post("/v1/deliveries", wish.model_dump(mode="json"))
                if answer.status == 200:
                    found = Deliveries(**answer.json()).deliveries
                    told = [AttemptVerdict(attempt_id=one.attempt_id, verdict=verdict) for one in found]
                    if told:
                        verdicts = Verdicts(verdicts=tuple(told))
                        await connection.post("/v1/verdicts", verdicts.model_dump(mode="json"))
    finally:
        connection.close()
