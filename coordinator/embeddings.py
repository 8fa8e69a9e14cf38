"""Embeddings in the store: nodes read those of their own batches, and trusted nodes store them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from common.catalog import Catalog
from common.embeddings import Embedded, EmbeddedText, embedding_key, texts_of
from common.errors import Forbidden, Invalid
from common.fit import encoding_of
from common.messages import (
    EmbeddingsReport,
    EmbeddingsRequest,
    EmbeddingUpload,
    Grant,
    StoredEmbeddings,
    TextAhead,
)
from common.storage import EMBEDDINGS, Store
from coordinator.calls.traffic import Traffic
from coordinator.ledger import BatchTexts, Ledger
from coordinator.scheduling.ahead import MOST_TEXTS
from coordinator.texts_ahead import TextsAhead

_TYPE = "application/octet-stream"
_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedEmbeddings:
    """What nodes ask for and store. Keys are computed here, from the texts of the batch that a token proves.

    So no node learns which texts others have, and none can store an embedding for a text that it was not
    given.
    """

    ledger: Ledger
    store: Store
    catalog: Catalog
    traffic: Traffic
    #: Whether nodes share embeddings at all.
    shared: bool
    #: Seconds for which a signed URL is valid.
    expires_s: int
    _ahead: TextsAhead = field(default_factory=TextsAhead)

    def find(self, batch_id: str, request: EmbeddingsRequest) -> StoredEmbeddings:
        """URLs for all embeddings of a batch, stored or not. Raises as `KnownEmbeddings.texts` does."""
        batch = self.ledger.embeddings.texts(batch_id, request.token)
        keys = self._keys(batch, request.encoding) if self.shared else ()
        urls = {key: self.store.sign_get(EMBEDDINGS + key, expires_s=self.expires_s) for key in keys}
        takes = self.shared and batch.is_trusted
        ahead, ahead_s = self._texts_ahead(batch_id, batch, request.encoding, keys) if takes else ((), 0.0)
        return StoredEmbeddings(urls=urls, takes=takes, ahead=ahead, ahead_s=ahead_s)

    def accept(self, batch_id: str, report: EmbeddingsReport) -> list[Grant]:
        """Count how texts became embeddings; grants for the uploads. Raises as `KnownEmbeddings.texts` does.

        Raises Forbidden for uploads by a node whose embeddings the farm does not take, Invalid for a key that
        belongs to no text of the batch.
        """
        asked = {*report.useless, *(upload.key for upload in report.uploads)}
        tells = report.complete or bool(report.ahead)
        # The last upload may take longer than a short batch.
        batch = self.ledger.embeddings.texts(batch_id, report.token, ended=tells and not asked)
        keys = self._keys(batch, report.encoding) | self._ahead.keys(batch_id)
        if asked and not (self.shared and batch.is_trusted):
            raise Forbidden("this farm takes no embeddings from this node")
        if strange := asked - keys:
            raise Invalid(f"embedding {min(strange)[:12]} is of no text of batch {batch_id}")
        self.traffic.embeddings(report.fetched, report.encoded, len(report.ahead), report.fallbacks)
        self._remember(batch_id, batch, report)
        if report.ahead and (embedded := self._embedded(batch)):
            self.ledger.embeddings.note_texts(self._ahead.stored(batch_id, report.ahead), embedded)
        for key in report.useless:
            self.store.delete(EMBEDDINGS + key)
        return [self._grant(upload) for upload in report.uploads]

    def _remember(self, batch_id: str, batch: BatchTexts, report: EmbeddingsReport) -> None:
        """Let claims count on the embeddings of the batch, or no longer."""
        if batch.counts and any(report.fallbacks.values()):
            self.ledger.embeddings.forget_batch(batch_id)
        elif report.complete and (embedded := self._embedded(batch)):
            self.ledger.embeddings.note_batch(batch_id, embedded)

    def _embedded(self, batch: BatchTexts) -> Embedded | None:
        """How the node of a batch encodes; None where nothing of it counts."""
        model = self.catalog.models.get(batch.model) if self.shared and batch.is_trusted else None
        for recipe in model.recipes if model else ():
            if recipe.name == batch.recipe:
                return Embedded(encoding_of(recipe), batch.versions)
        return None

    def _texts_ahead(
        self, batch_id: str, batch: BatchTexts, encoding: str, known: Collection[str]
    ) -> tuple[tuple[TextAhead, ...], float]:
        """Texts of other shots that the node of a batch should encode, and the seconds for them."""
        embedded = self._embedded(batch)
        if embedded is None or batch.counts:
            return (), 0.0
        elsewhere = self._ahead.elsewhere(batch_id, self.ledger.batches.leased)
        shots, seconds = self.ledger.embeddings.ahead(batch_id, batch.node_id, embedded, elsewhere)
        guided_above = self.catalog.models[batch.model].family.guidance_doubles_above
        given: dict[str, set[str]] = {}
        found: dict[str, EmbeddedText] = {}
        for texts, shot in shots.items():
            own = texts_of([shot], guided_above)
            # The node may lack their files.
            if any(text.inversions for text in own):
                continue
            keyed = {embedding_key(encoding, shot.realm, text): text for text in own}
            new = {key: text for key, text in keyed.items() if key not in known}
            if len(found | new) > MOST_TEXTS:
                break
            given[texts], found = set(new), found | new
        if given:
            self._ahead.give(batch_id, batch.node_id, given)
        return tuple(
            TextAhead(key=key, text=text.text, negative=text.negative, clip_skip=text.clip_skip)
            for key, text in found.items()
        ), seconds

    def _keys(self, batch: BatchTexts, encoding: str) -> set[str]:
        model = self.catalog.models.get(batch.model)
        if model is None:
            return set()
        texts = texts_of(batch.shots, model.family.guidance_doubles_above)
        # A batch is of one job, and a job of one realm.
        return {embedding_key(encoding, batch.shots[0].realm, text) for text in texts}

    def _grant(self, upload: EmbeddingUpload) -> Grant:
        key = EMBEDDINGS + upload.key
        put = self.store.sign_put(
            key,
            size=upload.size,
            sha256=upload.sha256,
            content_type=_TYPE,
            expires_s=self.expires_s,
        )
        return Grant(key=key, url=put.url, headers=put.headers)


def clear_embeddings(store: Store, ledger: Ledger, *, now: float, keep_hours: float) -> int:
    """Delete embeddings that were stored before `keep_hours` ago; the number of them.

    `now` is in seconds since 1970. Raises Unavailable.
    """
    # First, so that claims do not count on what is about to go.
    ledger.embeddings.forget_before(now - keep_hours * _HOUR_S)
    old = store.keys(EMBEDDINGS, stored_before=now - keep_hours * _HOUR_S)
    for key in old:
        store.delete(key)
    return len(old)
