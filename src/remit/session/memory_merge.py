"""The merge of a memory store and its folder in a sandbox: pure, by path and SHA-256.

Three sides: what both last agreed on, what is in the folder now, and what is in the store now. Who alone changed something
is followed. Where both did, the store wins, and the folder's text is kept aside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

NAME_BYTES_MAX = 255
"""No file system has longer names."""

Contents = Mapping[str, str]
"""SHA-256 of each text, by path."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """The store is to have the folder's text; None: it has none there yet."""

    path: str
    sha256: str
    before: str | None


@dataclass(frozen=True, kw_only=True)
class Rename:
    """The store is to have a memory at another path."""

    path: str
    before_path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Remove:
    """The store is to lose a memory."""

    path: str
    before: str


@dataclass(frozen=True, kw_only=True)
class Take:
    """The folder is to have the store's text, or none."""

    path: str
    sha256: str | None
    before: str | None
    """What is in the folder."""
    is_conflict: bool
    """The folder was changed too."""


@dataclass(frozen=True)
class Merge:
    """The steps that are to be taken, in this order, and what both agree on already."""

    removes: list[Remove] = field(default_factory=list[Remove])
    renames: list[Rename] = field(default_factory=list[Rename])
    writes: list[Write] = field(default_factory=list[Write])
    takes: list[Take] = field(default_factory=list[Take])
    """What goes before what comes, so that a folder can make room for a file."""
    agreed: dict[str, str | None] = field(default_factory=dict[str, str | None])


def merge(agreed: Contents, folder: Contents, store: Contents, *, leaving: Collection[str]) -> Merge:
    """Decide for every path but those that are left as they are."""
    found = Merge()
    for path in sorted((agreed.keys() | folder.keys() | store.keys()) - set(leaving)):
        before, ours, theirs = agreed.get(path), folder.get(path), store.get(path)
        if ours == theirs:
            if before != ours:
                found.agreed[path] = ours
        elif theirs != before:
            found.takes.append(Take(path=path, sha256=theirs, before=ours, is_conflict=ours != before))
        elif ours is not None:
            found.writes.append(Write(path=path, sha256=ours, before=theirs))
        elif theirs is not None:
            found.removes.append(Remove(path=path, before=theirs))
    _find_renames(found)
    found.takes.sort(key=lambda take: take.sha256 is not None)
    return found


def _find_renames(found: Merge) -> None:
    gone: dict[str, list[Remove]] = {}
    for remove in found.removes:
        gone.setdefault(remove.before, []).append(remove)
    for write in list(found.writes):
        if write.before is None and (same := gone.get(write.sha256)):
            remove = same.pop(0)
            found.removes.remove(remove)
            found.writes.remove(write)
            found.renames.append(Rename(path=write.path, before_path=remove.path, sha256=write.sha256))


def unfit_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return the paths of a store that cannot be files of one folder, each with the reason."""
    unfit: dict[str, str] = {}
    taken = set[str]()
    for path in sorted(paths):
        parts = path.split("/")
        above = next((a for n in range(2, len(parts)) if (a := "/".join(parts[:n])) in taken), None)
        if above is not None:
            unfit[path] = f"{above} is a memory, so it cannot be a folder as well"
        elif any(len(part.encode()) > NAME_BYTES_MAX for part in parts):
            unfit[path] = f"has a name of more than {NAME_BYTES_MAX} bytes, which no file system holds"
        else:
            taken.add(path)
    return unfit
