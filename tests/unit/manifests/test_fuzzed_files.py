"""Manifests with lists, tables and wildcards as people have them are planned, or refused by file and line.

Ten minutes of it: `make fuzz MINUTES=10`.
"""

from __future__ import annotations

import io
import json
import os
import re
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from common.catalog import Catalog, load_catalog
from common.errors import FarmError, InvalidDocument
from common.lanes import Lanes
from common.manifest.files import FileReader
from common.manifest.inline import inlined
from common.manifest.parse import ParsedManifest, parse_manifest
from common.settings import Money
from coordinator.cli import plan_page
from coordinator.expand import Expansion, check_names, expand
from coordinator.submission.plan import Draft, make_plan
from coordinator.submission.tokens import Tokenizers

#: How long to look; once through the examples if not given.
MINUTES = float(os.environ.get("FARM_FUZZ_MINUTES", "0"))
#: CPU seconds after which a manifest counts as one that hangs; a full garbage collection takes one.
PATIENCE_S = 5.0
#: Shots of an expansion that are made and compared.
MADE = 30

_HEADINGS = [
    "name", "Name", "text", "Title", "prompt", "Prompt", "negative_prompt", "Negative", "size",
    "Size", "width", "height", "steps", "Steps", "cfg_scale", "CFG scale", "seed", "Seed",
    "sampler", "Sampler", "lora", "Loras", "model", "index", "meta.title", "Variant SKU", "Größe",
    "артикул", "名字", "2024", "Body (HTML)", "denoising", "clip_skip", "", " ", "a\"b", "x]", "{y}",
    "__z__", "#", "filename", "Gro\u0308\u00dfe", "[/b]",
]  # fmt: skip
_CELLS = [
    "", " ", "a mug", "512x768", "96", "128", "7", "7,5", "20", "-1", "42", "3254369738", "XL",
    "blueprint@0.8", "blueprint:0.8", "blueprint@0.8 + blueprint@0.5", "Euler a", "euler", "null",
    "NULL", "n/a", "00001.png", "#ff5733", "{a|b}", "__w__", "(x:1.2)", "BREAK", "<lora:x:1>",
    "[a:b:0.5]", "${season}", "a\nb", "a\u2028b", "x\x85y", "\u202eevil", "é", "😀", "山" * 80, "con",
    "../up", "a/b", "=1+1", "shotfarm-demo", "1e999", "9" * 60, "true", "  padded  ", "\\#c", "//",
    "a # b", "20::hat", "\x1b[2J", "\x00",
]  # fmt: skip
_LINES = [
    *_CELLS, "__nested/deep__", "__*__", "__gone__", "__w__ and __w__", "{2$$__w__}",
    "{1-2$$ and $$a|b|c}", "{", "}", "a | b", "0::x", "-1::x", "5::", "::", "__", "____", "___",
    "__a__b__", "__a1___camera__", "{x", "\\{x\\}", "# comment",
]  # fmt: skip
_PIECES = [
    "a ", ", ", "{p}", "{p.name}", "{p.text}", "{p.Title}", '{p["Variant SKU"]}', "{p['index']}",
    "{p.index}", "{p.2024}", "{p.Größe}", "{q}", "{q} {q}", "{r}", "{gone}", "{prompt}",
    "{trigger}", "__w__", "__nested/deep__", "__pack/b__", "__hair color__", "__*__", "{a|b}",
    "{2$$__w__}", "{0.5::a|{b|c}}", *_LINES,
]  # fmt: skip

texts = st.sampled_from(_CELLS) | st.text(max_size=8)
headings = st.sampled_from(_HEADINGS) | st.text(max_size=5)
breaks = st.sampled_from(["\n", "\r\n", "\r"])
encodings = st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(headings, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def line_files(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.sampled_from(_LINES) | st.text(max_size=10), max_size=6))
    text = draw(breaks).join(lines)
    return text.encode(draw(encodings), "replace")


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    columns = draw(st.lists(headings, min_size=1, max_size=5))
    separator = draw(st.sampled_from([",", ",", ";", "\t"]))
    width = len(columns) if draw(st.integers(0, 9)) else draw(st.integers(0, 6))
    rows = draw(st.lists(st.lists(texts, min_size=width, max_size=width), max_size=4))

    def quoted(cell: str) -> str:
        doubled = cell.replace('"', '""')
        return f'"{doubled}"' if draw(st.booleans()) or any(c in cell for c in f'"\n\r{separator}') else cell

    lines = [separator.join(map(quoted, row)) for row in [columns, *rows]]
    first = draw(st.sampled_from(["", "", "sep=" + separator + "\n", "# a comment\n", "\n"]))
    return (first + draw(breaks).join(lines)).encode(draw(encodings), "replace")


@st.composite
def workbooks(draw: st.DrawFn) -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    # A workbook holds no control characters.
    sound = texts.map(lambda text: re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text))
    for row in draw(st.lists(st.lists(sound | st.integers(0, 999) | st.none(), max_size=4), max_size=4)):
        sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


json_files = json_values.map(lambda data: json.dumps(data, ensure_ascii=True).encode())
json_lines = st.lists(json_values, max_size=3).map(
    lambda rows: "\n".join(json.dumps(row) for row in rows).encode()
)
FILES = {
    "l.txt": line_files(),
    "t.csv": tables(),
    "t.tsv": tables(),
    "t.xlsx": workbooks(),
    "j.json": json_files,
    "j.jsonl": json_lines,
    "y.yaml": json_files,
    "wildcards/w.txt": line_files(),
    "wildcards/nested/deep.txt": line_files(),
    "wildcards/hair color.txt": line_files(),
    "wildcards/pack.yaml": json_files,
}
LISTS = ["l.txt", "t.csv", "t.tsv", "t.xlsx", "j.json", "j.jsonl", "y.yaml", "gone.csv"]

cells = texts | st.lists(texts, max_size=2)
pieces = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join)
axes = st.fixed_dictionaries(
    {},
    optional={
        "p": st.fixed_dictionaries(
            {"file": st.sampled_from(LISTS)},
            optional={
                "expand": st.booleans(),
                "key": st.sampled_from(["a", "name", "a.b"]),
                "columns": st.dictionaries(headings, st.none() | headings, max_size=2),
            },
        ),
        "q": st.lists(
            texts | st.dictionaries(headings, texts | st.lists(texts, max_size=2), max_size=3), max_size=3
        ),
        "r": st.fixed_dictionaries({"values": st.lists(pieces, max_size=3), "expand": st.just(True)}),
        "cfg_scale": st.lists(st.integers(0, 9), max_size=2),
    },
)
shots = st.fixed_dictionaries(
    {"prompt": pieces, "axes": axes},
    optional={
        "negative": pieces,
        "seeds": st.sampled_from([1, 2, -1, "random", [1, 2], {"count": 2, "mode": "random"}]),
        "seed": st.just(42),
        "variants": st.sampled_from(["random", "combinatorial"]),
        "allow_empty": st.booleans(),
        "exclude": st.lists(
            st.dictionaries(st.sampled_from(["p", "q", "p.name"]), texts, max_size=2), max_size=1
        ),
        "output": st.fixed_dictionaries({"name": pieces}),
    },
)
manifests = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "defaults": st.just({"model": "shotfarm-demo"}),
        "shots": st.lists(shots, max_size=2),
    },
    optional={
        "output": st.fixed_dictionaries({"name": pieces}),
        "wildcards": st.just({"w": {"file": "l.txt"}}),
    },
)


@cache
def catalog() -> Catalog:
    return load_catalog()


def planned(content: str, reader: FileReader | None) -> tuple[ParsedManifest, Expansion]:
    parsed = parse_manifest(content, source="fuzz.yaml", files=reader, catalog=catalog())
    expansion = expand(parsed, catalog())
    check_names(expansion)
    return parsed, expansion


def judge(manifest: dict[str, Any], files: dict[str, bytes], folder: Path) -> None:
    """A manifest is planned, alike with its files and as it is submitted, or refused with places."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    content = json.dumps({**manifest, "limits": {"max_images": 500}})
    begun = time.thread_time()
    refusal = None
    try:
        parsed, expansion = planned(content, FileReader(folder))
    except InvalidDocument as error:
        refusal = error
    assert time.thread_time() - begun < PATIENCE_S
    if refusal is not None:
        check(refusal)
        return
    count = min(MADE, len(expansion))
    here = [(shot.id, shot.name) for shot in expansion.shots(0, count)]
    _, again = planned(inlined(parsed), None)
    assert len(again) == len(expansion)
    assert [(shot.id, shot.name) for shot in again.shots(0, count)] == here
    show(parsed)


def check(refusal: InvalidDocument) -> None:
    """Every problem is a sentence with a place."""
    assert refusal.problems
    for problem in refusal.problems:
        assert problem.line is not None, problem
        assert "\n" not in problem.message
        assert 0 < len(problem.message) < 500


def show(parsed: ParsedManifest) -> None:
    """What `farm plan` prints has no control character and no traceback."""
    with plan_page.out.capture() as shown, plan_page.err.capture() as told, suppress(FarmError):
        # Too long a prompt, say, is refused by a sentence of its own.
        known = catalog()
        draft = Draft(
            parsed=parsed, catalog=known, money=Money(), tokenizers=Tokenizers(known, ()), lanes=Lanes()
        )
        plan_page.show_plan(make_plan(draft))
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown.get() + told.get()) is None


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(manifest=manifests, files=st.fixed_dictionaries({}, optional=FILES))
def judge_some(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        judge(manifest, files, Path(folder))


@pytest.mark.timeout(120 + 90 * MINUTES)
def test_files_of_any_kind_are_planned_or_refused_by_place() -> None:
    end = time.monotonic() + 60 * MINUTES
    judge_some()
    while time.monotonic() < end:
        judge_some()
