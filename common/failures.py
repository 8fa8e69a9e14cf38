"""Kinds of failure of a shot, who is at fault, and the consequence.

A node reports a kind; everything else about a failure is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from common.states import ShotEvent

#: Failed attempts after which a shot fails for good.
MAX_ATTEMPTS = 3
#: Crashes of engine, node or ingest while processing a shot after which it fails for good.
MAX_CRASHES = 3


class Blame(StrEnum):
    #: Counts as a failed attempt of the shot; also against the node if another node renders the shot.
    SHOT = "shot"
    #: Counts against the node; the shot waits again and loses no attempt.
    NODE = "node"
    #: Counts against neither shot nor node; the shot waits again.
    FARM = "farm"
    #: The shot waits for a larger VRAM class.
    OUT_OF_MEMORY = "out_of_memory"
    #: No job wants the shot any more.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Failure:
    kind: str
    blame: Blame
    #: What happened, as a sentence for people without a full stop.
    sentence: str
    #: Failed attempts that end the shot, including this one: 1 if no other node could succeed.
    attempts: int = MAX_ATTEMPTS


_KNOWN = (
    Failure("invalid_spec", Blame.SHOT, "the pipeline rejected its settings"),
    Failure("prompt_too_long", Blame.SHOT, "the prompt exceeds the token limit of the model", attempts=1),
    Failure("unsupported_size", Blame.SHOT, "the model cannot render the requested size"),
    Failure("lora_rejected", Blame.SHOT, "a LoRA is incompatible with the model, or applies only in part"),
    Failure("inversion_rejected", Blame.SHOT, "a textual inversion is incompatible with the model"),
    Failure("upscaler_rejected", Blame.SHOT, "nodes cannot load the upscaler"),
    Failure("not_a_number", Blame.SHOT, "the model computed NaN or infinite values"),
    Failure("black_image", Blame.SHOT, "the image is black"),
    Failure("flat_image", Blame.SHOT, "the image is a single flat colour"),
    Failure("stalled", Blame.SHOT, "rendering made no progress within the time limit"),
    Failure("hard_limit", Blame.SHOT, "rendering exceeded the hard time limit"),
    Failure("render_error", Blame.SHOT, "rendering failed"),
    Failure(
        "poison",
        Blame.SHOT,
        f"the engine, the node or ingest crashed {MAX_CRASHES} times while processing it",
    ),
    Failure("out_of_memory", Blame.OUT_OF_MEMORY, "the card ran out of memory"),
    Failure(
        "out_of_memory_here",
        Blame.NODE,
        "the card ran out of memory with a single image, and no node of another owner did",
    ),
    Failure("overdue", Blame.NODE, "the node delivered nothing for so long that its lease ended"),
    Failure("model_missing", Blame.NODE, "the model files are missing on the node"),
    Failure("model_mismatch", Blame.NODE, "the model files on the node differ from the catalog"),
    Failure("load_error", Blame.NODE, "the pipeline could not be loaded"),
    Failure("engine_died", Blame.NODE, "the rendering process exited unexpectedly"),
    Failure("device_lost", Blame.NODE, "the card no longer responds"),
    Failure("disk_full", Blame.NODE, "the node's disk is full"),
    Failure("not_an_image", Blame.NODE, "the upload is not a complete image"),
    Failure("wrong_size", Blame.NODE, "the image does not have the requested size"),
    Failure("wrong_checksum", Blame.NODE, "SHA-256 mismatch between the upload and the report"),
    Failure("wrong_format", Blame.NODE, "the image does not have the requested format"),
    Failure("wrong_shot", Blame.NODE, "the upload belongs to another shot"),
    Failure("upload_failed", Blame.NODE, "the store rejects uploads from this node"),
    Failure("upload_missing", Blame.NODE, "the upload is missing from the store"),
    Failure("ingest_crash", Blame.FARM, "ingest started checking it several times without finishing"),
    Failure("store_unavailable", Blame.FARM, "the store did not respond"),
    Failure(
        "withheld",
        Blame.FARM,
        "the image is withheld: a classifier of its lane marked it, and the operator of the farm decides",
    ),
    Failure("cancelled", Blame.CANCELLED, "no job wants it any more"),
)
FAILURES = {failure.kind: failure for failure in _KNOWN}


def kinds(*blames: Blame) -> tuple[str, ...]:
    """All kinds of failure with one of these blames."""
    return tuple(failure.kind for failure in _KNOWN if failure.blame in blames)


def failure(kind: str) -> Failure:
    """The failure of that kind; an unknown kind counts as the shot's own, so that its attempts limit it."""
    return FAILURES.get(kind) or Failure(kind, Blame.SHOT, f"unknown kind of failure ({kind})")


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
