"""Fleets: the cards that a simulation has, from a fleet file (`manifests/fleets/`) or by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from common.cards import REFERENCE_CARDS, load_card
from common.chips import find_chip, known_chips
from common.document.source import SourceText
from common.document.typed import plain, read_document, validated
from common.errors import Invalid, InvalidDocument, Problem
from common.nodes import Card, Terms
from common.units import counted
from common.views import NodeView
from common.wording import shortened, suggestion

#: Nodes of a fleet at the most.
MOST_NODES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetNode:
    """A card of a fleet, with what is known about its node."""

    name: str
    card: Card
    terms: Terms = "owned"
    #: Cost per hour of owning or renting the card; None: that of its class in the settings.
    per_hour: Decimal | None = None
    #: None: all.
    lanes: frozenset[str] | None = None
    #: None: all.
    models: frozenset[str] | None = None
    #: Model in memory.
    loaded: str | None = None
    #: Model to the seconds that a megapixel-forward was measured to take.
    speeds: Mapping[str, float] = field(default_factory=dict)
    #: Model to the seconds that loading it was measured to take.
    loads: Mapping[str, float] = field(default_factory=dict)
    #: Model to the seconds that fetching it takes, of those that it does not have yet.
    fetch_s: Mapping[str, float] = field(default_factory=dict)
    #: Libraries that decide its embeddings, to their versions.
    versions: Mapping[str, str] = field(default_factory=dict)


class FleetEntry(BaseModel):
    """Cards of one kind in a fleet file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: A name such as `rtx-3060`, or a card file relative to the fleet file.
    card: str
    count: Annotated[int, Field(ge=1, le=MOST_NODES)] = 1
    #: Of its nodes, which are numbered from 1 if there are several; by default that of the card.
    name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    terms: Terms = "owned"
    #: Power draw under load, in place of what is known of the card.
    watts: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    #: Cost per hour of owning or renting such a card, in the currency of the settings.
    per_hour: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None


class FleetFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cards: Annotated[tuple[FleetEntry, ...], Field(min_length=1)]


def fleet_node(node: NodeView) -> FleetNode:
    """Returns a node of a running farm with what it has measured."""
    return FleetNode(
        name=node.name,
        card=Card(**node.facts.model_dump()),
        terms=node.terms,
        lanes=frozenset(node.lanes),
        models=frozenset(node.models),
        loaded=node.loaded_model,
        speeds=node.speeds,
        loads=node.loads,
        fetch_s=node.fetch_s,
        versions=node.versions,
    )


def load_fleet(path: Path) -> list[FleetNode]:
    """Returns the nodes of a fleet file. Raises InvalidDocument with all that is wrong."""
    text, problems = read_document(path)
    file = validated(FleetFile, plain(text.root), "", text, problems)
    if file is None or problems:
        raise InvalidDocument(str(path), problems)
    nodes = list(_nodes(file.cards, path.parent, text, problems))
    if problems:
        raise InvalidDocument(str(path), problems)
    return nodes


def added_cards(given: str, nodes: Sequence[FleetNode]) -> list[FleetNode]:
    """Returns the nodes that `rtx-3060=2` adds to others. Raises Invalid."""
    name, _, number = given.partition("=")
    if not number:
        number = "1"
    if not (name and number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= MOST_NODES):
        raise Invalid(f"{given}: give a card and how many of it, such as rtx-3060=2")
    card = named_card(name)
    taken = {node.name for node in nodes}
    names = (
        each for each in (f"{_slug(Path(name).stem)}-{place}" for place in count(1)) if each not in taken
    )
    return [FleetNode(name=each, card=card) for each in islice(names, int(number))]


def named_card(name: str, folder: Path = Path()) -> Card:
    """Returns a reference card or a card of `common/cards.yaml` by its name, or that of a file in `folder`.

    Raises Invalid if there is neither.
    """
    known = {_slug(card.name): card for card in REFERENCE_CARDS.values()}
    if name.lower() in known:
        return known[name.lower()]
    if name and (folder / name).is_file():
        return load_card(folder / name)
    chip = find_chip(name)
    if chip is None:
        near = suggestion(name.lower(), [*known, *map(_slug, known_chips())])
        raise Invalid(
            f"{name} is neither a known card nor a card file"
            + (near or "; docs/reference/cards.md lists the known cards, such as rtx-3060")
        )
    return chip.card()


def _nodes(
    entries: Sequence[FleetEntry], folder: Path, text: SourceText, problems: list[Problem]
) -> Iterator[FleetNode]:
    """The nodes of each entry; adds what is wrong to `problems`."""
    if sum(entry.count for entry in entries) > MOST_NODES:
        problems.append(text.problem("cards", f"must have at most {counted(MOST_NODES, 'card')} in all"))
        return
    cards: Counter[str] = Counter()
    for entry in entries:
        cards[_base(entry)] += entry.count
    numbers: Counter[str] = Counter()
    taken: set[str] = set()
    for number, entry in enumerate(entries):
        base, path = _base(entry), f"cards[{number}]"
        try:
            card = named_card(entry.card, folder)
        except Invalid as wrong:
            problems.append(text.problem(f"{path}.card", str(wrong)))
            continue
        if entry.watts is not None:
            card = replace(card, watts=entry.watts)
        first = 1 if entry.name else numbers[base] + 1
        names = [f"{base}-{place}" for place in range(first, first + entry.count)]
        if (entry.count if entry.name else cards[base]) == 1:
            names = [base]
        numbers[base] += entry.count
        if again := taken.intersection(names):
            problem = f"two nodes would be called {shortened(min(again))}; give these another name"
            problems.append(text.problem(f"{path}.{'name' if entry.name else 'card'}", problem))
        taken.update(names)
        for name in names:
            yield FleetNode(name=name, card=card, terms=entry.terms, per_hour=entry.per_hour)


def _base(entry: FleetEntry) -> str:
    return entry.name or _slug(Path(entry.card).stem)


def _slug(name: str) -> str:
    """
    >>> _slug("RTX 4060 Ti")
    'rtx-4060-ti'
    """
    return name.lower().replace(" ", "-")
