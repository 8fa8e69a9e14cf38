"""Likeness: whether two images show the same, by their perceptual hashes, and what follows from several.

Cards differ in the last bits of their arithmetic, so equal shots give alike images and not equal bytes.
Images of another recipe differ by more, but are not unlike.
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
    """Of two images; those of one recipe are alike."""
    found = distance(one, other)
    if all(bits <= most for bits, most in zip(found, LIMITS.alike, strict=True)):
        return Likeness.ALIKE
    if any(bits >= least for bits, least in zip(found, LIMITS.unlike, strict=True)):
        return Likeness.UNLIKE
    return Likeness.UNCLEAR


#: Parts of the coarse bits of which one at least stays the same where up to 3 bits change. Files that were
#: saved again in another format or size differ by up to 2 (docs/decisions.md).
_PARTS = 4


def hash_parts(perceptual_hash: str) -> list[str]:
    """What the hashes of alike images have in common, one of these at least: keys of an index.

    >>> hash_parts("0123456789abcdef" + "0" * 144)
    ['00123', '14567', '289ab', '3cdef']
    """
    digits = COARSE // _PARTS
    return [f"{number}{perceptual_hash[digits * number :][:digits]}" for number in range(_PARTS)]


def is_repeated(one: str, other: str) -> bool:
    """Whether images of two seeds are so alike that one may be a copy of the other."""
    return all(bits <= most for bits, most in zip(distance(one, other), _REPEATED, strict=True))


class Opinion(NamedTuple):
    """An image that another node rendered of the same shot."""

    node: str
    owner: str
    #: Whether the node is the farm's.
    own: bool
    #: Compiled or not.
    recipe: str
    perceptual_hash: str


class Judgement(StrEnum):
    CLEAN = "clean"
    FALSE = "false"
    #: One node of the farm, and no other, shows something else each time: it or the image is wrong.
    DOUBTFUL = "doubtful"
    #: The images tell nothing: those of other nodes differ as much.
    OPEN = "open"


#: Opinions about an image at the most.
OPINIONS = 3


def judge(perceptual_hash: str, recipe: str, opinions: Sequence[Opinion]) -> Judgement | None:
    """What the opinions say of an image of this recipe; None: another one is needed.

    One that agrees clears it. It is false if those of two nodes agree with each other and none with it, so
    that no node alone, broken or hostile, decides about another.
    """
    seen = [_Seen(one, likeness(perceptual_hash, one.perceptual_hash)) for one in opinions]
    if any(one.how is Likeness.ALIKE for one in seen):
        return Judgement.CLEAN
    pairs = list(combinations(seen, 2))
    if any(_prove(recipe, *pair) for pair in pairs):
        return Judgement.FALSE
    if len(opinions) < OPINIONS:
        return None
    return Judgement.DOUBTFUL if all(_insists(*pair) for pair in pairs) else Judgement.OPEN


class _Seen(NamedTuple):
    """An opinion, and how it compares with the image."""

    opinion: Opinion
    how: Likeness


def _prove(recipe: str, one: _Seen, other: _Seen) -> bool:
    """Whether two opinions that do not agree with an image prove that it is false.

    They agree, come from two nodes, not of one volunteer, and are of its recipe; or, since a node can choose
    a recipe that nobody else takes, both are the farm's and show something else altogether.
    """
    first, second = one.opinion, other.opinion
    if first.node == second.node or not _agree(first, second):
        return False
    if first.own and second.own and one.how is other.how is Likeness.UNLIKE:
        return True
    same = first.recipe == second.recipe == recipe
    return same and (first.own or second.own or first.owner != second.owner)


def _insists(one: _Seen, other: _Seen) -> bool:
    """Whether one node of the farm showed something else altogether, twice."""
    first, second = one.opinion, other.opinion
    twice = first.own and first.node == second.node and _agree(first, second)
    return twice and one.how is other.how is Likeness.UNLIKE


def liars(perceptual_hash: str, opinions: Sequence[Opinion]) -> list[Opinion]:
    """Volunteers' opinions that two nodes of the farm contradict, and the image that was judged as well."""
    own = [
        pair
        for pair in combinations([one for one in opinions if one.own], 2)
        if pair[0].node != pair[1].node and _agree(*pair)
    ]
    return [
        one
        for one in _others(perceptual_hash, opinions)
        if any(all(_differ(one, true) for true in pair) for pair in own)
    ]


def doubted(perceptual_hash: str, opinions: Sequence[Opinion]) -> list[Opinion]:
    """Volunteers' opinions that one node of the farm contradicts, which agrees with the image."""
    own = [
        one
        for one in opinions
        if one.own and likeness(one.perceptual_hash, perceptual_hash) is Likeness.ALIKE
    ]
    return [one for one in _others(perceptual_hash, opinions) if any(_differ(one, true) for true in own)]


def _others(perceptual_hash: str, opinions: Sequence[Opinion]) -> list[Opinion]:
    """Volunteers' opinions that do not agree with the image."""
    return [
        one
        for one in opinions
        if not one.own and likeness(one.perceptual_hash, perceptual_hash) is not Likeness.ALIKE
    ]


def _agree(one: Opinion, other: Opinion) -> bool:
    return likeness(one.perceptual_hash, other.perceptual_hash) is Likeness.ALIKE


def _differ(one: Opinion, other: Opinion) -> bool:
    return likeness(one.perceptual_hash, other.perceptual_hash) is Likeness.UNLIKE
