"""Images ordered one by one, manifests as they are, and requests that are sent again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator

from common.image_messages import OrderedImage
from common.messages import Lease, Verdict
from coordinator.http import openai_routes, ordered_images
from coordinator.http.app import make_routes
from tests.farm import MANIFEST, RunningFarm, ScriptedNode, running_farm, until
from tests.integration.api.calls import failed, refused
from tests.integration.api.sides import store
from tests.servers import ValkeyServer
from tests.waiting import PATIENCE_S

MUG: dict[str, Any] = {"model": "tiny", "prompt": "a red mug", "size": "128x128", "seed": 3}
YAML = {"content-type": "application/yaml"}


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[RunningFarm]:
    """One for all tests of this module: each orders images of its own."""
    with running_farm(tmp_path_factory.mktemp("images"), valkey_server.url) as running:
        yield running


def order(operator: httpx.Client, wait: float = 0, **settings: Any) -> OrderedImage:
    answer = operator.post("/v1/images", params={"wait": wait}, json=MUG | settings)
    assert answer.status_code == 201, answer.text
    return OrderedImage.model_validate_json(answer.content)


def test_an_ordered_image_is_a_job_of_one_shot_with_the_settings_that_were_given(operator: httpx.Client):
    ordered = order(operator, prompt="a {red|red} mug", steps=7, guidance=1.5, priority=70, max_cost=2.5)
    assert (ordered.state, ordered.seed, ordered.prompt) == ("waiting", 3, "a red mug")
    assert (ordered.width, ordered.height, ordered.progress, ordered.url) == (128, 128, 0.0, None)
    assert "no node serves lane public" in ordered.explanation
    assert "farm-node run" in ordered.remedy
    job = operator.get(f"/v1/jobs/{ordered.id}").json()
    assert (job["images"], job["priority"], job["budget"]["limit"]) == (1, 70, 2.5)
    plan = operator.get("/v1/backlog").json()["waiting"]
    assert any((line["steps"], line["guidance"]) == (7, 1.5) for line in plan)
    operator.post(f"/v1/jobs/{ordered.id}/cancel").raise_for_status()
    assert operator.get(f"/v1/images/{ordered.id}").json()["status"] == "cancelled"


def test_a_call_that_waits_is_answered_when_the_image_is_stored(operator: httpx.Client, farm: RunningFarm):
    with ScriptedNode(farm) as node:
        rendering = threading.Thread(target=render, args=(farm, node))
        rendering.start()
        done = order(operator, wait=60, prompt="a mug that is waited for", aspect="1:1", size=None)
        rendering.join()
    assert (done.state, done.status, done.progress, done.explanation) == ("done", "done", 1.0, "")
    assert done.url is not None
    assert done.url_expires_at is not None
    picture = httpx.get(done.url, trust_env=False)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert operator.get(f"/v1/images/{done.id}?wait=60").json()["sha256"] == done.sha256


def test_a_call_that_waits_is_answered_when_the_image_fails(operator: httpx.Client, farm: RunningFarm):
    first = order(operator, prompt="a mug that fails")
    # The node of the other tests: for a second one the farm would keep what failed on this one.
    with ScriptedNode(farm) as node:
        answers: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(operator.get(f"/v1/images/{first.id}?wait=60"))
        )
        waiting.start()
        until(lambda: bool(farm.farm.watches.callers()))
        while operator.get(f"/v1/jobs/{first.id}").json()["counts"] != {"failed": 1}:
            lease = node.lease()
            report = failed(lease).model_copy(update={"failure": "invalid_spec", "message": "no such colour"})
            node.post(f"/v1/batches/{lease.batch_id}/reports", report)
            node.close(lease)
            operator.post(f"/v1/jobs/{first.id}/resume").raise_for_status()
        waiting.join()
    told = answers[0].json()
    assert told["state"] == "failed"
    assert "no such colour" in told["explanation"]


def test_a_withheld_image_comes_through_no_door_until_it_is_approved(
    operator: httpx.Client, farm: RunningFarm
):
    calls = {
        "/v1/images?wait=60": MUG | {"prompt": "marked 1"},
        "/v1/images/generations": {"model": "tiny", "prompt": "marked 2", "size": "128x128"},
        "/sdapi/v1/txt2img": {"prompt": "marked 3", "override_settings": {"sd_model_checkpoint": "tiny"}},
    }
    answers: dict[str, httpx.Response] = {}

    def call(path: str) -> None:
        answers[path] = operator.post(path, json=calls[path])

    waiting = [threading.Thread(target=call, args=(path,)) for path in calls]
    for thread in waiting:
        thread.start()
    with ScriptedNode(farm) as node:
        left = len(calls)
        while left:
            lease = node.lease()
            for shot in lease.shots:
                node.deliver(lease, shot)
                verdict = Verdict(outcome="stored", sha256=f"{left:064x}", size=1, withheld="x: nsfw 0.90")
                farm.farm.ledger.ingest.verdicts([(shot.attempt_id, verdict)])
                left -= 1
            node.close(lease)
    for thread in waiting:
        thread.join()
    ordered = OrderedImage.model_validate_json(answers["/v1/images?wait=60"].content)
    assert (ordered.state, ordered.status, ordered.url, ordered.sha256) == (
        "withheld",
        "withheld",
        None,
        None,
    )
    assert "is withheld: a classifier of its lane marked it" in ordered.explanation
    for path in list(calls)[1:]:
        assert answers[path].status_code in (400, 422)
        assert "1 image is withheld" in answers[path].text
    found = {one["prompt"]: one for one in operator.get("/v1/withheld").json()["images"]}
    mine = found["marked 1"]
    assert mine["reason"] == "x: nsfw 0.90"
    assert operator.get(f"/v1/images/{mine['sha256']}/origin").status_code == 404
    assert "no stored image" not in operator.post(f"/v1/shots/{mine['shot_id']}/approve").text
    after = operator.get(f"/v1/images/{ordered.id}").json()
    assert (after["state"], after["sha256"]) == ("done", mine["sha256"])
    for prompt in ("marked 2", "marked 3"):
        operator.post(f"/v1/shots/{found[prompt]['shot_id']}/delete", json={}).raise_for_status()
    assert operator.get("/v1/withheld").json()["images"] == []


def render(farm: RunningFarm, node: ScriptedNode) -> None:
    lease: Lease = node.lease()
    for shot in lease.shots:
        store(farm, shot, node.deliver(lease, shot))
    node.close(lease)


WRONG = [
    ({"steps": 0}, "image: steps: "),
    ({"model": "huge"}, "image: model: unknown model `huge`"),
    ({"loras": ["ana@x"]}, "image: loras[0]: "),
    ({"aspect": "2:3"}, "give either `size`, or `aspect`"),
    ({"prompt": "a {red mug"}, "image: prompt: "),
    ({"lane": ""}, "image: lane: "),
    ({"colour": "red"}, "POST /v1/images: colour: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG)
def test_what_is_wrong_with_an_image_is_said_in_its_own_words(
    operator: httpx.Client, settings: dict[str, Any], said: str
):
    answer = operator.post("/v1/images", json=MUG | settings)
    assert said in refused(answer, 422)
    assert not any("line" in problem for problem in answer.json().get("problems", []))


REFUSED = "schoolgirl, nude"
WAYS: dict[str, dict[str, Any]] = {
    "/v1/jobs": {"manifest": MANIFEST.replace("a {colour} mug", f"a {{colour}} {REFUSED}")},
    "/v1/plan": {"manifest": MANIFEST.replace("a {colour} mug", f"a {{colour}} {REFUSED}")},
    "/v1/images": MUG | {"prompt": REFUSED},
    "/v1/images/generations": {"model": "tiny", "prompt": REFUSED, "size": "128x128"},
    "/sdapi/v1/txt2img": {"prompt": REFUSED, "override_settings": {"sd_model_checkpoint": "tiny"}},
}


@pytest.mark.parametrize("path", WAYS)
def test_a_prompt_that_breaks_a_rule_is_refused_whichever_way_it_comes(operator: httpx.Client, path: str):
    before = operator.get("/v1/jobs").json()
    answer = operator.post(path, json=WAYS[path])
    assert answer.status_code in (400, 422), answer.text
    assert "breaks rule `minors`" in answer.text
    assert "this farm renders no sexual images of minors" in answer.text
    assert operator.get("/v1/jobs").json() == before


def test_the_image_of_a_job_of_several_is_found_among_its_shots(operator: httpx.Client):
    job = operator.post("/v1/jobs", json={"manifest": MANIFEST}).json()["id"]
    assert f"GET /v1/jobs/{job}/shots" in refused(operator.get(f"/v1/images/{job}"), 409)
    refused(operator.get("/v1/images/none"), 404)
    operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()


def test_a_manifest_is_submitted_as_it_is(operator: httpx.Client):
    as_json = json.dumps(yaml.safe_load(MANIFEST))
    for body, headers in ((MANIFEST, YAML), (as_json, {"content-type": "application/json"}), (MANIFEST, {})):
        answer = operator.post("/v1/jobs", content=body, headers=headers)
        assert (answer.status_code, answer.json()["name"], answer.json()["images"]) == (201, "mugs", 4)
        operator.post(f"/v1/jobs/{answer.json()['id']}/cancel").raise_for_status()
    said = refused(operator.post("/v1/jobs", content=b"\xff\xfe", headers=YAML), 422)
    assert said == "the manifest is not UTF-8 text: save it as UTF-8"


def test_the_problems_of_a_manifest_come_with_their_places(operator: httpx.Client):
    wrong = MANIFEST.replace("seeds: 2", "seeds: many").replace("model: tiny", "model: huge")
    for path in ("/v1/jobs", "/v1/plan"):
        answer = operator.post(path, content=wrong, headers=YAML)
        said = refused(answer, 422)
        problems = answer.json()["problems"]
        assert [(one["line"], one["path"]) for one in problems] == [
            (6, "shots[0].model"),
            (9, "shots[0].seeds"),
        ]
        assert all(one["detail"] in said and one["column"] > 1 for one in problems)


def test_a_plan_says_what_a_manifest_takes_and_submits_nothing(operator: httpx.Client):
    before = operator.get("/v1/jobs").json()
    told = operator.post("/v1/plan", content=MANIFEST, headers=YAML).json()
    assert (told["name"], told["plan"]["images"], told["plan"]["unfit"]) == ("mugs", 4, 0)
    assert told["plan"]["lines"][0]["takes"]
    assert 0 < told["plan"]["cost"]["low"] <= told["plan"]["cost"]["high"]
    assert bool(told["forecast"]) != bool(told["no_forecast"])
    asked = {"ids": ["0" * 64], "texts": ["0" * 32]}
    assert operator.post("/v1/shots/stored", json=asked).json() == {"ids": [], "texts": {}}
    assert operator.get("/v1/jobs").json() == before
    document = make_routes().openapi()
    validator = Draft202012Validator({"$ref": "#/components/schemas/PlanReport", **document})
    assert [error.message for error in validator.iter_errors(told)] == []


def test_a_request_that_is_sent_again_makes_no_second_job(operator: httpx.Client):
    headers = YAML | {"Idempotency-Key": "order-1"}
    first = operator.post("/v1/jobs", content=MANIFEST, headers=headers).json()
    again = operator.post("/v1/jobs", content=MANIFEST, headers=headers)
    assert (again.status_code, again.json()) == (201, first)
    said = refused(operator.post("/v1/jobs", content=MANIFEST + "\n", headers=headers), 422)
    assert said.startswith("Idempotency-Key order-1 was sent with another request at ")
    image = {"json": MUG | {"seed": None}, "headers": {"Idempotency-Key": "order-2"}}
    ids = {operator.post("/v1/images", **image).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    operator.post(f"/v1/jobs/{first['id']}/cancel").raise_for_status()
    operator.post(f"/v1/jobs/{ids.pop()}/cancel").raise_for_status()


DOORS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/images/generations", {"model": "tiny", "size": "128x128", "response_format": "b64_json"}),
    (
        "/sdapi/v1/txt2img",
        {"override_settings": {"sd_model_checkpoint": "tiny"}, "width": 128, "height": 128},
    ),
]


@pytest.mark.parametrize(("path", "settings"), DOORS)
def test_a_request_of_another_program_that_is_sent_again_gets_the_same_image(
    operator: httpx.Client,
    farm: RunningFarm,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    settings: dict[str, Any],
):
    monkeypatch.setattr(ordered_images, "LONGEST_WAIT_S", PATIENCE_S)
    request = {"json": settings | {"prompt": "a mug for a program"}, "headers": {"Idempotency-Key": path}}
    with ScriptedNode(farm) as node:
        rendering = threading.Thread(target=render, args=(farm, node))
        rendering.start()
        first = operator.post(path, **request).raise_for_status()
        rendering.join()
    ordered = operator.get("/v1/jobs").json()
    again = operator.post(path, **request).raise_for_status()
    assert picture(again) == picture(first)
    assert operator.get("/v1/jobs").json() == ordered


def picture(answer: httpx.Response) -> str:
    """The first image of an answer to another program, in base64."""
    told = answer.json()
    return str(told["data"][0]["b64_json"] if "data" in told else told["images"][0])


@pytest.mark.parametrize(("path", "settings"), DOORS)
def test_what_another_program_gets_wrong_is_said_in_its_form(
    operator: httpx.Client, path: str, settings: dict[str, Any]
):
    answer = operator.post(path, json=settings | {"prompt": "{" * 15_000})
    if path == openai_routes.PATH:
        assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request_error")
        said = answer.json()["error"]["message"]
    else:
        said = refused(answer, 422)
    assert said.startswith("image: prompt is longer than 20,000 characters")


def test_pages_of_shots_are_filtered_by_axis_state_and_prompt(operator: httpx.Client):
    manifest = MANIFEST.replace("[red, blue]", "[red, blue, {name: sea, look: Deep Green}]")
    manifest = manifest.replace("a {colour} mug", "a {colour} mug, {colour.look}").replace(", blue, ", ", ")
    manifest = manifest.replace("[red, ", "[{name: red, look: Bright}, ")
    job = operator.post("/v1/jobs", content=manifest, headers=YAML).json()["id"]

    def names(**wanted: Any) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            given = {"limit": 1, **wanted} | ({"cursor": cursor} if cursor else {})
            page = operator.get(f"/v1/jobs/{job}/shots", params=given).raise_for_status().json()
            found += [shot["name"] for shot in page["shots"]]
            if (cursor := page["next"]) is None:
                return found

    assert names() == ["red-0", "red-1", "sea-0", "sea-1"]
    assert names(axis="colour:sea") == ["sea-0", "sea-1"]
    assert names(axis=["colour:red", "group:mug"], state="waiting") == ["red-0", "red-1"]
    assert names(prompt="deep GREEN") == ["sea-0", "sea-1"]
    assert names(state="done") == names(axis="group:none") == []
    shot = operator.get(f"/v1/jobs/{job}/shots").json()["shots"][0]
    assert (shot["group"], shot["axes"]) == ("mug", {"colour": "red"})
    axes = operator.get(f"/v1/jobs/{job}").json()["axes"]
    assert axes == {"group": ["mug"], "colour": ["red", "sea"]}
    for wrong in ({"cursor": "x"}, {"axis": "colour"}, {"state": "lost"}):
        refused(operator.get(f"/v1/jobs/{job}/shots", params=wrong), 422)
    operator.post(f"/v1/jobs/{job}/cancel").raise_for_status()


def test_jobs_come_in_pages_newest_first(operator: httpx.Client):
    every = [job["id"] for job in operator.get("/v1/jobs").json()["jobs"]]
    found: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        given = {"limit": 2} | ({"cursor": page["next"]} if page["next"] else {})
        page = operator.get("/v1/jobs", params=given).json()
        found += [job["id"] for job in page["jobs"]]
    assert found == every
    assert len(found) > 2
    cancelled = operator.get("/v1/jobs", params={"status": "cancelled"}).json()["jobs"]
    assert 0 < len(cancelled) < len(every)
    assert {job["status"] for job in cancelled} == {"cancelled"}
    assert operator.get("/v1/jobs", params={"owner": "nobody"}).json() == {"jobs": [], "next": None}
    refused(operator.get("/v1/jobs", params={"cursor": "W10"}), 422)
