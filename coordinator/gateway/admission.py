"""Who calls: the coordinator knows access tokens, and the gateway remembers for a moment what it said."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

from pydantic import ValidationError

from common.access_messages import Admission
from common.error_view import ErrorView
from common.errors import FarmError, Unauthorised, Unavailable
from coordinator.calls.latest import Latest
from coordinator.gateway.limits import Rates
from coordinator.gateway.upstream import Upstream

#: Begins every access token; no other key is passed on.
_TOKEN: Final = "shotnode_"
_ANSWER_S: Final = 10.0
#: Bytes of an answer.
_MOST: Final = 64 * 2**10
_REMEMBERED: Final = 16_384


class _Known(NamedTuple):
    admission: Admission
    at: float


@dataclass(slots=True)
class Admissions:
    """Tells of which node an access token is."""

    farm: Upstream
    #: How often an address may send tokens that are not valid.
    refusals: Rates
    _known: Latest[bytes, _Known] = field(init=False, default_factory=lambda: Latest(_REMEMBERED))

    async def of(self, authorization: str, network: str, now: float, *, fresh_s: float) -> Admission:
        """The node with this token, as the coordinator said at most `fresh_s` ago.

        Raises what the coordinator refuses it with, Unauthorised without a token, TooMany.
        """
        token = authorization.removeprefix("Bearer ")
        if token == authorization or not token.startswith(_TOKEN):
            raise Unauthorised("the gateway passes on calls with access tokens of nodes alone")
        digest = sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None or now - known.at > fresh_s:
            asked = self._asked(authorization, network, now) if known is None else self._told(authorization)
            try:
                known = _Known(await asked, now)
            except Unauthorised:
                self._known.pop(digest, None)
                raise
            self._known.put(digest, known)
        return known.admission

    async def _asked(self, authorization: str, network: str, now: float) -> Admission:
        """Of a token that is not known, which counts as refused until the coordinator says otherwise.

        So an address has no more questions open than it may send wrong tokens, however many it sends at once.
        """
        self.refusals.take(network, now)
        try:
            admission = await self._told(authorization)
        except FarmError as error:
            if not isinstance(error, Unauthorised):
                self.refusals.give_back(network)
            raise
        self.refusals.give_back(network)
        return admission

    async def _told(self, authorization: str) -> Admission:
        content = b""
        async with self.farm.connection() as connection:
            headers = [(b"authorization", authorization.encode("latin-1"))]
            await connection.send_head("GET", b"/v1/access", headers)
            await connection.head(_ANSWER_S)
            async for piece in connection.body():
                content += piece
                if len(content) > _MOST:
                    raise Unavailable("the coordinator answers too much: check `gateway.farm`")
        if connection.status != 200:
            raise _refusal(connection.status, content)
        try:
            return Admission.model_validate_json(content)
        except ValidationError:
            raise Unavailable("what answers is no coordinator: check `gateway.farm`") from None


def _refusal(status: int, content: bytes) -> FarmError:
    try:
        return ErrorView.model_validate_json(content).as_raised(status)
    except ValidationError:
        return Unavailable("what answers is no coordinator: check `gateway.farm`")
