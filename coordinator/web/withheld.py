"""Withheld images: operators look at them and decide. Nobody else has these pages."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from common.errors import Forbidden, NotFound
from coordinator.explain.wording import SHORT
from coordinator.web.rendering import page
from coordinator.web.visitor import TheForm, TheVisitor

#: Seconds for which the address of an image is valid.
_URL_S = 600


def _must_operate(visitor: TheVisitor) -> None:
    if not visitor.may_operate:
        raise Forbidden(
            f"the {visitor.caller.name} key does not allow this: it needs the scope operate "
            "(`farm whoami` shows what it allows)"
        )


router = APIRouter(prefix="/withheld", dependencies=[Depends(_must_operate)])


@router.get("")
def show(request: Request, visitor: TheVisitor) -> Response:
    """The oldest of them, each with why it is withheld."""
    farm = visitor.farm
    return page(request, "withheld.html", images=farm.withheld(), number=farm.ledger.images.number_withheld())


@router.get("/{shot_id}/image")
def image(visitor: TheVisitor, shot_id: str) -> Response:
    """The image, from the store."""
    key = visitor.farm.ledger.images.withheld_key(shot_id)
    return RedirectResponse(visitor.farm.store.sign_get(key, expires_s=_URL_S), 303)


@router.post("/{shot_id}/{verb}")
def decide(visitor: TheVisitor, shot_id: str, verb: str, form: TheForm) -> Response:
    """Show an image to everybody who may see its job, or delete it."""
    images, act = visitor.farm.ledger.images, visitor.act(f"shot {verb}", shot_id[:SHORT])
    match verb:
        case "approve":
            images.approve(shot_id, act=act)
        case "delete":
            visitor.farm.delete(images.delete_content(form.text("sha256"), visitor.caller.name, act=act))
        case _:
            raise NotFound("there is no such page")
    return RedirectResponse("/withheld", 303)
