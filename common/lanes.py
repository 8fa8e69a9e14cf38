"""Lanes: whose nodes may see the prompts of their jobs, what these must not say, and what images may show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from common.levels import Level
from common.prompt_rules import EXPLICIT, PromptRule, PromptRules
from common.proper_names import owner_name

#: `public`: any node. `private`: nodes of the farm and of volunteers that it trusts. `internal`: nodes of the
#: farm alone. `dedicated`: the cards of one owner, for its jobs alone.
Privacy = Literal["public", "private", "internal", "dedicated"]

#: Of a label, more than 0.
Score = Annotated[float, Field(gt=0, le=1)]

#: `sfw`: the lane refuses sexual prompts. `any`: it may show explicit images.
Content = Literal["sfw", "any"]

#: The lane of manifests that name none.
PUBLIC = "public"


class Viewer(NamedTuple):
    """A node, as far as it decides which prompts it may see."""

    owner: str
    #: What the owner has earned.
    level: Level
    #: Whether the owner wants to see nothing but SFW.
    sfw_only: bool = False


class Lane(BaseModel):
    """A lane of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Who may see its prompts: `public`, `private`, `internal` or `dedicated`.
    privacy: Privacy = "private"
    #: Whose cards and jobs a dedicated lane is for.
    owner: Annotated[str, AfterValidator(owner_name)] | None = None
    #: What its images may show; None: the farm promises nothing.
    content: Content | None = None
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

    def closed_to(self, viewer: Viewer) -> str:
        """Why a node may not see the prompts of the lane, as a sentence; empty: it may."""
        if not self._is_for(viewer):
            return f"its prompts are for {self.seen_by}"
        # What an owner renders for itself is what the owner makes it.
        if self.privacy != "dedicated":
            if viewer.sfw_only and self.content != "sfw":
                return "the owner of the node wants SFW only, which this lane does not promise"
            if viewer.level is Level.PROBATION and self.content == "any":
                return "it may show explicit images, which owners on probation do not get"
        return ""

    def _is_for(self, viewer: Viewer) -> bool:
        match self.privacy:
            case "public":
                return True
            case "private":
                return viewer.level in (Level.TRUSTED, Level.OWNED)
            case "internal":
                return viewer.level is Level.OWNED
            case "dedicated":
                return viewer.owner == self.owner

    @property
    def seen_by(self) -> str:
        """Whose nodes may see its prompts, in words."""
        match self.privacy:
            case "public" if self.content == "any":
                return "any node but those of owners on probation"
            case "public":
                return "any node, also those of volunteers"
            case "private":
                return "nodes of the farm and of trusted volunteers"
            case "internal":
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

    def served(self, names: Iterable[str], viewer: Viewer) -> tuple[str, ...]:
        """Those of these lanes whose prompts a node may see."""
        return tuple(name for name in names if not self.of(name).closed_to(viewer))

    def closed(self, names: Iterable[str], viewer: Viewer) -> dict[str, str]:
        """The others, with the reason."""
        reasons = {name: self.of(name).closed_to(viewer) for name in names}
        return {name: reason for name, reason in reasons.items() if reason}

    def rules_of(self, name: str) -> PromptRules:
        """What prompts of a lane must not say."""
        lane = self.of(name)
        promised = (EXPLICIT,) if lane.content == "sfw" else ()
        return PromptRules((*self.prompt_rules, *lane.prompt_rules, *promised))
