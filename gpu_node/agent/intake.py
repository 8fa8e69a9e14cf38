"""Tickets from the farm's queues, by a Celery worker in the main thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker import WorkController, state

from common.celeryapp import RENDER_TASK, make_app


class Intake:
    """Consumes `queues`, one ticket at a time, when it runs; one at a time in a process.

    What stops it counts from its construction on, also before it runs.
    """

    def __init__(self, broker_url: str, queues: tuple[str, ...], name: str) -> None:
        self._app = make_app(broker_url)
        self._queues = queues
        self._name = name
        # Celery keeps it for the whole process; a worker before this one was stopped by it.
        state.should_stop = None

    def run(self, take: Callable[[str], None]) -> bool:
        """Return after `stop`, once the current ticket is done with; a broker that is away is waited for.

        `take` gets each ticket and returns once its batch is over. False where nobody stopped it: the
        broker refused a call, or something on a queue was no message.
        """
        # The pool's threads look the task up in Celery's default application. A shared task would stay there
        # from the process's first intake, and take every later ticket for an incarnation that is over.
        self._app.set_default()

        @self._app.task(name=RENDER_TASK, bind=True, shared=False)  # type: ignore[untyped-decorator]
        def render(task: Any) -> None:
            take(task.request.id)

        try:
            # Celery's own command would install signal handlers, which are the node's here.
            WorkController(
                app=self._app,
                hostname=f"node@{self._name}",
                pool_cls="threads",
                concurrency=1,
                queues=list(self._queues),
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            ).start()
        finally:
            self._app.close()
        return state.should_stop is not None

    @staticmethod
    def stop() -> None:
        """Take no more tickets. From any thread, and from a signal handler."""
        state.should_stop = 0
