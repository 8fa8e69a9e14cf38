"""Composes a manifest from rows: shared settings are written once, all others as fields of one axis."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from common.catalog import Catalog
from coordinator.expand.oversights import is_blank
from coordinator.importing import texts
from coordinator.importing.imported import Account, Source, Styles, TableSource, UnusableSource, Wishes
from coordinator.importing.settling import Row, Settling

Document = dict[str, Any]

#: Headings of columns with names, and with descriptions, most likely first.
_NAMES = ("sku", "variantsku", "handle", "id", "articlenumber", "code", "number", "name", "title", "slug")
_TELLING = (
    "title",
    "text",
    "prompt",
    "look",
    "description",
    "productname",
    "name",
    "product",
    "appearance",
    "caption",
)
_WORD = re.compile(r"[^\W\d][\w-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """Options given by the user."""

    #: Model of the catalog that overrides those in the file.
    model: str | None = None
    #: Columns of a table that prompt and names use, in order.
    columns: tuple[str, ...] = ()
    #: Number of variations per image, with random seeds.
    more: int | None = None


def composed(
    source: Source, catalog: Catalog, account: Account, choices: Choices, *, name: str, file: str
) -> Document:
    """The manifest of a source read from `file`, given as the manifest refers to it.

    `name` becomes the name of the group if valid. Raises UnusableSource if the source describes no image.
    """
    settling = Settling(catalog, account, choices.model)
    name = _slug(name)
    match source:
        case Wishes():
            return _of_rows(source, settling.rows(source), name, account, choices.more)
        case TableSource():
            document = _of_table(source, file, name, account, choices.columns, settling.default_model())
        case Styles():
            document = _of_styles(source, name, account, settling.default_model())
    if choices.more is not None:
        document["shots"][0]["seeds"] = {"mode": "random", "count": choices.more}
    return document


def _of_rows(source: Wishes, rows: Sequence[Row], name: str, account: Account, more: int | None) -> Document:
    """The manifest of images described one by one; `more` is the number of new seeds for each."""
    if more is not None:
        rows = [_reseeded(row, more) for row in rows]
    rows = _merged(rows, account)
    by_count = groupby(sorted(rows, key=lambda row: row.count), key=lambda row: row.count)
    parts = [list(part) for _, part in by_count]
    groups = []
    for part in parts:
        group = _group(part, source, account)
        title = name if len(parts) == 1 else f"{name}-{part[0].count}"
        groups.append({"name": title, **group} if name else group)
    document: Document = {"version": 1, "shots": groups}
    if source.output:
        document["output"] = source.output
    if source.lane:
        document["lane"] = source.lane
    return document


def _reseeded(row: Row, more: int) -> Row:
    return Row(fields=row.fields, seed=None, count=more, name=row.name, place=row.place)


def _merged(rows: Sequence[Row], account: Account) -> list[Row]:
    """Distinct rows; equal rows with random seeds are merged into one with a larger count."""
    found: dict[str, Row] = {}
    for row in rows:
        key = repr((row.fields, row.seed, row.name, None if row.seed is None else row.count))
        first = found.setdefault(key, row)
        if first is not row and row.seed is None:
            found[key] = _reseeded(first, first.count + row.count)
        elif first is not row:
            account.leave("a duplicate image", "it is rendered once", row.place)
    return list(found.values())


def _group(rows: Sequence[Row], source: Wishes, account: Account) -> Document:
    group: Document = {}
    shared = {
        key: value
        for key, value in rows[0].fields.items()
        if all(row.fields.get(key) == value for row in rows)
    }
    seeds = list(dict.fromkeys(row.seed for row in rows))
    own = [_own(row, shared, by_row=len(seeds) > 1) for row in rows]
    # Every row needs a difference, if only its random seed.
    is_same = len(rows) > 1 and not all(own)
    as_values = [
        key
        for key in _TEXTS
        if _has_wildcard(key, rows, source) or (key == "prompt" and (is_same or key not in shared))
    ]
    for key in ("prompt", "negative"):
        if key in as_values:
            group[key] = f"{{row.{_TEXTS[key]}}}"
        elif key in shared:
            group[key] = _text(str(shared[key]), source, account, rows[0].place)
    if any(is_blank(str(row.fields["prompt"])) for row in rows):
        group["allow_empty"] = True
    group |= {key: value for key, value in shared.items() if key not in _TEXTS}
    entries = [_entry(row, fields, as_values, source, account) for row, fields in zip(rows, own, strict=True)]
    _name(group, entries, rows, account)
    if any(entries):
        group["axes"] = {"row": {"values": entries, "expand": True} if source.is_template else entries}
    if (seeds_setting := _seeds(seeds, rows[0].count)) is not None:
        group["seeds"] = seeds_setting
    return group


#: Field names for prompts that are axis values: plain text, or drawn once per shot.
_TEXTS = {"prompt": "text", "negative": "avoid"}


def _has_wildcard(key: str, rows: Sequence[Row], source: Wishes) -> bool:
    """Whether plain texts contain wildcard syntax, which cannot be escaped and needs an axis value."""
    return not source.is_template and any("__" in str(row.fields.get(key, "")) for row in rows)


def _entry(row: Row, own: Document, as_values: Sequence[str], source: Wishes, account: Account) -> Document:
    """The axis value of a row: its texts first, then the fields in which it differs."""
    entry: Document = {_TEXTS[key]: row.fields.get(key, "") for key in as_values}
    if "negative" in own and "negative" not in as_values:
        entry["negative"] = _text(str(own["negative"]), source, account, row.place)
    return entry | {key: value for key, value in own.items() if key not in _TEXTS}


def _name(group: Document, entries: list[Document], rows: Sequence[Row], account: Account) -> None:
    """Uses the file names of the source if they are unique."""
    names = [row.name for row in rows]
    if not all(names) or len(set(names)) < len(names):
        return
    if len(rows) > 1:
        entries[:] = [{"name": name, **entry} for name, entry in zip(names, entries, strict=True)]
    pattern = "{row.name}" if len(rows) > 1 else texts.escaped(names[0], account, rows[0].place)
    group["output"] = {"name": pattern if rows[0].count == 1 else f"{pattern}-{{seed}}"}


def _own(row: Row, shared: Document, *, by_row: bool) -> Document:
    """Fields that differ between rows, in the order of the manifest reference."""
    own: Document = {key: value for key, value in row.fields.items() if key not in shared}
    if by_row and row.seed is not None:
        own["seed"] = row.seed
    return own


def _text(text: str, source: Wishes, account: Account, place: str) -> str:
    return text if source.is_template else texts.escaped(text, account, place)


def _seeds(seeds: Sequence[int | None], count: int) -> Any:
    """`seeds` of the group; seeds of single rows remain in the rows."""
    if None in seeds:
        return {"mode": "random", "count": count}
    if len(seeds) == 1:
        return seeds if count == 1 else {"start": seeds[0], "count": count}
    return count if count > 1 else None


def _of_table(
    source: TableSource, file: str, name: str, account: Account, columns: Sequence[str], model: str
) -> Document:
    """The manifest of a table whose columns the prompt uses; `columns` selects them, in order."""
    kind = "persona" if source.kind == "list of objects" else "product"
    wanted = [_heading(each, source) for each in columns]
    naming = _naming(source, wanted)
    telling = [each for each in wanted if each != naming] or wanted or [_descriptive_column(source, naming)]
    references = ", ".join(f"{{{_reference(kind, each)}}}" for each in telling)
    ending = "product photo" if kind == "product" else "portrait"
    group: Document = {"name": name} if name else {}
    group |= {"model": model, "prompt": f"{references}, {ending}", "axes": {kind: {"file": file}}}
    for each in telling:
        account.take(each, "prompt", next((row[each] for row in source.rows if row.get(each)), ""))
    if naming:
        account.take(naming, "output.name", source.rows[0].get(naming, ""))
        group["output"] = {"name": f"{{{_reference(kind, naming)}}}-{{seed}}"}
    _leave_columns(source, [*telling, naming], account)
    empty = [f"{number}" for number, row in enumerate(source.rows, start=1) if not row.get(telling[0])]
    if empty:
        group["exclude"] = [{f"{kind}.{telling[0]}": ""}]
        why = f"`exclude` omits these rows, {len(empty):,} of {len(source.rows):,}"
        account.leave(f"an empty `{telling[0]}`", why, f"row {empty[0]}")
    return {"version": 1, "shots": [group]}


def _heading(typed: str, source: TableSource) -> str:
    for same in (str, str.casefold):
        for heading in source.headings:
            if same(heading) == same(typed.strip()):
                return heading
    known = ", ".join(source.headings[:12]) + (", …" if len(source.headings) > 12 else "")
    raise UnusableSource(f"has no column `{typed.strip()}`; it has {known}")


def _naming(source: TableSource, wanted: Sequence[str]) -> str:
    """The column used for file names: one with unique values, preferably among the selected columns."""
    unique = [each for each in source.headings if _is_unique(each, source)]
    if len(wanted) > 1:
        return next((each for each in wanted if each in unique), "")
    ranked = [each for name in _NAMES for each in unique if _plain(each) == name]
    return next(iter(ranked), "")


def _is_unique(heading: str, source: TableSource) -> bool:
    cells = [row.get(heading, "") for row in source.rows]
    return (
        all(cells) and len({cell.casefold() for cell in cells}) == len(cells) and max(map(len, cells)) <= 80
    )


def _descriptive_column(source: TableSource, naming: str) -> str:
    """The column that best describes the image."""
    for name in _TELLING:
        for heading in source.headings:
            if _plain(heading) == name and heading != naming:
                return heading
    words = {each: sum(len(row.get(each, "").split()) for row in source.rows) for each in source.headings}
    return max(words, key=lambda each: (each != naming, min(words[each], 20 * len(source.rows))))


def _leave_columns(source: TableSource, used: Sequence[str], account: Account) -> None:
    others = [each for each in source.headings if each not in used]
    if others:
        shown = ", ".join(others[:4]) + (", …" if len(others) > 4 else "")
        what = f"{len(others)} more column{'s' if len(others) > 1 else ''}: {shown}"
        account.leave(what, "the prompt does not use them; select columns with `--columns A,B`")


def _reference(axis: str, heading: str) -> str:
    if _WORD.fullmatch(heading) and heading != "index" and unicodedata.is_normalized("NFC", heading):
        return f"{axis}.{heading}"
    quote = "'" if '"' in heading else '"'
    return f"{axis}[{quote}{heading}{quote}]"


def _plain(heading: str) -> str:
    return re.sub(r"[^a-z]", "", heading.lower())


def _of_styles(source: Styles, name: str, account: Account, model: str) -> Document:
    """A manifest that renders one subject in every style."""
    styles: list[Document] = []
    for number, (title, prompt, negative) in enumerate(source.styles, start=1):
        place = f"style {number}"
        # A style without a prompt renders the unchanged subject.
        style: Document = {"name": title, "prompt": _style(prompt, account, place)}
        if negative:
            style["negative"] = texts.escaped(texts.whole(negative, account, place), account, place)
        styles.append(style)
        account.take("name", "style", title)
    if not styles:
        raise UnusableSource("contains no style")
    account.leave("a subject", f"styles need one; replace `{_SUBJECT}`")
    group: Document = {"name": name} if name else {}
    group |= {"model": model, "axes": {"subject": [_SUBJECT], "style": styles}}
    return {"version": 1, "shots": [group]}


#: Placeholder subject for styles.
_SUBJECT = "a red mug on a table"


def _style(text: str, account: Account, place: str) -> str:
    """A style with `{subject}` in place of `{prompt}`, or in front if the style has no placeholder."""
    text, loras = texts.without_loras(texts.whole(text, account, place), account, place)
    for lora in loras:
        account.leave(f"LoRA {lora.name}", "add it to `loras` of the style if it is in the catalog", place)
    before, mark, after = text.partition("{prompt}")
    before, after = (texts.escaped(part, account, place) for part in (before, after))
    return f"{before}{{subject}}{after}" if mark else ", ".join(filter(None, ("{subject}", before)))


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._")[:60]
