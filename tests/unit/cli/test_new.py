"""`farm new`: four answers become a manifest that plans, whatever was typed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.catalog import load_catalog
from common.errors import Invalid
from common.manifest.parse import parse_manifest
from coordinator.cli import new
from coordinator.cli.new import Answers, manifest
from coordinator.expand import expand
from tests.unit.cli.conftest import Farm

CATALOG = load_catalog()
GIVEN = ("--picture", "a mug", "--model", "shotfarm-demo", "--vary", "red, blue", "--for", "web")

#: What people type, and what YAML and prompts read as more than text.
MARKS = (
    *("{", "}", "|", "__", "a", "mug", ": ", " #", "'", '"', "\\", "- ", "😀", "é", "\u202e", "@", "%", "&"),
    *("*", "!", ">", "`", "no", "null", "007", "9:16", "$$", "(x:1.2)", "{prompt}", "{a|b}", ", ", "\t"),
    "---",
)
typed = st.text(max_size=40) | st.lists(st.sampled_from(MARKS), max_size=8).map("".join)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    picture=typed,
    vary=typed | st.integers(1, 1000).map(str),
    purpose=st.sampled_from(["myself", "web", "shop"]),
)
def test_whatever_is_typed_plans_and_reaches_the_model_as_it_is(
    picture: str, vary: str, purpose: str
) -> None:
    try:
        shown, words = new._picture(picture), new._vary(vary)
    except Invalid:
        return
    text = manifest(Answers(shown, "shotfarm-demo", words, purpose))
    shots = expand(parse_manifest(text, source="m.yaml", files=None, catalog=CATALOG), CATALOG)
    wanted = list(dict.fromkeys(word for each in words.split(",") if (word := each.strip())))
    if words.isdecimal():
        assert [shot.shot.prompt for shot in shots] == [shown] * int(words)
    else:
        assert [shot.shot.prompt for shot in shots] == [f"{shown}, {word}" for word in wanted] or (
            not wanted and [shot.shot.prompt for shot in shots] == [shown]
        )


def test_four_answers_as_options_write_a_manifest_and_tell_what_to_do_next(
    farm: Farm, tmp_path: Path
) -> None:
    ran = farm("new", "my mugs.yaml", *GIVEN)
    assert ran.code == 0
    assert "2 images" in ran.out
    assert "farm plan 'my mugs.yaml'" in ran.out
    assert farm("plan", "my mugs.yaml").code == 0
    assert "format: webp" in (tmp_path / "my mugs.yaml").read_text("utf-8")


def test_a_manifest_may_be_printed(farm: Farm, tmp_path: Path) -> None:
    ran = farm("new", "-", *GIVEN)
    assert ran.out.startswith("# Created by `farm new`")
    assert parse_manifest(ran.out, source="-", files=None).manifest.shots[0].prompt == "a mug, {variation}"
    assert not list(tmp_path.iterdir())


def test_yes_takes_what_the_questions_propose(farm: Farm, tmp_path: Path) -> None:
    assert farm("new", "--picture", "a mug", "--yes").code == 0
    assert "model: shotfarm-demo" in (tmp_path / "pictures.yaml").read_text("utf-8")


def test_questions_are_asked_until_the_answer_is_right(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("a mug: {red}\nnone\nshotfarm-demo\n\nWEB\n"))
    ran = farm("new", "m.yaml")
    assert ran.code == 0
    assert "the catalog has no model `none`" in ran.err
    assert r"a mug: \{red\}" in (tmp_path / "m.yaml").read_text("utf-8")


@pytest.mark.parametrize("answered", [0, 1, 3])
def test_ctrl_c_leaves_nothing_behind(
    answered: int, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["a mug", "shotfarm-demo", "4", "web"][:answered])

    def prompt(*_: object, **__: object) -> str:
        for answer in answers:
            return answer
        raise typer.Abort

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(new.typer, "prompt", prompt)
    assert farm("new").code != 0
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_whole_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnicodeEncodeError):
        new._write(tmp_path / "m.yaml", "half \ud83d")
    assert not list(tmp_path.iterdir())
