"""Reading bodies within a limit, and writing JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from remit.errors import InvalidRequest, TooLarge
from remit.schema.operation import BETA, SMALL_BODY_BYTES
from remit.schema.wire import decode
from remit.server.edge.admission import admitted_of


async def read_body(request: Request, *, bytes_max: int) -> bytes:
    """The whole body. Raises TooLarge as soon as that is known, Overloaded or RateLimited when memory is short."""
    admitted = admitted_of(request)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > bytes_max:
        raise _too_large(bytes_max)
    chunks: list[bytes] = []
    size = 0
    async for chunk in pieces(request):
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        admitted.take_bytes(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def read_nothing(request: Request) -> None:
    """Read an empty body or `{}`. Raises InvalidRequest naming what is there."""
    body = await read_body(request, bytes_max=SMALL_BODY_BYTES)
    if body.strip() and (fields := decode(body, dict[str, Any])):  # Any: whatever it is, it is refused
        raise InvalidRequest(f"`{next(iter(fields))}`: this call takes no fields; remove it.")


async def pieces(request: Request) -> AsyncGenerator[bytes]:
    """The body as it comes. Raises InvalidRequest for one that breaks off."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise InvalidRequest("The request broke off in the middle of its body; send it again.") from error


async def until_left(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel what is done for whoever asked, when they have left. Their body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def refuse_compressed(request: Request) -> None:
    """Raises InvalidRequest: how much a few bytes unpack to cannot be known before."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidRequest(
            f"`content-encoding`: {encoding[:80]!r} is not served; send the body uncompressed and leave the header out."
        )


def json_response(body: object) -> Response:
    """200 with JSON."""
    return encoded_response(msgspec.json.encode(body))


def encoded_response(body: bytes) -> Response:
    """200 with JSON that is already encoded."""
    return Response(body, media_type="application/json")


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The request body is larger than {bytes_max} bytes; send less.")


def betas_of(headers: Headers) -> tuple[str, ...]:
    """The values of `anthropic-beta`, from one header or several."""
    values = ",".join(headers.getlist("anthropic-beta")).split(",")
    return tuple(value.strip() for value in values if value.strip())


def check_betas(headers: Headers, beta: str) -> None:
    """Raise InvalidRequest for a call under two betas that the wire keeps apart: this one and the common one."""
    if beta != BETA and {beta, BETA} <= set(betas_of(headers)):
        raise InvalidRequest(
            f"`anthropic-beta`: {beta} and {BETA} do not go together on this path; send {beta} alone, or neither."
        )
