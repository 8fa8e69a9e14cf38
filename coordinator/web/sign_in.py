"""Sign in with a key or a one-time link, and sign out."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from common.errors import Forbidden, Unauthorised
from coordinator.http.access import READS, TheFarm
from coordinator.web.rendering import page
from coordinator.web.sessions import LONGEST_S, Sessions
from coordinator.web.visitor import TheForm, TheSession, TheSessions, check_origin

router = APIRouter()

#: Pages that hold or take a secret are kept nowhere.
_NOT_KEPT = {"Cache-Control": "no-store"}


@router.get("/sign-in")
async def show(
    request: Request,
    farm: TheFarm,
    sessions: TheSessions,
    session: TheSession,
    once: str = "",
    next: str = "/",  # noqa: A002
) -> Response:
    """The form for a key; with `once`, sign in by a link."""
    if farm.keyring.is_open:
        return RedirectResponse("/", 303)
    if not once:
        return page(request, "sign_in.html", headers=_NOT_KEPT, next=_local(next), refusal="")
    try:
        key_id = farm.sign_in_links.take(once)
        READS.bounds(farm.keyring.holder(key_id))
    except (Unauthorised, Forbidden) as error:
        if session is not None:
            return RedirectResponse("/", 303)
        return page(
            request, "sign_in.html", status=error.status, headers=_NOT_KEPT, next="/", refusal=str(error)
        )
    # A redirect would not send the cookie if another site has led here.
    welcome = page(request, "signed_in.html", headers=_NOT_KEPT)
    _begin(welcome, request, sessions, key_id)
    return welcome


@router.post("/sign-in")
async def sign_in(request: Request, farm: TheFarm, sessions: TheSessions) -> Response:
    """Begin a session with a key that may read."""
    check_origin(request)
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    wanted = _local(fields.get("next", ["/"])[-1])
    try:
        key_id = farm.keyring.id_of(fields.get("key", [""])[-1])
        READS.bounds(farm.keyring.holder(key_id))
    except (Unauthorised, Forbidden) as error:
        farm.traffic.refusal(error.reason)
        return page(
            request, "sign_in.html", status=error.status, headers=_NOT_KEPT, next=wanted, refusal=str(error)
        )
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
    parts = urlsplit(wanted.replace("\\", "/"))
    is_local = not parts.scheme and not parts.netloc and wanted[:1] == "/" and wanted[1:2] not in ("/", "\\")
    return wanted if is_local and wanted.isprintable() else "/"
