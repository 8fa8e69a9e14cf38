"""The contact sheet in a real browser: every picture is there, prompts are text, nothing else is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from coordinator.cli.contact_sheet import Picture, write_contact_sheet
from tests.browser import open_browser, sync_api

HOSTILE = "a <b>mug</b><script>document.title='owned'</script> & \"more\""


@pytest.fixture
def page() -> Iterator[sync_api.Page]:
    with open_browser() as browser:
        yield browser.new_page()


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    pictures = []
    for name, colour in (("mugs/red", "red"), ("mugs/ä blue#1", "blue"), ("100%", "green")):
        file = tmp_path / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(file)
        pictures.append(Picture(file=file, name=name, prompt=HOSTILE, facts="seed 1"))
    return write_contact_sheet(pictures, tmp_path, "tea & cakes").page


def test_every_picture_is_shown_whatever_its_name(page: sync_api.Page, sheet: Path) -> None:
    page.goto(sheet.as_uri())
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert widths == [64, 64, 64]


def test_prompts_are_text_and_never_markup(page: sync_api.Page, sheet: Path) -> None:
    page.goto(sheet.as_uri())
    assert "tea & cakes" in page.title()
    assert page.locator("script").count() == 0
    assert page.get_by_text(HOSTILE).count() == 3


def test_the_page_needs_nothing_from_outside(page: sync_api.Page, sheet: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(sheet.as_uri())
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
