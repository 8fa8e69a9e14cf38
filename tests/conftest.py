"""Fixtures that every kind of test may use. Whatever can be real and starts in a second is real."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import S3Server, ValkeyServer, running_s3, running_valkey


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With FARM_REQUIRE_ALL=1 a skipped test fails the run; only tests that need a card may be skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FARM_REQUIRE_ALL") != "1" or reporter is None:
        return
    skipped = [r for r in reporter.stats.get("skipped", ()) if "gpu" not in getattr(r, "keywords", ())]
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"FARM_REQUIRE_ALL=1 allows no skip; {len(skipped)} were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One Valkey for all tests of this worker; a test that kills or floods it asks for `own_valkey`."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of this test alone, which it may kill and start again."""
    with running_valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One SeaweedFS with an empty bucket for all tests of this worker; keys must be the test's own."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Z-Image pipeline with random weights, built once for all workers of a run."""
    from tests.tiny import save_z_image

    shared = tmp_path_factory.getbasetemp().parent / "tiny-z-image"
    if not shared.exists():
        built = save_z_image(tmp_path_factory.mktemp("models") / "tiny")
        # Another worker may have been first: its folder is as good.
        with contextlib.suppress(OSError):
            built.rename(shared)
    return shared
