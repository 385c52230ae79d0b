"""One thread that writes, with group commit.

Operations that arrive while a commit is under way wait in the queue and share the next one: one fsync for all of them.
Each runs in its own savepoint, so that one that is refused does not spoil the rest. Nobody hears of success before the
commit is on the disk. When a commit fails, every operation of its batch fails and the writer stays failed: after a
failed fsync nothing about the file can be known until it is opened again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import apsw
import structlog

from remit.errors import Overloaded, StoreUnavailable
from remit.stores.sqlite.cursor import Cursor, cursor_of

QUEUED_OPERATIONS_MAX = 20_000
QUEUE_FULL_RETRY_SECONDS = 2.0
BATCH_OPERATIONS_MAX = 1_000

_log = structlog.get_logger(__name__)

Result = TypeVar("Result")

OnCommit = Callable[[int, float], None]
"""Told, on the writer's thread, of each transaction: how many writes it had and how many seconds it took."""


def unobserved(operations: int, seconds: float) -> None:
    """Do nothing: nobody wants to know."""


class _Operation(Generic[Result]):
    """Something to do inside the next transaction, and who waits for it."""

    __slots__ = ("error", "future", "loop", "result", "run")

    def __init__(self, run: Callable[[Cursor], Result], loop: asyncio.AbstractEventLoop) -> None:
        self.run = run
        self.loop = loop
        self.future: asyncio.Future[Result] = loop.create_future()
        self.result: Result | None = None
        self.error: BaseException | None = None


class Writer:
    """Owns the writing connection; only its thread touches it."""

    def __init__(self, connection: apsw.Connection, on_commit: OnCommit = unobserved) -> None:
        self._connection = connection
        self._cursor = cursor_of(connection)
        self._name = connection.filename
        self._on_commit = on_commit
        self._queue: queue.SimpleQueue[_Operation[Any] | None] = queue.SimpleQueue()  # None: close
        self._accepting = threading.Lock()
        self._is_closed = False
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._work, name=f"remit-writer {self._name}", daemon=True)
        self._thread.start()

    def require_open(self) -> None:
        """Raise StoreUnavailable when closed or failed."""
        if self._failure is not None:
            raise StoreUnavailable(self._failure)
        if self._is_closed:
            raise StoreUnavailable("The store is closed.")

    @property
    def queued(self) -> int:
        """Writes that wait for a transaction."""
        return self._queue.qsize()

    async def write(self, run: Callable[[Cursor], Result], *, is_workers: bool = False) -> Result:
        """Run in the next transaction; returns when it is durable. What `run` raises undoes only what it did.

        Raises Overloaded when too much is queued, StoreUnavailable when the commit fails. What a worker writes under its
        leases is not refused: the worker bounds it, and its leases must not lapse for what others send.
        """
        operation = _Operation(run, asyncio.get_running_loop())
        with self._accepting:
            self.require_open()
            if self.queued >= QUEUED_OPERATIONS_MAX and not is_workers:
                raise Overloaded(
                    f"{QUEUED_OPERATIONS_MAX} writes are waiting for the disk; try again.",
                    retry_after_seconds=QUEUE_FULL_RETRY_SECONDS,
                )
            self._queue.put(operation)
        return await operation.future

    def stop_accepting(self) -> None:
        """Refuse every call from now on; what was accepted goes on."""
        with self._accepting:
            self._is_closed = True

    async def close(self) -> None:
        """Finish what was accepted, then close the connection. Twice is once."""
        self.stop_accepting()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        is_closing = False
        while not is_closing:
            batch: list[_Operation[Any]] = []
            item = self._queue.get()
            while True:
                if item is None:
                    is_closing = True
                    break
                batch.append(item)
                if len(batch) == BATCH_OPERATIONS_MAX:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._commit(batch)
                _tell(batch)
        try:
            self._connection.close()
        except apsw.Error:
            # What was acknowledged is in the write-ahead log; the next one to open the file folds it in.
            _log.exception("store.close_failed", database=self._name)

    def _commit(self, batch: list[_Operation[Any]]) -> None:
        if self._failure is not None:
            _fail(batch, self._failure)
            return
        execute = self._cursor.execute
        started_at = time.perf_counter()
        try:
            execute("BEGIN IMMEDIATE")
            for operation in batch:
                execute("SAVEPOINT operation")
                try:
                    operation.result = operation.run(self._cursor)
                except apsw.Error:
                    raise
                except Exception as error:  # the top of the thread: a refusal or a bug is the caller's to see
                    operation.error = error
                    execute("ROLLBACK TO operation")
                execute("RELEASE operation")
            execute("COMMIT")
        except apsw.Error as error:
            _log.exception("store.commit_failed", database=self._name, operations=len(batch))
            self._failure = (
                f"The store cannot write ({type(error).__name__}: {error}). Nothing of this was kept. "
                "Look at the disk of the data folder, then start Remit again."
            )
            self._undo()
            _fail(batch, self._failure)
        else:
            self._on_commit(len(batch), time.perf_counter() - started_at)

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        except apsw.Error:
            # Opening the file again rolls back what was not committed.
            _log.exception("store.rollback_failed", database=self._name)


def _fail(batch: list[_Operation[Any]], message: str) -> None:
    for operation in batch:
        operation.error = StoreUnavailable(message)


def _tell(batch: list[_Operation[Any]]) -> None:
    """Wake every loop that waits once, with all of its results."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Operation[Any]]] = {}
    for operation in batch:
        by_loop.setdefault(operation.loop, []).append(operation)
    for loop, operations in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, operations)
        except RuntimeError:
            # The loop is closed, so nobody waits. What was written stays written.
            _log.debug("store.waiter_gone", operations=len(operations))


def _resolve(operations: list[_Operation[Any]]) -> None:
    for operation in operations:
        if operation.future.done():  # cancelled meanwhile: it may have happened, as contracts say
            continue
        if operation.error is not None:
            operation.future.set_exception(operation.error)
        else:
            operation.future.set_result(operation.result)
