from pathlib import Path

from coordinator.http.__main__ import page


def test_the_api_reference_is_what_the_routes_say():
    written = Path("docs/reference/api.md").read_text(encoding="utf-8")
    assert written == page(), "run `python -m coordinator.http > docs/reference/api.md`"
