"""The client for programs without an event loop: one that lives in a thread of its own does what the async client does."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Generic, Self, TypeVar, cast

from remit.client.http import Http
from remit.client.stream import EventStream, JsonObject
from remit.schema.operation import AnyOperation

T = TypeVar("T")
R = TypeVar("R")


class LoopThread(Generic[T]):
    """An event loop in a thread, inside of which something is open until it is closed."""

    def __init__(self, opening: AbstractAsyncContextManager[T]) -> None:
        """Raises what opening raises."""
        self._opening = opening
        self._stop = asyncio.Event()
        self._ready: Future[tuple[asyncio.AbstractEventLoop, T]] = Future()
        # A daemon: a program that ends without closing its client ends.
        self._thread = threading.Thread(target=self._run, name="remit-client", daemon=True)
        self._thread.start()
        self._loop, self.opened = self._ready.result()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Carry it out there. Raises what it raises; an interrupt of the caller cancels it."""
        if self._loop.is_closed():
            coroutine.close()
            raise RuntimeError("This client is closed; make another one.")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End it. Idempotent."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._stay())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _stay(self) -> None:
        async with self._opening as opened:
            self._ready.set_result((asyncio.get_running_loop(), opened))
            await self._stop.wait()


class BlockingEventStream:
    """An event stream to iterate over in `with`; see `EventStream`."""

    def __init__(self, thread: LoopThread[Any], stream: EventStream) -> None:
        self._thread = thread
        self._stream = stream

    @property
    def cursor(self) -> str | None:
        """Return the cursor after which another stream would have to begin."""
        return self._stream.cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.run(self._stream.aclose())

    def __iter__(self) -> Generator[JsonObject]:
        return pull(self._thread, self._stream)


class BlockingCaller:
    """Carries calls out in the thread; see `Caller`. The thread ends when nobody holds on to this any more."""

    def __init__(self, http: Http, opened: AbstractAsyncContextManager[object]) -> None:
        self.thread = LoopThread(opened)
        self._http = http
        weakref.finalize(self, self.thread.close)

    def call(self, operation: AnyOperation, *path: str, **fields: object) -> object:
        """Return the answer of one call."""
        return self.thread.run(self._http.call(operation, *path, **fields))

    def items(self, operation: AnyOperation, *path: str, **fields: object) -> Generator[object]:
        """Yield every item of a list, page by page."""
        generator = self._http.items(operation, *path, **fields)
        try:
            yield from pull(self.thread, generator)
        finally:
            self.thread.run(generator.aclose())

    def stream(self, operation: AnyOperation, *path: str, **fields: object) -> BlockingEventStream:
        """Open a stream of events."""
        return BlockingEventStream(self.thread, self._http.stream(operation, *path, **fields))

    @contextmanager
    def download(self, operation: AnyOperation, *path: str) -> Generator[Iterator[bytes]]:
        """Yield bytes as they come."""
        opened = self._http.download(operation, *path)
        chunks = self.thread.run(opened.__aenter__())
        try:
            yield pull(self.thread, chunks)
        finally:
            self.thread.run(opened.__aexit__(None, None, None))


def pull(thread: LoopThread[Any], items: AsyncIterable[T]) -> Generator[T]:
    """Yield what comes there, here."""
    iterator = items.__aiter__()
    while (item := thread.run(_next(iterator))) is not _END:
        yield cast("T", item)


_END = object()


async def _next(iterator: AsyncIterator[object]) -> object:
    return await anext(iterator, _END)
