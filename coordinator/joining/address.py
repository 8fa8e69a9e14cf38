"""Where nodes that are invited reach the farm, and by which key they know it."""

from __future__ import annotations

from typing import NamedTuple

from common.certificates import pin_for_nodes
from common.settings import Settings


class FarmAddress(NamedTuple):
    url: str
    #: Of the key of its server (`common.certificates`); empty: whoever certificates say it is.
    pin: str = ""


def address_for_nodes(settings: Settings) -> FarmAddress:
    """That of the gateway if there is one. Raises Invalid where its certificate cannot be read."""
    if not settings.gateway.listen:
        return FarmAddress(settings.api_url)
    return FarmAddress(settings.gateway_url, pin_for_nodes(settings))
