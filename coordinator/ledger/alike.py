"""Images that show what a picture shows: found by parts of their perceptual hashes, which an index has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, null, select

from common.likeness import Likeness, distance, hash_parts, likeness
from coordinator.ledger import schema
from coordinator.ledger.charges import is_verification
from coordinator.ledger.database import insert_new
from coordinator.ledger.records import MadeImage
from coordinator.ledger.schema import deleted_images, images, shots
from coordinator.ledger.shot_rows import of_owner
from coordinator.ledger.transactions import Write

#: Images with a part of the hash that are compared; of those of a farm about one in 16,000 has one.
_COMPARED = 5000


def index_hashes(write: Write, stored: Iterable[Mapping[str, Any]]) -> None:
    """Note the hashes of stored images (rows of `images`), but of none that is only compared."""
    rows = [
        {"part": part, "shot_id": image["shot_id"]}
        for image in stored
        if image["perceptual_hash"] and not is_verification(image["job_id"])
        for part in hash_parts(image["perceptual_hash"])
    ]
    insert_new(write.connection, schema.hash_parts, rows)


def made_alike(connection: Connection, perceptual_hash: str, owner: str | None) -> MadeImage | None:
    """The image that is most alike, if one is; of jobs of an owner (None: of all). Stored ones come first."""
    parts = schema.hash_parts.c.part.in_(hash_parts(perceptual_hash))
    shot_ids = set(connection.scalars(select(schema.hash_parts.c.shot_id).where(parts).limit(_COMPARED)))
    for table, deleted_at in ((images, null()), (deleted_images, deleted_images.c.deleted_at)):
        same = [table.c[name] for name in MadeImage._fields if name != "deleted_at"]
        mine = table.c.shot_id.in_(shot_ids), table.c.perceptual_hash.is_not(None), table.c.withheld == ""
        query = select(table.c.perceptual_hash, *same, deleted_at.label("deleted_at")).where(*mine)
        if owner is not None:
            query = query.select_from(table.join(shots, shots.c.id == table.c.shot_id)).where(of_owner(owner))
        alike = [
            row
            for row in connection.execute(query)
            if likeness(perceptual_hash, row.perceptual_hash) is Likeness.ALIKE
        ]
        if alike:
            nearest = min(alike, key=lambda row: sum(distance(perceptual_hash, row.perceptual_hash)))
            told = nearest._asdict()
            del told["perceptual_hash"]
            return MadeImage(**told)
    return None
