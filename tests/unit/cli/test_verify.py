"""`farm verify` has one clear answer, whatever the farm knows of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.views import PictureOrigin
from coordinator.cli.verify import Verified, answer
from coordinator.pictures.credentials import SignedClaim
from coordinator.pictures.marks import MARK, has_mark
from tests.unit.cli.conftest import Farm

MADE = "on 2026-11-30 20:00 UTC with tiny (fp32) on node attic"


def verified(how: Any, *, marked: bool = False) -> Verified:
    origin = how and PictureOrigin(
        answer=how,
        shot_id="5" * 64,
        model="tiny",
        recipe="fp32",
        node="attic",
        lane="public",
        stored_at=1796068800.0,
        deleted_at=1796155200.0 if how == "deleted" else None,
    )
    return Verified(file="mug.png", sha256="a" * 64, origin=origin, marked=marked)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("stored", f"mug.png: this farm made it {MADE}; it is the stored image of shot 555555555555"),
        ("export", f"it is an export of shot 555555555555, which was rendered {MADE}"),
        ("deleted", f"this farm made it {MADE}; it was deleted on 2026-12-01 20:00 UTC"),
        ("alike", f"but they show the image of shot 555555555555, rendered {MADE}: it is a copy"),
        ("named", "did not make these bytes; their metadata names shot 555555555555, rendered"),
        (None, "mug.png: this farm does not know it; its metadata does not say that a model made it"),
    ],
)
def test_each_answer_is_a_sentence(how: str | None, said: str) -> None:
    assert said in answer(verified(how))


def test_a_mark_of_any_program_is_told_of_an_unknown_picture() -> None:
    assert answer(verified(None, marked=True)).endswith("its metadata says that a model made it")


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        (
            SignedClaim("intact", "Mugs & Co", generated=True),
            "are intact: Mugs & Co signed that a model made it",
        ),
        (
            SignedClaim("intact", "Mugs & Co", generated=False),
            "are intact: Mugs & Co signed where it is from",
        ),
        (
            SignedClaim("broken", "Mugs & Co", generated=True),
            "are broken: it was changed after it was signed",
        ),
    ],
)
def test_what_content_credentials_say_is_told_beside_what_the_farm_knows(
    credentials: SignedClaim, said: str
) -> None:
    told = verified("stored").model_copy(update={"credentials": credentials})
    assert answer(told).endswith(f"the stored image of shot 555555555555; its Content Credentials {said}")
    assert "pip install" in answer(verified(None).model_copy(update={"unread": True}))


def test_a_mark_is_found_in_files_of_other_programs(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(file, xmp=MARK)
    assert has_mark(file.read_bytes())
    Image.new("RGB", (8, 8)).save(file)
    assert not has_mark(file.read_bytes())


@pytest.mark.parametrize(
    ("name", "said"), [("none.png", "cannot read none.png"), ("a.txt", "is no PNG, JPEG")]
)
def test_what_is_no_picture_is_refused(farm: Farm, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.txt").write_text("text")
    ran = farm("verify", name)
    assert (ran.code, said in " ".join(ran.err.split())) == (2, True), ran.err
