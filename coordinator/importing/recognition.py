"""Detects which program wrote a file: by its content first, by its extension second."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from common.document.tree import Mapping, spelling
from common.manifest.aliases import field_of
from common.manifest.files import UnusableFileError
from common.manifest.tables import Table, csv_table, xlsx_table
from common.wording import nearest
from coordinator.importing import (
    a1111,
    comfyui,
    invokeai,
    kohya,
    lines,
    midjourney,
    ours,
    pictures,
    swarmui,
    texts,
)
from coordinator.importing.imported import (
    Account,
    Source,
    Styles,
    TableSource,
    UnusableSource,
    Wish,
    Wishes,
    fill,
    is_setting,
)

#: Maximum bytes of a text or table; manifests accept no larger list either.
MAX_TEXT_BYTES = 8 * 1024 * 1024
#: Maximum bytes of an image, about those of 16,384×16,384 uncompressed 8-bit pixels.
MAX_PICTURE_BYTES = 256 * 1024 * 1024

KNOWN = (
    "images (PNG, JPEG, WebP) with their settings, prompt lists of A1111, kohya, InvokeAI, SwarmUI and "
    "Midjourney, CSV and xlsx tables, `styles.csv`, JSON lists and ComfyUI workflows"
)
_BINARY = (
    (b"PK\x03\x04", "is an archive; unpack it and import the files inside"),
    (b"%PDF", "is a PDF; save its text as .txt or .csv"),
    (b"GIF8", "is a GIF, which contains no settings"),
    (b"GGUF", "is a model; add it with `farm models add`"),
    (b"\xd0\xcf\x11\xe0", "is a workbook in an old format; save it as .xlsx or .csv"),
)
_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
#: Control characters that occur only in binary files.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_LIST_FLAGS = frozenset(
    (
        *("prompt", "negative_prompt", "steps", "cfg_scale", "width", "height", "sampler_name", "n_iter"),
        *(
            "batch_size",
            "sampler_index",
            "restore_faces",
            "tiling",
            "styles",
            "subseed",
            "sd_model",
            "outpath_samples",
        ),
    )
)
#: If a table has two of these columns, its column `text` contains prompts.
_ASKING = {"negative", "steps", "guidance", "sampler", "seed", "size", "width", "loras"}
_STYLES = {"name", "prompt", "negative_prompt"}


def recognised(content: bytes, name: str, account: Account, kind: str | None = None) -> Source:
    """The requests in a file. `kind`, one of `FORMATS`, overrides the detection.

    Raises UnusableSource if the file is malformed or its format is unknown.
    """
    if kind == "picture" or (kind is None and pictures.is_picture(content)):
        if not pictures.is_picture(content):
            raise UnusableSource("is not a PNG, JPEG or WebP image")
        return pictures.settings(content, account)
    if kind is None and PurePath(name).suffix.lower() in _PICTURE_ENDINGS:
        raise UnusableSource("is a damaged PNG, JPEG or WebP image; download or copy it again")
    if len(content) > MAX_TEXT_BYTES:
        raise UnusableSource(f"is larger than {MAX_TEXT_BYTES // 1024**2} MiB; split it")
    if kind in (None, "table") and (content.startswith(b"PK\x03\x04") and b"xl/" in content):
        return _table(_read(xlsx_table, content), account, kind)
    text = _decoded(content, account)
    if not text.strip():
        raise UnusableSource("is empty")
    if kind is not None:
        return FORMATS[kind](text, account)
    return _of_text(text, PurePath(name).suffix.lower(), account)


def may_be_large(head: bytes) -> bool:
    """Whether a file with this beginning may be larger than `MAX_TEXT_BYTES`."""
    return pictures.is_picture(head)


def _decoded(content: bytes, account: Account) -> str:
    for head, what in _BINARY:
        if content.startswith(head):
            raise UnusableSource(what)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = _windows_text(content, account)
    if _CONTROL.search(text):
        raise UnusableSource(f"has an unknown format; supported are {KNOWN}")
    return text


def _windows_text(content: bytes, account: Account) -> str:
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        raise UnusableSource("is neither UTF-8 nor Windows text (cp1252); save it as UTF-8") from None
    account.leave("encoding", "not UTF-8; it was read as Windows text (cp1252)")
    return text


def _of_text(text: str, ending: str, account: Account) -> Source:
    if text.lstrip()[:1] in ("{", "["):
        data = _json(text)
        if data is not None:
            return _of_json(data, account)
        if ending in (".json", ".jsonl", ".ndjson"):
            raise UnusableSource("is malformed JSON; export it again")
    if ending in (".yaml", ".yml"):
        raise UnusableSource("is YAML; submit a manifest directly, or use a list as an axis: `{file: NAME}`")
    if a1111.is_infotext(text):
        return a1111.infotext(text, account)
    if ending in (".csv", ".tsv", ".tab") or _is_table(text):
        return _csv(text, account)
    return _list(text, account)


def _json(text: str) -> Any:
    """The JSON document, or the list of documents of JSON Lines; None if the text is neither."""
    try:
        return json.loads(text, parse_constant=str)
    except RecursionError:
        raise UnusableSource("is nested too deeply") from None
    except ValueError:
        pass
    try:
        return [json.loads(line, parse_constant=str) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return None


def _of_json(data: Any, account: Account) -> Source:
    if comfyui.is_workflow(data):
        return comfyui.workflow(data, account)
    if isinstance(data, dict):
        if found := ours.record(data, account):
            return found
        for key, read in ((swarmui.KEY, swarmui.parameters), (invokeai.KEY, invokeai.metadata)):
            if isinstance(data.get(key), dict):
                return read(data[key], account)
        if "positive_prompt" in data:
            return invokeai.metadata(data, account)
        if isinstance(data.get("prompt"), dict) and comfyui.is_workflow(data["prompt"]):
            # The request format of the ComfyUI API.
            return comfyui.workflow(data["prompt"], account)
        if isinstance(data.get("prompt"), str):
            return _objects([data], account)
        if data and all(isinstance(each, dict) for each in data.values()):
            return _objects([{"name": name, **each} for name, each in data.items()], account)
        raise UnusableSource(f"is JSON in an unknown format; supported are {KNOWN}")
    if isinstance(data, list) and data and all(isinstance(each, dict) for each in data):
        return _objects(data, account)
    if isinstance(data, list) and data and all(isinstance(each, str) for each in data):
        return _list("\n".join(each.replace("\n", " ") for each in data), account)
    raise UnusableSource("is JSON without a list of objects or texts")


def _objects(data: list[dict[str, Any]], account: Account) -> Source:
    rows = [{str(key): _cell(value) for key, value in each.items()} for each in data]
    return _of_rows(
        rows, [f"item {number}" for number in range(1, len(rows) + 1)], account, "list of objects"
    )


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(_cell(each) for each in value)
        case dict():
            return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return str(value)


def _csv(text: str, account: Account, kind: str | None = None) -> Source:
    heading = text.lstrip("\r\n").partition("\n")[0]
    return _table(_read(lambda content: csv_table(content, tabs="\t" in heading), text), account, kind)


def _read(read: Callable[[Any], Table], content: str | bytes) -> Table:
    try:
        return read(content)
    except UnusableFileError as error:
        raise UnusableSource(f"line {error.line} {error}" if error.line else f"{error}") from None


def _table(table: Table, account: Account, kind: str | None) -> Source:
    rows = [
        {key: spelling(cell) for key, _, cell in row.items()}
        for row in table.rows.items
        if isinstance(row, Mapping)
    ]
    for doubt in table.doubts:
        account.leave(doubt.message, "check the table", f"line {doubt.line}")
    if not rows:
        raise UnusableSource("has no rows below the headings")
    found = [f"line {row.place.line}" for row in table.rows.items]
    if kind == "table":
        return TableSource("table", tuple(rows))
    return _of_rows(rows, found, account, "table")


def _of_rows(rows: list[dict[str, str]], where: list[str], account: Account, kind: Any) -> Source:
    """Rows with a prompt column request one image each; other rows become values that a prompt refers to."""
    headings = {key.strip().lower().replace(" ", "_") for row in rows for key in row}
    if headings == _STYLES and kind == "table":
        return a1111.styles(rows)
    if not any(field_of(each) == "prompt" for each in headings):
        asked = {field_of(each) for each in headings} & _ASKING
        if not ("text" in headings and len(asked) > 1):
            return TableSource(kind, tuple(rows))
        rows = [{_as_prompt(key): value for key, value in row.items()} for row in rows]
    wishes = []
    for row, place in zip(rows, where, strict=True):
        wish = Wish(place=place)
        fill(wish, row.items(), account)
        wishes.append(wish)
    family = "sd" if headings - {"prompt", "name", "filename"} else ""
    return Wishes("table of prompts" if kind == "table" else "list of prompts", wishes, family=family)


def _as_prompt(heading: str) -> str:
    return "prompt" if heading.strip().lower() == "text" else heading


def _is_table(text: str) -> bool:
    """Whether a text without a table extension begins with headings that include a prompt column."""
    heading = text.lstrip().partition("\n")[0].strip()
    for separator in (",", ";", "\t"):
        cells = [cell.strip(' "').lower() for cell in heading.split(separator)]
        if len(cells) > 1 and "prompt" in cells and all(map(is_setting, cells)):
            return True
    return False


def _list(text: str, account: Account) -> Source:
    """A prompt list, detected by its most frequent flags and tags."""
    names = Counter(lines.flag_names(text))
    votes = {
        "a1111": sum(count for name, count in names.items() if name.lower() in _LIST_FLAGS),
        "kohya": sum(count for name, count in names.items() if name in kohya.MARKS),
        "midjourney": sum(count for name, count in names.items() if name.lower() in midjourney.MARKS),
        "swarmui": sum(bool(swarmui.MARK.search(line)) for _, line in lines.lines(text)),
        "invokeai": sum(bool(invokeai.MARK.search(line)) for _, line in lines.lines(text)),
    }
    kind = max(votes, key=lambda each: votes[each])
    if not votes[kind]:
        is_dynamic = any(texts.is_dynamic(line) for _, line in lines.lines(text))
        kind = "dynamic" if is_dynamic else "kohya" if "s" in names else "a1111"
    return FORMATS[kind](text, account)


def _comfyui(text: str, account: Account) -> Source:
    data = _json(text)
    if not comfyui.is_workflow(data):
        raise UnusableSource("is not a ComfyUI workflow")
    return comfyui.workflow(data, account)


def _any_json(text: str, account: Account) -> Source:
    data = _json(text)
    if data is None:
        raise UnusableSource("is not JSON")
    return _of_json(data, account)


def _styles(text: str, account: Account) -> Source:
    found = _csv(text, account)
    if not isinstance(found, Styles):
        raise UnusableSource("is not a `styles.csv`, which has the columns name, prompt and negative_prompt")
    return found


#: Readers by value of `--as`; images are detected by their first bytes.
FORMATS: dict[str, Callable[[str, Account], Source]] = {
    "a1111": a1111.flag_list,
    "infotext": a1111.infotext,
    "kohya": kohya.prompt_file,
    "invokeai": invokeai.prompt_list,
    "dynamic": invokeai.dynamic_list,
    "swarmui": swarmui.prompt_list,
    "midjourney": midjourney.prompt_list,
    "csv": _csv,
    "table": lambda text, account: _csv(text, account, "table"),
    "styles": _styles,
    "json": _any_json,
    "comfyui": _comfyui,
}


def checked(kind: str) -> str:
    """The value of `--as`. Raises UnusableSource if it is unknown."""
    if kind in FORMATS or kind == "picture":
        return kind
    near = nearest(kind, [*FORMATS, "picture"])
    hint = f"; did you mean `{near}`?" if near else ""
    raise UnusableSource(
        f"`--as {kind}`: unknown format{hint} Valid formats: {', '.join([*FORMATS, 'picture'])}"
    )
