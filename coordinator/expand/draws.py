"""Stateless randomness: every draw is a pure function of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

#: Upper limit of random seeds, supported by every sampler and other programs.
SEEDS = 2**32


class Draws:
    """The draws for one seed position of a group.

    `mentioned` are the axis texts that the prompt refers to: combinations that differ only in other axes
    have the same draws, so that they can be compared.
    """

    def __init__(self, random_seed: int, group: str, position: int, mentioned: Sequence[str]) -> None:
        about = "\0".join((str(random_seed), group, str(position), *mentioned))
        self._about = blake2b(about.encode(), digest_size=32).digest()

    def uniform(self, place: str) -> float:
        """A number in [0, 1) with 53 random bits."""
        return (self._bits(place) >> 11) / 2**53

    def seed(self, place: str) -> int:
        """A random seed in [0, `SEEDS`)."""
        return self._bits(place) % SEEDS

    def _bits(self, place: str) -> int:
        return int.from_bytes(blake2b(self._about + place.encode(), digest_size=8).digest())
