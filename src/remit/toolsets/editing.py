"""Replacing text in a file, and what to tell a model whose text does not fit. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

CLOSEST_LINES_MAX = 20
SEARCHED_LINES_MAX = 20_000
NAMED_PLACES_MAX = 8
_SIMILAR_ENOUGH = 0.6


class EditRefused(Exception):
    """The edit does not fit the file; the message tells the model what to do next."""


@dataclass(frozen=True)
class Edited:
    """A file's new text and the lines (from 1, in the old text) where it changed."""

    text: str
    lines: tuple[int, ...]


def replace_text(text: str, *, old: str, new: str, is_everywhere: bool) -> Edited:
    """The text with `old` replaced. Raises EditRefused when it is absent, or not unique unless `is_everywhere`."""
    if "\r\n" in text and "\r" not in old and old not in text:
        # A file with Windows line ends, shown to the model with plain ones: keep the file's own.
        old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    places = _places(text, old)
    if not places:
        raise EditRefused(f"old_string is not in the file. {_closest(text, old)}")
    if len(places) > 1 and not is_everywhere:
        named = ", ".join(str(line) for line in places[:NAMED_PLACES_MAX])
        more = "" if len(places) <= NAMED_PLACES_MAX else " …"
        raise EditRefused(
            f"old_string occurs {len(places)} times, starting in lines {named}{more}. "
            "Add neighbouring lines until it is unique, or set replace_all to change every one."
        )
    return Edited(text.replace(old, new), places)


def _places(text: str, old: str) -> tuple[int, ...]:
    lines: list[int] = []
    line, seen, at = 1, 0, text.find(old)
    while at >= 0:
        line += text.count("\n", seen, at)
        lines.append(line)
        seen = at
        at = text.find(old, at + len(old))
    return tuple(lines)


def _closest(text: str, old: str) -> str:
    lines = text.splitlines()
    wanted = old.strip("\n").splitlines() or [old]
    if not lines:
        return "The file is empty: use write."
    if len(lines) > SEARCHED_LINES_MAX:
        return "Find the place with grep and read it with view_range, then copy the text exactly."
    loose = _find_loose(lines, wanted)
    if loose is not None:
        return (
            f"Lines {loose + 1} to {loose + len(wanted)} are the same but for white space. They are exactly:\n"
            f"{_excerpt(lines, loose, len(wanted))}"
        )
    start, ratio = _find_similar(lines, wanted)
    if ratio < _SIMILAR_ENOUGH:
        return "Nothing in it is similar: read the file again, or look for the text with grep."
    return (
        f"The closest are lines {start + 1} to {min(len(lines), start + len(wanted))}, which are exactly:\n"
        f"{_excerpt(lines, start, len(wanted))}"
    )


def _excerpt(lines: list[str], start: int, count: int) -> str:
    shown = lines[start : start + min(count, CLOSEST_LINES_MAX)]
    more = "" if count <= CLOSEST_LINES_MAX else f"\n[… {count - CLOSEST_LINES_MAX} more lines]"
    return "\n".join(shown) + more


def _squeezed(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()


def _find_loose(lines: list[str], wanted: list[str]) -> int | None:
    squeezed = [_squeezed(line) for line in lines]
    target = [_squeezed(line) for line in wanted]
    if not any(target):
        return None
    for start in range(len(lines) - len(wanted) + 1):
        if squeezed[start] == target[0] and squeezed[start : start + len(target)] == target:
            return start
    return None


def _find_similar(lines: list[str], wanted: list[str]) -> tuple[int, float]:
    """Where the most telling line of `wanted` comes closest, shifted back to the first wanted line."""
    offset = max(range(len(wanted)), key=lambda index: len(wanted[index].strip()))
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted[offset].strip())
    best, best_ratio = 0, 0.0
    for index, line in enumerate(lines):
        matcher.set_seq1(line.strip())
        if matcher.real_quick_ratio() <= best_ratio or matcher.quick_ratio() <= best_ratio:
            continue
        ratio = matcher.ratio()
        if ratio > best_ratio:
            best, best_ratio = index, ratio
    return max(0, best - offset), best_ratio
