"""What a file is, by its content first; one sentence for what is nothing that can be imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.importing import recognition
from coordinator.importing.imported import Account, TableSource, UnusableSource, Wishes
from tests.unit.importing.making import as_json


def _kind(content: str | bytes, name: str = "x", kind: str | None = None) -> str:
    data = content.encode() if isinstance(content, str) else content
    source = recognition.recognised(data, name, Account(), kind)
    return source.kind if isinstance(source, Wishes | TableSource) else "styles"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("--prompt a --steps 20", "A1111 prompt list"),
        ("a mug", "A1111 prompt list"),
        ("a mug --s 20", "kohya prompt file"),
        ("a cat --n blurry --w 512", "kohya prompt file"),
        ("a cat --ar 2:3", "Midjourney prompt list"),
        ("a cat <random:a,b>", "SwarmUI prompt list"),
        ("a cat++ (b)1.2", "InvokeAI prompt list"),
        ("a {b|c} cat", "dynamic prompts"),
        ("a __b__ cat", "dynamic prompts"),
        ("a cat\nSteps: 20, Sampler: Euler, CFG scale: 7", "A1111 image settings"),
        ("prompt,seed\na,1", "table of prompts"),
        ("name,prompt,negative_prompt\na,b,c", "styles"),
        (as_json([{"name": "a", "look": "b"}]), "list of objects"),
        (as_json(["a mug", "a lamp"]), "A1111 prompt list"),
        ("[a, b] and c", "A1111 prompt list"),
        (b"\xff\xfe" + "a mug --s 20".encode("utf-16-le"), "kohya prompt file"),
    ],
)
@pytest.mark.parametrize("name", ["x", "x.csv", "x.txt"])
def test_content_decides(content: str | bytes, kind: str, name: str) -> None:
    if name == "x.csv" and kind.endswith(("list", "file", "prompts")):
        return
    assert _kind(content, name) == kind


def test_the_person_decides_over_all() -> None:
    assert _kind("a mug --s 20", kind="midjourney") == "Midjourney prompt list"
    assert _kind("prompt,seed\na,1", kind="table") == "table"
    with pytest.raises(UnusableSource, match="did you mean `kohya`"):
        recognition.checked("kohia")


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        (b"", "x.txt", "is empty"),
        (b" \n", "x.txt", "is empty"),
        (b"\x00\x01\x02" * 50, "x.bin", "unknown format"),
        (b"\x80\x00\xff" * 50, "x.bin", "unknown format"),
        (b"a mug\x01\x02\x03", "b.txt", "unknown format"),
        (b"\x81\x8d mug", "b.txt", "neither UTF-8 nor Windows text"),
        (b"\x89PNG\r\n", "f.png", "damaged PNG"),
        (b"PK\x03\x04rest", "x.zip", "archive"),
        (b"PK\x03\x04xl/", "x.xlsx", "workbook"),
        (b"%PDF-1.4", "x.pdf", "PDF"),
        (b"GGUF\x03", "x.gguf", "model"),
        (b"{" * 200_000, "x.json", "malformed JSON|nested too deeply"),
        (b"[" * 200_000 + b"]" * 200_000, "x.json", "too deep|broken JSON"),
        (b'{"a": 1}', "x.json", "unknown format"),
        (b"[1, 2]", "x.json", "without a list"),
        (b"version: 1\nshots: []\n", "x.yaml", "submit a manifest directly"),
        (b"a,b\n", "x.csv", "no rows"),
        (b'a,b\n"x,1\n', "x.csv", "line 2"),
        (b"x" * (8 * 1024 * 1024 + 1), "x.txt", "larger than 8 MiB"),
        (b"# only\n# comments\n", "x.txt", "no prompt"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(content: bytes, name: str, why: str) -> None:
    from tests.unit.importing.making import imported

    with pytest.raises(UnusableSource, match=why) as told:
        imported(content, name)
    assert "\n" not in str(told.value)


def test_windows_text_is_read_and_told() -> None:
    account = Account()
    source = recognition.recognised("a café --s 20".encode("cp1252"), "x.txt", account)
    assert isinstance(source, Wishes)
    assert source.wishes[0].text("prompt") == "a café"
    assert "cp1252" in account.left[0].why


def test_every_format_that_can_be_named_is_in_the_how_to() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "import.md").read_text("utf-8")
    assert [name for name in recognition.FORMATS if f"`{name}`" not in page] == []
