"""What is taken out of texts before they are kept or shown: keys and tokens, and what nobody sees or what steers a terminal."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r"\b(r[klv]_)[A-Za-z0-9_-]{16,}")
"""An API key, a link's or a preview's token, wherever it stands."""
_PREVIEW = re.compile(r"(/v1/previews/)[^/\s\"'?#\\]+")
"""What stands for a preview's token in an address, however it is written."""

_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tabs and line ends: they steer a terminal
    "\u2028\u2029"  # line ends that some programs do not see
    "\u202a-\u202e\u2061-\u2064\u2066-\u206f"  # what turns the order of the text around them, so that it reads as other text
    "\ufeff\ufff0-\ufffb\U000e0000-\U000e0fff"  # text that nobody sees
    "\ud800-\udfff"  # halves of a character
    "]"
)


def hide_tokens(text: str) -> str:
    """Return the text with `…` for what opens anything."""
    return _TOKEN.sub(r"\1…", _PREVIEW.sub(r"\1…", text))


def printable(text: str) -> str:
    """The text without what could steer its reader or lie to them. Writing of every language stays, with its joiners and
    blanks."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def on_one_line(name: str) -> str:
    """A name as it stands in a line of a list: it cannot begin one of its own."""
    return name.replace("\r", "\\r").replace("\n", "\\n")


def escape_hidden(json_text: str) -> str:
    """The same JSON with escapes for what could not be seen: it stands inside of strings only."""
    if json_text.isascii() and json_text.isprintable():
        return json_text
    return _HIDDEN.sub(_json_escape, json_text)


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
