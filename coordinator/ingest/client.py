"""What ingest asks and tells the coordinator."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from common.errors import FarmError, Unavailable
from common.messages import Delivery, Verdict

#: Answers that mean: this delivery needs no verdict any more.
_SETTLED = (404, 409, 410)


class Deliveries:
    def __init__(self, url: str, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # A proxy of the environment never leads back to this machine.
        beyond = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=beyond)

    def fetch(self, attempt_id: str) -> Delivery | None:
        """None where nothing is left to do; raises Unavailable, or FarmError with the API's sentence."""
        answer = self._call("GET", attempt_id)
        return None if answer.status_code in _SETTLED else Delivery.model_validate_json(answer.content)

    def report(self, attempt_id: str, verdict: Verdict) -> None:
        self._call("POST", attempt_id, json=verdict.model_dump(mode="json"))

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, attempt_id: str, json: object = None) -> httpx.Response:
        try:
            answer = self._http.request(method, f"/v1/deliveries/{attempt_id}", json=json)
        except httpx.TransportError as error:
            raise Unavailable(f"the coordinator at {self._http.base_url} does not answer: {error}") from error
        if answer.is_error and answer.status_code not in _SETTLED:
            raise FarmError(f"the coordinator refuses ({answer.status_code}): {answer.text[:300]}")
        return answer
