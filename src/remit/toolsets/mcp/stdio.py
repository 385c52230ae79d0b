"""A server that is a program in the session's sandbox, spoken with line by line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from remit.errors import SandboxLost, SandboxRefused
from remit.interfaces import Sandbox
from remit.toolsets.mcp.connection import CannotConnect
from remit.toolsets.mcp.limits import McpLimits
from remit.values import ProcessRequest

LOOKS_MAX, LOOK_SECONDS = 10, 0.05
SAID_BYTES_MAX = 600
"""Of what the program said on stderr, as people are told."""


@asynccontextmanager
async def stdio_client(
    sandbox: Sandbox,
    *,
    call_id: str,
    epoch: int,
    command: Sequence[str],
    env: Mapping[str, str],
    limits: McpLimits,
    heard: MessageHandlerFnT,
) -> AsyncGenerator[Client]:
    """A client of the program, which is started and ended with it. Raises CannotConnect, and what the library raises."""
    request = ProcessRequest(call_id=call_id, epoch=epoch, argv=tuple(command), environment=dict(env))
    try:
        spoken_with = await sandbox.open_process(request)
    except (SandboxLost, SandboxRefused) as error:
        raise CannotConnect(error.message) from error
    try:
        reader, writer = await asyncio.open_connection(sock=spoken_with, limit=limits.answer_bytes)
        try:
            async with Client(_streams(reader, writer), cache=None, message_handler=heard) as client:
                yield client
        except Exception as error:
            said = await _last_words(sandbox, call_id)
            if said is not None:
                raise CannotConnect(said) from error
            raise
        finally:
            writer.close()
    finally:
        with contextlib.suppress(SandboxLost, SandboxRefused):
            await sandbox.interrupt(call_id)


@asynccontextmanager
async def _streams(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncGenerator[
    tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
]:
    heard, hearing = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    saying, said = anyio.create_memory_object_stream[SessionMessage](0)

    async def hear() -> None:
        async with heard:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:  # longer than it may be: nothing that follows can be told from it
                    return
                except OSError:
                    return
                if not line:
                    return
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError:
                    continue  # many programs print other things too
                await heard.send(SessionMessage(message))

    async def say() -> None:
        async with said:
            async for message in said:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                writer.write(text.encode() + b"\n")
                await writer.drain()

    async with hearing, saying, anyio.create_task_group() as group:
        group.start_soon(_until_closed, hear)
        group.start_soon(_until_closed, say)
        try:
            yield hearing, saying
        finally:
            group.cancel_scope.cancel()


async def _until_closed(work: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await work()


async def _last_words(sandbox: Sandbox, call_id: str) -> str | None:
    """How the program ended; None if it runs."""
    try:
        status = await sandbox.call_status(call_id)
        for _ in range(LOOKS_MAX):  # its end is seen here a moment before it is told there
            if status.state != "running":
                break
            await asyncio.sleep(LOOK_SECONDS)
            status = await sandbox.call_status(call_id)
    except SandboxLost as error:
        return error.message
    if status.state != "finished" or status.result is None:
        return None
    said = status.result.output[-SAID_BYTES_MAX:].decode(errors="replace").strip()
    return f"its program ended with {status.result.exit_code}{f': {said}' if said else ''}"
