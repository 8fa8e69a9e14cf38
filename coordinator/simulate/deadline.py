"""When a job would be done on a farm at work, and whether in time, as `farm plan --json` prints it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from common.units import Amount


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class AddedCards(_View):
    """Cards of one kind that would be enough."""

    card: str
    cards: int
    #: What owning all of them costs.
    per_hour: Amount


class Deadline(_View):
    """Whether a job is done by a time."""

    #: In seconds since 1970.
    at: float
    in_time: bool
    #: Seconds from the end to the deadline; negative if it is missed.
    spare_s: float
    #: What would make it in time; None if it is, or if no number of reference cards would.
    addition: AddedCards | None


class DoneForecast(_View):
    """When a job would be done on a farm at work."""

    #: In seconds since 1970.
    done_at: float
    #: From now on.
    seconds: float
    #: The part of it by which other jobs delay this one.
    waits_s: float
    #: Images that the farm has stored already; the job reuses them.
    stored: int = 0
    #: With `--by`.
    deadline: Deadline | None = None
