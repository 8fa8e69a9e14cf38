"""What can go wrong with a shot, whose fault it is, and what follows.

A node reports a kind; everything else about a failure is decided here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from common.states import ShotEvent

#: A shot's own failures before it is given up.
MAX_ATTEMPTS = 3
#: Times that an engine, node or ingest may die with a shot in hand before it is given up.
MAX_CRASHES = 3


class Blame(StrEnum):
    #: The shot is charged one of its attempts; so is the node, if another renders the shot well.
    SHOT = "shot"
    #: The shot waits again at no cost; the node is charged.
    NODE = "node"
    #: The shot waits again, and nobody is charged.
    FARM = "farm"
    #: The shot waits for a larger VRAM class.
    OUT_OF_MEMORY = "out_of_memory"
    #: Nobody wants it any more.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Failure:
    kind: str
    blame: Blame
    #: What happened, for a person, without a full stop.
    sentence: str
    #: How many of a shot's own failures end it, this one included: 1 where no other node could do better.
    attempts: int = MAX_ATTEMPTS


_KNOWN = (
    Failure("invalid_spec", Blame.SHOT, "the pipeline refused its settings"),
    Failure("prompt_too_long", Blame.SHOT, "the prompt is longer than the model reads", attempts=1),
    Failure("unsupported_size", Blame.SHOT, "the model makes another size than was asked for"),
    Failure("lora_rejected", Blame.SHOT, "a LoRA does not fit the model, or only in part"),
    Failure("not_a_number", Blame.SHOT, "the model computed values that are not numbers"),
    Failure("black_image", Blame.SHOT, "the picture is black"),
    Failure("flat_image", Blame.SHOT, "the picture is one flat colour"),
    Failure("stalled", Blame.SHOT, "no step was made for too long"),
    Failure("hard_limit", Blame.SHOT, "it took longer than an image may"),
    Failure("render_error", Blame.SHOT, "rendering failed"),
    Failure("poison", Blame.SHOT, f"engine, node or ingest died {MAX_CRASHES} times with it in hand"),
    Failure("out_of_memory", Blame.OUT_OF_MEMORY, "the card ran out of memory"),
    Failure("model_missing", Blame.NODE, "the node does not hold the model's files"),
    Failure("model_mismatch", Blame.NODE, "the node's model files are not those of the catalog"),
    Failure("load_error", Blame.NODE, "the pipeline could not be loaded"),
    Failure("engine_died", Blame.NODE, "the rendering process died"),
    Failure("device_lost", Blame.NODE, "the card no longer answers"),
    Failure("disk_full", Blame.NODE, "the node's disk is full"),
    Failure("not_an_image", Blame.NODE, "the upload is not a whole image"),
    Failure("wrong_size", Blame.NODE, "the picture is not of the size that was asked for"),
    Failure("wrong_checksum", Blame.NODE, "the upload is not the bytes that were reported"),
    Failure("wrong_format", Blame.NODE, "the picture is not of the format that was asked for"),
    Failure("wrong_shot", Blame.NODE, "the upload names another shot"),
    Failure("upload_failed", Blame.NODE, "the store refuses what this node uploads"),
    Failure("upload_missing", Blame.NODE, "the upload is not in the store"),
    Failure("ingest_crash", Blame.FARM, "ingest began several times to check it and never ended"),
    Failure("store_unavailable", Blame.FARM, "the store did not answer"),
    Failure("cancelled", Blame.CANCELLED, "nobody wants it any more"),
)
FAILURES = {failure.kind: failure for failure in _KNOWN}


def kinds(*blames: Blame) -> tuple[str, ...]:
    """Every kind of failure that is one of these faults."""
    return tuple(failure.kind for failure in _KNOWN if failure.blame in blames)


def failure(kind: str) -> Failure:
    """The failure of that kind. One that this version does not know is the shot's: attempts bound it."""
    return FAILURES.get(kind) or Failure(kind, Blame.SHOT, f"it failed for a reason unknown here ({kind})")


def consequence(
    blame: Blame, *, attempts: int, larger_class: int | None, most: int = MAX_ATTEMPTS
) -> ShotEvent:
    """What a failure does to its shot.

    `attempts` counts the shot's own failures, this one included; `most` of them end it. `larger_class` is
    the next VRAM class (GiB) above the card's; None on the largest.
    """
    match blame:
        case Blame.SHOT:
            return ShotEvent.RETRIED if attempts < most else ShotEvent.EXHAUSTED
        case Blame.OUT_OF_MEMORY:
            return ShotEvent.OUTGROWN if larger_class is None else ShotEvent.ENLARGED
        case Blame.NODE | Blame.FARM | Blame.CANCELLED:
            return ShotEvent.RETURNED
