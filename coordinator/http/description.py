"""What the routes say of themselves, for the reference page and for the page at /docs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from fastapi.routing import APIRoute
from pydantic import BaseModel

from common.catalog.entries import Entry
from common.error_view import ErrorView
from common.errors import BY_REASON, FarmError
from common.views import Submit
from coordinator.http.access import Allowed
from coordinator.http.requests import MANIFEST_BODY


class Operation(NamedTuple):
    method: str
    path: str
    #: Such as `scope: read (own) or read-all`.
    needs: str
    #: Types as people write them; empty: none.
    body: str
    returns: str
    text: str


class MessageField(NamedTuple):
    name: str
    type: str
    #: As Python writes it; None: it is required.
    default: str | None


class MessageFacts(NamedTuple):
    name: str
    text: str
    fields: tuple[MessageField, ...]


class ErrorFacts(NamedTuple):
    """One kind of error, by its reason."""

    reason: str
    status: int
    title: str
    text: str


class OperationGroup(NamedTuple):
    """The operations of one module."""

    title: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Description:
    groups: tuple[OperationGroup, ...]
    #: Kinds of errors.
    errors: tuple[ErrorFacts, ...]
    #: Every message of the operations, and of the fields of those, by name.
    messages: tuple[MessageFacts, ...]


def described(modules: Iterable[ModuleType]) -> Description:
    """The operations of modules with a `router`, and their messages."""
    known: dict[str, type[BaseModel]] = {ErrorView.__name__: ErrorView}
    groups = tuple(
        OperationGroup(
            inspect.getdoc(module) or "",
            tuple(_operation(route, known) for route in module.router.routes if isinstance(route, APIRoute)),
        )
        for module in modules
    )
    errors = (_error(kind) for _, kind in sorted(BY_REASON.items()))
    return Description(groups, tuple(errors), tuple(_message(known[name]) for name in sorted(known)))


def _error(kind: type[FarmError]) -> ErrorFacts:
    return ErrorFacts(kind.reason, kind.status, kind.title, inspect.cleandoc(kind.__doc__ or ""))


def _operation(route: APIRoute, known: dict[str, type[BaseModel]]) -> Operation:
    needs = [_scopes(d.dependency) for d in route.dependencies if isinstance(d.dependency, Allowed)]
    return Operation(
        method=" ".join(sorted(route.methods or ())),
        path=route.path_format,
        needs=needs[0] if needs else "no key",
        body=_body(route, known),
        returns=_noted(route.response_model, known),
        text=inspect.cleandoc(route.endpoint.__doc__ or ""),
    )


def _body(route: APIRoute, known: dict[str, type[BaseModel]]) -> str:
    if (route.openapi_extra or {}).get("requestBody") is MANIFEST_BODY:
        return f"a manifest (YAML or JSON), or {_noted(Submit, known)}"
    return _noted(route.body_field.field_info.annotation, known) if route.body_field else ""


def _scopes(allowed: Allowed) -> str:
    own = [] if allowed.own is None else [f"{allowed.own} (own)"]
    return f"scope: {' or '.join([*own, *allowed.scopes])}"


def _message(message: type[BaseModel]) -> MessageFacts:
    fields = tuple(
        MessageField(
            name,
            type_words(field.annotation),
            None if field.is_required() else repr(field.get_default(call_default_factory=True)),
        )
        for name, field in message.model_fields.items()
    )
    return MessageFacts(message.__name__, inspect.cleandoc(message.__doc__ or ""), fields)


def _noted(annotation: Any, known: dict[str, type[BaseModel]]) -> str:
    """The type's name; the messages in it, and in those, become known."""
    _note(annotation, known)
    return "" if annotation is None else type_words(annotation)


def _note(annotation: Any, known: dict[str, type[BaseModel]]) -> None:
    told = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    # Entries are described where catalog files are.
    if told and not issubclass(annotation, Entry) and annotation not in known.values():
        known[annotation.__name__] = annotation
        for field in annotation.model_fields.values():
            _note(field.annotation, known)
    for part in get_args(annotation):
        _note(part, known)


def type_words(annotation: Any) -> str:
    """The type as people write it, without what validates it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0])
    if origin in (Union, UnionType):
        return " | ".join("None" if each is NoneType else type_words(each) for each in arguments)
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin is not None:
        inner = ("..." if each is ... else type_words(each) for each in arguments)
        return f"{origin.__name__}[{', '.join(inner)}]"
    return "null" if annotation is NoneType else str(annotation.__name__)
