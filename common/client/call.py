"""A call of the API as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """A call, and the type of its answer."""

    kind: type[T]
    method: str
    path: str
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: None: as long as for most.
    timeout_s: float | None = None
