"""Keys and tokens taken out of texts that are kept, such as the lines of a log."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\b(r[klv]_)[A-Za-z0-9_-]{16,}")
"""An API key, a link's or a preview's token, wherever it stands."""
_PREVIEW = re.compile(r"(/v1/previews/)[^/\s\"'?#\\]+")
"""What stands for a preview's token in an address, however it is written."""


def hide_tokens(text: str) -> str:
    """Return the text with `…` for what opens anything."""
    return _TOKEN.sub(r"\1…", _PREVIEW.sub(r"\1…", text))
