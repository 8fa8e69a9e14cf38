"""A farm for all tests of a module, each with jobs of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.trial import Trial, farm_at_work
from tests.faults.watch import Watch


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """A farm that runs, with two nodes."""
    with farm_at_work(tmp_path_factory.mktemp("farm")) as watch:
        yield watch


@pytest.fixture
def trial(watched: Watch) -> Trial:
    """Of that farm, all of whose parts are ready."""
    watched.target.house.wait_for(watched.target.is_ready, bool)
    return Trial(watched.target, watched)
