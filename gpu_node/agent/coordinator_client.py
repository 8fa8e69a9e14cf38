"""The node's calls of the coordinator's API; every refusal becomes the error that the coordinator raised."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from common import messages
from common.access_messages import Access, Challenge
from common.catalog import ServedCatalog
from common.client.call import ApiCall
from common.client.http import FarmHttp
from common.errors import FarmError, Forbidden, Unauthorised, Unavailable
from common.views import NodeWish
from gpu_node.credentials import Credentials
from gpu_node.pinned import PinnedContext

#: Seconds for an answer that needs no waiting.
_TIMEOUT_S = 10.0
#: Answered without a token.
_OPEN = ("/v1/access/challenges", "/v1/access", "/healthz")
#: Proofs that are sent until the farm's refusal counts.
_TRIES = 2
#: Seconds for the last call of a node; without it the farm misses the node a little later.
_GOODBYE_S = 2.0


class Coordinator(FarmHttp):
    """Calls raise Unavailable while there is no answer or one of 5xx, and may be repeated then."""

    def __init__(
        self, url: str, key: str = "", credentials: Credentials | None = None, *, pin: str = ""
    ) -> None:
        """With `credentials`, calls are those of a node; otherwise with `key`. `pin`: of the farm's server.

        Raises Invalid for what is no URL, or cannot be a key.
        """
        # A farm that speaks another protocol refuses the call, and says which version to install.
        speaks = {
            messages.VERSION_HEADER: version("shotfarm"),
            messages.PROTOCOL_HEADER: str(messages.PROTOCOL),
        }
        judge = PinnedContext(pin) if pin else None
        super().__init__(url, key, given_as="--farm", timeout_s=_TIMEOUT_S, headers=speaks, verify=judge)
        self._credentials = credentials
        self._token = ""
        #: Held while a token is asked for.
        self._proving = threading.Lock()

    @property
    def token(self) -> str:
        """The access token of this node, as the last call had it."""
        return self._token

    def catalog(self) -> ServedCatalog:
        """The farm's catalog as it is now."""
        return self.get(ServedCatalog, "/v1/catalog")

    def model_file(self, sha256: str) -> messages.ModelFile:
        """Where to read a file of a model. Raises NotFound where the farm does not have it."""
        return self.get(messages.ModelFile, f"/v1/models/files/{sha256}")

    def join(self, join: messages.Join) -> messages.Joined:
        return self.post(messages.Joined, "/v1/nodes", join)

    def hold(self, node_id: str, holdings: messages.NewHoldings) -> None:
        """Say what this node offers now."""
        self.send("POST", f"/v1/nodes/{node_id}/holdings", holdings)

    def measure(self, node_id: str, measurements: messages.Measurements) -> None:
        """Say how fast this node rendered by recipes while it had nothing to do."""
        self.send("POST", f"/v1/nodes/{node_id}/measurements", measurements)

    def heartbeat(self, node_id: str, beat: messages.Heartbeat) -> messages.HeartbeatAnswer:
        return self.post(messages.HeartbeatAnswer, f"/v1/nodes/{node_id}/beats", beat)

    def park(self, node_id: str, park: messages.Park) -> messages.ParkAnswer:
        """Returns when there is work or another order, at the latest after `park.wait_s`."""
        return self.post(messages.ParkAnswer, f"/v1/nodes/{node_id}/park", park, park.wait_s + _TIMEOUT_S)

    def listen(self, node_id: str, listen: messages.Listen) -> messages.HeartbeatAnswer:
        """Returns when there is something else to do, at the latest after `listen.wait_s`."""
        return self.post(
            messages.HeartbeatAnswer, f"/v1/nodes/{node_id}/orders", listen, listen.wait_s + _TIMEOUT_S
        )

    def leave(self, node_id: str, incarnation: int) -> None:
        """Say that this node has ended, to a farm that answers soon: nobody waits for more."""
        self.send("POST", f"/v1/nodes/{node_id}/leave", messages.Leave(incarnation=incarnation), _GOODBYE_S)

    def pause(self, node_id: str, reason: str = "") -> None:
        """Let the node's owner have his card back. Raises NotFound, or Conflict where it cannot be."""
        self._wish(node_id, "pause", reason)

    def resume(self, node_id: str) -> None:
        """Undo `pause`. Raises NotFound, or Conflict for a pause that is the operator's."""
        self._wish(node_id, "resume")

    def claim(self, claim: messages.Claim) -> messages.ClaimAnswer:
        """Returns when there is work, at the latest after `claim.wait_s`."""
        return self.post(messages.ClaimAnswer, "/v1/claims", claim, claim.wait_s + _TIMEOUT_S)

    def grants(self, batch_id: str, requests: Sequence[messages.GrantRequest]) -> Sequence[messages.Grant]:
        """All of them, or raises why one is refused."""
        batch = f"/v1/batches/{batch_id}"
        if len(requests) == 1:
            return [self.post(messages.Grant, f"{batch}/grants", requests[0])]
        several = messages.GrantRequests(requests=tuple(requests))
        return self.post(messages.Grants, f"{batch}/pass/grants", several).grants

    def report(self, batch_id: str, reports: Sequence[messages.Report]) -> Sequence[messages.Ack]:
        """Raises why one is refused; the others are accepted."""
        batch = f"/v1/batches/{batch_id}"
        if len(reports) == 1:
            return [self.post(messages.Ack, f"{batch}/reports", reports[0])]
        return self.post(
            messages.Acks, f"{batch}/pass/reports", messages.Reports(reports=tuple(reports))
        ).acks

    def embeddings(self, batch_id: str, request: messages.EmbeddingsRequest) -> messages.StoredEmbeddings:
        """Where to read the embeddings of a batch. Raises NotFound where the farm knows of none."""
        return self.post(messages.StoredEmbeddings, f"/v1/batches/{batch_id}/embeddings", request)

    def report_embeddings(self, batch_id: str, report: messages.EmbeddingsReport) -> Sequence[messages.Grant]:
        """The grants for its uploads, in their order."""
        return self.post(messages.Grants, f"/v1/batches/{batch_id}/embeddings/reports", report).grants

    def close_batch(self, batch_id: str, close: messages.Close) -> messages.Ack:
        return self.post(messages.Ack, f"/v1/batches/{batch_id}/close", close)

    def addresses(self) -> messages.Addresses:
        return self.get(messages.Addresses, "/v1/addresses")

    def rotate_key(self, node_id: str) -> None:
        """Let the farm take the next key of this node, which is then its key."""
        assert self._credentials is not None
        self.send("POST", f"/v1/nodes/{node_id}/key", self._credentials.rotation())
        self._credentials.rotated()

    def end_key(self, node_id: str) -> None:
        """Let this node leave the farm for good."""
        self.send("DELETE", f"/v1/nodes/{node_id}/key", timeout_s=_GOODBYE_S)

    def reachable(self) -> None:
        """Raises Unavailable unless a farm answers there."""
        self.send("GET", "/healthz")

    def _content(self, call: ApiCall[Any]) -> bytes:
        if self._credentials is None or call.path in _OPEN:
            return self._answered(call)
        token = self._token or self._renewed("")
        try:
            return self._answered(_with_token(call, token))
        except Unauthorised:
            # Tokens last an hour, and no coordinator remembers those of the one before it.
            return self._answered(_with_token(call, self._renewed(token)))

    def _renewed(self, token: str) -> str:
        """A token in the place of one that is not valid. Raises as the farm refuses this node."""
        with self._proving:
            if self._token == token:
                self._token = self._proved()
            return self._token

    def _proved(self) -> str:
        assert self._credentials is not None
        refused: FarmError = Unauthorised("the farm does not accept this node")
        for _ in range(_TRIES):
            challenge = self.post(Challenge, "/v1/access/challenges").challenge
            try:
                return self.post(Access, "/v1/access", self._credentials.answer(challenge)).token
            except Forbidden as error:
                # The farm took the next key, and its answer was lost.
                if not self._credentials.rotated():
                    raise
                refused = error
            except Unauthorised as error:
                # Another coordinator may lead since it was asked.
                refused = error
        raise refused

    def _answered(self, call: ApiCall[Any]) -> bytes:
        try:
            return super()._content(call)
        except FarmError as error:
            if error.status < 500:
                raise
            # A fault of the farm is its operator's to mend; the node waits.
            raise Unavailable(str(error)) from error

    def _wish(self, node_id: str, verb: str, reason: str = "") -> None:
        self.send("POST", f"/v1/nodes/{node_id}/{verb}", NodeWish(by="owner", reason=reason))


def _with_token(call: ApiCall[Any], token: str) -> ApiCall[Any]:
    return replace(call, headers={**call.headers, "Authorization": f"Bearer {token}"})
