"""YAML files of the farm's own (catalogs, cards) read into strict types, every problem with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from common.document.nodes import Mapping, Node, Scalar, child_path
from common.document.source import SourceText
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.wording import suggestion

Entry = TypeVar("Entry", bound=BaseModel)


def read_document(path: Path) -> tuple[SourceText, list[Problem]]:
    """The file as a tree; raises InvalidDocument where it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidDocument(str(path), [Problem(f"cannot be read: {error.strerror}")]) from None
    return read_yaml(content, str(path))


def plain(node: Node) -> Any:
    """Python data by the YAML 1.2 core schema."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, _, value in node.items()}
    if not isinstance(node, Scalar):
        return [plain(item) for item in node.items]
    match node.kind:
        case "null":
            return None
        case "bool":
            return node.text.lower() == "true"
        case "text":
            return node.text
        case _:
            return node.number()


def validated(
    kind: type[Entry], data: object, path: str, text: SourceText, problems: list[Problem]
) -> Entry | None:
    """`data`, found at `path` of the document, as `kind`; None after adding what is wrong to `problems`."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems += [_problem(kind, item, path, text) for item in error.errors()]
        return None


def _problem(kind: type[BaseModel], item: ErrorDetails, path: str, text: SourceText) -> Problem:
    for key in item["loc"]:
        path = child_path(path, key)
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        return text.problem(path, f"unknown key{suggestion(str(item['loc'][0]), kind.model_fields)}")
    message = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(item["type"], item["msg"])
    return text.problem(path, message)
