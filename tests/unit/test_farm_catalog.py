"""Entries that were added to the catalog of a farm, over those of files."""

from __future__ import annotations

import logging

import pytest

from common.catalog import read_entries
from common.errors import InvalidDocument
from common.views import CatalogAddition
from coordinator.farm_catalog import FarmCatalog


def model(name: str, like: str) -> CatalogAddition:
    return CatalogAddition(section="models", name=name, entry={"like": like, "steps": 3})


def test_an_entry_may_come_before_those_that_it_copies(caplog: pytest.LogCaptureFixture) -> None:
    farm = FarmCatalog(read_entries())
    farm.hold([model("third", "second"), model("second", "first"), model("first", "sdxl")])
    assert {"first", "second", "third"} <= farm.catalog.models.keys()
    assert not caplog.records


def test_an_entry_that_cannot_be_is_left_out_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    farm = FarmCatalog(read_entries())
    added = [model("copy", "gone"), model("mine", "sdxl")]
    farm.hold(added)
    assert "mine" in farm.catalog.models
    assert "copy" not in farm.catalog.models
    assert [(one.levelno, "no entry `gone`" in one.message) for one in caplog.records] == [
        (logging.ERROR, True)
    ]
    with pytest.raises(InvalidDocument, match="no entry `gone`"):
        farm.with_added(added)
