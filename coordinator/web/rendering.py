"""Templates, files and formats of pages.

All text is escaped, and invisible characters are shown as codes, except in fields of forms.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from common.units import counted, format_energy, format_gib, format_hourly, format_money, format_seconds
from common.wording import visible
from coordinator.explain.words import WORDS

#: Kinds of files by their extension.
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class StaticFile(NamedTuple):
    data: bytes
    content_type: str
    #: Address with the beginning of its SHA-256, so that browsers keep it for good.
    url: str
    #: For the attribute `integrity`.
    integrity: str


@cache
def static_files() -> dict[str, StaticFile]:
    """The files of the folder `static` by name."""
    found = {}
    for file in files("coordinator.web").joinpath("static").iterdir():
        content_type = _TYPES.get(file.name.rpartition(".")[2])
        if content_type is not None:
            data = file.read_bytes()
            digest = hashlib.sha256(data).digest()
            integrity = f"sha256-{base64.b64encode(digest).decode()}"
            url = f"/static/{digest.hex()[:12]}/{file.name}"
            found[file.name] = StaticFile(data, content_type, url, integrity)
    return found


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _typed(text: str) -> str:
    """Text in a field of a form, character for character: it is sent back as it is."""
    return escape(text)


def _lines(text: str) -> str:
    """Text whose line breaks stay."""
    return Markup("\n").join(visible(line) for line in text.split("\n"))


def _told(sentence: str) -> str:
    """A sentence with what is in backticks as code."""
    texts = visible(sentence).split("`")
    if len(texts) % 2 == 0:
        return escape(visible(sentence))
    parts = (Markup("<code>{}</code>") if number % 2 else Markup("{}") for number in range(len(texts)))
    return Markup("").join(part.format(text) for part, text in zip(parts, texts, strict=True))


def _money(amount: float | Decimal | None, currency: str) -> str:
    return "–" if amount is None else format_money(amount, currency)


def _amount(amount: float | Decimal | None, currency: str) -> str:
    """Money as a large figure with a small unit."""
    number, _, unit = _money(amount, currency).partition(" ")
    return Markup("{} <small>{}</small>").format(number, unit)


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else format_seconds(seconds)


def _moment(at: float | None) -> str:
    """A time in UTC, such as `2026-11-30 14:05`."""
    return "–" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


@dataclass(frozen=True, slots=True)
class BarPart:
    """A part of a progress bar, in thousandths of its length."""

    kind: str
    start: int
    length: int


#: States in the order of a progress bar, and how it shows them.
_PARTS = (
    ("done", ("done",)),
    ("missing", ("accepted", "rejected", "deleted", "withheld")),
    ("failed", ("failed", "unschedulable")),
    ("running", ("running", "delivered")),
)


def shares(counts: Mapping[str, int]) -> list[BarPart]:
    """The parts of the progress bar of a job."""
    total = sum(counts.values())
    parts, start = [], 0
    for kind, states in _PARTS:
        number = sum(counts.get(state, 0) for state in states)
        length = 1000 * number // total if total else 0
        if number:
            length = max(length, 8)
            parts.append(BarPart(kind, start, min(length, 1000 - start)))
            start += length
    return parts


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("coordinator.web"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "counted": counted,
        "typed": _typed,
        "lines": _lines,
        "told": _told,
        "money": _money,
        "amount": _amount,
        "duration": _duration,
        "moment": _moment,
        "number": _number,
        "per_hour": format_hourly,
        "energy": format_energy,
        "gib": format_gib,
    }
    made.globals |= {
        "static": static_files(),
        "version": version("shotfarm"),
        "shares": shares,
        "help": WORDS,
    }
    return made


_PAGES = _environment()


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true" and "hx-history-restore-request" not in request.headers


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """A page, or a part of one, for who is signed in."""
    visitor = getattr(request.state, "visitor", None)
    html = _PAGES.get_template(template).render(visitor=visitor, path=request.url.path, **context)
    return HTMLResponse(html, status, headers=dict(headers or {}))
