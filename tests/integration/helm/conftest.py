from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.helm.rendering import VALUES, Release, Renderer


@pytest.fixture(scope="session")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    renderer = Renderer(tmp_path_factory.mktemp("helm"))
    yield renderer
    renderer.close()


@pytest.fixture(params=list(VALUES))
def release(renderer: Renderer, request: pytest.FixtureRequest) -> Release:
    """Each of the sets of values in turn."""
    return renderer.render(VALUES[request.param])


@pytest.fixture
def cluster(renderer: Renderer) -> Release:
    return renderer.render(VALUES["cluster"])


@pytest.fixture
def trial(renderer: Renderer) -> Release:
    return renderer.render(VALUES["trial"])
