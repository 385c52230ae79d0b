"""The targets of a tree's symlinks, found by resolving them part by part: words alone do not tell, for what
is before a `..` may be a link itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

HOPS_MAX = 40
"""As many links as the kernel follows; after that a path leads nowhere."""


def leads_out(path: str, target: str, look: Callable[[str], str | None]) -> bool:
    """Return whether the symlink at `path` leads out. `look` gives a symlink's target, else None."""
    current = path.split("/")[:-1]
    waiting = _parts(target)
    if target.startswith("/"):
        return True
    hops = 1
    while waiting:
        part = waiting.pop()
        if part == "..":
            if not current:
                return True
            current.pop()
            continue
        further = look("/".join((*current, part)))
        if further is None:
            current.append(part)
            continue
        hops += 1
        if hops > HOPS_MAX:
            return False
        if further.startswith("/"):
            return True
        waiting.extend(_parts(further))
    return False


def _parts(target: str) -> list[str]:
    """What is to be gone through, the next one last."""
    return [part for part in reversed(target.split("/")) if part not in ("", ".")]


def is_in_repository(path: str) -> bool:
    """Return whether a path is a git repository's own folder or in it, also where a file system takes another
    spelling for it: whoever writes there chooses programs that git runs."""
    return any(_folded(part) in (".git", "git~1") for part in path.split("/"))


def _folded(name: str) -> str:
    seen = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return seen.rstrip(". ").casefold() if seen.casefold().startswith((".git", "git~")) else seen
