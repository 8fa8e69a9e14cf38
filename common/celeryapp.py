"""The Celery application, which transports tickets and ingest tasks and has no other role.

The settings depend on one another; docs/explanation/delivery.md explains what each of them prevents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from common.errors import Misconfigured, Unavailable
from common.nodes import INGEST_QUEUE

#: A ticket. The task has no arguments; its ID is the text of the ticket.
RENDER_TASK = "farm.render"
#: Uploads to check. The argument is the list of attempt IDs.
INGEST_TASK = "farm.ingest_uploads"

#: Options of every worker in addition to its queues.
WORKER_OPTIONS = (
    "--pool=threads",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)


#: What holds for publishers and workers.
_CONFIGURATION: dict[str, Any] = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    # The worker programs configure their own logging.
    "worker_hijack_root_logger": False,
    "broker_connection_max_retries": None,
    "broker_connection_retry_on_startup": True,
    "broker_transport_options": {
        "ack_emulation": False,
        "priority_steps": [0],
        "queue_order_strategy": "priority",
        "health_check_interval": 5,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
    },
}


def make_app(broker_url: str) -> Celery:
    """Returns the Celery application for publishers and workers; it has no result backend."""
    app = Celery("shotfarm", broker=broker_url, set_as_current=False)
    app.conf.update(_CONFIGURATION)
    return app


class Publisher:
    """Publishes tasks and counts queued messages. Every call ends within seconds, even without Redis."""

    def __init__(self, broker_url: str, *, timeout_s: float = 2.0) -> None:
        timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        self._app = make_app(broker_url)
        self._app.conf.broker_transport_options |= {**timeouts, "max_retries": 0}
        self._redis = redis.Redis.from_url(broker_url, **timeouts)
        self._place = _place(broker_url)

    def publish_ticket(self, queue: str, ticket: str) -> None:
        """Publishes one ticket. Raises Unavailable if the broker does not respond."""
        self._send(RENDER_TASK, queue, task_id=ticket)

    def publish_ingest(self, attempt_ids: Sequence[str]) -> None:
        """Publishes one task for the uploads of these attempts.

        Raises Unavailable if the broker does not respond.
        """
        self._send(INGEST_TASK, INGEST_QUEUE, args=(list(attempt_ids),))

    def depths(self, queues: list[str]) -> dict[str, int]:
        """Returns the number of messages on each queue. Raises Unavailable if the broker does not respond."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for queue in queues:
                    pipe.llen(queue)
                return dict(zip(queues, pipe.execute(), strict=True))
        except redis.RedisError as error:
            raise self._unavailable(error) from error

    def define_user(self, name: str, rules: Sequence[str]) -> None:
        """Set the rules of the Redis ACL user `name`, in the place of all that it had.

        Raises Unavailable if the broker does not respond, Misconfigured if it does not permit this.
        """
        self._acl("SETUSER", name, "reset", *rules)

    def drop_user(self, name: str) -> None:
        """Remove a user and end its connections, if there is one. Raises as `define_user` does."""
        self._acl("DELUSER", name)

    def has_user(self, name: str) -> bool:
        """Whether there is such a user. Raises as `define_user` does."""
        return self._acl("GETUSER", name) is not None

    def users(self) -> list[str]:
        """The names of all users. Raises as `define_user` does."""
        return [name.decode() for name in self._acl("USERS")]

    def _acl(self, *words: str) -> Any:
        try:
            return self._redis.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            raise Misconfigured(
                f"the broker at {self._place} does not let the farm define users for nodes ({error}): permit "
                "`+acl|setuser +acl|getuser +acl|deluser +acl|users` to the user in the broker URL, or use a "
                "Redis (7 or newer) or Valkey of your own"
            ) from None
        except redis.RedisError as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        self._app.close()
        self._redis.close()

    def _send(self, task: str, queue: str, **options: object) -> None:
        try:
            self._app.send_task(task, queue=queue, retry=False, argsrepr="", kwargsrepr="", **options)
        except (OperationalError, redis.RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"the broker at {self._place} does not answer ({error}); is it running?")


def _place(broker_url: str) -> str:
    """Returns host and port of the URL, without user and password, for messages."""
    parts = urlsplit(broker_url)
    return f"{parts.hostname}:{parts.port}" if parts.hostname else parts.path
