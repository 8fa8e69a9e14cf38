"""Selects the farm and the key that a command uses."""

from __future__ import annotations

from pathlib import Path

from common.errors import Unavailable
from common.settings import Settings, load_settings
from common.states import IN_SERVICE
from common.views import NodeView
from coordinator.client import FarmClient
from coordinator.embedded.home import Home


def connect(settings_file: Path | None) -> FarmClient:
    """Returns a client of the configured farm, or of the farm that runs from this folder's home.

    Raises Unavailable if there is neither.
    """
    return client_of(settings_in_force(load_settings(settings_file)))


def client_of(settings: Settings) -> FarmClient:
    """Returns a client of the farm that these settings name."""
    key = settings.keys.operator
    return FarmClient(settings.public_url, key.get_secret_value() if key else None)


def settings_in_force(settings: Settings) -> Settings:
    """Returns `settings` if they name a farm and its key, else those that `farm up` saved in its home."""
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
    """Returns whether the node accepts work now, or will after finishing its current work."""
    return node.state in IN_SERVICE
