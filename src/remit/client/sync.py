"""The same client for programs without an event loop: `with Client(api_key=…, base_url=…) as client`."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from remit.client import resources
from remit.client.client import AsyncClient
from remit.client.stream import EventStream, JsonObject

P = ParamSpec("P")
T = TypeVar("T")


class SyncEventStream:
    """An event stream to iterate over in `with`; see `EventStream`."""

    def __init__(self, portal: BlockingPortal, stream: EventStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def cursor(self) -> str | None:
        """Where another stream would have to begin."""
        return self._stream.cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal.call(self._stream.aclose)

    def __iter__(self) -> Iterator[JsonObject]:
        while True:
            try:
                yield self._portal.call(_next, self._stream)
            except StopAsyncIteration:
                return


class _Bridge:
    """Turns the async client's methods into blocking ones with the same parameters."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal

    def call(self, method: Callable[P, Awaitable[T]]) -> Callable[P, T]:
        def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
            async def run() -> T:
                return await method(*args, **kwargs)

            return self._portal.call(run)

        return blocking

    def items(self, method: Callable[P, AsyncGenerator[JsonObject]]) -> Callable[P, Iterator[JsonObject]]:
        def blocking(*args: P.args, **kwargs: P.kwargs) -> Iterator[JsonObject]:
            generator = method(*args, **kwargs)
            try:
                while True:
                    try:
                        yield self._portal.call(_next, generator)
                    except StopAsyncIteration:
                        return
            finally:
                self._portal.call(generator.aclose)

        return blocking

    def stream(self, method: Callable[P, EventStream]) -> Callable[P, SyncEventStream]:
        def blocking(*args: P.args, **kwargs: P.kwargs) -> SyncEventStream:
            return SyncEventStream(self._portal, method(*args, **kwargs))

        return blocking

    @contextmanager
    def chunks(self, opened: AbstractAsyncContextManager[AsyncIterable[bytes]]) -> Generator[Iterator[bytes]]:
        with self._portal.wrap_async_context_manager(opened) as chunks:
            yield self._pull(chunks)

    def _pull(self, chunks: AsyncIterable[bytes]) -> Iterator[bytes]:
        iterator = chunks.__aiter__()
        while True:
            try:
                yield self._portal.call(_next, iterator)
            except StopAsyncIteration:
                return


class Inputs:
    """See `resources.Inputs`."""

    def __init__(self, bridge: _Bridge, inputs: resources.Inputs) -> None:
        self._upload = bridge.call(inputs.upload)

    def upload(self, tar: Iterable[bytes]) -> JsonObject:
        """Send a tar chunk by chunk; answers the input with its id."""
        return self._upload(_async_chunks(tar))


class Remits:
    """See `resources.Remits`."""

    def __init__(self, bridge: _Bridge, remits: resources.Remits) -> None:
        self._bridge = bridge
        self._remits = remits
        self.create = bridge.call(remits.create)
        self.retrieve = bridge.call(remits.retrieve)
        self.list = bridge.items(remits.list)
        self.events = bridge.items(remits.events)
        self.stream = bridge.stream(remits.stream)
        self.approve = bridge.call(remits.approve)
        self.decline = bridge.call(remits.decline)
        self.interrupt = bridge.call(remits.interrupt)
        self.resume = bridge.call(remits.resume)
        self.raise_budget = bridge.call(remits.raise_budget)
        self.verify = bridge.call(remits.verify)
        self.check = bridge.call(remits.check)
        self.receipt = bridge.call(remits.receipt)
        self.deliverables = bridge.call(remits.deliverables)

    @contextmanager
    def download(self, remit_id: str, name: str) -> Generator[Iterator[bytes]]:
        """One deliverable's bytes: `with client.remits.download(id, name) as chunks`."""
        with self._bridge.chunks(self._remits.download(remit_id, name)) as chunks:
            yield chunks


class Agents:
    """See `resources.Agents`."""

    def __init__(self, bridge: _Bridge, agents: resources.Agents) -> None:
        self.create = bridge.call(agents.create)
        self.retrieve = bridge.call(agents.retrieve)
        self.list = bridge.items(agents.list)


class Environments:
    """See `resources.Environments`."""

    def __init__(self, bridge: _Bridge, environments: resources.Environments) -> None:
        self.create = bridge.call(environments.create)
        self.retrieve = bridge.call(environments.retrieve)
        self.list = bridge.items(environments.list)


class Sessions:
    """See `resources.Sessions`."""

    def __init__(self, bridge: _Bridge, sessions: resources.Sessions) -> None:
        self.create = bridge.call(sessions.create)
        self.retrieve = bridge.call(sessions.retrieve)
        self.list = bridge.items(sessions.list)
        self.events = bridge.items(sessions.events)
        self.send = bridge.call(sessions.send)
        self.stream = bridge.stream(sessions.stream)
        self.check = bridge.call(sessions.check)
        self.accounts = bridge.call(sessions.accounts)


class Keys:
    """See `resources.Keys`."""

    def __init__(self, bridge: _Bridge, keys: resources.Keys) -> None:
        self.create = bridge.call(keys.create)
        self.list = bridge.items(keys.list)
        self.revoke = bridge.call(keys.revoke)
        self.link = bridge.call(keys.link)


class Caps:
    """See `resources.Caps`."""

    def __init__(self, bridge: _Bridge, caps: resources.Caps) -> None:
        self.list = bridge.call(caps.list)
        self.set = bridge.call(caps.set)


class Client:
    """Use it in `with`. Parameters as `AsyncClient`'s; its event loop lives in a thread of its own."""

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, client: AsyncClient | None = None
    ) -> None:
        client = client or AsyncClient(api_key=api_key, base_url=base_url)
        self._stack = ExitStack()
        portal = self._stack.enter_context(start_blocking_portal())
        try:
            self._stack.enter_context(portal.wrap_async_context_manager(client))
        except BaseException:
            self._stack.close()
            raise
        bridge = _Bridge(portal)
        self.inputs = Inputs(bridge, client.inputs)
        self.remits = Remits(bridge, client.remits)
        self.agents = Agents(bridge, client.agents)
        self.environments = Environments(bridge, client.environments)
        self.sessions = Sessions(bridge, client.sessions)
        self.keys = Keys(bridge, client.keys)
        self.caps = Caps(bridge, client.caps)
        self.doctor = bridge.call(client.doctor)
        self.stop = bridge.call(client.stop)
        self.reconcile = bridge.call(client.reconcile)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. Idempotent."""
        self._stack.close()


async def _next(iterator: AsyncIterator[T]) -> T:
    return await iterator.__anext__()


async def _async_chunks(chunks: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk
