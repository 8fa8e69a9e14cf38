"""`python -m coordinator.ingest`: a Celery worker that takes uploads from the `ingest` queue."""

from __future__ import annotations

import logging
import os
import threading

from celery import Celery

from common.celeryapp import INGEST_TASK, WORKER_OPTIONS, make_app
from common.errors import FarmError
from common.nodes import INGEST_QUEUE
from common.settings import Settings, load_settings
from common.storage import Store
from common.storage.open import open_store
from common.terminal import exit_on_error, log_to_stderr
from coordinator.ingest.client import IngestClient
from coordinator.ingest.screening import Screener
from coordinator.ingest.work import ingest
from coordinator.pictures.credentials import Signer

log = logging.getLogger("coordinator.ingest")

#: They wait for the store and for commits most of the time.
_THREADS_A_CORE, _MOST_THREADS = 2, 8


def ingest_app(settings: Settings, deliveries: IngestClient, store: Store) -> Celery:
    """A Celery application whose one task takes uploads to their verdicts.

    Raises Invalid if it cannot sign images with the certificate of the settings.
    """
    app, screener = make_app(settings.broker_url), Screener(settings.model_folders, store)
    signer = Signer.of(settings.content_credentials)
    #: Set where the store may be away.
    doubtful = threading.Event()
    doubtful.set()

    @app.task(name=INGEST_TASK)  # type: ignore[untyped-decorator]
    def take(attempt_ids: list[str]) -> None:
        # What fails here is asked for again by the coordinator's sweeper.
        try:
            if doubtful.is_set():
                # A store that is away is met here, before the coordinator counts a try.
                store.head(attempt_ids[0])
                doubtful.clear()
            uploads = deliveries.fetch(attempt_ids)
            judged = [(upload, ingest(upload, store, screener, signer)) for upload in uploads]
            deliveries.report([(upload.attempt_id, verdict) for upload, verdict in judged])
            for upload, verdict in judged:
                if verdict.outcome == "put off":
                    doubtful.set()
                    log.warning("attempt %s is put off: %s", upload.attempt_id, verdict.message)
                else:
                    if verdict.withheld:
                        log.warning("shot %s is withheld: %s", upload.shot_id[:12], verdict.withheld)
                    store.delete(upload.key)
        except FarmError as error:
            log.warning("attempts %s: %s", ", ".join(attempt_ids), error)

    return app


def main() -> None:
    log_to_stderr(logging.WARNING)
    with exit_on_error():
        settings = load_settings()
        key = settings.keys.ingest.get_secret_value() if settings.keys.ingest else ""
        app = ingest_app(settings, IngestClient(settings.api_url, key), open_store(settings))
    threads = min(_MOST_THREADS, _THREADS_A_CORE * (os.cpu_count() or 1))
    app.worker_main(
        [
            "--quiet",
            "worker",
            *WORKER_OPTIONS,
            f"--concurrency={threads}",
            f"--queues={INGEST_QUEUE}",
            "--loglevel=WARNING",
        ]
    )


if __name__ == "__main__":
    main()
