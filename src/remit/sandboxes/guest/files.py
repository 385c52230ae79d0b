"""Reading and writing single files."""

from __future__ import annotations

import os
import stat

from .paths import Paths, RefusedRequest

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
        raise RefusedRequest(f"{path}: {len(content)} bytes are more than the limit of {file_bytes_max}")
    target = paths.real(path)
    if os.path.isdir(target):
        raise RefusedRequest(f"{path}: is a directory")
    if mode is None:
        try:
            mode = os.stat(target).st_mode & 0o777
        except OSError:
            mode = 0o644
    try:
        _put(target, content, mode)
    except OSError as error:
        raise RefusedRequest(f"{path}: {os.strerror(error.errno or 0)}") from None
    except RecursionError:  # of os.makedirs, which has made none of them by then
        raise RefusedRequest(f"{path}: too many folders, one in another") from None


def exchange_file(paths: Paths, path: str, content: bytes | None, expected_sha256: str | None) -> bool:
    """Put the content there (None: remove what is there) if a regular file with this hash is there (None: nothing but
    perhaps empty folders); False where it is otherwise. No link is followed, nor a folder made in the place of a file."""
    target = paths.unlinked(path)
    if target is None:
        return False
    try:
        if not _is_as_expected(target, expected_sha256):
            return False
        if content is None:
            os.unlink(target)
        else:
            _put(target, content, 0o644)
    except (OSError, RecursionError):  # the second as above
        return False
    return True


def _is_as_expected(target: str, sha256: str | None) -> bool:
    import hashlib  # only here: loading OpenSSL costs 3 ms of start-up

    if sha256 is None:
        for folder, _, _ in os.walk(target, topdown=False):
            os.rmdir(folder)
        return not os.path.lexists(target)
    descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        digest = hashlib.sha256()
        offset = 0
        while piece := os.pread(descriptor, _PIECE_BYTES, offset):
            digest.update(piece)
            offset += len(piece)
        return digest.hexdigest() == sha256
    finally:
        os.close(descriptor)


def _put(target: str, content: bytes, mode: int) -> None:
    """Replace atomically; parent folders are made. Raises OSError."""
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
    except OSError:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
