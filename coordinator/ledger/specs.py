"""Shots as the ledger keeps them: their specs as text, their images' places."""

from __future__ import annotations

import json

from common.shot import Shot

_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def spec_of(shot: Shot) -> str:
    """`shot_of` is its inverse."""
    return _ENCODER.encode(shot.to_dict())


def shot_of(spec: str) -> Shot:
    return Shot.from_dict(json.loads(spec))


def image_key(shot_id: str, image_format: str, deletions: int = 0) -> str:
    """Where the store keeps the finished image of a shot.

    Another place after each of its `deletions`: a removal that comes late hits no later picture.
    """
    again = f".{deletions}" if deletions else ""
    return f"images/{shot_id[:2]}/{shot_id}{again}.{image_format}"


def quarantine_key(batch_id: str, shot_id: str, sha256: str) -> str:
    """Where a node uploads an image, for ingest to check."""
    return f"quarantine/{batch_id}/{shot_id}/{sha256}"
