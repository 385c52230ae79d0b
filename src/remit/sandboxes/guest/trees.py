"""The manifest of the files under a folder, and their contents.

Runs inside the sandbox with the sandbox's own rights, step by step (generators), so that a long walk never keeps the
daemon from answering. Symlinks are never followed; what a tree cannot hold (sockets, fifos, devices, names that are not
UTF-8) is named with the reason.
"""

from __future__ import annotations

import os
import stat
import time

from .files import read_from
from .paths import Paths, RefusedRequest
from .unlocked import FILE_FLAGS, FOLDER_FLAGS, Unlocked, open_below

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any

ENTRIES_MAX = 500_000
PATH_BYTES_MAX = 3_072
"""Of one path: less than the kernel's 4,096, for it is restored below a folder of the server's."""
PATHS_BYTES_MAX = 64 << 20
"""Of all paths of a tree and the targets of its links together: what a server must hold to read the manifest."""
DEPTH_MAX = 256
LEFT_OUT_NAMED_MAX = 1_000
LEFT_OUT_BYTES_MAX = 256 << 10
"""Of the paths that are named."""
BARE_NAMED_MAX = 50
"""Of each kind of thing that a tree does not keep."""
SPARSE_BYTES_MAX = 1 << 30
"""Of files with holes together; they are kept with the holes filled."""
FETCH_BYTES_MAX = 4 << 20
_PIECE_BYTES = 1 << 20
_STEP_ENTRIES = 100
_ATTRIBUTES = "its extended attributes"
_RACY_NS = 50_000_000
"""A file changed less than this before it was hashed may change again without a trace (coarse file times)."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_Stamp = tuple[int, int, int, int]
_Known = tuple[_Stamp, str, bool]
"""What a file was when it was read: its stamp, its hash, whether it had attributes that a tree cannot hold."""


class _Unfit(Exception):
    """A tree cannot hold this; the text says why."""


class Manifest:
    """The entries under a folder, while they are found."""

    def __init__(self) -> None:
        self.entries: list[list[Any]] = []
        """[path, kind, mode, size, mtime_ns, sha256, target], sorted by path at the end."""
        self.names: dict[tuple[int, int], list[str]] = {}
        """Of files with several names, by inode."""
        self.left_out: list[list[str]] = []
        """[path, why]."""
        self.left_out_more = 0
        self._bare: dict[str, list[str]] = {}
        """By what a tree does not keep of them, files and folders that it does hold."""
        self._sparse_bytes = 0
        self._left_out_bytes = 0

    def leave_out(self, path: str, error: OSError | _Unfit) -> None:
        """Name what is not in the tree. What is gone by now is nothing that is left out."""
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return
        self._left_out_bytes += len(path)
        if len(self.left_out) >= LEFT_OUT_NAMED_MAX or self._left_out_bytes > LEFT_OUT_BYTES_MAX:
            self.left_out_more += 1
            return
        why = str(error)
        if isinstance(error, OSError):
            why = os.strerror(error.errno) if error.errno else "it cannot be read"
        self.left_out.append([_shown(path), why])

    def hold_without(self, path: str, what: str) -> None:
        """Name what is in the tree, but without something that it had."""
        self._bare.setdefault(what, []).append(path)

    def take_sparse(self, descriptor: int) -> None:
        """Count a file that has holes: a terabyte of nothing would take hours to read. Raises _Unfit."""
        found = os.fstat(descriptor)
        if found.st_size <= found.st_blocks * 512 + _PIECE_BYTES:
            return
        hole = os.lseek(descriptor, 0, os.SEEK_HOLE)
        os.lseek(descriptor, 0, os.SEEK_SET)
        if hole >= found.st_size:
            return  # compressed by its file system
        if self._sparse_bytes + found.st_size > SPARSE_BYTES_MAX:
            raise _Unfit(f"a sparse file of {found.st_size:,} bytes")
        self._sparse_bytes += found.st_size

    def to_wire(self) -> dict[str, Any]:
        """Encode the manifest as it is answered."""
        return {
            "entries": self.entries,
            "links": sorted(sorted(paths) for paths in self.names.values() if len(paths) > 1),
            "left_out": [*self.left_out, *self._held_without()],
            "left_out_more": self.left_out_more,
        }

    def _held_without(self) -> Generator[list[str], None, None]:
        """What is more than can be named is counted here: it is there, so nothing may take it for gone."""
        for what, paths in self._bare.items():
            named = sorted(paths)[:BARE_NAMED_MAX]
            more = len(paths) - len(named)
            for path in named:
                yield [_shown(path), f"{what} alone" + (f", like that of {more:,} more" if more else "")]


class TreeReader:
    """Makes manifests; remembers hashes by (inode, size, mtime, ctime), which nothing in a sandbox can forge."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._known: dict[str, _Known] = {}
        self._started_ns = time.time_ns()

    def tree(
        self, root: str, skip: Sequence[str], previous: Mapping[str, Sequence[Any]]
    ) -> Generator[Manifest | None, None, None]:
        """Steps (None), then the manifest. `previous` maps a path to (size, mtime_ns, sha256)."""
        real = self._paths.real(root)
        skipped = {self._paths.real(path) for path in skip}
        found = Manifest()
        path_bytes = 0
        seen: dict[str, _Known] = {}
        stack = [""]
        while stack:
            folder = stack.pop()
            try:
                opened = open_below(real, folder, FOLDER_FLAGS)
            except OSError as error:
                if not folder:
                    raise RefusedRequest(f"{root}: no such folder") from None
                found.leave_out(f"{folder}/", error)
                continue
            with opened as descriptor:
                inherited = os.fstat(descriptor).st_mode
                if _has_attributes(descriptor):
                    found.hold_without(folder or ".", _ATTRIBUTES)
                for number, name in enumerate(sorted(os.listdir(descriptor))):
                    path = f"{folder}/{name}" if folder else name
                    if f"{real}/{path}" in skipped:
                        continue
                    if len(found.entries) >= ENTRIES_MAX:
                        raise RefusedRequest(f"{root}: more than {ENTRIES_MAX} entries")
                    try:
                        _check_path(path)
                        entry = yield from self._entry(
                            found, descriptor, inherited, name, path, f"{real}/{path}", previous, seen
                        )
                    except (OSError, _Unfit) as error:
                        found.leave_out(path, error)
                        continue
                    found.entries.append(entry)
                    path_bytes += len(path) + len(entry[6] or "")
                    if path_bytes > PATHS_BYTES_MAX:
                        raise RefusedRequest(
                            f"{root}: its paths are longer than {PATHS_BYTES_MAX >> 20} MiB together"
                        )
                    if entry[1] == "dir":
                        if path.count("/") < DEPTH_MAX:
                            stack.append(path)
                        else:
                            found.leave_out(f"{path}/", _Unfit(f"more than {DEPTH_MAX} folders deep"))
                    if number % _STEP_ENTRIES == 0:
                        yield None
        prefix = real + "/"
        others = {path: kept for path, kept in self._known.items() if not path.startswith(prefix)}
        self._known = others | seen
        found.entries.sort(key=_path_of)
        yield found

    def _entry(
        self,
        manifest: Manifest,
        folder: int,
        inherited: int,
        name: str,
        path: str,
        absolute: str,
        previous: Mapping[str, Sequence[Any]],
        seen: dict[str, _Known],
    ) -> Generator[None, None, list[Any]]:
        """Raises OSError, _Unfit: then it is left out."""
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        mode = found.st_mode & 0o777
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(name, dir_fd=folder)
            if not _is_text(target):
                raise _Unfit("a symlink whose target is not UTF-8")
            return [path, "symlink", 0o777, 0, found.st_mtime_ns, None, target]
        if not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
            raise _Unfit(_KINDS.get(stat.S_IFMT(found.st_mode), "neither a file, a folder nor a symlink"))
        if found.st_mode & 0o7000 & ~inherited:
            # Folders hand the set-group-ID bit down by themselves; it is no news there.
            manifest.hold_without(path, "its set-user-ID, set-group-ID or sticky bit")
        if stat.S_ISDIR(found.st_mode):
            return [path, "dir", mode, 0, found.st_mtime_ns, None, None]
        if found.st_nlink > 1:
            manifest.names.setdefault((found.st_dev, found.st_ino), []).append(path)
        known = self._known.get(absolute)
        if known is not None and known[0] == _stamp(found):
            seen[absolute] = known
            if known[2]:
                manifest.hold_without(path, _ATTRIBUTES)
            return [path, "file", mode, found.st_size, found.st_mtime_ns, known[1], None]
        before = previous.get(path)
        if (
            known is None
            and before is not None
            and (found.st_size, found.st_mtime_ns) == (before[0], before[1])
            and found.st_ctime_ns < self._started_ns  # untouched since it was restored
        ):
            seen[absolute] = (_stamp(found), before[2], False)
            return [path, "file", mode, found.st_size, found.st_mtime_ns, before[2], None]
        opened = Unlocked(name, FILE_FLAGS, folder)
        try:
            if not stat.S_ISREG(os.fstat(opened.descriptor).st_mode):
                raise _Unfit("no regular file any more")
            manifest.take_sparse(opened.descriptor)
            size, digest = yield from _hash(opened.descriptor)
            has_attributes = _has_attributes(opened.descriptor)
        finally:
            opened.close()
        if has_attributes:
            manifest.hold_without(path, _ATTRIBUTES)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)  # the permissions are back
        if time.time_ns() - found.st_ctime_ns > _RACY_NS and size == found.st_size:
            seen[absolute] = (_stamp(found), digest, has_attributes)
        return [path, "file", mode, size, found.st_mtime_ns, digest, None]


def fetch(paths: Paths, root: str, wanted: Sequence[str], offset: int) -> tuple[list[list[int]], bytes]:
    """Contents of regular files, up to FETCH_BYTES_MAX: ([index, bytes, 1 if that is its end]…, the bytes).

    `offset` is where to go on in the first of them. Files that are gone or no regular files are left out.
    """
    real = paths.real(root)
    parts: list[list[int]] = []
    pieces: list[bytes] = []
    room = FETCH_BYTES_MAX
    for index, path in enumerate(wanted):
        if room <= 0:
            break
        try:
            opened = open_below(real, path, FILE_FLAGS)
        except OSError:
            parts.append([index, -1, 1])
            continue
        descriptor = opened.descriptor
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                parts.append([index, -1, 1])
                continue
            piece = read_from(descriptor, offset, room)
            is_end = len(piece) < room or not os.pread(descriptor, 1, offset + len(piece))
        except OSError:
            parts.append([index, -1, 1])
            continue
        finally:
            opened.close()
        parts.append([index, len(piece), int(is_end)])
        pieces.append(piece)
        room -= len(piece)
        offset = 0
    return parts, b"".join(pieces)


def _hash(descriptor: int) -> Generator[None, None, tuple[int, str]]:
    import hashlib  # only here: loading OpenSSL costs 3 ms of start-up

    digest = hashlib.sha256()
    size = 0
    while piece := os.read(descriptor, _PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield None
    return size, digest.hexdigest()


def _has_attributes(descriptor: int) -> bool:
    """Whether something was noted at a file or folder that a tree has no place for. Lists of access rights come by
    themselves where the folder above hands them down; a system's own labels everywhere."""
    try:
        return any(name.startswith("user.") for name in os.listxattr(descriptor))
    except OSError:
        return False  # its file system has none


def _check_path(path: str) -> None:
    if not _is_text(path):
        raise _Unfit("a name that is not UTF-8")
    if len(path.encode()) > PATH_BYTES_MAX:
        raise _Unfit(f"a path of more than {PATH_BYTES_MAX} bytes")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _stamp(found: os.stat_result) -> _Stamp:
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _path_of(entry: list[Any]) -> str:
    return entry[0]
