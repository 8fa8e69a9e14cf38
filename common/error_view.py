"""How an error looks in an answer of the coordinator."""

from __future__ import annotations

from pydantic import ConfigDict

from common.errors import BY_REASON, BY_STATUS, FarmError, InvalidDocument
from common.messages import Message

#: Characters of one line of an error.
_LONGEST_LINE = 1000


class ProblemView(Message):
    """One problem in a manifest or a catalog entry, and its place."""

    model_config = ConfigDict(extra="ignore")

    detail: str
    #: Dotted path inside the document, such as `shots[0].axes.scene`.
    path: str = ""
    #: Both begin at 1; None if the problem has no position in the text.
    line: int | None = None
    column: int | None = None
    #: The extended file that contains the problem; empty for the document itself.
    file: str = ""


class ErrorView(Message):
    """The body of every error response (status 400 and above), as `application/problem+json` (RFC 9457)."""

    # Read by callers of other versions, too.
    model_config = ConfigDict(extra="ignore")

    #: Where a farm explains errors of this kind.
    type: str = "about:blank"
    title: str = ""
    #: That of the response.
    status: int = 0
    #: Problem and remedy: one sentence, for a manifest one line for each problem.
    detail: str
    #: Which error it is (`common.errors`, [reasons](refusals.md)).
    reason: str = ""
    #: Those of a manifest or a catalog entry; absent for other errors.
    problems: tuple[ProblemView, ...] = ()

    @classmethod
    def of(cls, error: FarmError) -> ErrorView:
        problems = error.problems if isinstance(error, InvalidDocument) else ()
        return cls(
            type=f"/docs#{error.reason}",
            title=error.title,
            status=error.status,
            detail=_cut(str(error)),
            reason=error.reason,
            problems=tuple(
                ProblemView(
                    detail=_cut(each.message),
                    path=_cut(each.path),
                    line=each.line,
                    column=each.column,
                    file=_cut(each.file),
                )
                for each in problems
            ),
        )

    def as_raised(self, status: int) -> FarmError:
        """The error that was answered with this and `status`."""
        kind = BY_REASON.get(self.reason) or BY_STATUS.get(status, FarmError)
        return kind(self.detail)


def _cut(text: str) -> str:
    """The text with lines of a bounded length: a manifest has a line for every problem."""
    return "\n".join(line[:_LONGEST_LINE] for line in text.splitlines())
