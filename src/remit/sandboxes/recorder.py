"""The host's record of what is done to a working tree: inotify on every folder and file of it.

The events come through the mount, whoever opens a file and by whatever name. They name the file, not the program. What
was changed is told by the inode's ctime too, which nothing inside can set: a write through a mapping has no event.
What cannot be known counts as opened, and when something may be missing the record says so (`is_complete`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import structlog

from remit.sandboxes import inotify
from remit.sandboxes.inotify import Inotify
from remit.sandboxes.newcomers import Kind, Newcomers
from remit.values import TreeRecord

MECHANISM = "inotify"
CREATED_MAX = 50_000
CREATED_BYTES_MAX = 16 << 20
NEW_FOLDERS_MAX = 20_000
"""Watches are the machine's, shared by everything that its user runs."""
_SKIPPED_MAX = 100_000
_MOVES_MAX = 1_000
_LOCKED_MAX = 500
"""Laid folders without the execute bit that are opened up to look again; what is in more of them counts as changed."""
_FOLDER_MASK = (
    inotify.OPEN
    | inotify.CLOSE_WRITE
    | inotify.CLOSE_NOWRITE
    | inotify.CREATE
    | inotify.DELETE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
)
_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_Stamp = tuple[int, int, int, int, int, int]
_log = structlog.get_logger(__name__)


class TreeRecorder:
    """Made when the tree is written and nothing runs yet; `take` ends it. Every method blocks: call them in a thread."""

    def __init__(self, folder: Path, *, skipped: Sequence[str] = ()) -> None:
        """`skipped`: paths below `folder` that are no part of the tree."""
        self._root = os.fsencode(folder)
        self._left_out = frozenset(os.fsencode(path) for path in skipped)
        self._laid: dict[bytes, _Stamp] = {}
        self._laid_folders: set[bytes] = {b""}
        self._laid_locked: list[bytes] = []
        """Laid folders that their own permissions shut us out of, those above first."""
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, bytes] = {}
        self._opened: set[bytes] = set()
        self._changed: set[bytes] = set()
        self._newcomers = Newcomers(CREATED_MAX, CREATED_BYTES_MAX)
        self._new_folders = 0
        self._moves: dict[int, tuple[bytes, bool]] = {}
        """By cookie: where it was, and whether it is a file for certain."""
        self._moved: set[bytes] = set()
        self._skipped: set[bytes] = set()
        """Events that would tell nothing new."""
        self._why_not: str | None = None
        self._record: TreeRecord | None = None
        self._taking = threading.Lock()
        self._is_ending = self._is_closed = False
        self._inotify: Inotify | None = None
        self._marker = -1
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._read, name="tree-recorder", daemon=True)
        try:
            self._lay()
        except BaseException:
            self._release()
            raise

    def take(self) -> TreeRecord:
        """End recording and tell what was done until now; the same each time."""
        with self._taking:
            if self._record is None:
                if self._inotify is not None:
                    self._is_ending = True
                    with contextlib.suppress(OSError):
                        self._inotify.unwatch(self._marker)  # comes after everything that was before
                    os.eventfd_write(self._wake, 1)
                    self._thread.join()
                self._record = self._told()
                self._release()
            return self._record

    @property
    def is_over(self) -> bool:
        """Return whether the record has been taken."""
        return self._record is not None

    def close(self) -> None:
        """End recording; nobody wants to know. Idempotent."""
        with self._taking:
            if not self._is_closed and self._record is None:
                self._is_closed = True
                if self._thread.ident is not None:
                    os.eventfd_write(self._wake, 1)
                    self._thread.join()
                self._release()

    def _release(self) -> None:
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    # -------------------------------------------------------------------------------------------- the tree as laid

    def _lay(self) -> None:
        try:
            self._inotify = Inotify()
            self._marker = self._inotify.watch(os.path.dirname(self._root), inotify.DELETE_SELF)
        except OSError as error:
            self._is_missing(_unwatched(error))
        modes: list[tuple[bytes, int]] = []
        try:
            self._lay_all(modes)
        finally:
            for folder, mode in reversed(modes):
                os.chmod(self._at(folder), mode)
        self._laid_locked = [folder for folder, _ in modes][:_LOCKED_MAX]
        if self._inotify is not None:
            self._thread.start()

    def _lay_all(self, modes: list[tuple[bytes, int]]) -> None:
        """Nothing runs yet: folders that shut us out are opened, and `modes` says what they had."""
        waiting = [b""]
        while waiting:
            folder = waiting.pop()
            whole = self._at(folder)
            if not os.access(whole, os.R_OK | os.X_OK):
                mode = os.lstat(whole).st_mode & 0o7777
                os.chmod(whole, mode | 0o500)
                modes.append((folder, mode))
            self._watch_laid(folder, is_folder=True)
            with os.scandir(self._at(folder)) as entries:
                for entry in entries:
                    path = _join(folder, entry.name)
                    if path in self._left_out:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        self._laid_folders.add(path)
                        waiting.append(path)
                        continue
                    if entry.is_file(follow_symlinks=False):
                        self._watch_laid(path, is_folder=False)
                    self._laid[path] = _stamp(os.lstat(self._at(path)))

    def _watch_laid(self, path: bytes, *, is_folder: bool) -> None:
        if self._inotify is None or self._why_not is not None:
            return
        mask = _FOLDER_MASK | inotify.ONLY_FOLDERS if is_folder else inotify.OPEN
        whole = self._at(path)
        try:
            try:
                watch = self._inotify.watch(whole, mask | inotify.NOT_FOLLOWED)
            except PermissionError:
                mode = os.lstat(whole).st_mode
                os.chmod(whole, mode & 0o7777 | 0o400)
                try:
                    watch = self._inotify.watch(whole, mask | inotify.NOT_FOLLOWED)
                finally:
                    os.chmod(whole, mode & 0o7777)
        except OSError as error:
            self._is_missing(_unwatched(error))
        else:
            (self._folders if is_folder else self._files)[watch] = path

    # ---------------------------------------------------------------------------------------------------- reading

    def _read(self) -> None:
        try:
            self._read_on()
        except Exception as error:
            _log.exception("recorder_failed")
            self._is_missing(f"the recorder failed: {type(error).__name__}: {error}")

    def _read_on(self) -> None:
        assert self._inotify is not None
        poll = select.poll()
        poll.register(self._inotify.descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._is_closed:
            poll.poll()
            data = self._inotify.read()
            if data and self._handle(data):
                return
            if not data and self._is_ending and self._why_not is not None:
                return  # the marker may have been lost as well

    def _handle(self, data: bytes) -> bool:
        """Whether the marker was among them."""
        if len(self._skipped) > _SKIPPED_MAX:
            self._skipped.clear()
        for watch, mask, cookie, name, raw in inotify.events(data, self._skipped):
            if watch == self._marker:
                return True
            if mask & inotify.OVERFLOW:
                count = inotify.limit("max_queued_events")
                self._is_missing(
                    f"more happened than the kernel keeps (fs.inotify.max_queued_events is {count})"
                )
            elif mask & (inotify.IGNORED | inotify.UNMOUNT):
                self._files.pop(watch, None)
                self._folders.pop(watch, None)
            elif watch in self._files:
                self._opened.add(self._files[watch])
                self._skipped.add(raw)
            elif watch in self._folders and name:
                self._in_folder(_join(self._folders[watch], name), mask, cookie, raw)
        return False

    def _in_folder(self, path: bytes, mask: int, cookie: int, raw: bytes) -> None:
        try:
            if mask & inotify.IS_FOLDER:
                self._folder_event(path, mask, cookie, raw)
            elif path in self._laid:
                self._laid_event(path, mask, cookie, raw)
            elif path not in self._left_out:
                self._newcomer_event(path, mask, cookie)
        except OverflowError:
            self._is_missing(f"more than {CREATED_MAX:,} files or folders were created")

    def _laid_event(self, path: bytes, mask: int, cookie: int, raw: bytes) -> None:
        if mask & (inotify.CREATE | inotify.MOVED_TO):
            self._moves.pop(cookie, None)
            self._changed.add(path)
            if self._kind(path) in (Kind.SYMLINK, Kind.GONE):
                self._opened.add(path)  # what it leads to may have been
        elif mask & inotify.MOVED_FROM:
            self._changed.add(path)
            self._remember_move(cookie, path, is_file=stat.S_ISREG(self._laid[path][0]))
        elif mask & inotify.DELETE:
            self._changed.add(path)
        else:
            if mask & inotify.OPEN:
                self._opened.add(path)
            self._skipped.add(raw)

    def _newcomer_event(self, path: bytes, mask: int, cookie: int) -> None:
        one, is_known = self._newcomers.at(path)
        if mask & inotify.CREATE:
            one.is_made(self._kind(path))
            return
        if mask & inotify.MOVED_TO:
            _, is_file = self._moves.pop(cookie, (b"", False))
            one.is_moved_here(self._kind(path), is_file=is_file)
            return
        if not is_known:
            one.doubt()  # it came into being unseen
        if mask & inotify.OPEN:
            one.opens()
        elif mask & inotify.CLOSE_WRITE:
            one.closes(is_written=True)
        elif mask & inotify.CLOSE_NOWRITE:
            one.closes(is_written=False)
        elif mask & inotify.MOVED_FROM:
            self._remember_move(cookie, path, is_file=one.leaves())
        elif mask & inotify.DELETE:
            one.leaves()

    # ---------------------------------------------------------------------------------------------------- folders

    def _folder_event(self, path: bytes, mask: int, cookie: int, raw: bytes) -> None:
        if mask & inotify.CREATE:
            self._folder_came(path, is_watched=False)
        elif mask & inotify.MOVED_FROM:
            self._laid_below_changed(path)
            self._remember_move(cookie, path, is_file=False)
        elif mask & inotify.MOVED_TO:
            before, _ = self._moves.pop(cookie, (b"", False))
            self._folder_came(path, is_watched=bool(before) and self._follow(before, path))
        elif mask & (inotify.OPEN | inotify.CLOSE_NOWRITE):
            self._skipped.add(raw)

    def _follow(self, before: bytes, path: bytes) -> bool:
        """A folder was moved, and its watches with it. Whether it was watched."""
        self._skipped.clear()
        moved = {
            watch: path + old[len(before) :]
            for watch, old in self._folders.items()
            if old == before or old.startswith(before + b"/")
        }
        self._folders.update(moved)
        return path in moved.values()

    def _laid_below_changed(self, folder: bytes) -> None:
        if folder in self._laid_folders and folder not in self._moved:
            self._moved.add(folder)
            self._changed.update(path for path in self._laid if path.startswith(folder + b"/"))

    def _folder_came(self, path: bytes, *, is_watched: bool) -> None:
        """A folder was made or moved here: watch what is new in it, then look what is there already."""
        waiting = [path]
        while waiting:
            folder = waiting.pop()
            if folder in self._laid:
                self._changed.add(folder)
            elif folder not in self._laid_folders:
                self._newcomers.add_folder(folder)
            found = self._watch_new(folder)
            if found is None:
                self._newcomers.at(folder)[0].doubt()
                continue
            for name, kind in found:
                below = _join(folder, name)
                if kind is None:
                    waiting.append(below)
                elif below in self._laid:
                    self._changed.add(below)
                    if not is_watched:
                        self._opened.add(below)
                else:
                    self._newcomers.at(below)[0].is_found(kind, is_watched=is_watched)

    def _watch_new(self, folder: bytes) -> list[tuple[bytes, Kind | None]] | None:
        """What is in it (None: a folder), now that it is watched; None when it is gone again, or cannot be watched."""
        assert self._inotify is not None
        if self._new_folders >= NEW_FOLDERS_MAX:
            self._is_missing(f"more than {NEW_FOLDERS_MAX:,} folders were created")
            return None
        try:
            descriptor = self._open(folder)
        except OSError:
            return None
        through = b"/proc/self/fd/%d" % descriptor
        try:
            with _readable(descriptor, through):
                watch = self._inotify.watch(through, _FOLDER_MASK | inotify.ONLY_FOLDERS)
                self._new_folders += watch not in self._folders
                self._folders[watch] = folder
                with os.scandir(through) as entries:
                    return [(entry.name, _kind_of(entry)) for entry in entries]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._is_missing(_unwatched(error))
            return None
        finally:
            os.close(descriptor)

    def _open(self, folder: bytes) -> int:
        """A handle; no part of the path may be a link that leads out of the tree. Raises OSError."""
        current = os.open(self._root, _PATH_FLAGS | os.O_DIRECTORY)
        for name in folder.split(b"/") if folder else ():
            try:
                below = os.open(name, _PATH_FLAGS | os.O_DIRECTORY, dir_fd=current)
            finally:
                os.close(current)
            current = below
        return current

    # ---------------------------------------------------------------------------------------------------- the rest

    def _kind(self, path: bytes) -> Kind:
        """Looked at without following a link in any part of the path."""
        folder, _, name = path.rpartition(b"/")
        try:
            handle = self._open(folder) if folder else os.open(self._root, _PATH_FLAGS | os.O_DIRECTORY)
            try:
                found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            finally:
                os.close(handle)
        except OSError:
            return Kind.GONE
        return _kind_from(found)

    def _remember_move(self, cookie: int, path: bytes, *, is_file: bool) -> None:
        if len(self._moves) >= _MOVES_MAX:
            self._moves.pop(next(iter(self._moves)))
        self._moves[cookie] = (path, is_file)

    def _is_missing(self, why: str) -> None:
        if self._why_not is None:
            self._why_not = why

    def _at(self, path: bytes) -> bytes:
        return _join(self._root, path) if path else self._root

    def _told(self) -> TreeRecord:
        with contextlib.ExitStack() as opened:
            for folder in self._laid_locked:
                with contextlib.suppress(OSError):
                    handle = self._open(folder)
                    opened.callback(os.close, handle)
                    opened.enter_context(_readable(handle, b"/proc/self/fd/%d" % handle))
            for path, stamp in self._laid.items():
                try:
                    found = _stamp(os.lstat(self._at(path)))
                except OSError:
                    found = None
                if found != stamp:
                    self._changed.add(path)
        return TreeRecord(
            mechanism=MECHANISM,
            is_complete=self._why_not is None,
            why_not=self._why_not,
            opened=_shown(self._opened),
            changed=_shown(self._changed),
            created=_shown(self._newcomers.paths()),
            created_opened=_shown(self._newcomers.opened()),
        )


def _stamp(found: os.stat_result) -> _Stamp:
    """What tells that a file has been touched: its ctime alone would, where nothing stands in its place."""
    return (found.st_mode, found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@contextlib.contextmanager
def _readable(descriptor: int, through: bytes) -> Generator[None]:
    """A folder of the sandbox's own whose permissions shut us out is opened up for a moment."""
    mode = os.fstat(descriptor).st_mode & 0o7777
    if os.access(through, os.R_OK | os.X_OK):
        yield
        return
    os.chmod(through, mode | 0o500)
    try:
        yield
    finally:
        os.chmod(through, mode)


def _kind_of(entry: os.DirEntry[bytes]) -> Kind | None:
    if entry.is_dir(follow_symlinks=False):
        return None
    try:
        return _kind_from(entry.stat(follow_symlinks=False))
    except OSError:
        return Kind.GONE


def _kind_from(found: os.stat_result) -> Kind:
    if stat.S_ISLNK(found.st_mode):
        return Kind.SYMLINK
    return Kind.LINKED if found.st_nlink > 1 else Kind.FILE


def _unwatched(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"no watches are left (fs.inotify.max_user_watches is {inotify.limit('max_user_watches')})"
    if error.errno == errno.EMFILE:
        return f"no inotify instance is left (fs.inotify.max_user_instances is {inotify.limit('max_user_instances')})"
    return f"a file cannot be watched: {error.strerror}"


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _shown(paths: Iterator[bytes] | set[bytes]) -> tuple[str, ...]:
    """Names that are no text are written with escapes."""
    return tuple(sorted({path.decode("utf-8", "backslashreplace") for path in paths}))
