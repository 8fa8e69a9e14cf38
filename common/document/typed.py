"""Reads the farm's own files (settings, catalogs, cards) into strict types; reports problems with lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from common.document.source import SourceText
from common.document.tree import Mapping, Scalar, YamlNode, child_path
from common.document.yaml12 import read_yaml
from common.errors import InvalidDocument, Problem
from common.wording import suggestion

Entry = TypeVar("Entry", bound=BaseModel)

#: Replaces pydantic messages that use programming terms.
_SENTENCES = {
    "missing": "is missing",
    **dict.fromkeys(("string_type", "path_type"), "must be text"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), "must be a number"),
    **dict.fromkeys(("list_type", "tuple_type"), "must be a list"),
    **dict.fromkeys(("dict_type", "model_type"), "must be a mapping"),
    "too_short": "must not be empty",
}


def read_document(path: Path) -> tuple[SourceText, list[Problem]]:
    """Returns the file as a tree. Raises InvalidDocument if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidDocument(str(path), [Problem(f"cannot be read: {error.strerror}")]) from None
    return read_yaml(content, str(path))


def plain(node: YamlNode) -> Any:
    """Converts a tree to Python data according to the YAML 1.2 core schema."""
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
    """Returns `data`, found at `path`, as `kind`; returns None after adding its errors to `problems`."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems += [text.problem(dotted(path, item["loc"]), sentence(kind, item)) for item in error.errors()]
        return None


def dotted(path: str, loc: tuple[str | int, ...]) -> str:
    """Returns the dotted path of a pydantic location `loc` below `path`."""
    for key in loc:
        # Pydantic's marker for an invalid key.
        path = path if key == "[key]" else child_path(path, key)
    return path


def sentence(kind: type[BaseModel], item: ErrorDetails) -> str:
    """Describes an invalid value for `kind` and what to write; does not repeat secrets."""
    match item["type"]:
        case "extra_forbidden":
            *above, key = item["loc"]
            return f"unknown key{suggestion(str(key), _known(kind, above))}"
        case "string_type" | "path_type" if isinstance(item["input"], int | float):
            return "must be text; put it in quotes"
    return _SENTENCES.get(item["type"]) or item["msg"].replace("Input should be", "must be")


def _known(kind: type[BaseModel], loc: list[str | int]) -> list[str]:
    """Returns the keys of the mapping at `loc` in a `kind`."""
    kinds = [kind]
    for key in loc:
        held = [model.model_fields[key].annotation for model in kinds if key in model.model_fields]
        kinds = [model for annotation in held for model in _models(annotation)] or kinds
    return [name for model in kinds for name in model.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Returns the models inside a type, such as `Card` in `tuple[Card, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
