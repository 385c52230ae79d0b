"""`remit apply`: land a result in the folder it came from, wholly or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remit.cli.changes import Change, digest_of, unpack
from remit.cli.failure import CommandFailed

CONFLICTS_NAMED_MAX = 20
STAGING_PREFIX = ".remit-apply-"


@dataclass(frozen=True, kw_only=True)
class Landing:
    """What is to be done in a folder. `conflicts` say why it cannot be."""

    folder: Path
    steps: tuple[Change, ...]
    done: tuple[Change, ...]
    """Already as the result has them."""
    conflicts: tuple[str, ...]


def plan_landing(folder: Path, changes: Sequence[Change]) -> Landing:
    """Compare the folder with what the changes were made from. Reads only."""
    steps: list[Change] = []
    done: list[Change] = []
    conflicts: list[str] = []
    for change in changes:
        obstacle = _obstacle(folder, change.path)
        current = None if obstacle else digest_of(folder / change.path)
        if obstacle is not None:
            conflicts.append(f"{change.path}: {obstacle}")
        elif current == change.after and _has_mode(folder / change.path, change):
            done.append(change)
        elif current in _expected(change):
            steps.append(change)
        else:
            conflicts.append(f"{change.path}: {_moved_on(change, is_there=current is not None)}")
    return Landing(folder=folder, steps=tuple(steps), done=tuple(done), conflicts=tuple(conflicts))


def land(landing: Landing, archive: Path) -> None:
    """Carry the plan out: everything is staged and checked first, each file is then put in place atomically, and a
    failure puts back what was there. Raises CommandFailed; the folder is then as it was."""
    if landing.conflicts:
        raise _conflict(landing)
    try:
        staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=landing.folder))
    except OSError as error:
        raise CommandFailed(
            f"Nothing can be written to {str(landing.folder)!r}: {error.strerror}."
        ) from error
    try:
        new, old = staging / "new", staging / "old"
        new.mkdir()
        old.mkdir()
        unpack(archive, [*landing.steps, *landing.done], new)
        _swap(landing, new, old)
    finally:
        shutil.rmtree(staging)


def _swap(landing: Landing, new: Path, old: Path) -> None:
    undo: list[tuple[Path, Path | None]] = []
    made_folders: list[Path] = []
    try:
        for number, change in enumerate(landing.steps):
            target = landing.folder / change.path
            # Once more, as late as can be: someone may be working here.
            if _obstacle(landing.folder, change.path) or digest_of(target) not in _expected(change):
                raise CommandFailed(f"{change.path!r} changed while the result was being applied.")
            made_folders.extend(_make_parents(target))
            backup: Path | None = None
            if target.is_symlink() or target.exists():
                backup = old / str(number)
                # A link or copy keeps the path filled: readers see the old file or the new one, never none.
                _keep(target, backup)
            undo.append((target, backup))
            if change.kind == "removed":
                target.unlink()
            else:
                (new / change.path).replace(target)
    except (OSError, CommandFailed) as error:
        _put_back(undo, made_folders)
        reason = error.message if isinstance(error, CommandFailed) else f"{error.strerror}: {error.filename}"
        raise CommandFailed(f"The result was not applied, the folder is as it was: {reason}") from error


def _expected(change: Change) -> tuple[str | None, str | None]:
    return change.before, change.after


def _has_mode(path: Path, change: Change) -> bool:
    """A change may be of the permission bits alone."""
    if change.kind == "removed" or path.is_symlink():
        return True
    return path.stat().st_mode & 0o777 == change.mode


def _keep(target: Path, backup: Path) -> None:
    if target.is_symlink():
        backup.symlink_to(target.readlink())
    else:
        shutil.copy2(target, backup)


def _put_back(undo: Sequence[tuple[Path, Path | None]], made_folders: Sequence[Path]) -> None:
    for target, backup in reversed(undo):
        if backup is None:
            target.unlink(missing_ok=True)
        elif backup.is_symlink() or backup.exists():
            backup.replace(target)
    for folder in reversed(made_folders):
        folder.rmdir()


def _make_parents(target: Path) -> list[Path]:
    missing: list[Path] = []
    folder = target.parent
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    missing.reverse()
    for folder in missing:
        folder.mkdir()
    return missing


def _obstacle(folder: Path, path: str) -> str | None:
    """What stands in the way above a path: nothing is written through a symlink, or where a file is."""
    parent = folder
    for part in path.split("/")[:-1]:
        parent = parent / part
        if parent.is_symlink():
            return f"{str(parent.relative_to(folder))!r} is a symlink here"
        if parent.exists() and not parent.is_dir():
            return f"{str(parent.relative_to(folder))!r} is not a folder here"
    target = folder / path
    if target.is_dir() and not target.is_symlink():
        return "is a folder here"
    if not os.access(parent if parent.exists() else folder, os.W_OK):
        return "its folder cannot be written to"
    return None


def _moved_on(change: Change, *, is_there: bool) -> str:
    match change.kind:
        case "added":
            return "the remit added it, and another one is here"
        case "modified":
            return "changed here since the remit began" if is_there else "removed here since the remit began"
        case "removed":
            return "the remit removed it, and it changed here since"


def _conflict(landing: Landing) -> CommandFailed:
    named = landing.conflicts[:CONFLICTS_NAMED_MAX]
    more = len(landing.conflicts) - len(named)
    lines = "\n".join(f"  {conflict}" for conflict in named) + (f"\n  and {more} more" if more else "")
    return CommandFailed(
        f"The folder {str(landing.folder)!r} has moved on; nothing was written. In conflict:\n{lines}",
        mend="Merge by hand from the result's folder (for git: `git apply --3way result.patch`), "
        "or give an unchanged copy of the input with --to.",
    )
