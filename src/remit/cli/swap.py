"""Putting staged files in the place of others, wholly or not at all. Every step notes how it is undone before the next
one is taken; what is replaced or removed is moved aside, so that it comes back with everything it had."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from remit.cli.beneath import FOLDER, Beneath, Obstacle
from remit.cli.failure import CommandFailed
from remit.client.folders.changes import FileChange, FolderChange
from remit.errors import LocalFailure
from remit.hidden import on_one_line

_PRIVILEGES = stat.S_ISUID | stat.S_ISGID
_PRIVILEGE_ATTRIBUTE = "security.capability"


class NotPutBack(Exception):
    """A failure, and then something could not be put back."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Swap:
    """One application of a result. `new` holds the staged files, `old` takes what was there; both are in the folder."""

    def __init__(self, folder: Path, new: Path, old: Path) -> None:
        self._beneath = Beneath(folder)
        self._folder = folder
        self._new = new
        self._old = old
        self._undo: list[Callable[[], None]] = []
        self._notes: list[str] = []

    def carry_out(self, steps: Sequence[FileChange], folders: Sequence[FolderChange]) -> tuple[str, ...]:
        """Do everything, removals first. Gives what could not be kept. Raises CommandFailed, NotPutBack."""
        writes = [step for step in steps if step.kind != "removed"]
        try:
            self._dress(writes)
            for step in steps:
                if step.kind == "removed":
                    self._remove(step)
            for folder in sorted(folders, key=lambda one: one.path, reverse=True):
                if folder.kind == "removed":
                    self._remove_folder(folder.path)
            for step in writes:
                self._clear(step)
            for folder in sorted(folders, key=lambda one: one.path):
                if folder.kind != "removed":
                    self._make_folders(f"{folder.path}/")
            for step in writes:
                self._make_folders(step.path)
                self._put(step)
            for folder in sorted(folders, key=lambda one: one.path, reverse=True):
                if folder.kind != "removed":
                    self._set_mode(folder)
        except (OSError, LocalFailure) as error:
            reason = error.message if isinstance(error, LocalFailure) else _reason(error)
            self._put_back(reason)
            raise CommandFailed(f"The result was not applied, the folder is as it was: {reason}") from error
        except BaseException:
            self._put_back("it was interrupted")
            raise
        return tuple(map(on_one_line, self._notes))

    # ---------------------------------------------------------------------------------------- what is staged

    def _dress(self, writes: Sequence[FileChange]) -> None:
        """Give the staged files what those that they replace have: owner, permissions, attributes, names."""
        names: dict[tuple[int, int], list[FileChange]] = {}
        counts: dict[tuple[int, int], int] = {}
        for step in writes:
            found = self._beneath.status(step.path)
            self._own(self._new / step.path, step.path, found)
            if step.target is not None:
                continue
            is_file = found is not None and stat.S_ISREG(found.st_mode)
            mode = step.mode
            if found is not None and is_file:
                self._copy_attributes(step.path)
                if step.before_mode == step.mode:
                    mode = found.st_mode & 0o777
                if found.st_mode & _PRIVILEGES:
                    self._notes.append(f"{step.path}: its set-user-ID or set-group-ID bit was taken away")
                if found.st_nlink > 1:
                    names.setdefault((found.st_dev, found.st_ino), []).append(step)
                    counts[found.st_dev, found.st_ino] = found.st_nlink
            (self._new / step.path).chmod(mode)
        for inode, same in names.items():
            self._link(same, counts[inode])

    def _own(self, staged: Path, path: str, found: os.stat_result | None) -> None:
        made = staged.lstat()
        if found is None and os.geteuid() != 0:
            return
        model = found if found is not None else self._nearest(path)
        if (made.st_uid, made.st_gid) == (model.st_uid, model.st_gid):
            return
        for uid, gid in ((model.st_uid, model.st_gid), (-1, model.st_gid)):
            with suppress(OSError):
                os.chown(staged, uid, gid, follow_symlinks=False)
                break
        made = staged.lstat()
        if (made.st_uid, made.st_gid) != (model.st_uid, model.st_gid):
            self._notes.append(
                f"{path}: belongs to {made.st_uid}:{made.st_gid} now, no longer to {model.st_uid}:{model.st_gid}"
            )

    def _nearest(self, path: str) -> os.stat_result:
        """Of the nearest folder above that is there: what root adds belongs to whose folder it is."""
        while path := path.rpartition("/")[0]:
            found = self._beneath.status(path)
            if found is not None and stat.S_ISDIR(found.st_mode):
                return found
        return self._folder.stat()

    def _copy_attributes(self, path: str) -> None:
        if not hasattr(os, "listxattr"):
            return
        with self._beneath.parent(path) as (folder, name):
            there = f"/proc/self/fd/{folder}/{name}"
            with suppress(OSError):
                for attribute in os.listxattr(there, follow_symlinks=False):
                    if attribute == _PRIVILEGE_ATTRIBUTE:
                        self._notes.append(f"{path}: its capabilities were taken away")
                        continue
                    try:
                        value = os.getxattr(there, attribute, follow_symlinks=False)
                        os.setxattr(self._new / path, attribute, value, follow_symlinks=False)
                    except OSError:
                        self._notes.append(f"{path}: its attribute {attribute!r} could not be kept")

    def _link(self, same: Sequence[FileChange], names: int) -> None:
        """Files that are one file stay one where all its names are here and become the same."""
        first, *others = same
        if len(same) == names and all((o.after, o.mode) == (first.after, first.mode) for o in others):
            for other in others:
                (self._new / other.path).unlink()
                os.link(self._new / first.path, self._new / other.path)
            return
        for step in same:
            self._notes.append(
                f"{step.path}: was one of {names} names of a file (hard links) and is a file of its own now"
            )

    # ----------------------------------------------------------------------------------------- what is done

    def _aside(self, path: str) -> None:
        """Move what is there out of the way."""
        kept = self._old / str(len(self._undo))
        with self._beneath.parent(path) as (folder, name):
            try:
                os.rename(name, kept, src_dir_fd=folder)
            except PermissionError:
                self._remove_shut(path, folder, name)
                return

        def back() -> None:
            with self._beneath.parent(path) as (folder, name):
                os.rename(kept, name, dst_dir_fd=folder)

        self._undo.append(back)

    def _remove_shut(self, path: str, folder: int, name: str) -> None:
        """An empty folder that may not be written to can be removed, and not be moved elsewhere."""
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        os.rmdir(name, dir_fd=folder)

        def back() -> None:
            with self._beneath.parent(path) as (folder, name):
                os.mkdir(name, dir_fd=folder)
            self._chmod(path, stat.S_IMODE(found.st_mode))

        self._undo.append(back)

    def _check(self, step: FileChange) -> str | None:
        """What stands there, once more, as late as can be: someone may be working here."""
        current = self._beneath.digest(step.path)
        if current not in (step.before, step.after):
            raise CommandFailed(f"{step.path!r} changed while the result was being applied.")
        return current

    def _remove(self, step: FileChange) -> None:
        if self._beneath.digest(step.path) != FOLDER and self._check(step) is not None:
            self._aside(step.path)

    def _remove_folder(self, path: str) -> None:
        """Where nothing is in it any more; what git ignores may be."""
        if self._beneath.digest(path) == FOLDER and not self._beneath.names(path):
            self._aside(path)

    def _clear(self, step: FileChange) -> None:
        """A folder that stands where a file goes: only empty ones may be below it by now."""
        if self._beneath.digest(step.path) != FOLDER:
            return
        if (kept := self._first_file(step.path)) is not None:
            raise CommandFailed(f"{kept!r} came while the result was being applied.")
        self._aside(step.path)

    def _first_file(self, folder: str) -> str | None:
        for name in self._beneath.names(folder):
            path = f"{folder}/{name}"
            found = path if self._beneath.digest(path) != FOLDER else self._first_file(path)
            if found is not None:
                return found
        return None

    def _make_folders(self, path: str) -> None:
        """Those above a path."""
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            above = "/".join(parts[:count])
            if self._beneath.status(above) is None:
                self._make_folder(above)

    def _make_folder(self, path: str) -> None:
        with self._beneath.parent(path) as (folder, name):
            os.mkdir(name, dir_fd=folder)
            self._undo.append(lambda: self._unmake_folder(path))
            model = os.stat(folder)
            if os.geteuid() == 0:
                os.chown(name, model.st_uid, model.st_gid, dir_fd=folder, follow_symlinks=False)

    def _unmake_folder(self, path: str) -> None:
        with self._beneath.parent(path) as (folder, name):
            os.rmdir(name, dir_fd=folder)

    def _put(self, step: FileChange) -> None:
        staged = self._new / step.path
        current = self._check(step)
        with self._beneath.parent(step.path) as (folder, name):
            if current is not None and not self._keep_named(step.path, folder, name):
                self._aside(step.path)
                current = None
            if current is None:
                self._undo.append(lambda: self._unlink(step.path))
            os.rename(staged, name, dst_dir_fd=folder)

    def _keep_named(self, path: str, folder: int, name: str) -> bool:
        """Keep what is there under a second name: readers see the old file or the new one, never none. Whether the file
        system can."""
        kept = self._old / str(len(self._undo))
        try:
            os.link(name, kept, src_dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        self._undo.append(lambda: self._replace(kept, path))
        return True

    def _replace(self, kept: Path, path: str) -> None:
        with self._beneath.parent(path) as (folder, name):
            os.rename(kept, name, dst_dir_fd=folder)
        # Two names of one file are left alone by a rename: then the old file never left.
        kept.unlink(missing_ok=True)

    def _unlink(self, path: str) -> None:
        with self._beneath.parent(path) as (folder, name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)

    def _set_mode(self, change: FolderChange) -> None:
        with self._beneath.parent(change.path) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                raise Obstacle(change.path, "is not a folder here")
            mode = found.st_mode & 0o777
            if change.kind == "modified" and mode not in (change.before_mode, change.mode):
                self._notes.append(
                    f"{change.path}: the result has {change.mode:04o} for it, and {mode:04o} here is left as it is"
                )
                return
            self._undo.append(lambda: self._chmod(change.path, found.st_mode & 0o7777))
            self._chmod(change.path, found.st_mode & 0o7000 | change.mode)

    def _chmod(self, path: str, mode: int) -> None:
        with self._beneath.parent(path) as (folder, name):
            handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.chmod(f"/proc/self/fd/{handle}", mode)
            finally:
                os.close(handle)

    # ------------------------------------------------------------------------------------------ a failure

    def _put_back(self, reason: str) -> None:
        failed: list[str] = []
        for undo in reversed(self._undo):
            try:
                undo()
            except OSError as error:
                failed.append(_reason(error))
        if failed:
            raise NotPutBack(f"The result was not applied ({reason}), and not all was put back: {failed[0]}.")


def _reason(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror
