"""Folders by their contents."""

from __future__ import annotations

from typing import Literal

import msgspec

from remit.values.value import Value


class TreeEntry(Value, frozen=True, kw_only=True):
    """One path of a tree. Paths are relative, `/`-separated, without `.` or `..`."""

    path: str
    kind: Literal["file", "dir", "symlink"]
    mode: int = 0o644
    """Permission bits; setuid, setgid and sticky are dropped."""
    size: int = 0
    mtime_ns: int = 0
    sha256: str | None = None
    """Of a file's content."""
    target: str | None = None
    """Of a symlink."""


class LeftOut(Value, frozen=True, kw_only=True):
    """An entry that a tree cannot hold, or holds otherwise than it was."""

    path: str
    """As text: what is not UTF-8 is written with escapes."""
    why: str


class Tree(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot of files: entries sorted by path. Its id is the sha256 of `encode()`; contents are blobs."""

    entries: tuple[TreeEntry, ...]
    links: tuple[tuple[str, ...], ...] = ()
    """Hard links: the paths, two or more, that are one file. Their entries are equal but for the path."""
    left_out: tuple[LeftOut, ...] = ()
    """What was there and is not in this tree, the first so many."""
    left_out_more: int = 0
    """How many more there were."""

    def encode(self) -> bytes:
        """Canonical bytes, stored as a blob."""
        return msgspec.json.encode(self)


class ReadOnlyTree(Value, frozen=True, kw_only=True):
    """A tree put read-only into the sandbox at an absolute path (a history at /workspace/.git, an upload)."""

    path: str
    tree_digest: str
    part: str | None = None
    """Only this folder or file of the tree; None: all of it."""
    scratch: tuple[str, ...] = ()
    """Folders below the path, empty in the tree, that every sandbox has for itself and may write."""
    outlives_server: bool = False
    """The folder that is made of it may stay for the next server: it holds nothing of a session's own."""
