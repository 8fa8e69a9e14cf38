"""Lanes: whose nodes may see the prompts of their jobs, and what these must not say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from common.nodes import Terms, is_own
from common.prompt_rules import PromptRule, PromptRules
from common.proper_names import owner_name

#: `public`: any node. `private`: nodes of the farm. `dedicated`: the cards of one owner, for its jobs alone.
Privacy = Literal["public", "private", "dedicated"]

#: Of a label, more than 0.
Score = Annotated[float, Field(gt=0, le=1)]

#: The lane of manifests that name none.
PUBLIC = "public"


class Lane(BaseModel):
    """A lane of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Who may see its prompts: `public`, `private` or `dedicated`.
    privacy: Privacy = "private"
    #: Whose cards and jobs a dedicated lane is for.
    owner: Annotated[str, AfterValidator(owner_name)] | None = None
    #: What its prompts must not say, in addition to the rules of the farm.
    prompt_rules: tuple[PromptRule, ...] = ()
    #: Classifier of the catalog to its labels, each with the score from which on an image is withheld.
    classifiers: dict[str, Annotated[dict[str, Score], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _has_an_owner_if_dedicated(self) -> Self:
        if self.privacy == "dedicated" and self.owner is None:
            raise ValueError("a dedicated lane needs `owner`: whose cards and jobs it is for")
        if self.privacy != "dedicated" and self.owner is not None:
            raise ValueError("`owner` is for dedicated lanes: write `privacy: dedicated`, or leave it out")
        return self

    def admits(self, *, owner: str, terms: Terms) -> bool:
        """Whether a node of this owner, on these terms, may see the prompts of the lane."""
        match self.privacy:
            case "public":
                return True
            case "private":
                # Nodes of others that have earned trust belong here as well, once the ledger knows them.
                return is_own(terms)
            case "dedicated":
                return owner == self.owner

    @property
    def seen_by(self) -> str:
        """Whose nodes may see its prompts, in words."""
        match self.privacy:
            case "public":
                return "any node, also those of volunteers"
            case "private":
                return "nodes of the farm only"
            case "dedicated":
                return f"cards of {self.owner} only"


@dataclass(frozen=True, slots=True)
class Lanes:
    """All lanes of a farm. One that the settings do not name is private, unless it is `public`."""

    named: Mapping[str, Lane] = field(default_factory=dict)
    #: What no prompt may say, in any lane.
    prompt_rules: tuple[PromptRule, ...] = ()

    def of(self, name: str) -> Lane:
        return self.named.get(name) or Lane(privacy="public" if name == PUBLIC else "private")

    def served(self, names: Iterable[str], *, owner: str, terms: Terms) -> tuple[str, ...]:
        """Those of these lanes whose prompts a node may see."""
        return tuple(name for name in names if self.of(name).admits(owner=owner, terms=terms))

    def rules_of(self, name: str) -> PromptRules:
        """What prompts of a lane must not say."""
        return PromptRules((*self.prompt_rules, *self.of(name).prompt_rules))
