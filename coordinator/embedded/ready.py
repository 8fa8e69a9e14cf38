"""Whether coordinator and nodes are ready, asked over the farm's own API."""

from __future__ import annotations

import httpx
from pydantic import TypeAdapter

from common.settings import Settings
from common.states import NodeState
from common.views import NodeView
from coordinator.embedded.addresses import local_url

#: One for all questions: making one costs more than asking. No proxy leads back to this machine.
_HTTP = httpx.Client(timeout=2, trust_env=False)
#: States of a node whose process is not heard of.
_AWAY = (NodeState.LOST, NodeState.OFFLINE)


def is_healthy(settings: Settings) -> bool:
    return _get(f"{local_url(settings)}/healthz") is not None


def has_joined(name: str, settings: Settings) -> bool:
    """Whether the node of this name is there; it may be paused or in quarantine, which it outlives."""
    operator = settings.keys.operator
    answer = _get(f"{local_url(settings)}/v1/nodes", operator.get_secret_value() if operator else "")
    if answer is None:
        return False
    nodes = TypeAdapter(list[NodeView]).validate_json(answer.content)
    return any(node.name == name and node.state not in _AWAY for node in nodes)


def _get(url: str, key: str = "") -> httpx.Response | None:
    """The answer if it is a good one."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = _HTTP.get(url, headers=headers)
    except httpx.HTTPError:
        return None
    return answer if answer.is_success else None
