"""Fixtures that every kind of test may use. Whatever can be real and starts in a second is real."""

from __future__ import annotations

import contextlib
import gc
import os
import ssl
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.faults import engines
from tests.servers import S3Server, ValkeyServer, running_s3, running_valkey

#: Folders whose tests mostly wait for farms, while other tests compute; that of the longest first.
_FARMS = ("tests/faults/", "tests/e2e/")
#: Share of all files by which they have begun: those of unit tests, half of all, come last and are short.
_BEGUN = 0.35


# Each client of HTTP reads all certificates anew, which takes longer than most calls; no test changes them.
ssl.create_default_context = cache(ssl.create_default_context)  # type: ignore[assignment]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that wait among the others, so that the workers of a run use all of the processor."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    farms = [file for folder in _FARMS for file in files if file.startswith(folder)]
    others = [file for file in files if not file.startswith(_FARMS)]
    places = {file: place / len(farms) * _BEGUN for place, file in enumerate(farms)}
    places |= {file: place / len(others) for place, file in enumerate(others)}
    items[:] = [item for file in sorted(files, key=places.__getitem__) for item in files[file]]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, None, None]:
    """Keep the garbage collector from what all tests are made of: it takes a twentieth of a run."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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
def twin_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the tiny pipeline of a family of the catalog, built once for all workers of a run.

    It has random weights. Nobody changes it.
    """
    shared = tmp_path_factory.getbasetemp().parent

    def folder(family: str) -> Path:
        twin = shared / f"tiny-{family}"
        if not twin.exists():
            # Imports torch.
            from tests.tiny_families import TWINS

            with warnings.catch_warnings():
                # Old settings, as the large ones have.
                warnings.simplefilter("ignore")
                built = TWINS[family](tmp_path_factory.mktemp("models") / family)
            # Another worker may have been first: its folder is as good.
            with contextlib.suppress(OSError):
                built.rename(twin)
        return twin

    return folder


@pytest.fixture(scope="session")
def tiny_model(twin_of: Callable[[str], Path]) -> Path:
    """The one of Z-Image."""
    return twin_of("z-image")


@pytest.fixture(scope="session")
def warm_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Variables of processes whose real engines start in milliseconds, for all tests of this worker."""
    with engines.warm_engines(tmp_path_factory.mktemp("warm")) as variables:
        yield variables
