"""Evidence of the work for a grader: every changed file by name, and their contents as far as they fit."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from remit.interfaces import BlobReader
from remit.values import Tree, TreeEntry

FILES_NAMED_MAX = 500
FILES_SHOWN_MAX = 60
FILE_BYTES_MAX = 1 << 20
"""Larger files are named with their size, never read."""
FILE_CHARACTERS_MAX = 30_000
SHOWN_CHARACTERS_MAX = 120_000
OUTPUTS = "/mnt/session/outputs"


@dataclass(frozen=True)
class TreeChange:
    """One file that the work added, changed or removed."""

    path: str
    kind: Literal["added", "modified", "removed"]
    before: TreeEntry | None
    after: TreeEntry | None


@dataclass(frozen=True)
class GraderEvidence:
    """Text for the grader, and whether it is all there is."""

    manifest: str
    contents: str
    files_changed: int
    files_shown: int
    is_whole: bool


def with_outputs(tree: Tree, outputs: Tree) -> Tree:
    """The working tree and what was left to be handed over, under its own path."""
    handed = [msgspec.structs.replace(entry, path=f"{OUTPUTS}/{entry.path}") for entry in outputs.entries]
    return Tree(entries=(*tree.entries, *handed))


def changes(before: Tree, after: Tree) -> tuple[TreeChange, ...]:
    """Return the differences in content, kind or mode, by path; folders are left out."""
    old = {entry.path: entry for entry in before.entries if entry.kind != "dir"}
    new = {entry.path: entry for entry in after.entries if entry.kind != "dir"}
    found: list[TreeChange] = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        if was is None:
            found.append(TreeChange(path, "added", None, now))
        elif now is None:
            found.append(TreeChange(path, "removed", was, None))
        elif (was.kind, was.sha256, was.target, was.mode) != (now.kind, now.sha256, now.target, now.mode):
            found.append(TreeChange(path, "modified", was, now))
    return tuple(found)


async def gather_evidence(blobs: BlobReader, before: Tree, after: Tree) -> GraderEvidence:
    """Added files whole, changed ones as a diff, smallest first so that one large file does not hide the rest."""
    changed = changes(before, after)
    room = SHOWN_CHARACTERS_MAX
    sections: dict[str, str] = {}
    is_whole = len(changed) <= FILES_NAMED_MAX
    for change in sorted(changed, key=_size):
        if change.kind == "removed":
            continue
        text, is_cut = await _section(blobs, change)
        if len(sections) >= FILES_SHOWN_MAX or len(text) > room:
            is_whole = False
            continue
        is_whole = is_whole and not is_cut
        sections[change.path] = text
        room -= len(text)
    return GraderEvidence(
        manifest=_manifest(changed, sections),
        contents="\n\n".join(sections[path] for path in sorted(sections)),
        files_changed=len(changed),
        files_shown=len(sections),
        is_whole=is_whole,
    )


def _size(change: TreeChange) -> int:
    return change.after.size if change.after is not None else 0


def _manifest(changed: Sequence[TreeChange], sections: dict[str, str]) -> str:
    if not changed:
        return "(nothing was changed)"
    lines: list[str] = []
    for change in changed[:FILES_NAMED_MAX]:
        size = f" {_size(change):,} bytes" if change.after is not None else ""
        hidden = "" if change.kind == "removed" or change.path in sections else " (not shown)"
        lines.append(f"{change.kind} {change.path}{size}{hidden}")
    if len(changed) > FILES_NAMED_MAX:
        lines.append(f"… and {len(changed) - FILES_NAMED_MAX} more files (not shown)")
    return "\n".join(lines)


async def _section(blobs: BlobReader, change: TreeChange) -> tuple[str, bool]:
    """How one file is shown, and whether something of it is left out."""
    after = change.after
    assert after is not None
    if after.kind == "symlink":
        return f"=== {change.path} (link to {after.target})", False
    now = await _text(blobs, after)
    if now is None:
        return f"=== {change.path} ({after.size:,} bytes, not text or too large to show)", True
    was = await _text(blobs, change.before) if change.before is not None else None
    if was is None:
        head, body = f"=== {change.path} (whole file)", now
    else:
        head = f"=== {change.path} (changes)"
        body = "\n".join(difflib.unified_diff(was.splitlines(), now.splitlines(), lineterm="", n=10))
        body = body or f"(only its mode changed, to {after.mode:o})"
    if len(body) <= FILE_CHARACTERS_MAX:
        return f"{head}\n{body}", False
    left_out = len(body) - FILE_CHARACTERS_MAX
    return f"{head}\n{body[:FILE_CHARACTERS_MAX]}\n[{left_out:,} characters of this file are not shown]", True


async def _text(blobs: BlobReader, entry: TreeEntry) -> str | None:
    if entry.kind != "file" or entry.sha256 is None or entry.size > FILE_BYTES_MAX:
        return None
    content = await blobs.read(entry.sha256)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text
