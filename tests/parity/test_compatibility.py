"""docs/compatibility.md is what the manifest says."""

from __future__ import annotations

from pathlib import Path

from parity.compatibility import compatibility_page

PAGE = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"


def test_page_is_what_the_manifest_says() -> None:
    assert PAGE.read_text() == compatibility_page(), "run python scripts/make_compatibility.py"
