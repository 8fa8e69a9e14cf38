"""Who looks at a page, what the key allows, and what a form may change: the scopes of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from common.errors import Forbidden, TooLarge, Unauthorised, Unreadable
from common.scopes import Bounds, Caller
from coordinator.farm import Farm
from coordinator.http.access import READS, STEERS, TheFarm, check_job
from coordinator.http.origins import is_same_origin
from coordinator.ledger import Act
from coordinator.web.sessions import OPEN, Session, Sessions


class SignedOut(Unauthorised):
    """Nobody is signed in, or the session has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    farm: Farm
    caller: Caller
    session: Session
    #: Of the forms of this session.
    form_token: str

    @property
    def bounds(self) -> Bounds | None:
        """What the visitor sees. Raises Forbidden."""
        return READS.bounds(self.caller)

    @property
    def owner(self) -> str | None:
        """Whose jobs the visitor sees; None: everybody's."""
        bounds = self.bounds
        return bounds and bounds.owner

    @property
    def may_submit(self) -> bool:
        return self.caller.allows(["submit"])

    @property
    def may_operate(self) -> bool:
        return self.caller.allows(["operate"])

    def may_steer(self, owner: str) -> bool:
        """Whether the visitor may change jobs of an owner."""
        return self.may_operate or (self.may_submit and self.caller.owner == owner)

    def job(self, job_id: str) -> str:
        """A job that the visitor sees. Raises NotFound."""
        check_job(job_id, self.farm, self.owner)
        return job_id

    def steered_job(self, job_id: str) -> str:
        """A job that the visitor may change. Raises NotFound or Forbidden."""
        bounds = STEERS.bounds(self.caller)
        check_job(job_id, self.farm, bounds and bounds.owner)
        return job_id

    def act(self, action: str, subject: str, detail: str = "") -> Act:
        """What the visitor changes, for the audit log."""
        return Act(
            by=self.caller.name,
            owner=self.caller.owner or "",
            action=action,
            subject=subject,
            detail=detail,
        )


async def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


TheSessions = Annotated[Sessions, Depends(_sessions)]


async def _session(request: Request, farm: TheFarm, sessions: TheSessions) -> Session | None:
    if farm.keyring.is_open:
        return OPEN
    return sessions.read(request.cookies.get(sessions.cookie, ""))


#: Of the call; None: nobody is signed in.
TheSession = Annotated[Session | None, Depends(_session)]


def _who(request: Request, session: Session | None, *, takes_call: bool) -> Visitor:
    farm: Farm = request.app.state.farm
    sessions: Sessions = request.app.state.sessions
    if session is None:
        raise SignedOut("sign in to see this page")
    try:
        caller = farm.keyring.holder(session.key_id, takes_call=takes_call)
    except Unauthorised as error:
        raise SignedOut(str(error)) from None
    token = sessions.form_token(session)
    request.state.visitor = Visitor(farm=farm, caller=caller, session=session, form_token=token)
    visitor: Visitor = request.state.visitor
    return visitor


async def _visitor(request: Request, session: TheSession) -> Visitor:
    return _who(request, session, takes_call=True)


#: Who looks at the page. Raises SignedOut, or TooMany beyond the rate of the key.
TheVisitor = Annotated[Visitor, Depends(_visitor)]


async def _viewer(request: Request, session: TheSession) -> Visitor:
    return _who(request, session, takes_call=False)


#: The same for what a page asks for by itself, its images and what renews: no calls of their own.
TheViewer = Annotated[Visitor, Depends(_viewer)]


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form."""

    fields: Mapping[str, list[str]] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """The last value of a field; line ends as `\\n`."""
        values = self.fields.get(name)
        return values[-1].replace("\r\n", "\n") if values else default

    def texts(self, name: str) -> list[str]:
        return self.fields.get(name, [])


#: Fields of a form; an order has two for each LoRA of the catalog.
_MOST_FIELDS = 10_000


def form_of(body: bytes) -> Form:
    """Raises Unreadable for too many fields."""
    try:
        text = body.decode("utf-8", "replace")
        return Form(parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise Unreadable(f"the form has more than {_MOST_FIELDS} fields: leave some out") from None


async def short_body(request: Request, limit: int) -> bytes:
    """The body of a call that has shown no key yet. Raises TooLarge beyond `limit` bytes."""
    length = request.headers.get("content-length", "0")
    body = bytearray()
    if int(length) <= limit:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise TooLarge(f"the form has more than {limit} bytes: open the page again and repeat it")


def check_origin(request: Request) -> None:
    """Raises Forbidden unless a page of this farm made the call."""
    if "origin" in request.headers:
        same = is_same_origin(request.headers, request.app.state.farm.settings.api_url)
    else:
        same = _is_fetched_here(request)
    if not same:
        raise Forbidden("this form was not sent by a page of this farm: open the page again and repeat it")


def _is_fetched_here(request: Request) -> bool:
    """What browsers say that send no origin."""
    return request.headers.get("sec-fetch-site", "") == "same-origin"


async def _form(request: Request, visitor: TheVisitor, sessions: TheSessions) -> Form:
    check_origin(request)
    # A large one would hold up all other calls.
    form = await run_in_threadpool(form_of, await request.body())
    if not sessions.is_form_of(visitor.session, form.text("token")):
        raise Forbidden("the form is from another session: open the page again and repeat it")
    return form


#: A form that a page of this session sent. Raises Forbidden.
TheForm = Annotated[Form, Depends(_form)]
