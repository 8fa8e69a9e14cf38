"""A new job: a form for people who write no YAML, an editor for those who do, the plan before the button."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from common.catalog import Catalog, Model
from common.errors import FarmError, Forbidden, InvalidDocument, Problem
from common.fit import Misfit, plain_shot, smallest_class
from common.manifest.parse import parse_manifest
from common.units import counted
from common.views import NodeView, Submit
from coordinator.expand import expand
from coordinator.explain.fleet import in_service
from coordinator.submission.plan import PlanReport
from coordinator.web.order_form import ASPECTS, IDEAS, Order
from coordinator.web.rendering import page
from coordinator.web.visitor import Form, TheForm, TheVisitor, Visitor

router = APIRouter(prefix="/new")

#: Images that are planned while somebody types.
_PLANNED = 20_000
#: What messages call the manifest.
_SOURCE = "manifest"
#: Characters of a manifest that are checked while somebody types.
_LONGEST = 200_000
_EXAMPLE = """\
version: 1
name: my-job
shots:
- name: mug
  model: {model}
  prompt: "a {{colour}} mug on a {{background}} background"
  axes:
    colour: [red, blue, yellow]
    background: [white, green]
  seeds: 2
output: {{name: "{{colour}}-on-{{background}}-{{seed}}"}}
"""


class ModelCard(NamedTuple):
    """A model, and what of the fleet can render it."""

    model: Model
    #: In GiB; 0 if no class is large enough.
    smallest_class: int
    #: Names of nodes in service that have it, or fetch it when it is needed.
    nodes: tuple[str, ...]


class LoraCard(NamedTuple):
    name: str
    triggers: tuple[str, ...]


class Checked(NamedTuple):
    """What a manifest would make, or what is wrong with it."""

    text: str
    planned: PlanReport | None = None
    #: Shots of the manifest, each as often as it is named.
    shots: int | None = None
    problems: tuple[Problem, ...] = ()
    #: Of other errors.
    refusal: str = ""


@router.get("")
def show(request: Request, visitor: TheVisitor, model: str = "", mode: str = "form") -> Response:
    """The form, or the editor."""
    _check_scope(visitor)
    cards = model_cards(visitor)
    chosen = model or next((card.model.name for card in cards if card.nodes), "")
    if mode == "yaml":
        text = _EXAMPLE.format(model=chosen or "z-image-turbo")
        return page(request, "editor.html", checked=_check(visitor, text))
    return _form_page(request, visitor, Order(model=chosen), cards, None)


@router.get("/idea")
def idea(request: Request, visitor: TheVisitor) -> Response:
    """The field of the prompt with an example."""
    return page(request, "prompt_field.html", prompt=secrets.choice(IDEAS))


@router.get("/loras")
def loras(request: Request, visitor: TheVisitor, model: str = "") -> Response:
    """The LoRAs that can be used with a model."""
    cards = lora_cards(visitor.farm.farm_catalog.catalog, model)
    return page(request, "lora_fields.html", loras=cards, order=Order())


@router.post("/check")
def check(request: Request, visitor: TheVisitor, form: TheForm) -> Response:
    """The plan of what the form or the editor holds now, or what is wrong with it."""
    _check_scope(visitor)
    return page(request, "check.html", checked=_check(visitor, _manifest_of(form)), is_form=_is_order(form))


@router.post("/editor")
def editor(request: Request, visitor: TheVisitor, form: TheForm) -> Response:
    """The editor with what the form holds."""
    _check_scope(visitor)
    return page(request, "editor.html", checked=_check(visitor, _manifest_of(form)))


@router.post("")
def submit(request: Request, visitor: TheVisitor, form: TheForm) -> Response:
    """Submit the job and show it."""
    _check_scope(visitor)
    text = _manifest_of(form)
    checked = _check(visitor, text)
    submission = Submit(
        manifest=text,
        source=_SOURCE,
        expected=checked.shots,
        estimate=checked.planned and checked.planned.estimate(),
    )
    try:
        act = visitor.act("job create", "")
        submitted = visitor.farm.submit(submission, visitor.caller, act)
    except FarmError as error:
        refused = _refused(text, error)._replace(planned=checked.planned, shots=checked.shots)
        if _is_order(form):
            cards = model_cards(visitor)
            return _form_page(request, visitor, Order.of(form), cards, refused, status=error.status)
        return page(request, "editor.html", status=error.status, checked=refused)
    return RedirectResponse(f"/jobs/{submitted.id}", 303)


def _form_page(
    request: Request,
    visitor: Visitor,
    order: Order,
    cards: Sequence[ModelCard],
    checked: Checked | None,
    status: int = 200,
) -> Response:
    return page(
        request,
        "new_job.html",
        status=status,
        order=order,
        # Others cannot be submitted.
        cards=[card for card in cards if card.model.identity is not None],
        aspects=ASPECTS,
        loras=lora_cards(visitor.farm.farm_catalog.catalog, order.model),
        checked=checked or Checked(""),
        currency=visitor.farm.settings.money.currency,
    )


def _check_scope(visitor: Visitor) -> None:
    if not visitor.may_submit:
        raise Forbidden(
            f"the {visitor.caller.name} key does not allow this: it needs the scope submit "
            "(`farm whoami` shows what it allows)"
        )


def _is_order(form: Form) -> bool:
    return "manifest" not in form.fields


def _manifest_of(form: Form) -> str:
    return Order.of(form).manifest() if _is_order(form) else form.text("manifest")


def _check(visitor: Visitor, text: str) -> Checked:
    if len(text) > _LONGEST:
        return Checked(text, refusal="so long a manifest is checked when it is submitted")
    catalog = visitor.farm.farm_catalog.catalog
    try:
        parsed = parse_manifest(text, source=_SOURCE, files=None, catalog=catalog)
        shots = len(expand(parsed, catalog))
        if shots > _PLANNED:
            words = f"{counted(shots, 'image')}; more than {_PLANNED:,} are planned when they are submitted"
            return Checked(text, shots=shots, refusal=f"the manifest has {words}, or by `farm plan`")
        submission = Submit(manifest=text, source=_SOURCE)
        return Checked(text, visitor.farm.plan(submission, visitor.caller, visitor.bounds), shots)
    except FarmError as error:
        return _refused(text, error)


def _refused(text: str, error: FarmError) -> Checked:
    if isinstance(error, InvalidDocument):
        return Checked(text, problems=error.problems)
    return Checked(text, refusal=str(error))


def model_cards(visitor: Visitor) -> list[ModelCard]:
    """The models of the catalog, first those that nodes in service have, last those without files."""
    nodes = [node for node in visitor.farm.nodes(visitor.bounds) if in_service(node)]
    cards = [_card(model, nodes) for model in visitor.farm.farm_catalog.catalog.models.values()]
    return sorted(cards, key=lambda card: (not card.nodes, card.model.identity is None))


def _card(model: Model, nodes: Sequence[NodeView]) -> ModelCard:
    answer = smallest_class(plain_shot(model), model)
    size = 0 if isinstance(answer, Misfit) else answer
    return ModelCard(model, size, tuple(node.name for node in nodes if _takes(node, model.name, size)))


def _takes(node: NodeView, model: str, size: int) -> bool:
    return model in node.models and 0 < size <= node.vram_class


def lora_cards(catalog: Catalog, model: str) -> list[LoraCard]:
    """The LoRAs that were made for the base of a model and can be submitted."""
    known = catalog.models.get(model)
    return [
        LoraCard(lora.name, lora.triggers)
        for lora in catalog.loras.values()
        if known is not None and lora.base == known.base and lora.identity is not None
    ]
