"""Changes of a result to its input, and what of it is not handed over, by name. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from remit.client.tree_links import is_in_repository, leads_out
from remit.hidden import on_one_line
from remit.remits.events import ChangedFile, ChangedFolder
from remit.values import Tree, TreeEntry, Value

CACHE_FOLDERS = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})
"""New files in these are left out: what running the work leaves behind is not the work."""
NAMED_MAX = 5
PATH_SHOWN_MAX = 300


class Changes(Value, frozen=True, kw_only=True):
    """The changes that are handed over, and notes about the rest."""

    files: tuple[ChangedFile, ...]
    folders: tuple[ChangedFolder, ...]
    notes: tuple[str, ...]


def changes_between(base: Tree, result: Tree, ignored: frozenset[str]) -> Changes:
    """Files, symlinks and folders that differ. `ignored` are new files that git ignores."""
    notes = [*_unheld_notes(result)]
    files, left_out = without_leftovers(changed_files(base, result), ignored)
    if left_out:
        notes.append(f"{left_out} new files were left out: ignored by git, or in a cache folder")
    files, strays = without_strays(files, result)
    notes += [*strays, *_links_notes(files, result)]
    return Changes(
        files=files, folders=_changed_folders(base, result, {file.path for file in files}), notes=tuple(notes)
    )


def changed_files(base: Tree, result: Tree) -> tuple[ChangedFile, ...]:
    """Files and symlinks that differ, sorted by path. What the result could not hold is not taken for removed."""
    before = {entry.path: entry for entry in base.entries if entry.kind != "dir"}
    after = {entry.path: entry for entry in result.entries if entry.kind != "dir"}
    unheld = _Unheld(result)
    changed: list[ChangedFile] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if (new is None and unheld.may_hold(path)) or (old and new and _is_same(old, new)):
            continue
        changed.append(
            ChangedFile(
                path=path,
                kind="removed" if new is None else "added" if old is None else "modified",
                base_sha256=old.sha256 if old is not None else None,
                base_target=old.target if old is not None else None,
                base_mode=old.mode if old is not None else None,
                sha256=new.sha256 if new is not None else None,
                mode=new.mode if new is not None else None,
                target=new.target if new is not None else None,
            )
        )
    return tuple(changed)


def _is_same(old: TreeEntry, new: TreeEntry) -> bool:
    return (old.kind, old.mode, old.sha256, old.target) == (new.kind, new.mode, new.sha256, new.target)


class _Unheld:
    """What the result had and its tree does not: at such a path nothing was removed."""

    def __init__(self, result: Tree) -> None:
        held = {entry.path for entry in result.entries}  # without some of its bits or attributes, but there
        self._paths = {one.path.rstrip("/") for one in result.left_out if one.path not in held}
        self._is_more = result.left_out_more > 0

    def may_hold(self, path: str) -> bool:
        """Whether something may stand at this path, or above it."""
        if self._is_more or path in self._paths:
            return True
        parts = path.split("/")
        return any("/".join(parts[:count]) in self._paths for count in range(1, len(parts)))


def _unheld_notes(result: Tree) -> list[str]:
    if not result.left_out:
        return []
    count = len(result.left_out) + result.left_out_more
    named = ", ".join(f"{_short(one.path)} ({one.why})" for one in result.left_out[:NAMED_MAX])
    more = f" and {count - NAMED_MAX} more" if count > NAMED_MAX else ""
    notes = [f"left out, for a snapshot cannot hold it: {named}{more}"]
    if result.left_out_more:
        notes.append("so much was left out that no file is taken for removed")
    return notes


def _short(path: str) -> str:
    path = on_one_line(path)
    return path if len(path) <= PATH_SHOWN_MAX else f"{path[:PATH_SHOWN_MAX]}…"


def _changed_folders(base: Tree, result: Tree, changed: set[str]) -> tuple[ChangedFolder, ...]:
    """Without new folders that hold only what is left out."""
    before = {entry.path: entry.mode for entry in base.entries if entry.kind == "dir"}
    after = {entry.path: entry.mode for entry in result.entries if entry.kind == "dir"}
    unheld = _Unheld(result)
    filled = {path for entry in result.entries if entry.kind != "dir" for path in _above(entry.path)}
    handed = {path for one in changed for path in _above(one)}
    folders: list[ChangedFolder] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new or is_in_repository(path) or (new is None and unheld.may_hold(path)):
            continue
        is_left_out = path in filled and path not in handed
        if old is None and (is_left_out or CACHE_FOLDERS.intersection(path.split("/"))):
            continue
        kind = "removed" if new is None else "added" if old is None else "modified"
        folders.append(ChangedFolder(path=path, kind=kind, mode=new, base_mode=old))
    return tuple(folders)


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def without_leftovers(
    changed: tuple[ChangedFile, ...], ignored: frozenset[str]
) -> tuple[tuple[ChangedFile, ...], int]:
    """The changes without new files that git ignores or that lie in cache folders, and how many those were."""
    kept = tuple(
        file
        for file in changed
        if file.kind != "added"
        or not (file.path in ignored or CACHE_FOLDERS.intersection(file.path.split("/")[:-1]))
    )
    return kept, len(changed) - len(kept)


def without_strays(
    changed: tuple[ChangedFile, ...], result: Tree
) -> tuple[tuple[ChangedFile, ...], list[str]]:
    """The changes without what nobody lands, and what to say of it: symlinks that lead out of the folder (a virtual
    environment has some; elsewhere they would lead to something else), and repositories' own files (git runs programs
    that they name)."""
    targets = {entry.path: entry.target for entry in result.entries if entry.kind == "symlink"}
    own = [file.path for file in changed if is_in_repository(file.path)]
    leading_out = [
        file.path
        for file in changed
        if file.target is not None
        and not is_in_repository(file.path)
        and leads_out(file.path, file.target, targets.get)
    ]
    notes: list[str] = []
    if own:
        tops = list(dict.fromkeys(_repository_of(path) for path in own))
        notes.append(f"{len(own)} files of git's own were left out, nobody can land them: {_named(tops)}")
    if leading_out:
        notes.append(
            f"{len(leading_out)} symlinks were left out, for they lead out of the folder: {_named(leading_out)}"
        )
    strays = {*own, *leading_out}
    return tuple(file for file in changed if file.path not in strays), notes


def _links_notes(changed: Sequence[ChangedFile], result: Tree) -> list[str]:
    """Names of one file are handed over each with the content."""
    handed = {file.path for file in changed if file.kind != "removed"}
    groups = [paths for paths in result.links if len(paths) > 1 and handed.intersection(paths)]
    if not groups:
        return []
    shown = "; ".join(" = ".join(map(_short, paths[:NAMED_MAX])) for paths in groups[:NAMED_MAX])
    more = "; …" if len(groups) > NAMED_MAX else ""
    return [f"names of one file (hard links) are handed over as files of their own: {shown}{more}"]


def _repository_of(path: str) -> str:
    return next(above for above in (*_above(path), path) if is_in_repository(above))


def _named(paths: Sequence[str]) -> str:
    return ", ".join(map(_short, paths[:NAMED_MAX])) + (", …" if len(paths) > NAMED_MAX else "")
