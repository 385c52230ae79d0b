"""One SQLite file: its writer, its readers, its schema."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw
import structlog

from remit.errors import StoreUnavailable
from remit.stores.sqlite.connection import migrate, migrations, open_reader, open_writer
from remit.stores.sqlite.cursor import Cursor, cursor_of
from remit.stores.sqlite.writer import OnCommit, Writer, unobserved

READ_THREADS = 2

_log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class SqliteDatabase:
    """Writes go through one thread. Short reads run at once on the caller's loop (tens of microseconds, never waiting
    for the writer); long ones in a few threads with connections of their own."""

    def __init__(self, path: Path, writer: Writer, reader: apsw.Connection, *, vfs: str | None) -> None:
        self._path = path
        self._vfs = vfs
        self._writer = writer
        self._reader = reader
        self._local = threading.local()
        self._thread_readers: list[apsw.Connection] = []
        self._threads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix=f"remit-reader {path.name}")

    @classmethod
    async def open(
        cls, path: Path, *, schema: str, vfs: str | None = None, on_commit: OnCommit = unobserved
    ) -> SqliteDatabase:
        """Open or make the file and bring its schema up to date. Raises StoreUnavailable."""
        return await asyncio.to_thread(cls._open, path, schema, vfs, on_commit)

    @classmethod
    def _open(cls, path: Path, schema: str, vfs: str | None, on_commit: OnCommit) -> SqliteDatabase:
        try:
            connection = open_writer(path, vfs=vfs)
            try:
                migrate(connection, migrations(schema))
                reader = open_reader(path, vfs=vfs)
            except BaseException:
                connection.close()
                raise
        except (apsw.Error, OSError) as error:
            _log.exception("store.open_failed", database=str(path))
            raise StoreUnavailable(
                f"The database {str(path)!r} cannot be opened: {error}. Restore it, or give another folder with --data."
            ) from error
        return cls(path, Writer(connection, on_commit), reader, vfs=vfs)

    @property
    def queued(self) -> int:
        """See Writer.queued."""
        return self._writer.queued

    async def write(self, run: Callable[[Cursor], Result], *, is_workers: bool = False) -> Result:
        """See Writer.write."""
        return await self._writer.write(run, is_workers=is_workers)

    def read(self, run: Callable[[Cursor], Result]) -> Result:
        """A read of well under a millisecond, at once."""
        self._writer.require_open()
        return self._translated(run, self._reader)

    async def read_in_thread(self, run: Callable[[Cursor], Result]) -> Result:
        """A read that may be long, off the loop."""
        self._writer.require_open()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_here, run)

    async def close(self) -> None:
        """Finish what was accepted, then close everything. Twice is once."""
        self._writer.stop_accepting()
        await asyncio.to_thread(self._threads.shutdown)
        for connection in (self._reader, *self._thread_readers):
            connection.close()
        # The writer last: the last to close folds the write-ahead log into the file, which a reader cannot.
        await self._writer.close()

    def _read_here(self, run: Callable[[Cursor], Result]) -> Result:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_reader(self._path, vfs=self._vfs)
            self._thread_readers.append(connection)
        return self._translated(run, connection)

    def _translated(self, run: Callable[[Cursor], Result], connection: apsw.Connection) -> Result:
        cursor = cursor_of(connection)
        try:
            return run(cursor)
        except apsw.Error as error:
            _log.exception("store.read_failed", database=str(self._path))
            raise StoreUnavailable(
                f"The store cannot read ({type(error).__name__}: {error}). Look at the disk of the data folder."
            ) from error
        finally:
            # Whoever keeps an exception keeps this frame; an open statement would freeze what this connection sees.
            cursor.close(True)
