"""Tables and lists of objects: of prompts with settings, of products, of personas, of styles."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.expand.oversights import is_blank
from coordinator.importing.imported import UnusableSource
from tests.unit.importing.making import as_json, imported


def test_a_batch_table_gives_a_picture_a_row_with_its_settings_and_file_name() -> None:
    found = imported(
        "filename,prompt,negative_prompt,width,height,steps,cfg_scale\n"
        "00001-0-3.png,a red mug,blurry,512,768,20,7\n"
        "00002-0-4.png,a lamp,,768,512,20,7\n",
        "batch.csv",
    )
    mug, lamp = found.shots
    assert (mug.prompt, mug.negative, mug.steps, mug.guidance) == ("a red mug", "blurry", 20, 7.0)
    assert (mug.width, mug.height, lamp.width, lamp.negative) == (512, 768, 768, "")
    assert found.names == ["00001-0-3", "00002-0-4"]


def test_the_log_of_a1111_is_read() -> None:
    found = imported(
        "prompt,seed,width,height,sampler,cfgs,steps,filename,negative_prompt,sd_model_name,sd_model_hash\n"
        "a mug,42,512,512,DDIM,6.5,25,00001.png,bad,v1-5-pruned-emaonly,6ce0161689\n",
        "log.csv",
    )
    (shot,) = found.shots
    assert (shot.model, shot.sampler, shot.guidance, shot.seed) == ("sd15", "ddim", 6.5, 42)
    assert found.left == {}


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_other_separators_and_headings_are_read(separator: str) -> None:
    rows = [["Prompt", "Negative Prompt", "CFG Scale", "Size"], ["a mug", "bad", "5", "640x512"]]
    found = imported("\n".join(separator.join(row) for row in rows), "x.csv")
    (shot,) = found.shots
    assert (shot.prompt, shot.negative, shot.guidance, shot.width) == ("a mug", "bad", 5.0, 640)


def test_a_value_out_of_bounds_is_left_and_its_row_stays() -> None:
    found = imported("prompt,steps,cfg_scale,width,height\na mug,0,high,5,512\n", "x.csv")
    assert len(found.shots) == 1
    assert set(found.left) == {"model", "steps: 0", "cfg_scale: high", "width, height: 5x512"}


PRODUCTS = "Variant SKU,Title,Price\nA1,Red mug,3\nA2,,4\nA3,Blue mug,5\n"


def _in_folder(tmp_path: Path, name: str, content: str) -> Path:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def test_a_product_table_is_an_axis_over_the_file(tmp_path: Path) -> None:
    found = imported(PRODUCTS, "products.csv", folder=_in_folder(tmp_path, "products.csv", PRODUCTS))
    assert found.document["shots"][0]["axes"] == {"product": {"file": "products.csv"}}
    assert [shot.prompt for shot in found.shots] == ["Red mug, product photo", "Blue mug, product photo"]
    assert found.names == ["A1-0", "A3-0"]
    assert "1 of 3" in found.left["an empty `Title`"]


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    table = "sku,größe in cm,text\nx,12,a mug\ny,13,a lamp\n"
    folder = _in_folder(tmp_path, "p.csv", table)
    found = imported(table, "p.csv", folder=folder, columns=("sku", "text", "größe in cm"))
    assert [shot.prompt for shot in found.shots] == ["a mug, 12, product photo", "a lamp, 13, product photo"]
    assert found.names == ["x-0", "y-0"]
    with pytest.raises(UnusableSource, match="no column `colour`; it has sku"):
        imported(table, "p.csv", columns=("colour",))


def test_headings_of_any_script_and_sign_are_referred_to(tmp_path: Path) -> None:
    table = 'index,"say ""hi""",Название\n1,a,кружка\n2,b,лампа\n'
    found = imported(
        table, "p.csv", folder=_in_folder(tmp_path, "p.csv", table), columns=('say "hi"', "Название", "index")
    )
    assert [shot.prompt for shot in found.shots] == ["кружка, 1, product photo", "лампа, 2, product photo"]


def test_a_workbook_is_a_table(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    assert book.active is not None
    for row in (["SKU", "Title"], ["A1", "Red mug"], ["A2", "Lamp"]):
        book.active.append(row)
    book.save(tmp_path / "goods.xlsx")
    found = imported((tmp_path / "goods.xlsx").read_bytes(), "goods.xlsx", folder=tmp_path)
    assert found.names == ["A1-0", "A2-0"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", as_json([{"name": "ana", "look": "red hair"}, {"name": "bo", "look": "a beard"}])),
        ("p.jsonl", '{"name": "ana", "look": "red hair"}\n{"name": "bo", "look": "a beard"}\n'),
        ("p.json", as_json({"ana": {"look": "red hair"}, "bo": {"look": "a beard"}})),
    ],
)
def test_personas_are_an_axis_over_the_file(tmp_path: Path, name: str, content: str) -> None:
    found = imported(content, name, folder=_in_folder(tmp_path, name, content))
    assert [shot.prompt for shot in found.shots] == ["red hair, portrait", "a beard, portrait"]
    assert found.names == ["ana-0", "bo-0"]


def test_objects_with_prompts_are_pictures() -> None:
    found = imported(
        as_json([{"prompt": "a mug", "num_inference_steps": 12, "seed": None}, {"prompt": "b", "seed": 3}]),
        "p.json",
    )
    assert [(shot.prompt, shot.steps) for shot in found.shots] == [("a mug", 12), ("b", 25)]
    assert found.shots[1].seed == 3


_CELL = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


@given(st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=4, unique=True))
@settings(max_examples=100, deadline=None)
def test_any_prompt_of_a_table_comes_out_as_it_is(rows: list[tuple[str, str]]) -> None:
    rows = list(dict.fromkeys((prompt.strip(), negative.strip()) for prompt, negative in rows))
    rows = [
        (prompt, negative)
        for prompt, negative in rows
        if not is_blank(prompt)
        and "<" not in prompt + negative
        and not {prompt.lower(), negative.lower()} & {"null"}
    ]
    if not rows:
        return
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(
        [("prompt", "negative_prompt", "steps"), *((*row, "9") for row in rows)]
    )
    found = imported(out.getvalue(), "x.csv")
    assert [(shot.prompt, shot.negative) for shot in found.shots] == rows


def test_columns_of_other_programs_are_read_and_a_column_of_texts_is_one_of_prompts() -> None:
    found = imported(
        "Name,Text,Size,Steps,Negative,Loras\nx,a mug,96x128,4,blurry,blueprint@0.5 + ink\n",
        "x.csv",
        model="shotfarm-demo",
    )
    (shot,) = found.shots
    assert (shot.prompt, shot.width, shot.height, shot.steps, shot.negative) == (
        "cyanotype, a mug",
        96,
        128,
        4,
        "blurry",
    )
    assert [(use.name, use.weight) for use in shot.loras] == [("blueprint", 0.5)]
    assert "LoRA ink" in found.left


def test_rows_that_are_alike_are_several_pictures_unless_their_seed_is() -> None:
    found = imported("prompt,seed\na mug,\na mug,-1\na mug,5\na mug,5\n", "x.csv")
    seeds = [shot.seed for shot in found.shots]
    assert len(seeds) == len(set(seeds)) == 3
    assert 5 in seeds
    assert "a duplicate image" in found.left


def test_styles_are_an_axis_that_draws_one_subject_in_each() -> None:
    found = imported(
        "name,prompt,negative_prompt\n"
        'Film,"still of {prompt}, grain",cartoon\nOil,"oil, {thick}",\nNo,,blurry\n',
        "styles.csv",
        model="sdxl",
    )
    assert [(shot.prompt, shot.negative) for shot in found.shots] == [
        ("still of a red mug on a table, grain", "cartoon"),
        ("a red mug on a table, oil, {thick}", ""),
        ("a red mug on a table", "blurry"),
    ]
