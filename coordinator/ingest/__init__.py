"""Ingest: Celery workers that check each upload, write its metadata and store it under its final key."""
