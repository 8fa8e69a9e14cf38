"""Sign in with a key or a one-time link, and sign out."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from common.errors import FarmError, Forbidden, Unauthorised
from coordinator.farm import Farm
from coordinator.http.access import READS, TheFarm
from coordinator.web.rendering import page
from coordinator.web.sessions import LONGEST_S, Session, Sessions
from coordinator.web.visitor import TheForm, TheSession, TheSessions, check_origin, form_of, short_body

router = APIRouter()

#: Pages that hold or take a secret are kept nowhere.
_NOT_KEPT = {"Cache-Control": "no-store"}
#: Bytes of the form, which is read before its sender has shown a key.
_LONGEST_FORM = 4096


@router.get("/sign-in")
async def show(
    request: Request,
    farm: TheFarm,
    sessions: TheSessions,
    session: TheSession,
    once: str = "",
    next: str = "/",  # noqa: A002
) -> Response:
    """The form for a key; with `once`, sign in by a link, or ask before that changes who is signed in."""
    if farm.keyring.is_open:
        return RedirectResponse("/", 303)
    if not once:
        return page(request, "sign_in.html", headers=_NOT_KEPT, next=_local(next), refusal="")
    try:
        key_id = farm.sign_in_links.look(once)
    except Unauthorised as error:
        return _refusal(request, error) if session is None else RedirectResponse("/", 303)
    if session is not None and session.key_id == key_id:
        return RedirectResponse("/", 303)
    # Who comes from another site may be signed in: browsers send no cookie with that call.
    if session is not None or request.headers.get("sec-fetch-site") == "cross-site":
        return _question(request, farm, sessions, session, once)
    return _by_link(request, farm, sessions, once)


@router.post("/sign-in/link")
async def follow(request: Request, farm: TheFarm, sessions: TheSessions, session: TheSession) -> Response:
    """Sign in by a link, in place of who is signed in."""
    check_origin(request)
    form = form_of(await short_body(request, _LONGEST_FORM))
    once = form.text("once")
    if session is not None and not sessions.is_form_of(session, form.text("token")):
        # The question was shown to somebody who came from another site, so it did not say who is signed in.
        return _question(request, farm, sessions, session, once)
    return _by_link(request, farm, sessions, once)


def _question(
    request: Request, farm: Farm, sessions: Sessions, session: Session | None, once: str
) -> Response:
    """Whether to sign in by a link."""
    try:
        new = farm.keyring.holder(farm.sign_in_links.look(once), takes_call=False).name
    except Unauthorised as error:
        return _refusal(request, error)
    present = token = ""
    if session is not None:
        token = sessions.form_token(session)
        with suppress(Unauthorised):
            present = farm.keyring.holder(session.key_id, takes_call=False).name
    return page(
        request, "sign_in_link.html", headers=_NOT_KEPT, once=once, token=token, present=present, new=new
    )


def _by_link(request: Request, farm: Farm, sessions: Sessions, once: str) -> Response:
    try:
        key_id = farm.sign_in_links.take(once)
        READS.bounds(farm.keyring.holder(key_id))
    except (Unauthorised, Forbidden) as error:
        return _refusal(request, error)
    # A redirect would not send the cookie if another site has led here.
    welcome = page(request, "signed_in.html", headers=_NOT_KEPT)
    _begin(welcome, request, sessions, key_id)
    return welcome


def _refusal(request: Request, error: FarmError, wanted: str = "/") -> Response:
    return page(
        request, "sign_in.html", status=error.status, headers=_NOT_KEPT, next=wanted, refusal=str(error)
    )


@router.post("/sign-in")
async def sign_in(request: Request, farm: TheFarm, sessions: TheSessions) -> Response:
    """Begin a session with a key that may read."""
    check_origin(request)
    form = form_of(await short_body(request, _LONGEST_FORM))
    wanted = _local(form.text("next", "/"))
    try:
        key_id = farm.keyring.id_of(form.text("key"))
        READS.bounds(farm.keyring.holder(key_id))
    except (Unauthorised, Forbidden) as error:
        farm.traffic.refusal(error.reason)
        return _refusal(request, error, wanted)
    answer = RedirectResponse(wanted, 303)
    _begin(answer, request, sessions, key_id)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, sessions: TheSessions, form: TheForm) -> Response:
    """End the session in this browser."""
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(sessions.cookie)
    return answer


def _begin(answer: Response, request: Request, sessions: Sessions, key_id: str) -> None:
    secure = request.app.state.farm.settings.api_url.startswith("https://")
    answer.set_cookie(
        sessions.cookie,
        sessions.begin(key_id),
        max_age=LONGEST_S,
        httponly=True,
        samesite="strict",
        secure=secure,
    )


def _local(wanted: str) -> str:
    """A page of this site; browsers read `\\` as `/`, and `//host` as another site."""
    try:
        parts = urlsplit(wanted.replace("\\", "/"))
    except ValueError:
        return "/"
    is_local = not parts.scheme and not parts.netloc and wanted[:1] == "/" and wanted[1:2] not in ("/", "\\")
    return wanted if is_local and wanted.isprintable() else "/"
