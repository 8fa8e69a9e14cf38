"""Embeddings of texts, as nodes share them: what of them a batch needs, and which the store has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from common.embeddings import Embedded, encoding_versions
from common.shot import Shot
from coordinator.ledger import embedded as embedded_texts
from coordinator.ledger.batches import must_be_leased, must_match
from coordinator.ledger.records import BatchTexts
from coordinator.ledger.rules import Rules
from coordinator.ledger.schema import attempts, batches, nodes, shots
from coordinator.ledger.specs import shot_of
from coordinator.ledger.transactions import Transactions, Write
from coordinator.scheduling.ahead import errand


@dataclass(frozen=True, slots=True)
class KnownEmbeddings:
    transactions: Transactions
    rules: Rules

    def texts(self, batch_id: str, token: str, *, ended: bool = False) -> BatchTexts:
        """The shots of a batch, of which embeddings are shared. Raises NotFound, or Gone.

        The batch must be leased, unless it may have `ended`.
        """
        facts = nodes.c.terms, nodes.c.distrusted_at, nodes.c.versions
        query = select(batches, *facts).join_from(batches, nodes).where(batches.c.id == batch_id)
        with self.transactions.read() as connection:
            batch = must_match(batch_id, connection.execute(query).one_or_none(), token)
            if not ended:
                must_be_leased(batch_id, batch.state, batch.outcome)
            specs = select(shots.c.spec).join_from(attempts, shots).where(attempts.c.batch_id == batch_id)
            return BatchTexts(
                node_id=batch.node_id,
                model=batch.model,
                recipe=batch.recipe,
                counts=embedded_texts.is_embedded(batch.work_key),
                versions=encoding_versions(batch.versions),
                shots=[shot_of(spec) for spec in connection.scalars(specs)],
                is_trusted=batch.terms != "volunteer" and batch.distrusted_at is None,
            )

    def ahead(
        self, batch_id: str, node_id: str, embedded: Embedded, besides: Collection[str]
    ) -> tuple[dict[str, Shot], float]:
        """What the node of a batch, which stores texts as `embedded`, encodes for other nodes.

        Returns texts of shots, without those `besides`, to a shot with them, and the seconds for all of them
        at most.
        """
        with self.transactions.backlog() as backlog:
            batch_s = self.rules.timing.batch_s
            found = errand(backlog, node_id, batch_id, embedded, self.rules.rates, batch_s)
        if found is None:
            return {}, 0.0
        with self.transactions.read() as connection:
            return embedded_texts.ahead(connection, found.lines, besides), found.seconds

    def stored(self, texts: Sequence[str]) -> dict[str, Embedded]:
        """Those of these texts of shots (`texts_key`) that the store has, to how they were encoded."""
        with self.transactions.read() as connection:
            return embedded_texts.stored(connection, texts)

    def note_texts(self, texts: Collection[str], embedded: Embedded) -> None:
        """Let claims count on the embeddings of these texts, which the store has."""
        self._until_done(lambda write: embedded_texts.note_texts(write, texts, embedded))

    def note_batch(self, batch_id: str, embedded: Embedded) -> None:
        """Let claims count on the embeddings of a batch, which the store has."""
        self._until_done(lambda write: embedded_texts.note_embedded(write, batch_id, embedded))

    def forget_batch(self, batch_id: str) -> None:
        """Let claims no longer count on the embeddings of a batch, which the store lacks."""
        self._until_done(lambda write: embedded_texts.forget_embedded(write, batch_id))

    def forget_before(self, at: float) -> None:
        """The same of those that were noted before a time, in seconds since 1970."""
        self._until_done(lambda write: embedded_texts.forget_before(write, at))

    def _until_done(self, step: Callable[[Write], bool]) -> None:
        """Repeat a step, each in a transaction of its own, as long as it returns True."""
        more = True
        while more:
            with self.transactions.write() as write:
                more = step(write)
