"""Reading and writing single files."""

from __future__ import annotations

import os

from .paths import Paths, Refused

_PIECE_BYTES = 1 << 20


def read_file(paths: Paths, path: str, offset: int, limit: int) -> tuple[int, bytes]:
    """(size of the file, its bytes from offset on, at most limit)."""
    descriptor, found = paths.open_regular(path)
    try:
        return found.st_size, read_from(descriptor, offset, limit)
    finally:
        os.close(descriptor)


def read_from(descriptor: int, offset: int, limit: int) -> bytes:
    """Up to `limit` bytes from `offset`, fewer only at the end of the file."""
    pieces: list[bytes] = []
    while limit > 0:
        piece = os.pread(descriptor, min(limit, _PIECE_BYTES), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        limit -= len(piece)
    return b"".join(pieces)


def write_file(paths: Paths, path: str, content: bytes, mode: int | None, file_bytes_max: int) -> None:
    """Replace atomically; parent folders are made. A symlink is kept and its target replaced. Raises Refused."""
    if len(content) > file_bytes_max:
        raise Refused(f"{path}: {len(content)} bytes are more than the limit of {file_bytes_max}")
    target = paths.real(path)
    if os.path.isdir(target):
        raise Refused(f"{path}: is a directory")
    if mode is None:
        try:
            mode = os.stat(target).st_mode & 0o777
        except OSError:
            mode = 0o644
    temporary = f"{os.path.dirname(target)}/.remit-{os.urandom(8).hex()}"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode & 0o777)
        finally:
            os.close(descriptor)
        os.rename(temporary, target)
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise Refused(f"{path}: {os.strerror(error.errno or 0)}") from None
    except RecursionError:  # of os.makedirs, which has made none of them by then
        raise Refused(f"{path}: too many folders, one in another") from None
