"""`remit apply`: what is to be done in the folder a result came from, and what stands in the way."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from remit.cli.beneath import FOLDER, Beneath, Obstacle
from remit.cli.failure import CommandFailed
from remit.cli.swap import NotPutBack, Swap
from remit.client.folders.changes import FileChange, FolderChange, unpack
from remit.client.tree_links import leads_out
from remit.hidden import on_one_line

CONFLICTS_NAMED_MAX = 20
STAGING_PREFIX = ".remit-apply-"


@dataclass(frozen=True, kw_only=True)
class ApplyPlan:
    """The steps that are to be taken in a folder. `conflicts` say why they cannot be."""

    folder: Path
    steps: tuple[FileChange, ...]
    done: tuple[FileChange, ...]
    """Already as the result has them."""
    conflicts: tuple[str, ...]
    folders: tuple[FolderChange, ...] = ()
    """What is to be done with folders themselves."""


def plan_changes(
    folder: Path, changes: Sequence[FileChange], folders: Sequence[FolderChange] = ()
) -> ApplyPlan:
    """Compare the folder with what the changes were made from. Reads only."""
    look = _Look(folder, changes, folders)
    steps: list[FileChange] = []
    done: list[FileChange] = []
    conflicts: list[str] = []
    for change in changes:
        try:
            obstacle = look.obstacle(change)
            current = None if obstacle else look.current(change)
        except OSError as error:
            obstacle, current = f"cannot be read here: {error.strerror or error}", None
        if obstacle is not None:
            conflicts.append(f"{on_one_line(change.path)}: {obstacle}")
        elif current == change.after and look.has_mode(change):
            done.append(change)
        elif current in (change.before, change.after):
            steps.append(change)
        else:
            conflicts.append(f"{on_one_line(change.path)}: {_moved_on(change, is_there=current is not None)}")
    return ApplyPlan(
        folder=folder,
        steps=tuple(steps),
        done=tuple(done),
        conflicts=tuple(conflicts),
        folders=tuple(one for one in folders if look.is_to_be_done(one)),
    )


def apply_changes(plan: ApplyPlan, archive: Path) -> tuple[str, ...]:
    """Carry the plan out: everything is staged and checked first, each file is then put in place atomically, and a
    failure puts back what was there. Gives what could not be kept as it was. Raises CommandFailed; the folder is then
    as it was."""
    if plan.conflicts:
        raise _conflict(plan)
    try:
        staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=plan.folder))
    except OSError as error:
        raise CommandFailed(f"Nothing can be written to {str(plan.folder)!r}: {error.strerror}.") from error
    is_to_be_kept = False
    try:
        new, old = staging / "new", staging / "old"
        changes = [*plan.steps, *plan.done]
        try:
            new.mkdir()
            old.mkdir()
            unpack(archive, changes, new)
        except OSError as error:
            raise CommandFailed(f"The result was not applied, the folder is as it was: {error}.") from error
        notes = Swap(plan.folder, new, old).carry_out(plan.steps, plan.folders)
        shutil.rmtree(staging, ignore_errors=True)
        left = (
            (f"{str(staging)!r} could not be removed; it is not needed any more",) if staging.exists() else ()
        )
        return (*notes, *left)
    except NotPutBack as error:
        is_to_be_kept = True
        raise CommandFailed(
            error.message, mend=f"What was there is kept in {str(staging / 'old')!r}."
        ) from error
    finally:
        if not is_to_be_kept:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def signals_wait() -> Generator[None]:
    """Let whoever ends the command while a result is put in its place (a closed terminal, `kill`) end it when
    all is in its place: it is the matter of a moment."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


class _Look:
    """Looks at the folder as the result would find it."""

    def __init__(self, folder: Path, changes: Sequence[FileChange], folders: Sequence[FolderChange]) -> None:
        self._beneath = Beneath(folder)
        self._by_path = {change.path: change for change in changes}
        self._removed = {change.path for change in changes if change.kind == "removed"}
        self._folders = {one.path for one in folders if one.kind != "removed"}
        for change in changes:
            if change.kind != "removed":
                self._folders.update(str(above) for above in PurePosixPath(change.path).parents)

    def current(self, change: FileChange) -> str | None:
        """What stands there; a folder that the result empties, or has put there, is nothing."""
        digest = self._beneath.digest(change.path)
        return None if digest == FOLDER else digest

    def has_mode(self, change: FileChange) -> bool:
        """A change may be of the permission bits alone."""
        if change.kind == "removed" or change.target is not None:
            return True
        if change.before_mode == change.mode and change.before != change.after:
            return True  # the contents alone were changed, and are here: its permissions are the folder's own affair
        found = self._beneath.status(change.path)
        return found is not None and found.st_mode & 0o777 == change.mode

    def obstacle(self, change: FileChange) -> str | None:
        """What stands in the way: nothing is written through a symlink, or where a file is that stays."""
        try:
            with self._beneath.parent(change.path) as (folder, name):
                is_writable = os.access(".", os.W_OK | os.X_OK, dir_fd=folder)
                mode = _mode_at(folder, name)
        except FileNotFoundError:
            is_writable, mode = self._is_next_writable(change.path), None
        except Obstacle as error:
            if change.kind != "removed" and error.path not in self._removed:
                return f"{error.path!r} {error.what}"
            return None
        if mode is not None and stat.S_ISDIR(mode):
            if change.kind == "removed":
                return None if change.path in self._folders else "is a folder here"
            if (kept := self._first_kept(change.path)) is not None:
                return f"is a folder here, and {kept!r} in it is not the result's to remove"
        if not is_writable:
            return "its folder cannot be written to (`chmod u+wx` lets it, where that is meant)"
        if change.target is not None and leads_out(change.path, change.target, self._target):
            return f"is a symlink to {change.target!r}, which points outside the folder"
        return None

    def _is_next_writable(self, path: str) -> bool:
        """Whether the nearest folder above that is there can be written to."""
        while path := path.rpartition("/")[0]:
            found = self._beneath.status(path)
            if found is not None:
                with self._beneath.parent(path) as (folder, name):
                    return os.access(name, os.W_OK | os.X_OK, dir_fd=folder, follow_symlinks=False)
        return os.access(self._beneath.folder, os.W_OK | os.X_OK)

    def _first_kept(self, folder: str) -> str | None:
        """Something below a folder that would stay when the result's removals are done."""
        for name in self._beneath.names(folder):
            path = f"{folder}/{name}"
            found = self._beneath.status(path)
            if found is None or path in self._removed:
                continue
            if not stat.S_ISDIR(found.st_mode):
                return path
            if (kept := self._first_kept(path)) is not None:
                return kept
        return None

    def _target(self, path: str) -> str | None:
        """Of the symlink that will stand there."""
        change = self._by_path.get(path)
        return change.target if change is not None else self._beneath.target(path)

    def is_to_be_done(self, change: FolderChange) -> bool:
        """Whether a folder is still other than the result has it."""
        found = self._beneath.status(change.path)
        is_folder = found is not None and stat.S_ISDIR(found.st_mode)
        if change.kind == "removed":
            return is_folder
        return not is_folder or found is None or found.st_mode & 0o777 != change.mode


def _mode_at(folder: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _moved_on(change: FileChange, *, is_there: bool) -> str:
    match change.kind:
        case "added":
            return "the remit added it, and another one is here"
        case "modified":
            return "changed here since the remit began" if is_there else "removed here since the remit began"
        case "removed":
            return "the remit removed it, and it changed here since"


def _conflict(plan: ApplyPlan) -> CommandFailed:
    named = plan.conflicts[:CONFLICTS_NAMED_MAX]
    more = len(plan.conflicts) - len(named)
    lines = "\n".join(f"  {conflict}" for conflict in named) + (f"\n  and {more} more" if more else "")
    return CommandFailed(
        f"The folder {str(plan.folder)!r} has moved on; nothing was written. In conflict:\n{lines}",
        mend="Merge by hand from the result's folder (for git: `git apply --3way result.patch`), "
        "or give an unchanged copy of the input with --to.",
    )
