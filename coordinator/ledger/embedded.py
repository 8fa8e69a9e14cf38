"""Embedded texts: what the ledger knows of the embeddings in the store, so that claims can count on them.

Shots whose texts are all embedded are work of their own, with a suffix to their work key: which cards take
them is worked out apart from the others. Where the ledger is wrong, a node hands a batch back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select, update

from common.embeddings import MARK, Embedded
from common.shot import Shot
from common.states import ShotState
from coordinator.ledger.database import insert_new, upsert_all
from coordinator.ledger.schema import attempts, embedded_texts, plain, shots, waiting, works
from coordinator.ledger.specs import shot_of
from coordinator.ledger.transactions import Write
from coordinator.ledger.transitions import CHUNK, chunks
from coordinator.ledger.waiting import begin_waiting, cease_waiting
from coordinator.scheduling.work import Line

#: Rows of each line that are read for texts to be encoded ahead: with many seeds, they have few texts.
_LOOKED_AT = 128


def is_embedded(work_key: str) -> bool:
    """Whether the texts of such shots count as embedded."""
    return MARK in work_key


def note_embedded(write: Write, batch_id: str, embedded: Embedded) -> bool:
    """The store has all embeddings of a batch. Call again while it returns True: more shots have them."""
    own = _own(write, batch_id)
    known = {row.texts: embedded for row in own if row.texts}
    # What is taken back from the batch counts so when it waits again.
    running = [row for row in own if row.texts and row.state == ShotState.RUNNING]
    _set_keys(write, _marked(write, running, known))
    return _note(write, known)


def note_texts(write: Write, texts: Collection[str], embedded: Embedded) -> bool:
    """The store has the embeddings of these texts. Call again while it returns True: more shots have them."""
    return _note(write, dict.fromkeys(texts, embedded))


def ahead(connection: Connection, lines: Sequence[Line], besides: Collection[str]) -> dict[str, Shot]:
    """Texts of shots that wait, without those `besides`, to a shot with them; the last of each line first.

    The nodes that render them encode the first ones. Reads so many rows at most.
    """
    found: dict[str, Shot] = {}
    for line in lines:
        mine = (waiting.c[name] == value for name, value in line._asdict().items())
        query = select(shots.c.texts, shots.c.spec).join_from(waiting, shots, waiting.c.shot_id == shots.c.id)
        last_first = waiting.c.crashes.desc(), waiting.c.position.desc()
        for row in connection.execute(query.where(*mine).order_by(*last_first).limit(_LOOKED_AT)):
            if row.texts and row.texts not in besides and row.texts not in found:
                found[row.texts] = shot_of(row.spec)
    return found


def stored(connection: Connection, texts: Sequence[str]) -> dict[str, Embedded]:
    """See `KnownEmbeddings.stored`."""
    found: dict[str, Embedded] = {}
    for some in chunks(texts):
        rows = connection.execute(select(embedded_texts).where(embedded_texts.c.texts.in_(some)))
        found |= {row.texts: Embedded(row.dtypes, row.versions) for row in rows}
    return found


def recognise(write: Write, shot_ids: Collection[str]) -> None:
    """Mark new shots, at most a chunk, whose texts are embedded already."""
    texts = select(shots.c.texts).where(shots.c.id.in_(shot_ids), shots.c.texts != "")
    rows = write.connection.execute(select(embedded_texts).where(embedded_texts.c.texts.in_(texts)))
    known = {row.texts: Embedded(row.dtypes, row.versions) for row in rows}
    if known:
        _mark(write, known, shots.c.id.in_(shot_ids))


def forget_embedded(write: Write, batch_id: str) -> bool:
    """The store lacks embeddings of a batch. Call again while it returns True: more shots have its texts."""
    own = _own(write, batch_id)
    _set_keys(write, {row.id: _plain(row.work_key) for row in own if row.state == ShotState.RUNNING})
    return _forget(write, {row.texts for row in own})


def forget_before(write: Write, at: float) -> bool:
    """What was noted before a time may no longer be in the store. Call again while it returns True."""
    old = select(embedded_texts.c.texts).where(embedded_texts.c.at < at).order_by(embedded_texts.c.at)
    texts = write.connection.scalars(old.limit(CHUNK)).all()
    return bool(texts) and (_forget(write, texts) or len(texts) == CHUNK)


def _note(write: Write, known: Mapping[str, Embedded]) -> bool:
    rows = [{"texts": texts, **embedded._asdict(), "at": write.now} for texts, embedded in known.items()]
    upsert_all(write.connection, embedded_texts, ["texts"], rows)
    return _mark(write, known)


def _own(write: Write, batch_id: str) -> Sequence[Row[Any]]:
    """The shots of a batch."""
    columns = shots.c.id, shots.c.work_key, shots.c.texts, shots.c.state
    query: Select[Any] = select(*columns).join_from(attempts, shots).where(attempts.c.batch_id == batch_id)
    return write.connection.execute(query).all()


def _mark(write: Write, known: Mapping[str, Embedded], *among: Any) -> bool:
    """Mark a chunk of the waiting shots with such texts; returns whether there may be more."""
    rows = _waiting(write, known, shots.c.work_key.not_like(f"%{MARK}%"), *among)
    _move(write, _marked(write, rows, known))
    return len(rows) == CHUNK


def _marked(write: Write, rows: Sequence[Row[Any]], known: Mapping[str, Embedded]) -> dict[str, str]:
    """Shot to its work key with the mark of its texts, of which the table of works knows."""
    keys = {row.id: known[row.texts].mark(_plain(row.work_key)) for row in rows}
    added = {keys[row.id]: (_plain(row.work_key), known[row.texts]) for row in rows}
    plain_works = select(works).where(works.c.key.in_({work_key for work_key, _ in added.values()}))
    facts = {row.key: row._asdict() for row in write.connection.execute(plain_works)}
    insert_new(
        write.connection,
        works,
        [
            {**facts[work_key], "key": key, "embedded": embedded._asdict()}
            for key, (work_key, embedded) in added.items()
        ],
    )
    return keys


def _forget(write: Write, texts: Collection[str]) -> bool:
    """Unmark a chunk of the waiting shots with such texts; returns whether there may be more."""
    write.connection.execute(delete(embedded_texts).where(embedded_texts.c.texts.in_(texts)))
    rows = _waiting(write, texts, shots.c.work_key.like(f"%{MARK}%"))
    _move(write, {row.id: _plain(row.work_key) for row in rows})
    return len(rows) == CHUNK


def _waiting(write: Write, texts: Collection[str], *among: Any) -> Sequence[Row[Any]]:
    query: Select[Any] = select(shots.c.id, shots.c.work_key, shots.c.texts).limit(CHUNK)
    waits = shots.c.state == plain(ShotState.WAITING), shots.c.texts.in_(list(texts))
    return write.connection.execute(query.where(*waits, *among)).all()


def _move(write: Write, keys: Mapping[str, str]) -> None:
    """Give waiting shots other work keys."""
    if keys:
        cease_waiting(write, list(keys))
        _set_keys(write, keys)
        begin_waiting(write, shots.c.id.in_(list(keys)))


def _set_keys(write: Write, keys: Mapping[str, str]) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for shot_id, key in keys.items():
        alike[key].append(shot_id)
    for key, ids in alike.items():
        write.connection.execute(update(shots).where(shots.c.id.in_(ids)).values(work_key=key))


def _plain(work_key: str) -> str:
    return work_key.partition(MARK)[0]
