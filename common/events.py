"""What watchers of a farm are told as it happens, on event streams and by webhooks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from common.messages import Message, Sha256


class _Event(Message):
    # Read by clients of other versions, too.
    model_config = ConfigDict(extra="ignore")

    #: Grows with each event; a job may have the ID of the last shot before it.
    id: int


class ShotUpdate(_Event):
    """The image of a shot was stored or withheld, or the shot failed, or something about that changed."""

    type: Literal["shot"] = "shot"
    at: float
    #: A shot that several jobs want is reported for each of them.
    job: str
    shot: Sha256
    #: The first at which the job wants it; None after a removal.
    position: int | None
    #: Output path without extension; empty after a removal.
    name: str = ""
    #: `done`, `withheld`, `failed`, `unschedulable`, `waiting` (it begins anew), `rejected` or `deleted` (by
    #: a person).
    state: str
    #: Kind of failure.
    failure: str = ""


class JobUpdate(_Event):
    """The state of a job after its newest changes."""

    type: Literal["job"] = "job"
    at: float
    job: str
    name: str
    owner: str
    #: As in GET /v1/jobs.
    status: str
    #: Why the farm paused it automatically.
    reason: str = ""
    images: int
    #: Shots by state.
    counts: dict[str, int]
    #: Whether one of these changes ended it: none of its shots is in work or waits any more.
    ended: bool = False


class StreamReset(_Event):
    """Events before this one are not kept, or are too many to repeat: read again what you show."""

    type: Literal["reset"] = "reset"


Event = Annotated[ShotUpdate | JobUpdate | StreamReset, Field(discriminator="type")]
