"""The input's entries by path, with the links between them. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from remit.values import Tree, TreeEntry

_ROOT = "/workspace/"
_LINKS_MAX = 40
"""As many symlinks are followed for one path as Linux would."""
_FOLDER_MODE = 0o755


class InputTree:
    """Entries by path, with the folders that a tree need not name."""

    def __init__(self, tree: Tree) -> None:
        self.entries = {entry.path: entry for entry in tree.entries}
        complete_folders(self.entries, {})

    def files(self) -> list[str]:
        """Paths of files and links."""
        return [path for path, entry in self.entries.items() if entry.kind != "dir"]

    def folders(self) -> list[str]:
        """Paths of folders."""
        return [path for path, entry in self.entries.items() if entry.kind == "dir"]

    def is_file(self, path: str) -> bool:
        """Return whether this is a path of a file itself, no link."""
        entry = self.entries.get(path)
        return entry is not None and entry.kind == "file"

    def through(self, link: str) -> Iterator[tuple[str, str]]:
        """(path by the link, real path) of what lies behind a link to a folder."""
        real = self.real(link)
        if real is None or self.entries[real].kind != "dir" or link.startswith(f"{real}/"):
            return
        for path, entry in self.entries.items():
            if path.startswith(f"{real}/") and entry.kind != "dir":
                yield f"{link}/{path.removeprefix(f'{real}/')}", path

    def reach(self, path: str, why: str, reasons: dict[str, str]) -> None:
        """Note the path, every link on the way, and what it leads to."""
        if path in self.entries:
            reasons.setdefault(path, why)
        links: list[str] = []
        real = self.real(path, links)
        for link in links:
            reasons.setdefault(link, why)
        if real is not None and self.entries[real].kind == "file":
            reasons.setdefault(real, why if real == path else f"reached through {path}, {why}")

    def real(self, path: str, links: list[str] | None = None) -> str | None:
        """The real path inside the tree, or None when it leads out of the tree or nowhere. Links passed are collected."""
        todo = path.split("/")[::-1]
        passed: list[str] = links if links is not None else []
        at: list[str] = []
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    return None
                at.pop()
                continue
            here = "/".join([*at, part])
            entry = self.entries.get(here)
            if entry is None:
                return None
            if entry.kind != "symlink":
                at.append(part)
                continue
            passed.append(here)
            if len(passed) > _LINKS_MAX:
                return None
            target = entry.target or ""
            if target.startswith("/"):
                normal = posixpath.normpath(target)
                if not f"{normal}/".startswith(_ROOT):
                    return None
                at = []
                target = normal.removeprefix(_ROOT.rstrip("/"))
            todo.extend(target.split("/")[::-1])
        return "/".join(at) or None


def complete_folders(kept: dict[str, TreeEntry], known: Mapping[str, TreeEntry]) -> None:
    """Add the folders above each path, as they are known or with the usual mode."""
    for path in list(kept):
        for folder in folders_above(path):
            if folder not in kept:
                entry = known.get(folder)
                is_folder = entry is not None and entry.kind == "dir"
                kept[folder] = (
                    entry
                    if is_folder and entry is not None
                    else TreeEntry(path=folder, kind="dir", mode=_FOLDER_MODE)
                )


def folders_above(path: str) -> Iterator[str]:
    """The folders above a path, from the root on."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def is_same(one: TreeEntry, other: TreeEntry | None) -> bool:
    """Return whether both are the same in kind, content, target and mode."""
    return (
        other is not None
        and one.kind == other.kind
        and one.sha256 == other.sha256
        and one.target == other.target
        and (one.kind == "symlink" or one.mode == other.mode)
    )
