"""What many of these tests ask of the API, and how it must refuse."""

from __future__ import annotations

import httpx

from common.views import Submit
from tests.farm import MANIFEST


def submit(operator: httpx.Client) -> str:
    answer = operator.post("/v1/jobs", json=Submit(manifest=MANIFEST).model_dump())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def parked(operator: httpx.Client) -> bool:
    return bool(operator.get("/v1/nodes").json()[0]["parked"])


def refused(answer: httpx.Response, status: int) -> str:
    """The sentence of an error, checked for its form."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "exit_code"}
    assert body["error"]
    assert "Traceback" not in body["error"]
    return str(body["error"])
