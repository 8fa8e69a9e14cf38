"""Units and their formatting for people. Internal values are in bytes, seconds, joules and pixels."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer

MIB = 1024**2
GIB = 1024**3

#: Joules in a kilowatt-hour.
JOULES_PER_KWH = 3.6e6
SECONDS_PER_HOUR = 3600.0

#: Money: exact here, and a number in JSON.
Amount = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "shot"), counted(2000, "shot")
    ('1 shot', '2,000 shots')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_gib(size: float, digits: int = 1) -> str:
    """Formats bytes: `13.1 GiB`; `96 MiB` below a tenth of a GiB; `268 KiB` below a MiB; `120 B`."""
    if size < MIB:
        return f"{size:.0f} B" if size < 1024 else f"{size / 1024:.0f} KiB"
    return f"{size / MIB:.0f} MiB" if size < GIB / 10 else f"{size / GIB:.{digits}f} GiB"


def format_seconds(seconds: float) -> str:
    """Formats durations: `0.3 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def format_hourly(per_minute: float) -> str:
    """Formats a rate per minute as one per hour: `1,440`, `12`, `7.5`.

    >>> format_hourly(24), format_hourly(0.2), format_hourly(0.125), format_hourly(0)
    ('1,440', '12', '7.5', '0')
    """
    rate = round(per_minute * 60, 1)
    return f"{rate:,.0f}" if rate >= 100 or rate == int(rate) else f"{rate:,.1f}"


def format_energy(joules: float) -> str:
    """Formats energy: `1.00 kWh`, `250 Wh`, `0.50 Wh`, `0.0041 Wh`."""
    hours = joules / 3600
    if hours >= 1000:
        return f"{hours / 1000:,.2f} kWh"
    return f"{hours:.0f} Wh" if hours >= 10 else f"{hours:.{2 if hours >= 0.1 else 4}f} Wh"


def format_money(amount: float | Decimal, currency: str) -> str:
    """Formats money: two decimals from 1 upwards, three significant digits below; only 0 is `0.00`."""
    if amount == 0 or amount >= 1:
        return f"{amount:,.2f} {currency}"
    if amount < 1e-6:
        return f"<0.000001 {currency}"
    digits = next(n for n in range(2, 9) if amount * 10**n >= 100)
    return f"{amount:.{digits}f} {currency}"


def format_size(width: int, height: int) -> str:
    """Formats an image size: `1024×1024`."""
    return f"{width}×{height}"
