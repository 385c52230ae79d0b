"""Hiding in texts: keys and tokens, and what nobody sees or what steers a terminal."""

from __future__ import annotations

import json
import re
import unicodedata

_ESCAPE = r"(?:%(?:25){0,4}|\\{1,8}(?:x|u00))"
"""Of an address, in an address of its own perhaps, or of a string."""


def _written(letters: str) -> str:
    """One of these letters, as it is or escaped."""
    return f"(?:[{letters}]|{_ESCAPE}(?i:{'|'.join(f'{ord(letter):02x}' for letter in letters)}))"


_BEGINNING = _written("r") + _written("klv") + _written("_")
_LETTER = rf"(?:[A-Za-z0-9_-]|{_ESCAPE}(?i:2d|3\d|[46][1-9a-f]|[57][0-9a]|5f))"
_TOKEN = re.compile(rf"(\b{_BEGINNING}){_LETTER}{{16,}}|({_BEGINNING}){_LETTER}{{40,}}")
"""An API key, a link's or a preview's token, wherever it stands; also behind what is a letter but the end of an escape."""
_ENCODED = re.compile(r"(cm[tx]f|cnZf)[A-Za-z0-9+/=_-]{40,}")
"""The same in base64, as a user's name in HTTP's Basic."""
_MAY_HOLD = re.compile(r"r[klv]_|%|\\+[xu]|cm[tx]f|cnZf")
_PREVIEW = re.compile(r"(/v1/previews/)[^/\s\"'?#\\]+")
"""What stands for a preview's token in an address, however it is written."""

MARKS_MAX = 8
"""On one letter."""
_MAY_BE_PILE = re.compile(f"[^\x00-\u02ff]{{{MARKS_MAX + 1}}}")

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
    text = _PREVIEW.sub(r"\1…", text)
    if _MAY_HOLD.search(text) is None:
        return text
    text = _TOKEN.sub(lambda found: f"{found[1] or found[2]}…", text)
    return _ENCODED.sub(r"\1…", text)


def printable(text: str) -> str:
    """The text without what could steer its reader or lie to them. Writing of every language stays, with its joiners and
    blanks."""
    if text.isascii() and text.isprintable():
        return text
    text = _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
    return _without_piles(text) if _MAY_BE_PILE.search(text) else text


def printable_name(name: str) -> str:
    """A file's or a thing's name in one line: with what would end it, it could write lines of its own."""
    return (
        printable(name).replace("\n", "\N{REPLACEMENT CHARACTER}").replace("\t", "\N{REPLACEMENT CHARACTER}")
    )


def _without_piles(text: str) -> str:
    """Marks on one letter go up and down over the lines around it; no language has so many."""
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks <= MARKS_MAX:
            kept.append(character)
        elif marks == MARKS_MAX + 1:
            kept.append("\N{REPLACEMENT CHARACTER}")
    return "".join(kept)


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
