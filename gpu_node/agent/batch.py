"""One batch from its lease to its close: load, encode, render pass by pass, deliver beside it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import httpx

from common.catalog import compiled_name
from common.embeddings import EmbeddedText
from common.failures import Blame, failure
from common.messages import Close, Joined, Spent
from common.shot import UpscalerUse
from common.units import counted, format_gib, format_seconds
from gpu_node import protocol
from gpu_node.agent.announced import Announced
from gpu_node.agent.compiling import Compiling
from gpu_node.agent.coordinator_client import Coordinator
from gpu_node.agent.deliver import Deliverer, RenderFacts
from gpu_node.agent.embeddings import BatchEmbeddings
from gpu_node.agent.engine_client import EngineClient
from gpu_node.agent.engine_commands import (
    BatchShot,
    encode_command,
    engine_inversions,
    load_command,
    passes,
    render_command,
    shots_of,
    texts_of_batch,
    uses_of,
)
from gpu_node.agent.engine_session import BatchOver, EngineSession, Outcome
from gpu_node.agent.fetch import Fetcher
from gpu_node.agent.offers import Offers
from gpu_node.agent.prefetch import Prefetch
from gpu_node.agent.progress import ActiveBatch, Effort
from gpu_node.cache import ModelCache
from gpu_node.errors import RenderError
from gpu_node.library import Library, Need
from gpu_node.machine import Share
from gpu_node.power import PowerCap
from gpu_node.probe import installed_versions

log = logging.getLogger(__name__)

#: Seconds between two lines about how far a batch is.
_TELL_S = 10.0

#: Seconds without a sign of life in which a failed batch still waits for the images of its earlier passes.
_LAST_IMAGES_S = 10.0

#: Seconds between looks at what else there is to do while the card rests.
_REST_S = 0.5

#: What the shots of a batch are to blame for before the first of them begins: they all ask for the same.
_REFUSALS = frozenset({"invalid_spec", "lora_rejected", "upscaler_rejected"})

#: What is wrong with the files of a model, or with loading it.
_OF_MODEL = frozenset({"model_missing", "model_mismatch", "load_error"})

Ending = Literal["finished", "released", "failed", "oom"]


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What every batch of a node is worked on with."""

    coordinator: Coordinator
    #: Where the client of the store may call.
    announced: Announced
    store: httpx.Client
    engine: EngineClient
    library: Library
    offers: Offers
    compiling: Compiling
    prefetch: Prefetch
    share: Share
    power: PowerCap
    #: Set when the node should stop: the running pass is finished, the rest is handed back.
    stopping: threading.Event


class Batch:
    """Works on one lease; `run` once."""

    def __init__(self, context: NodeContext, joined: Joined, active: ActiveBatch) -> None:
        self._engine = context.engine
        self._library = context.library
        self._offers, self._compiling = context.offers, context.compiling
        self._coordinator, self._store = context.coordinator, context.store
        self._prefetch, self._part, self._power = context.prefetch, context.share, context.power
        self._stopping = context.stopping
        self._joined = joined
        self._active = active
        self._delivery = Deliverer(context.coordinator, context.store, active, context.engine.spool)
        self._embeddings = BatchEmbeddings(context.coordinator, context.store, active, context.engine.spool)
        self._session = EngineSession(context.engine, active, self._deliver_or_fail)
        self._shots = shots_of(active.lease)
        #: Model and LoRA loading of the batch.
        self._load = Effort()
        #: Encoding of texts that other batches need.
        self._ahead = Effort()
        self._prepared = False
        #: Images that this node will probably still render of such work.
        self._left = max(active.lease.remaining, len(self._shots))
        #: Seconds of compiling, which loading includes.
        self._compile_s = 0.0
        self._began_at = self._told_at = time.monotonic()
        #: Text encoding, for one shot.
        self._encode = Effort()
        #: What the shots of a decoded pass cost, until they are written.
        self._rendered: dict[str, RenderFacts] = {}
        #: Outcomes of the running pass, whose cost is not known yet.
        self._early: list[Outcome] = []
        #: What this node itself failed with beside the passes: no later one would do better.
        self._broken: RenderError | None = None

    def run(self) -> None:
        """Return when the batch is closed, or its lease lost. Raises nothing."""
        try:
            close = self._work()
        except RenderError as error:
            close = self._failed(error)
        except BatchOver:
            close = self._close("released")
        finally:
            self._active.end()
        self._delivery.finish()
        if not self._delivery.close(close):
            log.info("batch %s goes back to the farm: %s", self._active.lease.batch_id, self._active.reason)
        self._embeddings.finish()
        self._engine.clear_spool()
        if not self._stopping.is_set():
            # One that died or was killed is up again before the next claim is answered.
            self._engine.start()

    def _work(self) -> Close:
        if why := self._fetched():
            return self._close("released", message=why)
        lease = self._active.lease
        if lease.prefetch is not None:
            self._prefetch.begin(lease.prefetch, self._joined)
        load = load_command(lease.model, lease.recipe, self._shots[0].shot, self._library)
        waiting = deque(passes(self._shots, self._active.lease.pass_size))
        while waiting and not self._stopping.is_set():
            wanted = [one for one in waiting.popleft() if self._active.is_wanted(one.id)]
            if not wanted:
                continue
            if self._engine.held != load or not self._prepared:
                try:
                    if why := self._prepare(load):
                        return self._close("released", message=why)
                except RenderError as error:
                    if error.kind in _REFUSALS:
                        return self._refused(error)
                    raise _unprepared(error) from error
            if not self._rest():
                waiting.appendleft(wanted)
                break
            self._power.begin()
            waiting.extendleft(self._render(load, wanted))
            self._power.end()
            self._must_be_sound()
            self._tell(len(self._shots) - sum(map(len, waiting)))
        self._session.listen(lambda: not self._rendered, stall_s=self._joined.stall_render_s)
        self._must_be_sound()
        return self._close("released" if waiting else "finished")

    def _rest(self) -> bool:
        """Let the card rest where its owner caps its power; False if the node is to stop meanwhile."""
        while (owed_s := self._power.owed_s()) > 0 and not self._stopping.is_set():
            self._active.doing = f"resting, as the card may take {self._power.watts:.0f} W"
            if self._active.over.wait(min(owed_s, _REST_S)):
                raise BatchOver(self._active.reason)
        self._active.doing = ""
        return not self._stopping.is_set()

    def _tell(self, done: int) -> None:
        """Say how far the batch is, now and then and at its end."""
        now, images = time.monotonic(), len(self._shots)
        if done == images or now >= self._told_at + _TELL_S:
            self._told_at = now
            took = format_seconds(now - self._began_at)
            log.info("batch %s: %d of %d images in %s", self._active.lease.batch_id, done, images, took)

    def _fetched(self) -> str:
        """Have the files of the model and LoRAs here; why they cannot be had, and are put aside, if so."""
        lease, library = self._active.lease, self._library
        loras = tuple(use.name for use in self._shots[0].shot.loras)
        if library.cache is None:
            return ""
        uses = uses_of(self._shots)
        upscalers = {use.name for use in uses if isinstance(use, UpscalerUse)}
        needs = library.needs(lease.model, lease.recipe, loras, uses)
        with suppress(OSError):  # then a fetch says so
            cached = library.cached(lease.model, loras, uses)
            library.cache.pin(cached | {need.identity for need in needs})
        for need in needs:
            try:
                self._fetch(need, library.cache)
            except RenderError as error:
                if failure(error.kind).blame is not Blame.NODE:
                    raise
                own = {*loras, *upscalers}
                self._offers.put_aside(need.name if need.name in own else lease.model, str(error))
                return str(error)
        if needs:
            self._active.doing = ""
            self._offers.tell()
        return ""

    def _fetch(self, need: Need, cache: ModelCache) -> None:
        arrived = 0

        def check() -> None:
            if self._active.over.is_set() or self._stopping.is_set():
                raise BatchOver(self._active.reason or "the node stops")

        def count(more: int) -> None:
            nonlocal arrived
            arrived += more
            self._active.doing = f"fetching {need.name} {min(100 * arrived // max(need.size, 1), 100)} %"

        count(0)
        log.info("%s, %s", self._active.doing, format_gib(need.size))
        Fetcher(
            self._coordinator,
            self._store,
            cache,
            known_file=self._library.known_file,
            check=check,
            on_bytes=count,
            stall_s=self._joined.stall_load_s,
        ).fetch(need)

    def _must_be_sound(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _prepare(self, load: protocol.Load) -> str:
        """Model, LoRAs and texts into the engine; what an engine that died had not written is lost.

        Returns why the batch is handed back, if embeddings are missing that this node has no room to compute.
        """
        self._rendered = {}
        # One that died unnoticed holds nothing.
        self._engine.start()
        texts = texts_of_batch(self._shots, load)
        known = self._engine.texts if self._engine.held == load else frozenset()
        self._embeddings.fetch(
            load, texts, installed_versions(), self._shots[0].shot.realm, known=known.intersection(texts)
        )
        if self._engine.held != load:
            self._hold(load)
        if self._library.cache is not None:
            loras, uses = [lora.name for lora in load.loras], uses_of(self._shots)
            self._library.cache.keep_only(self._library.cached(load.model, loras, uses))
        if not self._active.lease.encodes and (lacking := self._embeddings.lacking()):
            return (
                f"{counted(lacking, 'embedding')} of this batch cannot be had from the store, and this node "
                f"has no room for the text encoder of {load.model}"
            )
        self._encode_texts(texts)
        self._prepared = True
        return ""

    def _hold(self, load: protocol.Load) -> None:
        self._active.begin("load")
        if self._stopping.is_set():
            # Whoever stops the node ends what it finds loading, and may have looked before this began.
            raise BatchOver("the node stops")
        try:
            self._session.load(load, stall_s=self._joined.stall_load_s)
        finally:
            self._load += self._active.end()

    def _encode_texts(self, texts: list[EmbeddedText]) -> None:
        files, ahead = self._embeddings.files(), self._embeddings.ahead()
        self._active.begin("encode")
        start = time.monotonic()
        answer = self._session.ask(
            encode_command(
                texts,
                engine_inversions(self._shots, self._library),
                files,
                ahead=ahead,
                ahead_s=self._embeddings.ahead_s,
                threads=self._part.threads,
            ),
            stall_s=self._joined.stall_load_s,
            limit_s=self._joined.hard_limit_s * (len(texts) + len(ahead)),
        )
        assert isinstance(answer, protocol.Encoded)
        took_s = time.monotonic() - start
        load_s = min(answer.load_s, took_s)
        ahead_s = min(answer.ahead_s, took_s - load_s)
        cost = self._active.end({"load": load_s, "encode": took_s - load_s})
        loading = Effort(load_s, cost.joules * load_s / took_s)
        encoding_ahead = Effort(ahead_s, cost.joules * ahead_s / took_s)
        self._load += loading
        self._ahead += encoding_ahead
        encoding, count = Effort(took_s, cost.joules) - loading - encoding_ahead, len(self._shots)
        self._encode = Effort(encoding.seconds / count, encoding.joules / count)
        self._engine.texts = frozenset(texts)
        self._embeddings.encoded(answer)

    def _render(self, load: protocol.Load, one_pass: list[BatchShot]) -> list[list[BatchShot]]:
        """Render one pass; what comes back is to be rendered again, shot by shot: one spoils the others."""
        shots, pid = [one.shot for one in one_pass], self._engine.pid
        compiled = self._compiling.repays(pid, load, shots, self._left)
        # Compiling says nothing of itself.
        warm_up_s = self._joined.stall_load_s if compiled else 0.0
        self._left -= len(one_pass)
        self._active.begin("denoise")
        try:
            done = self._session.ask(
                render_command(one_pass, compiled=compiled),
                stall_s=self._joined.stall_render_s + warm_up_s,
                limit_s=self._joined.hard_limit_s * len(one_pass) + warm_up_s,
                unwanted=lambda: not any(self._active.is_wanted(one.id) for one in one_pass),
            )
        except RenderError as error:
            cost = self._active.end()
            self._early = []
            if failure(error.kind).blame is Blame.CANCELLED:
                self._drop(one_pass, error, cost)
                return []
            if failure(error.kind).blame is not Blame.SHOT:
                raise
            if len(one_pass) > 1:
                return [[one] for one in reversed(one_pass)]
            spent = self._spent({"denoise": cost.seconds}, cost.joules)
            self._delivery.failure(one_pass[0].id, error.kind, str(error), spent)
            return []
        assert isinstance(done, protocol.Done)
        self._compiling.rendered(pid, load, shots, done)
        self._share(load, one_pass, done, self._passed(done))
        return []

    def _passed(self, done: protocol.Done) -> float:
        """A pass is over: the joules that it took, without those of compiling, which count as loading."""
        rendering_s = done.denoise_s + done.decode_s
        phases = {"load": done.compile_s, "denoise": done.denoise_s, "decode": done.decode_s}
        cost = self._active.end(phases)
        warm_up = Effort(done.compile_s, cost.joules * done.compile_s / ((done.compile_s + rendering_s) or 1))
        self._load += warm_up
        self._compile_s += done.compile_s
        return cost.joules - warm_up.joules

    def _drop(self, one_pass: list[BatchShot], error: RenderError, cost: Effort) -> None:
        """Nobody wanted the pass any more; each of its shots bears its part of what it cost until then."""
        count = len(one_pass)
        for one in one_pass:
            spent = self._spent({"denoise": cost.seconds / count}, cost.joules / count)
            self._delivery.failure(one.id, error.kind, str(error), spent)

    def _share(
        self, load: protocol.Load, one_pass: list[BatchShot], done: protocol.Done, joules: float
    ) -> None:
        """Split what the pass cost evenly over its shots, and settle those that are written already."""
        count = len(one_pass)
        seconds = {
            "encode": self._encode.seconds,
            "denoise": done.denoise_s / count,
            "decode": done.decode_s / count,
        }
        rendered = RenderFacts(
            spent=self._spent(seconds, joules / count + self._encode.joules),
            peak_bytes=done.peak_bytes,
            fingerprint={
                **installed_versions(),
                "recipe": compiled_name(load.recipe) if done.compiled else load.recipe,
                "dtype": load.compute_dtype,
                "pass": count,
                **({"gguf": load.gguf.identity} if load.gguf else {}),
                **({"upscaler": load.upscaler.identity, "tile": done.tile} if load.upscaler else {}),
            },
        )
        self._rendered |= {one.id: rendered for one in one_pass}
        early, self._early = self._early, []
        for outcome in early:
            self._deliver_or_fail(outcome)

    def _deliver_or_fail(self, outcome: Outcome) -> None:
        """Deliver an image or a failure, once what it cost is known."""
        rendered = self._rendered.pop(outcome.shot_id or "", None)
        if rendered is None:
            self._early.append(outcome)
        elif isinstance(outcome, protocol.Image):
            self._active.add("save", outcome.save_s)
            self._delivery.image(outcome, rendered)
        elif failure(outcome.kind).blame is Blame.NODE:
            self._broken = RenderError(outcome.kind, outcome.message)
        else:
            self._delivery.failure(outcome.shot_id or "", outcome.kind, outcome.message, rendered.spent)

    def _refused(self, error: RenderError) -> Close:
        """The model will not take these shots, such as for their LoRA: each of them failed."""
        for one in self._shots:
            self._delivery.failure(one.id, error.kind, str(error), self._spent({}, 0.0))
        return self._close("finished")

    def _failed(self, error: RenderError) -> Close:
        """A failure that ends the batch; it is no shot's own."""
        log.warning("batch %s: %s", self._active.lease.batch_id, error)
        with suppress(RenderError, BatchOver):
            self._session.listen(lambda: not self._rendered, stall_s=_LAST_IMAGES_S)
        outcome: Ending = "oom" if error.kind == "out_of_memory" else "failed"
        model, is_alive = self._active.lease.model, self._engine.exit_code is None
        if error.kind in _OF_MODEL and is_alive and (error.name or self._offers.other_than(model)):
            # The engine says it itself, and other models may load: nothing is wrong with the card.
            self._offers.put_aside(error.name or model, str(error))
            outcome = "released"
        # The next batch gets an engine that has nothing to do with this failure.
        with suppress(RenderError):
            self._engine.kill()
        # An engine that stalled beside its passes has blamed no shot.
        kind = "engine_died" if error.kind == "stalled" else error.kind
        return self._close(outcome, kind, str(error), error.peak_bytes)

    def _close(
        self, outcome: Ending, kind: str | None = None, message: str = "", peak_bytes: int | None = None
    ) -> Close:
        return Close(
            token=self._active.lease.token,
            outcome=outcome,
            failure=kind,
            message=message,
            peak_bytes=peak_bytes,
            load=self._spent(
                {"load": self._load.seconds, "encode": self._ahead.seconds},
                self._load.joules + self._ahead.joules,
            ),
            compile_s=self._compile_s,
        )

    def _spent(self, seconds: dict[str, float], joules: float) -> Spent:
        return Spent(joules=joules, energy_method=self._active.energy_method, seconds=seconds)


def _unprepared(error: RenderError) -> RenderError:
    """No shot has begun: what would later be the fault of one is the node's."""
    blames_shots = failure(error.kind).blame is Blame.SHOT
    return RenderError("load_error", str(error), error.peak_bytes) if blames_shots else error
