"""The pages of a farm over HTTP: sign-in, scopes, forms of other sites, and what each page shows."""

from __future__ import annotations

import io
import re
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from fastapi.routing import APIRoute
from PIL import Image

from common.failures import MAX_ATTEMPTS
from common.key_messages import NewKey
from common.messages import Lease, Report, Spent
from common.states import NodeState
from common.views import Explanation
from coordinator.ingest.work import ingest
from coordinator.pictures.thumbnail import SIDE, thumbnail_key
from coordinator.web.app import ROUTES
from coordinator.web.jobs import VERBS
from tests.farm import DEADLINE_S, RunningFarm, ScriptedNode, running_farm
from tests.servers import ValkeyServer

#: What a browser would obey if it were not text.
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&{{7*7}}"
MUGS = {
    "version": 1,
    "name": "mugs",
    "shots": [
        {
            "name": "mug",
            "model": "tiny",
            "prompt": "a {colour} mug " + HOSTILE.replace("{{7*7}}", "\\{\\{7*7\\}\\}"),
            "axes": {"colour": ["red", "blue"]},
            "seeds": 2,
            "size": "128x128",
        }
    ],
    "output": {"name": "{colour}-{seed}"},
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    farm: RunningFarm
    #: A job of ana with two stored images, a failed one with a hostile reason, and a waiting one.
    job: str
    keys: dict[str, str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[Scene]:
    # A queue of another farm on this broker could have tickets of the same lane.
    with running_farm(tmp_path_factory.mktemp("pages"), valkey_server.url, look_ahead=False) as farm:
        keys = {
            name: _key(farm, name, owner, scopes)
            for name, owner, scopes in (
                ("ana-key", "ana", ("submit",)),
                ("ana-reads", "ana", ("read",)),
                ("bo-key", "bo", ("submit",)),
                ("sees-all", "cleo", ("read-all",)),
            )
        } | {"operator": "operator-key", "node": "node-key"}
        with api(farm, keys["ana-key"]) as ana, ScriptedNode(farm) as node:
            answer = ana.post("/v1/jobs", json={"manifest": yaml.safe_dump(MUGS)})
            job = answer.raise_for_status().json()["id"]
            render(farm, node)
        yield Scene(farm=farm, job=job, keys=keys)


def _key(farm: RunningFarm, name: str, owner: str, scopes: tuple[str, ...], **limits: str) -> str:
    new = NewKey.model_validate({"name": name, "owner": owner, "scopes": scopes, **limits})
    with farm.client() as operator:
        answer = operator.post("/v1/keys", json=new.model_dump(mode="json"))
    return str(answer.raise_for_status().json()["key"])


def api(farm: RunningFarm, key: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=farm.url, headers=headers, timeout=DEADLINE_S, trust_env=False)


def render(farm: RunningFarm, node: ScriptedNode) -> None:
    """Two shots are stored, one fails as often as it may."""
    lease = node.lease()
    for shot in lease.shots[:2]:
        node.deliver(lease, shot)
        (delivery,) = farm.farm.ledger.ingest.deliveries([shot.attempt_id])
        assert not isinstance(delivery, BaseException)
        farm.farm.ledger.ingest.verdicts([(shot.attempt_id, ingest(delivery, farm.farm.store))])
    failing = lease.shots[2].id
    for _ in range(MAX_ATTEMPTS):
        bad = Report(
            token=lease.token,
            shot_id=failing,
            outcome="failed",
            failure="render_error",
            message=HOSTILE,
            spent=Spent(joules=1.0, energy_method="sampled", seconds={"denoise": 0.1}),
        )
        state = node.post(f"/v1/batches/{lease.batch_id}/reports", bad).json()["state"]
        node.close(lease)
        if state != "failed":
            lease = lease_with(node, failing)


def lease_with(node: ScriptedNode, shot_id: str) -> Lease:
    """A lease with a shot that was tried before; others are handed back."""
    lease = node.lease()
    while shot_id not in [shot.id for shot in lease.shots]:
        node.close(lease)
        lease = node.lease()
    return lease


@contextmanager
def browser(scene: Scene, key: str | None = None) -> Iterator[httpx.Client]:
    """A client with the cookie of a session, which sends what browsers send."""
    headers = {"origin": scene.farm.url, "accept": "text/html"}
    with httpx.Client(
        base_url=scene.farm.url, headers=headers, timeout=DEADLINE_S, trust_env=False
    ) as client:
        if key is not None:
            answer = client.post("/sign-in", data={"key": scene.keys.get(key, key)})
            assert answer.status_code == 303, answer.text
        yield client


def token(page: httpx.Response) -> str:
    return re.findall(r'name="token" value="([^"]+)"', page.text)[0]


# Sign-in


def test_who_is_not_signed_in_is_led_to_the_form_and_back(scene: Scene) -> None:
    with browser(scene) as nobody:
        answer = nobody.get(f"/jobs/{scene.job}?state=failed")
        assert answer.status_code == 303
        form = nobody.get(answer.headers["location"])
        wanted = re.findall(r'name="next" value="([^"]+)"', form.text)[0]
        answer = nobody.post("/sign-in", data={"key": scene.keys["ana-key"], "next": wanted})
        assert answer.headers["location"] == f"/jobs/{scene.job}?state=failed"


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\e", "//[", ""]
)
def test_a_sign_in_leads_to_no_other_site(scene: Scene, elsewhere: str) -> None:
    with browser(scene) as nobody:
        answer = nobody.post("/sign-in", data={"key": scene.keys["ana-key"], "next": elsewhere})
        assert answer.headers["location"] == "/"


def test_the_cookie_is_kept_from_scripts_and_other_sites(scene: Scene) -> None:
    with browser(scene) as nobody:
        answer = nobody.post("/sign-in", data={"key": scene.keys["ana-key"]})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Secure" not in cookie  # this farm is reached by http
        assert scene.keys["ana-key"] not in cookie


@pytest.mark.parametrize(("key", "status"), [("wrong", 401), ("", 401), ("node-key", 403)])
def test_a_key_that_may_read_nothing_does_not_sign_in(scene: Scene, key: str, status: int) -> None:
    with browser(scene) as nobody:
        answer = nobody.post("/sign-in", data={"key": key})
        assert answer.status_code == status
        assert "set-cookie" not in answer.headers
        assert 'role="alert"' in answer.text


def test_a_long_form_is_refused_before_it_is_read(scene: Scene) -> None:
    """Whoever sends it has shown no key, so that it must not keep the farm busy."""
    with browser(scene) as nobody:
        answer = nobody.post("/sign-in", content=b"a&" * 2049)
        assert (answer.status_code, 'role="alert"' in answer.text) == (413, True)
    place = urlsplit(scene.farm.url)
    with socket.create_connection((place.hostname, place.port), timeout=DEADLINE_S) as line:
        head = f"POST /sign-in HTTP/1.1\r\nHost: farm\r\nOrigin: {scene.farm.url}\r\nContent-Length: 33554432"
        line.sendall(f"{head}\r\n\r\nkey=".encode())
        assert line.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_form_of_too_many_fields_is_refused(scene: Scene) -> None:
    with browser(scene, "bo-key") as bo:
        fields = f"token={token(bo.get('/new'))}" + "&a=" * 10_000
        answer = bo.post("/new/check", content=fields)
    assert (answer.status_code, "10000 fields" in answer.text) == (422, True)


def test_a_link_signs_in_once(scene: Scene) -> None:
    with api(scene.farm, scene.keys["ana-key"]) as ana:
        link = ana.post("/v1/sign-in-links").raise_for_status().json()
    assert link["valid_s"] == 600
    with browser(scene) as first, browser(scene) as second:
        welcome = first.get(link["url"])
        assert (welcome.status_code, welcome.headers["cache-control"]) == (200, "no-store")
        assert "mugs" in first.get("/").text
        assert second.get(link["url"]).status_code == 401
        assert second.get("/").status_code == 303


def test_a_link_replaces_a_session_only_when_asked_to(scene: Scene) -> None:
    def links(key: str) -> list[str]:
        with api(scene.farm, scene.keys[key]) as client:
            return [client.post("/v1/sign-in-links").raise_for_status().json()["url"] for _ in range(2)]

    def asked(page: httpx.Response) -> dict[str, str]:
        assert (page.status_code, page.headers.get("set-cookie")) == (200, None)
        assert "Sign in as <bdi>bo-key</bdi>" in page.text
        return dict(re.findall(r'name="(once|token)" value="([^"]*)"', page.text))

    (mine, _), (other, second) = links("ana-key"), links("bo-key")
    with browser(scene, "ana-key") as ana, browser(scene) as nobody:
        assert "set-cookie" not in ana.get(mine).headers
        fields = asked(ana.get(other))
        # A browser sends no cookie to where another site leads.
        from_elsewhere = asked(nobody.get(second, headers={"sec-fetch-site": "cross-site"}))
        fields_of_session = asked(ana.post("/sign-in/link", data=from_elsewhere))
        assert "<bdi>ana-key</bdi>" in ana.get("/").text
        for origin in ("https://evil.example", "null"):
            answer = ana.post("/sign-in/link", data=fields, headers={"origin": origin})
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        assert nobody.post("/sign-in/link", data=from_elsewhere).status_code == 200
        assert "<bdi>bo-key</bdi>" in nobody.get("/").text
        assert ana.post("/sign-in/link", data=fields_of_session).status_code == 401  # it was used
        assert ana.post("/sign-in/link", data=fields).status_code == 200
        assert "<bdi>bo-key</bdi>" in ana.get("/").text


def test_a_session_ends_with_its_key(scene: Scene) -> None:
    key = _key(scene.farm, "short", "ana", ("submit",))
    with browser(scene, key) as ana, scene.farm.client() as operator:
        assert ana.get("/").status_code == 200
        operator.post("/v1/keys/short/revoke").raise_for_status()
        assert ana.get("/").status_code == 303
        part = ana.get("/overview", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in")


def test_signing_out_removes_the_cookie(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana:
        ana.post("/sign-out", data={"token": token(ana.get("/"))})
        assert ana.get("/").status_code == 303


def test_a_page_that_stays_open_takes_no_calls_of_its_key(scene: Scene) -> None:
    key = _key(scene.farm, "patient", "ana", ("submit",), rate="3/hour")
    job = f"/jobs/{scene.job}"
    with browser(scene, key) as ana:  # the first call
        assert ana.get(job).status_code == 200
        for path in (
            "/overview", "/waits", "/nodes/list", f"{job}/progress", f"{job}/why", f"{job}/shots",
            f"{job}/picks",
        ):  # fmt: skip
            assert ana.get(path, headers={"hx-request": "true"}).status_code == 200, path
        assert ana.get(job).status_code == 200
        assert ana.get(job).status_code == 429


# Forms


def test_a_form_of_another_site_changes_nothing(scene: Scene) -> None:
    with browser(scene, "operator") as operator:
        good = token(operator.get("/"))
        pause = f"/jobs/{scene.job}/pause"
        for headers, fields in (
            ({"origin": "https://evil.example"}, {"token": good}),
            ({"origin": "null"}, {"token": good}),
            ({"origin": "http://["}, {"token": good}),
            ({"origin": ""}, {"token": good}),
            ({}, {}),
            ({}, {"token": "x"}),
        ):
            answer = operator.post(pause, data=fields, headers=headers)
            assert answer.status_code == 403, (headers, fields)
        with browser(scene, "operator") as other:
            assert operator.post(pause, data={"token": token(other.get("/"))}).status_code == 403
        with scene.farm.client() as client:
            assert client.get(f"/v1/jobs/{scene.job}").json()["intent"] == "active"


# Scopes


def of_jobs(scene: Scene) -> Iterator[tuple[str, str]]:
    """Method and address of every page, part and form of a job."""
    digest = links_of(scene)[-1].rpartition("/")[2]
    for module in ROUTES:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and "{job_id}" in route.path:
                for verb in VERBS if "{verb}" in route.path else ("",):
                    path = route.path.format(job_id=scene.job, position=0, digest=digest, verb=verb)
                    yield from ((method, path) for method in route.methods or ())


def test_a_key_sees_and_changes_only_what_is_its_owners(scene: Scene) -> None:
    everything = list(of_jobs(scene))
    assert len(everything) > 15
    with browser(scene, "bo-key") as bo:
        assert scene.job not in bo.get("/").text
        assert scene.job not in bo.get("/jobs").text
        fields = {"token": token(bo.get("/")), "priority": "1", "positions": "0", "kept": "yes"}
        for method, path in everything:
            answer = bo.request(method, path, data=fields if method == "POST" else None)
            assert (answer.status_code, "mug" in answer.text) == (404, False), (method, path)
        for path in links_of(scene):
            assert bo.get(path).status_code == 404, path


@pytest.mark.parametrize("key", ["ana-reads", "sees-all"])
def test_who_may_only_read_sees_pages_without_buttons_and_changes_nothing(scene: Scene, key: str) -> None:
    here = f"/jobs/{scene.job}"
    with browser(scene, key) as reader:
        page = reader.get(here)
        assert "read only" in page.text
        assert "Cancel" not in page.text
        good = token(page)
        for path in (f"{here}/cancel", f"{here}/shots/0/reject", "/new", "/new/check", "/nodes/node-1/drain"):
            assert reader.post(path, data={"token": good}).status_code == 403, path
        assert reader.get("/new").status_code == 403


def test_a_node_is_steered_by_operators_alone(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana, browser(scene, "operator") as operator:
        assert ana.post("/nodes/node-1/drain", data={"token": token(ana.get("/"))}).status_code == 403
        good = token(operator.get("/nodes"))
        quarantine = {"token": good, "reason": "green"}
        assert operator.post("/nodes/node-1/quarantine", data=quarantine).status_code == 303
        page = operator.get("/nodes").text
        assert NodeState.QUARANTINED in page
        assert "green" in page
        assert operator.post("/nodes/node-1/forgive", data={"token": good}).status_code == 303
    with scene.farm.client() as client:
        acts = [entry["action"] for entry in client.get("/v1/audit?limit=2").json()["entries"]]
    assert acts == ["node forgive", "node quarantine"]


# What pages show


def links_of(scene: Scene) -> list[str]:
    """Addresses of thumbnails and images in full size."""
    with browser(scene, "ana-key") as ana:
        small = re.findall(r'<img src="(/jobs/[^"]+)"', ana.get(f"/jobs/{scene.job}").text)
        full = re.findall(r'<img src="(/jobs/[^"]+)"', ana.get(f"/jobs/{scene.job}/shots/0").text)
    return [*small, *full]


PAGES = (
    "/", "/jobs", "/jobs/{job}", "/jobs/{job}/shots/0", "/jobs/{job}/shots/2", "/jobs/{job}/sheet",
    "/jobs/{job}/why", "/new", "/new?mode=yaml", "/nodes", "/models", "/thanks", "/withheld", "/sign-in",
    "/jobs/none",
)  # fmt: skip


class Page(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_strict_about_what_runs(scene: Scene, path: str) -> None:
    with browser(scene, "operator") as operator:
        answer = operator.get(path.format(job=scene.job))
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"]) == ("'self'", "'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    for tag, attributes in Page(answer.text).found:
        assert tag not in ("style", "iframe", "object", "base"), tag
        assert tag != "script" or attributes["integrity"]
        assert not [name for name in attributes if name == "style" or name.startswith("on")], attributes
        for name in ("src", "href", "action", "formaction", "hx-get", "hx-post"):
            address = urlsplit(attributes.get(name, ""))
            assert not address.netloc, attributes
            assert not address.scheme, attributes


def test_the_icon_is_where_browsers_look_for_it(scene: Scene) -> None:
    with browser(scene) as anyone:
        icon = anyone.get("/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
    assert icon.text.startswith("<svg")


def test_a_node_shows_the_images_it_rendered_to_who_may_see_them(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana, browser(scene, "bo-key") as bo:
        assert 'hx-get="/nodes/node-1/images"' in ana.get("/nodes").text
        images = re.findall(r'<img src="(/jobs/[^"]+)"', ana.get("/nodes/node-1/images").text)
        assert len(images) == 2
        assert all(ana.get(image).headers["content-type"] == "image/webp" for image in images)
        assert "No image yet" in bo.get("/nodes/node-1/images").text


def test_text_of_people_and_nodes_is_text(scene: Scene) -> None:
    with browser(scene, "operator") as operator:
        page = operator.get(f"/jobs/{scene.job}").text
        # Of two images, and of the failure, with its image and for the job.
        assert page.count("&lt;script&gt;document.title=") == 4
        shown = operator.get(
            f"/jobs/{scene.job}", params={"text": HOSTILE, "node": HOSTILE, "state": HOSTILE}
        )
        assert "<script>document" not in shown.text
        refused = operator.post(
            "/new", data={"token": token(operator.get("/")), "manifest": f"{HOSTILE}: [", "x": HOSTILE}
        )
        assert refused.status_code == 422
        assert "<script>document" not in refused.text


def test_the_gallery_shows_each_state_and_filters(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana:
        page = ana.get(f"/jobs/{scene.job}").text
        assert page.count('class="shot done"') == 2
        assert page.count('class="shot failed"') == 1
        assert page.count('class="shot waiting"') == 1
        for query, number in (
            ("state=stored", 2), ("state=failed", 1), ("state=waiting", 1), ("node=node-1", 2),
            ("axis:colour=red", 2), ("axis:colour=blue&state=failed", 1), ("axis:colour=green", 0),
            ("axis:colour=red&text=A%20RED", 2), ("text=MUG", 4), ("text=%25", 0), ("axis:group=mug", 4),
            ("state=stored&node=other", 0),
        ):  # fmt: skip
            found = ana.get(f"/jobs/{scene.job}/shots?{query}").text
            assert found.count('<li class="shot') == number, query


def test_a_part_of_the_gallery_is_renewed_without_what_follows(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana:
        again = ana.get(f"/jobs/{scene.job}/shots?after=0&upto=2&again=1").text
    assert re.findall(r'id="shot(\d)"', again) == ["1", "2"]
    assert 'class="more"' not in again


def test_the_head_tells_when_shots_have_changed(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana:
        head = ana.get(f"/jobs/{scene.job}/progress")
        assert head.headers["hx-trigger"] == "shots-changed"
        seen = re.findall(r'hx-get="([^"]+)"', head.text)[0]
        assert "hx-trigger" not in ana.get(seen).headers


def test_thumbnails_are_small_and_kept_by_browsers(scene: Scene) -> None:
    small, _, full = links_of(scene)
    with browser(scene, "ana-key") as ana:
        answer = ana.get(small)
        assert "immutable" in answer.headers["cache-control"]
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert (picture.format, max(picture.size) <= SIDE) == ("WEBP", True)
        assert ana.get(small[:-1] + ("0" if small[-1] != "0" else "1")).status_code == 404
        whole = ana.get(full, follow_redirects=True)
        with Image.open(io.BytesIO(whole.content)) as picture:
            assert (picture.format, picture.size) == ("PNG", (128, 128))


def test_a_missing_thumbnail_is_made(scene: Scene) -> None:
    small = links_of(scene)[0]
    (file, _) = scene.farm.farm.ledger.images.files(scene.job)
    store, key = scene.farm.farm.store, thumbnail_key(file.key)
    with browser(scene, "ana-key") as ana:
        before = ana.get(small).content
        store.delete(key)
        assert ana.get(small).content == before
    assert store.head(key) is not None


def test_the_detail_tells_where_an_image_comes_from(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana:
        page = ana.get(f"/jobs/{scene.job}/shots/0").text
        part = ana.get(f"/jobs/{scene.job}/shots/0", headers={"hx-request": "true"}).text
    for words in ("a red mug", "tiny", "node-1", " Wh", "As written"):
        assert words in page, words
    # As much of what the node reported as may have passed since its lease began.
    assert re.search(r"denoise \d", page)
    assert "<html" not in part


def test_why_a_shot_waits_is_worked_out_once_for_a_while(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, asked = scene.farm.farm.ledger, []
    explain = ledger.explain

    def counted(subject: str, **known: Any) -> Explanation:
        asked.append(subject)
        return explain(subject, **known)

    monkeypatch.setattr(ledger, "explain", counted)
    with browser(scene, "ana-key") as ana:
        for _ in range(6):
            assert "waits" in ana.get(f"/jobs/{scene.job}/shots/3").text
    assert 0 < len(asked) < 6


def test_the_zip_has_the_names_of_the_manifest_and_continues(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana:
        whole = ana.get(f"/jobs/{scene.job}/images.zip")
        assert whole.headers["content-disposition"] == 'attachment; filename="mugs.zip"'
        with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["red-0.png", "red-1.png"]
        wanted = {"range": "bytes=1000-", "if-range": whole.headers["etag"]}
        rest = ana.get(f"/jobs/{scene.job}/images.zip", headers=wanted)
        assert (rest.status_code, rest.content) == (206, whole.content[1000:])
        stale = ana.get(f"/jobs/{scene.job}/images.zip", headers=wanted | {"if-range": '"other"'})
        assert (stale.status_code, stale.content) == (200, whole.content)


def seen_again(person: httpx.Client) -> int:
    """The answer to an overview that asks for what has changed."""
    (asked,) = re.findall(r'hx-get="(/overview[^"]*)" hx-trigger="every 3s"', person.get("/").text)
    return person.get(asked, headers={"hx-request": "true"}).status_code


def test_the_overview_tells_cost_and_why_a_job_waits(scene: Scene) -> None:
    with browser(scene, "ana-key") as ana, browser(scene, "bo-key") as bo:
        page = ana.get("/").text
        assert "2 images" in page
        assert re.search(r"Images per hour</abbr></dt><dd>–</dd><dd[^>]*>no job runs now", page)
        assert re.search(r"Cost today</dt><dd>0\.0+[1-9]", page)
        assert re.search(r"Cost today</dt><dd>0\.00 ", bo.get("/").text)
        assert 204 in {seen_again(ana) for _ in range(3)}, "an overview counts for two seconds"
        assert "Cost today" in ana.get("/overview?seen=other", headers={"hx-request": "true"}).text
        assert "1 shot waits" in ana.get("/waits").text
        assert "mugs" not in bo.get("/waits").text


def test_images_are_picked_and_listed(scene: Scene) -> None:
    picks = f"/jobs/{scene.job}/picks"
    with browser(scene, "ana-key") as ana:
        good = token(ana.get(f"/jobs/{scene.job}"))
        assert ana.post(picks, data={"token": good, "positions": "0,1", "kept": "yes"}).status_code == 200
        said = ana.post(picks, data={"token": good, "positions": "1", "kept": "no", "stars": "2"}).text
        assert "<b>1</b> kept, 1 dropped" in said
        page = ana.get(f"/jobs/{scene.job}").text
        assert re.findall(r'data-kept="(\w+)"', page) == ["yes", "no"]
        assert re.findall(r'data-stars="(\d)"', page) == ["2"]
        for wrong in (
            {"positions": "x"}, {"positions": ""}, {"positions": "0", "kept": "perhaps"},
            {"positions": "0", "stars": "6"},
        ):  # fmt: skip
            assert ana.post(picks, data={"token": good, **wrong}).status_code == 422, wrong
    with browser(scene, "ana-reads") as reader, browser(scene, "bo-key") as bo:
        mine = {"token": token(reader.get("/")), "positions": "0", "kept": "no"}
        assert reader.post(picks, data=mine).status_code == 403
        assert "<b>1</b> kept" in reader.get(picks).text
        assert bo.get(picks).status_code == 404
        assert bo.post(picks, data=mine | {"token": token(bo.get("/"))}).status_code == 404
    with api(scene.farm, scene.keys["ana-key"]) as client:
        listed = client.get(f"/v1/jobs/{scene.job}/picks").json()
    assert [(one["name"], one["kept"]) for one in listed["picks"]] == [("red-0", True), ("red-1", False)]


def test_a_grid_has_a_cell_for_each_pair_of_values(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    group = MUGS["shots"][0] | {"axes": {"colour": ["red", HOSTILE], "size_of": ["big", "a  b", "tiny"]}}
    other = MUGS | {"name": "pairs", "shots": [group], "output": {"name": "{index}"}}
    with api(scene.farm, scene.keys["ana-key"]) as client:
        order = {"manifest": yaml.safe_dump(other)}
        job = client.post("/v1/jobs", json=order).raise_for_status().json()["id"]
    with browser(scene, "ana-key") as ana, browser(scene, "bo-key") as bo:
        page = ana.get(f"/jobs/{job}/grid").text
        assert (page.count('<th scope="row">'), page.count('<th scope="col">')) == (3, 3)
        assert page.count("/shots/") == 2 * 12
        turned = ana.get(f"/jobs/{job}/grid?rows=colour&columns=size_of").text
        assert turned.count('<th scope="row">') == 2
        assert "<script>document" not in turned
        monkeypatch.setattr("coordinator.web.grid._SHOTS", 8)
        assert ana.get(f"/jobs/{job}/grid").text.count("/shots/") == 2 * 8
        (more,) = re.findall(r'href="([^"]+)">Next page', ana.get(f"/jobs/{job}/grid?rows=colour").text)
        rest = ana.get(unescape(more)).text
        assert (rest.count("/shots/"), "First page" in rest, "Next page" in rest) == (2 * 4, True, False)
        page = ana.get(f"/jobs/{job}").text
        assert f"/jobs/{job}/grid" in page
        # As a browser sends them: without a value, an option sends its text with fewer spaces.
        values = {each.get("value", "") for tag, each in Page(page).found if tag == "option"}
        assert {"red", HOSTILE, "big", "a  b", "tiny"} <= values
        assert bo.get(f"/jobs/{job}/grid").status_code == 404
        assert ana.get(f"/jobs/{scene.job}/grid").status_code == 404
        assert f"/jobs/{scene.job}/grid" not in ana.get(f"/jobs/{scene.job}").text


# New jobs


def test_a_form_is_planned_and_submitted(scene: Scene) -> None:
    fields: dict[str, Any] = {"model": "tiny", "prompt": "a green mug", "images": "2", "format": "png"}
    # Joins: a node that is not heard of for long is not in service.
    with browser(scene, "bo-key") as bo, ScriptedNode(scene.farm):
        fields["token"] = token(bo.get("/new"))
        plan = bo.post("/new/check", data=fields).text
        assert "<dt>Images</dt><dd><b>2</b>" in plan
        assert "prompt: a green mug" in plan
        assert "on the nodes in service" in plan
        assert "<dd>seen by any node, also those of volunteers</dd>" in plan
        answer = bo.post("/new", data=fields)
        assert answer.status_code == 303
        assert "a-green-mug" in bo.get(answer.headers["location"]).text
        editor = bo.post("/new/editor", data=fields).text
        assert re.search(r"<textarea id=\"manifest\"[^>]*>\nversion: 1\nname: a-green-mug", editor)


def test_what_was_typed_comes_back_as_it_was(scene: Scene) -> None:
    typed = f"\n\tversion: 1 \u200b\u202e\\t </textarea> {HOSTILE}"
    field = re.compile(r"<textarea [^>]*>\n(.*?)</textarea>", re.DOTALL)
    with browser(scene, "bo-key") as bo:
        good = token(bo.get("/new"))
        editor = bo.post("/new", data={"token": good, "manifest": typed})
        order = {"model": "none", "prompt": f"a{typed}", "negative": f"no{typed}", "name": f"b{typed}"}
        form = bo.post("/new", data={"token": good, **order})
    assert (editor.status_code, form.status_code) == (422, 422)
    assert [unescape(text) for text in field.findall(editor.text)] == [typed]
    assert [unescape(text) for text in field.findall(form.text)] == [f"a{typed}", f"no{typed}"]
    names = [each["value"] for tag, each in Page(form.text).found if each.get("name") == "name"]
    assert names == [f"b{typed}"]


def test_the_editor_tells_each_problem_with_its_place(scene: Scene) -> None:
    with browser(scene, "bo-key") as bo:
        fields = {"token": token(bo.get("/new")), "manifest": "version: 1\nshots:\n- name: a\n  promt: x\n"}
        said = bo.post("/new/check", data=fields).text
        assert 'data-line="4" data-column="3"' in said
        assert "did you mean <code>prompt</code>" in said
        refused = bo.post("/new", data=fields)
        assert (refused.status_code, "promt: x" in refused.text) == (422, True)


def test_a_lane_that_the_key_lacks_is_refused_in_the_editor(scene: Scene) -> None:
    manifest = yaml.safe_dump(MUGS | {"lane": "studio"})
    with browser(scene, "bo-key") as bo:
        answer = bo.post("/new", data={"token": token(bo.get("/new")), "manifest": manifest})
    assert answer.status_code == 403
    assert "lane <code>studio</code> is not granted" in answer.text


@pytest.mark.parametrize("path", ["/new", "/new/check"])
def test_a_prompt_that_breaks_a_rule_is_refused_on_the_page(scene: Scene, path: str) -> None:
    with browser(scene, "bo-key") as bo:
        fields = {"token": token(bo.get("/new")), "model": "tiny", "prompt": "schoolgirl, nude"}
        said = bo.post(path, data=fields).text
    assert "breaks rule <code>minors</code>" in said


# Last: it changes the job


def test_a_job_is_steered_and_the_log_says_by_whom(scene: Scene) -> None:
    here = f"/jobs/{scene.job}"
    with browser(scene, "ana-key") as ana:
        good = token(ana.get(here))
        for verb, fields in (
            ("pause", {}), ("resume", {}), ("priority", {"priority": "20"}), ("retry", {}), ("cancel", {}),
        ):  # fmt: skip
            answer = ana.post(f"{here}/{verb}", data={"token": good, **fields})
            assert (answer.status_code, answer.headers["location"]) == (303, here), verb
        assert ana.post(f"{here}/priority", data={"token": good, "priority": "99"}).status_code == 403
        rejected = ana.post(f"{here}/shots/0/reject", data={"token": good, "redo": "no"})
        assert rejected.status_code == 409  # no active job has it
        assert "cancelled" in ana.get(here).text
    with scene.farm.client() as client:
        log = client.get("/v1/audit", params={"by": "ana-key", "subject": scene.job}).json()["entries"]
    actions = [entry["action"] for entry in log if entry["action"] != "job picks"]
    assert actions == [
        "job cancel", "job retry", "job priority", "job resume", "job pause", "job create",
    ]  # fmt: skip


def test_operators_alone_look_at_withheld_images_and_decide(scene: Scene) -> None:
    one = MUGS | {"name": "marked", "shots": [{"name": "a", "model": "tiny", "prompt": "marked", "seeds": 2}]}
    ledger = scene.farm.farm.ledger
    with api(scene.farm, scene.keys["bo-key"]) as bo:
        job = bo.post("/v1/jobs", json={"manifest": yaml.safe_dump(one | {"output": {}})}).json()["id"]
    with scene.farm.client() as client:
        # Before what other tests have ordered.
        client.post(f"/v1/jobs/{job}/priority", json={"priority": 100}).raise_for_status()
    marked: list[str] = []
    with ScriptedNode(scene.farm) as node:
        while len(marked) < 2:
            lease = node.lease()
            for shot in lease.shots:
                if shot.spec["prompt"] == "marked":
                    node.deliver(lease, shot)
                    (delivery,) = ledger.ingest.deliveries([shot.attempt_id])
                    assert not isinstance(delivery, BaseException)
                    verdict = ingest(delivery, scene.farm.farm.store).model_copy(update={"withheld": HOSTILE})
                    ledger.ingest.verdicts([(shot.attempt_id, verdict)])
                    marked.append(shot.id)
            node.close(lease)
    first, second = marked
    with browser(scene, "bo-key") as bo:
        shown = bo.get(f"/jobs/{job}")
        assert "2 shots withheld" in shown.text
        assert not re.findall(r'<img src="/jobs', shown.text)
        for path in ("/withheld", f"/withheld/{first}/image"):
            assert bo.get(path).status_code == 403
        assert bo.post(f"/withheld/{first}/approve", data={"token": token(shown)}).status_code == 403
        assert "/withheld" not in bo.get("/").text
    with browser(scene, "operator") as operator:
        assert "2 images</a> wait for an operator" in operator.get("/").text
        page = operator.get("/withheld")
        assert HOSTILE in unescape(page.text)
        assert "<script>document" not in page.text
        assert operator.get(operator.get(f"/withheld/{first}/image").headers["location"]).status_code == 200
        good = {"token": token(page)}
        assert operator.post(f"/withheld/{first}/approve", data=good).status_code == 303
        sha256 = ledger.images.withheld()[0].sha256
        assert operator.post(f"/withheld/{second}/delete", data=good | {"sha256": sha256}).status_code == 303
        assert operator.get(f"/withheld/{first}/image").status_code == 404
        assert operator.post(f"/withheld/{first}/praise", data=good).status_code == 404
        assert "No image is withheld" in operator.get("/withheld").text
    with api(scene.farm, scene.keys["bo-key"]) as bo:
        assert bo.get(f"/v1/jobs/{job}").json()["counts"] == {"done": 1, "deleted": 1}


def test_volunteers_are_thanked_and_each_has_a_page(scene: Scene) -> None:
    one = MUGS | {"name": "gift", "shots": [{"name": "a", "model": "tiny", "prompt": "a gift"}], "output": {}}
    with api(scene.farm, scene.keys["bo-key"]) as bo:
        bo.post("/v1/jobs", json={"manifest": yaml.safe_dump(one)}).raise_for_status()
    with ScriptedNode(scene.farm, name="attic", terms="volunteer") as node:
        lease = node.lease()
        node.deliver(lease, lease.shots[0])
        (delivery,) = scene.farm.farm.ledger.ingest.deliveries([lease.shots[0].attempt_id])
        assert not isinstance(delivery, BaseException)
        scene.farm.farm.ledger.ingest.verdicts(
            [(lease.shots[0].attempt_id, ingest(delivery, scene.farm.farm.store))]
        )
        node.close(lease)
    with browser(scene, "sees-all") as cleo:
        listed, own = cleo.get("/thanks").text, cleo.get("/thanks/farm").text
        assert cleo.get("/thanks/nobody").status_code == 404
    assert '<a href="/thanks/farm">farm</a>' in listed
    assert "Thank you, <bdi>farm</bdi>" in own
    assert "made <b>1</b> images" in own
    with browser(scene, "bo-key") as bo:
        assert "No volunteer rendered this month" in bo.get("/thanks").text
        assert bo.get("/thanks/farm").status_code == 404
