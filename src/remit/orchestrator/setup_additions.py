"""Additions of a command to a tree, told from the tree before and after it. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from remit.errors import SandboxUnavailable
from remit.values import Tree, TreeEntry, Value
from remit.wording import listed

PARTS_MAX = 256
SHOWN_MAX = 5
_LOCKS = re.compile(
    r"package\.json|package-lock\.json|npm-shrinkwrap\.json|bun\.lockb?|\.npmrc|\.yarnrc|\.nvmrc|\.python-version|setup\.py|go\.(?:mod|sum|work)"
    r"|composer\.json|Pipfile|Gemfile|Makefile|makefile|.+\.(?:txt|in|lock|toml|cfg|ya?ml|gemspec|exs|sh|bash)"
)
"""Rather too many: what is made anew in vain costs time, what is not made anew is wrong."""
_NOISE = re.compile(r"__pycache__|.+\.py[co]|\.pytest_cache|\.npm|\.DS_Store")
_DEPENDENCIES = frozenset({"node_modules", "vendor", ".yarn", ".pnpm-store"})
_RECORD = re.compile(r"(?P<site>.*)/[^/]+\.(?:dist|egg)-info$")
_LOCAL_RECORD = re.compile(r"[^/]+\.dist-info/direct_url\.json$|[^/]*__editable__[^/]*$|[^/]+\.egg-link$")


class Additions(Value, frozen=True, kw_only=True):
    """The entries that a command added, and notes on what else it did."""

    entries: tuple[TreeEntry, ...]
    """All that is new, sorted by path."""
    parts: tuple[str, ...]
    """The topmost new files and folders."""
    is_of_locks: bool
    """Nothing but what other people published: the same as long as lock files and manifests are."""
    notes: tuple[str, ...]


def is_lock_or_manifest(entry: TreeEntry, command: str = "") -> bool:
    """Return whether a file says which packages are wanted, or the command names it."""
    name = posixpath.basename(entry.path)
    return entry.kind == "file" and (_LOCKS.fullmatch(name) is not None or name in command)


def additions(before: Tree, after: Tree) -> Additions:
    """Raises SandboxUnavailable when there is more than can be put into a sandbox piece by piece."""
    known = {entry.path: entry for entry in before.entries}
    known_folders = {parent for path in known for parent in _parents(path)}
    there = {entry.path: entry for entry in after.entries}
    parts: list[str] = []
    links: list[str] = []
    for path, entry in there.items():
        parent = posixpath.dirname(path)
        if (
            path in known
            or path in known_folders
            or (parent and parent not in known and parent not in known_folders)
        ):
            continue
        if _NOISE.fullmatch(posixpath.basename(path)):
            continue
        (links if entry.kind == "symlink" else parts).append(path)
    if len(parts) > PARTS_MAX:
        raise SandboxUnavailable(
            f"the setup command adds {len(parts):,} single files and folders to folders of the input ({listed(parts, SHOWN_MAX)}); at "
            f"most {PARTS_MAX} can be kept: let it put them into a folder of their own"
        )
    tops = tuple(f"{part}/" for part in parts)
    entries = (
        tuple(entry for path, entry in sorted(there.items()) if path in set(parts) or path.startswith(tops))
        if parts
        else ()
    )
    changed = sorted(
        path for path, entry in known.items() if entry.kind != "dir" and _differs(entry, there.get(path))
    )
    notes = (
        [f"the setup adds {listed(parts, SHOWN_MAX)}: read-only for the agent and the verifiers"]
        if parts
        else ["the setup adds nothing to the working tree"]
    )
    if changed:
        notes.append(f"what the setup changed stays as it was given: {listed(changed, SHOWN_MAX)}")
    if links:
        notes.append(
            f"links that the setup made beside the input's files are left out: {listed(links, SHOWN_MAX)}"
        )
    return Additions(
        entries=entries,
        parts=tuple(parts),
        is_of_locks=all(_is_published(part, there) for part in parts) and not _has_own_project(entries),
        notes=tuple(notes),
    )


def without_place(path: str, part: str) -> str | None:
    """The folder below a part in which a record of an installed distribution lies; None: this is none."""
    if path != part and not path.startswith(f"{part}/"):
        return None
    found = _RECORD.fullmatch(path)
    return found["site"] if found else None


def _parents(path: str) -> Sequence[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _differs(before: TreeEntry, after: TreeEntry | None) -> bool:
    return after is None or (after.kind, after.sha256, after.target) != (
        before.kind,
        before.sha256,
        before.target,
    )


def _is_published(part: str, there: Mapping[str, TreeEntry]) -> bool:
    name = posixpath.basename(part)
    if name in _DEPENDENCIES or f"{part}/pyvenv.cfg" in there:
        return True
    return any(without_place(path, part) is not None for path in there)


def _has_own_project(entries: Sequence[TreeEntry]) -> bool:
    """Whether a project of the input itself was installed."""
    return any(_LOCAL_RECORD.search(entry.path) for entry in entries)
