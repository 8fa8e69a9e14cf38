"""The web page in a real browser, over one farm with the demo model: from the sign-in to the end of a job.

Every test fails on a violation of the content security policy, an error of a script, or a request that
leaves the farm.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.browser import open_browser, sync_api
from tests.e2e.farmhouse import Farmhouse
from tests.waiting import until

CARDS = Path(__file__).parents[2] / "manifests" / "cards"
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
HOSTILE = (
    "a <b>mug</b><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & \"'"
)
#: Its shots wait: no node serves the lane.
LONG = {
    "version": 1,
    "name": "long",
    "lane": "nobody",
    "shots": [{"name": "mug", "model": "shotfarm-demo", "prompt": HOSTILE, "seeds": 5000}],
    "output": {"name": "{index}"},
}
#: Three images in three colours.
FEW = {
    "version": 1,
    "name": "few",
    "shots": [
        {
            "name": "mug",
            "model": "shotfarm-demo",
            "prompt": "a {colour} mug",
            "axes": {"colour": ["red", "blue", "green"]},
        }
    ],
}
#: Patience of a busy machine.
_WAIT_MS = 120_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmhouse]:
    house = Farmhouse(tmp_path_factory.mktemp("page"))
    nodes = [{"name": "gtx-1070", "card": str(CARDS / "gtx-1070.yaml")}]
    (house.folder / "farm.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
    house.farm("up")
    for name, manifest in (("few", FEW), ("long", LONG)):
        (house.folder / f"{name}.yaml").write_text(yaml.safe_dump(manifest))
    house.farm("submit", "few.yaml", "--yes", "--watch")
    house.farm("submit", "long.yaml", "--yes")
    yield house
    house.farm("down")


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def signed_in(house: Farmhouse, browser: sync_api.Browser) -> Iterator[sync_api.BrowserContext]:
    """By the link that `farm page` prints."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(_WAIT_MS)
    page = context.new_page()
    page.goto(house.json("page")["url"])
    page.wait_for_selector("#overview")
    page.close()
    yield context
    context.close()


@pytest.fixture
def page(house: Farmhouse, signed_in: sync_api.BrowserContext) -> Iterator[sync_api.Page]:
    page = signed_in.new_page()
    wrong: list[str] = []
    settings = house.settings()
    ours = {urlsplit(settings.public_url).netloc, urlsplit(settings.storage.endpoint).netloc}
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda call: urlsplit(call.url).netloc in ours or wrong.append(f"asked {call.url}"))
    yield page
    page.close()
    assert wrong == []


def go(page: sync_api.Page, house: Farmhouse, path: str) -> None:
    page.goto(f"{house.settings().public_url}{path}")


def shown_widths(page: sync_api.Page) -> list[int]:
    """Pixels of the images that have arrived."""
    widths = page.eval_on_selector_all(".shots img", "all => all.map(image => image.naturalWidth)")
    return [width for width in widths if width]


def test_images_are_ordered_watched_and_looked_at(page: sync_api.Page, house: Farmhouse) -> None:
    go(page, house, "/")
    page.get_by_role("link", name="New job").click()
    page.get_by_label("shotfarm-demo", exact=False).first.check()
    page.get_by_label("Prompt", exact=True).fill("a red mug on a white background")
    page.get_by_label("Images each with its own seed").fill("3")
    sync_api.expect(page.locator("#check .plan")).to_contain_text("EUR")
    page.get_by_role("button", name="Order these images").click()
    sync_api.expect(page.locator("h1")).to_contain_text("a-red-mug")
    # Without a reload: the gallery fills as images arrive.
    sync_api.expect(page.locator(".shot.done img")).to_have_count(3, timeout=_WAIT_MS)
    sync_api.expect(page.locator("#job-head .chip")).to_have_text("done", timeout=_WAIT_MS)
    until(lambda: shown_widths(page), lambda widths: widths == [128, 128, 128])

    page.locator(".shot a").first.press("Enter")
    viewer = page.locator("dialog[open]")
    sync_api.expect(viewer).to_contain_text("a red mug on a white background")
    sync_api.expect(viewer).to_contain_text("gtx-1070")
    names = [viewer.locator("h2").inner_text()]
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        sync_api.expect(viewer.locator("h2")).not_to_have_text(names[-1])
        names.append(viewer.locator("h2").inner_text())
    assert len(set(names)) == 3
    # However quickly the key is pressed again.
    page.evaluate(
        """document.addEventListener("htmx:afterSwap", () => document.body.dispatchEvent(
            new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true })), { once: true })"""
    )
    page.keyboard.press("ArrowLeft")
    sync_api.expect(viewer.locator("h2")).to_have_text(names[0])
    # `wait_for_function` would evaluate a text in the page while it waits, which the page forbids.
    until(lambda: page.eval_on_selector(".picture img", "image => image.naturalWidth === 128"))
    page.keyboard.press("Escape")
    sync_api.expect(viewer).to_have_count(0)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 3


def test_an_image_is_rejected_and_another_one_takes_its_place(page: sync_api.Page, house: Farmhouse) -> None:
    go(page, house, f"/jobs/{job_named(house, 'few')}")
    page.locator(".shot a").first.click()
    viewer = page.locator("dialog[open]")
    before = viewer.locator(".pairs").inner_text()
    viewer.get_by_label("Reject and render").select_option("next seed")
    viewer.get_by_role("button", name="Reject").click()
    sync_api.expect(viewer.locator(".pairs")).not_to_have_text(before)
    sync_api.expect(page.locator("#job-head .chip")).to_have_text("done", timeout=_WAIT_MS)


def test_images_are_picked_with_keys_and_compared(page: sync_api.Page, house: Farmhouse) -> None:
    job = job_named(house, "few")
    go(page, house, f"/jobs/{job}")
    page.locator("#shot0").focus()
    page.keyboard.press("k")
    sync_api.expect(page.locator("#shot1")).to_be_focused()
    page.keyboard.press("j")
    sync_api.expect(page.locator("#picks")).to_contain_text("1 kept, 1 dropped")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("4")
    sync_api.expect(page.locator(".shot[data-stars='4']")).to_have_count(2)
    page.keyboard.press("c")
    sync_api.expect(page.locator(".compared img")).to_have_count(2)
    page.get_by_label("Zoom").fill("2")
    widths = page.eval_on_selector_all(".compared img", "all => all.map(image => image.style.width)")
    assert widths == ["200%", "200%"]
    page.keyboard.press("Escape")
    page.reload()
    kept = page.eval_on_selector_all(".shot", "all => all.map(shot => shot.dataset.kept || '')")
    assert kept == ["yes", "no", ""]
    (line,) = house.farm("pick", job, "--kept").stdout.splitlines()
    assert line.split()[1] == page.locator("#shot0 .name").inner_text()


def test_a_job_is_ordered_in_the_editor_paused_and_cancelled(page: sync_api.Page, house: Farmhouse) -> None:
    go(page, house, "/new?mode=yaml")
    editor = page.get_by_label("Manifest")
    editor.fill("version: 1\nshots:\n- name: a\n  promt: a mug\n")
    problem = page.get_by_role("button", name="line 4, column 3")
    sync_api.expect(problem).to_be_visible()
    problem.click()
    selection = page.evaluate("[document.activeElement.id, document.activeElement.selectionStart]")
    assert selection == ["manifest", len("version: 1\nshots:\n- name: a\n  ")]
    editor.fill(yaml.safe_dump(LONG | {"name": "typed"}))
    sync_api.expect(page.locator("#check .plan")).to_contain_text("5,000")
    page.get_by_role("button", name="Order these images").click()
    page.get_by_role("button", name="Pause").click()
    sync_api.expect(page.locator("#job-head .chip")).to_have_text("paused")
    page.get_by_text("Cancel job").click()
    page.get_by_role("button", name="Cancel this job").click()
    sync_api.expect(page.locator("#job-head .chip")).to_have_text("cancelled")


def test_the_overview_says_why_a_job_waits_and_keeps_saying_it(page: sync_api.Page, house: Farmhouse) -> None:
    go(page, house, "/")
    waits = page.locator("#waits")
    sync_api.expect(waits).to_contain_text("nobody")
    page.evaluate("document.querySelector('#overview').dataset.old = 'yes'")
    # The part around it was replaced.
    sync_api.expect(page.locator("#overview:not([data-old])")).to_have_count(1)
    assert "nobody" in waits.inner_text()


def test_a_long_gallery_loads_what_is_looked_at(page: sync_api.Page, house: Farmhouse) -> None:
    go(page, house, f"/jobs/{job_named(house, 'long')}")
    shots = page.locator(".shot")
    sync_api.expect(shots.first).to_be_visible()
    first = shots.count()
    assert 60 <= first <= 240
    page.mouse.wheel(0, 20_000)
    sync_api.expect(page.locator(f"#shot{first + 10}")).to_have_count(1)
    assert shots.count() < 1000
    sync_api.expect(page.locator("#why")).to_contain_text("nobody")
    assert page.title() == "long · Shotfarm"


def job_named(house: Farmhouse, name: str) -> str:
    return next(str(job["id"]) for job in house.json("jobs") if job["name"] == name)


PLACES = ("/", "/jobs", "job", "shot", "sheet", "/new", "/new?mode=yaml", "/nodes", "/models", "/jobs/none")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_for_people_with_disabilities(
    browser: sync_api.Browser, signed_in: sync_api.BrowserContext, house: Farmhouse, scheme: str
) -> None:
    done = job_named(house, "few")
    own = {"job": f"/jobs/{done}", "shot": f"/jobs/{done}/shots/1", "sheet": f"/jobs/{done}/sheet"}
    # The policy would keep the checker itself out.
    context = browser.new_context(
        color_scheme=scheme,
        bypass_csp=True,
        storage_state=signed_in.storage_state(),
        viewport={"width": 390, "height": 800} if scheme == "dark" else {"width": 1280, "height": 900},
    )
    page = context.new_page()
    faults: list[str] = []
    for place in PLACES:
        go(page, house, own.get(place, place))
        page.evaluate(AXE.read_text())
        found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        for fault in found["violations"]:
            if fault["impact"] in ("serious", "critical"):
                faults.append(f"{place}: {fault['id']}: {json.dumps(fault['nodes'])[:300]}")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{place} is {wide} pixels wider than the window"
    context.close()
    assert faults == []


def test_every_page_is_used_with_keys_alone(page: sync_api.Page, house: Farmhouse) -> None:
    go(page, house, "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.job') !== null")


def test_pages_work_without_scripts(
    browser: sync_api.Browser, signed_in: sync_api.BrowserContext, house: Farmhouse
) -> None:
    context = browser.new_context(java_script_enabled=False, storage_state=signed_in.storage_state())
    page = context.new_page()
    go(page, house, f"/jobs/{job_named(house, 'long')}")
    page.get_by_role("link", name="More images").click()
    page.locator("#shot60").click()
    sync_api.expect(page.locator("h2")).to_have_text("0060")
    page.get_by_role("button", name="Sign out").click()
    sync_api.expect(page.get_by_label("Key")).to_have_count(1)
    context.close()
