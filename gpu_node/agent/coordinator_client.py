"""The node's calls of the coordinator's API; every refusal becomes the error that the coordinator raised."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from common import errors
from common.farmhttp import farm_http, no_farm, silence
from common.messages import (
    PROTOCOL,
    PROTOCOL_HEADER,
    VERSION_HEADER,
    Ack,
    Acks,
    Claim,
    ClaimAnswer,
    Close,
    Grant,
    GrantRequest,
    GrantRequests,
    Grants,
    Heartbeat,
    HeartbeatAnswer,
    Join,
    Joined,
    Leave,
    Listen,
    Report,
    Reports,
)
from common.views import ErrorView, NodeWish

_T = TypeVar("_T", bound=BaseModel)

#: Seconds for an answer that needs no waiting.
_TIMEOUT_S = 10.0
#: Seconds for the last call of a node; without it the farm misses the node a little later.
_GOODBYE_S = 2.0

_BY_STATUS: dict[int, type[errors.FarmError]] = {
    kind.status: kind
    for kind in (
        errors.Invalid,
        errors.Unauthorised,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.Gone,
    )
}


class Coordinator:
    """Safe to use from several threads.

    Calls raise Unavailable while there is no answer or one of 5xx, and may be repeated then.
    """

    def __init__(self, url: str, key: str) -> None:
        """Raises Invalid for what is no URL, or cannot be a key."""
        self.url = url.rstrip("/")
        # A farm that speaks another protocol refuses the call, and says which version to install.
        speaks = {VERSION_HEADER: version("shotfarm"), PROTOCOL_HEADER: str(PROTOCOL)}
        self._http = farm_http(url, key, given_as="--farm", timeout_s=_TIMEOUT_S, headers=speaks)

    def join(self, join: Join) -> Joined:
        return self._post(Joined, "/v1/nodes", join)

    def heartbeat(self, node_id: str, beat: Heartbeat) -> HeartbeatAnswer:
        return self._post(HeartbeatAnswer, f"/v1/nodes/{node_id}/beats", beat)

    def listen(self, node_id: str, listen: Listen) -> HeartbeatAnswer:
        """Returns when there is something else to do, at the latest after `listen.wait_s`."""
        return self._post(HeartbeatAnswer, f"/v1/nodes/{node_id}/orders", listen, listen.wait_s + _TIMEOUT_S)

    def leave(self, node_id: str, incarnation: int) -> None:
        """Say that this node has ended, to a farm that answers soon: nobody waits for more."""
        message = Leave(incarnation=incarnation).model_dump_json()
        self._send("POST", f"/v1/nodes/{node_id}/leave", message, _GOODBYE_S)

    def pause(self, node_id: str) -> None:
        """Let the node's owner have his card back. Raises NotFound, or Conflict where it cannot be."""
        self._wish(node_id, "pause")

    def resume(self, node_id: str) -> None:
        """Undo `pause`. Raises NotFound, or Conflict for a pause that is the operator's."""
        self._wish(node_id, "resume")

    def claim(self, claim: Claim) -> ClaimAnswer:
        """Returns when there is work, at the latest after `claim.wait_s`."""
        return self._post(ClaimAnswer, "/v1/claims", claim, claim.wait_s + _TIMEOUT_S)

    def grants(self, batch_id: str, requests: Sequence[GrantRequest]) -> Sequence[Grant]:
        """All of them, or raises why one is refused."""
        batch = f"/v1/batches/{batch_id}"
        if len(requests) == 1:
            return [self._post(Grant, f"{batch}/grants", requests[0])]
        several = GrantRequests(requests=tuple(requests))
        return self._post(Grants, f"{batch}/pass/grants", several).grants

    def report(self, batch_id: str, reports: Sequence[Report]) -> Sequence[Ack]:
        """Raises why one is refused; the others are accepted."""
        batch = f"/v1/batches/{batch_id}"
        if len(reports) == 1:
            return [self._post(Ack, f"{batch}/reports", reports[0])]
        return self._post(Acks, f"{batch}/pass/reports", Reports(reports=tuple(reports))).acks

    def close_batch(self, batch_id: str, close: Close) -> Ack:
        return self._post(Ack, f"/v1/batches/{batch_id}/close", close)

    def reachable(self) -> None:
        """Raises Unavailable unless a farm answers there."""
        self._send("GET", "/healthz", None, _TIMEOUT_S)

    def close(self) -> None:
        self._http.close()

    def _wish(self, node_id: str, verb: str) -> None:
        wish = NodeWish(by="owner").model_dump_json(exclude_defaults=True)
        self._send("POST", f"/v1/nodes/{node_id}/{verb}", wish, _TIMEOUT_S)

    def _post(self, kind: type[_T], path: str, message: BaseModel, timeout_s: float = _TIMEOUT_S) -> _T:
        answer = self._send("POST", path, message.model_dump_json(), timeout_s)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            wrong = f"{error.error_count()} fields are not as expected"
            raise errors.Unavailable(
                f"{self.url}{path} returned an invalid response ({wrong}); "
                "install the same version of shotfarm on both"
            ) from error

    def _send(self, method: str, path: str, body: str | None, timeout_s: float) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            answer = self._http.request(method, path, content=body, headers=headers, timeout=timeout_s)
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: disconnected meanwhile
            raise errors.Unavailable(silence(self.url, error)) from error
        if answer.is_success:
            return answer
        if answer.status_code == errors.OtherVersion.status and VERSION_HEADER in answer.headers:
            raise errors.OtherVersion(_sentence(answer))
        raise _BY_STATUS.get(answer.status_code, errors.Unavailable)(_sentence(answer))


def _sentence(answer: httpx.Response) -> str:
    try:
        return ErrorView.model_validate_json(answer.content).error
    except ValidationError:
        return no_farm(answer)
