"""Kinds of programs, as far as reading a command needs to know, by programs.txt beside this file."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

_NOTHING = frozenset[str]()


def kinds_of(name: str) -> frozenset[str]:
    """The kinds of a program by its name, or of `name:word` for one with this word first; none for one that judges."""
    return _kinds().get(name, _NOTHING)


@functools.cache
def _kinds() -> Mapping[str, frozenset[str]]:
    kinds: dict[str, frozenset[str]] = {}
    kind = ""
    for line in Path(__file__).with_name("programs.txt").read_text().splitlines():
        if (head := re.fullmatch(r"\[(\w+)\]", line)) is not None:
            kind = head[1]
        elif not line.startswith("#"):
            for name in line.split():
                kinds[name] = kinds.get(name, _NOTHING) | {kind}
    return kinds
