"""Calls of nodes, ingest and users: they wait for an event, share a transaction, use threads, are counted."""
