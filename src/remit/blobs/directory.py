"""Blobs in a directory: `ab/cdef…` by sha256.

A blob is written under a temporary name, forced to the disk, then renamed: a name never shows half a blob. Many blobs
at once share one barrier for the whole file system (`syncfs`), since one fsync per small file would take minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from remit.clock import Clock, SystemClock
from remit.errors import BlobMissing, StoreUnavailable, TooLarge
from remit.values import StoredBlob

PIECE_BYTES = 1 << 20
SYNCED_ONE_BY_ONE_MAX = 16
"""Up to so many files or folders are forced to the disk each by itself; beyond, all with one barrier."""

_TEMPORARY_FOLDER = "tmp"
_ASIDE_FOLDER = "aside"
_LEFTOVER_US = 86_400_000_000

_log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class DirectoryBlobStore:
    """`BlobStore` in a folder; several processes may share it."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()

    async def put(
        self,
        content: bytes | AsyncIterator[bytes],
        *,
        size_bytes_max: int | None = None,
    ) -> str:
        if isinstance(content, bytes):
            _require_size(len(content), size_bytes_max)
            return (await self.put_many([content]))[0]
        return await self._put_pieces(content, size_bytes_max)

    async def put_many(self, contents: Sequence[bytes]) -> Sequence[str]:
        digests = await _in_thread(lambda: [hashlib.sha256(content).hexdigest() for content in contents])
        await _in_thread(lambda: self._put_many(digests, contents))
        return digests

    async def read(self, digest: str) -> bytes:
        paths = self._path(digest), self._aside(digest)
        return await _in_thread(lambda: _read_blob(paths, digest))

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        paths = self._path(digest), self._aside(digest)
        descriptor = await _in_thread(lambda: _open_blob(paths, digest))
        try:
            while piece := await _in_thread(lambda: os.read(descriptor, PIECE_BYTES)):
                yield piece
        finally:
            os.close(descriptor)

    async def has(self, digests: Sequence[str]) -> frozenset[str]:
        return await _in_thread(
            lambda: frozenset(
                digest for digest in digests if _is_sha256(digest) and self._path(digest).is_file()
            )
        )

    async def touch(self, digests: Sequence[str]) -> frozenset[str]:
        return await _in_thread(
            lambda: frozenset(digest for digest in digests if _is_sha256(digest) and self._touch(digest))
        )

    async def remove(self, digests: Sequence[str], *, untouched_since_us: int) -> Sequence[str]:
        return await _in_thread(
            lambda: [
                digest
                for digest in dict.fromkeys(filter(_is_sha256, digests))
                if self._remove(digest, untouched_since_us)
            ]
        )

    def _touch(self, digest: str) -> bool:
        """False where it is not there, or is just going: then it is looked at before the time that was set counts."""
        path, now_ns = self._path(digest), self._clock.now_us() * 1_000
        try:
            os.utime(path, ns=(now_ns, now_ns))
        except FileNotFoundError:
            return False
        return path.exists()

    def _remove(self, digest: str, untouched_since_us: int) -> bool:
        """Aside first: from then on nobody can touch it, and whoever did before is seen. Readers find it there as well."""
        path, aside = self._path(digest), self._aside(digest)
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            if path.stat().st_mtime_ns >= untouched_since_us * 1_000:
                return False
            path.rename(aside)
            if aside.stat().st_mtime_ns < untouched_since_us * 1_000:
                aside.unlink()
                return True
            aside.rename(path)
        except FileNotFoundError:
            pass  # another process removes or puts the same one
        return False

    async def walk(self) -> AsyncIterator[Sequence[StoredBlob]]:
        await _in_thread(self._put_back)
        for prefix in range(256):
            folder = self._folder / f"{prefix:02x}"
            if found := await _in_thread(lambda folder=folder: _blobs_in(folder)):
                yield found

    def _put_back(self) -> None:
        """What a process that died left aside; whether it is needed, its next look tells."""
        folder = self._folder / _ASIDE_FOLDER
        old_ns = (self._clock.now_us() - _LEFTOVER_US) * 1_000
        for aside in folder.iterdir() if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if aside.stat().st_ctime_ns < old_ns:
                    aside.rename(self._path(aside.name))

    async def remove_leftovers(self) -> None:
        """Delete what crashes left half written, and nobody has written to for a day."""

        def run() -> None:
            folder = self._folder / _TEMPORARY_FOLDER
            old_ns = (self._clock.now_us() - _LEFTOVER_US) * 1_000
            for leftover in folder.iterdir() if folder.is_dir() else ():
                with contextlib.suppress(FileNotFoundError):
                    if leftover.stat().st_mtime_ns < old_ns:
                        leftover.unlink()

        await _in_thread(run)

    # ------------------------------------------------------------------------------------------- writing

    def _put_many(self, digests: Sequence[str], contents: Sequence[bytes]) -> None:
        written: dict[str, Path] = {}
        try:
            for digest, content in zip(digests, contents, strict=True):
                if digest not in written and not self._touch(digest):
                    descriptor, written[digest] = self._make_temporary()
                    try:
                        _write_all(descriptor, content)
                        self._set_time(descriptor)
                    finally:
                        os.close(descriptor)
            self._keep(written, digests)
        finally:
            _discard(written.values())

    async def _put_pieces(self, pieces: AsyncIterator[bytes], size_bytes_max: int | None) -> str:
        descriptor, path = await _in_thread(self._make_temporary)
        try:
            sha256 = hashlib.sha256()
            size_bytes = 0
            try:
                async for piece in pieces:
                    size_bytes += len(piece)
                    _require_size(size_bytes, size_bytes_max)
                    sha256.update(piece)
                    await _in_thread(lambda piece=piece: _write_all(descriptor, piece))
                self._set_time(descriptor)
            finally:
                os.close(descriptor)
            digest = sha256.hexdigest()
            await _in_thread(lambda: self._keep({digest: path}, [digest]))
            return digest
        finally:
            _discard([path])

    def _keep(self, written: dict[str, Path], digests: Iterable[str]) -> None:
        """Make written files durable and give them their names. `digests` may include blobs that were there before:
        their names may still be on the way to the disk on behalf of somebody else, so they share the barrier."""
        self._sync(written.values())
        folders: dict[Path, None] = {}
        for digest in dict.fromkeys(digests):
            folder = self._path(digest).parent
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                folders[self._folder] = None
            folders[folder] = None
            if digest in written:
                written[digest].replace(self._path(digest))
        self._sync(folders)

    def _sync(self, paths: Iterable[Path]) -> None:
        """Return when these files or folders are on the disk."""
        paths = list(paths)
        syncfs = _syncfs() if len(paths) > SYNCED_ONE_BY_ONE_MAX else None
        for path in paths if syncfs is None else [self._folder]:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if syncfs is None:
                    os.fsync(descriptor)
                elif syncfs(descriptor) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(descriptor)

    def _make_temporary(self) -> tuple[int, Path]:
        folder = self._folder / _TEMPORARY_FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder)
        return descriptor, Path(name)

    def _set_time(self, descriptor: int) -> None:
        now_ns = self._clock.now_us() * 1_000
        os.utime(descriptor, ns=(now_ns, now_ns))

    def _aside(self, digest: str) -> Path:
        return self._folder / _ASIDE_FOLDER / digest

    def _path(self, digest: str) -> Path:
        if not _is_sha256(digest):
            raise BlobMissing(f"{digest!r} is no sha256 in lower-case hex, so there is no such blob.")
        return self._folder / digest[:2] / digest[2:]


def _blobs_in(folder: Path) -> list[StoredBlob]:
    if not folder.is_dir():
        return []
    found: list[StoredBlob] = []
    for entry in os.scandir(folder):
        digest = folder.name + entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # removed meanwhile
        if _is_sha256(digest):
            found.append(
                StoredBlob(
                    digest=digest, size_bytes=status.st_size, touched_at_us=status.st_mtime_ns // 1_000
                )
            )
    return found


def _is_sha256(digest: str) -> bool:
    return len(digest) == 64 and all(character in "0123456789abcdef" for character in digest)


def _require_size(size_bytes: int, size_bytes_max: int | None) -> None:
    if size_bytes_max is not None and size_bytes > size_bytes_max:
        raise TooLarge(f"The content is larger than {size_bytes_max:,} bytes.")


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _open_blob(paths: tuple[Path, Path], digest: str) -> int:
    place, aside = paths
    for path in (place, aside, place):  # it may go aside, or come back, between two looks
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    raise BlobMissing(f"Blob {digest!r} is not in the blob store.")


def _read_blob(paths: tuple[Path, Path], digest: str) -> bytes:
    with os.fdopen(_open_blob(paths, digest), "rb") as file:
        return file.read()


def _discard(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


async def _in_thread(run: Callable[[], Result]) -> Result:
    """Who is cancelled goes when the thread has ended: what is written afterwards nobody would remove, and a descriptor
    must not be closed under it."""
    work = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):  # a cancelled scope says so again and again
                await asyncio.wait({work})
        work.exception()  # nobody asks for it any more
        raise
    except OSError as error:
        _log.exception("blobs.io_failed")
        raise StoreUnavailable(
            f"The blob store failed ({error.strerror or error}). Look at the disk of the data folder."
        ) from error


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    """The C library's `syncfs`; None where there is none (other systems than Linux)."""
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
