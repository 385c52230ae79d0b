"""A model server on loopback for tests: real HTTP, the streams of Anthropic Messages, OpenAI Chat Completions and
OpenAI Responses, a log of requests, and faults on demand. Third parties may point any client at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from remit.testing.responses_stream import ServedCall, responses_events
from remit.values import JsonObject, JsonValue, StopReason, Usage

REQUEST_BYTES_MAX = 64 << 20

Fault = Literal["cut", "silence", "garbage", "error_event"]

_FINISH_REASONS: dict[StopReason, str] = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "refusal": "content_filter",
}


class ServedToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call to answer with; its arguments come in two pieces."""

    id: str
    name: str
    input: JsonObject


class ServedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one request."""

    chunks: tuple[str, ...] = ()
    chunk_seconds: float = 0.0
    """A pause before every event: a server that is slow but never silent."""
    tool_uses: tuple[ServedToolUse, ...] = ()
    thinking: str | None = None
    signature: str = "c2lnbmF0dXJl"
    stop_reason: StopReason = "end_turn"
    stop_details: JsonObject | None = None
    usage: Usage | None = Usage(input_tokens=10, output_tokens=5)
    """None: not reported (Chat Completions only)."""
    iterations: tuple[JsonObject, ...] = ()
    status: int = 200
    headers: Mapping[str, str] = {}
    error_type: str = "api_error"
    error_message: str = "refused on purpose"
    fault: Fault | None = None
    """After the chunks: cut the connection, say nothing more, send what is no JSON, send an error event."""
    fault_after: int | None = None
    """The fault (no error event) comes after so many events of the whole answer instead; 0: right after the head."""


class ServedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]  # Any: JSON as a test reads it


EventsOf = Callable[[ServedRequest, ServedAnswer], list[bytes]]


class ModelServer:
    """Answers come off a list, one per model call, whatever the protocol."""

    def __init__(
        self,
        answers: Sequence[ServedAnswer],
        *,
        models: Sequence[str] = (),
        described: Mapping[str, JsonObject] | None = None,
        counted_tokens: int = 42,
    ) -> None:
        """`described` is what the list says of a model beside its names."""
        self._answers = list(answers)
        self._models = tuple(models)
        self._described = dict(described or {})
        self._counted_tokens = counted_tokens
        self._connections: set[asyncio.Task[None]] = set()
        self._port = 0
        self.requests: list[ServedRequest] = []
        self.is_silent = asyncio.Event()
        """Set when a silent answer has begun to be silent."""
        self.connections_opened = 0

    @property
    def url(self) -> str:
        """Return the server's URL, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[ModelServer, None]:
        """Listen while the block runs."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=REQUEST_BYTES_MAX)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in tuple(self._connections):
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.connections_opened += 1
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                if not await self._serve(request, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over: nothing to tell anyone
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, request: ServedRequest, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection ends with it."""
        match request.method, request.path.partition("?")[0]:
            case "GET", "/v1/models":
                listed: list[JsonValue] = [
                    {
                        "id": model,
                        "type": "model",
                        "object": "model",
                        "display_name": model,
                        **self._described.get(model, {}),
                    }
                    for model in self._models
                ]
                await _write_json(writer, 200, {"object": "list", "data": listed, "has_more": False})
            case "POST", "/v1/messages/count_tokens":
                await _write_json(writer, 200, {"input_tokens": self._counted_tokens})
            case "POST", "/v1/messages":
                return await self._answer(request, writer, _messages_events)
            case "POST", "/v1/chat/completions":
                return await self._answer(request, writer, _chat_events)
            case "POST", "/v1/responses":
                return await self._answer(request, writer, _responses_events)
            case _:
                await _write_error(writer, 404, {}, "not_found_error", f"no such path: {request.path}")
        return True

    async def _answer(
        self,
        request: ServedRequest,
        writer: asyncio.StreamWriter,
        events_of: EventsOf,
    ) -> bool:
        if not self._answers:
            await _write_error(writer, 400, {}, "invalid_request_error", "no answer is left in the script")
            return True
        answer = self._answers.pop(0)
        if answer.status != 200:
            await _write_error(writer, answer.status, answer.headers, answer.error_type, answer.error_message)
            return True
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for event in _until_fault(request, answer, events_of):
            if answer.chunk_seconds:
                await asyncio.sleep(answer.chunk_seconds)
            await _write_chunk(writer, event)
        if answer.fault == "cut":
            return False
        if answer.fault == "silence":
            self.is_silent.set()
            await asyncio.Event().wait()
        await _write_chunk(writer, b"")
        return True


# ------------------------------------------------------------------------------------------ the two streams


def _until_fault(request: ServedRequest, answer: ServedAnswer, events_of: EventsOf) -> list[bytes]:
    if answer.fault is None or answer.fault_after is None:
        return events_of(request, answer)
    whole = events_of(request, msgspec.structs.replace(answer, fault=None))
    return whole[: answer.fault_after] + _fault_events(answer.fault, b"")


def _messages_events(request: ServedRequest, answer: ServedAnswer) -> list[bytes]:
    """The events of /v1/messages, up to the fault if there is one."""
    usage = _messages_usage(answer)
    message: JsonObject = {
        "id": f"msg_{len(request.body)}",
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    events = [_named({"type": "message_start", "message": message}), _named({"type": "ping"})]
    index = 0
    if answer.thinking is not None:
        begun: JsonObject = {"type": "thinking", "thinking": "", "signature": ""}
        pieces: list[JsonObject] = [
            {"type": "thinking_delta", "thinking": answer.thinking},
            {"type": "signature_delta", "signature": answer.signature},
        ]
        events += _block(index, begun, pieces)
        index += 1
    if answer.chunks:
        begun = {"type": "text", "text": ""}
        events += _block(index, begun, [{"type": "text_delta", "text": chunk} for chunk in answer.chunks])
        index += 1
    if answer.fault is not None:
        error: JsonObject = {"type": "overloaded_error", "message": "overloaded on purpose"}
        return events + _fault_events(answer.fault, _named({"type": "error", "error": error}))
    for use in answer.tool_uses:
        first, second = _halves(use.input)
        begun = {"type": "tool_use", "id": use.id, "name": use.name, "input": {}}
        events += _block(
            index, begun, [{"type": "input_json_delta", "partial_json": half} for half in (first, second)]
        )
        index += 1
    delta: JsonObject = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    if answer.stop_details is not None:
        delta["stop_details"] = answer.stop_details
    end: JsonObject = {"type": "message_delta", "delta": delta, "usage": usage}
    return [*events, _named(end), _named({"type": "message_stop"})]


def _chat_events(request: ServedRequest, answer: ServedAnswer) -> list[bytes]:
    """The chunks of /v1/chat/completions, up to the fault if there is one."""

    def chunk(delta: JsonObject, finish_reason: str | None = None) -> bytes:
        choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _unnamed({**head, "choices": [choice]})

    head: JsonObject = {
        "id": f"chatcmpl-{len(request.body)}",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": request.body["model"],
    }
    events = [chunk({"role": "assistant", "content": ""})]
    if answer.thinking is not None:
        events.append(chunk({"reasoning_content": answer.thinking}))
    events += [chunk({"content": text}) for text in answer.chunks]
    if answer.fault is not None:
        error: JsonObject = {"type": "server_error", "message": "broken on purpose"}
        return events + _fault_events(answer.fault, _unnamed({"error": error}))
    for index, use in enumerate(answer.tool_uses):
        first, second = _halves(use.input)
        function: JsonObject = {"name": use.name, "arguments": first}
        begun: JsonObject = {"index": index, "id": use.id, "type": "function", "function": function}
        more: JsonObject = {"index": index, "function": {"arguments": second}}
        events += [chunk({"tool_calls": [begun]}), chunk({"tool_calls": [more]})]
    events.append(chunk({}, _FINISH_REASONS[answer.stop_reason]))
    if answer.usage is not None:
        events.append(_unnamed({**head, "choices": [], "usage": _chat_usage(answer.usage)}))
    return [*events, b"data: [DONE]\n\n"]


def _responses_events(request: ServedRequest, answer: ServedAnswer) -> list[bytes]:
    """The events of /v1/responses, up to the fault if there is one."""
    frames = responses_events(
        request.body["model"],
        chunks=answer.chunks,
        thinking=answer.thinking,
        calls=[
            ServedCall(id=use.id, name=use.name, arguments=msgspec.json.encode(use.input).decode())
            for use in answer.tool_uses
        ],
        stop_reason=answer.stop_reason,
        usage=answer.usage,
        is_broken=answer.fault is not None,
    )
    if answer.fault is None:
        return frames
    error: JsonObject = {"type": "error", "code": "server_error", "message": "broken on purpose"}
    return frames + _fault_events(answer.fault, _named(error))


def _block(index: int, begun: JsonObject, deltas: Sequence[JsonObject]) -> list[bytes]:
    return [
        _named({"type": "content_block_start", "index": index, "content_block": begun}),
        *(_named({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        _named({"type": "content_block_stop", "index": index}),
    ]


def _fault_events(fault: Fault, error_event: bytes) -> list[bytes]:
    match fault:
        case "garbage":
            return [b"data: {this is no JSON\n\n"]
        case "error_event":
            return [error_event]
        case "cut" | "silence":
            return []


def _messages_usage(answer: ServedAnswer) -> JsonObject:
    usage = answer.usage or Usage()
    reported: JsonObject = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_5m_input_tokens
        + usage.cache_creation_1h_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_creation_5m_input_tokens,
            "ephemeral_1h_input_tokens": usage.cache_creation_1h_input_tokens,
        },
    }
    if answer.iterations:
        reported["iterations"] = list(answer.iterations)
    return reported


def _chat_usage(usage: Usage) -> JsonObject:
    return {
        "prompt_tokens": usage.total_tokens - usage.output_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_input_tokens,
            "cache_write_tokens": usage.cache_creation_5m_input_tokens,
        },
    }


def _halves(value: JsonObject) -> tuple[str, str]:
    encoded = msgspec.json.encode(value).decode()
    return encoded[: len(encoded) // 2], encoded[len(encoded) // 2 :]


def _named(event: JsonObject) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\n" + _unnamed(event)


def _unnamed(event: JsonObject) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


# ------------------------------------------------------------------------------------------ HTTP


async def _read_request(reader: asyncio.StreamReader) -> ServedRequest | None:
    """The next request of the connection; None when the client has closed it."""
    start = await reader.readline()
    if not start.strip():
        return None
    method, path, _ = start.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := (await reader.readline()).decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    length = min(int(headers.get("content-length", "0")), REQUEST_BYTES_MAX)
    body = await reader.readexactly(length) if length else b"{}"
    decoded: JsonObject = msgspec.json.decode(body)
    return ServedRequest(method=method, path=path, headers=headers, body=decoded)


async def _write_json(
    writer: asyncio.StreamWriter, status: int, body: JsonObject, headers: Mapping[str, str] | None = None
) -> None:
    encoded = msgspec.json.encode(body)
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(
        f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(encoded)}\r\n{extra}\r\n".encode()
    )
    writer.write(encoded)
    await writer.drain()


async def _write_error(
    writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str], kind: str, message: str
) -> None:
    error: JsonObject = {"type": kind, "message": message}
    await _write_json(writer, status, {"type": "error", "error": error}, headers)


async def _write_chunk(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    await writer.drain()
