"""Scopes: what a key allows, and who calls with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

#: `node` belongs to access tokens of nodes; `join` and `ingest` to the keys of the settings alone.
Scope = Literal["submit", "read", "read-all", "operate", "admin", "metrics", "join", "node", "ingest"]

#: Scopes that a key can be created with, and what each allows.
GRANTABLE: dict[Scope, str] = {
    "submit": "submit jobs; change and read those of its owner",
    "read": "read jobs and images of its owner",
    "read-all": "read jobs and images of all owners, the backlog and measurements",
    "operate": "submit, change and read jobs of all owners; nodes, catalog and metrics",
    "admin": "everything, and keys and the audit log",
    "metrics": "scrape `/metrics`",
}

#: What a scope includes besides itself.
_INCLUDED: dict[Scope, tuple[Scope, ...]] = {
    "submit": ("read",),
    "read-all": ("read",),
    "operate": ("submit", "read-all", "metrics"),
    "admin": ("operate",),
    "node": ("join",),
    "ingest": ("metrics",),
}


def with_included(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Returns the scopes with all that they include.

    >>> sorted(with_included(["submit"]))
    ['read', 'submit']
    """
    found: set[Scope] = set()
    left = list(scopes)
    while left:
        scope = left.pop()
        if scope not in found:
            found.add(scope)
            left += _INCLUDED.get(scope, ())
    return frozenset(found)


class Bounds(NamedTuple):
    """What a call is limited to: jobs of one owner, and nodes of some lanes (None: of all)."""

    owner: str
    lanes: frozenset[str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who calls: the holder of a key."""

    #: Name of the key; the role of a key of the settings.
    name: str
    #: With all that they include.
    scopes: frozenset[Scope]
    #: Whose jobs it submits; None for keys of the settings, which submit for anybody.
    owner: str | None = None
    #: Lanes that it may submit to; None: all.
    lanes: frozenset[str] | None = None
    #: Highest priority of its jobs.
    max_priority: int = 100
    #: The node that calls by an access token; None: nobody's.
    node: str | None = None

    @property
    def key(self) -> str | None:
        """Name of the key that was created with `farm keys create`; None for others."""
        return self.name if self.owner is not None else None

    def allows(self, scopes: Iterable[Scope]) -> bool:
        """Whether it has one of these scopes."""
        return not self.scopes.isdisjoint(scopes)
