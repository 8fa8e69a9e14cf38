"""A lease uploads each image once, or a few times."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from common.errors import Conflict
from common.messages import GrantRequest
from coordinator.calls.grant_quota import GrantQuota


def wishes(shot: int, files: Sequence[int]) -> list[GrantRequest]:
    return [
        GrantRequest(
            token="t", shot_id=f"{shot:064x}", sha256=f"{file:064x}", size=1, content_type="image/png"
        )
        for file in files
    ]


def test_an_image_may_be_asked_for_again_and_be_a_few_files() -> None:
    quota = GrantQuota()
    for _ in range(100):
        quota.take("b-1", wishes(1, [1, 1, 2, 3, 4]))
    with pytest.raises(Conflict, match="4 different files"):
        quota.take("b-1", wishes(1, [5]))
    quota.take("b-1", wishes(1, [4]))
    quota.take("b-1", wishes(2, [5]))
    quota.take("b-2", wishes(1, [5]))


def test_what_is_remembered_is_bounded() -> None:
    quota = GrantQuota()
    for batch in range(60):
        quota.take(f"b-{batch}", [one for shot in range(1000) for one in wishes(shot, [1])])
    assert len(quota._granted) == 50_000
