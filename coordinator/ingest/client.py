"""Ingest's calls of the API."""

from __future__ import annotations

from collections.abc import Sequence

from common import messages
from common.client.http import FarmHttp
from common.messages import AttemptVerdict, Delivery, Verdict, Verdicts

_TIMEOUT_S = 10.0


class IngestClient(FarmHttp):
    def __init__(self, url: str, key: str) -> None:
        """Raises Invalid for what is no URL, or cannot be a key."""
        super().__init__(url, key, given_as="public_url", timeout_s=_TIMEOUT_S)

    def fetch(self, attempt_ids: Sequence[str]) -> tuple[Delivery, ...]:
        """The uploads that need a verdict."""
        wish = messages.DeliveryRequest(attempt_ids=tuple(attempt_ids))
        return self.post(messages.Deliveries, "/v1/deliveries", wish).deliveries

    def report(self, verdicts: Sequence[tuple[str, Verdict]]) -> None:
        if verdicts:
            sent = tuple(AttemptVerdict(attempt_id=name, verdict=verdict) for name, verdict in verdicts)
            self.send("POST", "/v1/verdicts", Verdicts(verdicts=sent))
