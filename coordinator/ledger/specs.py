"""Representation of shots in the ledger: specs as JSON, keys of images."""

from __future__ import annotations

import json

from common.shot import Shot

_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def spec_of(shot: Shot) -> str:
    """The spec of a shot as JSON; `shot_of` is the inverse."""
    return _ENCODER.encode(shot.to_dict())


def shot_of(spec: str) -> Shot:
    return Shot.from_dict(json.loads(spec))


def image_key(shot_id: str, image_format: str, deletions: int = 0) -> str:
    """The key of the finished image of a shot in the store.

    Each of its `deletions` changes the key, so that a delayed deletion cannot affect a later image.
    """
    again = f".{deletions}" if deletions else ""
    return f"images/{shot_id[:2]}/{shot_id}{again}.{image_format}"


def quarantine_key(batch_id: str, shot_id: str, sha256: str) -> str:
    """The key to which a node uploads an image for ingest to check."""
    return f"quarantine/{batch_id}/{shot_id}/{sha256}"
