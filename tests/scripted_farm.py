"""A coordinator and a store that answer by script: a real HTTP server, to test a node alone against."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from common import messages
from common.access_messages import Access, AccessRequest, Challenge
from common.catalog import ServedCatalog, read_entries, with_entry
from common.error_view import ErrorView
from common.views import NodeWish
from tests.waiting import PATIENCE_S


def _recipe(name: str, transformer: str) -> dict[str, Any]:
    weights = {"text_encoder": "float32", "vae": "float32", "transformer": transformer}
    return {"name": name, "compute_dtype": "float32", "backends": ["cpu"], "weights": weights}


_RECIPE, _GGUF_RECIPE = _recipe("fp32", "float32"), _recipe("gguf", "gguf-q8")
#: Of the tiny model; no file is named for the recipe that needs one.
_MODELS: dict[str, dict[str, Any]] = {
    "tiny": {"like": "shotfarm-demo", "path": "tiny-z-image", "identity": None},
    "tiny-both": {"like": "tiny", "recipes": [_GGUF_RECIPE, _RECIPE]},
    "tiny-gguf": {"like": "tiny", "recipes": [_GGUF_RECIPE]},
}


@cache
def tiny_catalog() -> ServedCatalog:
    """The built-in catalog and the tiny model."""
    entries = read_entries()
    for name, entry in _MODELS.items():
        entries = with_entry(entries, "models", name, entry, source="tiny")
    return ServedCatalog(version="1", **dict(entries))


@dataclass
class ScriptedFarm:
    """What the node said, in order, and what it will be answered."""

    broker_url: str = "redis://127.0.0.1:9/0"
    url: str = ""
    heartbeat_s: float = 0.2
    stall_render_s: float = PATIENCE_S
    catalog: ServedCatalog = field(default_factory=tiny_catalog)
    access: list[AccessRequest] = field(default_factory=list)
    joins: list[messages.Join] = field(default_factory=list)
    holdings: list[messages.NewHoldings] = field(default_factory=list)
    measurements: list[messages.Measurements] = field(default_factory=list)
    heartbeats: list[messages.Heartbeat] = field(default_factory=list)
    claims: list[messages.Claim] = field(default_factory=list)
    grants: list[messages.GrantRequest] = field(default_factory=list)
    reports: list[messages.Report] = field(default_factory=list)
    closes: list[messages.Close] = field(default_factory=list)
    #: Uploaded bytes by key.
    stored: dict[str, bytes] = field(default_factory=dict)
    #: Leases that the next claims get; without one they get nothing.
    leases: deque[messages.Lease] = field(default_factory=deque)
    #: Why a claim without a lease gets nothing.
    why_nothing: str = "the script has no work"
    #: Status codes that the next calls of a kind (`put`, `claims`, `reports` …) are refused with.
    refusals: defaultdict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    #: What heartbeats and listeners are answered; `order` changes it.
    beat_answer: messages.HeartbeatAnswer = field(
        default_factory=lambda: messages.HeartbeatAnswer(order="go on")
    )
    leaves: list[messages.Leave] = field(default_factory=list)
    #: Keys of the embeddings of every batch; nodes share none without.
    embedding_keys: list[str] = field(default_factory=list)
    #: What every batch encodes ahead.
    texts_ahead: list[messages.TextAhead] = field(default_factory=list)
    embeddings: list[messages.EmbeddingsRequest] = field(default_factory=list)
    embedding_reports: list[messages.EmbeddingsReport] = field(default_factory=list)
    #: What the owner of the card wished.
    wishes: list[NodeWish] = field(default_factory=list)
    #: What listeners asked.
    listens: list[messages.Listen] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, what: Callable[[], object]) -> None:
        """Return once `what()` is true after some call; fails the test if it never is."""
        with self._changed:
            assert self._changed.wait_for(what, timeout=PATIENCE_S), "the node never came to it"

    def said(self, kind: str, message: object) -> int | None:
        """Note a call; the status it is refused with, if it is."""
        with self._changed:
            refusals = self.refusals[kind]
            status = refusals.popleft() if refusals else None
            if status is None and kind not in ("put", "get"):
                getattr(self, kind).append(message)
            self._changed.notify_all()
        return status

    def store(self, key: str, data: bytes) -> int:
        with self._changed:
            if key in self.stored:
                return 412
            self.stored[key] = data
            self._changed.notify_all()
            return 200

    def granted(self, batch_id: str, wish: messages.GrantRequest) -> messages.Grant:
        key = f"quarantine/{batch_id}/{wish.shot_id}/{wish.sha256}"
        return messages.Grant(
            key=key, url=f"{self.url}/store/{key}", headers={"Content-Type": wish.content_type}
        )

    def stored_embeddings(self) -> messages.StoredEmbeddings:
        urls = {key: f"{self.url}/store/embeddings/{key}" for key in self.embedding_keys}
        ahead = tuple(self.texts_ahead)
        return messages.StoredEmbeddings(urls=urls, takes=bool(urls), ahead=ahead, ahead_s=10.0 * bool(ahead))

    def granted_embeddings(self, report: messages.EmbeddingsReport) -> messages.Grants:
        for key in report.useless:
            self.stored.pop(f"embeddings/{key}", None)
        keys = [f"embeddings/{upload.key}" for upload in report.uploads]
        grants = [messages.Grant(key=key, url=f"{self.url}/store/{key}", headers={}) for key in keys]
        return messages.Grants(grants=tuple(grants))

    def joined(self) -> messages.Joined:
        return messages.Joined(
            node_id=self.joins[-1].name if self.joins else "node",
            incarnation=len(self.joins),
            vram_class=8,
            queues=("render.public.vram08",),
            broker_url=self.broker_url,
            heartbeat_s=self.heartbeat_s,
            claim_wait_s=0.5,
            stall_render_s=self.stall_render_s,
            stall_load_s=PATIENCE_S,
            hard_limit_s=600,
            catalog_version=self.catalog.version,
        )

    def order(self, answer: messages.HeartbeatAnswer) -> None:
        """Let heartbeats and listeners hear this from now on."""
        with self._changed:
            self.beat_answer = answer
            self._changed.notify_all()

    def publish(self, catalog: ServedCatalog) -> None:
        """Have another catalog from now on, as heartbeats hear."""
        with self._changed:
            self.catalog = catalog
            self.beat_answer = self.beat_answer.model_copy(update={"catalog_version": catalog.version})

    def listen(self, message: messages.Listen) -> messages.HeartbeatAnswer:
        with self._changed:
            self._changed.wait_for(lambda: self.beat_answer != message.known, timeout=message.wait_s)
            return self.beat_answer

    def claim(self) -> messages.ClaimAnswer:
        with self._changed:
            if self.leases:
                return messages.ClaimAnswer(lease=self.leases.popleft())
        return messages.ClaimAnswer(nothing=messages.Nothing(reason=self.why_nothing))


@contextmanager
def running_farm(farm: ScriptedFarm, port: int = 0) -> Iterator[ScriptedFarm]:
    """Serve `farm` at `farm.url` while inside."""
    server = uvicorn.Server(uvicorn.Config(_app(farm), port=port, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not server.started:
        assert time.monotonic() < deadline
        thread.join(0.01)
    farm.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield farm
    finally:
        server.should_exit = True
        thread.join()


def _app(farm: ScriptedFarm) -> FastAPI:
    app = FastAPI()

    def answer(kind: str, message: object, good: Callable[[], object]) -> Response:
        if status := farm.said(kind, message):
            return JSONResponse({"detail": f"the script says {status}"}, status_code=status)
        return JSONResponse(good().model_dump(mode="json"))  # type: ignore[attr-defined]

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {}

    @app.get("/v1/catalog")
    def catalog() -> Response:
        return Response(farm.catalog.model_dump_json(exclude_unset=True), media_type="application/json")

    @app.get("/v1/models/files/{sha256}")
    def model_file(sha256: str) -> Response:
        refused = ErrorView(detail=f"the store has no model file {sha256}", reason="unknown")
        return JSONResponse(refused.model_dump(), status_code=404)

    @app.get("/v1/addresses")
    def addresses() -> Response:
        store = messages.Addresses(broker="127.0.0.1", store=farm.url)
        return Response(store.model_dump_json(), media_type="application/json")

    @app.post("/v1/nodes")
    def join(message: messages.Join) -> Response:
        return answer("joins", message, farm.joined)

    @app.post("/v1/nodes/{node_id}/leave")
    def leave(node_id: str, message: messages.Leave) -> Response:
        return answer("leaves", message, lambda: message)

    @app.post("/v1/nodes/{node_id}/beats")
    def beat(node_id: str, message: messages.Heartbeat) -> Response:
        return answer("heartbeats", message, lambda: farm.beat_answer)

    @app.post("/v1/nodes/{node_id}/orders")
    def listen(node_id: str, message: messages.Listen) -> Response:
        return answer("listens", message, lambda: farm.listen(message))

    @app.post("/v1/claims")
    def claim(message: messages.Claim) -> Response:
        return answer("claims", message, farm.claim)

    _know(app, answer)
    _deliver(app, farm, answer)
    return app


def _know(app: FastAPI, answer: Callable[..., Response]) -> None:
    @app.post("/v1/access/challenges")
    def challenge() -> Response:
        return JSONResponse(Challenge(challenge="any").model_dump())

    @app.post("/v1/access")
    def access(message: AccessRequest) -> Response:
        given = Access(node=message.node, token="a token", valid_s=3600)
        return answer("access", message, lambda: given)

    @app.post("/v1/nodes/{node_id}/holdings")
    def hold(node_id: str, message: messages.NewHoldings) -> Response:
        return answer("holdings", message, lambda: messages.Ack(state="ready"))

    @app.post("/v1/nodes/{node_id}/pause")
    @app.post("/v1/nodes/{node_id}/resume")
    def wish(node_id: str, message: NodeWish) -> Response:
        return answer("wishes", message, lambda: messages.Ack(state="ready"))

    @app.post("/v1/nodes/{node_id}/measurements")
    def measure(node_id: str, message: messages.Measurements) -> Response:
        return answer("measurements", message, lambda: messages.Ack(state="ready"))


def _deliver(app: FastAPI, farm: ScriptedFarm, answer: Callable[..., Response]) -> None:
    def answer_all(kind: str, several: Sequence[object], good: Callable[[], object]) -> Response:
        """Refused is what follows the first that is."""
        first, *rest = several
        if rest:
            refused = answer(kind, first, good)
            return refused if refused.status_code >= 400 else answer_all(kind, rest, good)
        return answer(kind, first, good)

    @app.post("/v1/batches/{batch_id}/grants")
    def grant(batch_id: str, message: messages.GrantRequest) -> Response:
        return answer("grants", message, lambda: farm.granted(batch_id, message))

    @app.post("/v1/batches/{batch_id}/pass/grants")
    def grants(batch_id: str, message: messages.GrantRequests) -> Response:
        granted = tuple(farm.granted(batch_id, wish) for wish in message.requests)
        return answer_all("grants", message.requests, lambda: messages.Grants(grants=granted))

    @app.post("/v1/batches/{batch_id}/embeddings")
    def embeddings(batch_id: str, message: messages.EmbeddingsRequest) -> Response:
        return answer("embeddings", message, farm.stored_embeddings)

    @app.post("/v1/batches/{batch_id}/embeddings/reports")
    def report_embeddings(batch_id: str, message: messages.EmbeddingsReport) -> Response:
        return answer("embedding_reports", message, lambda: farm.granted_embeddings(message))

    @app.get("/store/{key:path}")
    def read(key: str) -> Response:
        data = farm.stored.get(key)
        status = farm.said("get", None) or (404 if data is None else 200)
        return Response(data if status == 200 else b"", status_code=status)

    @app.post("/v1/batches/{batch_id}/reports")
    def report(batch_id: str, message: messages.Report) -> Response:
        return answer("reports", message, lambda: messages.Ack(state="delivered"))

    @app.post("/v1/batches/{batch_id}/pass/reports")
    def reports(batch_id: str, message: messages.Reports) -> Response:
        acks = tuple(messages.Ack(state="delivered") for _ in message.reports)
        return answer_all("reports", message.reports, lambda: messages.Acks(acks=acks))

    @app.post("/v1/batches/{batch_id}/close")
    def close(batch_id: str, message: messages.Close) -> Response:
        return answer("closes", message, lambda: messages.Ack(state="closed"))

    @app.put("/store/{key:path}")
    async def put(key: str, request: Request) -> Response:
        data = await request.body()
        return Response(status_code=farm.said("put", None) or farm.store(key, data))
