"""Ingest: Celery workers that check each upload, write its metadata and store it under its final key."""

import os

# Before numpy is loaded: classifiers run beside other images, and threads of one that wait for each other
# take ten times the processor on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
