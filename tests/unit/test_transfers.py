"""How far a transfer is, where there is no terminal."""

from __future__ import annotations

import pytest

from common.transfers import TransferLines, transfer
from common.units import GIB


def test_each_tenth_is_said_once_also_of_bytes_that_come_again() -> None:
    said: list[str] = []
    lines = TransferLines("fetching mine", 2 * GIB, said.append)
    for part in (0, 1, 19, 9, 25, 100, 101):
        lines.show(2 * GIB * part // 100)
    assert said == [f"fetching mine: {tenth} % of 2.0 GiB" for tenth in (0, 10, 20, 100)]


def test_a_transfer_shows_what_arrived_and_control_characters_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with transfer("fetching [/b]\x1b", 0) as arrived:
        arrived(5)
    assert capsys.readouterr().err.splitlines() == [
        "fetching [/b]\\x1b: 0 % of 0 B",
        "fetching [/b]\\x1b: 100 % of 0 B",
    ]
