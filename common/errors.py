"""Every error a person may meet. A message names the thing, the place and the remedy.

Each class carries the exit code of the command line, the HTTP status of the API and the reason, its name
there and in the metrics: what the coordinator raises arrives at every caller as the same class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from common.wording import visible

#: `unreadable`: no message of the API; `over`: an incarnation or lease that is; `repeated`: no error, but
#: counted with them: answered as before, without a second effect.
Reason = Literal[
    "key",
    "role",
    "ticket",
    "token",
    "upload",
    "over",
    "conflict",
    "version",
    "repeated",
    "unknown",
    "method",
    "no_length",
    "too_large",
    "unreadable",
    "invalid",
    "budget",
    "unavailable",
    "misconfigured",
    "fault",
]


class FarmError(Exception):
    """Something the farm can explain; shown as one sentence, never as a traceback."""

    exit_code = 1
    status = 500
    reason: Reason = "fault"


class Invalid(FarmError):
    """What was given is wrong and must be changed by the person who gave it."""

    exit_code = 2
    status = 422
    reason: Reason = "invalid"


class TooLarge(Invalid):
    """More bytes than the farm takes."""

    status = 413
    reason: Reason = "too_large"


class NoLength(Invalid):
    """A request that does not say how long its body is."""

    status = 411
    reason: Reason = "no_length"


class Unreadable(Invalid):
    """A request that is no message of the API."""

    reason: Reason = "unreadable"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a manifest, a catalog or a settings file."""

    message: str
    #: Dotted path inside the document, such as `shots[0].axes.scene`.
    path: str = ""
    #: 1-based; None where the text has no place for it (a missing key of the whole file).
    line: int | None = None
    column: int | None = None
    #: The file it stands in, if that is not the document itself but one that it extends.
    file: str = ""

    def place(self) -> tuple[str, int, int]:
        """Where it stands, to sort by; alike for all of a file that have no line, which keep their order."""
        return (self.file, 0, 0) if self.line is None else (self.file, self.line, self.column or 0)

    def at(self, source: str) -> str:
        """On one line."""
        source = self.file or source
        place = source if self.line is None else f"{source}:{self.line}"
        if self.line is not None and self.column is not None:
            place += f":{self.column}"
        path = f"{self.path}: " if self.path else ""
        return visible(f"{place}: {path}{self.message}")


class InvalidDocument(Invalid):
    """A manifest, catalog or settings file with every problem found in it, from its top to its end.

    What several parts of it take from one place is told once.
    """

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        told: dict[tuple[object, ...], Problem] = {}
        for each in problems:
            field = each.path if each.line is None else each.path.rpartition("]")[2]
            told.setdefault((each.place(), field, each.message), each)
        self.problems = tuple(sorted(told.values(), key=Problem.place))
        super().__init__("\n".join(problem.at(source) for problem in self.problems))


class EmptyDocument(InvalidDocument):
    """A file that says nothing: wrong for a manifest or a catalog, and settings that change nothing."""


class FitsNothing(FarmError):
    """Some shots fit no card that the farm has or knows."""

    exit_code = 3


class OverBudget(FarmError):
    """The estimate passes `limits.max_cost`."""

    exit_code = 4
    status = 422
    reason: Reason = "budget"


class Declined(FarmError):
    """The person said no, or nobody was there to ask."""

    exit_code = 5


class SomeFailed(FarmError):
    """The job ended with shots that failed."""

    exit_code = 6


class Unauthorised(FarmError):
    """No key, or one the farm does not know."""

    status = 401
    reason: Reason = "key"


class Forbidden(FarmError):
    """The key is known and does not allow this."""

    status = 403
    reason: Reason = "role"


class WrongTicket(Forbidden):
    """A ticket that this farm did not issue, or not to this node."""

    reason: Reason = "ticket"


class WrongUpload(Forbidden):
    """Other bytes than the URL was signed for, or no URL of ours."""

    reason: Reason = "upload"


class NotFound(FarmError):
    """No such job, shot, node, batch or route."""

    status = 404
    reason: Reason = "unknown"


class WrongMethod(NotFound):
    """The route exists and does not take this method."""

    status = 405
    reason: Reason = "method"


class Conflict(FarmError):
    """The request was right once and no longer is: a spent ticket, a closed batch."""

    status = 409
    reason: Reason = "conflict"


class OtherVersion(Conflict):
    """The caller's messages would not be understood; it must install the version that the sentence names."""

    reason: Reason = "version"


class Gone(FarmError):
    """The caller speaks for an incarnation or a lease that is over; it must drop that work."""

    status = 410
    reason: Reason = "over"


class WrongToken(Gone):
    """The token is not that of the batch."""

    reason: Reason = "token"


class Unavailable(FarmError):
    """A server the farm depends on does not answer; try again later."""

    status = 503
    reason: Reason = "unavailable"


class Misconfigured(FarmError):
    """A server answers and does not do what the farm needs; the operator must change its settings or ours."""

    exit_code = 2
    reason: Reason = "misconfigured"


def _answered(kind: type[FarmError] = FarmError) -> Iterator[type[FarmError]]:
    """`kind` and its heirs, as far as they have a reason of their own."""
    if "reason" in vars(kind):
        yield kind
    for heir in kind.__subclasses__():
        yield from _answered(heir)


#: What the API answers with. An error that shares its parent's reason, such as InvalidDocument, arrives as
#: that parent, one that has none as FarmError.
BY_REASON: dict[str, type[FarmError]] = {kind.reason: kind for kind in _answered()}
#: For answers without a reason that is known here: the most general error of each status.
BY_STATUS = {kind.status: kind for kind in reversed(BY_REASON.values())}
