"""Levels: what owners of volunteers' nodes have earned by their images, and which of these are checked.

A level belongs to an owner, so that another name of a node changes nothing. Owned and rented nodes need none.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from math import inf
from typing import NamedTuple

from common.nodes import Terms

_DAY_S = 86_400.0


class Level(StrEnum):
    PROBATION = "probation"
    PROVEN = "proven"
    TRUSTED = "trusted"
    OWNED = "owned"


@dataclass(frozen=True, slots=True)
class OwnerStanding:
    """What the farm knows of an owner of volunteers' nodes."""

    #: When its first image was stored, in seconds since 1970.
    since: float
    #: Images that were stored.
    images: int = 0
    #: Those that were found right, or were not chosen to be checked, which none of the first 20 is.
    clean: int = 0
    #: Whether the operator knows the owner.
    known: bool = False
    #: Why the farm takes nothing from this owner any more; empty: it does.
    barred: str = ""
    #: What it had `earned` when any of this changed last.
    level: Level = Level.PROBATION


class _Need(NamedTuple):
    level: Level
    clean: int
    days: int
    known: bool


#: The highest first.
_NEEDS = (_Need(Level.TRUSTED, 500, 7, known=True), _Need(Level.PROVEN, 20, 1, known=False))


class LeaseLimits(NamedTuple):
    """What all nodes of an owner may have at a time."""

    #: Images of a lease, and leases.
    images: float = inf
    leases: float = inf


_LIMITS = {Level.PROBATION: LeaseLimits(images=4, leases=1)}

#: Up to so many good images of an owner, this share is checked; and of all further ones.
_SHARES = ((20, 1.0), (200, 0.10), (1000, 0.05))
_LATER = 0.018


def level_of(terms: Terms, standing: OwnerStanding | None) -> Level:
    """The level of a node on these terms, whose owner has this standing (None: it has delivered nothing)."""
    if terms != "volunteer":
        return Level.OWNED
    return Level.PROBATION if standing is None else standing.level


def earned(standing: OwnerStanding, now: float) -> Level:
    """What an owner of volunteers' nodes has earned by this time, in seconds since 1970.

    >>> earned(OwnerStanding(since=0.0, images=20, clean=20), now=90_000.0).value
    'proven'
    """
    age_s = now - standing.since
    for need in _NEEDS:
        long_enough = age_s >= need.days * _DAY_S and standing.clean >= need.clean
        if long_enough and not standing.barred and (standing.known or not need.known):
            return need.level
    return Level.PROBATION


def limits_of(level: Level) -> LeaseLimits:
    return _LIMITS.get(level, LeaseLimits())


def checked_share(clean: int) -> float:
    """The share of the images of an owner that is checked, after so many good ones.

    All are, until enough were found right: what waits to be checked, or tells nothing, earns nothing.
    """
    return next((share for most, share in _SHARES if clean < most), _LATER)


def is_chosen(secret: bytes, attempt_id: str, share: float) -> bool:
    """Whether the image of an attempt is among the share to be checked; only the farm knows before."""
    drawn = hmac.digest(secret, attempt_id.encode(), sha256)[:8]
    return int.from_bytes(drawn) < share * 2**64


def told(level: Level, standing: OwnerStanding | None, now: float) -> str:
    """What a level means and what is missing for the next one, as one line of help; empty for own nodes.

    >>> told(Level.PROBATION, None, 0.0)
    'on probation: 4 images at a time, until 20 images and 1 day of its owner were good (0 of 0, 0.0 days)'
    """
    if standing is not None and standing.barred:
        return f"its owner is barred: {standing.barred}"
    known = standing or OwnerStanding(since=now)
    so_far = f"({known.clean} of {known.images}, {(now - known.since) / _DAY_S:.1f} days)"
    if level is not Level.OWNED and (due := earned(known, now)) is not level:
        return f"{level}; {due} with its next image {so_far}"
    match level:
        case Level.PROBATION:
            need = _NEEDS[1]
            return (
                f"on probation: {_LIMITS[level].images} images at a time, until {need.clean} images and "
                f"{need.days} day of its owner were good {so_far}"
            )
        case Level.PROVEN:
            need = _NEEDS[0]
            vouched = "" if known.known else ", and you know its owner (`farm node vouch`)"
            return f"proven; trusted after {need.clean} good images and {need.days} days {so_far}{vouched}"
        case Level.TRUSTED:
            return "trusted: one of 55 images is checked"
    return ""
