"""What words of a command line may stand for: variables that the line itself gives, and globs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from remit.verifiers.shell_words import SimpleCommand, Word

MEANINGS_MAX = 200
_DEPTH_MAX = 4
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_UNKNOWN = re.compile(r"[$`]|^~")
_GLOB = re.compile(r"[*?\[]")


def is_glob(word: Word) -> bool:
    """Whether the word is expanded with file names alone."""
    return not word.is_literal and _UNKNOWN.search(word.text) is None and _GLOB.search(word.text) is not None


def matches(glob: str, path: str) -> bool:
    """Whether bash would find this path for the glob: by segments, and hidden names only where a dot is written."""
    patterns, parts = glob.split("/"), path.split("/")
    return len(patterns) == len(parts) and all(
        fnmatchcase(part, pattern) and (not part.startswith(".") or pattern.startswith("."))
        for pattern, part in zip(patterns, parts, strict=True)
    )


def variants(command: SimpleCommand) -> list[SimpleCommand]:
    """The command as it may run: once for each value of the variables it uses, as a loop would."""
    words = [_meanings(word, command.variables) for word in command.words]
    stdin = [command.stdin] if command.stdin is None else list(_meanings(command.stdin, command.variables))
    count = min(MEANINGS_MAX, max(len(stdin), *(len(each) for each in words)))
    return [
        replace(command, words=tuple(each[at % len(each)] for each in words), stdin=stdin[at % len(stdin)])
        for at in range(count)
    ]


def _meanings(word: Word, variables: Mapping[str, tuple[Word, ...]], depth: int = 0) -> tuple[Word, ...]:
    if word.is_literal or depth == _DEPTH_MAX:
        return (word,)
    used = next((m for m in _VARIABLE.finditer(word.text) if (m[1] or m[2]) in variables), None)
    values = variables[used[1] or used[2]] if used is not None else ()
    if used is None or not values:
        return (word,)
    found: list[Word] = []
    for value in values:
        text = word.text[: used.start()] + value.text + word.text[used.end() :]
        rest = word.text[: used.start()] + word.text[used.end() :]
        is_literal = value.is_literal and _UNKNOWN.search(rest) is None and _GLOB.search(rest) is None
        found.extend(_meanings(Word(text, is_literal), variables, depth + 1))
        if len(found) >= MEANINGS_MAX:
            break
    return tuple(found[:MEANINGS_MAX])
