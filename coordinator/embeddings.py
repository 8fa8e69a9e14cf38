"""Embeddings in the store: nodes read those of their own batches, and trusted nodes store them."""

from __future__ import annotations

from dataclasses import dataclass

from common.catalog import Catalog
from common.embeddings import Embedded, embedding_key, encoder_dtypes, texts_of
from common.errors import Forbidden, Invalid
from common.messages import EmbeddingsReport, EmbeddingsRequest, EmbeddingUpload, Grant, StoredEmbeddings
from common.storage import EMBEDDINGS, Store
from coordinator.calls.traffic import Traffic
from coordinator.ledger import BatchTexts, Ledger

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

    def find(self, batch_id: str, request: EmbeddingsRequest) -> StoredEmbeddings:
        """URLs for all embeddings of a batch, stored or not. Raises as `Ledger.texts` does."""
        batch = self.ledger.texts(batch_id, request.token)
        keys = self._keys(batch, request.encoding) if self.shared else ()
        urls = {key: self.store.sign_get(EMBEDDINGS + key, expires_s=self.expires_s) for key in keys}
        return StoredEmbeddings(urls=urls, takes=self.shared and batch.is_trusted)

    def accept(self, batch_id: str, report: EmbeddingsReport) -> list[Grant]:
        """Count how texts became embeddings; grants for the uploads. Raises as `Ledger.texts` does.

        Raises Forbidden for uploads by a node whose embeddings the farm does not take, Invalid for a key that
        belongs to no text of the batch.
        """
        asked = {*report.useless, *(upload.key for upload in report.uploads)}
        # The last upload may take longer than a short batch.
        batch = self.ledger.texts(batch_id, report.token, ended=report.complete and not asked)
        keys = self._keys(batch, report.encoding)
        if asked and not (self.shared and batch.is_trusted):
            raise Forbidden("this farm takes no embeddings from this node")
        if strange := asked - keys:
            raise Invalid(f"embedding {min(strange)[:12]} is of no text of batch {batch_id}")
        self.traffic.embeddings(report.fetched, report.encoded, report.fallbacks)
        self._remember(batch_id, batch, report)
        for key in report.useless:
            self.store.delete(EMBEDDINGS + key)
        return [self._grant(upload) for upload in report.uploads]

    def _remember(self, batch_id: str, batch: BatchTexts, report: EmbeddingsReport) -> None:
        """Let claims count on the embeddings of the batch, or no longer."""
        if batch.counts and any(report.fallbacks.values()):
            self.ledger.forget_embedded(batch_id)
        elif report.complete and self.shared and batch.is_trusted:
            model = self.catalog.models.get(batch.model)
            for recipe in model.recipes if model else ():
                if recipe.name == batch.recipe:
                    dtypes = encoder_dtypes(recipe.weights, recipe.compute_dtype)
                    self.ledger.note_embedded(batch_id, Embedded(dtypes, batch.versions))

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
    ledger.forget_embedded_before(now - keep_hours * _HOUR_S)
    old = store.keys(EMBEDDINGS, stored_before=now - keep_hours * _HOUR_S)
    for key in old:
        store.delete(key)
    return len(old)
