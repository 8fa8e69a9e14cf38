"""What ingest asks and tells the coordinator."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel

from common import messages
from common.errors import FarmError, Unavailable
from common.messages import AttemptVerdict, Delivery, Verdict, Verdicts


class IngestClient:
    def __init__(self, url: str, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # A proxy of the environment never leads back to this machine.
        beyond = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=beyond)

    def fetch(self, attempt_ids: Sequence[str]) -> tuple[Delivery, ...]:
        """The uploads that need a verdict; raises Unavailable, or FarmError with the API's sentence."""
        answer = self._call("/v1/deliveries", messages.DeliveryRequest(attempt_ids=tuple(attempt_ids)))
        return messages.Deliveries.model_validate_json(answer.content).deliveries

    def report(self, verdicts: Sequence[tuple[str, Verdict]]) -> None:
        """Raises as `fetch` does."""
        if verdicts:
            told = tuple(AttemptVerdict(attempt_id=name, verdict=verdict) for name, verdict in verdicts)
            self._call("/v1/verdicts", Verdicts(verdicts=told))

    def close(self) -> None:
        self._http.close()

    def _call(self, path: str, message: BaseModel) -> httpx.Response:
        try:
            answer = self._http.post(path, json=message.model_dump(mode="json"))
        except httpx.TransportError as error:
            raise Unavailable(f"the coordinator at {self._http.base_url} does not answer: {error}") from error
        if answer.is_error:
            raise FarmError(f"the coordinator refuses ({answer.status_code}): {answer.text[:300]}")
        return answer
