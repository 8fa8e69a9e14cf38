"""What the owner of a card allows: the file `owner.yaml` in the home of the node."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.document.typed import plain, read_document, validated
from common.errors import EmptyDocument, InvalidDocument, Unavailable
from common.keys import write_private
from gpu_node.schedule import Period, read_period

#: Percent of a card that a video or a desktop takes no more than.
_CARD_USE_PERCENT = 10.0
#: Of a card that an owner need not worry about.
_TEMPERATURE_C = 83.0


class OwnerSettings(BaseModel):
    """Limits nothing that is not set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Periods in which the node works, in local time; none: always.
    when: tuple[str, ...] = ()
    #: Periods in which electricity is cheap enough for it, besides; none: always.
    tariff_hours: tuple[str, ...] = ()
    #: Names of programs during which it pauses.
    programs: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    #: It pauses while other programs use so much of the card; None: whatever they use.
    card_use_percent: Annotated[float, Field(gt=0, le=100)] | None = None
    pause_on_battery: bool = False
    #: It pauses while the card is warmer.
    temperature_c: Annotated[float, Field(ge=40, le=110)] | None = None
    #: Minutes that all this must have been over before it works again.
    resume_after_min: Annotated[float, Field(ge=0, le=24 * 60)] = 5.0
    #: Whether it takes no work but that of lanes that promise SFW.
    sfw_only: bool = False
    #: Mean power of the card.
    power_watts: Annotated[float, Field(gt=0, le=2000)] | None = None
    #: Of models that are fetched.
    disk_gib: Annotated[float, Field(ge=0)] | None = None
    #: Of uploads and downloads together.
    megabit_s: Annotated[float, Field(ge=4)] | None = None
    #: Whether the node has a page for its owner, on 127.0.0.1.
    page: bool = False

    @field_validator("when", "tariff_hours")
    @classmethod
    def _periods(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            read_period(text)
        return given

    @cached_property
    def periods(self) -> tuple[Period, ...]:
        return tuple(map(read_period, self.when))

    @cached_property
    def cheap_periods(self) -> tuple[Period, ...]:
        return tuple(map(read_period, self.tariff_hours))


#: For a card that a person lends who has not said anything else.
LENT = OwnerSettings(
    card_use_percent=_CARD_USE_PERCENT,
    pause_on_battery=True,
    temperature_c=_TEMPERATURE_C,
    disk_gib=60.0,
    page=True,
)

_COMMENTS = {
    "when": "hours in which the card is lent, such as `22:00-08:00` or `sat-sun 00:00-24:00`; none: always",
    "tariff_hours": "hours in which electricity is cheap enough, written as above; none: always",
    "programs": "the node pauses while one of these programs runs, such as `blender`",
    "card_use_percent": "it pauses while other programs use so much of the card; null: it does not look",
    "pause_on_battery": "it pauses while the machine runs on its battery",
    "temperature_c": "it pauses while the card is warmer; null: it does not look",
    "resume_after_min": "minutes that all this must have been over before it works again",
    "sfw_only": "whether it renders for lanes alone that the farm promises to be safe for work",
    "power_watts": "mean power of the card; null: what the card takes",
    "disk_gib": "for models that it fetches; null: as `--model-disk` says",
    "megabit_s": "for uploads and downloads together; null: no limit",
    "page": "whether it has a page on this machine; `farm-node status` has the link",
}


def owner_file(home: Path) -> Path:
    return home / "owner.yaml"


def read_owner_settings(home: Path) -> OwnerSettings:
    """Those of the node at home there; without the file, nothing is limited. Raises InvalidDocument."""
    file = owner_file(home)
    if not file.exists():
        return OwnerSettings()
    try:
        text, problems = read_document(file)
    except EmptyDocument:
        return OwnerSettings()
    settings = validated(OwnerSettings, plain(text.root), "", text, problems)
    if settings is None or problems:
        raise InvalidDocument(str(file), problems)
    return settings


def write_owner_settings(home: Path, settings: OwnerSettings) -> Path:
    """The file, which explains itself. Raises Unavailable."""
    file = owner_file(home)
    lines = [
        "# What the owner of this card allows. A running node follows it at once;",
        "# power, disk, network and page count from its next start.",
    ]
    for name, value in settings.model_dump(mode="json").items():
        lines += [f"# {_COMMENTS[name]}", f"{name}: {json.dumps(value)}"]
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, "\n".join(lines) + "\n")
    except OSError as error:
        raise Unavailable(
            f"{file} cannot be written ({error.strerror}): make room, or choose a --home"
        ) from None
    return file
