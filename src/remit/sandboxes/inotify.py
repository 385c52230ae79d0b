"""inotify(7) of the host: the three system calls and the shape of an event. Blocking, but never for long."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

CLOSE_WRITE = 0x8
CLOSE_NOWRITE = 0x10
OPEN = 0x20
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
"""The watch is gone: removed, or with the file."""
ONLY_FOLDERS = 0x0100_0000
NOT_FOLLOWED = 0x0200_0000
IS_FOLDER = 0x4000_0000

_READ_BYTES = 256 << 10
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One instance: its watches and its queue. Raises OSError when the machine has none left (EMFILE)."""

    def __init__(self) -> None:
        self.descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def watch(self, path: bytes, mask: int) -> int:
        """Watch a file or folder; the number of its watch, the same for the same inode. Raises OSError."""
        return _checked(_libc.inotify_add_watch(self.descriptor, path, ctypes.c_uint32(mask)))

    def unwatch(self, watch: int) -> None:
        """End a watch; IGNORED comes into the queue after all that was before. Raises OSError."""
        _checked(_libc.inotify_rm_watch(self.descriptor, watch))

    def read(self) -> bytes:
        """Read whole events; nothing when there are none."""
        try:
            return os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Give it back, with all its watches."""
        os.close(self.descriptor)


def events(data: bytes, skipped: set[bytes]) -> Iterator[tuple[int, int, int, bytes, bytes]]:
    """(watch, mask, cookie, name, the raw event) of each; those of which `skipped` has the raw event are left out."""
    at, end = 0, len(data)
    unpack, size = _HEAD.unpack_from, _HEAD.size
    while at < end:
        watch, mask, cookie, length = unpack(data, at)
        after = at + size + length
        raw = data[at:after]
        if raw not in skipped:
            yield watch, mask, cookie, raw[size:].rstrip(b"\0"), raw
        at = after


def limit(name: str) -> str:
    """Read a limit of the machine: `max_user_watches`, `max_user_instances`, `max_queued_events`."""
    try:
        return Path(f"/proc/sys/fs/inotify/{name}").read_text().strip()
    except OSError:
        return "unknown"


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
