"""Errors that users may see. Each message states the problem, the place and the remedy.

Each class defines the exit code of the command line, the HTTP status of the API, and the reason by which the
API and the metrics identify it, with a title of a few words. Every caller of the API receives an error of the
class that the coordinator raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from common.wording import visible

#: `unreadable`: the request is not a valid message. `over`: the incarnation or lease has ended. `repeated`:
#: not an error, but counted in the same metric; a repeated call gets the same answer and has no second
#: effect.
Reason = Literal[
    "key",
    "role",
    "grant",
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
    "rate",
    "quota",
    "unavailable",
    "misconfigured",
    "fault",
]


class FarmError(Exception):
    """An error with an explanation for users. It is shown as one sentence, without a traceback."""

    exit_code = 1
    status = 500
    reason: Reason = "fault"
    title = "The farm failed"


class Invalid(FarmError):
    """The input is wrong, and the person who supplied it must change it."""

    exit_code = 2
    status = 422
    reason: Reason = "invalid"
    title = "Invalid input"


class TooLarge(Invalid):
    """The request has more bytes than the farm accepts."""

    status = 413
    reason: Reason = "too_large"
    title = "Body too large"


class NoLength(Invalid):
    """The request does not state the length of its body."""

    status = 411
    reason: Reason = "no_length"
    title = "Length missing"


class Unreadable(Invalid):
    """The request is not a valid message of the API."""

    reason: Reason = "unreadable"
    title = "Unreadable message"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in a manifest, a catalog or a settings file."""

    message: str
    #: Dotted path inside the document, such as `shots[0].axes.scene`.
    path: str = ""
    #: Starts at 1; None if the problem has no position in the text, such as a missing key of the whole file.
    line: int | None = None
    column: int | None = None
    #: The extended file that contains the problem; empty for the document itself.
    file: str = ""

    def place(self) -> tuple[str, int, int]:
        """Returns a sort key. Problems without a line share one key per file, so they keep their order."""
        return (self.file, 0, 0) if self.line is None else (self.file, self.line, self.column or 0)

    def at(self, source: str) -> str:
        """Returns the problem with its place, on one line."""
        source = self.file or source
        place = source if self.line is None else f"{source}:{self.line}"
        if self.line is not None and self.column is not None:
            place += f":{self.column}"
        path = f"{self.path}: " if self.path else ""
        return visible(f"{place}: {path}{self.message}")


class InvalidDocument(Invalid):
    """A manifest, catalog or settings file has problems; lists them in the order of the text.

    A problem that several parts of the document inherit from one place is listed once.
    """

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        unique: dict[tuple[object, ...], Problem] = {}
        for each in problems:
            field = each.path if each.line is None else each.path.rpartition("]")[2]
            unique.setdefault((each.place(), field, each.message), each)
        self.problems = tuple(sorted(unique.values(), key=Problem.place))
        super().__init__("\n".join(problem.at(source) for problem in self.problems))


class EmptyDocument(InvalidDocument):
    """The file has no content: an error for manifests and catalogs, valid for settings."""


class FitsNothing(FarmError):
    """Some shots fit no card that the farm has or knows."""

    exit_code = 3


class OverBudget(FarmError):
    """The estimated cost exceeds `limits.max_cost`."""

    exit_code = 4
    status = 422
    reason: Reason = "budget"
    title = "Over budget"


class Declined(FarmError):
    """The user declined, or the command could not ask."""

    exit_code = 5


class SomeFailed(FarmError):
    """The job ended with failed shots."""

    exit_code = 6


class Unauthorised(FarmError):
    """The request has no key, or an unknown one."""

    status = 401
    reason: Reason = "key"
    title = "Key missing or invalid"


class Forbidden(FarmError):
    """The key is known but does not permit this request."""

    status = 403
    reason: Reason = "role"
    title = "Not allowed"


class NotGranted(Forbidden):
    """The key submits jobs, but not with this lane, priority or owner."""

    reason: Reason = "grant"
    title = "Not granted to this key"


class WrongTicket(Forbidden):
    """The ticket was not issued by this farm, or not for this node."""

    reason: Reason = "ticket"
    title = "Wrong ticket"


class WrongUpload(Forbidden):
    """The content differs from what the URL was signed for, or the URL was not signed by this farm."""

    reason: Reason = "upload"
    title = "Upload refused"


class NotFound(FarmError):
    """The job, shot, node, batch or route does not exist."""

    status = 404
    reason: Reason = "unknown"
    title = "Not found"


class WrongMethod(NotFound):
    """The route exists but does not support this method."""

    status = 405
    reason: Reason = "method"
    title = "Method not supported"


class Conflict(FarmError):
    """The state has changed since the request was valid, for example a used ticket or a closed batch."""

    status = 409
    reason: Reason = "conflict"
    title = "State does not allow it"


class AlreadyStored(Conflict):
    """An object with this key exists. By the status, which S3 has too, a node whose first call was not
    answered knows that its upload has arrived."""

    status = 412


class OtherVersion(Conflict):
    """The caller uses another protocol version; it must install the version named in the message."""

    reason: Reason = "version"
    title = "Another protocol version"


class Gone(FarmError):
    """The incarnation or lease of the caller has ended; the caller must drop its work."""

    status = 410
    reason: Reason = "over"
    title = "Lease or incarnation ended"


class WrongToken(Gone):
    """The token does not belong to the batch."""

    reason: Reason = "token"
    title = "Wrong token"


class TooMany(FarmError):
    """The caller has used up what its key allows per period; it can retry after `retry_after_s`."""

    status = 429
    reason: Reason = "rate"
    title = "Too many calls"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OverQuota(TooMany):
    """The key has ordered as many images, or spent as much, as it allows per period."""

    exit_code = 4
    reason: Reason = "quota"
    title = "Quota used up"


class Unavailable(FarmError):
    """A server that the farm depends on does not respond; the caller can retry later."""

    status = 503
    reason: Reason = "unavailable"
    title = "Server unavailable"


class Misconfigured(FarmError):
    """A server responds but is unsuitable; the operator must change its settings or the farm's."""

    exit_code = 2
    reason: Reason = "misconfigured"
    title = "Farm misconfigured"


def _answered(kind: type[FarmError] = FarmError) -> Iterator[type[FarmError]]:
    """Yields `kind` and its subclasses that define their own reason."""
    if "reason" in vars(kind):
        yield kind
    for heir in kind.__subclasses__():
        yield from _answered(heir)


#: The classes of API errors. An error class without its own reason, such as InvalidDocument, arrives as the
#: nearest parent class that defines one, and as FarmError if there is none.
BY_REASON: dict[str, type[FarmError]] = {kind.reason: kind for kind in _answered()}
#: Used if the reason is unknown: the most general error class of each status.
BY_STATUS = {kind.status: kind for kind in reversed(BY_REASON.values())}
