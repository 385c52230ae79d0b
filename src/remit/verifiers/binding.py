"""Paths of a verification tree that are bound read-only. Pure.

A bind of one file leaves its folder open for what a suite writes beside its fixtures; a bind of a whole folder is one
mount for thousands of files. So files are bound one by one as long as they are few.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator

from remit.values import Tree

SINGLE_BINDS_MAX = 300
"""A thousand cost a second."""


def read_only_paths(tree: Tree, protected: Iterable[str], busy: Collection[str]) -> tuple[str, ...]:
    """Choose the files, and where they are many the whole folders, to bind. `busy`: what the command itself wrote, made or
    removed on the untouched input; that is left writable, with every folder above it."""
    kinds = {entry.path: entry.kind for entry in tree.entries}
    files = [path for path in sorted(protected) if kinds.get(path) == "file" and path not in busy]
    if len(files) <= SINGLE_BINDS_MAX:
        return tuple(files)
    open_folders = {folder for path in busy for folder in _folders_above(path)} | set(busy)
    guarded = set(files)
    for path, kind in kinds.items():
        if kind == "file" and path not in guarded:
            open_folders.update(_folders_above(path))
    whole = _topmost(path for path, kind in kinds.items() if kind == "dir" and path not in open_folders)
    counts = dict.fromkeys(whole, 0)
    owner: dict[str, str] = {}
    for path in files:
        folder = next((above for above in _folders_above(path) if above in counts), None)
        if folder is not None:
            owner[path] = folder
            counts[folder] += 1
    singles, chosen = len(files), set[str]()
    for folder in sorted(whole, key=lambda each: (-counts[each], each)):
        if singles <= SINGLE_BINDS_MAX or counts[folder] < 2:
            break
        chosen.add(folder)
        singles -= counts[folder] - 1
    return tuple(sorted([*chosen, *(path for path in files if owner.get(path) not in chosen)]))


def _topmost(folders: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for folder in sorted(folders):
        if not any(above in found for above in _folders_above(folder)):
            found.add(folder)
    return found


def _folders_above(path: str) -> Iterator[str]:
    """From the top down."""
    parts = posixpath.dirname(path).split("/")
    for count in range(1, len(parts) + 1):
        if parts[0]:
            yield "/".join(parts[:count])
