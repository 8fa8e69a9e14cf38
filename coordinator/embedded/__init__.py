"""The whole farm on one machine: Valkey, SeaweedFS, coordinator, ingest and nodes under one supervisor."""
