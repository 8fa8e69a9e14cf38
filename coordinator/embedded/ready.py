"""Whether coordinator and nodes are ready, asked over the farm's own API."""

from __future__ import annotations

import socket
from functools import cache

from common.client.http import FarmHttp
from common.errors import FarmError
from common.settings import Settings
from common.states import NodeState
from common.views import NodeView
from coordinator.embedded.addresses import ANY, LOOPBACK, local_url

#: States of a node whose process is not heard of.
_AWAY = (NodeState.LOST, NodeState.OFFLINE)


def is_healthy(settings: Settings) -> bool:
    try:
        _api(local_url(settings)).send("GET", "/healthz")
    except FarmError:
        return False
    return True


def is_listening(listen: str, port: int) -> bool:
    """Whether something listens there."""
    host = LOOPBACK if listen == ANY else listen
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def has_joined(name: str, settings: Settings) -> bool:
    """Whether the node of this name is there; it may be paused or drained, or in quarantine."""
    operator = settings.keys.operator
    api = _api(local_url(settings), operator and operator.get_secret_value())
    try:
        nodes = api.get(list[NodeView], "/v1/nodes")
    except FarmError:
        return False
    return any(node.name == name and (node.state not in _AWAY or _is_drained(node)) for node in nodes)


def _is_drained(node: NodeView) -> bool:
    """Whether an operator keeps it offline, while its process waits to go on."""
    return node.state == NodeState.OFFLINE and node.decided_by == "operator"


@cache
def _api(url: str, key: str | None = None) -> FarmHttp:
    """One for all questions: making one costs more than asking."""
    return FarmHttp(url, key, given_as="listen", timeout_s=2)
