"""The contact sheet shows every picture with its caption."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from common.wording import visible, visible_lines
from coordinator.cli.contact_sheet import LONGEST_PNG, Picture, write_contact_sheet
from coordinator.cli.job_sheet import price_words
from tests.nasty_strings import NASTY, UNSAYABLE


def picture(folder: Path, name: str, prompt: str = "a red mug", colour: str = "red") -> Picture:
    file = folder / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 32), colour).save(file)
    return Picture(file=file, name=name, prompt=prompt, facts="demo · seed 1")


def test_the_page_links_every_picture_relative_to_itself(tmp_path: Path) -> None:
    pictures = [picture(tmp_path, "ana/1"), picture(tmp_path, "bo/a b")]
    text = write_contact_sheet(pictures, tmp_path, "tea").page.read_text("utf-8")
    assert 'src="ana/1.png"' in text
    assert 'src="bo/a%20b.png"' in text


def test_the_page_says_what_its_prices_contain(tmp_path: Path) -> None:
    note = price_words(0.00217, 0.00225, "EUR")
    page = write_contact_sheet([picture(tmp_path, "x")], tmp_path, "tea", note=note).page.read_text("utf-8")
    assert (
        "the loading and the lost work of its batch. These images: 0.00217 EUR. The job: 0.00225 EUR" in page
    )


def test_a_prompt_cannot_put_markup_on_the_page(tmp_path: Path) -> None:
    sheet = write_contact_sheet([picture(tmp_path, "x", "<script>alert(1)</script>")], tmp_path, "tea")
    assert "<script>" not in sheet.page.read_text("utf-8")


def test_the_png_shows_each_picture_in_its_own_colour(tmp_path: Path) -> None:
    pictures = [picture(tmp_path, "r", colour="#ff0000"), picture(tmp_path, "b", colour="#0000ff")]
    sheet = write_contact_sheet(pictures, tmp_path, "tea")
    with Image.open(sheet.png) as image:
        colours = {colour for _, colour in image.getcolors(image.width * image.height) or []}
    assert {(255, 0, 0), (0, 0, 255)} <= colours


def test_a_long_caption_never_leaves_its_tile(tmp_path: Path) -> None:
    short = write_contact_sheet([picture(tmp_path, "a", "short")], tmp_path / ".", "tea")
    with Image.open(short.png) as image:
        size = image.size
    long = write_contact_sheet([picture(tmp_path, "a", "unbreakable" * 50)], tmp_path, "tea")
    with Image.open(long.png) as image:
        assert image.size == size


def test_the_png_stops_at_its_limit_and_the_page_does_not(tmp_path: Path) -> None:
    one = picture(tmp_path, "x")
    sheet = write_contact_sheet([one] * (LONGEST_PNG + 8), tmp_path, "tea")
    figures = sheet.page.read_text("utf-8").count("<figure>")
    with Image.open(sheet.png) as image:
        height = image.height
    limit = write_contact_sheet([one] * LONGEST_PNG, tmp_path, "tea")
    with Image.open(limit.png) as image:
        assert image.height == height
    assert figures == LONGEST_PNG + 8


def test_no_pictures_make_an_empty_sheet(tmp_path: Path) -> None:
    sheet = write_contact_sheet([], tmp_path, "tea")
    assert sheet.page.exists()
    assert sheet.png.exists()


@pytest.mark.parametrize("text", [*NASTY, *UNSAYABLE])
def test_the_page_shows_every_text_as_it_is_and_obeys_none(text: str, tmp_path: Path) -> None:
    file = picture(tmp_path, "x").file
    shown = Picture(file=file, name=text, prompt=text, facts=text)
    page = write_contact_sheet([shown], tmp_path, text).page.read_text("utf-8")
    read = Read()
    read.feed(page)
    assert read.texts.count(visible(text)) == 5
    assert read.alts == [visible(text)]
    assert read.tags == _TAGS
    assert page == visible_lines(page)


@pytest.mark.parametrize("text", [*NASTY, *UNSAYABLE])
def test_the_png_is_drawn_with_any_text_within_a_second(text: str, tmp_path: Path) -> None:
    file = picture(tmp_path, "x").file
    sheet = write_contact_sheet([Picture(file=file, name=text, prompt=text, facts="")], tmp_path, text)
    with Image.open(sheet.png) as image:
        assert image.width < 250


@pytest.mark.parametrize("name", ["contact-sheet", "Contact-Sheet", "CONTACT-SHEET"])
def test_a_picture_called_as_the_sheet_and_the_sheet_are_both_there(name: str, tmp_path: Path) -> None:
    mine = picture(tmp_path, name)
    before = mine.file.read_bytes()
    for _ in range(2):
        sheet = write_contact_sheet([mine, picture(tmp_path, "b")], tmp_path, "tea")
        assert sheet.png.name == "contact-sheet-2.png"
        assert sheet.page.name == "contact-sheet-2.html"
    assert mine.file.read_bytes() == before
    assert 'src="contact-sheet-2.png"' not in sheet.page.read_text("utf-8")


def test_pictures_called_as_every_next_sheet_are_there_too(tmp_path: Path) -> None:
    pictures = [picture(tmp_path, name) for name in ("contact-sheet", "contact-sheet-2", "contact-sheet-3")]
    assert write_contact_sheet(pictures, tmp_path, "tea").png.name == "contact-sheet-4.png"


def test_a_picture_that_is_yet_to_come_keeps_its_name_free(tmp_path: Path) -> None:
    sheet = write_contact_sheet([], tmp_path, "tea", others=[tmp_path / "contact-sheet.png"])
    assert sheet.png.name == "contact-sheet-2.png"


@pytest.mark.parametrize("name", ["contact-sheet.html", "contact-sheet.png"])
def test_a_file_or_folder_of_somebody_else_is_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    assert write_contact_sheet([], tmp_path, "tea").png.name == "contact-sheet-2.png"
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert write_contact_sheet([], tmp_path, "tea").png.name == "contact-sheet-2.png"


def test_the_sheet_of_an_earlier_run_is_overwritten(tmp_path: Path) -> None:
    first = write_contact_sheet([picture(tmp_path, "a")], tmp_path, "tea")
    second = write_contact_sheet([picture(tmp_path, "a"), picture(tmp_path, "b")], tmp_path, "tea")
    assert (first.page, first.png) == (second.page, second.png)
    assert 'src="b.png"' in second.page.read_text("utf-8")


class Read(HTMLParser):
    """What a browser shows of a page, and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.alts: list[str | None] = []
        self.tags: list[str] = []
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._flush()
        self.tags.append(tag)
        self.alts += [value for name, value in attrs if name == "alt"]

    def handle_endtag(self, tag: str) -> None:
        self._flush()

    def handle_data(self, data: str) -> None:
        self._text += data

    def _flush(self) -> None:
        self.texts.append(self._text)
        self._text = ""


_TAGS = ["html", "meta", "meta", "meta", "title", "style", "h1", "bdi", "main", "figure", "a", "img"]
_TAGS += ["figcaption", "b", "bdi", "bdi", "br", "small", "bdi"]
