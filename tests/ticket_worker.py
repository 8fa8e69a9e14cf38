"""A Celery worker as a node runs it, whose render task only prints its ticket."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common.celeryapp import RENDER_TASK, WORKER_OPTIONS, make_app

READY = "ready"


class TicketWorker:
    """The running worker process and the tickets it took, in order."""

    def __init__(self, url: str, queue_name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.ticket_worker", url, queue_name],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def next_ticket(self, timeout_s: float = 60) -> str:
        """Raises queue.Empty when none comes."""
        line = self._lines.get(timeout=timeout_s)
        assert line, "the worker has ended"
        return line

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())
        self._lines.put("")


@contextmanager
def ticket_worker(url: str, queue_name: str) -> Iterator[TicketWorker]:
    worker = TicketWorker(url, queue_name)
    try:
        assert worker.next_ticket() == READY
        yield worker
    finally:
        worker.stop()


def say(line: str) -> None:
    # Celery takes sys.stdout for its log.
    print(line, file=sys.__stdout__, flush=True)


def main(url: str, queue_name: str) -> None:
    from celery.signals import worker_ready

    app = make_app(url)

    @app.task(name=RENDER_TASK, bind=True)
    def render(task: Any) -> None:
        say(task.request.id)

    @worker_ready.connect(weak=False)
    def ready(**_: Any) -> None:
        say(READY)

    app.worker_main(
        [
            "--quiet",
            "worker",
            *WORKER_OPTIONS,
            "--concurrency=1",
            f"--queues={queue_name}",
            "--loglevel=ERROR",
        ]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
