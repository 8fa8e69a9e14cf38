"""A mistake is answered with one sentence and counted by its reason, before anything is stored."""

from __future__ import annotations

import socket

import httpx
import pytest

from coordinator.http import server
from tests.farm import DEADLINE_S, MANIFEST, RunningFarm
from tests.integration.api.calls import refused
from tests.scrape import refusals


def test_every_mistake_is_answered_with_one_json_sentence(
    quiet_farm: RunningFarm, quiet_operator: httpx.Client
):
    with refusals(quiet_farm, unknown=2, method=1, unreadable=3, invalid=1):
        refused(quiet_operator.get("/v1/nothing"), 404)
        refused(quiet_operator.get("/v1/jobs/none"), 404)
        refused(quiet_operator.delete("/v1/jobs"), 405)
        refused(quiet_operator.post("/v1/jobs", content=b"{not json"), 422)
        unreadable, headers = b"\xff\xfe", {"content-type": "application/json"}
        refused(quiet_operator.post("/v1/jobs", content=unreadable, headers=headers), 422)
        misspelt = {"manifest": MANIFEST, "promt": 1}
        assert "promt" in refused(quiet_operator.post("/v1/jobs", json=misspelt), 422)
        refused(quiet_operator.get("/v1/jobs/x/shots?limit=0"), 422)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(quiet_farm: RunningFarm):
    host, port = quiet_farm.url.removeprefix("http://").split(":")
    with (
        refusals(quiet_farm, too_large=1),
        socket.create_connection((host, int(port)), timeout=DEADLINE_S) as line,
    ):
        line.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: farm\r\nContent-Length: 1099511627776\r\n\r\n")
        assert line.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/v1/jobs/x/picks", "/v1/nodes", "/v1/keys", "/sdapi/v1/txt2img"])
def test_only_manifests_and_files_are_large(quiet_farm: RunningFarm, path: str):
    host, port = quiet_farm.url.removeprefix("http://").split(":")
    with (
        refusals(quiet_farm, too_large=1),
        socket.create_connection((host, int(port)), timeout=DEADLINE_S) as line,
    ):
        line.sendall(f"POST {path} HTTP/1.1\r\nHost: farm\r\nContent-Length: 1048577\r\n\r\n".encode())
        assert line.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_manifest_without_a_key_is_refused_before_it_is_sent(quiet_farm: RunningFarm):
    host, port = quiet_farm.url.removeprefix("http://").split(":")
    for path in ("/v1/jobs", "/v1/plan"):
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as line:
            line.sendall(f"POST {path} HTTP/1.1\r\nHost: farm\r\nContent-Length: 30000000\r\n\r\n{{".encode())
            assert line.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_no_manifest_makes_more_images_than_the_farm_takes_of_one_job(
    quiet_farm: RunningFarm, quiet_operator: httpx.Client
):
    many = MANIFEST.replace("seeds: 2", "seeds: 100000000") + "limits: {max_images: 1000000000}\n"
    before = quiet_operator.get("/v1/jobs").json()["jobs"]
    for path in ("/v1/jobs", "/v1/plan"):
        sentence = refused(quiet_operator.post(path, json={"manifest": many}), 422)
        assert "200,000,000 images, and this farm takes 100,000" in sentence
    assert quiet_operator.get("/v1/jobs").json()["jobs"] == before


_BODY = "POST /v1/jobs HTTP/1.1\r\nAuthorization: Bearer operator-key\r\nContent-Length: 99\r\n\r\n{"


@pytest.mark.parametrize("begun", ["", "POST /v1/jobs HT", _BODY], ids=["nothing", "head", "body"])
def test_a_caller_that_does_not_go_on_is_cut_off(
    quiet_farm: RunningFarm, begun: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    monkeypatch.setattr(server, "BODY_S", 0.2)
    host, port = quiet_farm.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as line:
        line.sendall(begun.encode())
        assert line.recv(1000) == b""


def test_a_body_that_hides_its_length_is_refused(quiet_farm: RunningFarm, quiet_operator: httpx.Client):
    with refusals(quiet_farm, no_length=1):
        refused(quiet_operator.post("/v1/jobs", content=iter([b"{}"])), 411)


def test_a_wrong_manifest_is_answered_with_all_its_problems(
    quiet_farm: RunningFarm, quiet_operator: httpx.Client
):
    wrong = MANIFEST.replace("model: tiny", "modle: tiny").replace("seeds: 2", "seeds: many")
    with refusals(quiet_farm, invalid=1):
        answer = quiet_operator.post("/v1/jobs", json={"manifest": wrong, "source": "mugs.yaml"})
        sentence = refused(answer, 422)
    assert "mugs.yaml:6" in sentence
    assert "mugs.yaml:9" in sentence


def test_a_manifest_that_makes_another_number_than_planned_is_refused(
    quiet_farm: RunningFarm, quiet_operator: httpx.Client
):
    with refusals(quiet_farm, conflict=1):
        sentence = refused(quiet_operator.post("/v1/jobs", json={"manifest": MANIFEST, "expected": 5}), 409)
    assert "4 images" in sentence
    assert quiet_operator.get("/v1/jobs").json()["jobs"] == []


def test_a_model_without_identity_is_not_submitted(quiet_farm: RunningFarm, quiet_operator: httpx.Client):
    manifest = MANIFEST.replace("tiny", "z-image-turbo")
    with refusals(quiet_farm, invalid=1):
        sentence = refused(quiet_operator.post("/v1/jobs", json={"manifest": manifest}), 422)
    assert "z-image-turbo has no identity in the catalog" in sentence


def test_a_manifest_over_its_budget_is_refused_before_anything_is_stored(
    quiet_farm: RunningFarm, quiet_operator: httpx.Client
):
    with refusals(quiet_farm, budget=1):
        answer = quiet_operator.post(
            "/v1/jobs", json={"manifest": MANIFEST + "limits: {max_cost: 0.000001}\n"}
        )
        refused(answer, 422)
    assert answer.json()["reason"] == "budget"
    assert quiet_operator.get("/v1/jobs").json()["jobs"] == []
