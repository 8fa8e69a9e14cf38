"""Selects the farm and the key that a command uses."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from common.errors import Unavailable
from common.settings import Settings, load_settings
from coordinator.cli.person import default_owner
from coordinator.client import FarmClient
from coordinator.embedded.home import Home


def connect(settings_file: Path | None) -> FarmClient:
    """Returns a client of the configured farm, or of the farm that runs from this folder's home.

    Raises Unavailable if there is neither.
    """
    return client_of(settings_in_force(load_settings(settings_file)))


def client_of(settings: Settings) -> FarmClient:
    """Returns a client of the farm that these settings name."""
    key = _key(settings)
    return FarmClient(settings.public_url, key.get_secret_value() if key else None)


def settings_in_force(settings: Settings) -> Settings:
    """Returns `settings` if they name a farm and its key, else those that `farm up` saved in its home."""
    if settings.public_url and _key(settings):
        return settings
    home = Home(settings.home.absolute())
    if not home.settings.exists():
        raise Unavailable(
            f"no farm has been started in {home.root}: run `farm up`, "
            "or set `public_url` and `key` to use a farm on another machine"
        )
    return load_settings(home.settings)


def owner_of_jobs(client: FarmClient, given: str | None) -> str:
    """Returns whose jobs this client submits: the `given` owner, that of its key, or the login name."""
    return given or client.whoami().owner or default_owner() or ""


def owner_to_send(client: FarmClient, given: str | None) -> str | None:
    """Returns the owner that a submission names: none if the key has one, which then counts."""
    return given or (None if client.whoami().owner else default_owner())


def _key(settings: Settings) -> SecretStr | None:
    """The key with which commands call."""
    return settings.key or settings.keys.operator
