"""Which farm a command speaks to, and with which key."""

from __future__ import annotations

from pathlib import Path

from common.errors import Unavailable
from common.settings import Settings, load_settings
from common.states import IN_SERVICE
from common.views import NodeView
from coordinator.client import FarmClient
from coordinator.embedded.home import Home


def connect(settings_file: Path | None) -> FarmClient:
    """A client of the farm that the settings name, else of the one that runs from this folder's home.

    Raises Unavailable when there is neither.
    """
    settings = settings_in_force(load_settings(settings_file))
    key = settings.keys.operator
    return FarmClient(settings.public_url, key.get_secret_value() if key else None)


def settings_in_force(settings: Settings) -> Settings:
    """`settings` where they name a farm and its key, else those that `farm up` left in its home."""
    if settings.public_url and settings.keys.operator:
        return settings
    home = Home(settings.home.absolute())
    if not home.settings.exists():
        raise Unavailable(
            f"no farm has been started in {home.root}: run `farm up`, "
            "or set `public_url` and `keys.operator` to use a farm on another machine"
        )
    return load_settings(home.settings)


def in_service(node: NodeView) -> bool:
    """Whether the node takes work now, or will when it has done what it has."""
    return node.state in IN_SERVICE
