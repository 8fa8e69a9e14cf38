"""The broker as nodes see it: each has a user of its own, which can take its tickets and nothing else.

A Celery worker with the farm's settings sends no other commands than these. Passwords are random, for each
join of a node; the ledger has their SHA-256, by which a broker that has lost its users gets them again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from urllib.parse import SplitResult, urlsplit, urlunsplit

from common.celeryapp import Publisher
from common.errors import Conflict, Misconfigured, Unavailable
from common.nodes import queue_name
from common.settings import Settings
from coordinator.ledger import BrokerAccount

#: Of farms before each node had a user of its own.
_SHARED_USER = "farm-node"

_RULES = ("-@all", "+ping", "+multi", "+exec")
#: A connection says so what library it is of. Redis knows it from 7.2 on.
_SETINFO = "+client|setinfo"


class BrokerUsers:
    """Thread-safe. `accounts` returns the nodes that may take tickets: the one of a name, or all for None."""

    def __init__(
        self,
        publisher: Publisher,
        settings: Settings,
        accounts: Callable[[str | None], Iterable[BrokerAccount]],
    ) -> None:
        self._publisher = publisher
        self._settings = settings
        self._accounts = accounts
        # Farms that share a broker by mistake at least do not take each other's users away.
        farm = sha256(settings.keys.ticket.get_secret_value().encode()).hexdigest()[:8]
        #: A user that nobody can be: a broker that does not know it has lost the others, too.
        self._mark = f"{_SHARED_USER}-{farm}"
        self._complete = False
        self._lock = threading.Lock()

    def define(self) -> None:
        """To be called again and again: a broker that restarts forgets its users.

        Raises Unavailable, and Misconfigured if the broker lets the farm define no users.
        """
        if self._complete and self._publisher.has_user(self._mark):
            return
        with self._lock:
            accounts = {self.name(one.node_id): one for one in self._accounts(None)}
            for user in self._publisher.users():
                mine = user == _SHARED_USER or user.startswith(f"{self._mark}.")
                if mine and user not in accounts:
                    self._publisher.drop_user(user)
            for account in accounts.values():
                self._define(account)
            self._publisher.define_user(self._mark, ["off"])
            self._complete = True

    def admit(self, node_id: str, password: str) -> str:
        """The redis:// URL for a node that has joined with this password, at the advertised address.

        Raises Misconfigured, Conflict if its access has ended since, or another process has joined.
        """
        with self._changing():
            account = self._account(node_id, password)
            # Ends connections of an earlier join.
            self._publisher.drop_user(self.name(node_id))
            self._define(account)
        place = f"{self.name(node_id)}:{password}@{self.place}"
        return urlunsplit(self._public._replace(netloc=place))

    def drop(self, node_id: str) -> None:
        """End the connections of a node, and let it open no other."""
        with self._changing():
            self._publisher.drop_user(self.name(node_id))

    def name(self, node_id: str) -> str:
        """The user of a node."""
        return f"{self._mark}.{node_id}"

    @property
    def place(self) -> str:
        """The advertised `host:port`."""
        return self._public.netloc.rpartition("@")[2]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """What fails because the broker does not answer is done by the next `define`."""
        with self._lock, suppress(Unavailable):
            before, self._complete = self._complete, False
            try:
                yield
            except Conflict:  # before anything was changed
                self._complete = before
                raise
            self._complete = before

    def _account(self, node_id: str, password: str) -> BrokerAccount:
        """As the ledger says now: `drop` may have come between the join and this. Raises Conflict."""
        digest = sha256(password.encode()).hexdigest()
        for account in self._accounts(node_id):
            if account.digest == digest:
                return account
        raise Conflict(f"node {node_id} has joined again, or its access has ended: start it again")

    def _define(self, account: BrokerAccount) -> None:
        """Selectors keep SADD, by which a worker declares its queue, off the queues themselves (Redis 7)."""
        queues = [queue_name(lane, account.vram_class) for lane in account.lanes]
        taken = " ".join(f"~{queue}" for queue in queues)
        kinds = ("binding", "binding_permanent")
        declared = " ".join(f"%W~_kombu.{kind}.{queue}" for queue in queues for kind in kinds)
        rules = [*_RULES, f"(+brpop +llen {taken})", f"(+sadd {declared})"]
        user, rules = self.name(account.node_id), ["on", f"#{account.digest}", *rules]
        try:
            self._publisher.define_user(user, [*rules, _SETINFO])
        except Misconfigured:
            self._publisher.define_user(user, rules)

    @property
    def _public(self) -> SplitResult:
        return urlsplit(self._settings.public_broker_url or self._settings.broker_url)
