"""Each pipeline that the catalog accepts has its way to read text."""

from __future__ import annotations

import pytest

from common.catalog.check import PIPELINES

pytest.importorskip("torch")


def test_the_catalog_accepts_just_the_pipelines_that_nodes_have_code_for() -> None:
    from gpu_node.engine.text import TEXTS

    assert sorted(PIPELINES) == sorted(TEXTS)
