"""Invitations as QR codes."""

from __future__ import annotations

import pytest
import segno

from coordinator.cli.qr import qr_lines


@pytest.mark.parametrize("length", [1, 40, 260])
def test_each_line_has_two_rows_of_the_code_and_light_around_it(length: int) -> None:
    text = "eyJ9." * length
    lines = qr_lines(text)
    halves = [[line.translate(str.maketrans("▀▄█ ", kinds)) for kinds in ("#.#.", ".##.")] for line in lines]
    rows = [row for pair in halves for row in pair]
    code = [tuple(row) for row in segno.make_qr(text, error="l").matrix]
    size = len(code) + 8
    assert {len(row) for row in rows} == {size}
    assert [row[4:-4] for row in rows[4 : size - 4]] == ["".join(".#"[bit] for bit in row) for row in code]
    around = [*rows[:4], *rows[size - 4 :], *(row[:4] + row[-4:] for row in rows)]
    assert set("".join(around)) == {"."}
