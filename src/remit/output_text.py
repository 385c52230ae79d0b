"""Output of commands as text a model or a person can read: no terminal codes, a bounded length."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # device strings
    r"|\x1b[ -/]*[0-~]"  # two-character codes
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def clean(output: bytes | str) -> str:
    """Text without ANSI codes and control characters; a line rewritten with carriage returns keeps its last state."""
    text = output.decode("utf-8", errors="replace") if isinstance(output, bytes) else output
    text = _ESCAPES.sub("", text)
    if "\r" in text:  # an expression that looks for it takes ten minutes over one long line
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROLS.sub("", text)


def shorten(text: str, *, head: int, tail: int) -> str:
    """The first and last characters, cut at line ends where there are some near, with a line that says what is gone."""
    if len(text) <= head + tail:
        return text
    first = text[:head]
    last = text[-tail:] if tail else ""
    first = first[: first.rfind("\n") + 1] or first
    last = last[last.find("\n") + 1 :] or last
    gone = len(text) - len(first) - len(last)
    if first and not first.endswith("\n"):
        first += "\n"
    return f"{first}[… {gone:,} characters left out …]\n{last}"
