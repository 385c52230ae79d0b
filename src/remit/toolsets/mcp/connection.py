"""One connection to one MCP server: a task of its own owns it, for the library's contexts belong to one task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, cast

import mcp_types
import structlog
from mcp.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from remit.clock import Clock
from remit.toolsets.mcp import http
from remit.toolsets.mcp.limits import McpLimits
from remit.toolsets.mcp.results import told, tool_result
from remit.values import JsonObject, ToolResult

PAGES_MAX = 20
LISTED_MAX = 1_000
CALLS_AT_ONCE = 8
CLOSE_SECONDS = 2.0
"""For a farewell."""
SESSION_TERMINATED = "Session terminated"
"""What the library says where a server no longer knows the session."""
SAID_CHARACTERS_MAX = 4_000
"""Of a server's words about a failure."""

T = TypeVar("T")

logger = structlog.get_logger(__name__)
# What servers send that the library cannot read, it logs word for word.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


class CannotConnect(Exception):
    """The server cannot be had; the message is for people."""


class McpConnection:
    """A live connection. `open` it once; call it; `close` it."""

    def __init__(
        self,
        server: str,
        connect: Callable[[MessageHandlerFnT], AbstractAsyncContextManager[Client]],
        clock: Clock,
        limits: McpLimits,
    ) -> None:
        self._server = server
        self._connect = connect
        self._clock = clock
        self._limits = limits
        self._owner: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._under_way = 0
        self._used_at = clock.monotonic()
        self._listed_at = 0.0
        self._has_changed = False
        """It has said that its list is another by now."""
        self.tools: Sequence[mcp_types.Tool] = ()
        """As they were listed last."""

    @property
    def is_alive(self) -> bool:
        """Return whether the server can be called."""
        return self._owner is not None and not self._owner.done() and not self._closing.is_set()

    @property
    def is_listed(self) -> bool:
        """Return whether the server's list is recent, as far as it says."""
        return (
            not self._has_changed and self._clock.monotonic() - self._listed_at < self._limits.listed_seconds
        )

    async def open(self) -> None:
        """Connect, and list the tools. Raises CannotConnect."""
        self._owner = asyncio.create_task(self._own(), name=f"mcp {self._server}")
        self._under_way += 1
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                await self._ready
                await self._list()
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                raise CannotConnect(f"it did not answer within {self._limits.connect_seconds:g} s") from error
            if isinstance(error, asyncio.CancelledError) or not isinstance(error, Exception):
                raise
            raise CannotConnect(_reason(error)) from error
        finally:
            self._rest()

    async def list_again(self) -> bool:
        """Ask what tools there are now; False if it does not say."""
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                await self._list()
        except Exception as error:
            logger.info("mcp.not_listed", server=self._server, error=type(error).__name__)
            return False
        return True

    async def _list(self) -> None:
        client = self._ready.result()
        self._has_changed = False
        found: list[mcp_types.Tool] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            parameters = mcp_types.PaginatedRequestParams(cursor=cursor)
            page = await self._while_open(client.session.list_tools(params=parameters))
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) >= LISTED_MAX:
                break
        self.tools, self._listed_at = found, self._clock.monotonic()

    async def _heard(self, message: object) -> None:
        """What the server says of its own accord. The list is asked for when the next turn begins, however often it says so."""
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._has_changed = True

    async def call(self, name: str, input: JsonObject, *, mark: str) -> ToolResult:
        """Run a tool. What goes wrong is an error result, and says whether the tool may have run."""
        self._under_way += 1
        try:
            async with self._calls, asyncio.timeout(self._limits.call_seconds):
                return await self._call(name, input, mark)
        except TimeoutError:
            return self._failure(f"did not answer within {self._limits.call_seconds:g} s", mark)
        finally:
            self._rest()

    def _rest(self) -> None:
        self._under_way -= 1
        self._used_at = self._clock.monotonic()

    async def _call(self, name: str, input: JsonObject, mark: str) -> ToolResult:
        parameters = mcp_types.CallToolRequestParams(name=name, arguments=dict(input))
        request = mcp_types.CallToolRequest(params=parameters)
        session = self._ready.result().session
        try:
            # Not `call_tool`: it holds the answer against the server's own schema, whose patterns may run for ever.
            answer = await self._while_open(session.send_request(request, mcp_types.CallToolResult))
        except MCPError as error:
            return self._refused(error, mark)
        except ValidationError:
            return self._failure("answered with something that is no result", mark)
        except Exception as error:
            logger.info("mcp.call_failed", server=self._server, error=type(error).__name__)
            self._closing.set()
            return self._failure("broke off before it answered", mark)
        return tool_result(answer, server=self._server, mark=mark)

    def _refused(self, error: MCPError, mark: str) -> ToolResult:
        match error.code:
            case http.NOT_SENT:
                return self._failure(f"cannot be reached: {error.message}", mark, may_have_run=False)
            case http.NOT_ANSWERED:
                return self._failure(f"gave no answer that can be used: {error.message}", mark)
            case mcp_types.CONNECTION_CLOSED:
                self._closing.set()  # the next call begins anew
                return self._failure("broke off before it answered", mark, said=error.message)
            case mcp_types.INVALID_REQUEST if error.message == SESSION_TERMINATED:
                self._closing.set()
                return self._failure("had ended the session; ask again", mark, may_have_run=False)
            case mcp_types.INTERNAL_ERROR | mcp_types.PARSE_ERROR:
                return self._failure("failed", mark, said=error.message)
            case _:
                return self._failure("refused the call", mark, said=error.message, may_have_run=False)

    def _failure(self, what: str, mark: str, *, said: str = "", may_have_run: bool = True) -> ToolResult:
        text = f"The MCP server {what}."
        if may_have_run:
            text += " The call may have had effects: look before you repeat it."
        blocks: list[JsonObject] = [{"type": "text", "text": text}]
        if said:
            blocks.append(told(said[:SAID_CHARACTERS_MAX], server=self._server, mark=mark))
        return ToolResult(content=tuple(blocks), is_error=True, may_have_run=may_have_run)

    async def close(self) -> None:
        """End it. Idempotent."""
        self._closing.set()
        if self._owner is None:
            return
        if self._ready.done():
            await asyncio.wait([self._owner], timeout=CLOSE_SECONDS)
        self._owner.cancel()
        await asyncio.wait([self._owner])

    async def _while_open(self, asked: Awaitable[T]) -> T:
        """The answer, or ConnectionError once the connection is over."""
        assert self._owner is not None
        asking = asyncio.ensure_future(asked)
        try:
            await asyncio.wait([asking, self._owner], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise ConnectionError("the connection is over")
            return asking.result()
        finally:
            asking.cancel()

    async def _own(self) -> None:
        """Hold the connection until it is closed, or nobody has used it for long."""
        try:
            async with self._connect(self._heard) as client:
                self._ready.set_result(client)
                while self._under_way or self._clock.monotonic() - self._used_at < self._limits.idle_seconds:
                    try:
                        async with asyncio.timeout(self._limits.idle_seconds / 4):
                            await self._closing.wait()
                            return
                    except TimeoutError:
                        continue
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                logger.info("mcp.connection_ended", server=self._server, error=type(error).__name__)
        finally:
            self._closing.set()
            if not self._ready.done():
                self._ready.cancel()


def _reason(error: BaseException) -> str:
    """The innermost cause, in words that fit into a line."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    text = str(error).strip() or type(error).__name__
    return " ".join(text.split())[:300]
