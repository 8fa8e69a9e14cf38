"""Which node calls: challenges, which nodes answer with their keys, and the access tokens that they get.

All of it is in memory: a coordinator that starts anew knows no token, and nodes prove again who they are.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from common.access_messages import Access, AccessRequest, Challenge
from common.errors import Unauthorised
from common.node_keys import NodeKey, access_text, has_signed
from common.scopes import Caller, with_included
from coordinator.ledger import Introduction

#: Begins every access token, by which it is told from keys.
TOKEN_PREFIX = "shotnode_"
#: Seconds for which a token and a challenge are valid.
_TOKEN_S, _CHALLENGE_S = 3600.0, 60.0
#: Valid tokens of a node: of its process, and of commands that its owner runs.
_TOKENS_OF_NODE = 8


@dataclass(slots=True)
class _Token:
    node: str
    #: On a monotonic clock.
    ends_at: float


@dataclass(slots=True)
class NodeAccess:
    """`admit` lets a node in whose key or invitation is valid, as `Identities.admit` does.

    It tells whether another key of the name ended by it.
    """

    admit: Callable[[Introduction], bool]
    #: The node key of the farm, which is an invitation of owned nodes; None: there is none.
    node_key: str | None
    #: Whether the farm has no keys: every node is an owned one.
    is_open: bool = False
    clock: Callable[[], float] = time.monotonic
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    #: Challenges that were answered, and until when they would be valid.
    _answered: dict[str, float] = field(default_factory=dict)
    #: By the SHA-256 of the token.
    _tokens: dict[str, _Token] = field(default_factory=dict)
    #: Digests of its tokens by node, the oldest first.
    _of_node: dict[str, list[str]] = field(default_factory=dict)
    #: How often the access of a node was ended.
    _endings: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def challenge(self) -> Challenge:
        """What a node signs; the farm remembers it only once it is answered."""
        body = f"{self.clock() + _CHALLENGE_S:.3f}:{secrets.token_hex(16)}"
        return Challenge(challenge=f"{body}:{self._mac(body)}")

    def give(self, request: AccessRequest) -> Access:
        """A token for a node that proves who it is. Raises Unauthorised, or as `admit` does."""
        text = access_text(request.challenge, request.node, request.public_key)
        ends_at = self._valid_until(request.challenge)
        if not has_signed(request.public_key, text, request.signature):
            raise Unauthorised(f"the signature is not that of the key of node {request.node}")
        shown = request.invitation
        if shown is not None and not has_signed(shown.public_key, text, shown.signature):
            raise Unauthorised("the invitation does not belong to this request: copy the whole line")
        self._answer_once(request.challenge, ends_at)
        invitation = None if shown is None else shown.public_key
        one = Introduction(request.node, request.public_key, invitation, owned=self._owns(invitation))
        access = None
        while access is None:
            before = self._endings
            if self.admit(one):
                # Whoever has the key that ended has tokens by it.
                self.forget(request.node)
            # The key may have ended meanwhile, and `forget` have come too early for this token.
            access = self._token(request.node, before)
        return access

    def caller(self, token: str) -> Caller:
        """The node with this token. Raises Unauthorised, after which it has to prove again who it is."""
        known = self._tokens.get(_digest(token))
        if known is None or known.ends_at <= self.clock():
            raise Unauthorised("this access token is not valid any more: prove again to be the node")
        return Caller(name=f"node {known.node}", scopes=with_included(("node",)), node=known.node)

    def forget(self, node: str) -> None:
        """Let no token of a node be valid any more."""
        with self._lock:
            self._endings += 1
            for digest in self._of_node.pop(node, ()):
                self._tokens.pop(digest, None)

    def _owns(self, invitation: str | None) -> bool:
        by_key = self.node_key is not None and invitation == NodeKey.of_secret(self.node_key).public
        return self.is_open or by_key

    def _token(self, node: str, endings: int) -> Access | None:
        """A token for a node; None if the access of any has ended since there were so many `endings`."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        with self._lock:
            if self._endings != endings:
                return None
            mine = self._of_node.setdefault(node, [])
            mine.append(_digest(token))
            for digest in mine[:-_TOKENS_OF_NODE]:
                self._tokens.pop(digest, None)
            del mine[:-_TOKENS_OF_NODE]
            self._tokens[mine[-1]] = _Token(node, self.clock() + _TOKEN_S)
        return Access(node=node, token=token, valid_s=_TOKEN_S)

    def _valid_until(self, challenge: str) -> float:
        body, _, mac = challenge.rpartition(":")
        if not hmac.compare_digest(self._mac(body).encode(), mac.encode()):
            raise Unauthorised("this challenge is not of this coordinator: ask for another")
        ends_at = float(body.partition(":")[0])
        if ends_at <= self.clock():
            raise Unauthorised("this challenge has expired: ask for another")
        return ends_at

    def _answer_once(self, challenge: str, ends_at: float) -> None:
        now = self.clock()
        with self._lock:
            if challenge in self._answered:
                raise Unauthorised("this challenge was answered already: ask for another")
            # Those answered first are the first to expire, but for seconds.
            while self._answered and next(iter(self._answered.values())) <= now:
                del self._answered[next(iter(self._answered))]
            self._answered[challenge] = ends_at

    def _mac(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), sha256).hexdigest()[:32]


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
