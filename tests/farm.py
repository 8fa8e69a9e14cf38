"""A whole coordinator in this process, over real HTTP, and a node that does by hand what a program would."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import redis
from PIL import Image, ImageDraw
from pydantic import SecretStr
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from common.access_messages import Access, AccessRequest, Challenge, InvitationProof
from common.celeryapp import RENDER_TASK
from common.errors import WrongTicket
from common.messages import (
    CardFacts,
    Claim,
    ClaimAnswer,
    Close,
    Grant,
    GrantRequest,
    Heartbeat,
    Join,
    Joined,
    Lease,
    LeasedShot,
    Park,
    ParkAnswer,
    Report,
    Spent,
)
from common.node_keys import NodeKey, access_text
from common.nodes import Terms
from common.settings import Keys, Settings, Storage, Timing
from coordinator.farm import Farm
from coordinator.ledger import Candidate, Lead, Replaced, open_engine
from coordinator.service import FarmServer, build_farm, listen, serve
from tests import waiting
from tests.cards import card_facts
from tests.ledgers import furnish_ledger

DEADLINE_S = waiting.PATIENCE_S

#: What tests wait for comes soon; leases last as usual, so that a slow machine loses none.
QUICK = Timing(heartbeat_s=1, sweep_s=0.4, claim_wait_s=4, ingest_again_s=6, retry_s=0.5)
KEYS = Keys(
    operator=SecretStr("operator-key"),
    node=SecretStr("node-key"),
    ingest=SecretStr("ingest-key"),
    ticket=SecretStr("ticket-key"),
)
#: The demo models with an identity, so that their shots can be submitted.
CATALOG = f"""
models:
  tiny: {{like: shotfarm-demo, identity: "sha256:{"1" * 64}"}}
  tiny-24: {{like: shotfarm-demo-24, identity: "sha256:{"2" * 64}"}}
"""
MANIFEST = """
version: 1
name: mugs
shots:
- name: mug
  model: tiny
  prompt: a {colour} mug
  axes: {colour: [red, blue]}
  seeds: 2
  size: 128x128
output: {name: "{colour}-{seed}"}
"""


@dataclass(frozen=True, kw_only=True)
class RunningFarm:
    url: str
    farm: Farm
    settings: Settings
    #: What it runs in; over when the farm has ended.
    thread: threading.Thread

    def client(self, role: str = "operator") -> httpx.Client:
        return self.bearing(f"{role}-key")

    def as_node(self, name: str) -> httpx.Client:
        """Calls of a node that has joined, or may."""
        return self.bearing(access(self.url, name).token)

    def bearing(self, key: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=DEADLINE_S,
            trust_env=False,
        )


def key_of(name: str) -> NodeKey:
    """The key of a node in tests: always the same, so that a node that starts anew is the same node."""
    return NodeKey(hashlib.sha256(name.encode()).digest())


def proof(challenge: str, name: str, key: NodeKey, secret: str | None = "node-key") -> AccessRequest:
    """What a node answers to a challenge; `secret` is that of its invitation."""
    text = access_text(challenge, name, key.public)
    invitation = None if secret is None else NodeKey.of_secret(secret)
    return AccessRequest(
        challenge=challenge, node=name, public_key=key.public, signature=key.sign(text),
        invitation=invitation and InvitationProof(
            public_key=invitation.public, signature=invitation.sign(text)
        ),
    )  # fmt: skip


def access(url: str, name: str, key: NodeKey | None = None, secret: str | None = "node-key") -> Access:
    """A token for a node. Raises HTTPStatusError where the farm refuses it."""
    with httpx.Client(base_url=url, timeout=DEADLINE_S, trust_env=False) as http:
        asked = http.post("/v1/access/challenges").raise_for_status()
        challenge = Challenge.model_validate_json(asked.content).challenge
        request = proof(challenge, name, key or key_of(name), secret)
        answer = http.post("/v1/access", json=request.model_dump()).raise_for_status()
    return Access.model_validate_json(answer.content)


@contextmanager
def running_farm(folder: Path, broker_url: str, **changes: Any) -> Iterator[RunningFarm]:
    """A farm with keys, a directory store and a SQLite ledger below `folder`; `changes` are settings."""
    # Not `catalog.yaml`, in which a farm's own models are.
    catalog = folder / "farm-catalog.yaml"
    catalog.write_text(CATALOG)
    given: dict[str, Any] = {
        "home": folder,
        "broker_url": broker_url,
        "keys": KEYS,
        "timing": QUICK,
        "node_lanes": ("public", "hidden"),
        "catalogs": (catalog,),
        "storage": Storage(url=f"file:{folder / 'pictures'}"),
    }
    settings = Settings(**given | changes)
    furnish_ledger(settings.database)
    lead = _lead(settings)
    listener = listen(settings)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    farm = build_farm(settings, lead)
    server = FarmServer(farm)
    thread = threading.Thread(target=_serve, args=(farm, server, listener), name="coordinator")
    thread.start()
    try:
        # The listener queues connections from the start, so the first call waits by itself.
        httpx.get(f"{settings.api_url}/healthz", timeout=DEADLINE_S, trust_env=False).raise_for_status()
        yield RunningFarm(url=settings.api_url, farm=farm, settings=settings, thread=thread)
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        lead.engine.dispose()


def _lead(settings: Settings) -> Lead:
    """Take the lead, also from a farm that leads as the same instance and shows its life meanwhile."""
    candidate = Candidate(open_engine(settings.database), settings.instance_name, patience=1)
    lead = waiting.until(candidate.look)
    assert lead is not None
    return lead


def _serve(farm: Farm, server: FarmServer, listener: socket.socket) -> None:
    with suppress(Replaced):  # the last that a process would say
        serve(farm, server, listener)


def until(found: Callable[[], bool]) -> None:
    """Wait for something that the API lets nobody wait for."""
    waiting.until(found, within_s=DEADLINE_S)


def card(vram_gib: int) -> CardFacts:
    return card_facts(vram_gib, backend="cpu", watts=100.0)


def drawn(shot: LeasedShot) -> bytes:
    """A picture of the asked size as PNG; another one for every shot."""
    size = (shot.spec["width"], shot.spec["height"])
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((10, 10, 60, 80), fill=f"#{shot.id[:6]}", outline="black")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


class ScriptedNode:
    """Takes tickets off the queue and speaks the API as `farm-node` does, one step at a time."""

    def __init__(
        self,
        farm: RunningFarm,
        *,
        name: str = "node-1",
        vram_gib: int = 8,
        terms: Terms = "owned",
        lanes: tuple[str, ...] = ("public",),
    ) -> None:
        self.http = farm.as_node(name)
        join = Join(name=name, card=card(vram_gib), models=("tiny", "tiny-24"), terms=terms, lanes=lanes)
        self.joined = Joined.model_validate_json(self.post("/v1/nodes", join).content)

    def post(self, path: str, message: Any) -> httpx.Response:
        return self.http.post(path, json=message.model_dump(mode="json")).raise_for_status()

    def ticket(self) -> str:
        """The next ticket of the node's first queue, taken with the rights of a node."""
        # Like a Celery worker it tries again while the broker, just started, does not know it yet.
        patience = Retry(ConstantBackoff(0.1), int(DEADLINE_S / 0.1))
        trouble = [redis.ConnectionError, redis.AuthenticationError]
        with redis.Redis.from_url(self.joined.broker_url, retry=patience, retry_on_error=trouble) as broker:
            popped: Any = broker.brpop([self.joined.queues[0]], timeout=DEADLINE_S)
        assert popped is not None, f"no ticket on {self.joined.queues[0]}"
        headers = json.loads(popped[1])["headers"]
        assert headers["task"] == RENDER_TASK
        return str(headers["id"])

    def claim(self, ticket: str, *, wait_s: float = DEADLINE_S) -> ClaimAnswer:
        claim = Claim(
            node_id=self.joined.node_id, incarnation=self.joined.incarnation, ticket=ticket, wait_s=wait_s
        )
        return ClaimAnswer.model_validate_json(self.post("/v1/claims", claim).content)

    def lease(self) -> Lease:
        """The next lease, with as many tickets or calls as it takes: some tickets may be of earlier farms."""
        if not self.joined.broker_url:
            return self._parked()
        while True:
            try:
                if (lease := self.claim(self.ticket()).lease) is not None:
                    return lease
            except httpx.HTTPStatusError as error:
                if error.response.json()["reason"] != WrongTicket.reason:
                    raise

    def _parked(self) -> Lease:
        park = Park(beat=Heartbeat(incarnation=self.joined.incarnation), turn=secrets.token_hex(16))
        path = f"/v1/nodes/{self.joined.node_id}/park"
        while (lease := ParkAnswer.model_validate_json(self.post(path, park).content).lease) is None:
            pass
        return lease

    def deliver(self, lease: Lease, shot: LeasedShot, data: bytes | None = None) -> Report:
        """Upload and report one shot; `data` instead of a good picture."""
        report = self.upload(lease, shot, data)
        self.post(f"/v1/batches/{lease.batch_id}/reports", report)
        return report

    def upload(self, lease: Lease, shot: LeasedShot, data: bytes | None = None) -> Report:
        """Upload one shot; the report that is due then."""
        data = drawn(shot) if data is None else data
        sha256 = hashlib.sha256(data).hexdigest()
        grant = self.grant(lease, shot, data)
        httpx.put(grant.url, content=data, headers=grant.headers, trust_env=False).raise_for_status()
        return Report(
            token=lease.token, shot_id=shot.id, outcome="delivered", key=grant.key, sha256=sha256,
            size=len(data),
            spent=Spent(joules=50.0, energy_method="sampled", seconds={"denoise": 2.0, "decode": 0.5}),
        )  # fmt: skip

    def grant(self, lease: Lease, shot: LeasedShot, data: bytes) -> Grant:
        """The right to upload these bytes."""
        sha256 = hashlib.sha256(data).hexdigest()
        wish = GrantRequest(
            token=lease.token, shot_id=shot.id, sha256=sha256, size=len(data), content_type="image/png"
        )
        return Grant.model_validate_json(self.post(f"/v1/batches/{lease.batch_id}/grants", wish).content)

    def close(self, lease: Lease) -> None:
        done = Close(token=lease.token, outcome="finished", load=Spent(joules=10.0, seconds={"load": 1.0}))
        self.post(f"/v1/batches/{lease.batch_id}/close", done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        self.http.close()
