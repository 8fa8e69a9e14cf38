"""Likeness: whether two images show the same, by their perceptual hashes, and what follows from several.

Cards differ in the last bits of their arithmetic, so equal shots give alike images and not equal bytes. The
limits are for images of one recipe; those of another recipe can differ by more and prove nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

#: Hexadecimal digits of a perceptual hash: 64 bits of coarse structure, then 576 of finer one.
COARSE, FINE = 16, 144
#: Pattern of a perceptual hash.
PERCEPTUAL_HASH = rf"^[0-9a-f]{{{COARSE + FINE}}}$"


class Likeness(StrEnum):
    ALIKE = "alike"
    UNCLEAR = "unclear"
    UNLIKE = "unlike"


class LikenessLimits(NamedTuple):
    """Bits of difference: up to both of `alike` two images show the same, from either of `unlike` not."""

    alike: tuple[int, int]
    unlike: tuple[int, int]


#: Of coarse and of fine bits. docs/decisions.md says where they come from.
LIMITS = LikenessLimits(alike=(8, 45), unlike=(19, 144))
#: Images of a node with other seeds that differ by no more may be one image.
_REPEATED = (4, 32)


def distance(one: str, other: str) -> tuple[int, int]:
    """Bits in which two perceptual hashes differ, coarse and fine ones."""
    differing = int(one, 16) ^ int(other, 16)
    fine = differing & ((1 << 4 * FINE) - 1)
    return (differing >> 4 * FINE).bit_count(), fine.bit_count()


def likeness(one: str, other: str) -> Likeness:
    """Of two images of one recipe."""
    found = distance(one, other)
    if all(bits <= most for bits, most in zip(found, LIMITS.alike, strict=True)):
        return Likeness.ALIKE
    if any(bits >= least for bits, least in zip(found, LIMITS.unlike, strict=True)):
        return Likeness.UNLIKE
    return Likeness.UNCLEAR


def is_repeated(one: str, other: str) -> bool:
    """Whether images of two seeds are so alike that one may be a copy of the other."""
    return all(bits <= most for bits, most in zip(distance(one, other), _REPEATED, strict=True))


class Opinion(NamedTuple):
    """An image that another node rendered of the same shot."""

    node: str
    owner: str
    #: Whether the node is the farm's.
    own: bool
    recipe: str
    perceptual_hash: str


class Judgement(StrEnum):
    CLEAN = "clean"
    FALSE = "false"
    #: The images tell nothing: those of other nodes differ as much.
    OPEN = "open"


#: Opinions about an image at the most.
OPINIONS = 3


def judge(perceptual_hash: str, recipe: str, opinions: Sequence[Opinion]) -> Judgement | None:
    """What the opinions say of an image of this recipe; None: another one is needed.

    One that agrees clears it. It is false if two of its recipe agree with each other and none with it, so
    that no node alone, broken or hostile, decides about another.
    """
    seen = [likeness(perceptual_hash, one.perceptual_hash) for one in opinions]
    if Likeness.ALIKE in seen:
        return Judgement.CLEAN
    same = [(one, how) for one, how in zip(opinions, seen, strict=True) if one.recipe == recipe]
    if any(_prove(*pair) for pair in combinations(same, 2)):
        return Judgement.FALSE
    return None if len(opinions) < OPINIONS else Judgement.OPEN


def _prove(one: tuple[Opinion, Likeness], other: tuple[Opinion, Likeness]) -> bool:
    """Whether two opinions that do not agree with an image prove that it is false: they agree, and come from
    two nodes, not of one volunteer; or twice from one of the farm that shows something else altogether."""
    (first, how), (second, too) = one, other
    if likeness(first.perceptual_hash, second.perceptual_hash) is not Likeness.ALIKE:
        return False
    if first.node == second.node:
        return first.own and how is too is Likeness.UNLIKE
    return first.own or second.own or first.owner != second.owner


def liars(recipe: str, opinions: Sequence[Opinion]) -> list[Opinion]:
    """Volunteers' opinions that differ from one of the farm by the same recipe."""
    own = [one for one in opinions if one.own and one.recipe == recipe]
    return [
        one
        for one in opinions
        if not one.own
        and one.recipe == recipe
        and any(likeness(one.perceptual_hash, true.perceptual_hash) is Likeness.UNLIKE for true in own)
    ]
