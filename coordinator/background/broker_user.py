"""The broker as nodes see it: a user of its own that can take tickets and nothing else.

A Celery worker with the farm's settings sends no other commands than these.
"""

from __future__ import annotations

import hmac
import logging
from urllib.parse import SplitResult, urlsplit, urlunsplit

from common.celeryapp import Publisher
from common.settings import Settings

log = logging.getLogger(__name__)

USER = "farm-node"

#: Selectors keep SADD, which a worker sends to declare its queue, off the queues themselves (Redis 7).
_RULES = (
    "-@all",
    "+ping",
    "+multi",
    "+exec",
    "+client|setinfo",
    "(+brpop +llen ~render.*)",
    "(+sadd %W~_kombu.binding.render.* %W~_kombu.binding_permanent.render.*)",
)


class BrokerUser:
    def __init__(self, publisher: Publisher, settings: Settings) -> None:
        self._publisher = publisher
        self._settings = settings
        # Derived, so that nodes keep their URL over a restart of the coordinator.
        secret = settings.keys.ticket.get_secret_value()
        self._password = hmac.new(secret.encode(), USER.encode(), "sha256").hexdigest()
        self._defined: bool | None = None

    def define(self) -> None:
        """To be called again and again: a broker that restarts forgets its users. Raises Unavailable."""
        defined = self._publisher.define_user(USER, ["on", f">{self._password}", *_RULES])
        if not defined and self._defined is None:
            log.warning(
                "the broker does not allow creating the user %s: nodes use the credentials of the farm", USER
            )
        self._defined = defined

    def url(self) -> str:
        """redis:// URL for nodes, at the advertised address. Raises Unavailable."""
        if self._defined is None:
            self.define()
        own = urlsplit(self._settings.broker_url)
        credentials = f"{USER}:{self._password}" if self._defined else own.netloc.rpartition("@")[0]
        place = f"{credentials}@{self.place}" if credentials else self.place
        return urlunsplit(self._public._replace(netloc=place))

    @property
    def place(self) -> str:
        """The advertised `host:port`."""
        return self._public.netloc.rpartition("@")[2]

    @property
    def _public(self) -> SplitResult:
        return urlsplit(self._settings.public_broker_url or self._settings.broker_url)
