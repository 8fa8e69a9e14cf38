"""Sessions of the web page: a signed cookie that names a key, and the token that its forms carry.

Nothing is stored. The cookie holds the ID of the key, so a session ends with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer

#: Seconds for which a session lasts.
LONGEST_S = 7 * 86400


class Session(NamedTuple):
    #: Random; empty on a farm without keys, where everybody has the same session.
    id: str
    #: `common.keys.key_id` of its key.
    key_id: str


#: The session of everybody on a farm without keys.
OPEN = Session("", "")


@dataclass(frozen=True, slots=True)
class Sessions:
    """Signs with a secret of the farm, which all its coordinators share."""

    secret: str

    @property
    def cookie(self) -> str:
        """Name of the cookie: a browser sends cookies to all ports of a host, and so to other farms."""
        return f"shotfarm-{hashlib.sha256(f'cookie/{self.secret}'.encode()).hexdigest()[:8]}"

    def begin(self, key_id: str) -> str:
        """Returns the cookie of a new session."""
        return self._cookies().dumps([secrets.token_hex(16), key_id])

    def read(self, cookie: str) -> Session | None:
        """Returns the session of a cookie; None if it is not signed by this farm, or too old."""
        try:
            return Session(*self._cookies().loads(cookie, max_age=LONGEST_S))
        except (BadSignature, TypeError):
            return None

    def form_token(self, session: Session) -> str:
        """Returns what a form of this session carries: pages of other sites cannot know it."""
        return self._forms().dumps(session.id)

    def is_form_of(self, session: Session, token: str) -> bool:
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())

    def _cookies(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt="shotfarm session", signer_kwargs=_SIGNER)

    def _forms(self) -> URLSafeSerializer:
        return URLSafeSerializer(self.secret, salt="shotfarm form", signer_kwargs=_SIGNER)


_SIGNER: dict[str, Any] = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
