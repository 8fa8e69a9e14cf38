"""What the benchmarks' exit code follows."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks.figures import Figure, decide


def test_a_ratio_that_is_not_met_decides() -> None:
    assert decide([Figure(name="a", value=0.9, at_least=0.9), Figure(name="b", value=1.1, at_most=1.0)]) == 1


def test_an_absolute_figure_that_is_not_met_decides_nothing() -> None:
    slow = Figure(name="a", value=99.0, unit="s", at_most=20)
    assert slow.met is False
    assert decide([slow]) == 0


def test_a_margin_above_one_is_better_than_wanted_whichever_way_is_good() -> None:
    assert Figure(name="a", value=10.0, at_least=5).margin == 2
    assert Figure(name="b", value=5.0, at_most=10).margin == 2
    assert Figure(name="c", value=5.0).margin is None


def test_a_figure_is_printed_before_the_next_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure() -> Iterator[Figure]:
        yield Figure(name="the first", value=1.0, unit="s")
        assert "the first" in capsys.readouterr().out
        yield Figure(name="the second", value=0.5, at_least=1)

    monkeypatch.setattr(program, "BENCHMARKS", {"slow": SimpleNamespace(measure=measure)})

    assert program.main(["slow"]) == 1
    assert "NOT MET" in capsys.readouterr().out
