"""Tables and lists of objects: of prompts with settings, of products, of personas, of styles."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from common.shot import LoraUse
from coordinator.expand.oversights import is_blank
from coordinator.importing.imported import UnusableSource
from tests.unit.importing.making import CATALOG, as_json, fields, imported


@pytest.mark.parametrize(
    ("name", "content", "model", "wanted", "left"),
    [
        (
            "batch.csv",
            "filename,prompt,negative_prompt,width,height,steps,cfg_scale\n"
            "00001-0-3.png,a red mug,blurry,512,768,20,7\n00002-0-4.png,a lamp,,768,512,20,7\n",
            None,
            [
                {"prompt": "a red mug", "negative": "blurry", "steps": 20, "guidance": 7.0}
                | {"width": 512, "height": 768},
                {"prompt": "a lamp", "negative": "", "width": 768},
            ],
            {"model"},
        ),
        # The log of A1111.
        (
            "log.csv",
            "prompt,seed,width,height,sampler,cfgs,steps,filename,negative_prompt,sd_model_name,sd_model_hash\n"
            "a mug,42,512,512,DDIM,6.5,25,00001.png,bad,v1-5-pruned-emaonly,6ce0161689\n",
            None,
            [{"model": "sd15", "sampler": "ddim", "guidance": 6.5, "seed": 42}],
            set(),
        ),
        *(
            (
                "x.csv",
                f"Prompt{mark}Negative Prompt{mark}CFG Scale{mark}Size\na mug{mark}bad{mark}5{mark}640x512\n",
                None,
                [{"prompt": "a mug", "negative": "bad", "guidance": 5.0, "width": 640}],
                {"model"},
            )
            for mark in ";\t,"
        ),
        # A value out of bounds is left, and its row stays.
        (
            "x.csv",
            "prompt,steps,cfg_scale,width,height\na mug,0,high,5,512\n",
            None,
            [{"prompt": "a mug"}],
            {"model", "steps: 0", "cfg_scale: high", "width, height: 5x512"},
        ),
        (
            "p.json",
            as_json([{"prompt": "a", "num_inference_steps": 12, "seed": None}, {"prompt": "b", "seed": 3}]),
            None,
            [{"prompt": "a", "steps": 12}, {"prompt": "b", "steps": 25, "seed": 3}],
            {"model"},
        ),
        # A column of texts is one of prompts.
        (
            "x.csv",
            "Name,Text,Size,Steps,Negative,Loras\nx,a mug,96x128,4,blurry,blueprint@0.5 + ink\n",
            "shotfarm-demo",
            [
                {"prompt": "cyanotype, a mug", "width": 96, "height": 128, "steps": 4, "negative": "blurry"}
                | {"loras": (LoraUse("blueprint", CATALOG.loras["blueprint"].identity or "", 0.5),)}
            ],
            {"LoRA ink"},
        ),
        # Styles are an axis that draws one subject in each.
        (
            "styles.csv",
            "name,prompt,negative_prompt\n"
            'Film,"still of {prompt}, grain",cartoon\nOil,"oil, {thick}",\nNo,,blurry\n',
            "sdxl",
            [
                {"prompt": "still of a red mug on a table, grain", "negative": "cartoon"},
                {"prompt": "a red mug on a table, oil, {thick}", "negative": ""},
                {"prompt": "a red mug on a table", "negative": "blurry"},
            ],
            {"a subject"},
        ),
    ],
)
def test_rows_become_shots_with_their_settings_and_what_is_left_is_told(
    name: str, content: str, model: str | None, wanted: list[dict[str, Any]], left: set[str]
) -> None:
    found = imported(content, name, model=model)
    assert fields(found, wanted) == wanted
    assert set(found.left) == left


def _workbook(*rows: list[str]) -> bytes:
    book = Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


PRODUCTS = "Variant SKU,Title,Price\nA1,Red mug,3\nA2,,4\nA3,Blue mug,5\n"


PERSONAS = [{"name": "ana", "look": "red hair"}, {"name": "bo", "look": "a beard"}]
SIZED = "sku,größe in cm,text\nx,12,a mug\ny,13,a lamp\n"


@pytest.mark.parametrize(
    ("name", "content", "columns", "prompts", "names"),
    [
        (
            "products.csv",
            PRODUCTS,
            (),
            ["Red mug, product photo", "Blue mug, product photo"],
            ["A1-0", "A3-0"],
        ),
        (
            "goods.xlsx",
            _workbook(["SKU", "Title"], ["A1", "Red mug"], ["A2", "Lamp"]),
            (),
            ["Red mug, product photo", "Lamp, product photo"],
            ["A1-0", "A2-0"],
        ),
        # Columns are chosen by name.
        (
            "p.csv",
            SIZED,
            ("sku", "text", "größe in cm"),
            ["a mug, 12, product photo", "a lamp, 13, product photo"],
            ["x-0", "y-0"],
        ),
        # Headings of any script and sign.
        (
            "p.csv",
            'index,"say ""hi""",Название\n1,a,кружка\n2,b,лампа\n',
            ('say "hi"', "Название", "index"),
            ["кружка, 1, product photo", "лампа, 2, product photo"],
            ["a-0", "b-0"],
        ),
        *(
            (name, content, (), ["red hair, portrait", "a beard, portrait"], ["ana-0", "bo-0"])
            for name, content in (
                ("p.json", as_json(PERSONAS)),
                ("p.jsonl", "".join(f"{as_json(each)}\n" for each in PERSONAS)),
                ("p.json", as_json({each["name"]: {"look": each["look"]} for each in PERSONAS})),
            )
        ),
    ],
    ids=["csv", "xlsx", "columns", "headings", "objects", "lines", "mapping"],
)
def test_rows_without_prompts_are_an_axis_over_the_file(
    tmp_path: Path,
    name: str,
    content: str | bytes,
    columns: tuple[str, ...],
    prompts: list[str],
    names: list[str],
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = imported(content, name, folder=tmp_path, columns=columns)
    assert [shot.prompt for shot in found.shots] == prompts
    assert found.names == names
    ((axis),) = found.document["shots"][0]["axes"].values()
    assert axis == {"file": name}
    assert content != PRODUCTS or "1 of 3" in found.left["an empty `Title`"]


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UnusableSource, match="no column `colour`; it has sku"):
        imported(SIZED, "p.csv", columns=("colour",))


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


def test_rows_that_are_alike_are_several_pictures_unless_their_seed_is() -> None:
    found = imported("prompt,seed\na mug,\na mug,-1\na mug,5\na mug,5\n", "x.csv")
    seeds = [shot.seed for shot in found.shots]
    assert len(seeds) == len(set(seeds)) == 3
    assert 5 in seeds
    assert "a duplicate image" in found.left
