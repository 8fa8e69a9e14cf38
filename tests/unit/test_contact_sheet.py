"""The contact sheet shows every picture with its caption."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from coordinator.contact_sheet import LONGEST_PNG, Picture, write_contact_sheet


def picture(folder: Path, name: str, prompt: str = "a red mug", colour: str = "red") -> Picture:
    file = folder / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 32), colour).save(file)
    return Picture(file=file, name=name, prompt=prompt, facts="demo · seed 1")


def test_the_page_links_every_picture_relative_to_itself(tmp_path: Path) -> None:
    pictures = [picture(tmp_path, "ana/1"), picture(tmp_path, "bo/a b")]
    page, _ = write_contact_sheet(pictures, tmp_path, "tea")
    text = page.read_text("utf-8")
    assert 'src="ana/1.png"' in text
    assert 'src="bo/a%20b.png"' in text


def test_a_prompt_cannot_put_markup_on_the_page(tmp_path: Path) -> None:
    page, _ = write_contact_sheet([picture(tmp_path, "x", "<script>alert(1)</script>")], tmp_path, "tea")
    assert "<script>" not in page.read_text("utf-8")


def test_the_png_shows_each_picture_in_its_own_colour(tmp_path: Path) -> None:
    pictures = [picture(tmp_path, "r", colour="#ff0000"), picture(tmp_path, "b", colour="#0000ff")]
    _, sheet = write_contact_sheet(pictures, tmp_path, "tea")
    with Image.open(sheet) as image:
        colours = {colour for _, colour in image.getcolors(image.width * image.height) or []}
    assert {(255, 0, 0), (0, 0, 255)} <= colours


def test_a_long_caption_never_leaves_its_tile(tmp_path: Path) -> None:
    _, short = write_contact_sheet([picture(tmp_path, "a", "short")], tmp_path / ".", "tea")
    with Image.open(short) as image:
        size = image.size
    _, long = write_contact_sheet([picture(tmp_path, "a", "unbreakable" * 50)], tmp_path, "tea")
    with Image.open(long) as image:
        assert image.size == size


def test_the_png_stops_at_its_limit_and_the_page_does_not(tmp_path: Path) -> None:
    one = picture(tmp_path, "x")
    page, sheet = write_contact_sheet([one] * (LONGEST_PNG + 8), tmp_path, "tea")
    figures = page.read_text("utf-8").count("<figure>")
    with Image.open(sheet) as image:
        height = image.height
    _, limit = write_contact_sheet([one] * LONGEST_PNG, tmp_path, "tea")
    with Image.open(limit) as image:
        assert image.height == height
    assert figures == LONGEST_PNG + 8


def test_no_pictures_make_an_empty_sheet(tmp_path: Path) -> None:
    page, sheet = write_contact_sheet([], tmp_path, "tea")
    assert page.exists()
    assert sheet.exists()
