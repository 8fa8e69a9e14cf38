"""The OpenAPI document: what FastAPI knows of the routes, and what only this API knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from common.error_view import ErrorView
from common.views import Submit
from coordinator.http.examples import BODIES, PARAMETERS
from coordinator.http.request_guard import PROBLEM

_SCHEMAS = "#/components/schemas/"


class Api(FastAPI):
    """A FastAPI application whose document is complete, with an example of each request."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            _add_schema(document, Submit.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}"))
            for method, path, operation in operations(document):
                operation["responses"]["4XX"] = _REFUSED
                _add_examples(operation, BODIES.get(f"{method} {path}"))
            self.openapi_schema = document
        return self.openapi_schema


#: FastAPI would say `application/json`.
_REFUSED = {
    "description": "Refused, with a sentence",
    "content": {PROBLEM: {"schema": {"$ref": f"{_SCHEMAS}{ErrorView.__name__}"}}},
}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation of an OpenAPI document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _add_schema(document: dict[str, Any], schema: dict[str, Any]) -> None:
    """Add that of a message which only this module says to be a body."""
    schemas = document["components"]["schemas"]
    for name, part in schema.pop("$defs", {}).items():
        schemas.setdefault(name, part)
    schemas.setdefault(schema["title"], schema)


def _add_examples(operation: dict[str, Any], body: Any) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["example"] = PARAMETERS[parameter["name"]]
    if body is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = body
